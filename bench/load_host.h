/* load_host.h - what the generator asks of its machine. Goes on without it. */
#ifndef CORRAL_BENCH_LOAD_HOST_H
#define CORRAL_BENCH_LOAD_HOST_H

#include <stdint.h>

void host_pin_to(int core);
/* Raises the limit of open files as far as it may. */
void host_allow_connections(uint32_t connections);

#endif
