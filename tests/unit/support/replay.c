/* The replay tests drive the simulator's own host. */
#include "bench/replay.c"
