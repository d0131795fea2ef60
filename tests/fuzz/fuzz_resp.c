/* fuzz_resp.c - any stream of RESP, cut in any way, gives the same requests.
 *
 * Input: byte 0 the first cut, byte 1 the step of later ones, byte 2 the
 * limits, the rest the stream. */
#include "tests/unit/protocol/replay.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    struct replay setup = {.dialect = REPLAY_RESP};

    if (len < 3 || len > 8192)
        return 0;
    setup.resp.stranger = (in[2] & 1) != 0;
    setup.resp.bulk_max = (in[2] & 2) != 0 ? 30 : 0;
    setup.resp.args_max = (in[2] & 4) != 0 ? 12 : 0;
    setup.resp.bulk_keep = (in[2] & 16) != 0 ? 7 : 0;
    replay_compare(&setup, in + 3, len - 3, (struct cuts){in[0], in[1], (in[2] & 8) != 0});
    replay_compare(&setup, in + 3, len - 3, (struct cuts){1, 1, false});
    return 0;
}
