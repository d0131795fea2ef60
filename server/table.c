#include "server/table.h"

#include <stdint.h>
#include <sys/random.h>
#include <time.h>
#include <xxhash.h>

static uint64_t seed;

/* Before main(), so that no two hashes of a process differ. */
__attribute__((constructor)) static void choose_seed(void)
{
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed)
        seed = (uint64_t)time(NULL) * UINT64_C(0x9e3779b97f4a7c15);
}

unsigned table_hash(const void *key, size_t len)
{
    return (unsigned)XXH3_64bits_withSeed(key, len, seed);
}
