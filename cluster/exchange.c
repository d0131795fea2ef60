/* exchange.c - compares what two nodes know, and evens it out; joining and
 * coming back are the same thing with one who knows nothing, or much else.
 *
 * A digest in a datagram to a random node; if the buckets differ, that node
 * opens a stream and sends its records of those buckets; what it did not know,
 * or knew less well, comes back. */
#include "cluster/member_inside.h"

#include "server/check.h"

enum {
    SECOND = 1000000,
    SESSION_LIFE_US = 10 * SECOND,
    PROBE_LIFE_US = 2 * SECOND,
    ALL_BUCKETS = -1, /* all bits */
    /* After that many surprises in one exchange it is we who were ignorant, and
     * what else it brings is not passed on. */
    BULK_NEWS = 4,
    HURRY = 10,    /* how much sooner the next comes after one that brought anything */
    YOUNG = 8,     /* and the first ones of a node, that meets others as young */
    JOIN_PACE = 10 /* how much more often one tries who is alone */
};

/* ---- sessions --------------------------------------------------------- */

static struct session *session_find(struct membership *m, uint64_t stream)
{
    for (size_t i = 0; i < m->session_count; i++)
        if (m->sessions[i].stream == stream)
            return &m->sessions[i];
    return NULL;
}

static struct session *session_new(struct membership *m, uint64_t stream, enum session_kind kind)
{
    struct session *s = &m->sessions[m->session_count];

    CHECK(m->session_count < m->options.sessions_max);
    m->session_count++;
    if (++m->session_number == 0)
        m->session_number = 1; /* no member was ever told in number 0 */
    *s = (struct session){.stream = stream, .kind = kind, .number = m->session_number};
    s->until_us = member_now(m) + (kind == SESSION_PROBE ? PROBE_LIFE_US : SESSION_LIFE_US);
    if (s->until_us < m->session_us)
        m->session_us = s->until_us;
    return s;
}

static void session_drop(struct membership *m, struct session *s)
{
    *s = m->sessions[--m->session_count];
}

static void session_close(struct membership *m, struct session *s)
{
    m->out.close_stream(m->out.ctx, s->stream);
    session_drop(m, s);
}

static bool is_asking(const struct membership *m)
{
    for (size_t i = 0; i < m->session_count; i++)
        if (m->sessions[i].kind == SESSION_ASKED)
            return true;
    return false;
}

/* One place is kept for a stream of our own. */
static bool has_room(const struct membership *m, bool own)
{
    return m->session_count + (own ? 0 : 1) < m->options.sessions_max;
}

/* ---- records ---------------------------------------------------------- */

static void send_packet(struct membership *m, uint64_t stream, struct packet *packet)
{
    m->out.send_stream(m->out.ctx, stream, (struct slice){packet->bytes, packet->len});
    packet->len = 1;
}

/* All of those buckets that the peer did not tell us in this session just so. */
static void send_records(struct membership *m, const struct session *s, uint32_t buckets, bool answer)
{
    struct message sync = {.type = MESSAGE_SYNC, .sync = {.buckets = buckets, .answer = answer}};
    uint64_t stream = s->stream;
    uint32_t number = s->number;
    uint8_t room[STREAM_MESSAGE_MAX];
    struct packet packet;

    packet_begin(&packet, room, sizeof room);
    packet_put(&packet, &sync);
    for (uint32_t i = 0; i < roster_end(m->roster); i++) {
        const struct member *one = roster_used(m->roster, i) ? roster_at(m->roster, i) : NULL;
        if (one == NULL || one->session == number || !(buckets >> roster_bucket(&one->record.id) & 1))
            continue;
        if (!member_put_record(m, &packet, i)) {
            send_packet(m, stream, &packet);
            member_put_record(m, &packet, i);
        }
    }
    sync.sync.last = true;
    if (!packet_put(&packet, &sync)) {
        send_packet(m, stream, &packet);
        packet_put(&packet, &sync);
    }
    send_packet(m, stream, &packet);
}

/* Marks what we need not tell back. */
static void take_record(struct membership *m, struct session *s, const struct origin *from,
                        const struct message *message)
{
    const struct record *told = &message->record;
    uint32_t member;

    m->in_bulk = s->news >= BULK_NEWS;
    s->news += records_told(m, told, &message->accusation, true, &from->id);
    m->in_bulk = false;
    member = roster_find(m->roster, &told->id);
    if (member != NO_MEMBER) {
        struct member *one = roster_at(m->roster, member);
        if (one->record.incarnation == told->incarnation && one->record.state == told->state)
            one->session = s->number;
    }
}

