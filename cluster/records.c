/* records.c - merges what is told with what is known, and tells what is new. */
#include "cluster/member_inside.h"

#include <stdlib.h>

#include "cluster/suspicion.h"
#include "server/check.h"

enum { CONFLICT_PACE_US = 1000000 };

static void tell(struct membership *m, enum member_event event, const struct record *record)
{
    if (m->hooks.changed != NULL)
        m->hooks.changed(m->hooks.owner, event, record);
}

void records_spread(struct membership *m, uint32_t member)
{
    int64_t now = member_now(m), soon = m->gossiped_us + m->options.gossip_period_us;

    if (m->in_bulk && member != SELF && roster_at(m->roster, member)->record.state == MEMBER_ALIVE)
        return;
    rumours_put(m->rumours, member);
    if (m->gossip_us == NEVER_US)
        m->gossip_us = soon > now ? soon : now;
}

/* ---- suspicions ------------------------------------------------------- */

static unsigned hard_accusers(const struct accusation *by)
{
    return (unsigned)__builtin_popcount(by->hard);
}

/* Two may see a dead port, unless there is only one who can look. */
static bool is_hard(const struct membership *m, const struct accusation *by)
{
    return hard_accusers(by) >= (roster_live(m->roster) > 1 ? 2 : 1);
}

static void suspicion_time(struct membership *m, struct suspicion *s)
{
    const struct membership_options *o = &m->options;
    int64_t least = suspicion_least_us(o->suspicion_mult, roster_live(m->roster) + 1, o->probe_period_us);
    int64_t span = suspicion_span_us(least, least * o->suspicion_most, s->by.count - 1U, s->wanted);
    int64_t hard = 3 * (m->rtt_us + 4 * m->rtt_deviation_us);

    if (is_hard(m, &s->by)) {
        hard = hard > o->hard_least_us ? hard : o->hard_least_us;
        span = span < hard ? span : hard;
    }
    s->until_us = s->since_us + span;
    if (s->until_us < m->suspicion_us)
        m->suspicion_us = s->until_us;
}

static bool add_accusers(struct accusation *to, const struct accusation *from)
{
    bool added = false;

    for (unsigned i = 0; i < from->count; i++) {
        unsigned hard = from->hard >> i & 1, at = 0;
        while (at < to->count && to->accuser[at] != from->accuser[i])
            at++;
        if (at == to->count && at < ACCUSERS_MAX) {
            to->accuser[to->count++] = from->accuser[i];
            added = true;
        } else if (at == to->count && hard && hard_accusers(to) < 2) {
            at = 0; /* one who saw a dead port is worth more than one who heard nothing */
            while (to->hard >> at & 1)
                at++;
            to->accuser[at] = from->accuser[i];
            added = true;
        } else if (at == to->count) {
            continue;
        }
        if (hard && !(to->hard >> at & 1)) {
            to->hard = (uint8_t)(to->hard | 1U << at);
            added = true;
        }
    }
    return added;
}

/* The longest wait that is left, in the one case where there is no memory: it
 * is then not suspected, and the next probe tries again. */
static bool suspicion_begin(struct membership *m, uint32_t member, const struct accusation *by)
{
    uint32_t nodes = roster_live(m->roster) + 1;
    struct suspicion *s;

    if (m->suspicion_count == m->suspicion_room) {
        size_t room = m->suspicion_room * 2 + 8;
        if ((s = realloc(m->suspicions, room * sizeof *s)) == NULL)
            return false;
        m->suspicions = s;
        m->suspicion_room = room;
    }
    roster_at(m->roster, member)->suspicion = (uint32_t)m->suspicion_count;
    s = &m->suspicions[m->suspicion_count++];
    *s = (struct suspicion){.member = member, .since_us = member_now(m), .by = *by};
    s->wanted = nodes < m->options.confirmations + 2 ? 0 : m->options.confirmations;
    suspicion_time(m, s);
    m->counters.suspicions++;
    return true;
}

