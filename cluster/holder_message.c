#include "cluster/holder_message.h"

#include "cluster/message.h"
#include "server/check.h"

enum {
    HEAD = 3,
    ENTRIES_HEAD = HEAD + 1 + 2 + 2,
    AT_FLAGS = HEAD,
    AT_COUNT = HEAD + 1 + 2,
    ENTRY = 2 + 8 + 1 + 1,
    HOLDER = NODE_ID_BYTES + 8,
    LIST_HEAD = HEAD + 8,
    GRANULE = 2,
    FLAGS = HOLDER_LAST | HOLDER_ANSWER | HOLDER_LEARNED
};

#define NO_SOURCE 255U

/* ---- writing ---------------------------------------------------------- */

static void put(struct holder_writer *w, uint64_t value, unsigned bytes)
{
    CHECK(bytes <= w->room - w->len);
    while (bytes-- > 0)
        w->bytes[w->len++] = (uint8_t)(value >> 8 * bytes);
}

static void begin(struct holder_writer *w, uint8_t *room, size_t size, enum holder_message_type type,
                  unsigned granules)
{
    *w = (struct holder_writer){.bytes = room, .room = size};
    put(w, MESSAGE_VERSION, 1);
    put(w, type, 1);
    put(w, (unsigned)__builtin_ctz(granules), 1);
}

void holder_write_entries(struct holder_writer *w, uint8_t *room, size_t size, unsigned granules,
                          uint16_t buckets)
{
    begin(w, room, size, HOLDER_ENTRIES, granules);
    put(w, 0, 1);
    put(w, buckets, 2);
    put(w, 0, 2);
}

/* Its place among the holders; one beyond their count when it is not there yet. */
static unsigned place_of(const struct holder_writer *w, const struct holder *h)
{
    unsigned i = 0;

    while (i < w->holder_count && !holder_equals(&w->holders[i], h))
        i++;
    return i;
}

static unsigned place_or_add(struct holder_writer *w, const struct holder *h)
{
    unsigned place = place_of(w, h);

    if (place == w->holder_count)
        w->holders[w->holder_count++] = *h;
    return place;
}

bool holder_write_entry(struct holder_writer *w, unsigned granule, const struct held *held)
{
    bool source = held->source.boots > 0;
    unsigned more = place_of(w, &held->holder) == w->holder_count ? 1 : 0;

    more += source && place_of(w, &held->source) == w->holder_count;

    if (w->holder_count + more > HOLDER_HOLDERS_MAX ||
        w->len + ENTRY + (w->holder_count + more) * HOLDER > w->room)
        return false;
    put(w, granule, 2);
    put(w, held->version, 8);
    put(w, place_or_add(w, &held->holder), 1);
    put(w, source ? place_or_add(w, &held->source) : NO_SOURCE, 1);
    w->count++;
    return true;
}

struct slice holder_write_end(struct holder_writer *w, unsigned flags)
{
    if (w->bytes[1] == HOLDER_ENTRIES) {
        w->bytes[AT_FLAGS] = (uint8_t)flags;
        w->bytes[AT_COUNT] = (uint8_t)(w->count >> 8);
        w->bytes[AT_COUNT + 1] = (uint8_t)w->count;
    }
    for (unsigned i = 0; i < w->holder_count; i++) {
        CHECK(w->room - w->len >= HOLDER);
        memcpy(w->bytes + w->len, w->holders[i].id.bytes, NODE_ID_BYTES);
        w->len += NODE_ID_BYTES;
        put(w, w->holders[i].boots, 8);
    }
    return (struct slice){w->bytes, w->len};
}

struct slice holder_write_digest(uint8_t *room, size_t size, unsigned granules, const uint64_t *buckets)
{
    struct holder_writer w;

    begin(&w, room, size, HOLDER_DIGEST, granules);
    for (int i = 0; i < HOLDERS_BUCKETS; i++)
        put(&w, buckets[i], 8);
    return (struct slice){w.bytes, w.len};
}

void holder_write_list(struct holder_writer *w, uint8_t *room, size_t size, enum holder_message_type type,
                       unsigned granules, uint64_t boots)
{
    begin(w, room, size, type, granules);
    put(w, boots, 8);
}

bool holder_write_granule(struct holder_writer *w, unsigned granule)
{
    if (w->len + GRANULE > w->room)
        return false;
    put(w, granule, GRANULE);
    w->count++;
    return true;
}

/* ---- reading ---------------------------------------------------------- */

static uint64_t get(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;

    while (bytes-- > 0)
        value = value << 8 | *at++;
    return value;
}

bool holder_message_is(struct slice packet)
{
    return packet.len >= 2 && packet.data[0] == MESSAGE_VERSION && packet.data[1] >= HOLDER_ENTRIES;
}

