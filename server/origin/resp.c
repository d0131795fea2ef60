/* resp.c - origins that speak RESP: one connection, on which requests are pipelined.
 *
 * hiredis keeps the requests in order and gives them all back, without a reply,
 * when the connection breaks. A call that is cancelled leaves its place in that
 * order behind. When nothing at all has come for as long as a call may take, it
 * is the connection that is dead, and the next call begins with a new one.
 *
 * Names are looked up by the C library's own threads (getaddrinfo_a), since a
 * name server that does not answer must not hold up the other origins. */
#include <hiredis/async.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/clock.h"
#include "server/origin/backend.h"

enum { RESOLVE_LOOK_MS = 5, READER_SLACK = 64 * 1024, WORDS_MAX = 5 };

/* A call's place among those sent; stays when the call is cancelled. */
struct place {
    struct call *call;
    struct resp *resp;
    bool early; /* the name is still looked up: it is in the list */
    struct place *next, *prev;
};

struct watched {
    struct loop_source source; /* first */
    redisAsyncContext *ac;
    struct resp *resp;
    unsigned events;
    bool added;
};

struct resp {
    struct backend backend; /* first */
    const struct origin_rule *rule;
    struct loop *loop;
    struct timers *timers;
    size_t value_max;
    redisAsyncContext *ac; /* NULL: not connected, nor about to be */
    int64_t heard_ms;      /* when a reply last came, or the connection was begun */
    struct place *early;   /* called before the name was known; newest first */
    struct timer look;     /* at whether the name is known */
    bool resolving;
    const char *dropped;  /* why the last connection was given up by us */
    struct gaicb *lookup; /* the C library's while it looks; freed when it is done */
};

static void send_place(struct resp *r, struct place *p);

static int64_t ticks(void)
{
    return clock_ticks_ns() / 1000000;
}

/* ---- the loop ---- */

static void watch(struct watched *w, unsigned events)
{
    if (events == w->events)
        return;
    w->events = events;
    if (!w->added) {
        w->added = loop_add(w->resp->loop, w->ac->c.fd, events, &w->source);
        return;
    }
    (void)loop_change(w->resp->loop, w->ac->c.fd, events, &w->source);
}

static void add_read(void *arg)
{
    struct watched *w = arg;
    watch(w, w->events | LOOP_READ);
}

static void del_read(void *arg)
{
    struct watched *w = arg;
    watch(w, w->events & ~(unsigned)LOOP_READ);
}

static void add_write(void *arg)
{
    struct watched *w = arg;
    watch(w, w->events | LOOP_WRITE);
}

static void del_write(void *arg)
{
    struct watched *w = arg;
    watch(w, w->events & ~(unsigned)LOOP_WRITE);
}

static void stop_watching(void *arg)
{
    struct watched *w = arg;

    if (w->added)
        loop_remove(w->resp->loop, w->ac->c.fd);
    free(w);
}

/* An answer that grows and grows must not take all memory. */
static bool is_too_long(const struct resp *r)
{
    return r->ac->c.reader->len - r->ac->c.reader->pos > r->value_max + READER_SLACK;
}

static void drop_connection(struct resp *r, const char *why)
{
    redisAsyncContext *ac = r->ac;

    r->dropped = why;

    r->ac = NULL; /* those it gives back may be sent again at once */
    if (ac != NULL)
        redisAsyncFree(ac);
}

static void on_ready(struct loop_source *source, unsigned events)
{
    struct watched *w = (struct watched *)source;
    redisAsyncContext *ac = w->ac;
    struct resp *r = w->resp;

    if (events & (LOOP_READ | LOOP_BROKEN)) {
        redisAsyncHandleRead(ac);
        if (r->ac != ac)
            return; /* gone, and w with it */
        if (is_too_long(r)) {
            drop_connection(r, "an answer is longer than max-item-size");
            return;
        }
    }
    if (events & LOOP_WRITE)
        redisAsyncHandleWrite(ac);
}

/* ---- connecting ---- */

static void on_connected(const redisAsyncContext *ac, int status)
{
    struct resp *r = ac->data;

    if (status != REDIS_OK && r->ac == ac)
        r->ac = NULL;
}

static void on_disconnected(const redisAsyncContext *ac, int status)
{
    struct resp *r = ac->data;

    (void)status;
    if (r->ac == ac)
        r->ac = NULL;
}

/* A wrong password: what follows would be refused one by one. */
static void on_greeted(redisAsyncContext *ac, void *reply, void *arg)
{
    const redisReply *said = reply;

    (void)arg;
    if (said != NULL && said->type == REDIS_REPLY_ERROR)
        redisAsyncDisconnect(ac);
}

static void greet(struct resp *r)
{
    if (r->rule->password != NULL)
        redisAsyncCommand(r->ac, on_greeted, NULL, "AUTH %s", r->rule->password);
    if (r->rule->db != 0)
        redisAsyncCommand(r->ac, on_greeted, NULL, "SELECT %d", r->rule->db);
}

/* Nothing we ask for is answered with an array: one that announces a thousand
 * million elements must not be made room for. */
