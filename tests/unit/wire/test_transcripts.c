/* test_transcripts.c - plays tests/wire/(name).resp.txt at Corral and at redis-server.
 *
 * Every transcript gets a fresh node and a fresh redis-server, on Unix sockets
 * in a directory of its own. Each request is sent to both; both must answer
 * what the transcript says, and byte for byte the same unless it says
 * otherwise. tests/wire/README.md describes the format.
 *
 * Without redis-server only the text is checked; without corrald only
 * redis-server is, which is how a new transcript is proofread.
 *
 * CORRAL_BIN          directory of corrald              bin
 * CORRAL_TRANSCRIPTS  a glob instead of all of them     tests/wire/(any).resp.txt
 * REDIS_SERVER        the program to compare with       redis-server */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <regex.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    CLIENTS_MAX = 3,
    TOKENS_MAX = 64,
    REPLY_WAIT_MS = 10000,
    START_WAIT_MS = 10000,
    STOP_WAIT_MS = 10000,
    SCAN_CALLS_MAX = 1000000,
    SHOWN_MAX = 200, /* bytes of a line in a complaint */
};

/* ---- bytes that grow ---- */

struct bytes {
    uint8_t *data;
    size_t len, cap;
};

static void bytes_add(struct bytes *b, const void *data, size_t len)
{
    if (b->len + len + 1 > b->cap) {
        b->cap = (b->len + len + 1) * 2;
        b->data = realloc(b->data, b->cap);
        assert_non_null(b->data);
    }
    if (len > 0)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

static void bytes_add_text(struct bytes *b, const char *text)
{
    bytes_add(b, text, strlen(text));
}

static void bytes_cut_front(struct bytes *b, size_t n)
{
    b->len -= n;
    memmove(b->data, b->data + n, b->len + 1);
}

static void bytes_free(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){0};
}

/* ---- lists of lines ---- */

struct lines {
    char **text;
    size_t n, cap;
};

/* Takes the bytes over. */
static void lines_take(struct lines *l, struct bytes *line)
{
    bytes_add(line, "", 0);
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 8;
        l->text = realloc(l->text, l->cap * sizeof *l->text);
        assert_non_null(l->text);
    }
    l->text[l->n++] = (char *)line->data;
    *line = (struct bytes){0};
}

static void lines_clear(struct lines *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->text[i]);
    free(l->text);
    *l = (struct lines){0};
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void lines_sort(struct lines *l)
{
    if (l->n > 1)
        qsort(l->text, l->n, sizeof *l->text, by_text);
}

static void lines_drop_repeats(struct lines *l)
{
    size_t kept = 0;

    for (size_t i = 0; i < l->n; i++) {
        if (kept > 0 && strcmp(l->text[kept - 1], l->text[i]) == 0)
            free(l->text[i]);
        else
            l->text[kept++] = l->text[i];
    }
    l->n = kept;
}

/* ---- replies ---- */

/* A payload as transcripts write it. Different payloads give different lines. */
static void lines_add_payload(struct lines *l, const uint8_t *data, size_t len)
{
    struct bytes line = {0};
    char hex[8];

    if (len == 0)
        bytes_add_text(&line, "\"\"");
    for (size_t i = 0; i < len; i++) {
        uint8_t c = data[i];
        bool edge = i == 0 || i == len - 1;

        if (c == '\r') {
            bytes_add_text(&line, "\\r");
        } else if (c == '\n') {
            bytes_add_text(&line, "\\n");
        } else if (c == '"' || c == '\\') {
            bytes_add_text(&line, "\\");
            bytes_add(&line, &c, 1);
        } else if (c < ' ' || c > '~' || (c == ' ' && edge)) {
            snprintf(hex, sizeof hex, "\\x%02x", c);
            bytes_add_text(&line, hex);
        } else {
            bytes_add(&line, &c, 1);
        }
    }
    lines_take(l, &line);
}

/* The length of the first whole reply in buf, 0 when it is not all there yet.
 * With `lines`, also adds its headers and payloads to them. */
