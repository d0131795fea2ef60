/* load_herd_options.c - the command line of corral-load herd. */
#include "bench/load_herd_options.h"

#include "bench/load_args.h"
#include "bench/load_data.h"
#include "bench/load_herd_truth.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum option_id {
    OPT_DRIVER = 256,
    OPT_HOST,
    OPT_PORT,
    OPT_MEMCACHE_PORT,
    OPT_CLIENTS,
    OPT_KEYS,
    OPT_ZIPF,
    OPT_SECONDS,
    OPT_READS,
    OPT_THINK,
    OPT_RAMP,
    OPT_FILL,
    OPT_FILL_JITTER,
    OPT_TTL,
    OPT_GRACE,
    OPT_STALE,
    OPT_UPDATE_RATE,
    OPT_UPDATE,
    OPT_KILL_FILLER,
    OPT_KILL_FIRST,
    OPT_POLL,
    OPT_WAIT,
    OPT_LEASE,
    OPT_UNLOCK,
    OPT_KEY_SIZE,
    OPT_KEY_PREFIX,
    OPT_VALUE_SIZE,
    OPT_RESP3,
    OPT_SEED,
    OPT_PIN,
    OPT_JSON,
    OPT_HELP
};

static const struct arg_row ROWS[] = {
    {OPT_DRIVER, "driver", "D[,D...]", "how the clients read, see below; several take turns (plain-resp)"},
    {OPT_HOST, "host", "NAME", "the server (127.0.0.1)"},
    {OPT_PORT, "port", "PORT", "its RESP port (6379)"},
    {OPT_MEMCACHE_PORT, "memcache-port", "PORT", "its memcached port (11211)"},
    {OPT_CLIENTS, "clients", "N", "connections that read (1000)"},
    {OPT_KEYS, "keys", "N", "different keys (10)"},
    {OPT_ZIPF, "zipf", "EXPONENT", "how much more some keys are read than others (0: not at all)"},
    {OPT_SECONDS, "seconds", "S", "how long clients start reads (10; with --reads at most 60)"},
    {OPT_READS, "reads", "N", "a client stops after so many reads (0: when the time is up)"},
    {OPT_THINK, "think-ms", "MS", "between two reads of a client, half more or less by chance (100)"},
    {OPT_RAMP, "ramp-ms", "MS", "spread the first reads over so long (0: all at once, on a cold cache)"},
    {OPT_FILL, "fill-ms", "MS", "how long the origin takes for a fetch (100)"},
    {OPT_FILL_JITTER, "fill-jitter", "X", "it takes this part more or less, by chance (0)"},
    {OPT_TTL, "ttl", "SECONDS", "what is stored expires after so long; 0: never. Whole for memcached (2)"},
    {OPT_GRACE, "grace-ms", "MS", "getlease: what is stored may be served so long after it expired (0)"},
    {OPT_STALE, "stale", NULL, "a value the server marks as old satisfies a reader who may not fetch"},
    {OPT_UPDATE_RATE, "update-rate", "R", "changes of a random key a second, in all (0)"},
    {OPT_UPDATE, "update", "HOW",
     "what the writer does after a change: delete, invalidate (getlease, meta) or set (delete)"},
    {OPT_KILL_FILLER, "kill-filler", "P",
     "this part of the fetches ends half-way, with their client's connection (0)"},
    {OPT_KILL_FIRST, "kill-first", "N", "and the first so many in any case (0)"},
    {OPT_POLL, "poll-ms", "MS", "how long a client that was told to wait waits before it asks again (20)"},
    {OPT_WAIT, "wait-ms", "MS", "getlease: its WAIT; 0: none, poll instead (1000)"},
    {OPT_LEASE, "lease-ms", "MS", "how long a lock (PX) or a meta stub (N, whole seconds) holds (3000)"},
    {OPT_UNLOCK, "unlock", "HOW", "how a lock is released: del, delifeq, eval (del)"},
    {OPT_KEY_SIZE, "key-size", "BYTES", "(24)"},
    {OPT_KEY_PREFIX, "key-prefix", "TEXT", "start of every key (herd:)"},
    {OPT_VALUE_SIZE, "value-size", "BYTES", "(200)"},
    {OPT_RESP3, "resp3", NULL, "greet with HELLO 3"},
    {OPT_SEED, "seed", "N", "start of the dice (1)"},
    {OPT_PIN, "pin", "CPU", "run on this core only"},
    {OPT_JSON, "json", NULL, "one line of JSON instead of text"},
    {OPT_HELP, "help", NULL, "this text"},
};

