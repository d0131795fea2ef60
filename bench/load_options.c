/* load_options.c - the command line of corral-load. */
#include "bench/load_options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum option_id {
    OPT_HOST = 256,
    OPT_PORT,
    OPT_UNIX,
    OPT_PROTOCOL,
    OPT_CONNECTIONS,
    OPT_PIPELINE,
    OPT_THREADS,
    OPT_SECONDS,
    OPT_REQUESTS,
    OPT_KEYS,
    OPT_KEY_SIZE,
    OPT_KEY_PREFIX,
    OPT_VALUE_SIZE,
    OPT_RATIO,
    OPT_MULTIGET,
    OPT_DISTRIBUTION,
    OPT_TTL,
    OPT_EXPIRE_AT,
    OPT_PRELOAD,
    OPT_RATE,
    OPT_SEED,
    OPT_PIN,
    OPT_PID,
    OPT_VERIFY,
    OPT_JSON,
    OPT_COUNT_ITEMS,
    OPT_AWAIT_EMPTY,
    OPT_AWAIT_FROM,
    OPT_FORMAT,
    OPT_COLUMNS,
    OPT_SIZES_FROM,
    OPT_HELP
};

static const struct option_row {
    enum option_id id;
    const char *name;
    const char *argument; /* NULL = a switch */
    const char *help;
} ROWS[] = {
    {OPT_HOST, "host", "NAME", "server to load (127.0.0.1)"},
    {OPT_PORT, "port", "PORT", "its port (6379; 11211 for the memcached protocols)"},
    {OPT_UNIX, "unix", "PATH", "its Unix socket, instead of host and port"},
    {OPT_PROTOCOL, "protocol", "P", "resp, memcache (classic text) or meta (resp)"},
    {OPT_CONNECTIONS, "connections", "N", "over all threads (50)"},
    {OPT_PIPELINE, "pipeline", "N",
     "requests sent at once on a connection before waiting for all answers (1)"},
    {OPT_THREADS, "threads", "N", "threads of the generator (1)"},
    {OPT_SECONDS, "seconds", "S", "how long to measure (5, or until --requests are done); 0: not at all"},
    {OPT_REQUESTS, "requests", "N", "stop after so many requests"},
    {OPT_KEYS, "keys", "N", "different keys (1000000)"},
    {OPT_KEY_SIZE, "key-size", "BYTES", "(32)"},
    {OPT_KEY_PREFIX, "key-prefix", "TEXT",
     "start of every key; one never written makes every get a miss (key:)"},
    {OPT_VALUE_SIZE, "value-size", "BYTES", "(100)"},
    {OPT_RATIO, "ratio", "G:S", "gets to sets; 1:0 only gets, 0:1 only sets (10:1)"},
    {OPT_MULTIGET, "multiget", "N", "keys per get: MGET, get k1 .. kN, or mg .. mg mn (1)"},
    {OPT_DISTRIBUTION, "distribution", "D", "uniform, zipf, zipf:EXPONENT or sequential (zipf:0.99)"},
    {OPT_TTL, "ttl", "SECONDS", "time to live of what is set (none)"},
    {OPT_EXPIRE_AT, "expire-at", "TIME", "Unix time at which all that is set expires, instead of --ttl"},
    {OPT_PRELOAD, "preload", NULL, "first set every key once, pipelined, not measured"},
    {OPT_RATE, "rate", "R", "send R requests a second on a fixed schedule; latency counts from the schedule"},
    {OPT_SEED, "seed", "N", "start of the dice (1)"},
    {OPT_PIN, "pin", "CPU", "run on this core only"},
    {OPT_PID, "pid", "PID", "the server's process, to report its CPU per request"},
    {OPT_VERIFY, "verify", NULL, "compare every value with what belongs to its key"},
    {OPT_JSON, "json", NULL, "one line of JSON instead of text"},
    {OPT_COUNT_ITEMS, "count-items", NULL, "only print how many items the server holds"},
    {OPT_AWAIT_EMPTY, "await-empty", "SECONDS",
     "only wait, at most so long, until it holds none; reports time and CPU"},
    {OPT_AWAIT_FROM, "await-from", "TIME", "with --await-empty: count from this Unix time on"},
    {OPT_FORMAT, "format", "NAME", "replay: keys csv tr lis twitter oracle (detected)"},
    {OPT_COLUMNS, "columns", "LIST", "replay: what a table's columns are, as in time,key,-,size"},
    {OPT_SIZES_FROM, "sizes-from", "FILE",
     "replay: where a trace has no sizes, those of a random row of this Markdown table (key size, value "
     "size)"},
    {OPT_HELP, "help", NULL, "this text"},
};

enum { ROW_COUNT = sizeof ROWS / sizeof ROWS[0] };

