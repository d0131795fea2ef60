/* load_replay.h - a trace of requests, played against a live server.
 *
 * The client is the usual one of a cache: it reads a key and, when that is not
 * there, writes it. Which reads hit is then the server's doing alone. */
#ifndef CORRAL_BENCH_LOAD_REPLAY_H
#define CORRAL_BENCH_LOAD_REPLAY_H

#include "bench/load_options.h"

/* Prints what was found. False and a sentence in `why` (empty where the trace's
 * reader has said it) when the server or the trace is not as it should be. */
bool replay_run(const struct load_options *o, char *why, size_t why_size);

#endif