static size_t reply_walk(const struct bytes *buf, struct lines *lines)
{
    size_t at = 0;
    long left = 1;

    while (left-- > 0) {
        const uint8_t *head = buf->data + at;
        const uint8_t *end = at < buf->len ? memmem(head, buf->len - at, "\r\n", 2) : NULL;
        long n;

        if (end == NULL)
            return 0;
        if (lines != NULL)
            lines_add_payload(lines, head, (size_t)(end - head));
        at += (size_t)(end - head) + 2;
        n = strtol((const char *)head + 1, NULL, 10);
        switch (head[0]) {
        case '*':
        case '~':
        case '>': left += n > 0 ? n : 0; break;
        case '%': left += 2 * n; break;
        case '|': left += 2 * n + 1; break;
        case '$':
        case '=':
        case '!':
            if (n < 0)
                break;
            if (buf->len - at < (size_t)n + 2)
                return 0;
            if (lines != NULL)
                lines_add_payload(lines, buf->data + at, (size_t)n);
            at += (size_t)n + 2;
            break;
        }
    }
    return at;
}

/* ---- a server under test ---- */

struct peer {
    const char *name;
    bool present;
    pid_t pid;
    char socket_path[108];
    int fd[CLIENTS_MAX];          /* -1: not connected */
    long long tokens[TOKENS_MAX]; /* of leases, in the order in which they were shown */
    size_t tokens_len;
    struct bytes in[CLIENTS_MAX];
    /* the last step's answer */
    struct bytes raw;
    struct lines lines;
};

static void sleep_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&t, NULL);
}

static int peer_connect(const struct peer *p)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    memcpy(to.sun_path, p->socket_path, sizeof to.sun_path);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    close(fd);
    return -1;
}

static void peer_spawn(struct peer *p, char *const argv[], const char *log)
{
    pid_t parent = getpid();

    p->pid = fork();
    assert_true(p->pid >= 0);
    if (p->pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

        prctl(PR_SET_PDEATHSIG, SIGKILL); /* no server outlives the test */
        if (getppid() != parent)
            _exit(127);
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        execvp(argv[0], argv);
        _exit(127);
    }
    for (int waited = 0; waited < START_WAIT_MS; waited += 10) {
        int fd = peer_connect(p);

        if (fd >= 0) {
            close(fd);
            return;
        }
        assert_int_equal(waitpid(p->pid, NULL, WNOHANG), 0);
        sleep_ms(10);
    }
    fail_msg("%s does not listen on %s", p->name, p->socket_path);
}

static void peer_disconnect(struct peer *p)
{
    for (int c = 0; c < CLIENTS_MAX; c++) {
        if (p->fd[c] >= 0)
            close(p->fd[c]);
        p->fd[c] = -1;
        bytes_free(&p->in[c]);
    }
}

/* Returns the exit status as waitpid() gives it; -1 when it had to be killed. */
static int peer_stop(struct peer *p)
{
    int status = -1;

    peer_disconnect(p);
    bytes_free(&p->raw);
    lines_clear(&p->lines);
    if (p->pid <= 0)
        return 0;
    kill(p->pid, SIGTERM);
    for (int waited = 0; waited < STOP_WAIT_MS; waited += 5) {
        if (waitpid(p->pid, &status, WNOHANG) == p->pid) {
            p->pid = 0;
            return status;
        }
        sleep_ms(5);
    }
    kill(p->pid, SIGKILL);
    waitpid(p->pid, &status, 0);
    p->pid = 0;
    return -1;
}

static int peer_client(struct peer *p, int client)
{
    if (p->fd[client] < 0)
        p->fd[client] = peer_connect(p);
    return p->fd[client];
}

/* Reads more; false: closed, broken or nothing within the time. */
static bool peer_read(struct peer *p, int client)
{
    struct pollfd wait = {.fd = p->fd[client], .events = POLLIN};
    static uint8_t chunk[1 << 16];
    ssize_t n;

    if (poll(&wait, 1, REPLY_WAIT_MS) != 1)
        return false;
    n = read(p->fd[client], chunk, sizeof chunk);
    if (n <= 0)
        return false;
    bytes_add(&p->in[client], chunk, (size_t)n);
    return true;
}