__attribute__((format(printf, 1, 2))) static _Noreturn void usage_error(const char *format, ...)
{
    va_list args;

    fputs("corral-load: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputs("; see corral-load --help\n", stderr);
    exit(2);
}

static _Noreturn void print_help(void)
{
    puts(
        "corral-load [--name value]... - loads a cache server and reports what a request cost it\n"
        "corral-load replay TRACE... [--name value]... - plays traces as a cache-aside client, over one\n"
        "    connection, and reports the hit ratio. Of the options those of the server count, and pipeline,\n"
        "    requests, key-size, value-size, pin, pid (reports RSS), json, and the last three. A pipeline of "
        "1\n"
        "    keeps exactly to the trace's order. Traces are what corral-sim reads; - is stdin\n");
    for (int i = 0; i < ROW_COUNT; i++) {
        char left[40];

        snprintf(left, sizeof left, "--%s %s", ROWS[i].name,
                 ROWS[i].argument != NULL ? ROWS[i].argument : "");
        printf("  %-24s %s\n", left, ROWS[i].help);
    }
    exit(0);
}

/* Accepts 10k and 5m as well. */
static uint64_t to_number(const char *name, const char *text, uint64_t min, uint64_t max)
{
    char *end;
    uint64_t number, unit = 1;

    errno = 0;
    number = strtoull(text, &end, 10);
    if (*end == 'k' || *end == 'm') {
        unit = *end == 'k' ? 1000 : 1000000;
        end++;
    }
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || number > max / unit ||
        number * unit < min)
        usage_error("--%s wants a number from %llu to %llu, not '%s'", name, (unsigned long long)min,
                    (unsigned long long)max, text);
    return number * unit;
}

static double to_real(const char *name, const char *text, double max)
{
    char *end;
    double number = strtod(text, &end);

    if (end == text || *end != '\0' || !(number >= 0) || number > max)
        usage_error("--%s wants a number from 0 to %.0f, not '%s'", name, max, text);
    return number;
}

static enum load_protocol to_protocol(const char *text)
{
    if (strcmp(text, "resp") == 0)
        return LOAD_RESP;
    if (strcmp(text, "memcache") == 0)
        return LOAD_MEMCACHE;
    if (strcmp(text, "meta") == 0)
        return LOAD_META;
    usage_error("--protocol is resp, memcache or meta, not '%s'", text);
}

static void to_ratio(struct load_options *o, const char *text)
{
    unsigned gets, sets;
    char rest;

    if (sscanf(text, "%u:%u%c", &gets, &sets, &rest) != 2 || gets > 1000000 || sets > 1000000 ||
        gets + sets == 0)
        usage_error("--ratio wants gets:sets such as 10:1, not '%s'", text);
    o->get_weight = gets;
    o->set_weight = sets;
}

static void to_distribution(struct load_options *o, const char *text)
{
    o->sequential = strcmp(text, "sequential") == 0;
    o->pick_kind = PICK_UNIFORM;
    if (o->sequential || strcmp(text, "uniform") == 0)
        return;
    o->pick_kind = PICK_ZIPF;
    if (strcmp(text, "zipf") == 0)
        return;
    if (strncmp(text, "zipf:", 5) != 0)
        usage_error("--distribution is uniform, zipf, zipf:EXPONENT or sequential, not '%s'", text);
    o->zipf_exponent = to_real("distribution zipf", text + 5, 5);
}

