/* sim.c - corral-sim: what would each policy miss, at each size, on this trace?
 *
 * The policies are the objects that serve (server/evict/), so what is measured
 * here is what a node does. */
#include "bench/replay.h"
#include "bench/sim_belady.h"
#include "bench/sim_report.h"

#include <ctype.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { POLICIES_MAX = 64, SIZES_MAX = 64, CURVE_SIZES = 20 };

struct size_asked {
    double share;    /* of the distinct keys or their bytes, if above 0 */
    uint64_t amount; /* else bytes or objects */
};

struct options {
    struct sim_trace_options trace;
    const struct evict_type *policies[POLICIES_MAX];
    unsigned policy_count;
    struct size_asked sizes[SIZES_MAX];
    unsigned size_count;
    const char *by, *out;
    bool as_served;
    unsigned threads;
    char **paths;
    unsigned path_count;
};

static const char help[] =
    "usage: corral-sim TRACE... [option]...\n"
    "\n"
    "Replays traces of requests through eviction policies and prints their miss ratios. The\n"
    "policies are those of corrald's maxmemory-policy. TRACE is a file, or - for stdin; plain,\n"
    "gzip or zstd. Several are read as one.\n"
    "\n"
    "  --policies LIST   all, or names separated by commas (all)\n"
    "  --sizes LIST      0.1%,1%,10% of the distinct keys or of their bytes, plain numbers, or\n"
    "                    with kb mb gb; curve: 20 sizes from 0.1% to 100% (0.1%,1%,10%)\n"
    "  --by bytes|objects  what a size counts (bytes where the trace has sizes)\n"
    "  --out DIR         write report.html, report.csv, report.json and pictures there\n"
    "  --format NAME     keys csv tr lis twitter oracle (detected)\n"
    "  --columns LIST    what a table's columns are: time key size key_size op ttl count, - for\n"
    "                    others, as in time,key,-,size (its first line says)\n"
    "  --sample R        keep a share R of the keys, by hash: quick, and good for traces whose keys\n"
    "                    do not fit in memory. The error is stated (1)\n"
    "  --memory SIZE     for keys and requests; more requests go to a file in TMPDIR (3/4 of all)\n"
    "  --threads N       (cores)\n"
    "  --as-served       ghosts by fingerprint, as a node has them: slower, and the same but for\n"
    "                    one look-up in thousands of millions per entry\n"
    "  --quiet           no progress\n"
    "  --help            this text\n"
    "\n"
    "policies: ";

static const struct evict_type *const oracles[] = {&replay_auto, &sim_belady, &sim_beladysize};
enum { ORACLES = sizeof(oracles) / sizeof(oracles[0]) };

static bool complain(const char *option, const char *value, const char *what)
{
    fprintf(stderr, "corral-sim: %s '%s': %s\n", option, value, what);
    return false;
}

static void print_help(void)
{
    const struct evict_type *type;

    fputs(help, stdout);
    for (size_t i = 0; (type = evict_type_at(i)) != NULL; i++)
        printf("%s ", type->name);
    for (unsigned i = 0; i < ORACLES; i++)
        printf("%s ", oracles[i]->name);
    printf("wtinylfu-doorkeeper\n"); /* of wtinylfu: evict.h */
}

/* By expiry makes no sense on most traces, so `all` leaves ttl out. */
static bool parse_policies(struct options *o, const char *text)
{
    const struct evict_type *type;
    char name[32];

    o->policy_count = 0;
    if (strcmp(text, "all") == 0) {
        for (size_t i = 0; (type = evict_type_at(i)) != NULL; i++)
            if (strcmp(type->name, "ttl") != 0)
                o->policies[o->policy_count++] = type;
        for (unsigned i = 0; i < ORACLES; i++)
            o->policies[o->policy_count++] = oracles[i];
        return true;
    }
    for (const char *at = text;; at++) {
        size_t len = strcspn(at, ",");

        snprintf(name, sizeof(name), "%.*s", len < sizeof(name) ? (int)len : 0, at);
        type = evict_type_find(name);
        for (unsigned i = 0; i < ORACLES && type == NULL; i++)
            if (strcmp(oracles[i]->name, name) == 0)
                type = oracles[i];
        if (type == NULL || o->policy_count == POLICIES_MAX)
            return complain("--policies", text, "no such policy; --help lists them");
        o->policies[o->policy_count++] = type;
        at += len;
        if (*at == '\0')
            return true;
    }
}