/* The other side has closed, after everything it said was read. */
static bool peer_is_closed(struct peer *p, int client)
{
    struct pollfd wait = {.fd = p->fd[client], .events = POLLIN};
    char byte;
    bool closed = p->in[client].len == 0 && poll(&wait, 1, REPLY_WAIT_MS) == 1 &&
                  recv(p->fd[client], &byte, 1, MSG_PEEK) <= 0;

    close(p->fd[client]);
    p->fd[client] = -1;
    p->in[client].len = 0;
    return closed;
}

static bool peer_send(struct peer *p, int client, const struct bytes *request)
{
    int fd = peer_client(p, client);

    for (size_t sent = 0; fd >= 0 && sent < request->len;) {
        ssize_t n = send(fd, request->data + sent, request->len - sent, MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        sent += (size_t)n;
    }
    return fd >= 0;
}

/* Moves `replies` replies into p->raw and p->lines. */
static bool peer_receive(struct peer *p, int client, int replies)
{
    p->raw.len = 0;
    lines_clear(&p->lines);
    while (replies-- > 0) {
        size_t len;

        while ((len = reply_walk(&p->in[client], NULL)) == 0) {
            if (!peer_read(p, client))
                return false;
        }
        reply_walk(&p->in[client], &p->lines);
        bytes_add(&p->raw, p->in[client].data, len);
        bytes_cut_front(&p->in[client], len);
    }
    return true;
}

/* ---- transcripts ---- */

enum how { AS_WORDS, AS_INLINE, AS_RAW };

/* One request and what is expected of it. */
struct step {
    size_t line_number;
    const char *text; /* the request as written */
    enum how how;
    int client;
    int replies;
    bool unordered, scan, corral_only, differs, closes;
    struct lines expected;
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* "\x00", "\n" and so on at *at, which points behind the backslash. */
static uint8_t read_escape(const char **at)
{
    char c = *(*at)++;

    switch (c) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'x':
        if (hex_digit((*at)[0]) >= 0 && hex_digit((*at)[1]) >= 0) {
            *at += 2;
            return (uint8_t)(hex_digit((*at)[-2]) * 16 + hex_digit((*at)[-1]));
        }
        return 'x';
    }
    return (uint8_t)c;
}

/* "<x*70000>" stands for 70000 times x. Returns how long that was, 0 if it is something else. */
static size_t read_repeat(const char *text, struct bytes *out)
{
    int used = 0;
    size_t times;
    char c;

    if (sscanf(text, "<%c*%zu>%n", &c, &times, &used) != 2 || used == 0)
        return 0;
    while (times-- > 0)
        bytes_add(out, &c, 1);
    return (size_t)used;
}

/* The next word of a request line, as redis-cli would split it. False: no more. */
static bool read_word(const char **at, struct bytes *word)
{
    char quote = '\0';
    bool any = false;

    word->len = 0;
    bytes_add(word, "", 0);
    while (**at == ' ')
        (*at)++;
    while (**at != '\0' && (quote != '\0' || **at != ' ')) {
        size_t repeat = quote == '\0' ? read_repeat(*at, word) : 0;
        char c;

        any = true;
        if (repeat > 0) {
            *at += repeat;
            continue;
        }
        c = *(*at)++;
        if (quote == '\0' && (c == '"' || c == '\'')) {
            quote = c;
        } else if (c == quote && quote != '\0') {
            quote = '\0';
        } else if (c == '\\' && quote == '"') {
            uint8_t byte = read_escape(at);

            bytes_add(word, &byte, 1);
        } else {
            bytes_add(word, &c, 1);
        }
    }
    return any;
}

/* {token3} as a word is the third lease token that this server has shown. */
static void put_token(struct bytes *word, const struct peer *p)
{
    char digits[32];
    size_t index;
    int used = 0;

    if (sscanf((char *)word->data, "{token%zu}%n", &index, &used) != 1 || (size_t)used != word->len)
        return;
    assert_true(index >= 1 && index <= p->tokens_len);
    snprintf(digits, sizeof digits, "%lld", p->tokens[index - 1]);
    word->len = 0;
    bytes_add_text(word, digits);
}

static void note_tokens(struct peer *p)
{
    for (size_t i = 0; i + 1 < p->lines.n; i++) {
        long long token;

        if (strcmp(p->lines.text[i], "token") != 0 || sscanf(p->lines.text[i + 1], ":%lld", &token) != 1 ||
            token == 0)
            continue;
        assert_true(p->tokens_len < TOKENS_MAX);
        p->tokens[p->tokens_len++] = token;
    }
}

/* The bytes that go out. "CURSOR" as a word stands for `cursor` in a @scan. */
static void step_encode(const struct peer *p, const struct step *s, const char *cursor, struct bytes *out)
{
    struct bytes word = {0}, body = {0};
    const char *at = s->text;
    char head[32];
    size_t words = 0;

    out->len = 0;
    bytes_add(out, "", 0);
    if (s->how == AS_INLINE) {
        bytes_add_text(out, s->text);
        bytes_add_text(out, "\r\n");
        return;
    }
    for (; read_word(&at, &word); words++) {
        if (s->how == AS_RAW) {
            bytes_add(out, word.data, word.len);
            continue;
        }
        if (s->scan && strcmp((char *)word.data, "CURSOR") == 0) {
            word.len = 0;
            bytes_add_text(&word, cursor);
        }
        put_token(&word, p);
        snprintf(head, sizeof head, "$%zu\r\n", word.len);
        bytes_add_text(&body, head);
        bytes_add(&body, word.data, word.len);
        bytes_add_text(&body, "\r\n");
    }
    if (s->how == AS_WORDS) {
        snprintf(head, sizeof head, "*%zu\r\n", words);
        bytes_add_text(out, head);
        bytes_add(out, body.data, body.len);
    }
    bytes_free(&word);
    bytes_free(&body);
}

/* Goes round with the cursor until it is 0 again. Leaves all elements, sorted
 * and each once, in p->lines: what SCAN promises and no more. */
static bool run_scan(struct peer *p, const struct step *s)
{
    struct bytes request = {0};
    struct lines all = {0};
    char cursor[32] = "0";
    bool ok = false;

    for (int calls = 0; calls < SCAN_CALLS_MAX; calls++) {
        step_encode(p, s, cursor, &request);
        if (!peer_send(p, s->client, &request) || !peer_receive(p, s->client, 1) || p->lines.n < 4)
            break;
        snprintf(cursor, sizeof cursor, "%s", p->lines.text[2]); /* *2, $n, cursor, *m, ... */
        for (size_t i = 5; i < p->lines.n; i += 2) {
            struct bytes copy = {0};

            bytes_add_text(&copy, p->lines.text[i]);
            lines_take(&all, &copy);
        }
        if (strcmp(cursor, "0") == 0) {
            ok = true;
            break;
        }
    }
    bytes_free(&request);
    lines_clear(&p->lines);
    lines_sort(&all);
    lines_drop_repeats(&all);
    p->lines = all;
    return ok;
}

static bool run_step(struct peer *p, const struct step *s)
{
    struct bytes request = {0};
    bool ok;

    if (s->scan)
        return run_scan(p, s);
    step_encode(p, s, "", &request);
    ok = peer_send(p, s->client, &request) && peer_receive(p, s->client, s->replies);
    note_tokens(p);
    bytes_free(&request);
    if (s->closes)
        ok = peer_is_closed(p, s->client) && ok;
    return ok;
}

/* ---- comparing ---- */

static bool is_pattern(const char *expected)
{
    return expected[0] == '~' && expected[1] == ' ';
}

static bool line_fits(const char *expected, const char *got)
{
    struct bytes whole = {0};
    regex_t regex;
    bool fits;

    if (!is_pattern(expected)) {
        size_t repeat = expected[0] == '<' ? read_repeat(expected, &whole) : 0;

        bytes_add_text(&whole, expected + repeat);
        fits = strcmp((char *)whole.data, got) == 0;
        bytes_free(&whole);
        return fits;
    }
    bytes_add_text(&whole, "^(");
    bytes_add_text(&whole, expected + 2);
    bytes_add_text(&whole, ")$");
    assert_int_equal(regcomp(&regex, (char *)whole.data, REG_EXTENDED | REG_NOSUB), 0);
    fits = regexec(&regex, got, 0, NULL, 0) == 0;
    regfree(&regex);
    bytes_free(&whole);
    return fits;
}

static bool is_ellipsis(const char *expected)
{
    return strcmp(expected, "...") == 0;
}

static bool lines_fit(const struct lines *expected, const struct lines *got)
{
    size_t n = expected->n;

    if (n > 0 && is_ellipsis(expected->text[n - 1]) && got->n >= --n)
        ; /* whatever follows is fine */
    else if (expected->n != got->n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!line_fits(expected->text[i], got->text[i]))
            return false;
    }
    return true;
}

