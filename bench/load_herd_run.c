/* load_herd_run.c - a thousand clients in one loop.
 *
 * A party is a client or a writer. It does one thing at a time, and either an
 * answer or its alarm moves it on:
 *
 *   RESTING --alarm--> ASKING --answer--> RESTING, PAUSED, FETCHING or ASKING again
 *   PAUSED --alarm--> ASKING      FETCHING --alarm--> ASKING (the store)
 *   DYING --alarm--> a new connection, RESTING
 *
 * Rules: (1) what a value is worth is judged the moment it is known, before
 * anything else is received; (2) no wait is without a bound; (3) a party rolls
 * dice of its own, and the origin has its own, so that what one of them does
 * more often changes nothing for the others. */
#include "bench/load_herd_run.h"

#include "bench/load_herd_link.h"
#include "bench/load_herd_queue.h"
#include "bench/load_pick.h"
#include "server/check.h"
#include "server/clock.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* Small turns: whoever is told to fetch should not wait until a thousand others have asked. */
enum { EVENTS_PER_TURN = 64, ALARMS_PER_TURN = 32 };
enum { WAIT_MS = 100, ANSWER_SLACK_BYTES = 8192, REQUEST_SLACK_BYTES = 1024 };
static const int64_t MS_NS = 1000000;
static const int64_t SECOND_NS = 1000000000;
static const int64_t STALL_NS = 30 * SECOND_NS; /* no answer for so long: it will not come */
static const int64_t DRAIN_NS = 10 * SECOND_NS; /* beyond a fetch: how long the last reads may take */
static const int64_t AFTER_ERROR_NS = 10 * MS_NS;

enum doing { RESTING, ASKING, FETCHING, DYING, PAUSED, RETIRED };

struct party {
    struct herd_alarm alarm; /* first, so that an alarm is a party */
    struct herd_link link;
    bool writes;
    enum doing doing;
    enum herd_driver driver;
    uint32_t index; /* among the clients, or among the writers */
    uint64_t dice;
    uint32_t key;
    uint8_t key_text[LOAD_KEY_SIZE_MAX];
    /* a client: */
    struct herd_read read;
    struct herd_fetch fetch;
    uint64_t reads;
    uint64_t floor;
    int64_t started_ns;
    int64_t asked_ns;
    bool fetched;
    bool judged;
    bool filled; /* the truth was told of it */
    /* a writer: */
    uint64_t version;
    double next_ns;
};

struct run {
    const struct herd_options *o;
    struct herd_finding *f;
    struct herd_truth *truth;
    struct load_data *names; /* of the keys */
    struct pick_table *picks;
    struct party *parties; /* the clients, then the writers */
    uint32_t party_count;
    uint32_t active; /* not RETIRED */
    uint64_t origin_dice;
    uint64_t dying; /* fetches that will not end */
    struct herd_queue queue;
    struct herd_out out;
    uint8_t *value;
    int epoll_fd;
    int timer_fd;
    int64_t now_ns;
    int64_t arrived_ns; /* what this turn takes had come by then */
    int64_t start_ns;
    int64_t end_ns; /* of the time in which reads start */
    char *why;
    size_t why_size;
};

/* ---- small things ------------------------------------------------------- */

static bool fail(struct run *run, const char *why)
{
    snprintf(run->why, run->why_size, "%s", why);
    return false;
}

static double chance(uint64_t *dice) /* 0 <= x < 1 */
{
    return (double)(dice_roll(dice) >> 11) * 0x1p-53;
}

static uint64_t dice_of(uint64_t seed, uint32_t owner)
{
    return (seed + 1) * UINT64_C(0x2545f4914f6cdd1d) + owner * UINT64_C(0x5851f42d4c957f2d);
}

static struct slice key_of(const struct run *run, const struct party *p)
{
    return (struct slice){p->key_text, run->o->key_size};
}

static void choose_key(struct run *run, struct party *p, uint32_t key)
{
    p->key = key;
    load_data_put_key(run->names, key, p->key_text);
}