static void *make_no_array(const redisReadTask *task, int elements)
{
    (void)task;
    (void)elements;
    return NULL;
}

static void refuse_arrays(redisAsyncContext *ac)
{
    static redisReplyObjectFunctions without_arrays;

    without_arrays = *ac->c.reader->fn;
    without_arrays.createArray = make_no_array;
    ac->c.reader->fn = &without_arrays;
}

/* Takes the context over. False: *why says what is wrong. */
static bool adopt(struct resp *r, redisAsyncContext *ac, char *why, size_t why_len)
{
    struct watched *w = calloc(1, sizeof *w);

    if (ac == NULL || ac->err != 0 || w == NULL) {
        snprintf(why, why_len, "cannot connect: %s", ac != NULL && ac->err != 0 ? ac->errstr : "no memory");
        if (ac != NULL)
            redisAsyncFree(ac);
        free(w);
        return false;
    }
    *w = (struct watched){.source.ready = on_ready, .ac = ac, .resp = r};
    ac->data = r;
    ac->ev.data = w;
    ac->ev.addRead = add_read;
    ac->ev.delRead = del_read;
    ac->ev.addWrite = add_write;
    ac->ev.delWrite = del_write;
    ac->ev.cleanup = stop_watching;
    r->ac = ac;
    r->heard_ms = ticks();
    redisAsyncSetConnectCallback(ac, on_connected);
    redisAsyncSetDisconnectCallback(ac, on_disconnected);
    refuse_arrays(ac);
    greet(r);
    return true;
}

static void early_free(struct place *p)
{
    if (p->next != NULL)
        p->next->prev = p->prev;
    if (p->prev != NULL)
        p->prev->next = p->next;
    else
        p->resp->early = p->next;
    free(p);
}

static void fail_early(struct resp *r, const char *why)
{
    while (r->early != NULL) {
        struct call *call = r->early->call;

        early_free(r->early);
        call_fail(call, ANSWER_FAILED, why);
    }
}

static void send_early(struct resp *r)
{
    struct place *p = r->early, *first = NULL;

    r->early = NULL;
    while (p != NULL) { /* in the order they came */
        struct place *next = p->next;

        p->next = first;
        p->prev = NULL;
        first = p;
        p = next;
    }
    while (first != NULL) {
        p = first;
        first = p->next;
        p->next = NULL;
        p->early = false;
        send_place(r, p);
    }
}

static bool connect_to(struct resp *r, const struct addrinfo *found, char *why, size_t why_len)
{
    char address[NI_MAXHOST];

    if (getnameinfo(found->ai_addr, found->ai_addrlen, address, sizeof address, NULL, 0, NI_NUMERICHOST) !=
        0) {
        snprintf(why, why_len, "cannot connect: the name has no usable address");
        return false;
    }
    return adopt(r, redisAsyncConnect(address, r->rule->port), why, why_len);
}

static void lookup_free(struct gaicb **lookup)
{
    if (*lookup == NULL)
        return;
    if ((*lookup)->ar_result != NULL)
        freeaddrinfo((*lookup)->ar_result);
    free(*lookup);
    *lookup = NULL;
}

static void look_at_lookup(struct timer *timer)
{
    struct resp *r = (struct resp *)((uintptr_t)timer - offsetof(struct resp, look));
    int status = gai_error(r->lookup);
    char why[256];
    bool good;

    if (status == EAI_INPROGRESS) {
        if (!timers_set(r->timers, timer, (instant){ticks() + RESOLVE_LOOK_MS}))
            fail_early(r, "no memory");
        return;
    }
    r->resolving = false;
    if (status != 0) {
        snprintf(why, sizeof why, "cannot find %s: %s", r->rule->host, gai_strerror(status));
        good = false;
    } else {
        good = connect_to(r, r->lookup->ar_result, why, sizeof why);
    }
    lookup_free(&r->lookup);
    if (good)
        send_early(r);
    else
        fail_early(r, why);
}

static bool begin_lookup(struct resp *r)
{
    struct gaicb *list[1];

    if (r->resolving)
        return true;
    if ((r->lookup = calloc(1, sizeof *r->lookup)) == NULL)
        return false;
    r->lookup->ar_name = r->rule->host;
    list[0] = r->lookup;
    if (getaddrinfo_a(GAI_NOWAIT, list, 1, NULL) != 0) {
        lookup_free(&r->lookup);
        return false;
    }
    r->resolving = true;
    return timers_set(r->timers, &r->look, (instant){ticks() + RESOLVE_LOOK_MS});
}

static bool is_address(const char *host)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST}, *found;

    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        return false;
    freeaddrinfo(found);
    return true;
}

/* ---- calls ---- */

static void read_value(const redisReply *said, struct answer *answer)
{
    switch (said->type) {
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
        answer->kind = ANSWER_VALUE;
        answer->value = (struct slice){(const uint8_t *)said->str, said->len};
        return;
    case REDIS_REPLY_NIL: answer->kind = ANSWER_ABSENT; return;
    }
    answer->kind = ANSWER_REFUSED;
    answer->why = "it answered with something that is no string";
}

