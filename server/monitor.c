#include "server/monitor.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/check.h"
#include "server/post.h"
#include "server/push.h"
#include "server/server.h"

struct monitors {
    pthread_mutex_t lock;
    post_address *who;
    size_t len, cap;
};

struct monitors *monitors_new(void)
{
    struct monitors *m = calloc(1, sizeof *m);

    if (m != NULL)
        pthread_mutex_init(&m->lock, NULL);
    return m;
}

void monitors_free(struct monitors **monitors)
{
    if (*monitors == NULL)
        return;
    CHECK((*monitors)->len == 0);
    pthread_mutex_destroy(&(*monitors)->lock);
    free((*monitors)->who);
    free(*monitors);
    *monitors = NULL;
}

static bool make_room(struct monitors *m)
{
    size_t cap = m->cap > 0 ? 2 * m->cap : 4;
    post_address *who;

    if (m->len < m->cap)
        return true;
    if ((who = realloc(m->who, cap * sizeof *who)) == NULL)
        return false;
    m->who = who;
    m->cap = cap;
    return true;
}

bool monitor_start(struct server *server, struct session *session)
{
    struct monitors *m = server->monitors;
    bool room;

    pthread_mutex_lock(&m->lock);
    if ((room = make_room(m))) {
        m->who[m->len++] = address_of(session);
        session->modes |= SESSION_MONITOR;
        session_show(session, SHOWN_MONITOR, true);
        atomic_fetch_or_explicit(&server->modes, SERVER_MONITORED, memory_order_relaxed);
    }
    pthread_mutex_unlock(&m->lock);
    return room;
}

void monitor_stop(struct server *server, struct session *session)
{
    struct monitors *m = server->monitors;
    post_address who = address_of(session);

    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->len; i++) {
        if (m->who[i] == who) {
            m->who[i] = m->who[--m->len];
            break;
        }
    }
    if (m->len == 0)
        atomic_fetch_and_explicit(&server->modes, ~(unsigned)SERVER_MONITORED, memory_order_relaxed);
    pthread_mutex_unlock(&m->lock);
    session->modes &= ~(unsigned)SESSION_MONITOR;
    session_show(session, SHOWN_MONITOR, false);
}

/* ---- lines ---- */

static void add_byte(struct out *line, uint8_t byte)
{
    static const char named[] = {['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't', ['\a'] = 'a', ['\b'] = 'b'};
    uint8_t *p = out_room(line, 4);

    if (byte == '"' || byte == '\\') {
        *p++ = '\\';
        *p++ = byte;
    } else if (byte < sizeof named && named[byte] != 0) {
        *p++ = '\\';
        *p++ = (uint8_t)named[byte];
    } else if (byte >= ' ' && byte <= '~') {
        *p++ = byte;
    } else {
        static const char hex[] = "0123456789abcdef";

        *p++ = '\\';
        *p++ = 'x';
        *p++ = (uint8_t)hex[byte >> 4];
        *p++ = (uint8_t)hex[byte & 15];
    }
    out_commit(line, p);
}

static void add_text(struct out *line, const char *text)
{
    out_append(line, text, strlen(text));
}

static void add_word(struct out *line, struct slice word)
{
    size_t shown = word.len < MONITOR_WORD_MAX ? word.len : MONITOR_WORD_MAX;
    char more[48];

    add_text(line, " \"");
    for (size_t i = 0; i < shown; i++)
        add_byte(line, word.data[i]);
    if (shown < word.len) {
        snprintf(more, sizeof more, "... (%zu more bytes)", word.len - shown);
        add_text(line, more);
    }
    add_text(line, "\"");
}

/* Passwords are nobody's business: all words of AUTH, and two after HELLO's AUTH. */
static bool is_secret(const struct command *command, const struct request *rq, uint32_t i)
{
    if (command == NULL || i == 0)
        return false;
    if (command->handler == cmd_auth)
        return true;
    return command->handler == cmd_hello &&
           (slice_is(rq->argv[i - 1], "auth") || (i > 1 && slice_is(rq->argv[i - 2], "auth")));
}

static void add_request(struct out *line, const struct command *command, const struct request *rq)
{
    char more[48];
    uint32_t i;

    for (i = 0; i < rq->argc && line->len < MONITOR_LINE_MAX; i++) {
        if (is_secret(command, rq, i))
            add_text(line, " \"(redacted)\"");
        else
            add_word(line, rq->argv[i]);
    }
    if (i < rq->argc) {
        snprintf(more, sizeof more, " ... (%u more words)", rq->argc - i);
        add_text(line, more);
    }
    if (command == NULL && rq->data.len > 0)
        add_word(line, rq->data);
    add_text(line, "\r\n");
}

static struct blob *line_of(struct exec *x, const struct command *command, const struct request *rq)
{
    struct out line = {0};
    struct blob *body = NULL;
    int64_t us = clock_now_us();
    char head[64];

    snprintf(head, sizeof head, "+%lld.%06d [%d ", (long long)(us / 1000000), (int)(us % 1000000),
             x->session->db);
    add_text(&line, head);
    if (x->session->address[0] == '/') { /* "/path:0" */
        add_text(&line, "unix:");
        out_append(&line, x->session->address, strlen(x->session->address) - 2);
    } else {
        add_text(&line, x->session->address);
    }
    add_text(&line, "]");
    add_request(&line, command, rq);
    if (!line.failed && (body = blob_new(line.len)) != NULL)
        memcpy(body->data, line.data, line.len);
    out_free(&line);
    return body;
}

/* Administration is not shown, subcommands included. */
static bool is_administration(const struct command *command, const struct request *rq)
{
    static const char *const of_client[] = {"kill", "list", "no-evict", "pause", "unblock", "unpause"};

    if (command->flags & (CMD_ADMIN | CMD_SKIP_MONITOR))
        return true;
    if (command->handler == cmd_config)
        return true;
    for (size_t i = 0; command->handler == cmd_client && i < sizeof of_client / sizeof of_client[0]; i++) {
        if (slice_is(rq->argv[1], of_client[i]))
            return true;
    }
    return false;
}

void monitor_feed(struct exec *x, const struct command *command, const struct request *rq)
{
    struct monitors *m = x->server->monitors;
    struct blob *body;

    if (command != NULL && is_administration(command, rq))
        return;
    if ((body = line_of(x, command, rq)) == NULL) {
        counter_add(x->counters, push_dropped, 1);
        return;
    }
    pthread_mutex_lock(&m->lock);
    post_later(x->server, LETTER_LINE, body, 0, m->who, m->len);
    pthread_mutex_unlock(&m->lock);
    blob_unpin(&body);
}
