#include "cluster/message.h"

#include "server/check.h"

enum { RECORD_MAX = 256, SYNC_LAST = 1, SYNC_ANSWER = 2 };
_Static_assert(RECORD_MAX + 5 + 8 * DIGEST_BUCKETS < DATAGRAM_MAX, "any message fits a datagram");

/* ---- texts: as views have them, see view.h ---------------------------- */

#define ZONE_MARKS     "._:/-"
#define HOSTNAME_MARKS "._-"

static bool text_valid(const char *text, size_t max, const char *marks)
{
    size_t len = 0;

    for (; text[len] != '\0'; len++) {
        char c = text[len];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

        if (len == max || (!plain && strchr(marks, c) == NULL))
            return false;
    }
    return true;
}

bool zone_valid(const char *zone)
{
    return text_valid(zone, ZONE_MAX, ZONE_MARKS);
}

bool hostname_valid(const char *hostname)
{
    return text_valid(hostname, HOSTNAME_MAX, HOSTNAME_MARKS);
}

/* ---- writing ---------------------------------------------------------- */

static uint8_t *put_number(uint8_t *to, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--)
        *to++ = (uint8_t)(value >> (8 * i));
    return to;
}

static uint8_t *put_bytes(uint8_t *to, const void *from, size_t len)
{
    memcpy(to, from, len);
    return to + len;
}

static uint8_t *put_address(uint8_t *to, const struct address *address)
{
    bool v4 = address_is_v4(address);

    *to++ = v4 ? 4 : 6;
    to = v4 ? put_bytes(to, address->ip + 12, 4) : put_bytes(to, address->ip, 16);
    return put_number(to, address->port, 2);
}

static uint8_t *put_text(uint8_t *to, const char *text)
{
    size_t len = strlen(text);

    *to++ = (uint8_t)len;
    return put_bytes(to, text, len);
}

static uint8_t *put_services(uint8_t *to, const struct services *s)
{
    to = put_number(to, s->port, 2);
    to = put_number(to, s->client_port, 2);
    to = put_number(to, s->memcache_port, 2);
    to = put_number(to, s->link_port, 2);
    return put_text(to, s->hostname);
}

static uint8_t *put_record(uint8_t *to, const struct record *r, const struct accusation *a)
{

    to = put_bytes(to, r->id.bytes, sizeof r->id.bytes);
    to = put_number(to, r->incarnation, 8);
    *to++ = r->state;
    *to++ = r->probation;
    to = put_number(to, r->weight, 2);
    to = put_text(to, r->zone);
    to = put_address(to, &r->address);
    to = put_services(to, &r->services);
    if (r->state != MEMBER_SUSPECT)
        return to;
    CHECK(a->count <= ACCUSERS_MAX);
    *to++ = a->count;
    *to++ = a->hard;
    for (unsigned i = 0; i < a->count; i++)
        to = put_number(to, a->accuser[i], 8);
    return to;
}

static uint8_t *put_vitals(uint8_t *to, const struct vitals *vitals)
{
    to = put_number(put_number(to, vitals->epoch, 8), vitals->load, 4);
    return put_number(to, vitals->table, 8);
}

static uint8_t *put_message(uint8_t *to, const struct message *m)
{
    *to++ = (uint8_t)m->type;
    switch (m->type) {
    case MESSAGE_PING:
        to = put_bytes(put_number(to, m->seq, 4), m->target.bytes, sizeof m->target.bytes);
        return put_number(put_vitals(to, &m->vitals), m->time_us, 8);
    case MESSAGE_ACK: return put_vitals(put_number(to, m->seq, 4), &m->vitals);
    case MESSAGE_NACK: return put_number(to, m->seq, 4);
    case MESSAGE_RELAY:
        to = put_bytes(put_number(to, m->seq, 4), m->target.bytes, sizeof m->target.bytes);
        return put_address(to, &m->address);
    case MESSAGE_STRANGER:
        return put_bytes(put_number(to, m->seq, 4), m->target.bytes, sizeof m->target.bytes);
    case MESSAGE_RECORD: return put_record(to, &m->record, &m->accusation);
    case MESSAGE_DIGEST:
        to = put_number(to, m->digest.live, 4);
        for (int i = 0; i < DIGEST_BUCKETS; i++)
            to = put_number(to, m->digest.bucket[i], 8);
        return to;
    case MESSAGE_SYNC:
        to = put_number(to, m->sync.buckets, 4);
        *to++ = (uint8_t)((m->sync.last ? SYNC_LAST : 0) | (m->sync.answer ? SYNC_ANSWER : 0));
        return to;
    }
    CHECK_UNREACHABLE();
}

void packet_begin(struct packet *packet, uint8_t *room, size_t size)
{
    CHECK(size > 0);
    *packet = (struct packet){room, 1, size};
    room[0] = MESSAGE_VERSION;
}

bool packet_put(struct packet *packet, const struct message *message)
{
    uint8_t scratch[RECORD_MAX + 5 + 8 * DIGEST_BUCKETS];
    size_t len = (size_t)(put_message(scratch, message) - scratch);

    if (len > packet->room - packet->len)
        return false;
    memcpy(packet->bytes + packet->len, scratch, len);
    packet->len += len;
    return true;
}

/* ---- reading ---------------------------------------------------------- */

/* Once something was missing, all that is read is zero, and the end is noticed once. */
struct reader {
    struct slice in;
    bool bad;
};

