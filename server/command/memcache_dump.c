#include "server/command/memcache_dump.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "protocol/memcache_meta.h"
#include "protocol/memcache_text.h"
#include "server/command/memcache_edit.h"
#include "server/server.h"

enum {
    PIECE_BYTES = 16 * 1024,
    SLOTS_AT_ONCE = 64, /* looked at under a shard's lock */
    STEPS_MAX = 64,     /* in one piece, also when hardly any item is to be listed */
    HEADER_BYTES = 48,  /* what memcached adds to key and value in "size" */
    LINE_ROOM = 3 * MEMCACHE_KEY_MAX + 160,
    MS = 1000,
};

struct dump {
    struct producer producer; /* first: the session knows it by that */
    enum dump_format format;
    uint64_t cursor;
    struct exec *x; /* during a piece */
    uint8_t db;
};

const char *memcache_dump_end(enum dump_format format)
{
    return format == DUMP_META ? "END" : "EN";
}

static bool is_plain(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

/* As in a URL: what is not plain is %HH. */
static uint8_t *put_url(uint8_t *p, struct slice key)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < key.len; i++) {
        uint8_t c = key.data[i];

        if (is_plain(c)) {
            *p++ = c;
            continue;
        }
        *p++ = '%';
        *p++ = (uint8_t)hex[c >> 4];
        *p++ = (uint8_t)hex[c & 15];
    }
    return p;
}

static void list_meta(struct exec *x, const struct scan_item *item)
{
    int64_t expires = item->expires.ms != 0 ? item->expires.ms / MS : -1;
    uint8_t *p = out_room(x->out, LINE_ROOM);
    char rest[160];
    int len;

    memcpy(p, "key=", 4);
    p = put_url(p + 4, item->key);
    len = snprintf(rest, sizeof rest,
                   " exp=%" PRId64 " la=%" PRId64 " cas=%" PRIu64 " fetch=%s cls=1 size=%zu\n", expires,
                   x->now.ms / MS, item->cas, item->fetched ? "yes" : "no",
                   item->key.len + item->value.len + HEADER_BYTES);
    memcpy(p, rest, (size_t)len);
    out_commit(x->out, p + len);
}

/* A key that would break the line goes out in base64, with the flag that says so. */
static bool needs_base64(struct slice key)
{
    for (size_t i = 0; i < key.len; i++)
        if (key.data[i] <= ' ')
            return true;
    return false;
}

static void list_mg(struct exec *x, const struct scan_item *item)
{
    bool binary = needs_base64(item->key);
    uint8_t *p;

    if (binary && item->key.len > MEMCACHE_KEY_MAX / 4 * 3)
        return; /* longer than a key may be on the line that would ask for it */
    p = out_room(x->out, LINE_ROOM);
    memcpy(p, "mg ", 3);
    p += 3;
    if (binary) {
        p += base64_encode(p, item->key);
        memcpy(p, " b", 2);
        p += 2;
    } else {
        memcpy(p, item->key.data, item->key.len);
        p += item->key.len;
    }
    memcpy(p, "\r\n", 2);
    out_commit(x->out, p + 2);
}

/* Longer keys, which only redis clients can make, no memcached command can name. */
static void list_item(void *arg, const struct scan_item *item)
{
    struct dump *dump = arg;

    if (item->db != dump->db || item->key.len > MEMCACHE_KEY_MAX || item->key.len == 0 ||
        !memcache_shows(item->state))
        return;
    if (dump->format == DUMP_META)
        list_meta(dump->x, item);
    else
        list_mg(dump->x, item);
}

static bool next_piece(struct exec *x, struct producer *producer)
{
    struct dump *dump = (struct dump *)producer;
    size_t start = x->out->len;

    dump->x = x;
    dump->db = x->db;
    for (int i = 0; i < STEPS_MAX && x->out->len < start + PIECE_BYTES && !x->out->failed; i++) {
        dump->cursor = store_scan(x->store, dump->cursor, SLOTS_AT_ONCE, x->now, list_item, dump);
        if (dump->cursor == 0) {
            reply_line(x, memcache_dump_end(dump->format));
            return false;
        }
    }
    return true;
}

static void end(struct producer *producer)
{
    free(producer);
}

bool memcache_dump_begin(struct exec *x, enum dump_format format)
{
    struct dump *dump = calloc(1, sizeof *dump);

    if (dump == NULL)
        return false;
    dump->producer = (struct producer){next_piece, end};
    dump->format = format;
    x->session->producer = &dump->producer;
    return true;
}
