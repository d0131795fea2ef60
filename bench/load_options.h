/* load_options.h - what the command line asked corral-load to do. */
#ifndef CORRAL_BENCH_LOAD_OPTIONS_H
#define CORRAL_BENCH_LOAD_OPTIONS_H

#include "bench/load_net.h"
#include "bench/load_pick.h"
#include "bench/load_reply.h"
#include "bench/load_request.h"
#include "bench/trace_read.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum load_deed {
    DEED_DRIVE,       /* load the server */
    DEED_COUNT_ITEMS, /* print how many items it holds */
    DEED_AWAIT_EMPTY, /* measure how long it takes to hold none */
    DEED_REPLAY       /* play traces */
};

enum { LOAD_REPLAY_KEY_SIZE_MIN = 16 }; /* a replayed key is a hash in hexadecimal */

struct load_options {
    enum load_deed deed;
    struct server_address server;
    enum load_protocol protocol;
    uint32_t connections;
    uint32_t pipeline;
    uint32_t threads;
    double seconds;    /* 0 = no limit in time, or nothing to measure when requests is 0 too */
    uint64_t requests; /* 0 = no limit in number */
    uint32_t keys;
    uint32_t key_size;
    uint32_t value_size;
    const char *key_prefix;
    uint32_t get_weight; /* gets : sets */
    uint32_t set_weight;
    uint32_t multiget;
    bool sequential; /* every key once, in order; else pick_kind */
    enum pick_kind pick_kind;
    double zipf_exponent;
    struct expiry_wish expiry;
    bool preload;
    double rate; /* requests per second, sent whether or not answers come; 0 = as fast as answers come */
    uint64_t seed;
    int pin;   /* core, or -1 */
    pid_t pid; /* of the server, or 0 */
    bool json;
    bool verify;
    double await_seconds;
    double await_from; /* Unix time at which waiting starts; 0 = now */
    /* DEED_REPLAY */
    char *const *traces;
    unsigned trace_count;
    struct read_options trace_options;
    const char *sizes_from; /* a file, or NULL */
};

/* On a mistake prints a sentence and exits with 2; on --help exits with 0. */
void load_options_read(struct load_options *o, int argc, char **argv);

#endif
