/* http.c - origins that speak HTTP: libcurl's multi interface in our loop.
 *
 * libcurl keeps the connections, and uses one again when it may; names are
 * looked up by a thread of its own. It tells which sockets it wants to hear
 * of, and by when it wants to be called, and is called on either. */
#include "config.h"
#ifdef CORRAL_CURL

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/clock.h"
#include "server/origin/backend.h"
#include "server/origin/cache_control.h"

enum { WHY_MAX = CURL_ERROR_SIZE + 64, BODY_FIRST = 4096, HEADER_MAX = 64 * 1024 };

struct http {
    struct backend backend; /* first */
    const struct origin_rule *rule;
    struct loop *loop;
    struct timers *timers;
    size_t value_max;
    CURLM *multi;
    struct curl_slist *headers;
    struct timer timer;
    struct watched *watched; /* all of them */
    struct watched *gone;    /* and those that are watched no longer */
    struct timer burial;     /* when they can be freed */
};

/* One exchange; the call's handle. */
struct exchange {
    struct http *http;
    struct call *call;
    CURL *easy;
    char *url;
    uint8_t *body; /* of the answer */
    size_t len, cap;
    size_t sent; /* of what is written */
    size_t header_bytes;
    bool too_long;
    struct cache_control control;
    int64_t age_s;
    char error[CURL_ERROR_SIZE];
};

struct watched {
    struct loop_source source; /* first */
    struct http *http;
    curl_socket_t fd;
    bool gone;
    struct watched *next, *prev;
};

/* ---- the library ---- */

/* Loaded when there is an HTTP origin: with all that it needs itself it takes
 * some megabytes, which most nodes have no use for. */
/* clang-format off */
#define FUNCTIONS(F) \
    F(global_init) \
    F(easy_init) F(easy_setopt) F(easy_getinfo) F(easy_cleanup) F(easy_strerror) \
    F(multi_init) F(multi_setopt) F(multi_cleanup) F(multi_add_handle) F(multi_remove_handle) \
    F(multi_socket_action) F(multi_info_read) F(multi_assign) \
    F(slist_append) F(slist_free_all)
/* clang-format on */
static struct {
#define FUNCTION(name) __typeof__(&curl_##name) name;
    FUNCTIONS(FUNCTION)
#undef FUNCTION
} curl;

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static char curl_missing[256]; /* what is wrong with it; empty: nothing */

static void find_function(void *library, const char *name, void **at)
{
    *at = dlsym(library, name);
    if (*at == NULL)
        snprintf(curl_missing, sizeof curl_missing, "libcurl.so.4 is too old: it has no %s", name);
}

static void load_curl(void)
{
    void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);

    if (library == NULL) {
        snprintf(curl_missing, sizeof curl_missing, "HTTP needs libcurl (on Debian: libcurl4): %.200s",
                 dlerror());
        return;
    }
#define FUNCTION(name) find_function(library, "curl_" #name, (void **)&curl.name);
    FUNCTIONS(FUNCTION)
#undef FUNCTION
    if (curl_missing[0] == '\0' && curl.global_init(CURL_GLOBAL_DEFAULT) != 0)
        snprintf(curl_missing, sizeof curl_missing, "libcurl does not start");
}

const char *backend_http_missing(void)
{
    pthread_once(&curl_once, load_curl);
    return curl_missing[0] != '\0' ? curl_missing : NULL;
}

/* ---- the url of a key ---- */

