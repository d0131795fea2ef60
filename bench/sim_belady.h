/* sim_belady.h - the policies that only a simulator can have. */
#ifndef CORRAL_BENCH_SIM_BELADY_H
#define CORRAL_BENCH_SIM_BELADY_H

#include "server/evict/evict.h"

/* Their replays need REPLAY_FUTURE, and replay_know() before every request. */
extern const struct evict_type sim_belady, sim_beladysize;

#endif