/* "LOADING", "BUSY" and the like pass; whatever else it says will be said again. */
static bool will_pass(const char *error)
{
    static const char *const codes[] = {"LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "OOM"};

    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (strncmp(error, codes[i], strlen(codes[i])) == 0)
            return true;
    }
    return false;
}

static void on_reply(redisAsyncContext *ac, void *reply, void *arg)
{
    const redisReply *said = reply;
    struct place *p = arg;
    struct resp *r = p->resp;
    struct call *call = p->call;
    struct answer answer = {.kind = ANSWER_DONE};
    char why[256];

    r->heard_ms = ticks();
    free(p);
    if (call == NULL)
        return; /* it was cancelled */
    if (said == NULL) {
        answer.kind = ANSWER_FAILED;
        snprintf(why, sizeof why, "%s",
                 ac->err != 0                          ? ac->errstr
                 : r->ac == NULL && r->dropped != NULL ? r->dropped
                                                       : "the connection was closed");
        answer.why = why;
    } else if (said->type == REDIS_REPLY_ERROR) {
        answer.kind = will_pass(said->str) ? ANSWER_FAILED : ANSWER_REFUSED;
        snprintf(why, sizeof why, "it answered: %.200s", said->str);
        answer.why = why;
    } else if (call->kind == CALL_GET) {
        read_value(said, &answer);
    } else {
        answer.existed = said->type == REDIS_REPLY_INTEGER && said->integer > 0;
    }
    call_end(call, &answer);
}

static void send_place(struct resp *r, struct place *p)
{
    const struct call *call = p->call;
    const char *words[WORDS_MAX] = {NULL, (const char *)call->key.data, NULL, NULL, NULL};
    size_t lens[WORDS_MAX] = {3, call->key.len, 0, 0, 0};
    char ttl[24];
    int n = 2;

    words[0] = call->kind == CALL_GET ? "GET" : call->kind == CALL_SET ? "SET" : "DEL";
    if (call->kind == CALL_SET) {
        words[n] = call->value.len > 0 ? (const char *)call->value.data : "";
        lens[n++] = call->value.len;
    }
    if (call->kind == CALL_SET && call->ttl_ms > 0) {
        words[n] = "PX";
        lens[n++] = 2;
        words[n] = ttl;
        lens[n++] = (size_t)snprintf(ttl, sizeof ttl, "%lld", (long long)call->ttl_ms);
    }
    if (redisAsyncCommandArgv(r->ac, on_reply, p, n, words, lens) != REDIS_OK) {
        struct call *failed = p->call;

        free(p);
        call_fail(failed, ANSWER_FAILED, "the connection is being closed");
    }
}

/* Connects, or begins to. False: why. */
static bool make_ready(struct resp *r, char *why, size_t why_len)
{
    if (r->ac != NULL)
        return true;
    if (r->rule->path != NULL)
        return adopt(r, redisAsyncConnectUnix(r->rule->path), why, why_len);
    if (is_address(r->rule->host))
        return adopt(r, redisAsyncConnect(r->rule->host, r->rule->port), why, why_len);
    snprintf(why, why_len, "no memory");
    return begin_lookup(r);
}

static void start(struct backend *backend, struct call *call)
{
    struct resp *r = (struct resp *)backend;
    struct place *p = calloc(1, sizeof *p);
    char why[256] = "no memory";

    if (p == NULL || !make_ready(r, why, sizeof why)) {
        free(p);
        call_fail(call, ANSWER_FAILED, why);
        return;
    }
    p->call = call;
    p->resp = r;
    call->handle = p;
    if (r->ac != NULL) {
        send_place(r, p);
        return;
    }
    p->early = true;
    p->next = r->early;
    if (p->next != NULL)
        p->next->prev = p;
    r->early = p;
}

static void cancel(struct backend *backend, struct call *call)
{
    struct resp *r = (struct resp *)backend;
    struct place *p = call->handle;

    if (p->early) {
        early_free(p);
        return;
    }
    p->call = NULL;
    if (r->ac != NULL && ticks() - r->heard_ms >= r->rule->timeout_ms)
        drop_connection(r, "nothing came for too long");
}

static void resp_free(struct backend *backend)
{
    struct resp *r = (struct resp *)backend;

    drop_connection(r, "the origin is not used any more");
    timers_cancel(r->timers, &r->look);
    while (r->early != NULL)
        early_free(r->early);
    if (r->resolving) {
        const struct gaicb *list[1] = {r->lookup};

        if (gai_cancel(r->lookup) == EAI_NOTCANCELED)
            (void)gai_suspend(list, 1, NULL);
    }
    lookup_free(&r->lookup);
    free(r);
}

struct backend *backend_resp_new(const struct origin_rule *rule, struct loop *loop, struct timers *timers,
                                 size_t value_max)
{
    static const struct backend_type type = {.start = start, .cancel = cancel, .free = resp_free};
    struct resp *r = calloc(1, sizeof *r);

    if (r == NULL)
        return NULL;
    *r = (struct resp){
        .backend.type = &type, .rule = rule, .loop = loop, .timers = timers, .value_max = value_max};
    r->look.fire = look_at_lookup;
    return &r->backend;
}