static bool is_unreserved(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

/* "." and ".." would be taken for steps in the path: their dots are escaped, too. */
static bool is_dots(struct slice key)
{
    return (key.len == 1 || key.len == 2) && memcmp(key.data, "..", key.len) == 0;
}

static char *url_of(const struct origin_rule *rule, struct slice key)
{
    static const char hex[] = "0123456789ABCDEF";
    const char *at = strstr(rule->url, "{key}");
    size_t before = (size_t)(at - rule->url);
    char *url = malloc(strlen(rule->url) + 3 * key.len + 1), *p;
    bool dots = key.len > 0 && is_dots(key);

    if (url == NULL)
        return NULL;
    memcpy(url, rule->url, before);
    p = url + before;
    for (size_t i = 0; i < key.len; i++) {
        uint8_t c = key.data[i];

        if (is_unreserved(c) && !dots) {
            *p++ = (char)c;
        } else {
            *p++ = '%';
            *p++ = hex[c >> 4];
            *p++ = hex[c & 15];
        }
    }
    strcpy(p, at + strlen("{key}"));
    return url;
}

/* ---- one exchange ---- */

static void exchange_free(struct exchange *e)
{
    if (e->easy != NULL) {
        curl.multi_remove_handle(e->http->multi, e->easy);
        curl.easy_cleanup(e->easy);
    }
    free(e->url);
    free(e->body);
    free(e);
}

static size_t on_body(char *data, size_t one, size_t len, void *arg)
{
    struct exchange *e = arg;

    (void)one;
    if (len > e->http->value_max - e->len) {
        e->too_long = true;
        return 0;
    }
    if (e->len + len > e->cap) {
        size_t cap = e->cap * 2 > e->len + len ? e->cap * 2 : e->len + len + BODY_FIRST;
        uint8_t *body = realloc(e->body, cap);

        if (body == NULL)
            return 0;
        e->body = body;
        e->cap = cap;
    }
    if (len > 0)
        memcpy(e->body + e->len, data, len);
    e->len += len;
    return len;
}

static size_t on_header(char *data, size_t one, size_t len, void *arg)
{
    struct exchange *e = arg;
    const char *colon = memchr(data, ':', len);
    struct slice name, value;
    uint64_t age;

    (void)one;
    e->header_bytes += len;
    if (e->header_bytes > HEADER_MAX)
        return 0;
    if (len > 5 && memcmp(data, "HTTP/", 5) == 0) { /* what came before was 100 Continue, or a redirect */
        e->control = (struct cache_control){0};
        e->age_s = 0;
    }
    if (colon == NULL)
        return len;
    name = (struct slice){(const uint8_t *)data, (size_t)(colon - data)};
    value = (struct slice){(const uint8_t *)colon + 1, len - name.len - 1};
    if (slice_is(name, "cache-control"))
        cache_control_read(&e->control, value);
    while (value.len > 0 && (*value.data == ' ' || *value.data == '\t')) {
        value.data++;
        value.len--;
    }
    while (value.len > 0 && value.data[value.len - 1] <= ' ')
        value.len--;
    if (slice_is(name, "age") && slice_to_u64(value, &age) && age < INT32_MAX)
        e->age_s = (int64_t)age;
    return len;
}

static size_t on_upload(char *to, size_t one, size_t room, void *arg)
{
    struct exchange *e = arg;
    struct slice value = e->call->value;
    size_t n = value.len - e->sent < one * room ? value.len - e->sent : one * room;

    if (n > 0)
        memcpy(to, value.data + e->sent, n);
    e->sent += n;
    return n;
}

/* Sent again on another connection, when the one that was kept turns out to be closed. */
static int on_rewind(void *arg, curl_off_t offset, int origin)
{
    struct exchange *e = arg;

    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > e->call->value.len)
        return CURL_SEEKFUNC_CANTSEEK;
    e->sent = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

static void set_up(struct exchange *e)
{
    CURL *c = e->easy;

    curl.easy_setopt(c, CURLOPT_PRIVATE, e);
    curl.easy_setopt(c, CURLOPT_URL, e->url);
    curl.easy_setopt(c, CURLOPT_ERRORBUFFER, e->error);
    curl.easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl.easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl.easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
    curl.easy_setopt(c, CURLOPT_HTTPHEADER, e->http->headers);
    curl.easy_setopt(c, CURLOPT_USERAGENT, "corral/" CORRAL_VERSION);
    curl.easy_setopt(c, CURLOPT_PROXY, ""); /* whatever the environment says */
    curl.easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)e->http->rule->timeout_ms + 1000L); /* ours comes first */
    curl.easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl.easy_setopt(c, CURLOPT_WRITEDATA, e);
    curl.easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl.easy_setopt(c, CURLOPT_HEADERDATA, e);
    if (e->call->kind == CALL_DELETE)
        curl.easy_setopt(c, CURLOPT_CUSTOMREQUEST, "DELETE");
    if (e->call->kind != CALL_SET)
        return;
    curl.easy_setopt(c, CURLOPT_UPLOAD, 1L);
    curl.easy_setopt(c, CURLOPT_READFUNCTION, on_upload);
    curl.easy_setopt(c, CURLOPT_READDATA, e);
    curl.easy_setopt(c, CURLOPT_SEEKFUNCTION, on_rewind);
    curl.easy_setopt(c, CURLOPT_SEEKDATA, e);
    curl.easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)e->call->value.len);
}

