/* load_replay.c - one connection, in the order of the trace.
 *
 *   trace -> round: [fills of the last round's misses][gets, or one set or delete]
 *                     -> server -> one reply each -> hits, misses -> the next fills
 *
 * Rules: (1) a round has at most --pipeline requests of the trace; with one it is
 * exactly the trace's order; (2) a get comes after the fill that an earlier miss of
 * its key led to: where a round asks twice for a key that is missing, the later
 * get does not count and is sent again in the next round, behind the fill; (3) a
 * key is the hash that the trace's reader made of it, in hexadecimal, filled up to
 * its size; its value begins with the same digits, which every hit is checked for;
 * (4) a value keeps the size it was stored with until it is stored again; (5) times
 * to live are not sent: a replay takes seconds, and what they meant took days. */
#include "bench/load_replay.h"

#include "bench/load_sizes.h"
#include "server/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    DIGITS = LOAD_REPLAY_KEY_SIZE_MIN, /* of a hash */
    ROUND_BYTES = 1 << 20,             /* a round ends when it has become that large */
    INPUT_BYTES = 1 << 16,
    LINE_MAX_BYTES = 1024,
    SILENCE_MS = 30000
};

enum deed { GET, SET, DELETE };

struct asked {
    enum deed deed;
    uint64_t key;
    uint32_t value_size;
};

struct counts {
    uint64_t requests, reads, hits, hit_bytes, miss_bytes, writes, fills, deletes, refused, corrupt;
};

struct output {
    char *data;
    size_t len, size;
};

/* Where the parser is within a reply. */
enum part { AT_LINE, IN_VALUE, AFTER_VALUE };

struct replayer {
    const struct load_options *options;
    struct size_table *sizes; /* NULL: as the options say */
    int fd;
    char *why;
    size_t why_size;
    bool quiet;

    struct asked *asked; /* of this round, 2 * pipeline at most */
    uint32_t asked_count, answered;
    struct asked *fills, *again; /* of the last round's misses: what to store and what to ask then */
    uint32_t fill_count, again_count;
    uint64_t *missing; /* keys that this round missed: an open table, 0 is free */
    uint32_t missing_mask;
    struct output out;

    char input[INPUT_BYTES];
    size_t input_at, input_len;
    char line[LINE_MAX_BYTES];
    size_t line_len;
    enum part part;
    uint64_t value_size, value_left;
    char head[DIGITS]; /* of the value that is coming in */
    bool found;        /* memcached: a value came before END */
    char refusal[160]; /* the first one */

    struct counts counts;
    int64_t start_ns, next_word_ns;
};

static bool fail(struct replayer *r, const char *what)
{
    snprintf(r->why, r->why_size, "%s", what);
    return false;
}

/* ---- requests ---------------------------------------------------------- */

static bool reserve(struct output *out, size_t more)
{
    size_t size = out->size == 0 ? 2 * ROUND_BYTES : out->size;
    char *data;

    while (size < out->len + more)
        size *= 2;
    if (size == out->size)
        return true;
    data = realloc(out->data, size);
    if (data == NULL)
        return false;
    out->data = data;
    out->size = size;
    return true;
}

static void put_text(struct output *out, const char *text)
{
    size_t len = strlen(text);

    memcpy(out->data + out->len, text, len);
    out->len += len;
}

static void digits_of(uint64_t key, char digits[DIGITS])
{
    for (int i = 0; i < DIGITS; i++)
        digits[i] = "0123456789abcdef"[key >> (60 - 4 * i) & 15];
}

/* The digits, as many as fit, and a filler. */
static void put_filled(struct output *out, uint64_t key, size_t size)
{
    char digits[DIGITS];
    size_t head = size < DIGITS ? size : DIGITS;

    digits_of(key, digits);
    memcpy(out->data + out->len, digits, head);
    memset(out->data + out->len + head, 'v', size - head);
    out->len += size;
}

static void sizes_of(const struct replayer *r, uint64_t key, uint32_t *key_size, uint32_t *value_size)
{
    *key_size = r->options->key_size;
    *value_size = r->options->value_size;
    if (r->sizes != NULL)
        size_table_pick(r->sizes, key, key_size, value_size);
    if (*key_size < DIGITS)
        *key_size = DIGITS;
    if (*key_size > LOAD_KEY_SIZE_MAX)
        *key_size = LOAD_KEY_SIZE_MAX;
}