static const uint8_t *take(struct reader *r, size_t len)
{
    static const uint8_t zeros[NODE_ID_BYTES];
    const uint8_t *at = r->in.data;

    if (r->bad || r->in.len < len) {
        r->bad = true;
        CHECK(len <= sizeof zeros);
        return zeros;
    }
    r->in = (struct slice){at + len, r->in.len - len};
    return at;
}

static uint64_t take_number(struct reader *r, size_t bytes)
{
    const uint8_t *at = take(r, bytes);
    uint64_t value = 0;

    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

static void take_id(struct reader *r, struct node_id *id)
{
    memcpy(id->bytes, take(r, sizeof id->bytes), sizeof id->bytes);
}

/* An IPv4 address in its long form is refused: everything has one form. */
static void take_address(struct reader *r, struct address *address)
{
    switch (take_number(r, 1)) {
    case 4:
        memset(address->ip, 0, 10);
        address->ip[10] = address->ip[11] = 0xff;
        memcpy(address->ip + 12, take(r, 4), 4);
        break;
    case 6:
        memcpy(address->ip, take(r, 16), 16);
        r->bad |= address_is_v4(address);
        break;
    default: r->bad = true;
    }
    address->port = (uint16_t)take_number(r, 2);
    r->bad |= address->port == 0;
}

/* A NUL inside is none of the characters that texts are made of. */
static void take_text(struct reader *r, char *text, size_t max, const char *marks)
{
    size_t len = take_number(r, 1);

    memset(text, 0, max + 1);
    if (r->bad || len > max || r->in.len < len) {
        r->bad = true;
        return;
    }
    memcpy(text, r->in.data, len);
    r->in = (struct slice){r->in.data + len, r->in.len - len};
    r->bad = !text_valid(text, max, marks) || strlen(text) != len;
}

static void take_services(struct reader *r, struct services *s)
{
    s->port = (uint16_t)take_number(r, 2);
    s->client_port = (uint16_t)take_number(r, 2);
    s->memcache_port = (uint16_t)take_number(r, 2);
    s->link_port = (uint16_t)take_number(r, 2);
    take_text(r, s->hostname, HOSTNAME_MAX, HOSTNAME_MARKS);
}

static void take_accusation(struct reader *r, struct accusation *a)
{
    a->count = (uint8_t)take_number(r, 1);
    a->hard = (uint8_t)take_number(r, 1);
    if (a->count == 0 || a->count > ACCUSERS_MAX || a->hard >> a->count != 0) {
        r->bad = true;
        return;
    }
    for (unsigned i = 0; i < a->count; i++) {
        a->accuser[i] = take_number(r, 8);
        for (unsigned j = 0; j < i; j++)
            r->bad |= a->accuser[j] == a->accuser[i];
    }
}

static void take_record(struct reader *r, struct record *record, struct accusation *accusation)
{
    take_id(r, &record->id);
    record->incarnation = take_number(r, 8);
    record->state = (uint8_t)take_number(r, 1);
    record->probation = (uint8_t)take_number(r, 1);
    record->weight = (uint16_t)take_number(r, 2);
    take_text(r, record->zone, ZONE_MAX, ZONE_MARKS);
    take_address(r, &record->address);
    take_services(r, &record->services);
    r->bad |= record->state > MEMBER_LEFT;
    memset(accusation, 0, sizeof *accusation);
    if (record->state == MEMBER_SUSPECT)
        take_accusation(r, accusation);
}

static void take_vitals(struct reader *r, struct vitals *vitals)
{
    vitals->epoch = take_number(r, 8);
    vitals->load = (uint32_t)take_number(r, 4);
    vitals->table = take_number(r, 8);
}

static void take_message(struct reader *r, struct message *m)
{
    uint64_t flags;

    switch (m->type) {
    case MESSAGE_PING:
        m->seq = (uint32_t)take_number(r, 4);
        take_id(r, &m->target);
        take_vitals(r, &m->vitals);
        m->time_us = take_number(r, 8);
        return;
    case MESSAGE_ACK:
        m->seq = (uint32_t)take_number(r, 4);
        take_vitals(r, &m->vitals);
        return;
    case MESSAGE_NACK: m->seq = (uint32_t)take_number(r, 4); return;
    case MESSAGE_RELAY:
        m->seq = (uint32_t)take_number(r, 4);
        take_id(r, &m->target);
        take_address(r, &m->address);
        return;
    case MESSAGE_STRANGER:
        m->seq = (uint32_t)take_number(r, 4);
        take_id(r, &m->target);
        return;
    case MESSAGE_RECORD: take_record(r, &m->record, &m->accusation); return;
    case MESSAGE_DIGEST:
        m->digest.live = (uint32_t)take_number(r, 4);
        for (int i = 0; i < DIGEST_BUCKETS; i++)
            m->digest.bucket[i] = take_number(r, 8);
        return;
    case MESSAGE_SYNC:
        m->sync.buckets = (uint32_t)take_number(r, 4);
        flags = take_number(r, 1);
        m->sync.last = flags & SYNC_LAST;
        m->sync.answer = flags & SYNC_ANSWER;
        r->bad |= flags > (SYNC_LAST | SYNC_ANSWER);
        return;
    }
    r->bad = true;
}

bool packet_open(struct slice *in)
{
    if (in->len == 0 || in->data[0] != MESSAGE_VERSION)
        return false;
    *in = (struct slice){in->data + 1, in->len - 1};
    return true;
}

bool packet_take(struct slice *in, struct message *out)
{
    struct reader r = {*in, false};

    out->type = (enum message_type)take_number(&r, 1);
    take_message(&r, out);
    *in = r.in;
    return !r.bad;
}