static void hurry(struct membership *m, const struct session *s)
{
    int64_t soon = member_now(m) + member_jitter(m, m->options.exchange_period_us / HURRY);

    if (s->news > 0 && soon < m->exchange_us)
        m->exchange_us = soon;
}

static void begin(struct membership *m, const struct address *to, uint32_t buckets)
{
    uint64_t stream;

    if (is_asking(m) || !has_room(m, true) || (stream = m->out.open_stream(m->out.ctx, to)) == 0)
        return;
    m->counters.exchanges_begun++;
    send_records(m, session_new(m, stream, SESSION_ASKED), buckets, true);
}

/* Who restarted without seeds is still probed by those who knew it: it is not alone, and asks them. */
void exchange_met(struct membership *m, const struct origin *from)
{
    if (roster_live(m->roster) == 0 && !m->leaving && roster_find(m->roster, &from->id) == NO_MEMBER)
        begin(m, &from->address, (uint32_t)ALL_BUCKETS);
}

void exchange_digest(struct membership *m, const struct origin *from, const struct digest *theirs)
{
    struct digest ours;
    uint32_t differ = 0;

    roster_digest(m->roster, &ours);
    for (unsigned i = 0; i < DIGEST_BUCKETS; i++)
        if (ours.bucket[i] != theirs->bucket[i])
            differ |= UINT32_C(1) << i;
    if (differ != 0 && !m->leaving)
        begin(m, &from->address, differ);
}

/* ---- streams ---------------------------------------------------------- */

static void message_in(struct membership *m, uint64_t stream, const struct origin *from,
                       const struct message *message)
{
    struct session *s = session_find(m, stream);

    if (s == NULL)
        return; /* an earlier message of this packet has ended it */
    switch (message->type) {
    case MESSAGE_PING: probe_pinged(m, from, message, stream); return;
    case MESSAGE_RECORD: take_record(m, s, from, message); return;
    case MESSAGE_ACK:
        if (s->kind == SESSION_PROBE && node_id_equals(&s->target, &from->id))
            probe_acked(m, from, message, true);
        session_close(m, s);
        return;
    case MESSAGE_STRANGER:
        probe_strange(m, message);
        session_close(m, s);
        return;
    case MESSAGE_SYNC:
        if (!message->sync.last)
            return;
        hurry(m, s);
        if (s->kind == SESSION_SERVED && message->sync.answer) {
            m->counters.exchanges_served++;
            send_records(m, s, message->sync.buckets, false);
        } else {
            session_close(m, s);
        }
        return;
    case MESSAGE_NACK:
    case MESSAGE_RELAY:
    case MESSAGE_DIGEST: return;
    }
    CHECK_UNREACHABLE();
}

void exchange_message(struct membership *m, uint64_t stream, const struct origin *from, struct slice bytes)
{
    struct session *s = session_find(m, stream);
    struct message message;
    struct slice rest = bytes;
    bool good = packet_open(&rest);

    if (!m->started || (s == NULL && !has_room(m, false))) {
        m->counters.sessions_refused++;
        m->out.close_stream(m->out.ctx, stream);
        return;
    }
    if (s == NULL)
        s = session_new(m, stream, SESSION_SERVED);
    while (good && rest.len > 0)
        good = packet_take(&rest, &message);
    if (!good) {
        m->counters.packets_bad++;
        session_close(m, s);
        return;
    }
    packet_open(&bytes);
    while (bytes.len > 0) {
        CHECK(packet_take(&bytes, &message));
        message_in(m, stream, from, &message);
    }
}

/* Alone, and that seed is not there: the next one is asked at once, until all were. */
static void asked_in_vain(struct membership *m, enum stream_end why)
{
    if (why == STREAM_CLOSED || roster_live(m->roster) > 0 || m->refusals + 1 >= m->seed_count) {
        m->refusals = 0;
        return;
    }
    m->refusals++;
    m->lonely -= m->lonely > 0;
    m->reconnect_us = member_now(m);
}

void exchange_ended(struct membership *m, uint64_t stream, enum stream_end why)
{
    struct session *s = session_find(m, stream);
    struct node_id target;
    bool probe;

    if (s == NULL)
        return;
    if (s->kind == SESSION_ASKED)
        asked_in_vain(m, why);
    target = s->target;
    probe = s->kind == SESSION_PROBE;
    session_drop(m, s);
    if (probe && why == STREAM_REFUSED)
        probe_refused(m, &target);
}

