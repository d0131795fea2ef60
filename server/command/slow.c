/* slow.c - SLOWLOG and LATENCY: what took long, and how long things take. */
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#include "server/command/command.h"
#include "server/server.h"
#include "server/lookout.h"

/* ---- SLOWLOG ---- */

enum { SLOWLOG_SHOWN = 10 }; /* by SLOWLOG GET without a count */

static void reply_entry(struct exec *x, const struct slowlog_entry *entry)
{
    reply_array(x, 6);
    reply_integer(x, (int64_t)entry->id);
    reply_integer(x, entry->seconds);
    reply_integer(x, (int64_t)entry->us);
    reply_array(x, entry->words);
    for (unsigned i = 0; i < entry->words; i++)
        reply_bulk(x, entry->word[i]);
    reply_text(x, entry->address);
    reply_text(x, entry->name);
}

static void slowlog_get(struct exec *x, struct request *rq)
{
    struct slowlog *log = x->server->lookout->slowlog;
    const struct slowlog_entry *entry;
    int64_t most = SLOWLOG_SHOWN;
    size_t mark, n = 0;

    if (rq->argc > 3) {
        reply_error(x, "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try SLOWLOG HELP.",
                    EXEC_QUOTED(rq->argv[1]));
        return;
    }
    if (rq->argc == 3 && (!slice_to_i64(rq->argv[2], &most) || most < -1)) {
        reply_error(x, "ERR count should be greater than or equal to -1");
        return;
    }
    mark = reply_array_open(x);
    for (entry = slowlog_lock(log); entry != NULL && (most < 0 || n < (size_t)most); entry = entry->next, n++)
        reply_entry(x, entry);
    slowlog_unlock(log);
    reply_array_close(x, mark, n);
}

static void slowlog_count(struct exec *x, struct request *rq)
{
    (void)rq;
    reply_integer(x, (int64_t)slowlog_len(x->server->lookout->slowlog));
}

static void slowlog_forget(struct exec *x, struct request *rq)
{
    (void)rq;
    slowlog_reset(x->server->lookout->slowlog);
    reply_ok(x);
}

static const struct subcommand slowlog_subcommands[] = {
    {"get", "slowlog|get", -2, slowlog_get},
    {"len", "slowlog|len", 2, slowlog_count},
    {"reset", "slowlog|reset", 2, slowlog_forget},
    {0},
};

static const char *const slowlog_help[] = {
    "GET [<count>]",
    "    The latest entries, 10 unless told otherwise; -1 means all.",
    "    Each is: id, Unix time, microseconds, the request, the client's",
    "    address, the client's name.",
    "LEN",
    "    How many entries there are.",
    "RESET",
    "    Forgets all of them.",
    NULL,
};

void cmd_slowlog(struct exec *x, struct request *rq)
{
    static const struct command_family family = {"SLOWLOG", "slowlog|help", slowlog_subcommands,
                                                 slowlog_help};

    command_family_run(x, rq, &family);
}

/* ---- LATENCY: events ---- */

static void latency_latest(struct exec *x, struct request *rq)
{
    struct latency_event event;
    size_t mark = reply_array_open(x), n = 0;

    (void)rq;
    for (enum latency_kind kind = 0; kind < LATENCY_KINDS; kind++) {
        if (!latency_look(x->server->lookout->latency, kind, &event))
            continue;
        reply_array(x, 4);
        reply_text(x, event.name);
        reply_integer(x, event.sample[event.samples - 1].seconds);
        reply_integer(x, event.sample[event.samples - 1].ms);
        reply_integer(x, event.ms_max);
        n++;
    }
    reply_array_close(x, mark, n);
}

/* False when nothing is known about an event of that name. */
static bool look_at(struct exec *x, struct slice name, struct latency_event *event)
{
    enum latency_kind kind = latency_named(name);

    return kind != LATENCY_KINDS && latency_look(x->server->lookout->latency, kind, event);
}

static void latency_history(struct exec *x, struct request *rq)
{
    struct latency_event event;

    if (!look_at(x, rq->argv[2], &event)) {
        reply_array(x, 0);
        return;
    }
    reply_array(x, event.samples);
    for (unsigned i = 0; i < event.samples; i++) {
        reply_array(x, 2);
        reply_integer(x, event.sample[i].seconds);
        reply_integer(x, event.sample[i].ms);
    }
}

static void latency_forget(struct exec *x, struct request *rq)
{
    struct latency *latency = x->server->lookout->latency;
    int64_t n = 0;

    if (rq->argc == 2) {
        for (enum latency_kind kind = 0; kind < LATENCY_KINDS; kind++)
            n += latency_reset(latency, kind);
    }
    for (uint32_t i = 2; i < rq->argc; i++) {
        enum latency_kind kind = latency_named(rq->argv[i]);

        n += kind != LATENCY_KINDS && latency_reset(latency, kind);
    }
    reply_integer(x, n);
}