static void start(struct backend *backend, struct call *call)
{
    struct http *h = (struct http *)backend;
    struct exchange *e = calloc(1, sizeof *e);

    if (e == NULL) {
        call_fail(call, ANSWER_FAILED, "out of memory");
        return;
    }
    e->http = h;
    e->call = call;
    if ((e->url = url_of(h->rule, call->key)) == NULL || (e->easy = curl.easy_init()) == NULL) {
        exchange_free(e);
        call_fail(call, ANSWER_FAILED, "out of memory");
        return;
    }
    set_up(e);
    call->handle = e;
    if (curl.multi_add_handle(h->multi, e->easy) != CURLM_OK) {
        exchange_free(e);
        call_fail(call, ANSWER_FAILED, "out of memory");
    }
}

static void cancel(struct backend *backend, struct call *call)
{
    (void)backend;
    exchange_free(call->handle);
}

/* ---- answers ---- */

static bool is_good(long status)
{
    return status >= 200 && status < 300;
}

/* "Come again": too many requests, too early, and what the other end calls its own fault. */
static bool will_pass(long status)
{
    return status >= 500 || status == 408 || status == 425 || status == 429;
}

static bool is_absent(long status)
{
    return status == 404 || status == 410;
}

static void read_control(const struct exchange *e, struct answer *answer)
{
    answer->no_store = e->control.no_store;
    answer->has_max_age = e->control.has_max_age;
    answer->max_age_s = e->control.max_age_s - e->age_s;
    answer->stale_s = e->control.stale_s;
}

static void read_status(const struct exchange *e, long status, struct answer *answer, char why[WHY_MAX])
{
    if (is_good(status)) {
        answer->kind = e->call->kind == CALL_GET ? ANSWER_VALUE : ANSWER_DONE;
        answer->existed = e->call->kind == CALL_DELETE;
        answer->value = (struct slice){e->body != NULL ? e->body : (const uint8_t *)"", e->len};
        read_control(e, answer);
        return;
    }
    if (is_absent(status) && e->call->kind != CALL_SET) {
        answer->kind = e->call->kind == CALL_GET ? ANSWER_ABSENT : ANSWER_DONE;
        return;
    }
    answer->kind = will_pass(status) ? ANSWER_FAILED : ANSWER_REFUSED;
    snprintf(why, WHY_MAX, "it answered with status %ld", status);
    answer->why = why;
}

static void finish(struct exchange *e, CURLcode code)
{
    struct call *call = e->call;
    struct answer answer = {0};
    char why[WHY_MAX];
    long status = 0;

    curl.easy_getinfo(e->easy, CURLINFO_RESPONSE_CODE, &status);
    if (code == CURLE_OK) {
        read_status(e, status, &answer, why);
    } else {
        answer.kind = e->too_long ? ANSWER_REFUSED : ANSWER_FAILED;
        answer.why = e->too_long           ? "its answer is longer than max-item-size"
                     : e->error[0] != '\0' ? e->error
                                           : curl.easy_strerror(code);
    }
    call_end(call, &answer);
    exchange_free(e); /* the answer lies in it */
}

static void look_for_finished(struct http *h)
{
    CURLMsg *message;
    int left;

    while ((message = curl.multi_info_read(h->multi, &left)) != NULL) {
        struct exchange *e = NULL;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl.easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &e);
        finish(e, message->data.result);
    }
}

/* ---- the loop ---- */

static void on_ready(struct loop_source *source, unsigned events)
{
    struct watched *w = (struct watched *)source;
    struct http *h = w->http;
    int what = 0, running;

    if (w->gone)
        return;
    if (events & (LOOP_READ | LOOP_BROKEN))
        what |= CURL_CSELECT_IN;
    if (events & LOOP_WRITE)
        what |= CURL_CSELECT_OUT;
    if (events & LOOP_BROKEN)
        what |= CURL_CSELECT_ERR;
    curl.multi_socket_action(h->multi, w->fd, what, &running); /* w may be gone after this */
    look_for_finished(h);
}