/* What a trace calls a size holds the key as well. */
static uint32_t value_size_of(const struct replayer *r, const struct request *q)
{
    uint32_t key_size, value_size;

    sizes_of(r, q->key, &key_size, &value_size);
    if (q->size == 0)
        return value_size;
    return q->size > key_size ? (uint32_t)q->size - key_size : 1;
}

static void put_resp(struct replayer *r, const struct asked *a, uint32_t key_size)
{
    static const char *const verbs[] = {
        [GET] = "*2\r\n$3\r\nGET", [SET] = "*3\r\n$3\r\nSET", [DELETE] = "*2\r\n$3\r\nDEL"};
    char text[64];

    snprintf(text, sizeof text, "%s\r\n$%u\r\n", verbs[a->deed], key_size);
    put_text(&r->out, text);
    put_filled(&r->out, a->key, key_size);
    if (a->deed == SET) {
        snprintf(text, sizeof text, "\r\n$%u\r\n", a->value_size);
        put_text(&r->out, text);
        put_filled(&r->out, a->key, a->value_size);
    }
    put_text(&r->out, "\r\n");
}

static void put_memcache(struct replayer *r, const struct asked *a, uint32_t key_size)
{
    static const char *const verbs[] = {[GET] = "get ", [SET] = "set ", [DELETE] = "delete "};
    char text[64];

    put_text(&r->out, verbs[a->deed]);
    put_filled(&r->out, a->key, key_size);
    if (a->deed == SET) {
        snprintf(text, sizeof text, " 0 0 %u\r\n", a->value_size);
        put_text(&r->out, text);
        put_filled(&r->out, a->key, a->value_size);
    }
    put_text(&r->out, "\r\n");
}

static bool ask(struct replayer *r, struct asked a)
{
    uint32_t key_size, value_size;

    sizes_of(r, a.key, &key_size, &value_size);
    if (!reserve(&r->out, (size_t)key_size + (a.deed == SET ? a.value_size : 0) + 128))
        return fail(r, "not enough memory for a request");
    if (r->options->protocol == LOAD_RESP)
        put_resp(r, &a, key_size);
    else
        put_memcache(r, &a, key_size);
    r->asked[r->asked_count++] = a;
    return true;
}

/* ---- replies ----------------------------------------------------------- */

static bool refused(struct replayer *r)
{
    if (r->refusal[0] == '\0')
        snprintf(r->refusal, sizeof r->refusal, "%.*s", (int)r->line_len, r->line);
    r->counts.refused++;
    return true;
}

static void take_hit(struct replayer *r, const struct asked *a)
{
    char digits[DIGITS];

    digits_of(a->key, digits);
    r->counts.hits++;
    r->counts.hit_bytes += r->value_size;
    r->counts.corrupt +=
        memcmp(digits, r->head, r->value_size < DIGITS ? (size_t)r->value_size : DIGITS) != 0;
}

/* False when the key has been missed in this round already. */
static bool note_missing(struct replayer *r, uint64_t key)
{
    uint64_t mark = key != 0 ? key : 1;
    uint32_t i = (uint32_t)mark & r->missing_mask;

    while (r->missing[i] != 0) {
        if (r->missing[i] == mark)
            return false;
        i = (i + 1) & r->missing_mask;
    }
    r->missing[i] = mark;
    return true;
}

static void take_miss(struct replayer *r, const struct asked *a)
{
    if (!note_missing(r, a->key)) {
        r->again[r->again_count++] = *a;
        return;
    }
    r->counts.miss_bytes += a->value_size;
    r->fills[r->fill_count++] = (struct asked){SET, a->key, a->value_size};
}

static bool starts(const struct replayer *r, const char *text)
{
    size_t len = strlen(text);

    return r->line_len >= len && memcmp(r->line, text, len) == 0;
}

static void open_value(struct replayer *r, uint64_t size)
{
    r->value_size = r->value_left = size;
    r->part = size > 0 ? IN_VALUE : AFTER_VALUE;
    r->found = true;
}

/* Each of these looks at one whole line; *done when the reply ends with it. */

