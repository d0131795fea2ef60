/* fuzz_parcel.c - what is no parcel is refused; what is one is written as the same bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/cluster/parcel.h"

#define HOLDS(ok) ((ok) ? (void)0 : (fprintf(stderr, "line %d: %s does not hold\n", __LINE__, #ok), abort()))

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    struct slice rest = {in, len};
    struct parcel p;

    while (rest.len > 0) {
        const uint8_t *from = rest.data;

        if (!parcel_take(&rest, &p))
            return 0;
        size_t size = (size_t)(rest.data - from);
        uint8_t *back = malloc(size);
        HOLDS(back != NULL && parcel_size(&p) == size && parcel_put(back, &p) == back + size);
        HOLDS(memcmp(back, from, size) == 0);
        free(back);
    }
    return 0;
}
