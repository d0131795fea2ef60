/* load_watch.h - how many items a server holds, and how fast it forgets them. */
#ifndef CORRAL_BENCH_LOAD_WATCH_H
#define CORRAL_BENCH_LOAD_WATCH_H

#include "bench/load_options.h"

/* Both print their finding to stdout; false and a sentence in `why` when the
 * server cannot be asked. */
bool watch_count_items(const struct load_options *o, char *why, size_t why_size);
/* Asks a hundred times a second from now until the server holds nothing or
 * await_seconds after await_from. The CPU it spends before await_from is taken
 * as its idle rate and subtracted from what it spends after. */
bool watch_await_empty(const struct load_options *o, char *why, size_t why_size);

#endif