/* "64mb" in bytes, "1000" as it is. */
static bool parse_amount(const char *text, size_t len, uint64_t *amount)
{
    static const struct {
        const char *name;
        uint64_t factor;
    } units[] = {{"", 1},          {"b", 1},         {"k", 1 << 10},  {"kb", 1 << 10},
                 {"m", 1 << 20},   {"mb", 1 << 20},  {"g", 1 << 30},  {"gb", 1 << 30},
                 {"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}};
    char *unit, copy[32];
    double value;

    snprintf(copy, sizeof(copy), "%.*s", len < sizeof(copy) ? (int)len : 0, text);
    for (char *c = copy; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    value = strtod(copy, &unit);
    if (unit == copy || !(value > 0) || value > 1e18)
        return false;
    for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (strcmp(unit, units[i].name) == 0) {
            *amount = (uint64_t)(value * (double)units[i].factor);
            return *amount > 0;
        }
    return false;
}

static bool parse_sizes(struct options *o, const char *text)
{
    o->size_count = 0;
    if (strcmp(text, "curve") == 0) {
        for (unsigned i = 0; i < CURVE_SIZES; i++)
            o->sizes[o->size_count++].share = .001 * pow(1000, i / (double)(CURVE_SIZES - 1));
        return true;
    }
    for (const char *at = text;; at++) {
        size_t len = strcspn(at, ",");
        struct size_asked *size = &o->sizes[o->size_count];

        if (o->size_count == SIZES_MAX)
            return complain("--sizes", text, "too many");
        *size = (struct size_asked){0};
        if (len > 1 && at[len - 1] == '%')
            size->share = strtod(at, NULL) / 100;
        else if (!parse_amount(at, len, &size->amount))
            return complain("--sizes", text, "a size is like 1%, 1000, 64mb, or curve alone");
        if (size->amount == 0 && !(size->share > 0 && size->share <= 100))
            return complain("--sizes", text, "a share is above 0% and at most 10000%");
        o->size_count++;
        at += len;
        if (*at == '\0')
            return true;
    }
}

static bool parse_number(const char *option, const char *text, double low, double high, double *value)
{
    char *end;

    *value = strtod(text, &end);
    if (end == text || *end != '\0' || !(*value >= low && *value <= high))
        return complain(option, text, "not a number that makes sense here");
    return true;
}

static bool parse_option(struct options *o, const char *name, const char *value)
{
    double number = 0;

    if (strcmp(name, "--policies") == 0)
        return parse_policies(o, value);
    if (strcmp(name, "--sizes") == 0)
        return parse_sizes(o, value);
    if (strcmp(name, "--out") == 0)
        return o->out = value, true;
    if (strcmp(name, "--by") == 0) {
        o->by = value;
        return strcmp(value, "bytes") == 0 || strcmp(value, "objects") == 0 ||
               complain(name, value, "bytes or objects");
    }
    if (strcmp(name, "--format") == 0) {
        if (!read_format(value, &o->trace.read.format))
            return false;
        return true;
    }
    if (strcmp(name, "--columns") == 0)
        return read_columns(value, &o->trace.read);
    if (strcmp(name, "--memory") == 0)
        return parse_amount(value, strlen(value), &o->trace.memory_max) ||
               complain(name, value, "a size is like 2gb");
    if (strcmp(name, "--sample") == 0)
        return parse_number(name, value, 1e-6, 1, &o->trace.sample);
    if (strcmp(name, "--threads") == 0) {
        if (!parse_number(name, value, 1, 256, &number))
            return false;
        o->threads = (unsigned)number;
        return true;
    }
    fprintf(stderr, "corral-sim: there is no option %s; --help lists them\n", name);
    return false;
}

/* Options and traces in any order; --name value or --name=value. Moves the
 * traces to the front of argv. */
static bool parse(struct options *o, int argc, char **argv)
{
    o->paths = argv;
    for (int i = 1; i < argc; i++) {
        char name[32], *equals = strchr(argv[i], '=');

        if (argv[i][0] != '-' || argv[i][1] != '-') {
            o->paths[o->path_count++] = argv[i];
            continue;
        }
        if (strcmp(argv[i], "--quiet") == 0) {
            o->trace.quiet = true;
            continue;
        }
        if (strcmp(argv[i], "--as-served") == 0) {
            o->as_served = true;
            continue;
        }
        if (equals != NULL) {
            snprintf(name, sizeof(name), "%.*s", (int)(equals - argv[i]), argv[i]);
            if (!parse_option(o, name, equals + 1))
                return false;
        } else if (i + 1 == argc) {
            return complain(argv[i], "", "needs a value");
        } else if (!parse_option(o, argv[i], argv[i + 1])) {
            return false;
        } else {
            i++;
        }
    }
    if (o->path_count == 0)
        fprintf(stderr, "corral-sim: which trace? corral-sim --help\n");
    return o->path_count > 0;
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* In bytes or objects of the whole trace, ascending, none twice. */
static unsigned work_out_sizes(const struct options *o, const struct sim_trace *t, bool by_bytes,
                               uint64_t *sizes)
{
    double whole = (by_bytes ? (double)t->footprint : (double)t->unique) / o->trace.sample;
    unsigned n = 0;

    for (unsigned i = 0; i < o->size_count; i++) {
        sizes[i] = o->sizes[i].amount > 0 ? o->sizes[i].amount : (uint64_t)(o->sizes[i].share * whole);
        if (sizes[i] == 0)
            sizes[i] = 1;
    }
    qsort(sizes, o->size_count, sizeof(sizes[0]), ascending);
    for (unsigned i = 0; i < o->size_count; i++)
        if (n == 0 || sizes[n - 1] != sizes[i])
            sizes[n++] = sizes[i];
    return n;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static unsigned cores(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0 ? (unsigned)CPU_COUNT(&set)
                                                                               : 1;
}

static uint64_t limit_in(const char *path, uint64_t otherwise)
{
    FILE *f = fopen(path, "r");
    unsigned long long value;
    bool ok = f != NULL && fscanf(f, "%llu", &value) == 1; /* "max" is no number */

    if (f != NULL)
        fclose(f);
    return ok && value < otherwise ? value : otherwise;
}

/* The machine's, or what a container or the shell leave us of it. */
static uint64_t memory_there(void)
{
    uint64_t bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    struct rlimit limit;

    bytes = limit_in("/sys/fs/cgroup/memory.max", bytes);
    bytes = limit_in("/sys/fs/cgroup/memory/memory.limit_in_bytes", bytes);
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur < bytes)
        bytes = limit.rlim_cur;
    return bytes;
}

static bool wants_future(const struct options *o)
{
    for (unsigned i = 0; i < o->policy_count; i++)
        if (o->policies[i] == &sim_belady || o->policies[i] == &sim_beladysize)
            return true;
    return false;
}

static bool all_done(const struct cell *cells, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (!cells[i].done)
            return false;
    return true;
}

static bool simulate(const struct options *o, struct sim_trace *t, double read_seconds)
{
    bool by_bytes = o->by != NULL ? strcmp(o->by, "bytes") == 0 : t->has_sizes, ok;
    uint64_t sizes[SIZES_MAX];
    unsigned size_count = work_out_sizes(o, t, by_bytes, sizes), count = o->policy_count * size_count;
    struct cell *cells = calloc(count, sizeof(cells[0]));
    double start = now();
    struct sim_report report = {.trace = t,
                                .name = strcmp(o->paths[0], "-") == 0 ? "stdin" : o->paths[0],
                                .by_bytes = by_bytes,
                                .sample = o->trace.sample,
                                .threads = o->threads,
                                .read_seconds = read_seconds,
                                .policies = o->policy_count,
                                .sizes = size_count,
                                .cells = cells};

    if (cells == NULL)
        return false;
    if (by_bytes && !t->has_sizes)
        fprintf(stderr, "corral-sim: this trace has no sizes: every object counts 1\n");
    for (unsigned i = 0; i < count; i++)
        cells[i] = (struct cell){.type = o->policies[i / size_count], .capacity = sizes[i % size_count]};
    sim_run(t, cells, count,
            &(struct sim_run_options){.by_bytes = by_bytes,
                                      .sample = o->trace.sample,
                                      .as_served = o->as_served,
                                      .threads = o->threads,
                                      .quiet = o->trace.quiet});
    report.run_seconds = now() - start;
    report_table(&report);
    ok = all_done(cells, count);
    if (!ok)
        fprintf(stderr, "corral-sim: memory was short for some cells: fewer --threads, or --sample 0.1\n");
    if (o->out != NULL)
        ok = report_write(&report, o->out) && ok;
    free(cells);
    return ok;
}

int main(int argc, char **argv)
{
    struct options o = {.trace = {.sample = 1}, .threads = cores()};
    struct sim_trace *t;
    double start = now(), took;
    bool ok;

    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0) {
            print_help();
            return 0;
        }
    o.trace.memory_max = memory_there() / 4 * 3;
    if (!parse_policies(&o, "all") || !parse_sizes(&o, "0.1%,1%,10%") || !parse(&o, argc, argv))
        return 2;
    t = sim_trace_read(o.paths, o.path_count, &o.trace);
    if (t == NULL)
        return 1;
    took = now() - start;
    ok = (!wants_future(&o) || sim_trace_look_ahead(t)) && simulate(&o, t, took);
    sim_trace_free(&t);
    return ok ? 0 : 1;
}