static bool take_resp_line(struct replayer *r, const struct asked *a, bool *done)
{
    *done = true;
    if (r->line[0] == '-')
        return refused(r);
    switch (a->deed) {
    case GET:
        if (starts(r, "$-1") || starts(r, "_")) {
            take_miss(r, a);
            return true;
        }
        if (r->line[0] != '$')
            return false;
        open_value(r, strtoull(r->line + 1, NULL, 10));
        *done = false;
        return true;
    case SET: return starts(r, "+OK");
    case DELETE: return r->line[0] == ':';
    }
    return false;
}

static bool take_memcache_line(struct replayer *r, const struct asked *a, bool *done)
{
    const char *size;

    *done = true;
    if (starts(r, "SERVER_ERROR") || starts(r, "CLIENT_ERROR") || starts(r, "ERROR"))
        return refused(r);
    switch (a->deed) {
    case GET:
        if (starts(r, "END")) {
            if (r->found)
                take_hit(r, a);
            else
                take_miss(r, a);
            return true;
        }
        size = strrchr(r->line, ' ');
        if (!starts(r, "VALUE ") || size == NULL)
            return false;
        open_value(r, strtoull(size + 1, NULL, 10));
        *done = false;
        return true;
    case SET: return starts(r, "STORED") || (starts(r, "NOT_STORED") && refused(r));
    case DELETE: return starts(r, "DELETED") || starts(r, "NOT_FOUND");
    }
    return false;
}

static void reply_done(struct replayer *r)
{
    r->answered++;
    r->found = false;
}

static bool take_line(struct replayer *r)
{
    const struct asked *a = &r->asked[r->answered];
    bool done, ok;

    if (r->line_len > 0 && r->line[r->line_len - 1] == '\r')
        r->line_len--;
    r->line[r->line_len] = '\0';
    ok = r->options->protocol == LOAD_RESP ? take_resp_line(r, a, &done) : take_memcache_line(r, a, &done);
    if (!ok) {
        snprintf(r->why, r->why_size, "not an answer to what was asked: %.100s", r->line);
        return false;
    }
    r->line_len = 0;
    if (done)
        reply_done(r);
    return true;
}

/* Spends all input. */
static bool take_input(struct replayer *r)
{
    while (r->input_at < r->input_len) {
        const char *at = r->input + r->input_at;
        size_t left = r->input_len - r->input_at, n;
        const char *end;

        if (r->answered == r->asked_count)
            return fail(r, "the server answers what nobody asked");
        switch (r->part) {
        case AT_LINE:
            end = memchr(at, '\n', left);
            n = end != NULL ? (size_t)(end - at) : left;
            if (r->line_len + n >= sizeof r->line)
                return fail(r, "the server's answer is a line without an end");
            memcpy(r->line + r->line_len, at, n);
            r->line_len += n;
            r->input_at += n + (end != NULL);
            if (end != NULL && !take_line(r))
                return false;
            break;
        case IN_VALUE: {
            uint64_t passed = r->value_size - r->value_left;

            n = left < r->value_left ? left : (size_t)r->value_left;
            if (passed < DIGITS)
                memcpy(r->head + passed, at, n < DIGITS - passed ? n : (size_t)(DIGITS - passed));
            r->input_at += n;
            r->value_left -= n;
            if (r->value_left == 0)
                r->part = AFTER_VALUE;
            break;
        }
        case AFTER_VALUE: /* CR LF; in RESP the reply ends with it */
            r->input_at++;
            if (*at != '\n')
                break;
            r->part = AT_LINE;
            if (r->options->protocol == LOAD_RESP) {
                take_hit(r, &r->asked[r->answered]);
                reply_done(r);
            }
            break;
        }
    }
    return true;
}

/* ---- a round ----------------------------------------------------------- */