static struct slice value_of(struct run *run, const struct party *p, uint64_t version)
{
    herd_value_write(run->value, run->o->value_size, key_of(run, p), version);
    return (struct slice){run->value, run->o->value_size};
}

static void wake_at(struct run *run, struct party *p, enum doing doing, int64_t due_ns)
{
    p->doing = doing;
    herd_queue_set(&run->queue, &p->alarm, due_ns);
}

/* Its connection stays until the end: a thousand that close theirs while others
 * still wait would have the server do that first, and be timed with it. */
static void retire(struct run *run, struct party *p)
{
    herd_queue_cancel(&run->queue, &p->alarm);
    p->doing = RETIRED;
    run->active--;
}

static void note_error(struct run *run, struct slice words)
{
    char *to = run->f->complaint;
    size_t len = words.len < sizeof run->f->complaint - 1 ? words.len : sizeof run->f->complaint - 1;

    run->f->errors++;
    if (to[0] != '\0')
        return;
    for (size_t i = 0; i < len; i++)
        to[i] = words.data[i] >= ' ' && words.data[i] < 127 ? (char)words.data[i] : '?';
    to[len] = '\0';
}

/* ---- connections -------------------------------------------------------- */

static struct herd_door door_of(const struct herd_options *o, enum herd_driver driver)
{
    enum herd_dialect dialect = herd_driver_dialect(driver);

    return (struct herd_door){
        .server = {.host = o->host, .port = dialect == HERD_RESP ? o->port : o->memcache_port},
        .dialect = dialect,
        .resp3 = o->resp3,
        .answer_size = o->value_size + ANSWER_SLACK_BYTES};
}

static bool watch(struct run *run, struct party *p, int operation, bool writable)
{
    struct epoll_event event = {.events = writable ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = p};

    return epoll_ctl(run->epoll_fd, operation, p->link.fd, &event) == 0 || fail(run, strerror(errno));
}

static bool connect_party(struct run *run, struct party *p)
{
    struct herd_door door = door_of(run->o, p->driver);

    return herd_link_open(&p->link, &door, run->why, run->why_size) && watch(run, p, EPOLL_CTL_ADD, false);
}

/* ---- a client ----------------------------------------------------------- */

static void rest(struct run *run, struct party *p, int64_t at_least_ns)
{
    int64_t pause = (int64_t)((double)run->o->think_ms * (0.5 + chance(&p->dice)) * (double)MS_NS);

    if (pause < at_least_ns)
        pause = at_least_ns;
    if (run->now_ns + pause >= run->end_ns || (run->o->reads > 0 && p->reads >= run->o->reads))
        retire(run, p);
    else
        wake_at(run, p, RESTING, run->now_ns + pause);
}

/* The read is over without a value. */
static bool give_up_read(struct run *run, struct party *p, struct slice words, bool reconnects)
{
    note_error(run, words);
    p->reads++;
    if (reconnects && !connect_party(run, p))
        return false;
    rest(run, p, AFTER_ERROR_NS);
    return true;
}

/* A value is there: what it is worth, and how long it took. */
static void judge(struct run *run, struct party *p, uint64_t waited_ns)
{
    struct herd_finding *f = run->f;
    bool met = p->fetched || herd_was_filling(run->truth, p->key, p->started_ns);
    enum herd_verdict verdict = HERD_WRONG;
    uint64_t version;

    p->judged = true;
    f->reads++;
    f->met += met;
    histogram_add(f->all_waits, waited_ns);
    if (met)
        histogram_add(f->met_waits, waited_ns);
    if (p->fetched)
        return; /* it comes from the origin itself */
    f->hits++;
    if (herd_value_read(p->read.value, run->o->value_size, key_of(run, p), &version))
        verdict = herd_judge(run->truth, p->key, p->floor, version);
    f->wrong += verdict == HERD_WRONG;
    f->avoided += met && (verdict == HERD_FRESH || p->read.marked);
    f->stale += verdict == HERD_STALE && !p->read.marked;
    f->marked_stale += verdict == HERD_STALE && p->read.marked;
}