static void suspicion_end(struct membership *m, uint32_t at)
{
    m->suspicions[at] = m->suspicions[--m->suspicion_count];
    if (at < m->suspicion_count)
        roster_at(m->roster, m->suspicions[at].member)->suspicion = at;
}

void records_slept(struct membership *m, int64_t gap_us)
{
    const struct membership_options *o = &m->options;

    /* So long that others hold us for dead by now, whether we hear of it or not. */
    if (gap_us > suspicion_least_us(o->suspicion_mult, roster_live(m->roster) + 1, o->probe_period_us)) {
        records_flapped(m);
    }
    m->suspicion_us = NEVER_US;
    for (size_t i = 0; i < m->suspicion_count; i++) {
        m->suspicions[i].since_us += gap_us;
        suspicion_time(m, &m->suspicions[i]);
    }
}

/* ---- this node itself ------------------------------------------------- */

void records_announce(struct membership *m)
{
    struct record self = roster_at(m->roster, SELF)->record;

    self.incarnation++;
    roster_set(m->roster, SELF, &self);
    records_spread(m, SELF);
}

/* The longer ago the last time, the milder: a level is forgotten after the longest probation. */
void records_flapped(struct membership *m)
{
    const struct membership_options *o = &m->options;
    int64_t now = member_now(m), span;
    unsigned recent = 1;
    struct record self;

    /* Nobody dies twice in so short a time: we slept, and were told so besides. */
    if (now - m->flaps[0] <
        suspicion_least_us(o->suspicion_mult, roster_live(m->roster) + 1, o->probe_period_us))
        return;
    if (now - m->flaps[0] > o->probation_most_us && now > m->probation_until_us)
        m->probation_level = 0;
    for (unsigned i = FLAPS_MAX - 1; i > 0; i--) {
        m->flaps[i] = m->flaps[i - 1];
        recent += m->flaps[i] != INT64_MIN / 2 && now - m->flaps[i] <= o->flap_window_us;
    }
    m->flaps[0] = now;
    if (recent < o->flap_limit)
        return;
    m->counters.probations++;
    m->probation_level += m->probation_level < UINT8_MAX;
    span = o->probation_first_us;
    for (unsigned i = 1; i < m->probation_level && span < o->probation_most_us; i++)
        span *= 2;
    m->probation_until_us = now + (span < o->probation_most_us ? span : o->probation_most_us);
    self = roster_at(m->roster, SELF)->record;
    self.probation = (uint8_t)m->probation_level;
    roster_set(m->roster, SELF, &self);
    records_announce(m);
    tell(m, MEMBER_UPDATED, &roster_at(m->roster, SELF)->record);
}

static unsigned told_of_self(struct membership *m, const struct record *told)
{
    struct record self;

    /* Also when we have refuted it long since: others held us for dead. */
    if (told->state == MEMBER_DEAD && told->incarnation > m->dead_incarnation && !m->leaving) {
        m->dead_incarnation = told->incarnation;
        records_flapped(m);
    }
    self = roster_at(m->roster, SELF)->record;
    if (told->incarnation == self.incarnation && !address_equals(&told->address, &self.address)) {
        m->counters.conflicts++;
        tell(m, MEMBER_CONFLICT, told);
    }
    if (!roster_news(&self, told)) {
        /* The teller has not heard our objection: it may have been lost on the way to all. */
        if (told->state != MEMBER_ALIVE && told->incarnation < self.incarnation &&
            !rumours_has(m->rumours, SELF))
            records_spread(m, SELF);
        return 0;
    }
    if (told->incarnation > self.incarnation) {
        /* Our boots were forgotten: going beyond is enough, once. Or there are
         * two of us, who must not chase each other faster than others can bear. */
        if (member_now(m) - m->conflict_us < CONFLICT_PACE_US)
            return 0;
        m->conflict_us = member_now(m);
        m->counters.conflicts++;
        tell(m, MEMBER_CONFLICT, told);
        self.incarnation = told->incarnation;
        roster_set(m->roster, SELF, &self);
    }
    if (told->state != MEMBER_ALIVE)
        m->counters.refutations++;
    records_announce(m);
    return 1;
}

