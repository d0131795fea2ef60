/* load_options.c - the command line of corral-load. */
#include "bench/load_options.h"

#include "bench/load_args.h"

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

static const struct arg_row ROWS[] = {
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

static const struct arg_table TABLE = {"corral-load", ROWS, sizeof ROWS / sizeof ROWS[0]};

static _Noreturn void print_help(void)
{
    args_print_help(&TABLE, "loads a cache server and reports what a request cost it");
    puts(
        "\n"
        "corral-load replay TRACE... [--name value]... - plays traces as a cache-aside client, over one\n"
        "    connection, and reports the hit ratio. Of the options those of the server count, and pipeline,\n"
        "    requests, key-size, value-size, pin, pid (reports RSS), json, and the last three. A pipeline of "
        "1\n"
        "    keeps exactly to the trace's order. Traces are what corral-sim reads; - is stdin\n"
        "corral-load herd --help: many clients that miss the same keys, and what reaches their origin");
    exit(0);
}

static enum load_protocol to_protocol(const char *text)
{
    if (strcmp(text, "resp") == 0)
        return LOAD_RESP;
    if (strcmp(text, "memcache") == 0)
        return LOAD_MEMCACHE;
    if (strcmp(text, "meta") == 0)
        return LOAD_META;
    arg_error("--protocol is resp, memcache or meta, not '%s'", text);
}

static void to_ratio(struct load_options *o, const char *text)
{
    unsigned gets, sets;
    char rest;

    if (sscanf(text, "%u:%u%c", &gets, &sets, &rest) != 2 || gets > 1000000 || sets > 1000000 ||
        gets + sets == 0)
        arg_error("--ratio wants gets:sets such as 10:1, not '%s'", text);
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
        arg_error("--distribution is uniform, zipf, zipf:EXPONENT or sequential, not '%s'", text);
    o->zipf_exponent = arg_real("distribution zipf", text + 5, 5);
}

static void take_option(void *into, int id, const char *name, const char *value)
{
    struct load_options *o = into;

    switch ((enum option_id)id) {
    case OPT_HOST: o->server.host = value; return;
    case OPT_PORT: o->server.port = value; return;
    case OPT_UNIX: o->server.unix_path = value; return;
    case OPT_PROTOCOL: o->protocol = to_protocol(value); return;
    case OPT_CONNECTIONS: o->connections = (uint32_t)arg_number(name, value, 1, 100000); return;
    case OPT_PIPELINE: o->pipeline = (uint32_t)arg_number(name, value, 1, 10000); return;
    case OPT_THREADS: o->threads = (uint32_t)arg_number(name, value, 1, 256); return;
    case OPT_SECONDS: o->seconds = arg_real(name, value, 86400); return;
    case OPT_REQUESTS: o->requests = arg_number(name, value, 1, UINT64_MAX / 2); return;
    case OPT_KEYS: o->keys = (uint32_t)arg_number(name, value, 1, INT32_MAX); return;
    case OPT_KEY_SIZE: o->key_size = (uint32_t)arg_number(name, value, 1, LOAD_KEY_SIZE_MAX); return;
    case OPT_KEY_PREFIX: o->key_prefix = value; return;
    case OPT_VALUE_SIZE: o->value_size = (uint32_t)arg_number(name, value, 0, 512000000); return;
    case OPT_RATIO: to_ratio(o, value); return;
    case OPT_MULTIGET: o->multiget = (uint32_t)arg_number(name, value, 1, 10000); return;
    case OPT_DISTRIBUTION: to_distribution(o, value); return;
    case OPT_TTL: o->expiry.seconds = (uint32_t)arg_number(name, value, 1, 30 * 86400); return;
    case OPT_EXPIRE_AT: o->expiry.at = arg_number(name, value, 1, UINT32_MAX); return;
    case OPT_PRELOAD: o->preload = true; return;
    case OPT_RATE: o->rate = arg_real(name, value, 1e9); return;
    case OPT_SEED: o->seed = arg_number(name, value, 0, UINT64_MAX / 2); return;
    case OPT_PIN: o->pin = (int)arg_number(name, value, 0, 1023); return;
    case OPT_PID: o->pid = (pid_t)arg_number(name, value, 1, INT32_MAX); return;
    case OPT_VERIFY: o->verify = true; return;
    case OPT_JSON: o->json = true; return;
    case OPT_COUNT_ITEMS: o->deed = DEED_COUNT_ITEMS; return;
    case OPT_AWAIT_EMPTY:
        o->deed = DEED_AWAIT_EMPTY;
        o->await_seconds = arg_real(name, value, 3600);
        return;
    case OPT_AWAIT_FROM: o->await_from = arg_real(name, value, 1e11); return;
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
        arg_error("replay wants a trace");
    if (o->protocol == LOAD_META)
        arg_error("replay speaks resp and memcache");
    if (o->key_size < LOAD_REPLAY_KEY_SIZE_MIN)
        arg_error("replay's keys have at least %d bytes", LOAD_REPLAY_KEY_SIZE_MIN);
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
        arg_error("%u different keys do not fit in --key-size %u", o->keys, o->key_size);
    if (o->connections < o->threads)
        arg_error("--connections %u is fewer than one per thread", o->connections);
    if (o->keys < o->threads)
        arg_error("--keys %u is fewer than one per thread", o->keys);
    batch = (uint64_t)o->pipeline * o->multiget * (o->value_size + o->key_size + 64);
    if (batch > UINT64_C(1) << 30)
        arg_error("--pipeline times --multiget times the sizes is over 1 GiB on one connection");
    if (o->rate > 0 && o->seconds <= 0 && o->requests == 0)
        arg_error("--rate needs --seconds or --requests");
    if (o->seconds < 0)
        o->seconds = o->requests > 0 ? 0 : 5;
}

void load_options_read(struct load_options *o, int argc, char **argv)
{
    int at;

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
    at = args_read(&TABLE, argc, argv, take_option, o);
    if (at < argc && strcmp(argv[at], "replay") == 0) {
        o->deed = DEED_REPLAY;
        o->traces = argv + at + 1;
        o->trace_count = (unsigned)(argc - at - 1);
    } else {
        args_no_more(argc, argv, at);
    }
    check_together(o);
}