static void holder_at(const struct holder_message *m, unsigned i, struct holder *out)
{
    memcpy(out->id.bytes, m->holders + i * HOLDER, NODE_ID_BYTES);
    out->boots = get(m->holders + i * HOLDER + NODE_ID_BYTES, 8);
}

/* They are named first in the order in which they stand; all of them are, and none stands there twice. */
static bool holders_valid(const struct holder_message *m, unsigned holders)
{
    unsigned named = 0;

    for (unsigned i = 0; i < m->count; i++) {
        const uint8_t *entry = m->items + i * ENTRY;
        unsigned holder = entry[10], source = entry[11];

        if (holder > named || holder >= holders)
            return false;
        named += holder == named;
        if (source == NO_SOURCE)
            continue;
        if (source > named || source >= holders)
            return false;
        named += source == named;
    }
    for (unsigned i = 0; i < holders; i++) {
        if (get(m->holders + i * HOLDER + NODE_ID_BYTES, 8) == 0)
            return false;
        for (unsigned j = 0; j < i; j++)
            if (memcmp(m->holders + i * HOLDER, m->holders + j * HOLDER, HOLDER) == 0)
                return false;
    }
    return named == holders;
}

static bool ascending(const struct holder_message *m, size_t size, unsigned granules)
{
    for (unsigned i = 0; i < m->count; i++) {
        unsigned granule = (unsigned)get(m->items + i * size, 2);

        if (granule >= granules || (i > 0 && granule <= (unsigned)get(m->items + (i - 1) * size, 2)))
            return false;
    }
    return true;
}

static bool read_entries(struct slice packet, unsigned granules, struct holder_message *m)
{
    size_t left;

    if (packet.len < ENTRIES_HEAD)
        return false;
    m->flags = packet.data[AT_FLAGS];
    m->buckets = (uint16_t)get(packet.data + AT_FLAGS + 1, 2);
    m->count = (unsigned)get(packet.data + AT_COUNT, 2);
    m->items = packet.data + ENTRIES_HEAD;
    left = packet.len - ENTRIES_HEAD;
    if (m->flags > FLAGS || left / ENTRY < m->count)
        return false;
    left -= m->count * (size_t)ENTRY;
    m->holders = m->items + m->count * (size_t)ENTRY;
    if (left % HOLDER != 0 || left / HOLDER > HOLDER_HOLDERS_MAX || !ascending(m, ENTRY, granules))
        return false;
    for (unsigned i = 0; i < m->count; i++) {
        uint64_t version = get(m->items + i * ENTRY + 2, 8);
        if (version == 0 || version > HOLDERS_VERSION_MAX)
            return false;
    }
    return holders_valid(m, (unsigned)(left / HOLDER));
}

static bool read_list(struct slice packet, unsigned granules, struct holder_message *m)
{
    if (packet.len < LIST_HEAD || (packet.len - LIST_HEAD) % GRANULE != 0)
        return false;
    m->boots = get(packet.data + HEAD, 8);
    m->items = packet.data + LIST_HEAD;
    m->count = (unsigned)((packet.len - LIST_HEAD) / GRANULE);
    return ascending(m, GRANULE, granules);
}

bool holder_message_read(struct slice packet, unsigned granules, struct holder_message *m)
{
    if (packet.len < HEAD || packet.data[0] != MESSAGE_VERSION ||
        packet.data[2] != (unsigned)__builtin_ctz(granules))
        return false;
    *m = (struct holder_message){.type = (enum holder_message_type)packet.data[1]};
    switch (m->type) {
    case HOLDER_ENTRIES: return read_entries(packet, granules, m);
    case HOLDER_DIGEST:
        if (packet.len != HEAD + 8 * HOLDERS_BUCKETS)
            return false;
        for (int i = 0; i < HOLDERS_BUCKETS; i++)
            m->bucket[i] = get(packet.data + HEAD + 8 * i, 8);
        return true;
    case HOLDER_CLAIM:
    case HOLDER_GIVEN:
    case HOLDER_PULLED: return read_list(packet, granules, m);
    }
    return false;
}

unsigned holder_message_entry(const struct holder_message *m, unsigned i, struct held *out)
{
    const uint8_t *entry = m->items + i * ENTRY;

    CHECK(m->type == HOLDER_ENTRIES && i < m->count);
    *out = (struct held){.version = get(entry + 2, 8)};
    holder_at(m, entry[10], &out->holder);
    if (entry[11] != NO_SOURCE)
        holder_at(m, entry[11], &out->source);
    return (unsigned)get(entry, 2);
}

unsigned holder_message_granule(const struct holder_message *m, unsigned i)
{
    CHECK(i < m->count);
    return (unsigned)get(m->items + i * GRANULE, GRANULE);
}
