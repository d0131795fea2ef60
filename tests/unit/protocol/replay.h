/* replay.h - feeds a stream to a parser the way a connection does, cut as the
 * caller likes, and writes down what came out. Two cuts of the same stream must
 * leave the same record; unit tests and fuzz targets both rest on that.
 *
 * Each arrival lands in a fresh allocation of exactly its size, so a kept
 * pointer or a read past the end is the sanitizer's to find. */
#ifndef CORRAL_TESTS_REPLAY_H
#define CORRAL_TESTS_REPLAY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/memcache_binary.h"
#include "protocol/memcache_text.h"
#include "protocol/resp.h"

#define REPLAY_CHECK(ok)                                                                                     \
    ((ok) ? (void)0 : (fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #ok), abort()))

/* The first `first` bytes arrive, then `step` at a time; 0 = all the rest.
 * patient: no call before parser->wanted bytes are there. */
struct cuts {
    size_t first;
    size_t step;
    bool patient;
};

enum replay_dialect { REPLAY_RESP, REPLAY_MEMCACHE, REPLAY_BINARY };

struct replay {
    enum replay_dialect dialect;
    struct resp_limits resp;
    size_t value_max;
    /* the record */
    char *text;
    size_t len;
    size_t room;
    size_t nothing; /* bytes that called for no answer, not yet written down */
};

static inline void replay_note(struct replay *r, const void *bytes, size_t len)
{
    if (r->room - r->len < len) {
        r->room = (r->room + len) * 2;
        r->text = realloc(r->text, r->room);
        REPLAY_CHECK(r->text != NULL);
    }
    if (len != 0)
        memcpy(r->text + r->len, bytes, len);
    r->len += len;
}

static inline void replay_note_slice(struct replay *r, struct slice s)
{
    char head[32];

    replay_note(r, head, (size_t)snprintf(head, sizeof head, " %zu:", s.len));
    replay_note(r, s.data, s.len);
}

static inline void replay_note_nothing(struct replay *r)
{
    char line[40];

    if (r->nothing != 0)
        replay_note(r, line, (size_t)snprintf(line, sizeof line, "nothing %zu\n", r->nothing));
    r->nothing = 0;
}

static inline void replay_note_result(struct replay *r, enum parse_status status,
                                      const struct request *request, const char *error, const char *marks)
{
    static const char *const names[] = {"done", "more", "full", "nothing", "refused", "broken"};

    replay_note(r, names[status], strlen(names[status]));
    if (status == PARSE_DONE || (status == PARSE_REFUSED && r->dialect != REPLAY_RESP))
        for (uint32_t i = 0; i < request->argc; i++)
            replay_note_slice(r, request->argv[i]);
    if (status == PARSE_DONE && request->data.data != NULL) {
        replay_note(r, " data", 5);
        replay_note_slice(r, request->data);
    }
    if (status == PARSE_REFUSED || status == PARSE_BROKEN) {
        replay_note(r, " [", 2);
        replay_note(r, error, strlen(error));
        replay_note(r, "]", 1);
        replay_note(r, marks, strlen(marks));
    }
    replay_note(r, "\n", 1);
}

/* Runs the whole stream; r->text..len holds the record afterwards (free it). */
static inline void replay_run(struct replay *r, const uint8_t *in, size_t len, struct cuts cuts)
{
    struct resp_parser resp = {0};
    struct memcache_parser memcache = {0};
    struct binary_parser binary = {0};
    struct request request = {.argv = malloc(sizeof(struct slice)), .argv_max = 1};
    size_t start = 0; /* of the request */
    size_t arrived = 0;
    size_t wanted = 0;
    bool open = true;
    char line[40];

    r->text = NULL;
    r->len = r->room = r->nothing = 0;
    while (open && arrived < len) {
        size_t step = arrived == 0 && cuts.first != 0 ? cuts.first : cuts.step;
        uint8_t *buf;
        size_t here;

        arrived = step == 0 || step > len - arrived ? len : arrived + step;
        if (cuts.patient && arrived - start < wanted)
            continue;
        here = arrived - start;
        buf = malloc(here + (here == 0));
        memcpy(buf, in + start, here);
        for (size_t at = 0;;) {
            size_t consumed = 99;
            enum parse_status status;
            const char *error;
            const char *marks = "";

            if (r->dialect == REPLAY_RESP) {
                status = resp_parse(&resp, &r->resp, buf + at, here - at, &request, &consumed);
                wanted = resp.wanted;
                error = resp.error;
                if (status == PARSE_REFUSED) {
                    REPLAY_CHECK(resp.swallowing && resp.refused > r->resp.bulk_keep && request.argc == 0);
                    error = "too long";
                }
            } else if (r->dialect == REPLAY_BINARY) {
                status = binary_parse(&binary, r->value_max, buf + at, here - at, &request, &consumed);
                wanted = binary.wanted;
                error = "";
            } else {
                status = memcache_parse(&memcache, r->value_max, buf + at, here - at, &request, &consumed);
                wanted = memcache.wanted;
                error = memcache.error;
                if (status == PARSE_REFUSED)
                    marks = memcache.silent      ? memcache.too_large ? " silent large" : " silent"
                            : memcache.too_large ? " large"
                                                 : "";
            }
            REPLAY_CHECK(consumed <= here - at);
            if (status == PARSE_MORE) {
                REPLAY_CHECK(consumed == 0 && wanted > here - at);
                start += at;
                break;
            }
            if (status == PARSE_ARGV_FULL) {
                REPLAY_CHECK(consumed == 0 && request.argc > request.argv_max);
                request.argv_max = request.argc;
                request.argv = realloc(request.argv, request.argv_max * sizeof *request.argv);
                REPLAY_CHECK(request.argv != NULL);
                continue;
            }
            if (status == PARSE_NOTHING) {
                REPLAY_CHECK(consumed > 0);
                r->nothing += consumed;
            } else {
                replay_note_nothing(r);
                replay_note_result(r, status, &request, error, marks);
            }
            if (status == PARSE_BROKEN) {
                REPLAY_CHECK(consumed == 0);
                open = false;
                break;
            }
            REPLAY_CHECK(consumed > 0 && (status != PARSE_DONE || request.argc > 0));
            at += consumed;
        }
        free(buf);
    }
    replay_note_nothing(r);
    if (open)
        replay_note(r, line, (size_t)snprintf(line, sizeof line, "left %zu\n", len - start));
    replay_note(r, "", 1); /* ends it for printing */
    r->len--;
    free(request.argv);
}

/* The record of `cuts` must equal that of the stream in one piece. */
static inline void replay_compare(const struct replay *setup, const uint8_t *in, size_t len, struct cuts cuts)
{
    struct replay whole = *setup;
    struct replay pieces = *setup;

    replay_run(&whole, in, len, (struct cuts){0});
    replay_run(&pieces, in, len, cuts);
    if (whole.len != pieces.len || memcmp(whole.text, pieces.text, whole.len) != 0) {
        fprintf(stderr, "cut at %zu, then every %zu%s:\n%s--- but in one piece:\n%s", cuts.first, cuts.step,
                cuts.patient ? ", patient" : "", pieces.text, whole.text);
        abort();
    }
    free(whole.text);
    free(pieces.text);
}

/* All cuts in two, and a few even ones. */
static inline void replay_compare_all(const struct replay *setup, const uint8_t *in, size_t len)
{
    for (size_t i = 1; i < len; i++) {
        replay_compare(setup, in, len, (struct cuts){i, 0, false});
        replay_compare(setup, in, len, (struct cuts){i, 0, true});
    }
    for (size_t step = 1; step <= 7; step++) {
        replay_compare(setup, in, len, (struct cuts){step, step, false});
        replay_compare(setup, in, len, (struct cuts){step, step, true});
    }
}

#endif
