/* load_drive.c - epoll, batches out, answers in.
 *
 * Rules: (1) a connection's questions wait in a ring in the order they were
 * sent, and answers take them from its front; (2) one clock reading per read
 * and per write, not per request; (3) no loop turn waits without a bound. */
#include "bench/load_drive.h"

#include "server/check.h"
#include "server/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { READ_BYTES = 256 * 1024, EVENTS_PER_TURN = 256, WAIT_MS = 100 };
static const int64_t SECOND_NS = 1000000000;
static const int64_t STALL_NS = 30 * SECOND_NS; /* no answer for so long: the server hangs */

struct conn {
    int fd;
    struct reply_parser *parser;
    struct reply_asked *asked; /* ring of pipeline_max */
    int64_t *sent_ns;          /* of each, as sent or as scheduled */
    uint32_t *ids;             /* of each, multiget of them */
    uint32_t front;
    uint32_t waiting;
    uint8_t *unsent; /* what a full socket did not take, or NULL */
    size_t unsent_at;
    size_t unsent_len;
};

struct driver {
    const struct drive_setup *setup;
    uint32_t index;
    struct conn *conns;
    uint32_t conn_count;
    int epoll_fd;
    int timer_fd; /* open loop: the next scheduled request */
    uint8_t *in;
    uint8_t *out; /* pipeline_max of the largest request */
    uint64_t dice;

    const struct drive_phase *phase;
    uint64_t left;    /* requests still to send */
    uint64_t waiting; /* requests sent and not answered */
    uint32_t id_next; /* sequential: this driver's range */
    uint32_t id_first;
    uint32_t id_end;
    int64_t deadline_ns;
    int64_t progress_ns; /* when an answer last came */
    uint64_t scheduled;  /* open loop: how many have been sent */
    uint32_t turn;       /* open loop: the connection to look at next */
    struct drive_result result;
    struct histogram *latency;
    char complaint[256];
};

static bool conn_new(struct driver *d, struct conn *c, char *why, size_t why_size)
{
    const struct drive_setup *setup = d->setup;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

    c->fd = net_connect(&setup->options->server, why, why_size);
    if (c->fd < 0)
        return false;
    snprintf(why, why_size, "not enough memory for %u connections", setup->options->connections);
    c->parser = reply_parser_new(setup->options->protocol, setup->data, setup->options->verify);
    c->asked = calloc(setup->pipeline_max, sizeof *c->asked);
    c->sent_ns = calloc(setup->pipeline_max, sizeof *c->sent_ns);
    c->ids = calloc((size_t)setup->pipeline_max * setup->options->multiget, sizeof *c->ids);
    return c->parser != NULL && c->asked != NULL && c->sent_ns != NULL && c->ids != NULL &&
           epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, c->fd, &event) == 0;
}

static void conn_free(struct conn *c)
{
    if (c->fd >= 0)
        close(c->fd);
    if (c->parser != NULL)
        reply_parser_free(&c->parser);
    free(c->asked);
    free(c->sent_ns);
    free(c->ids);
    free(c->unsent);
}

static size_t request_size_max(const struct request_form *form)
{
    size_t get = request_get_size(form), set = request_set_size(form);

    return get > set ? get : set;
}

struct driver *driver_new(const struct drive_setup *setup, uint32_t index, char *why, size_t why_size)
{
    const struct load_options *options = setup->options;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    uint32_t threads = options->threads;
    struct driver *d = calloc(1, sizeof *d);

