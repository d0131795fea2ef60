/* probe.c - asks one node after the other whether it is there, and answers the same question.
 *
 * SWIM lets each node probe in an order of its own dice; then some node has no
 * prober for four periods now and then, and its death is found late. Here all
 * count the same rounds, and in each round every node probes the one that
 * stands a given number of places after it in the order of ids: everyone is
 * probed once in each period, and by everybody in turn. The count is kept in
 * step by the pings (whoever is behind catches up); where it is not, for a
 * while, the order is as good as random. */
#include "cluster/member_inside.h"

#include "server/check.h"

enum { SPARED_MOST = 3 };

/* ---- packets ---------------------------------------------------------- */

static void send_one(struct membership *m, const struct message *message, uint32_t about,
                     const struct address *to)
{
    uint8_t room[DATAGRAM_MAX];
    struct packet packet;

    packet_begin(&packet, room, sizeof room);
    packet_put(&packet, message);
    if (about != NO_MEMBER)
        member_put_record(m, &packet, about);
    member_send(m, &packet, to);
}

/* Whom we do not hold for alive learns it from us first, so that it can object (Lifeguard's buddy). */
static uint32_t to_be_told(const struct membership *m, uint32_t member)
{
    return member != NO_MEMBER && member != SELF && roster_at(m->roster, member)->record.state != MEMBER_ALIVE
               ? member
               : NO_MEMBER;
}

static int64_t cluster_time(const struct membership *m, int64_t now)
{
    return now + m->cluster_ahead_us;
}

static void ping(struct membership *m, uint32_t member, const struct node_id *id, const struct address *to,
                 uint32_t seq)
{
    struct message message = {.type = MESSAGE_PING, .seq = seq, .target = *id, .vitals = m->vitals};

    message.time_us = (uint64_t)cluster_time(m, member_now(m));
    send_one(m, &message, to_be_told(m, member), to);
}

/* ---- beginning one ---------------------------------------------------- */

