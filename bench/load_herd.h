/* load_herd.h - the second mode of corral-load: a herd on few keys. */
#ifndef CORRAL_BENCH_LOAD_HERD_H
#define CORRAL_BENCH_LOAD_HERD_H

/* The whole program once its first argument was "herd", which is `argv[0]` here. Returns the exit code. */
int herd_main(int argc, char **argv);

#endif