    snprintf(why, why_size, "not enough memory");
    if (d == NULL)
        return NULL;
    d->setup = setup;
    d->index = index;
    d->dice = (options->seed + 1) * UINT64_C(0x2545f4914f6cdd1d) + index * UINT64_C(0x5851f42d4c957f2d);
    d->id_first = (uint32_t)((uint64_t)options->keys * index / threads);
    d->id_end = (uint32_t)((uint64_t)options->keys * (index + 1) / threads);
    d->conn_count = options->connections * (index + 1) / threads - options->connections * index / threads;
    d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    d->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    d->latency = histogram_new();
    d->in = malloc(READ_BYTES);
    d->out = malloc(setup->pipeline_max * request_size_max(setup->form));
    d->conns = calloc(d->conn_count, sizeof *d->conns);
    if (d->conns == NULL)
        goto fail;
    for (uint32_t i = 0; i < d->conn_count; i++)
        d->conns[i].fd = -1;
    if (d->latency == NULL || d->in == NULL || d->out == NULL)
        goto fail;
    if (d->epoll_fd < 0 || d->timer_fd < 0 ||
        epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, d->timer_fd, &event) != 0) {
        snprintf(why, why_size, "cannot set up epoll: %s", strerror(errno));
        goto fail;
    }
    for (uint32_t i = 0; i < d->conn_count; i++)
        if (!conn_new(d, &d->conns[i], why, why_size))
            goto fail;
    return d;
fail:
    driver_free(&d);
    return NULL;
}

void driver_free(struct driver **driver)
{
    struct driver *d = *driver;

    *driver = NULL;
    if (d == NULL)
        return;
    for (uint32_t i = 0; d->conns != NULL && i < d->conn_count; i++)
        conn_free(&d->conns[i]);
    free(d->conns);
    free(d->in);
    free(d->out);
    histogram_free(&d->latency);
    if (d->epoll_fd >= 0)
        close(d->epoll_fd);
    if (d->timer_fd >= 0)
        close(d->timer_fd);
    free(d);
}

const struct drive_result *driver_result(const struct driver *d)
{
    return &d->result;
}

const struct histogram *driver_latency(const struct driver *d)
{
    return d->latency;
}

const char *driver_complaint(const struct driver *d)
{
    if (d->complaint[0] != '\0')
        return d->complaint;
    for (uint32_t i = 0; i < d->conn_count; i++)
        if (reply_complaint(d->conns[i].parser)[0] != '\0')
            return reply_complaint(d->conns[i].parser);
    return "";
}

static bool give_up(struct driver *d, const char *what, const char *detail)
{
    snprintf(d->complaint, sizeof d->complaint, "%s%s%s", what, detail[0] != '\0' ? ": " : "", detail);
    return false;
}

/* ---- out ---------------------------------------------------------------- */

static uint32_t next_id(struct driver *d)
{
    if (!d->phase->sequential)
        return pick_next(d->setup->picks, &d->dice);
    if (d->id_next == d->id_end)
        d->id_next = d->id_first;
    return d->id_next++;
}

static bool next_is_set(struct driver *d)
{
    const struct drive_phase *phase = d->phase;

    if (phase->set_weight == 0 || phase->get_weight == 0)
        return phase->get_weight == 0;
    return (uint32_t)dice_roll(&d->dice) % (phase->get_weight + phase->set_weight) < phase->set_weight;
}

/* Writes one request and puts it at the back of the connection's ring. */
static uint8_t *ask(struct driver *d, struct conn *c, int64_t sent_ns, uint8_t *to)
{
    uint32_t multiget = d->setup->options->multiget;
    uint32_t slot = (c->front + c->waiting++) % d->setup->pipeline_max;
    uint32_t *ids = c->ids + (size_t)slot * multiget;
    bool is_set = next_is_set(d);

    c->asked[slot] = (struct reply_asked){is_set, is_set ? 1 : multiget, ids};
    c->sent_ns[slot] = sent_ns;
    for (uint32_t i = 0; i < c->asked[slot].keys; i++)
        ids[i] = next_id(d);
    d->left--;
    d->waiting++;
    return is_set ? request_put_set(d->setup->form, ids[0], to) : request_put_get(d->setup->form, ids, to);
}

static bool watch_writable(struct driver *d, struct conn *c, bool on)
{
    struct epoll_event event = {.events = on ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c};

    return epoll_ctl(d->epoll_fd, EPOLL_CTL_MOD, c->fd, &event) == 0;
}