static void show(const char *whose, const struct lines *l)
{
    print_error("    %s\n", whose);
    for (size_t i = 0; i < l->n; i++)
        print_error("        %.*s\n", SHOWN_MAX, l->text[i]);
}

static bool has_patterns(const struct lines *l)
{
    for (size_t i = 0; i < l->n; i++) {
        if (is_pattern(l->text[i]) || is_ellipsis(l->text[i]))
            return true;
    }
    return false;
}

/* Runs one step at whoever is there; false: said what is wrong. */
static bool play_step(const char *file, struct step *s, struct peer *corral, struct peer *redis)
{
    struct peer *peers[] = {corral, redis};
    bool answered[2] = {false, false};
    bool fine = true;

    if (s->unordered)
        lines_sort(&s->expected);
    for (int i = 0; i < 2; i++) {
        struct peer *p = peers[i];
        bool judged = p == corral || !s->differs;

        if (!p->present || (p == redis && s->corral_only))
            continue;
        answered[i] = run_step(p, s);
        if (s->unordered)
            lines_sort(&p->lines);
        if (judged && !(answered[i] && lines_fit(&s->expected, &p->lines))) {
            print_error("%s:%zu: > %.*s\n", file, s->line_number, SHOWN_MAX, s->text);
            if (!answered[i])
                print_error("    %s: connection closed, or no answer in time\n", p->name);
            show("expected", &s->expected);
            show(p->name, &p->lines);
            fine = false;
        }
    }
    if (fine && answered[0] && answered[1] && !s->differs && !s->unordered && !s->scan &&
        !has_patterns(&s->expected) &&
        (corral->raw.len != redis->raw.len ||
         memcmp(corral->raw.data, redis->raw.data, corral->raw.len) != 0)) {
        print_error("%s:%zu: > %.*s\n    the same text, but not the same bytes\n", file, s->line_number,
                    SHOWN_MAX, s->text);
        fine = false;
    }
    return fine;
}