void exchange_probe(struct membership *m, uint32_t member, uint32_t seq)
{
    struct record target = roster_at(m->roster, member)->record;
    struct message message = {.type = MESSAGE_PING, .seq = seq, .target = target.id, .vitals = m->vitals};
    uint8_t room[DATAGRAM_MAX];
    struct packet packet;
    uint64_t stream;

    if (!has_room(m, true) || (stream = m->out.open_stream(m->out.ctx, &target.address)) == 0)
        return;
    session_new(m, stream, SESSION_PROBE)->target = target.id;
    packet_begin(&packet, room, sizeof room);
    packet_put(&packet, &message);
    if (target.state != MEMBER_ALIVE)
        member_put_record(m, &packet, member);
    m->out.send_stream(m->out.ctx, stream, (struct slice){packet.bytes, packet.len});
}

/* ---- what time brings ------------------------------------------------- */

static void send_digest(struct membership *m, const struct address *to)
{
    struct message message = {.type = MESSAGE_DIGEST};
    uint8_t room[DATAGRAM_MAX];
    struct packet packet;

    roster_digest(m->roster, &message.digest);
    packet_begin(&packet, room, sizeof room);
    packet_put(&packet, &message);
    member_send(m, &packet, to);
}

static uint32_t pick_dead(const struct membership *m)
{
    uint32_t found = 0, chosen = NO_MEMBER;

    for (uint32_t i = 1; i < roster_end(m->roster); i++)
        if (roster_used(m->roster, i) && roster_at(m->roster, i)->record.state == MEMBER_DEAD &&
            member_random(m) % ++found == 0)
            chosen = i;
    return chosen;
}

static bool is_known_address(const struct membership *m, const struct address *address)
{
    for (uint32_t i = 0; i < roster_end(m->roster); i++)
        if (roster_used(m->roster, i) && roster_at(m->roster, i)->record.state <= MEMBER_SUSPECT &&
            address_equals(&roster_at(m->roster, i)->record.address, address))
            return true;
    return false;
}

/* One after the other, and never this node itself. */
static const struct address *next_seed(struct membership *m)
{
    const struct address *self = &roster_at(m->roster, SELF)->record.address;

    for (size_t tries = 0; tries < m->seed_count; tries++) {
        const struct address *seed = &m->seeds[m->seed_turn++ % m->seed_count];
        if (!address_equals(seed, self))
            return seed;
    }
    return NULL;
}

/* To one that failed, and to a seed that is nobody we know. A digest is enough:
 * whoever gets it and knows otherwise opens a stream. */
static void reconnect(struct membership *m)
{
    const struct address *seed = next_seed(m);
    uint32_t dead = pick_dead(m);

    if (dead != NO_MEMBER) {
        m->counters.reconnects++;
        send_digest(m, &roster_at(m->roster, dead)->record.address);
    }
    if (seed == NULL || is_known_address(m, seed))
        return;
    m->counters.reconnects++;
    if (roster_live(m->roster) == 0)
        begin(m, seed, (uint32_t)ALL_BUCKETS);
    else
        send_digest(m, seed);
}

static void sessions_decide(struct membership *m, int64_t now)
{
    if (now < m->session_us)
        return;
    m->session_us = NEVER_US;
    for (size_t i = m->session_count; i-- > 0;) {
        if (m->sessions[i].until_us <= now) {
            m->counters.sessions_expired++;
            session_close(m, &m->sessions[i]);
        } else if (m->sessions[i].until_us < m->session_us) {
            m->session_us = m->sessions[i].until_us;
        }
    }
}

/* Alone one tries soon, then less and less often. */
static int64_t reconnect_span(struct membership *m)
{
    int64_t most = m->options.reconnect_period_us, us = most / JOIN_PACE;

    if (roster_live(m->roster) > 0)
        return member_jitter(m, most);
    for (unsigned i = 0; i < m->lonely && us < most; i++)
        us += us / 2;
    m->lonely++;
    return member_jitter(m, us < most ? us : most);
}

void exchange_decide(struct membership *m, int64_t now)
{
    uint32_t peer;

    sessions_decide(m, now);
    if (roster_live(m->roster) > 0)
        m->lonely = 0;
    if (now >= m->exchange_us) {
        m->exchange_us = now + member_jitter(m, m->options.exchange_period_us / (m->age < YOUNG ? HURRY : 1));
        m->age += m->age < YOUNG;
        if (!m->leaving && (peer = member_pick(m, NO_MEMBER)) != NO_MEMBER)
            send_digest(m, &roster_at(m->roster, peer)->record.address);
    }
    if (now >= m->reconnect_us) {
        m->reconnect_us = now + reconnect_span(m);
        if (!m->leaving)
            reconnect(m);
    }
}

int64_t exchange_next_us(const struct membership *m)
{
    int64_t at = m->exchange_us < m->reconnect_us ? m->exchange_us : m->reconnect_us;

    return m->session_us < at ? m->session_us : at;
}