static bool would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static bool send_all_or_keep(struct driver *d, struct conn *c, const uint8_t *data, size_t len)
{
    ssize_t sent = send(c->fd, data, len, MSG_NOSIGNAL);

    if (sent < 0 && !would_block())
        return give_up(d, "cannot write to the server", strerror(errno));
    if (sent < 0)
        sent = 0;
    if ((size_t)sent == len)
        return true;
    c->unsent_len = len - (size_t)sent;
    c->unsent_at = 0;
    c->unsent = malloc(c->unsent_len);
    if (c->unsent == NULL)
        return give_up(d, "not enough memory", "");
    memcpy(c->unsent, data + sent, c->unsent_len);
    return watch_writable(d, c, true);
}

static bool send_kept(struct driver *d, struct conn *c)
{
    ssize_t sent = send(c->fd, c->unsent + c->unsent_at, c->unsent_len - c->unsent_at, MSG_NOSIGNAL);

    if (sent < 0)
        return would_block() || give_up(d, "cannot write to the server", strerror(errno));
    c->unsent_at += (size_t)sent;
    if (c->unsent_at < c->unsent_len)
        return true;
    free(c->unsent);
    c->unsent = NULL;
    return watch_writable(d, c, false);
}

/* Closed loop: the next full pipeline, if there is anything left to do. */
static bool send_batch(struct driver *d, struct conn *c)
{
    int64_t now = clock_ticks_ns();
    uint32_t count = d->phase->pipeline;
    uint8_t *end = d->out;

    if (now >= d->deadline_ns)
        d->left = 0;
    if (count > d->left)
        count = (uint32_t)d->left;
    if (count == 0)
        return true;
    for (uint32_t i = 0; i < count; i++)
        end = ask(d, c, now, end);
    return send_all_or_keep(d, c, d->out, (size_t)(end - d->out));
}

/* ---- open loop ---------------------------------------------------------- */

static int64_t schedule_ns(const struct driver *d, uint64_t nth)
{
    double place = (double)nth * d->setup->options->threads + d->index;

    return d->phase->start_ns + (int64_t)(place * 1e9 / d->phase->rate);
}

/* The next connection with room, or NULL when all are busy. */
static struct conn *free_conn(struct driver *d)
{
    for (uint32_t i = 0; i < d->conn_count; i++) {
        struct conn *c = &d->conns[d->turn];

        d->turn = d->turn + 1 < d->conn_count ? d->turn + 1 : 0;
        if (c->waiting < d->phase->pipeline && c->unsent == NULL)
            return c;
    }
    return NULL;
}

/* Sends what is due and sets the timer for what is not. What finds no free
 * connection stays due and goes out when an answer frees one. */
static bool send_due(struct driver *d)
{
    struct itimerspec timer = {0};
    int64_t now = clock_ticks_ns(), due = 0;
    struct conn *c;

    if (now >= d->deadline_ns && d->left > 0) {
        d->result.unsent = d->left;
        d->left = 0;
    }
    while (d->left > 0 && (due = schedule_ns(d, d->scheduled)) <= now && (c = free_conn(d)) != NULL) {
        d->scheduled++;
        if (!send_all_or_keep(d, c, d->out, (size_t)(ask(d, c, due, d->out) - d->out)))
            return false;
    }
    if (d->left > 0 && due > now) {
        timer.it_value = (struct timespec){due / SECOND_NS, due % SECOND_NS};
        timerfd_settime(d->timer_fd, TFD_TIMER_ABSTIME, &timer, NULL);
    }
    return true;
}

/* ---- in ----------------------------------------------------------------- */