/* A wait ends when the answer has come, not when those that came with it have been looked at. */
static void judge_arrived(struct run *run, struct party *p)
{
    histogram_add(run->f->turns, (uint64_t)(run->now_ns - run->arrived_ns));
    judge(run, p, (uint64_t)(run->arrived_ns - p->started_ns));
}

static void begin_fetch(struct run *run, struct party *p)
{
    const struct herd_options *o = run->o;
    double jitter = o->fill_jitter * (2 * chance(&run->origin_dice) - 1);
    double takes = (double)o->fill_ms * (1 + jitter) * (double)MS_NS;
    bool dies = chance(&run->origin_dice) < o->kill || run->f->killed + run->dying < o->kill_first;

    p->fetched = true;
    p->fetch = herd_fetch_begin(run->truth, p->key, p->asked_ns);
    if (dies) {
        takes /= 2;
        run->dying++;
    }
    wake_at(run, p, dies ? DYING : FETCHING, run->now_ns + (int64_t)takes);
}

static bool finish_read(struct run *run, struct party *p)
{
    p->reads++;
    rest(run, p, 0);
    return true;
}

static bool send_request(struct run *run, struct party *p)
{
    enum herd_link_status sent = herd_link_send(&p->link, &run->out);

    p->asked_ns = run->now_ns;
    wake_at(run, p, ASKING, run->now_ns + STALL_NS);
    if (sent == HERD_LINK_LOST)
        return give_up_read(run, p, slice_of("the server closed the connection"), true);
    return sent == HERD_LINK_OK || watch(run, p, EPOLL_CTL_MOD, true);
}

static bool take_step(struct run *run, struct party *p, enum herd_step step)
{
    if (p->read.filled && !p->filled) {
        p->filled = true;
        herd_fill_taken(run->truth, &p->fetch, run->now_ns);
    }
    if (p->read.hit && !p->judged)
        judge_arrived(run, p);
    switch (step) {
    case HERD_SEND: run->f->requests++; return send_request(run, p);
    case HERD_FETCH: begin_fetch(run, p); return true;
    case HERD_PAUSE: wake_at(run, p, PAUSED, run->now_ns + (int64_t)run->o->poll_ms * MS_NS); return true;
    case HERD_DONE:
        run->f->late += p->read.late;
        if (p->read.refused || p->read.strange)
            return give_up_read(run, p, slice_of(p->read.complaint), false);
        return finish_read(run, p);
    }
    CHECK_UNREACHABLE();
}

static bool begin_read(struct run *run, struct party *p)
{
    choose_key(run, p, pick_next(run->picks, &p->dice));
    p->started_ns = run->now_ns;
    p->floor = herd_floor(run->truth, p->key);
    p->fetched = p->judged = p->filled = false;
    run->out.len = 0;
    return take_step(run, p,
                     herd_read_start(&p->read, p->driver, key_of(run, p), dice_roll(&p->dice) >> 1,
                                     &run->o->plan, &run->out));
}

static bool end_fetch(struct run *run, struct party *p)
{
    histogram_add(run->f->lags, (uint64_t)(run->now_ns - p->alarm.due_ns));
    herd_fetch_end(run->truth, &p->fetch);
    judge(run, p, (uint64_t)(run->now_ns - p->started_ns));
    run->out.len = 0;
    return take_step(
        run, p, herd_read_fetched(&p->read, value_of(run, p, p->fetch.version), &run->o->plan, &run->out));
}

static bool die(struct run *run, struct party *p)
{
    herd_fetch_end(run->truth, &p->fetch);
    run->dying--;
    run->f->killed++;
    p->reads++;
    if (!connect_party(run, p))
        return false;
    rest(run, p, 0);
    return true;
}

static bool ask_again(struct run *run, struct party *p)
{
    run->out.len = 0;
    return take_step(run, p, herd_read_again(&p->read, &run->o->plan, &run->out));
}

/* ---- a writer ----------------------------------------------------------- */