/* ---- the others ------------------------------------------------------- */

static void enter_state(struct membership *m, uint32_t member, const struct record *record)
{
    struct member *one = roster_at(m->roster, member);
    bool was_suspect = one->record.state == MEMBER_SUSPECT;

    if (was_suspect && record->state != MEMBER_SUSPECT)
        suspicion_end(m, one->suspicion);
    if (one->record.state != record->state)
        one->changed_us = member_now(m);
    roster_set(m->roster, member, record);
    records_spread(m, member);
}

static enum member_event event_of(const struct record *was, const struct record *is)
{
    bool boots_differ = was->incarnation >> 16 != is->incarnation >> 16;

    switch ((enum member_state)is->state) {
    case MEMBER_SUSPECT: return MEMBER_SUSPECTED;
    case MEMBER_DEAD: return MEMBER_FAILED;
    case MEMBER_LEFT: return MEMBER_WENT;
    case MEMBER_ALIVE: break;
    }
    if (boots_differ)
        return MEMBER_RESTARTED;
    if (was->state == MEMBER_SUSPECT)
        return MEMBER_REFUTED;
    return was->state == MEMBER_ALIVE ? MEMBER_UPDATED : MEMBER_REVIVED;
}

/* Room for a live one is made by forgetting who is longest dead. */
static bool evict_dead(struct membership *m)
{
    uint32_t oldest = NO_MEMBER;

    for (uint32_t i = 1; i < roster_end(m->roster); i++)
        if (roster_used(m->roster, i) && roster_at(m->roster, i)->record.state >= MEMBER_DEAD &&
            (oldest == NO_MEMBER ||
             roster_at(m->roster, i)->changed_us < roster_at(m->roster, oldest)->changed_us))
            oldest = i;
    return oldest != NO_MEMBER && records_remove(m, oldest);
}

bool records_remove(struct membership *m, uint32_t member)
{
    struct record record = roster_at(m->roster, member)->record;

    if (member == SELF || record.state < MEMBER_DEAD)
        return false;
    rumours_drop(m->rumours, member);
    roster_remove(m->roster, member);
    tell(m, MEMBER_REMOVED, &record);
    return true;
}

static unsigned told_of_new(struct membership *m, const struct record *told, const struct accusation *by)
{
    struct record first = *told;
    uint32_t member;

    if (told->state >= MEMBER_DEAD)
        return 0; /* whoever has forgotten it shall not learn of it again */
    first.state = MEMBER_ALIVE;
    member = roster_add(m->roster, &first);
    if (member == NO_MEMBER && evict_dead(m))
        member = roster_add(m->roster, &first);
    if (member == NO_MEMBER) {
        m->counters.members_refused++;
        return 0;
    }
    roster_at(m->roster, member)->changed_us = member_now(m);
    records_spread(m, member);
    tell(m, MEMBER_JOINED, &first);
    if (told->state == MEMBER_SUSPECT && suspicion_begin(m, member, by)) {
        enter_state(m, member, told);
        tell(m, MEMBER_SUSPECTED, told);
    }
    return 1;
}

static unsigned more_accusers(struct membership *m, uint32_t member, const struct accusation *by)
{
    struct suspicion *s = &m->suspicions[roster_at(m->roster, member)->suspicion];

    if (!add_accusers(&s->by, by))
        return 0;
    suspicion_time(m, s);
    records_spread(m, member);
    return 1;
}

static void change(struct membership *m, uint32_t member, const struct record *to,
                   const struct accusation *by)
{
    struct record was = roster_at(m->roster, member)->record;
    uint32_t suspicion = roster_at(m->roster, member)->suspicion;

    if (to->state == MEMBER_SUSPECT && was.state == MEMBER_SUSPECT)
        suspicion_end(m, suspicion); /* of an older incarnation */
    if (to->state == MEMBER_SUSPECT && !suspicion_begin(m, member, by))
        return;
    enter_state(m, member, to);
    tell(m, event_of(&was, to), to);
}

