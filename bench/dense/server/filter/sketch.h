/* sketch.h - the server's sketch and its source, for a policy that is compiled into a
 * replay (replay_compiled.c): to be inlined, and to know which line to fetch ahead. */
#ifndef CORRAL_BENCH_DENSE_SKETCH_H
#define CORRAL_BENCH_DENSE_SKETCH_H

/* The server's are in the program as well. */
#define sketch_new     compiled_sketch_new
#define sketch_free    compiled_sketch_free
#define sketch_fit     compiled_sketch_fit
#define sketch_add     compiled_sketch_add
#define sketch_pass    compiled_sketch_pass
#define sketch_count   compiled_sketch_count
#define sketch_period  compiled_sketch_period
#define sketch_entries compiled_sketch_entries
#define sketch_bytes   compiled_sketch_bytes
#define sketch_check   compiled_sketch_check

/* This path is not looked for here. */
#include "bench/../server/filter/sketch.h"

#include "server/filter/sketch.c"

#endif