static void schedule_change(struct run *run, struct party *p)
{
    double rate = run->o->update_rate / run->o->driver_count;

    p->next_ns += -log(1 - chance(&p->dice)) / rate * 1e9;
    if (p->next_ns >= (double)run->end_ns)
        retire(run, p);
    else
        wake_at(run, p, RESTING, (int64_t)p->next_ns > run->now_ns ? (int64_t)p->next_ns : run->now_ns);
}

static bool removes(const struct run *run)
{
    return run->o->plan.update != HERD_UPDATE_SET;
}

/* Each writer has keys of its own: two that overtake each other on one key
 * would make it stale by themselves. */
static bool begin_change(struct run *run, struct party *p)
{
    uint32_t writers = run->o->driver_count, keys = run->o->keys;
    uint32_t mine = keys / writers + (p->index < keys % writers ? 1 : 0);

    if (mine == 0) {
        retire(run, p);
        return true;
    }
    choose_key(run, p, (uint32_t)(dice_roll(&p->dice) % mine) * writers + p->index);
    p->version = herd_change(run->truth, p->key, removes(run));
    run->out.len = 0;
    herd_write_update(p->driver, key_of(run, p), value_of(run, p, p->version), &run->o->plan, &run->out);
    p->asked_ns = run->now_ns;
    wake_at(run, p, ASKING, run->now_ns + STALL_NS);
    switch (herd_link_send(&p->link, &run->out)) {
    case HERD_LINK_OK: return true;
    case HERD_LINK_WAITS: return watch(run, p, EPOLL_CTL_MOD, true);
    case HERD_LINK_LOST: return fail(run, "the server closed the writer's connection");
    }
    CHECK_UNREACHABLE();
}

static bool end_change(struct run *run, struct party *p, const struct herd_reply *reply)
{
    if (reply->kind == HERD_REFUSED)
        note_error(run, reply->text);
    else
        herd_change_acknowledged(run->truth, p->key, p->version, removes(run), run->now_ns);
    schedule_change(run, p);
    return true;
}

/* ---- the loop ----------------------------------------------------------- */

static bool lose(struct run *run, struct party *p, struct slice words)
{
    if (p->writes)
        return fail(run, "the writer's connection broke");
    if (p->doing == ASKING)
        return give_up_read(run, p, words, true);
    note_error(run, words);
    return connect_party(run, p); /* whatever it does goes on with the new one */
}

static bool take_answer(struct run *run, struct party *p)
{
    struct herd_reply reply;

    switch (herd_link_take(&p->link, &reply)) {
    case HERD_MORE: return true;
    case HERD_BROKEN: return lose(run, p, reply.text);
    case HERD_TAKEN: break;
    }
    if (p->doing != ASKING)
        return lose(run, p, slice_of("the server sent more than it was asked for"));
    herd_queue_cancel(&run->queue, &p->alarm);
    if (p->writes)
        return end_change(run, p, &reply);
    run->out.len = 0;
    return take_step(run, p, herd_read_answered(&p->read, &reply, &run->o->plan, &run->out));
}

static bool serve_event(struct run *run, const struct epoll_event *event)
{
    struct party *p = event->data.ptr;

    if (p == NULL || p->link.fd < 0)
        return true;
    if (p->doing == RETIRED) { /* the server has closed it, or speaks unasked */
        herd_link_close(&p->link);
        return true;
    }
    run->now_ns = clock_ticks_ns();
    if ((event->events & EPOLLOUT) != 0) {
        enum herd_link_status flushed = herd_link_flush(&p->link);

        if (flushed == HERD_LINK_LOST)
            return lose(run, p, slice_of("the server closed the connection"));
        if (flushed == HERD_LINK_OK && !watch(run, p, EPOLL_CTL_MOD, false))
            return false;
    }
    if ((event->events & ~(uint32_t)EPOLLOUT) == 0)
        return true;
    switch (herd_link_receive(&p->link)) {
    case HERD_LINK_WAITS: return true;
    case HERD_LINK_LOST: return lose(run, p, slice_of("the server closed the connection"));
    case HERD_LINK_OK: return take_answer(run, p);
    }
    CHECK_UNREACHABLE();
}

