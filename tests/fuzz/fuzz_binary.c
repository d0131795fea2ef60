/* fuzz_binary.c - any stream of memcached's binary packets, cut in any way,
 * gives the same requests.
 *
 * Input: byte 0 the first cut, byte 1 the step of later ones, byte 2 the
 * longest value and patience, the rest the stream. */
#include "tests/unit/protocol/replay.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    struct replay setup = {.dialect = REPLAY_BINARY};

    if (len < 3 || len > 8192)
        return 0;
    setup.value_max = in[2] & 127;
    replay_compare(&setup, in + 3, len - 3, (struct cuts){in[0], in[1], in[2] >= 128});
    replay_compare(&setup, in + 3, len - 3, (struct cuts){1, 1, false});
    return 0;
}