static void take_option(struct load_options *o, enum option_id id, const char *name, const char *value)
{
    switch (id) {
    case OPT_HOST: o->server.host = value; return;
    case OPT_PORT: o->server.port = value; return;
    case OPT_UNIX: o->server.unix_path = value; return;
    case OPT_PROTOCOL: o->protocol = to_protocol(value); return;
    case OPT_CONNECTIONS: o->connections = (uint32_t)to_number(name, value, 1, 100000); return;
    case OPT_PIPELINE: o->pipeline = (uint32_t)to_number(name, value, 1, 10000); return;
    case OPT_THREADS: o->threads = (uint32_t)to_number(name, value, 1, 256); return;
    case OPT_SECONDS: o->seconds = to_real(name, value, 86400); return;
    case OPT_REQUESTS: o->requests = to_number(name, value, 1, UINT64_MAX / 2); return;
    case OPT_KEYS: o->keys = (uint32_t)to_number(name, value, 1, INT32_MAX); return;
    case OPT_KEY_SIZE: o->key_size = (uint32_t)to_number(name, value, 1, LOAD_KEY_SIZE_MAX); return;
    case OPT_KEY_PREFIX: o->key_prefix = value; return;
    case OPT_VALUE_SIZE: o->value_size = (uint32_t)to_number(name, value, 0, 512000000); return;
    case OPT_RATIO: to_ratio(o, value); return;
    case OPT_MULTIGET: o->multiget = (uint32_t)to_number(name, value, 1, 10000); return;
    case OPT_DISTRIBUTION: to_distribution(o, value); return;
    case OPT_TTL: o->expiry.seconds = (uint32_t)to_number(name, value, 1, 30 * 86400); return;
    case OPT_EXPIRE_AT: o->expiry.at = to_number(name, value, 1, UINT32_MAX); return;
    case OPT_PRELOAD: o->preload = true; return;
    case OPT_RATE: o->rate = to_real(name, value, 1e9); return;
    case OPT_SEED: o->seed = to_number(name, value, 0, UINT64_MAX / 2); return;
    case OPT_PIN: o->pin = (int)to_number(name, value, 0, 1023); return;
    case OPT_PID: o->pid = (pid_t)to_number(name, value, 1, INT32_MAX); return;
    case OPT_VERIFY: o->verify = true; return;
    case OPT_JSON: o->json = true; return;
    case OPT_COUNT_ITEMS: o->deed = DEED_COUNT_ITEMS; return;
    case OPT_AWAIT_EMPTY:
        o->deed = DEED_AWAIT_EMPTY;
        o->await_seconds = to_real(name, value, 3600);
        return;
    case OPT_AWAIT_FROM: o->await_from = to_real(name, value, 1e11); return;
    case OPT_FORMAT:
        if (!read_format(value, &o->trace_options.format))
            exit(2);
        return;
    case OPT_COLUMNS:
        if (!read_columns(value, &o->trace_options))
            exit(2);
        return;
    case OPT_SIZES_FROM: o->sizes_from = value; return;
    case OPT_HELP: print_help();
    }
}

static void check_replay(const struct load_options *o)
{
    if (o->trace_count == 0)
        usage_error("replay wants a trace");
    if (o->protocol == LOAD_META)
        usage_error("replay speaks resp and memcache");
    if (o->key_size < LOAD_REPLAY_KEY_SIZE_MIN)
        usage_error("replay's keys have at least %d bytes", LOAD_REPLAY_KEY_SIZE_MIN);
}

/* What each option allows by itself, but not together. */
static void check_together(struct load_options *o)
{
    uint64_t batch;

    if (o->server.port == NULL)
        o->server.port = o->protocol == LOAD_RESP ? "6379" : "11211";
    if (o->deed == DEED_REPLAY) {
        check_replay(o);
        return;
    }
    if (!load_data_key_fits(o->keys, o->key_size))
        usage_error("%u different keys do not fit in --key-size %u", o->keys, o->key_size);
    if (o->connections < o->threads)
        usage_error("--connections %u is fewer than one per thread", o->connections);
    if (o->keys < o->threads)
        usage_error("--keys %u is fewer than one per thread", o->keys);
    batch = (uint64_t)o->pipeline * o->multiget * (o->value_size + o->key_size + 64);
    if (batch > UINT64_C(1) << 30)
        usage_error("--pipeline times --multiget times the sizes is over 1 GiB on one connection");
    if (o->rate > 0 && o->seconds <= 0 && o->requests == 0)
        usage_error("--rate needs --seconds or --requests");
    if (o->seconds < 0)
        o->seconds = o->requests > 0 ? 0 : 5;
}

void load_options_read(struct load_options *o, int argc, char **argv)
{
    struct option names[ROW_COUNT + 1] = {0};
    int id;

    *o = (struct load_options){
        .server = {.host = "127.0.0.1"},
        .connections = 50,
        .pipeline = 1,
        .threads = 1,
        .seconds = -1,
        .keys = 1000000,
        .key_size = 32,
        .value_size = 100,
        .key_prefix = "key:",
        .get_weight = 10,
        .set_weight = 1,
        .multiget = 1,
        .pick_kind = PICK_ZIPF,
        .zipf_exponent = 0.99,
        .seed = 1,
        .pin = -1,
    };
    for (int i = 0; i < ROW_COUNT; i++)
        names[i] = (struct option){ROWS[i].name, ROWS[i].argument != NULL ? required_argument : no_argument,
                                   NULL, ROWS[i].id};
    opterr = 0;
    for (int at = 0; (id = getopt_long(argc, argv, ":", names, &at)) != -1;) {
        if (id == ':')
            usage_error("%s wants a value", argv[optind - 1]);
        if (id == '?')
            usage_error("no such option: %s", argv[optind - 1]);
        take_option(o, (enum option_id)id, names[at].name, optarg);
    }
    if (optind < argc && strcmp(argv[optind], "replay") == 0) {
        o->deed = DEED_REPLAY;
        o->traces = argv + optind + 1;
        o->trace_count = (unsigned)(argc - optind - 1);
    } else if (optind < argc) {
        usage_error("what is '%s'?", argv[optind]);
    }
    check_together(o);
}