enum { GRAPH_ROWS = 4, GRAPH_COLUMNS = 80 };

static uint32_t lowest(const struct latency_event *event, unsigned from, uint32_t *highest)
{
    uint32_t low = UINT32_MAX;

    *highest = 0;
    for (unsigned i = from; i < event->samples; i++) {
        if (event->sample[i].ms < low)
            low = event->sample[i].ms;
        if (event->sample[i].ms > *highest)
            *highest = event->sample[i].ms;
    }
    return low;
}

/* Columns of # between the lowest and the highest of the newest samples. */
static void latency_graph(struct exec *x, struct request *rq)
{
    char text[(GRAPH_ROWS + 2) * (GRAPH_COLUMNS + 1) + 256];
    struct latency_event event;
    uint32_t low, high;
    unsigned from;
    size_t len;

    if (!look_at(x, rq->argv[2], &event)) {
        reply_error(x, "ERR No samples available for event '%.*s'", EXEC_QUOTED(rq->argv[2]));
        return;
    }
    from = event.samples > GRAPH_COLUMNS ? event.samples - GRAPH_COLUMNS : 0;
    low = lowest(&event, from, &high);
    len = (size_t)snprintf(text, sizeof text, "%s - high %u ms, low %u ms (all time high %u ms)\n",
                           event.name, high, low, event.ms_max);
    memset(text + len, '-', GRAPH_COLUMNS);
    len += GRAPH_COLUMNS;
    text[len++] = '\n';
    for (unsigned row = GRAPH_ROWS; row-- > 0; text[len++] = '\n') {
        for (unsigned i = from; i < event.samples; i++) {
            uint64_t height =
                high > low ? (uint64_t)(event.sample[i].ms - low) * (GRAPH_ROWS - 1) / (high - low) : 0;

            text[len++] = height > row ? '#' : height == row ? '_' : ' ';
        }
    }
    reply_verbatim(x, (struct slice){(const uint8_t *)text, len});
}

