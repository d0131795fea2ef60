#include "cluster/member_inside.h"

#include <math.h>
#include <stdlib.h>

#include "server/check.h"

enum {
    SECOND = 1000000,
    RECORD_TYPICAL = 64, /* bytes in a packet, with short names */
    /* All probe in the same eighth of a period, so that nobody waits much longer
     * than one for the next to look at him. */
    PHASE_PART = 8,
    GOSSIP_PACKETS_MAX = 4 /* to one node in one round, when very much is new */
};

struct membership_options membership_lan(void)
{
    return (struct membership_options){
        .probe_period_us = SECOND / 4,
        .answer_least_us = SECOND / 50,
        .helpers = 3,
        .suspicion_mult = 4,
        .suspicion_most = 6,
        .confirmations = 2,
        .hard_least_us = SECOND / 10,
        .health_max = 7,
        .gossip_period_us = SECOND / 20,
        .gossip_fanout = 3,
        .retransmit_mult = 4,
        .exchange_period_us = 5 * SECOND,
        .reconnect_period_us = 10 * SECOND,
        .dead_keep_us = 24 * INT64_C(3600) * SECOND,
        .left_keep_us = 600 * INT64_C(1) * SECOND,
        .flap_window_us = 60 * SECOND,
        .flap_limit = 2,
        .probation_first_us = 30 * SECOND,
        .probation_most_us = 600 * INT64_C(1) * SECOND,
        .members_max = 16384,
        .relays_max = 64,
        .sessions_max = 32,
        .seeds_max = 64,
    };
}

struct membership_options membership_wan(void)
{
    struct membership_options options = membership_lan();

    options.probe_period_us = SECOND;
    options.answer_least_us = SECOND / 10;
    options.hard_least_us = SECOND / 2;
    options.gossip_period_us = SECOND / 5;
    return options;
}

const char *member_event_name(enum member_event event)
{
    static const char *const names[] = {"joined", "restarted", "updated", "suspected", "refuted",
                                        "failed", "revived",   "left",    "removed",   "conflict"};

    return names[event];
}

const char *member_state_name(enum member_state state)
{
    static const char *const names[] = {"alive", "suspect", "dead", "left"};

    return names[state];
}

/* ---- time, dice, packets ---------------------------------------------- */

int64_t member_now(const struct membership *m)
{
    return m->out.now_us(m->out.ctx);
}

uint64_t member_random(const struct membership *m)
{
    return m->out.random(m->out.ctx);
}

int64_t member_jitter(const struct membership *m, int64_t us)
{
    return us * 3 / 4 + (int64_t)(member_random(m) % (uint64_t)(us / 2 + 1));
}

uint32_t member_pick(const struct membership *m, uint32_t but)
{
    uint32_t live = roster_live(m->roster);

    for (int tries = 0; live > 0 && tries < 8; tries++) {
        uint32_t member = roster_live_at(m->roster, (uint32_t)(member_random(m) % live));
        if (member != but && roster_at(m->roster, member)->record.state == MEMBER_ALIVE)
            return member;
    }
    return NO_MEMBER;
}

bool member_put_record(struct membership *m, struct packet *packet, uint32_t member)
{
    const struct member *one = roster_at(m->roster, member);
    struct message message = {.type = MESSAGE_RECORD, .record = one->record};

    if (one->record.state == MEMBER_SUSPECT)
        message.accusation = m->suspicions[one->suspicion].by;
    return packet_put(packet, &message);
}

static unsigned times_to_tell(const struct membership *m)
{
    unsigned digits = (unsigned)ceil(log10(roster_live(m->roster) + 2.0));
    unsigned times = m->options.retransmit_mult * digits;

    return times < RUMOUR_TIMES_MAX ? times : RUMOUR_TIMES_MAX;
}

void member_send(struct membership *m, struct packet *packet, const struct address *to)
{
    unsigned times = rumours_count(m->rumours) > 0 ? times_to_tell(m) : 0;

    for (uint32_t at = times > 0 ? rumours_first(m->rumours) : RUMOURS_END; at != RUMOURS_END;) {
        uint32_t member = at;
        if (!member_put_record(m, packet, member))
            break;
        at = rumours_next(m->rumours);
        rumours_told(m->rumours, member, times);
    }
    m->out.send_datagram(m->out.ctx, to, (struct slice){packet->bytes, packet->len});
}

