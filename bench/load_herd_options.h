/* load_herd_options.h - what the command line asked corral-load herd to do. */
#ifndef CORRAL_BENCH_LOAD_HERD_OPTIONS_H
#define CORRAL_BENCH_LOAD_HERD_OPTIONS_H

#include "bench/load_herd_read.h"
#include "bench/load_net.h"

enum { HERD_DRIVERS_MAX = 8 };

struct herd_options {
    const char *host;
    const char *port;                           /* RESP */
    const char *memcache_port;                  /* text and meta */
    const char *driver_text;                    /* as given */
    enum herd_driver drivers[HERD_DRIVERS_MAX]; /* client i uses the i-th, and round again */
    uint32_t driver_count;
    uint32_t clients;
    uint32_t keys;
    uint32_t key_size;
    uint32_t value_size;
    const char *key_prefix;
    double zipf; /* 0: every key as likely */
    double seconds;
    uint64_t reads; /* of each client; 0: until the time is up */
    uint64_t think_ms;
    uint64_t ramp_ms; /* the first reads are spread over so long */
    uint64_t fill_ms;
    double fill_jitter; /* 0.2: 20 % less to 20 % more */
    uint64_t poll_ms;
    double update_rate;  /* changes a second */
    double kill;         /* of the fetches, how many die with their client: 0..1 */
    uint64_t kill_first; /* and the first so many in any case */
    struct herd_plan plan;
    bool resp3;
    uint64_t seed;
    int pin; /* core, or -1 */
    bool json;
};

/* `argv[0]` is "herd". On a mistake prints a sentence and exits with 2; on
 * --help exits with 0. */
void herd_options_read(struct herd_options *o, int argc, char **argv);

#endif