__attribute__((format(printf, 2, 3))) static void say(struct out *out, const char *format, ...)
{
    char text[512];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n > 0)
        out_append(out, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

static void say_event(struct out *out, const struct latency_event *event)
{
    uint64_t sum = 0;
    int64_t seconds = event->sample[event->samples - 1].seconds - event->sample[0].seconds;

    for (unsigned i = 0; i < event->samples; i++)
        sum += event->sample[i].ms;
    say(out, "%s: %u spikes over the limit, %llu ms on average, %u ms at worst", event->name, event->samples,
        (unsigned long long)(sum / event->samples), event->ms_max);
    if (event->samples > 1)
        say(out, ", one every %.1f s", (double)seconds / (event->samples - 1));
    say(out, ".\n");
}

static void latency_doctor(struct exec *x, struct request *rq)
{
    struct lookout *w = x->server->lookout;
    struct latency_event event;
    struct out text = {0};
    bool seen[LATENCY_KINDS] = {false}, any = false;

    (void)rq;
    for (enum latency_kind kind = 0; kind < LATENCY_KINDS; kind++) {
        seen[kind] = latency_look(w->latency, kind, &event);
        any |= seen[kind];
        if (seen[kind])
            say_event(&text, &event);
    }
    if (atomic_load_explicit(&w->latency_ns, memory_order_relaxed) == UINT64_MAX)
        say(&text, "Nothing is watched: CONFIG SET latency-monitor-threshold <milliseconds> turns it on.\n");
    else if (!any)
        say(&text, "Nothing took longer than latency-monitor-threshold since it was set.\n");
    if (seen[LATENCY_COMMAND])
        say(&text, "Commands whose work grows with their arguments or with the keyspace (KEYS, MSET, "
                   "FLUSHALL) took long: SLOWLOG GET names them.\n");
    if (seen[LATENCY_FAST_COMMAND])
        say(&text, "Commands that are brief by nature took long: either very large values, or the machine "
                   "did not let the node run; look for other processes, too many threads, and swapping.\n");
    if (seen[LATENCY_EXPIRE_CYCLE])
        say(&text, "Upkeep took long although it works in slices of a fraction of a millisecond: the machine "
                   "did not let the node run.\n");
    if (text.failed)
        x->out->failed = true;
    else
        reply_verbatim(x, (struct slice){text.data, text.len});
    out_free(&text);
}

/* ---- LATENCY HISTOGRAM ---- */

static bool has_histogram(const struct command_figures *row)
{
    return row != NULL && row->calls > 0 &&
           atomic_load_explicit(&row->histogram, memory_order_relaxed) != NULL;
}

/* Redis keeps two digits of each duration, and names a bucket by the largest it cannot tell from its end. */
static int64_t bucket_name_us(uint64_t end_ns)
{
    return (int64_t)((end_ns + (end_ns >> 7) - 1) / 1000);
}

enum { BUCKET_FIRST_NS = 1024, LOG_BUCKETS = 31 };

/* How many there were below each power of two, scaled up from those that were timed to all. */
static void reply_histogram(struct exec *x, const char *name, const struct command_figures *row)
{
    const uint64_t *h = atomic_load_explicit(&row->histogram, memory_order_relaxed);
    uint64_t below[LOG_BUCKETS] = {0}, total = 0, before = 0;
    size_t shown = 0;
    unsigned bucket = 0;

    for (unsigned i = 0; i < LOG_BUCKETS; i++) {
        uint64_t end = (uint64_t)BUCKET_FIRST_NS << i;

        for (; bucket < FIGURES_BUCKETS && figures_bucket_end(bucket) <= end; bucket++)
            total += h[bucket];
        below[i] = total;
        shown += total > (i > 0 ? below[i - 1] : 0);
    }
    reply_text(x, name);
    reply_map(x, 2);
    reply_text(x, "calls");
    reply_integer(x, (int64_t)row->calls);
    reply_text(x, "histogram_usec");
    reply_map(x, shown);
    for (unsigned i = 0; i < LOG_BUCKETS; before = below[i++]) {
        if (below[i] == before)
            continue;
        reply_integer(x, bucket_name_us((uint64_t)BUCKET_FIRST_NS << i));
        reply_integer(x, below[i] == total
                             ? (int64_t)row->calls
                             : (int64_t)((double)below[i] / (double)total * (double)row->calls));
    }
}

/* A command with subcommands stands for all of those, no command for all there are. */
static bool is_asked_for(const struct request *rq, const char *name)
{
    size_t parent = strcspn(name, "|");

    if (rq->argc == 2)
        return true;
    for (uint32_t i = 2; i < rq->argc; i++) {
        struct slice word = rq->argv[i];

        if (slice_is(word, name))
            return true;
        if (word.len == parent && name[parent] == '|' &&
            strncasecmp((const char *)word.data, name, parent) == 0)
            return true;
    }
    return false;
}

static size_t each_asked_for(struct exec *x, const struct request *rq, const struct figures *all, bool reply)
{
    size_t n = 0;

    for (size_t i = 0; i < command_count() + FIGURES_SUBCOMMANDS; i++) {
        const struct subcommand_figures *sub =
            &all->subcommands[i < command_count() ? 0 : i - command_count()];
        const struct command_figures *row = i < command_count() ? &all->rows[i] : &sub->figures;
        const char *name = i < command_count() ? command_at(i)->name
                                               : atomic_load_explicit(&sub->name, memory_order_relaxed);

        if (!has_histogram(row) || name == NULL || !is_asked_for(rq, name))
            continue;
        n++;
        if (reply)
            reply_histogram(x, name, row);
    }
    return n;
}

static void latency_histogram(struct exec *x, struct request *rq)
{
    struct figures *all = lookout_figures(x->server);

    if (all == NULL) {
        reply_error(x, "ERR out of memory");
        return;
    }
    reply_map(x, each_asked_for(x, rq, all, false));
    each_asked_for(x, rq, all, true);
    figures_free(&all);
}

static const struct subcommand latency_subcommands[] = {
    {"doctor", "latency|doctor", 2, latency_doctor},
    {"graph", "latency|graph", 3, latency_graph},
    {"histogram", "latency|histogram", -2, latency_histogram},
    {"history", "latency|history", 3, latency_history},
    {"latest", "latency|latest", 2, latency_latest},
    {"reset", "latency|reset", -2, latency_forget},
    {0},
};

static const char *const latency_help[] = {
    "DOCTOR",
    "    What the samples say, in sentences.",
    "GRAPH <event>",
    "    The samples of an event as a picture.",
    "HISTOGRAM [<command> ...]",
    "    How many calls took up to how many microseconds.",
    "HISTORY <event>",
    "    The samples of an event: Unix time, milliseconds.",
    "LATEST",
    "    The latest sample of each event, and the worst one.",
    "RESET [<event> ...]",
    "    Forgets the samples of these events, or of all.",
    NULL,
};

void cmd_latency(struct exec *x, struct request *rq)
{
    static const struct command_family family = {"LATENCY", "latency|help", latency_subcommands,
                                                 latency_help};

    command_family_run(x, rq, &family);
}