static bool send_some(struct replayer *r, size_t *sent)
{
    ssize_t n = send(r->fd, r->out.data + *sent, r->out.len - *sent, MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return fail(r, strerror(errno));
    *sent += n > 0 ? (size_t)n : 0;
    return true;
}

static bool receive_some(struct replayer *r)
{
    ssize_t n = recv(r->fd, r->input, sizeof r->input, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0)
        return fail(r, n == 0 ? "the server closed the connection" : strerror(errno));
    r->input_at = 0;
    r->input_len = (size_t)n;
    return take_input(r);
}

/* Sends and receives at once, for a server may stop reading until its answers are read. */
static bool exchange(struct replayer *r)
{
    size_t sent = 0;

    if (!send_some(r, &sent))
        return false;
    while (r->answered < r->asked_count) {
        bool more = sent < r->out.len;
        struct pollfd wait = {.fd = r->fd, .events = (short)(POLLIN | (more ? POLLOUT : 0))};

        if (poll(&wait, 1, SILENCE_MS) == 0)
            return fail(r, "the server has been silent for 30 seconds");
        if (more && (wait.revents & POLLOUT) != 0 && !send_some(r, &sent))
            return false;
        if ((wait.revents & ~POLLOUT) != 0 && !receive_some(r))
            return false;
    }
    return true;
}

static bool begin_round(struct replayer *r)
{
    uint32_t fills = r->fill_count, again = r->again_count;

    r->out.len = 0;
    r->asked_count = r->answered = r->fill_count = r->again_count = 0;
    memset(r->missing, 0, ((size_t)r->missing_mask + 1) * sizeof r->missing[0]);
    r->counts.fills += fills;
    for (uint32_t i = 0; i < fills; i++)
        if (!ask(r, r->fills[i]))
            return false;
    for (uint32_t i = 0; i < again; i++)
        if (!ask(r, r->again[i]))
            return false;
    return true;
}

static bool ask_what_the_trace_does(struct replayer *r, const struct request *q)
{
    uint32_t value_size = value_size_of(r, q);

    r->counts.requests++;
    switch (q->op) {
    case REQUEST_READ: r->counts.reads++; return ask(r, (struct asked){GET, q->key, value_size});
    case REQUEST_WRITE: r->counts.writes++; return ask(r, (struct asked){SET, q->key, value_size});
    case REQUEST_DELETE: r->counts.deletes++; return ask(r, (struct asked){DELETE, q->key, 0});
    }
    return false;
}

static void say_progress(struct replayer *r, const struct reader *trace)
{
    int64_t now = clock_ticks_ns();
    double took = (double)(now - r->start_ns) / 1e9, done = reader_progress(trace);

    if (r->quiet || now < r->next_word_ns)
        return;
    r->next_word_ns = now + 500000000;
    fprintf(stderr, "\r%.2f M requests, hit ratio %.4f", (double)r->counts.requests / 1e6,
            r->counts.reads > 0 ? (double)r->counts.hits / (double)r->counts.reads : 0);
    if (done > 0)
        fprintf(stderr, ", %.0f s left \033[K", took * (1 - done) / done);
}

static bool is_over(const struct replayer *r)
{
    return r->options->requests > 0 && r->counts.requests == r->options->requests;
}

/* Sets and deletes go alone, so that no get of the same round can be behind or
 * before them by accident. */
static bool play_trace(struct replayer *r, struct reader *trace)
{
    struct request q;
    bool more = reader_next(trace, &q);

    while ((more && !is_over(r)) || r->fill_count > 0) {
        uint32_t n = r->again_count;

        if (!begin_round(r))
            return false;
        while (more && !is_over(r) && n < r->options->pipeline && r->out.len < ROUND_BYTES) {
            bool alone = q.op != REQUEST_READ;

            if (alone && n > 0)
                break;
            if (!ask_what_the_trace_does(r, &q))
                return false;
            more = reader_next(trace, &q);
            if (alone)
                break;
            n++;
        }
        if (!exchange(r))
            return false;
        say_progress(r, trace);
    }
    return !reader_failed(trace);
}

static bool play(struct replayer *r)
{
    for (unsigned i = 0; i < r->options->trace_count && !is_over(r); i++) {
        struct reader *trace = reader_open(r->options->traces[i], &r->options->trace_options);
        bool ok = trace != NULL && play_trace(r, trace);

        reader_close(&trace);
        if (!ok)
            return false;
    }
    return true;
}

/* ---- the result -------------------------------------------------------- */

static long long status_kib(pid_t pid, const char *name)
{
    char path[64], line[256];
    long long kib = -1;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    f = fopen(path, "r");
    if (f == NULL)
        return -1;
    while (kib < 0 && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            kib = strtoll(line + strlen(name), NULL, 10);
    fclose(f);
    return kib;
}

static double ratio(uint64_t part, uint64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0;
}

static void report(const struct replayer *r)
{
    const struct counts *c = &r->counts;
    double seconds = (double)(clock_ticks_ns() - r->start_ns) / 1e9;
    double hits = ratio(c->hits, c->reads), byte_hits = ratio(c->hit_bytes, c->hit_bytes + c->miss_bytes);
    pid_t pid = r->options->pid;
    long long rss = pid > 0 ? status_kib(pid, "VmRSS:") : -1;
    long long peak = pid > 0 ? status_kib(pid, "VmHWM:") : -1;

    if (r->options->json) {
        printf("{\"requests\":%llu,\"reads\":%llu,\"hits\":%llu,\"hit_ratio\":%.4f,\"byte_hit_ratio\":%.4f,"
               "\"fills\":%llu,\"writes\":%llu,\"deletes\":%llu,\"refused\":%llu,\"corrupt\":%llu,"
               "\"seconds\":%.2f",
               (unsigned long long)c->requests, (unsigned long long)c->reads, (unsigned long long)c->hits,
               hits, byte_hits, (unsigned long long)c->fills, (unsigned long long)c->writes,
               (unsigned long long)c->deletes, (unsigned long long)c->refused, (unsigned long long)c->corrupt,
               seconds);
        if (pid > 0)
            printf(",\"rss_kib\":%lld,\"peak_rss_kib\":%lld", rss, peak);
        printf("}\n");
        return;
    }
    printf("%llu requests in %.1f s: %llu reads, %llu writes, %llu deletes\n",
           (unsigned long long)c->requests, seconds, (unsigned long long)c->reads,
           (unsigned long long)c->writes, (unsigned long long)c->deletes);
    printf("hit ratio %.4f, by bytes %.4f; %llu misses were filled, %llu sets refused\n", hits, byte_hits,
           (unsigned long long)c->fills, (unsigned long long)c->refused);
    if (pid > 0)
        printf("the server's RSS: %.1f MiB now, %.1f MiB at most\n", (double)rss / 1024, (double)peak / 1024);
}

static bool prepare(struct replayer *r)
{
    const struct load_options *o = r->options;
    uint32_t slots = 4;

    if (o->sizes_from != NULL && (r->sizes = size_table_read(o->sizes_from, r->why, r->why_size)) == NULL)
        return false;
    while (slots < 4 * o->pipeline)
        slots *= 2;
    r->missing_mask = slots - 1;
    r->missing = calloc(slots, sizeof r->missing[0]);
    r->asked = calloc(2 * (size_t)o->pipeline, sizeof r->asked[0]);
    r->fills = calloc(o->pipeline, sizeof r->fills[0]);
    r->again = calloc(o->pipeline, sizeof r->again[0]);
    if (r->missing == NULL || r->asked == NULL || r->fills == NULL || r->again == NULL)
        return fail(r, "not enough memory");
    r->fd = net_connect(&o->server, r->why, r->why_size);
    r->start_ns = clock_ticks_ns();
    return r->fd >= 0;
}

static bool judge(struct replayer *r)
{
    if (r->counts.refused > 0)
        fprintf(stderr, "corral-load: the server refused %llu requests, the first with: %s\n",
                (unsigned long long)r->counts.refused, r->refusal);
    if (r->counts.corrupt == 0)
        return true;
    snprintf(r->why, r->why_size, "%llu values were not what had been written",
             (unsigned long long)r->counts.corrupt);
    return false;
}

bool replay_run(const struct load_options *o, char *why, size_t why_size)
{
    struct replayer *r = calloc(1, sizeof *r);
    bool ok;

    if (r == NULL)
        return false;
    r->options = o;
    r->fd = -1;
    r->why = why;
    r->why_size = why_size;
    r->quiet = !isatty(STDERR_FILENO);
    ok = prepare(r) && play(r);
    if (!r->quiet)
        fputs("\r\033[K", stderr);
    if (ok)
        report(r);
    ok = ok && judge(r);
    if (r->fd >= 0)
        close(r->fd);
    size_table_free(&r->sizes);
    free(r->missing);
    free(r->asked);
    free(r->fills);
    free(r->again);
    free(r->out.data);
    free(r);
    return ok;
}
