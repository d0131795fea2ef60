/* load_request.c - three dialects as fixed text around keys and values.
 *
 *   get:  get_start (get_before KEY get_after)* get_end
 *   set:  set_before KEY set_middle VALUE set_end
 */
#include "bench/load_request.h"

#include "server/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { PIECE_MAX_BYTES = 128 };

struct piece {
    size_t len;
    char text[PIECE_MAX_BYTES];
};

struct request_form {
    const struct load_data *data;
    uint32_t multiget;
    struct piece get_start, get_before, get_after, get_end;
    struct piece set_before, set_middle, set_end;
};

__attribute__((format(printf, 2, 3))) static void say(struct piece *piece, const char *format, ...)
{
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(piece->text, sizeof piece->text, format, args);
    va_end(args);
    CHECK(len >= 0 && (size_t)len < sizeof piece->text);
    piece->len = (size_t)len;
}

static inline uint8_t *put(const struct piece *piece, uint8_t *to)
{
    memcpy(to, piece->text, piece->len);
    return to + piece->len;
}

static void form_resp(struct request_form *f, struct expiry_wish expiry)
{
    uint32_t key_size = load_data_key_size(f->data), value_size = load_data_value_size(f->data);
    char number[24];

    if (f->multiget > 1)
        say(&f->get_start, "*%u\r\n$4\r\nMGET\r\n", f->multiget + 1);
    else
        say(&f->get_start, "*2\r\n$3\r\nGET\r\n");
    say(&f->get_before, "$%u\r\n", key_size);
    say(&f->get_after, "\r\n");
    say(&f->set_before, "*%d\r\n$3\r\nSET\r\n$%u\r\n", expiry.at || expiry.seconds ? 5 : 3, key_size);
    say(&f->set_middle, "\r\n$%u\r\n", value_size);
    snprintf(number, sizeof number, "%" PRIu64, expiry.at ? expiry.at : expiry.seconds);
    if (expiry.at || expiry.seconds)
        say(&f->set_end, "\r\n$%u\r\n%s\r\n$%zu\r\n%s\r\n", expiry.at ? 4 : 2, expiry.at ? "EXAT" : "EX",
            strlen(number), number);
    else
        say(&f->set_end, "\r\n");
}

/* An expiry beyond 30 days is a Unix time to memcached, in both dialects. */
static uint64_t memcache_expiry(struct expiry_wish expiry)
{
    return expiry.at ? expiry.at : expiry.seconds;
}

static void form_memcache(struct request_form *f, struct expiry_wish expiry)
{
    say(&f->get_start, "get");
    say(&f->get_before, " ");
    say(&f->get_end, "\r\n");
    say(&f->set_before, "set ");
    say(&f->set_middle, " 0 %" PRIu64 " %u\r\n", memcache_expiry(expiry), load_data_value_size(f->data));
    say(&f->set_end, "\r\n");
}

/* A multi-get is quiet gets (q: no answer for a miss) that name their key (k),
 * closed by mn: what a client library sends. */
static void form_meta(struct request_form *f, struct expiry_wish expiry)
{
    uint32_t value_size = load_data_value_size(f->data);

    say(&f->get_before, "mg ");
    say(&f->get_after, f->multiget > 1 ? " k v q\r\n" : " v\r\n");
    say(&f->get_end, f->multiget > 1 ? "mn\r\n" : "");
    say(&f->set_before, "ms ");
    if (memcache_expiry(expiry))
        say(&f->set_middle, " %u T%" PRIu64 "\r\n", value_size, memcache_expiry(expiry));
    else
        say(&f->set_middle, " %u\r\n", value_size);
    say(&f->set_end, "\r\n");
}

struct request_form *request_form_new(enum load_protocol protocol, const struct load_data *data,
                                      uint32_t multiget, struct expiry_wish expiry)
{
    struct request_form *f = calloc(1, sizeof *f);

    if (f == NULL)
        return NULL;
    f->data = data;
    f->multiget = multiget;
    switch (protocol) {
    case LOAD_RESP: form_resp(f, expiry); return f;
    case LOAD_MEMCACHE: form_memcache(f, expiry); return f;
    case LOAD_META: form_meta(f, expiry); return f;
    }
    CHECK_UNREACHABLE();
}

void request_form_free(struct request_form **f)
{
    free(*f);
    *f = NULL;
}

size_t request_get_size(const struct request_form *f)
{
    size_t per_key = f->get_before.len + load_data_key_size(f->data) + f->get_after.len;

    return f->get_start.len + f->multiget * per_key + f->get_end.len;
}

size_t request_set_size(const struct request_form *f)
{
    return f->set_before.len + load_data_key_size(f->data) + f->set_middle.len +
           load_data_value_size(f->data) + f->set_end.len;
}

uint8_t *request_put_get(const struct request_form *f, const uint32_t *ids, uint8_t *to)
{
    to = put(&f->get_start, to);
    for (uint32_t i = 0; i < f->multiget; i++) {
        to = put(&f->get_before, to);
        to = load_data_put_key(f->data, ids[i], to);
        to = put(&f->get_after, to);
    }
    return put(&f->get_end, to);
}

uint8_t *request_put_set(const struct request_form *f, uint32_t id, uint8_t *to)
{
    to = put(&f->set_before, to);
    to = load_data_put_key(f->data, id, to);
    to = put(&f->set_middle, to);
    memcpy(to, load_data_value(f->data, id), load_data_value_size(f->data));
    return put(&f->set_end, to + load_data_value_size(f->data));
}