unsigned records_told(struct membership *m, const struct record *told, const struct accusation *by,
                      bool exchanged, const struct node_id *by_whom)
{
    uint32_t member = roster_find(m->roster, &told->id);
    const struct record *known;
    struct record milder = *told;
    struct accusation teller_only = {.count = 1, .accuser = {node_id_mark(by_whom)}};

    if (member == SELF)
        return told_of_self(m, told);
    if (member == NO_MEMBER)
        return told_of_new(m, told, by);
    known = &roster_at(m->roster, member)->record;
    /* After a partition each side holds the other for dead, and both live: old
     * beliefs about who seems alive here are grounds to suspect, no more. */
    if (exchanged && told->state == MEMBER_DEAD && known->state <= MEMBER_SUSPECT) {
        milder.state = MEMBER_SUSPECT;
        by = &teller_only;
    }
    if (roster_news(known, &milder)) {
        change(m, member, &milder, by);
        return 1;
    }
    if (milder.state == MEMBER_SUSPECT && known->state == MEMBER_SUSPECT &&
        milder.incarnation == known->incarnation)
        return more_accusers(m, member, by);
    return 0;
}

void records_accuse(struct membership *m, uint32_t member, bool hard)
{
    const struct record *self = &roster_at(m->roster, SELF)->record;
    struct record record = roster_at(m->roster, member)->record;
    struct accusation by = {.count = 1, .hard = hard, .accuser = {node_id_mark(&self->id)}};

    if (member == SELF)
        return;
    if (record.state == MEMBER_SUSPECT)
        more_accusers(m, member, &by);
    if (record.state != MEMBER_ALIVE)
        return;
    record.state = MEMBER_SUSPECT;
    change(m, member, &record, &by);
}

/* ---- what time brings ------------------------------------------------- */

static void suspicions_decide(struct membership *m, int64_t now)
{
    static const struct accusation nobody;

    if (now < m->suspicion_us)
        return;
    m->suspicion_us = NEVER_US;
    for (size_t i = m->suspicion_count; i-- > 0;) {
        struct suspicion *s = &m->suspicions[i];
        if (s->until_us <= now) {
            struct record record = roster_at(m->roster, s->member)->record;
            record.state = MEMBER_DEAD;
            m->counters.failures_declared++;
            change(m, s->member, &record, &nobody);
        } else if (s->until_us < m->suspicion_us) {
            m->suspicion_us = s->until_us;
        }
    }
}

/* Once a minute is enough for what is kept for hours. */
static void reap(struct membership *m, int64_t now)
{
    if (now < m->reap_us)
        return;
    m->reap_us = now + 60000000;
    for (uint32_t i = 1; i < roster_end(m->roster); i++) {
        const struct member *one = roster_used(m->roster, i) ? roster_at(m->roster, i) : NULL;
        if (one == NULL || one->record.state < MEMBER_DEAD)
            continue;
        if (now - one->changed_us >
            (one->record.state == MEMBER_LEFT ? m->options.left_keep_us : m->options.dead_keep_us))
            records_remove(m, i);
    }
}

/* A suspicion that nobody shares may be one that nobody has heard of, the
 * suspect least of all. */
void records_repeat(struct membership *m)
{
    uint64_t self = node_id_mark(&roster_at(m->roster, SELF)->record.id);

    for (size_t i = 0; i < m->suspicion_count; i++) {
        const struct suspicion *s = &m->suspicions[i];
        if (s->by.count == 1 && s->by.accuser[0] == self && !rumours_has(m->rumours, s->member))
            records_spread(m, s->member);
    }
}

void records_decide(struct membership *m, int64_t now)
{
    struct record self;

    suspicions_decide(m, now);
    reap(m, now);
    if (now >= m->probation_until_us && roster_at(m->roster, SELF)->record.probation != 0) {
        self = roster_at(m->roster, SELF)->record;
        self.probation = 0;
        roster_set(m->roster, SELF, &self);
        records_announce(m);
        tell(m, MEMBER_UPDATED, &roster_at(m->roster, SELF)->record);
    }
}