static bool serve_alarm(struct run *run, struct party *p)
{
    switch (p->doing) {
    case RESTING: return p->writes ? begin_change(run, p) : begin_read(run, p);
    case PAUSED: return ask_again(run, p);
    case FETCHING: return end_fetch(run, p);
    case DYING: return die(run, p);
    case ASKING: return lose(run, p, slice_of("the server did not answer for 30 s"));
    case RETIRED: break;
    }
    CHECK_UNREACHABLE();
}

static bool serve_alarms(struct run *run)
{
    struct itimerspec timer = {0};
    int64_t next;

    for (int i = 0; i < ALARMS_PER_TURN; i++) {
        struct herd_alarm *alarm;

        /* Read for each, so that a burst of reads is not held to start at once. */
        run->now_ns = clock_ticks_ns();
        alarm = herd_queue_pop(&run->queue, run->now_ns);
        if (alarm == NULL)
            break;
        if (!serve_alarm(run, (struct party *)alarm))
            return false;
    }
    next = herd_queue_next(&run->queue);
    if (next == INT64_MAX)
        return true;
    /* What is due already rings at once. */
    timer.it_value = (struct timespec){next / SECOND_NS, next % SECOND_NS};
    return timerfd_settime(run->timer_fd, TFD_TIMER_ABSTIME, &timer, NULL) == 0 || fail(run, strerror(errno));
}

/* A server that refuses everything would be asked until the time is up. */
static bool is_hopeless(const struct run *run)
{
    return run->f->reads == 0 && run->f->errors > 2 * (uint64_t)run->o->clients + 10;
}

/* They have waited for at least so long; leaving them out would flatter the server. */
static void count_unfinished(struct run *run)
{
    for (uint32_t i = 0; i < run->o->clients; i++) {
        struct party *p = &run->parties[i];

        if (p->doing == RETIRED || p->doing == RESTING || p->judged)
            continue;
        run->f->unfinished++;
        histogram_add(run->f->all_waits, (uint64_t)(run->now_ns - p->started_ns));
        histogram_add(run->f->met_waits, (uint64_t)(run->now_ns - p->started_ns));
    }
}

static bool loop(struct run *run)
{
    struct epoll_event events[EVENTS_PER_TURN];
    int64_t give_up_ns = run->end_ns + DRAIN_NS + 2 * (int64_t)run->o->fill_ms * MS_NS;

    while (run->active > 0 && run->now_ns < give_up_ns && !is_hopeless(run)) {
        int count;

        if (!serve_alarms(run))
            return false;
        count = epoll_wait(run->epoll_fd, events, EVENTS_PER_TURN, WAIT_MS);
        run->arrived_ns = clock_ticks_ns();
        if (count < 0 && errno != EINTR)
            return fail(run, strerror(errno));
        for (int i = 0; i < count; i++)
            if (!serve_event(run, &events[i]))
                return false;
    }
    count_unfinished(run);
    return true;
}

/* ---- before and after --------------------------------------------------- */

/* What a former run left would be of a version this one does not know. */
static bool clear_keys(struct run *run, struct party *p)
{
    struct herd_reply reply;

    for (uint32_t key = 0; key < run->o->keys; key++) {
        choose_key(run, p, key);
        run->out.len = 0;
        herd_write_clear(p->driver, key_of(run, p), &run->out);
        if (!herd_link_exchange(&p->link, &run->out, &reply, run->why, run->why_size))
            return false;
        if (reply.kind == HERD_REFUSED) {
            snprintf(run->why, run->why_size, "the server refuses to delete a key: %.*s", (int)reply.text.len,
                     (const char *)reply.text.data);
            return false;
        }
    }
    return true;
}

static bool open_parties(struct run *run)
{
    const struct herd_options *o = run->o;

    run->origin_dice = dice_of(o->seed, run->party_count);
    for (uint32_t i = 0; i < run->party_count; i++) {
        struct party *p = &run->parties[i];

        p->writes = i >= o->clients;
        p->index = p->writes ? i - o->clients : i;
        p->driver = o->drivers[p->index % o->driver_count];
        p->dice = dice_of(o->seed, i);
        p->doing = RESTING;
        if (!connect_party(run, p))
            return false;
    }
    for (uint32_t i = o->clients; i < run->party_count; i++)
        if (!clear_keys(run, &run->parties[i]))
            return false;
    return true;
}