static void on_time(struct timer *timer)
{
    struct http *h = (struct http *)((uintptr_t)timer - offsetof(struct http, timer));
    int running;

    curl.multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    look_for_finished(h);
}

static int set_time(CURLM *multi, long ms, void *arg)
{
    struct http *h = arg;

    (void)multi;
    if (ms < 0)
        timers_cancel(h->timers, &h->timer);
    else if (!timers_set(h->timers, &h->timer, (instant){clock_ticks_ns() / 1000000 + ms}))
        return -1;
    return 0;
}

static void bury(struct http *h)
{
    while (h->gone != NULL) {
        struct watched *w = h->gone;

        h->gone = w->next;
        free(w);
    }
}

static void on_burial(struct timer *timer)
{
    bury((struct http *)((uintptr_t)timer - offsetof(struct http, burial)));
}

/* One socket's event may end another's use, and the loop may have found that one
 * ready, too: it is freed only when the loop is through with what it found. */
static void unwatch(struct watched *w)
{
    struct http *h = w->http;

    loop_remove(h->loop, w->fd);
    if (w->prev != NULL)
        w->prev->next = w->next;
    else
        h->watched = w->next;
    if (w->next != NULL)
        w->next->prev = w->prev;
    w->gone = true;
    w->next = h->gone;
    h->gone = w;
    (void)timers_set(h->timers, &h->burial, (instant){clock_ticks_ns() / 1000000});
}

static struct watched *watch(struct http *h, curl_socket_t fd, unsigned events)
{
    struct watched *w = calloc(1, sizeof *w);

    if (w == NULL)
        return NULL;
    *w = (struct watched){.source.ready = on_ready, .http = h, .fd = fd, .next = h->watched};
    if (!loop_add(h->loop, fd, events, &w->source)) {
        free(w);
        return NULL;
    }
    if (w->next != NULL)
        w->next->prev = w;
    h->watched = w;
    curl.multi_assign(h->multi, fd, w);
    return w;
}

static int set_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
    struct http *h = arg;
    struct watched *w = known;
    unsigned events = (what & CURL_POLL_IN ? LOOP_READ : 0u) | (what & CURL_POLL_OUT ? LOOP_WRITE : 0u);

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w != NULL)
            unwatch(w);
        return 0;
    }
    if (w != NULL)
        return loop_change(h->loop, fd, events, &w->source) ? 0 : -1;
    return watch(h, fd, events) != NULL ? 0 : -1;
}

/* ---- life ---- */

static void http_free(struct backend *backend)
{
    struct http *h = (struct http *)backend;

    timers_cancel(h->timers, &h->timer);
    if (h->multi != NULL)
        curl.multi_cleanup(h->multi);
    timers_cancel(h->timers, &h->timer);
    while (h->watched != NULL)
        unwatch(h->watched);
    timers_cancel(h->timers, &h->burial);
    bury(h);
    curl.slist_free_all(h->headers);
    free(h);
}

struct backend *backend_http_new(const struct origin_rule *rule, struct loop *loop, struct timers *timers,
                                 size_t value_max)
{
    static const struct backend_type type = {.start = start, .cancel = cancel, .free = http_free};
    struct http *h = backend_http_missing() == NULL ? calloc(1, sizeof *h) : NULL;

    if (h == NULL)
        return NULL;
    *h = (struct http){
        .backend.type = &type, .rule = rule, .loop = loop, .timers = timers, .value_max = value_max};
    h->timer.fire = on_time;
    h->burial.fire = on_burial;
    /* Without it, a large PUT would wait for a "100 Continue" that few servers send. */
    if ((h->headers = curl.slist_append(NULL, "Expect:")) == NULL || (h->multi = curl.multi_init()) == NULL) {
        http_free(&h->backend);
        return NULL;
    }
    curl.multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
    curl.multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    curl.multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, set_time);
    curl.multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    curl.multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)rule->in_flight);
    return &h->backend;
}

#endif