/* ---- reading a transcript ---- */

struct play {
    const char *file;
    struct peer corral, redis;
    struct step step; /* the one being read; text == NULL: none */
    struct step next; /* directives collected for the next one */
    unsigned failures, steps;
};

static void play_flush(struct play *play)
{
    struct step *s = &play->step;

    if (s->text != NULL) {
        play->steps++;
        if (!(s->corral_only && !play->corral.present) &&
            !play_step(play->file, s, &play->corral, &play->redis))
            play->failures++;
    }
    lines_clear(&s->expected);
    *s = (struct step){0};
}

static bool starts(const char *line, const char *prefix, const char **rest)
{
    size_t n = strlen(prefix);

    if (strncmp(line, prefix, n) != 0 || (line[n] != '\0' && line[n] != ' '))
        return false;
    *rest = line[n] == ' ' ? line + n + 1 : line + n;
    return true;
}

static void expect_closed(struct play *play, int client, size_t number)
{
    struct peer *peers[] = {&play->corral, &play->redis};

    for (int i = 0; i < 2; i++) {
        if (!peers[i]->present || (peers[i]->fd[client] >= 0 && peer_is_closed(peers[i], client)))
            continue;
        print_error("%s:%zu: %s has not closed connection %d\n", play->file, number, peers[i]->name,
                    client + 1);
        play->failures++;
    }
}

