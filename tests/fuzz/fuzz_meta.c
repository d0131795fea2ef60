/* fuzz_meta.c - a meta line decodes into what it says, or is refused.
 *
 * Input: a line of words. Decoding twice gives the same; what was accepted
 * keeps the promises of the header; a reply naming all of it fits its room;
 * base64 of anything comes back. */
#include <stdio.h>
#include <stdlib.h>

#include "protocol/memcache_meta.h"
#include "protocol/memcache_text.h"

#define HOLDS(ok) ((ok) ? (void)0 : (fprintf(stderr, "line %d: %s does not hold\n", __LINE__, #ok), abort()))

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

static void check_accepted(const struct request *request, const struct meta_request *meta)
{
    uint8_t reply[META_REPLY_ROOM];
    uint8_t *p = meta_put_va(reply, SIZE_MAX);
    bool seen[128] = {false};

    HOLDS(meta->flag_count <= META_FLAGS_MAX);
    HOLDS(meta->verb == META_NOOP || (meta->key.len > 0 && meta->key.len <= MEMCACHE_KEY_MAX));
    HOLDS(meta->verb == META_NOOP || meta->verb == META_DEBUG ||
          meta->flag_count == request->argc - (meta->verb == META_SET ? 3 : 2));
    for (size_t i = 0; i < meta->flag_count; i++) {
        uint8_t flag = meta->flags[i];
        HOLDS(flag < 127 && !seen[flag]);
        seen[flag] = true;
        if (flag == 'O')
            p = meta_put_opaque(p, meta->opaque);
        else if (flag == 'k')
            p = meta_put_key(p, meta->key, meta->key_binary);
        else
            p = meta_put_u64(p, (char)flag, UINT64_MAX);
    }
    HOLDS(meta->opaque.len <= META_OPAQUE_MAX && (meta->opaque.len != 0) == seen['O']);
    HOLDS(meta->verb == META_DEBUG || meta->key_binary == seen['b']);
    HOLDS((meta->mode != 0) == seen['M']);
    p = meta_put_mark(meta_put_mark(meta_put_mark(p, 'Z'), 'X'), 'W');
    p = meta_put_end(p);
    HOLDS(p <= reply + sizeof reply);
}

static void check_base64(const uint8_t *in, size_t len)
{
    uint8_t *text = malloc(BASE64_LEN(len) + 1);
    uint8_t *back = malloc(len + 3);
    size_t n = base64_encode(text, (struct slice){in, len});

    HOLDS(n == BASE64_LEN(len));
    HOLDS(base64_decode(back, (struct slice){text, n}) == len);
    HOLDS(len == 0 || memcmp(back, in, len) == 0);
    HOLDS(base64_decode(back, (struct slice){in, len}) <= len);
    free(back);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    struct slice argv[32];
    struct request request = {.argv = argv, .argv_max = 32};
    struct memcache_parser parser = {0};
    uint8_t key_room[META_KEY_ROOM];
    uint8_t key_again[META_KEY_ROOM];
    struct meta_request meta;
    struct meta_request again;
    enum meta_verb verb;
    const char *error;
    size_t consumed;
    uint8_t *line;

    if (len > 4096)
        return 0;
    check_base64(in, len);
    line = malloc(len + 1);
    if (len != 0)
        memcpy(line, in, len);
    line[len] = '\n';
    if (memcache_parse(&parser, 100, line, len + 1, &request, &consumed) == PARSE_ARGV_FULL ||
        request.argc == 0 || request.argc > request.argv_max || !meta_verb_of(argv[0], &verb)) {
        free(line);
        return 0;
    }
    error = meta_decode(&request, verb, key_room, &meta);
    HOLDS(meta_decode(&request, verb, key_again, &again) == error);
    if (error == NULL) {
        HOLDS(slice_equals(meta.key, again.key));
        again.key = meta.key;
        HOLDS(memcmp(&meta, &again, sizeof meta) == 0);
        check_accepted(&request, &meta);
    }
    free(line);
    return 0;
}