static void gossip_to(struct membership *m, uint32_t member)
{
    struct address to = roster_at(m->roster, member)->record.address;
    uint32_t packets = rumours_count(m->rumours) / (DATAGRAM_MAX / RECORD_TYPICAL) + 1;
    uint8_t room[DATAGRAM_MAX];
    struct packet packet;

    for (uint32_t i = 0; i < packets && i < GOSSIP_PACKETS_MAX && rumours_count(m->rumours) > 0; i++) {
        packet_begin(&packet, room, sizeof room);
        member_send(m, &packet, &to);
        m->counters.gossip_packets++;
    }
}

static void gossip_decide(struct membership *m, int64_t now)
{
    uint32_t live = roster_live(m->roster), first;

    if (now < m->gossip_us)
        return;
    m->gossiped_us = now;
    first = live > 0 ? (uint32_t)(member_random(m) % live) : 0;
    for (uint32_t i = 0; i < m->options.gossip_fanout && i < live; i++) {
        /* With few there is an order that meets all; with many, dice. */
        uint32_t place = live <= 8 ? (first + i) % live : (uint32_t)(member_random(m) % live);
        gossip_to(m, roster_live_at(m->roster, place));
    }
    m->gossip_us = live > 0 && rumours_count(m->rumours) > 0 ? now + m->options.gossip_period_us : NEVER_US;
}

/* ---- the alarm -------------------------------------------------------- */

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void member_arm(struct membership *m)
{
    int64_t at = sooner(sooner(probe_next_us(m), exchange_next_us(m)), sooner(m->suspicion_us, m->gossip_us));

    at = sooner(at, m->reap_us);
    if (roster_at(m->roster, SELF)->record.probation != 0)
        at = sooner(at, m->probation_until_us);
    if (at == m->alarm_us || !m->started)
        return;
    m->alarm_us = at;
    m->out.set_alarm(m->out.ctx, at);
}

/* What others were accused of while we slept may have been answered meanwhile,
 * by messages that were lost for want of room: they get the time back. */
static void notice_sleep(struct membership *m, int64_t now)
{
    int64_t late = now - m->alarm_us;

    if (late <= m->options.probe_period_us * 3 / 2)
        return;
    m->counters.stalls++;
    health_worse(&m->health, 1);
    records_slept(m, late);
    probe_slept(m, now);
}

static void on_alarm(void *owner)
{
    struct membership *m = owner;
    int64_t now = member_now(m);

    if (m->alarm_us != NEVER_US)
        notice_sleep(m, now);
    m->alarm_us = NEVER_US;
    records_decide(m, now);
    probe_decide(m, now);
    exchange_decide(m, now);
    gossip_decide(m, now);
    member_arm(m);
}

/* ---- what arrives ----------------------------------------------------- */

static void apply(struct membership *m, const struct origin *from, const struct message *message)
{
    switch (message->type) {
    case MESSAGE_PING: probe_pinged(m, from, message, 0); return;
    case MESSAGE_ACK: probe_acked(m, from, message, false); return;
    case MESSAGE_NACK: probe_nacked(m, message); return;
    case MESSAGE_RELAY: probe_asked(m, from, message); return;
    case MESSAGE_STRANGER: probe_strange(m, message); return;
    case MESSAGE_RECORD: records_told(m, &message->record, &message->accusation, false, &from->id); return;
    case MESSAGE_DIGEST: exchange_digest(m, from, &message->digest); return;
    case MESSAGE_SYNC: return; /* on streams only */
    }
    CHECK_UNREACHABLE();
}

/* Records come before questions, so that the answer knows of them. */
static void apply_all(struct membership *m, const struct origin *from, struct slice bytes)
{
    struct message message;

    for (int records = 1; records >= 0; records--)
        for (struct slice rest = bytes; rest.len > 0;) {
            CHECK(packet_take(&rest, &message));
            if ((message.type == MESSAGE_RECORD) == records)
                apply(m, from, &message);
        }
}

/* All of a packet or nothing: it is read before anything of it counts. */
static void on_datagram(void *owner, const struct origin *from, struct slice bytes)
{
    struct membership *m = owner;
    struct message message;
    struct slice rest = bytes;
    unsigned messages;

    if (!m->started)
        return;
    if (!packet_open(&rest)) {
        m->counters.packets_bad++;
        return;
    }
    bytes = rest;
    for (messages = 0; rest.len > 0; messages++)
        if (!packet_take(&rest, &message)) {
            m->counters.packets_bad++;
            return;
        }
    if (messages == 1)
        apply(m, from, &message);
    else
        apply_all(m, from, bytes);
    member_arm(m);
}