static void read_directive(struct play *play, const char *line, size_t number)
{
    struct step *next = &play->next;
    const char *rest;

    if (starts(line, "@unordered", &rest)) {
        next->unordered = true;
    } else if (starts(line, "@scan", &rest)) {
        next->scan = true;
    } else if (starts(line, "@corral", &rest)) {
        next->corral_only = true;
    } else if (starts(line, "@differs", &rest)) {
        next->differs = true;
    } else if (starts(line, "@replies", &rest)) {
        next->replies = atoi(rest);
    } else if (starts(line, "@closes", &rest)) {
        next->closes = true;
    } else if (starts(line, "@closed", &rest) && rest[0] >= '1' && rest[0] <= '0' + CLIENTS_MAX) {
        expect_closed(play, rest[0] - '1', number);
    } else if (starts(line, "@sleep", &rest)) {
        sleep_ms(atol(rest));
    } else if (starts(line, "@reconnect", &rest)) {
        peer_disconnect(&play->corral);
        peer_disconnect(&play->redis);
    } else {
        fail_msg("%s:%zu: no such directive: %s", play->file, number, line);
    }
}

static bool read_request(struct play *play, const char *line, size_t number)
{
    struct step s = play->next;
    const char *rest;

    if (starts(line, ">", &rest)) {
        s.how = AS_WORDS;
    } else if (line[0] >= '2' && line[0] <= '0' + CLIENTS_MAX && starts(line + 1, ">", &rest)) {
        s.how = AS_WORDS;
        s.client = line[0] - '1';
    } else if (line[0] >= '1' && line[0] <= '0' + CLIENTS_MAX && starts(line + 1, "<", &rest)) {
        s.how = AS_RAW; /* of nothing */
        s.client = line[0] - '1';
    } else if (starts(line, "inline>", &rest)) {
        s.how = AS_INLINE;
    } else if (starts(line, "raw>", &rest)) {
        s.how = AS_RAW;
    } else {
        return false;
    }
    s.text = rest;
    s.line_number = number;
    play->step = s;
    play->next = (struct step){.replies = 1};
    return true;
}

/* Directives act when they are read, so the step before them must be over. */
static void play_line(struct play *play, const char *line, size_t number)
{
    struct bytes copy = {0};

    if (line[0] == '\0' || line[0] == '#') {
        play_flush(play);
    } else if (line[0] == '@') {
        play_flush(play);
        read_directive(play, line, number);
    } else {
        struct step before = play->step;

        play->step = (struct step){0};
        if (read_request(play, line, number)) {
            struct step now = play->step;

            play->step = before;
            play_flush(play);
            play->step = now;
            return;
        }
        play->step = before;
        if (play->step.text == NULL)
            fail_msg("%s:%zu: an answer without a request: %s", play->file, number, line);
        bytes_add_text(&copy, line);
        lines_take(&play->step.expected, &copy);
    }
}

/* ---- the servers ---- */

static const char *setting(const char *name, const char *otherwise)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != '\0' ? value : otherwise;
}

static void path_in(char *out, size_t size, const char *dir, const char *name)
{
    assert_true((size_t)snprintf(out, size, "%s/%s", dir, name) < size);
}

static void peer_init(struct peer *p, const char *name, bool present, const char *dir)
{
    *p = (struct peer){.name = name, .present = present};
    for (int c = 0; c < CLIENTS_MAX; c++)
        p->fd[c] = -1;
    path_in(p->socket_path, sizeof p->socket_path, dir, name);
}

static char corrald_path[4096];
static char redis_path[4096];

static void start_both(struct play *play, const char *dir)
{
    char log[4096];

    peer_init(&play->corral, "corral", corrald_path[0] != '\0', dir);
    peer_init(&play->redis, "redis", redis_path[0] != '\0', dir);
    if (play->corral.present) {
        char *argv[] = {corrald_path, "--port", "0", "--memcache-port", "0", "--unixsocket", NULL,
                        "--threads",  "2",      NULL};

        argv[6] = play->corral.socket_path;
        path_in(log, sizeof log, dir, "corral.log");
        peer_spawn(&play->corral, argv, log);
    }
    if (play->redis.present) {
        char *argv[] = {redis_path, "--port",       "0",  "--save", "",   "--appendonly",
                        "no",       "--unixsocket", NULL, "--dir",  NULL, NULL};

        argv[8] = play->redis.socket_path;
        argv[10] = (char *)(uintptr_t)dir;
        path_in(log, sizeof log, dir, "redis.log");
        peer_spawn(&play->redis, argv, log);
    }
}