static void start_parties(struct run *run)
{
    const struct herd_options *o = run->o;

    run->start_ns = run->now_ns = clock_ticks_ns();
    run->end_ns = run->start_ns + (int64_t)(o->seconds * 1e9);
    run->active = run->party_count;
    for (uint32_t i = 0; i < run->party_count; i++) {
        struct party *p = &run->parties[i];

        p->next_ns = (double)run->start_ns;
        if (!p->writes)
            wake_at(run, p, RESTING, run->start_ns + (int64_t)(o->ramp_ms * i / o->clients) * MS_NS);
        else if (o->update_rate > 0)
            schedule_change(run, p);
        else
            retire(run, p);
    }
}

static bool set_up(struct run *run)
{
    const struct herd_options *o = run->o;
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};

    run->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    run->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    run->truth = herd_truth_new(o->keys);
    run->names = load_data_new(o->key_prefix, o->keys, o->key_size, 0);
    run->picks = pick_table_new(o->zipf > 0 ? PICK_ZIPF : PICK_UNIFORM, o->keys, o->zipf);
    run->party_count = o->clients + o->driver_count;
    run->parties = calloc(run->party_count, sizeof *run->parties);
    run->queue = (struct herd_queue){.heap = calloc(run->party_count, sizeof *run->queue.heap),
                                     .size = run->party_count};
    run->out = (struct herd_out){.size = o->value_size + REQUEST_SLACK_BYTES};
    run->out.data = malloc(run->out.size);
    run->value = malloc(o->value_size);
    run->f->all_waits = histogram_new();
    run->f->met_waits = histogram_new();
    run->f->lags = histogram_new();
    run->f->turns = histogram_new();
    for (uint32_t i = 0; run->parties != NULL && i < run->party_count; i++)
        run->parties[i].link.fd = -1;
    if (run->truth == NULL || run->names == NULL || run->picks == NULL || run->parties == NULL ||
        run->queue.heap == NULL || run->out.data == NULL || run->value == NULL || run->f->all_waits == NULL ||
        run->f->met_waits == NULL || run->f->lags == NULL || run->f->turns == NULL)
        return fail(run, "not enough memory");
    /* Edge-triggered: setting the timer anew is all the reading it needs. */
    if (run->epoll_fd < 0 || run->timer_fd < 0 ||
        epoll_ctl(run->epoll_fd, EPOLL_CTL_ADD, run->timer_fd, &event) != 0)
        return fail(run, "cannot set up epoll");
    return open_parties(run);
}

static void tear_down(struct run *run)
{
    for (uint32_t i = 0; run->parties != NULL && i < run->party_count; i++)
        herd_link_free(&run->parties[i].link);
    free(run->parties);
    free(run->queue.heap);
    free(run->out.data);
    free(run->value);
    pick_table_free(&run->picks);
    load_data_free(&run->names);
    herd_truth_free(&run->truth);
    if (run->epoll_fd >= 0)
        close(run->epoll_fd);
    if (run->timer_fd >= 0)
        close(run->timer_fd);
}

bool herd_run(const struct herd_options *o, struct herd_finding *f, char *why, size_t why_size)
{
    struct run run = {.o = o, .f = f, .why = why, .why_size = why_size};
    bool ok;

    *f = (struct herd_finding){0};
    ok = set_up(&run);
    if (ok) {
        start_parties(&run);
        ok = loop(&run);
        f->seconds = (double)(clock_ticks_ns() - run.start_ns) / 1e9;
        f->toll = herd_toll(run.truth);
    }
    tear_down(&run);
    return ok;
}

void herd_finding_free(struct herd_finding *f)
{
    histogram_free(&f->all_waits);
    histogram_free(&f->met_waits);
    histogram_free(&f->lags);
    histogram_free(&f->turns);
}