static void on_unreachable(void *owner, const struct address *whom)
{
    struct membership *m = owner;

    if (!m->started)
        return;
    probe_unreachable(m, whom);
    member_arm(m);
}

static void on_stream_message(void *owner, uint64_t stream, const struct origin *from, struct slice message)
{
    struct membership *m = owner;

    exchange_message(m, stream, from, message);
    member_arm(m);
}

static void on_stream_ended(void *owner, uint64_t stream, enum stream_end why)
{
    struct membership *m = owner;

    exchange_ended(m, stream, why);
    member_arm(m);
}

struct transport_user membership_user(struct membership *m)
{
    return (struct transport_user){m,       on_datagram, on_unreachable, on_stream_message, on_stream_ended,
                                   on_alarm};
}

/* ---- life ------------------------------------------------------------- */

static bool options_make_sense(const struct membership_options *o)
{
    return o->probe_period_us > 0 && o->answer_least_us > 0 && o->answer_least_us <= o->probe_period_us / 2 &&
           o->helpers <= 8 && o->suspicion_mult > 0 && o->suspicion_most > 0 &&
           o->confirmations < ACCUSERS_MAX && o->gossip_period_us > 0 && o->retransmit_mult > 0 &&
           o->exchange_period_us > 0 && o->reconnect_period_us > 0 && o->flap_limit > 0 &&
           o->flap_limit <= FLAPS_MAX && o->members_max > 0 && o->members_max <= INT32_MAX &&
           o->relays_max > 0 && o->sessions_max > 1;
}

struct membership *membership_new(const struct membership_options *options, const struct membership_self *who,
                                  struct transport out, struct membership_hooks hooks)
{
    struct record self = {
        .id = who->id, .incarnation = who->boots << 16, .address = who->address, .weight = who->weight};
    struct membership *m;

    if (!options_make_sense(options) || !zone_valid(who->zone) || !hostname_valid(who->services.hostname))
        return NULL;
    memcpy(self.zone, who->zone, strlen(who->zone));
    self.services = who->services;
    if ((m = calloc(1, sizeof *m)) == NULL)
        return NULL;
    m->options = *options;
    m->out = out;
    m->hooks = hooks;
    m->health.max = options->health_max;
    m->alarm_us = m->suspicion_us = m->gossip_us = m->relay_us = m->session_us = NEVER_US;
    m->dead_incarnation = self.incarnation - 1;
    m->conflict_us = INT64_MIN / 2;
    m->rtt_us = options->answer_least_us / 16;
    for (int i = 0; i < FLAPS_MAX; i++)
        m->flaps[i] = INT64_MIN / 2;
    if ((m->roster = roster_new(&self, options->members_max)) == NULL ||
        (m->rumours = rumours_new()) == NULL ||
        (m->relays = calloc(options->relays_max, sizeof *m->relays)) == NULL ||
        (m->sessions = calloc(options->sessions_max, sizeof *m->sessions)) == NULL ||
        (m->seeds = calloc(options->seeds_max + 1, sizeof *m->seeds)) == NULL)
        membership_free(&m);
    return m;
}

void membership_free(struct membership **m)
{
    if (*m == NULL)
        return;
    roster_free(&(*m)->roster);
    rumours_free(&(*m)->rumours);
    free((*m)->relays);
    free((*m)->sessions);
    free((*m)->seeds);
    free((*m)->suspicions);
    free(*m);
    *m = NULL;
}

void membership_start(struct membership *m)
{
    int64_t now = member_now(m);

    m->started = true;
    m->seq = (uint32_t)member_random(m);
    m->cluster_ahead_us = -now;
    m->phase_us = (int64_t)(member_random(m) % (uint64_t)(m->options.probe_period_us / PHASE_PART));
    m->probe_us = now + m->phase_us;
    m->exchange_us = now + member_jitter(m, m->options.exchange_period_us / 10);
    m->reconnect_us = now;
    m->reap_us = now + 60 * SECOND;
    roster_at(m->roster, SELF)->changed_us = now;
    records_spread(m, SELF);
    member_arm(m);
}

void membership_seeds(struct membership *m, const struct address *seeds, size_t count)
{
    m->seed_count = count < m->options.seeds_max ? count : m->options.seeds_max;
    if (m->seed_count > 0)
        memcpy(m->seeds, seeds, m->seed_count * sizeof *seeds);
    if (!m->started || roster_live(m->roster) > 0)
        return;
    m->reconnect_us = member_now(m);
    member_arm(m);
}