static void remove_dir(const char *dir)
{
    static const char *const names[] = {"corral", "redis", "corral.log", "redis.log"};
    char path[4096];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        path_in(path, sizeof path, dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

static void play_transcript(void **state)
{
    struct play play = {.file = *state, .next.replies = 1};
    char dir[] = "/tmp/corral-wire-XXXXXX";
    struct lines text = {0};
    char *line = NULL;
    size_t size = 0;
    ssize_t len;
    int status;
    FILE *f;

    if (corrald_path[0] == '\0' && redis_path[0] == '\0')
        skip();
    assert_non_null(mkdtemp(dir));
    assert_non_null(f = fopen(play.file, "r"));
    while ((len = getline(&line, &size, f)) >= 0) {
        struct bytes copy = {0};

        if (len > 0 && line[len - 1] == '\n')
            len--;
        bytes_add(&copy, line, (size_t)len);
        lines_take(&text, &copy);
    }
    free(line);
    fclose(f);

    start_both(&play, dir);
    for (size_t i = 0; i < text.n; i++)
        play_line(&play, text.text[i], i + 1);
    play_flush(&play);
    status = peer_stop(&play.corral);
    if (!(WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
        print_error("%s: corrald did not stop cleanly (status %d)\n", play.file, status);
        play.failures++;
    }
    peer_stop(&play.redis);
    if (play.failures == 0)
        remove_dir(dir);
    lines_clear(&text);
    if (play.failures > 0)
        fail_msg("%s: %u of %u answers are wrong; logs in %s", play.file, play.failures, play.steps, dir);
}

/* ---- all of them ---- */

static void find_program(const char *name, char *out, size_t size)
{
    struct bytes path = {0};
    char *save = NULL;

    out[0] = '\0';
    if (strchr(name, '/') != NULL) {
        if (access(name, X_OK) == 0)
            snprintf(out, size, "%s", name);
        return;
    }
    bytes_add_text(&path, setting("PATH", "/usr/bin:/bin"));
    for (char *dir = strtok_r((char *)path.data, ":", &save); dir != NULL; dir = strtok_r(NULL, ":", &save)) {
        if ((size_t)snprintf(out, size, "%s/%s", dir, name) < size && access(out, X_OK) == 0)
            break;
        out[0] = '\0';
    }
    bytes_free(&path);
}

int main(void)
{
    const char *pattern = setting("CORRAL_TRANSCRIPTS", "tests/wire/*.resp.txt");
    char corrald[4096];
    struct CMUnitTest *tests;
    glob_t found;
    int failed;

    if (glob(pattern, 0, NULL, &found) != 0) {
        fprintf(stderr, "no transcripts: %s\n", pattern);
        return 1;
    }
    path_in(corrald, sizeof corrald, setting("CORRAL_BIN", "bin"), "corrald");
    find_program(corrald, corrald_path, sizeof corrald_path);
    find_program(setting("REDIS_SERVER", "redis-server"), redis_path, sizeof redis_path);
    if (corrald_path[0] == '\0')
        print_message("%s is not built: transcripts are not played at Corral\n", corrald);
    if (redis_path[0] == '\0')
        print_message("redis-server is not installed: nothing to compare with\n");

    assert_non_null(tests = calloc(found.gl_pathc, sizeof *tests));
    for (size_t i = 0; i < found.gl_pathc; i++)
        tests[i] = (struct CMUnitTest){found.gl_pathv[i], play_transcript, NULL, NULL, found.gl_pathv[i]};
    failed = _cmocka_run_group_tests("transcripts", tests, found.gl_pathc, NULL, NULL);
    free(tests);
    globfree(&found);
    return failed;
}