static uint32_t common_divisor(uint32_t a, uint32_t b)
{
    while (b != 0) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* How far after oneself to look in that round: 1 .. others, each once in as many rounds. */
static uint32_t distance(uint64_t round, uint32_t others)
{
    uint32_t step = (uint32_t)((uint64_t)others * 618 / 1000) + 1;

    while (common_divisor(step, others) != 1)
        step++;
    return 1 + (uint32_t)(round % others * step % others);
}

static uint32_t next_target(struct membership *m, int64_t now)
{
    uint64_t round = (uint64_t)cluster_time(m, now) / (uint64_t)m->options.probe_period_us;
    uint32_t others = roster_live(m->roster), self = roster_place(m->roster), place, member;

    if (others == 0)
        return NO_MEMBER;
    place = (self + distance(round, others)) % (others + 1);
    member = roster_live_at(m->roster, place < self ? place : place - 1);
    /* Probes carry more than the question: so one in four is asked of whoever is vouched for as well, or two
     * nodes that are never idle would never hear of each other's epoch. */
    if (roster_at(m->roster, member)->vouched_us + m->options.probe_period_us > now &&
        m->spared < SPARED_MOST && roster_at(m->roster, member)->record.state != MEMBER_SUSPECT) {
        m->spared++;
        m->counters.probes_spared++;
        return NO_MEMBER;
    }
    m->spared = 0;
    return member;
}

/* Our turn in a round that begins a period from now, or more if we are not well. */
static int64_t next_turn(const struct membership *m, int64_t now)
{
    int64_t period = m->options.probe_period_us, stretched = health_stretch(&m->health, period);
    int64_t into = ((cluster_time(m, now) - m->phase_us) % period + period) % period;
    int64_t turn = now - into + stretched;

    return turn - now < period / 2 ? turn + period : turn;
}

/* Four times the round trip that is rarely exceeded, within sensible bounds. */
static int64_t answer_span(const struct membership *m)
{
    int64_t us = 4 * (m->rtt_us + 4 * m->rtt_deviation_us), most = m->options.probe_period_us / 2;

    if (us < m->options.answer_least_us)
        us = m->options.answer_least_us;
    return us < most ? us : most;
}

static void begin(struct membership *m, int64_t now)
{
    uint32_t member = m->leaving ? NO_MEMBER : next_target(m, now);
    struct probe *p = &m->probe;
    struct record target;

    m->probe_us = next_turn(m, now);
    records_repeat(m);
    if (member == NO_MEMBER)
        return;
    target = roster_at(m->roster, member)->record;
    *p = (struct probe){.active = true, .member = member, .id = target.id, .seq = ++m->seq, .sent_us = now};
    p->answer_until_us = now + health_stretch(&m->health, answer_span(m));
    p->until_us = m->probe_us;
    m->counters.probes++;
    ping(m, member, &p->id, &target.address, p->seq);
}

/* ---- when there is no answer ------------------------------------------ */

/* One of the helpers is in another zone, if there are zones: the trouble may be ours. */
static uint32_t pick_helper(const struct membership *m, const struct probe *p, bool elsewhere)
{
    const char *here = roster_at(m->roster, SELF)->record.zone;
    uint32_t member = NO_MEMBER;

    for (int tries = 0; tries < 8; tries++) {
        member = member_pick(m, p->member);
        if (!elsewhere || member == NO_MEMBER ||
            strncmp(roster_at(m->roster, member)->record.zone, here, ZONE_MAX) != 0)
            break;
    }
    return member;
}

static void ask_helpers(struct membership *m)
{
    struct probe *p = &m->probe;
    struct message message = {.type = MESSAGE_RELAY, .seq = p->seq, .target = p->id};
    uint32_t asked[8];

    p->asked = true;
    message.address = roster_at(m->roster, p->member)->record.address;
    for (unsigned i = 0; i < m->options.helpers; i++) {
        uint32_t helper = pick_helper(m, p, i == 0);
        bool again = helper == NO_MEMBER;
        for (unsigned j = 0; j < p->helpers; j++)
            again |= asked[j] == helper;
        if (again)
            continue;
        asked[p->helpers++] = helper;
        send_one(m, &message, to_be_told(m, p->member), &roster_at(m->roster, helper)->record.address);
    }
}

/* If others could reach us to say "no answer here", the fault is with the
 * target. If even they were silent, it is likely with us. */
static void fail(struct membership *m)
{
    struct probe *p = &m->probe;

    p->active = false;
    if (p->accused)
        return;
    if (p->helpers == 0)
        health_worse(&m->health, 1);
    else if (p->nacks < p->helpers)
        health_worse(&m->health, p->helpers - p->nacks);
    m->counters.probes_failed++;
    records_accuse(m, p->member, false);
}

static bool is_current(struct membership *m)
{
    struct probe *p = &m->probe;

    /* The place in the roster may be somebody else's by now. */
    if (p->active && (!roster_used(m->roster, p->member) || roster_find(m->roster, &p->id) != p->member))
        p->active = false;
    return p->active;
}

static void relays_decide(struct membership *m, int64_t now)
{
    if (now < m->relay_us)
        return;
    m->relay_us = NEVER_US;
    for (size_t i = m->relay_count; i-- > 0;) {
        struct relay *r = &m->relays[i];
        int64_t next;
        if (r->nack_us <= now) {
            struct message nack = {.type = MESSAGE_NACK, .seq = r->asker_seq};
            m->counters.nacks++;
            send_one(m, &nack, NO_MEMBER, &r->asker);
            r->nack_us = NEVER_US;
        }
        if (r->until_us <= now) {
            *r = m->relays[--m->relay_count];
            continue;
        }
        next = r->nack_us < r->until_us ? r->nack_us : r->until_us;
        if (next < m->relay_us)
            m->relay_us = next;
    }
}

void probe_decide(struct membership *m, int64_t now)
{
    struct probe *p = &m->probe;

    relays_decide(m, now);
    if (is_current(m) && !p->asked && now >= p->answer_until_us) {
        ask_helpers(m);
        exchange_probe(m, p->member, p->seq);
    }
    if (is_current(m) && now >= p->until_us)
        fail(m);
    if (now >= m->probe_us)
        begin(m, now);
}

void probe_slept(struct membership *m, int64_t now)
{
    m->counters.probes_void += m->probe.active;
    m->probe.active = false;
    m->relay_count = 0;
    m->relay_us = NEVER_US;
    m->probe_us = now;
}

int64_t probe_next_us(const struct membership *m)
{
    int64_t at = m->probe_us;

    if (m->probe.active && !m->probe.asked && m->probe.answer_until_us < at)
        at = m->probe.answer_until_us;
    if (m->probe.active && m->probe.until_us < at)
        at = m->probe.until_us;
    return m->relay_us < at ? m->relay_us : at;
}

/* ---- messages --------------------------------------------------------- */

static void note_vitals(struct membership *m, uint32_t member, const struct vitals *vitals)
{
    if (member != NO_MEMBER && member != SELF)
        roster_at(m->roster, member)->vitals = *vitals;
    if (vitals->epoch > m->epoch_heard)
        m->epoch_heard = vitals->epoch;
}

/* What took a moment to arrive is a moment old: the fastest clock leads, by nothing. */
static void note_time(struct membership *m, uint64_t time_us)
{
    int64_t ahead = time_us < INT64_MAX / 2 ? (int64_t)time_us - member_now(m) : INT64_MIN;

    if (ahead > m->cluster_ahead_us)
        m->cluster_ahead_us = ahead;
}

void probe_pinged(struct membership *m, const struct origin *from, const struct message *ping_,
                  uint64_t stream)
{
    const struct node_id *self = &roster_at(m->roster, SELF)->record.id;
    uint32_t sender = roster_find(m->roster, &from->id);
    bool meant = node_id_equals(&ping_->target, self);
    struct message answer = {.type = MESSAGE_ACK, .seq = ping_->seq, .vitals = m->vitals};
    uint8_t room[DATAGRAM_MAX];
    struct packet packet;

    if (!meant) {
        m->counters.strangers++;
        answer = (struct message){.type = MESSAGE_STRANGER, .seq = ping_->seq, .target = ping_->target};
    }
    note_vitals(m, sender, &ping_->vitals);
    note_time(m, ping_->time_us);
    if (stream == 0) {
        send_one(m, &answer, to_be_told(m, sender), &from->address);
        return;
    }
    packet_begin(&packet, room, sizeof room);
    packet_put(&packet, &answer);
    m->out.send_stream(m->out.ctx, stream, (struct slice){packet.bytes, packet.len});
}

/* As TCP estimates it (RFC 6298), from direct answers only. */
static void note_round_trip(struct membership *m, int64_t us)
{
    int64_t off = us > m->rtt_us ? us - m->rtt_us : m->rtt_us - us;

    if (us < 0)
        return;
    m->rtt_deviation_us += (off - m->rtt_deviation_us) / 4;
    m->rtt_us += (us - m->rtt_us) / 8;
}

static void relay_answer(struct membership *m, const struct origin *from, const struct message *ack)
{
    for (size_t i = 0; i < m->relay_count; i++) {
        struct relay r = m->relays[i];
        struct message answer = {.type = MESSAGE_ACK, .seq = r.asker_seq, .vitals = ack->vitals};
        if (r.seq != ack->seq || !node_id_equals(&r.target, &from->id))
            continue;
        m->relays[i] = m->relays[--m->relay_count];
        send_one(m, &answer, NO_MEMBER, &r.asker);
        return;
    }
}

void probe_acked(struct membership *m, const struct origin *from, const struct message *ack, bool streamed)
{
    struct probe *p = &m->probe;
    bool direct = node_id_equals(&from->id, &p->id);

    note_vitals(m, direct ? roster_find(m->roster, &from->id) : NO_MEMBER, &ack->vitals);
    if (!is_current(m) || p->seq != ack->seq) {
        relay_answer(m, from, ack);
        return;
    }
    p->active = false;
    health_better(&m->health);
    if (streamed)
        m->counters.answers_streamed++;
    else if (direct)
        note_round_trip(m, from->arrived_us - p->sent_us);
    else
        m->counters.answers_relayed++;
}

void probe_nacked(struct membership *m, const struct message *nack)
{
    struct probe *p = &m->probe;
    int64_t half = p->sent_us + (p->until_us - p->sent_us) / 2, now = member_now(m);

    if (!p->active || p->seq != nack->seq || p->nacks == p->helpers)
        return;
    /* All who tried heard nothing: whoever answers now answers late, and may as well refute. */
    if (++p->nacks == p->helpers && half < p->until_us)
        p->until_us = half > now ? half : now;
}

void probe_asked(struct membership *m, const struct origin *from, const struct message *asked)
{
    int64_t now = member_now(m);
    struct relay *r;

    if (m->relay_count == m->options.relays_max) {
        m->counters.relays_refused++;
        return;
    }
    m->counters.relays++;
    r = &m->relays[m->relay_count++];
    *r = (struct relay){.asker = from->address,
                        .target_address = asked->address,
                        .target = asked->target,
                        .seq = ++m->seq,
                        .asker_seq = asked->seq};
    r->nack_us = now + answer_span(m);
    r->until_us = now + 2 * m->options.probe_period_us;
    if (r->nack_us < m->relay_us)
        m->relay_us = r->nack_us;
    ping(m, roster_find(m->roster, &asked->target), &asked->target, &asked->address, r->seq);
}

/* ---- hard evidence ---------------------------------------------------- */

/* The process is gone. One observer may be fooled by a firewall, so others look at once. */
static void gone(struct membership *m, uint32_t member, bool mine)
{
    m->counters.hard_evidence++;
    records_accuse(m, member, true);
    if (!mine)
        return;
    m->probe.accused = true;
    if (!m->probe.asked)
        ask_helpers(m);
}

void probe_refused(struct membership *m, const struct node_id *id)
{
    uint32_t member = roster_find(m->roster, id);

    if (member != NO_MEMBER && member != SELF)
        gone(m, member, is_current(m) && m->probe.member == member);
}

void probe_unreachable(struct membership *m, const struct address *whom)
{
    if (is_current(m) && address_equals(whom, &roster_at(m->roster, m->probe.member)->record.address)) {
        gone(m, m->probe.member, true);
        return;
    }
    for (size_t i = 0; i < m->relay_count; i++) {
        uint32_t member = roster_find(m->roster, &m->relays[i].target);
        if (!address_equals(whom, &m->relays[i].target_address))
            continue;
        if (member != NO_MEMBER && member != SELF &&
            address_equals(whom, &roster_at(m->roster, member)->record.address))
            gone(m, member, false);
        return;
    }
}

void probe_strange(struct membership *m, const struct message *stranger)
{
    uint32_t member;

    if (is_current(m) && m->probe.seq == stranger->seq && node_id_equals(&m->probe.id, &stranger->target)) {
        gone(m, m->probe.member, true);
        return;
    }
    for (size_t i = 0; i < m->relay_count; i++)
        if (m->relays[i].seq == stranger->seq && node_id_equals(&m->relays[i].target, &stranger->target)) {
            member = roster_find(m->roster, &stranger->target);
            if (member != NO_MEMBER && member != SELF)
                gone(m, member, false);
            return;
        }
}