bool membership_seeks(const struct membership *m)
{
    const struct address *self = &roster_at(m->roster, SELF)->record.address;

    for (size_t i = 0; i < m->seed_count; i++)
        if (!address_equals(&m->seeds[i], self))
            return true;
    return false;
}

void membership_leave(struct membership *m)
{
    struct record self = roster_at(m->roster, SELF)->record;

    if (m->leaving)
        return;
    m->leaving = true;
    self.state = MEMBER_LEFT;
    roster_set(m->roster, SELF, &self);
    records_announce(m);
    m->gossip_us = member_now(m);
    member_arm(m);
}

bool membership_gone(const struct membership *m)
{
    return m->leaving && (roster_live(m->roster) == 0 || !rumours_has(m->rumours, SELF));
}

void membership_tell_vitals(struct membership *m, struct vitals vitals)
{
    m->vitals = roster_at(m->roster, SELF)->vitals = vitals;
}

uint64_t membership_epoch_heard(const struct membership *m)
{
    return m->epoch_heard;
}

void membership_set_weight(struct membership *m, uint16_t weight)
{
    struct record self = roster_at(m->roster, SELF)->record;

    if (self.weight == weight)
        return;
    self.weight = weight;
    roster_set(m->roster, SELF, &self);
    records_announce(m);
    member_arm(m);
}

void membership_vouch(struct membership *m, const struct node_id *id)
{
    uint32_t member = roster_find(m->roster, id);

    if (member != NO_MEMBER)
        roster_at(m->roster, member)->vouched_us = member_now(m);
}

void membership_link_refused(struct membership *m, const struct node_id *id)
{
    if (!m->started)
        return;
    probe_refused(m, id);
    member_arm(m);
}

bool membership_forget(struct membership *m, const struct node_id *id)
{
    uint32_t member = roster_find(m->roster, id);

    return member != NO_MEMBER && records_remove(m, member);
}

/* ---- looking ---------------------------------------------------------- */

const struct record *membership_next(const struct membership *m, uint32_t *cursor)
{
    while (*cursor < roster_end(m->roster) && !roster_used(m->roster, *cursor))
        ++*cursor;
    return *cursor < roster_end(m->roster) ? &roster_at(m->roster, (*cursor)++)->record : NULL;
}

const struct record *membership_find(const struct membership *m, const struct node_id *id, struct vitals *out)
{
    uint32_t member = roster_find(m->roster, id);

    if (member == NO_MEMBER)
        return NULL;
    if (out != NULL)
        *out = roster_at(m->roster, member)->vitals;
    return &roster_at(m->roster, member)->record;
}

uint32_t membership_live(const struct membership *m)
{
    return roster_live(m->roster) + !m->leaving;
}

unsigned membership_health(const struct membership *m)
{
    return m->health.score;
}

const struct membership_counters *membership_counters(const struct membership *m)
{
    return &m->counters;
}

void membership_check(const struct membership *m)
{
    uint32_t live = 0, suspects = 0, all = 0;

    for (uint32_t i = 0; i < roster_end(m->roster); i++) {
        const struct member *one;
        if (!roster_used(m->roster, i))
            continue;
        one = roster_at(m->roster, i);
        all++;
        CHECK(roster_find(m->roster, &one->record.id) == i);
        CHECK(one->record.state <= MEMBER_LEFT);
        if (i == SELF) {
            CHECK(one->record.state == (m->leaving ? MEMBER_LEFT : MEMBER_ALIVE));
            continue;
        }
        CHECK(roster_is_live(m->roster, i) == (one->record.state <= MEMBER_SUSPECT));
        live += roster_is_live(m->roster, i);
        if (one->record.state == MEMBER_SUSPECT) {
            CHECK(one->suspicion < m->suspicion_count && m->suspicions[one->suspicion].member == i);
            CHECK(m->suspicions[one->suspicion].until_us >= m->suspicion_us);
            suspects++;
        }
    }
    CHECK(all == roster_count(m->roster) && all <= m->options.members_max);
    CHECK(live == roster_live(m->roster));
    CHECK(suspects == m->suspicion_count);
    CHECK(m->relay_count <= m->options.relays_max && m->session_count <= m->options.sessions_max);
    CHECK(m->health.score <= m->health.max);
}