static bool read_answers(struct driver *d, struct conn *c)
{
    ssize_t got = recv(c->fd, d->in, READ_BYTES, 0);
    struct slice in;
    int64_t now;

    if (got < 0 && would_block())
        return true;
    if (got <= 0)
        return give_up(d, "the server closed the connection",
                       got < 0 ? strerror(errno) : reply_complaint(c->parser));
    now = clock_ticks_ns();
    d->progress_ns = now;
    in = (struct slice){d->in, (size_t)got};
    while (in.len > 0) {
        if (c->waiting == 0)
            return give_up(d, "the server sent more than it was asked for", "");
        switch (reply_take(c->parser, &in, &c->asked[c->front], &d->result.tally)) {
        case REPLY_MORE: return true;
        case REPLY_BROKEN: return give_up(d, "not an answer to what was asked", reply_complaint(c->parser));
        case REPLY_DONE:
            histogram_add(d->latency, (uint64_t)(now - c->sent_ns[c->front]));
            c->front = c->front + 1 < d->setup->pipeline_max ? c->front + 1 : 0;
            c->waiting--;
            d->waiting--;
            d->result.requests++;
            break;
        }
    }
    return true;
}

static bool serve_event(struct driver *d, const struct epoll_event *event)
{
    struct conn *c = event->data.ptr;
    uint64_t ticks;

    if (c == NULL) { /* the timer; send_due follows */
        if (read(d->timer_fd, &ticks, sizeof ticks) < 0 && !would_block())
            return give_up(d, "cannot read the timer", strerror(errno));
        return true;
    }
    if ((event->events & EPOLLOUT) != 0 && c->unsent != NULL && !send_kept(d, c))
        return false;
    if ((event->events & ~(uint32_t)EPOLLOUT) == 0)
        return true;
    if (!read_answers(d, c))
        return false;
    return d->phase->rate > 0 || c->waiting > 0 || send_batch(d, c);
}

/* ---- a phase ------------------------------------------------------------ */

static uint64_t share_of(uint64_t total, uint32_t index, uint32_t threads)
{
    return total / threads + (index < total % threads ? 1 : 0);
}

static bool phase_begin(struct driver *d, const struct drive_phase *phase)
{
    uint64_t total = phase->requests;

    CHECK(d->waiting == 0 && phase->pipeline <= d->setup->pipeline_max);
    d->phase = phase;
    d->result = (struct drive_result){0};
    d->id_next = d->id_first;
    d->scheduled = 0;
    d->progress_ns = clock_ticks_ns();
    d->deadline_ns = INT64_MAX;
    if (phase->seconds > 0) {
        d->deadline_ns = phase->start_ns + (int64_t)(phase->seconds * 1e9);
        if (phase->rate > 0 && (total == 0 || (double)total > phase->rate * phase->seconds))
            total = (uint64_t)(phase->rate * phase->seconds);
    }
    d->left = UINT64_MAX;
    if (total > 0 || phase->rate > 0)
        d->left = share_of(total, d->index, d->setup->options->threads);
    histogram_free(&d->latency);
    d->latency = histogram_new();
    if (d->latency == NULL)
        return give_up(d, "not enough memory", "");
    for (uint32_t i = 0; i < d->conn_count && phase->rate <= 0; i++)
        if (!send_batch(d, &d->conns[i]))
            return false;
    return true;
}

bool driver_run(struct driver *d, const struct drive_phase *phase)
{
    struct epoll_event events[EVENTS_PER_TURN];

    if (!phase_begin(d, phase))
        return false;
    for (;;) {
        int count;

        if (phase->rate > 0 && !send_due(d))
            return false;
        if (d->waiting == 0 && (d->left == 0 || phase->rate <= 0))
            break;
        count = epoll_wait(d->epoll_fd, events, EVENTS_PER_TURN, WAIT_MS);
        if (count < 0 && errno != EINTR)
            return give_up(d, "cannot wait for the server", strerror(errno));
        for (int i = 0; i < count; i++)
            if (!serve_event(d, &events[i]))
                return false;
        if (count <= 0 && d->waiting > 0 && clock_ticks_ns() - d->progress_ns > STALL_NS)
            return give_up(d, "the server did not answer for 30 seconds", "");
    }
    d->result.end_ns = clock_ticks_ns();
    return true;
}