static const struct arg_table TABLE = {"corral-load herd", ROWS, sizeof ROWS / sizeof ROWS[0]};

static _Noreturn void print_help(void)
{
    args_print_help(&TABLE,
                    "many clients want the same keys; counts what reaches the origin behind the cache");
    exit(0);
}

static void to_drivers(struct herd_options *o, const char *text)
{
    const char *list = strcmp(text, "mixed") == 0 ? "plain-resp,plain-text,getlease,lease-get" : text;

    o->driver_text = text;
    o->driver_count = 0;
    for (const char *at = list;; at++) {
        struct slice name = {(const uint8_t *)at, strcspn(at, ",")};

        if (o->driver_count == HERD_DRIVERS_MAX)
            arg_error("--driver takes at most %d", HERD_DRIVERS_MAX);
        if (!herd_driver_named(name, &o->drivers[o->driver_count++]))
            arg_error(
                "--driver knows plain-resp, plain-text, meta, meta-blind, lease-get, getlease, lock and "
                "mixed, not '%.*s'",
                (int)name.len, at);
        at += name.len;
        if (*at == '\0')
            return;
    }
}

static enum herd_update to_update(const char *text)
{
    if (strcmp(text, "delete") == 0)
        return HERD_UPDATE_DELETE;
    if (strcmp(text, "invalidate") == 0)
        return HERD_UPDATE_INVALIDATE;
    if (strcmp(text, "set") == 0)
        return HERD_UPDATE_SET;
    arg_error("--update is delete, invalidate or set, not '%s'", text);
}

static enum herd_unlock to_unlock(const char *text)
{
    if (strcmp(text, "del") == 0)
        return HERD_UNLOCK_DEL;
    if (strcmp(text, "delifeq") == 0)
        return HERD_UNLOCK_DELIFEQ;
    if (strcmp(text, "eval") == 0)
        return HERD_UNLOCK_EVAL;
    arg_error("--unlock is del, delifeq or eval, not '%s'", text);
}

static void take_option(void *into, int id, const char *name, const char *value)
{
    enum { DAY_MS = 86400000 };
    struct herd_options *o = into;

    switch ((enum option_id)id) {
    case OPT_DRIVER: to_drivers(o, value); return;
    case OPT_HOST: o->host = value; return;
    case OPT_PORT: o->port = value; return;
    case OPT_MEMCACHE_PORT: o->memcache_port = value; return;
    case OPT_CLIENTS: o->clients = (uint32_t)arg_number(name, value, 1, 50000); return;
    case OPT_KEYS: o->keys = (uint32_t)arg_number(name, value, 1, 1000000); return;
    case OPT_ZIPF: o->zipf = arg_real(name, value, 5); return;
    case OPT_SECONDS: o->seconds = arg_real(name, value, 86400); return;
    case OPT_READS: o->reads = arg_number(name, value, 0, UINT64_MAX / 2); return;
    case OPT_THINK: o->think_ms = arg_number(name, value, 0, DAY_MS); return;
    case OPT_RAMP: o->ramp_ms = arg_number(name, value, 0, DAY_MS); return;
    case OPT_FILL: o->fill_ms = arg_number(name, value, 0, DAY_MS); return;
    case OPT_FILL_JITTER: o->fill_jitter = arg_real(name, value, 1); return;
    case OPT_TTL: o->plan.ttl_ms = (uint64_t)llround(arg_real(name, value, 2592000) * 1000); return;
    case OPT_GRACE: o->plan.grace_ms = arg_number(name, value, 0, DAY_MS); return;
    case OPT_STALE: o->plan.takes_stale = true; return;
    case OPT_UPDATE_RATE: o->update_rate = arg_real(name, value, 1e6); return;
    case OPT_UPDATE: o->plan.update = to_update(value); return;
    case OPT_KILL_FILLER: o->kill = arg_real(name, value, 1); return;
    case OPT_KILL_FIRST: o->kill_first = arg_number(name, value, 0, UINT64_MAX / 2); return;
    case OPT_POLL: o->poll_ms = arg_number(name, value, 1, DAY_MS); return;
    case OPT_WAIT: o->plan.wait_ms = arg_number(name, value, 0, DAY_MS); return;
    case OPT_LEASE: o->plan.lease_ms = arg_number(name, value, 1, DAY_MS); return;
    case OPT_UNLOCK: o->plan.unlock = to_unlock(value); return;
    case OPT_KEY_SIZE: o->key_size = (uint32_t)arg_number(name, value, 1, LOAD_KEY_SIZE_MAX); return;
    case OPT_KEY_PREFIX: o->key_prefix = value; return;
    case OPT_VALUE_SIZE: o->value_size = (uint32_t)arg_number(name, value, 1, 1000000); return;
    case OPT_RESP3: o->resp3 = true; return;
    case OPT_SEED: o->seed = arg_number(name, value, 0, UINT64_MAX / 2); return;
    case OPT_PIN: o->pin = (int)arg_number(name, value, 0, 1023); return;
    case OPT_JSON: o->json = true; return;
    case OPT_HELP: print_help();
    }
}

/* What each option allows by itself, but not together. */
static void check_together(struct herd_options *o)
{
    bool memcache = false;

    for (uint32_t i = 0; i < o->driver_count; i++) {
        memcache |= herd_driver_dialect(o->drivers[i]) == HERD_MEMCACHE;
        if (o->update_rate > 0 && !herd_driver_can_update(o->drivers[i], o->plan.update))
            arg_error("%s cannot --update invalidate", herd_driver_name(o->drivers[i]));
    }
    if (memcache && o->plan.ttl_ms % 1000 != 0)
        arg_error("--ttl must be whole seconds for memcached's clients");
    if (!load_data_key_fits(o->keys, o->key_size))
        arg_error("%u different keys do not fit in --key-size %u", o->keys, o->key_size);
    if (o->value_size < herd_value_size_min(o->key_size))
        arg_error("--value-size must be at least %u, for the key and a version",
                  herd_value_size_min(o->key_size));
    if ((uint64_t)o->clients * o->value_size > UINT64_C(1) << 30)
        arg_error("--clients times --value-size is over 1 GiB");
    if (o->seconds < 0)
        o->seconds = o->reads > 0 ? 60 : 10;
}

void herd_options_read(struct herd_options *o, int argc, char **argv)
{
    *o = (struct herd_options){
        .host = "127.0.0.1",
        .port = "6379",
        .memcache_port = "11211",
        .driver_text = "plain-resp",
        .drivers = {HERD_PLAIN_RESP},
        .driver_count = 1,
        .clients = 1000,
        .keys = 10,
        .key_size = 24,
        .value_size = 200,
        .key_prefix = "herd:",
        .seconds = -1,
        .think_ms = 100,
        .fill_ms = 100,
        .poll_ms = 20,
        .plan = {.ttl_ms = 2000, .lease_ms = 3000, .wait_ms = 1000},
        .seed = 1,
        .pin = -1,
    };
    args_no_more(argc, argv, args_read(&TABLE, argc, argv, take_option, o));
    check_together(o);
}
