/* claims.c - granules change hands.
 *
 * The owner of a granule by placement takes it at once if its holder is dead, with a higher version. If
 * the holder lives, the owner waits until nothing has changed for a while, and claims it: the holder
 * publishes a view in which the owner holds it, and only then tells. Where its items are is remembered on
 * both sides until the new holder has pulled them. Messages may be lost: claims are repeated, and so is the
 * question whether all is pulled; each may come twice without harm. */
#include "cluster/cluster_inside.h"

#include "server/check.h"

static const struct holder nobody;

static unsigned granules_of(const struct cluster *c)
{
    return c->options.rules.granules;
}

static bool is_self(const struct cluster *c, const struct holder *holder)
{
    struct holder self = cluster_self(c);

    return holder_equals(holder, &self);
}

/* ---- taking what nobody has ------------------------------------------- */

static bool is_free(const struct cluster *c, const struct held *held, bool calm)
{
    enum holder_life life = cluster_life(c, &held->holder);

    /* Unknown may be only not known yet. */
    return held->version < HOLDERS_VERSION_MAX && (life == HOLDER_DEAD || (life == HOLDER_UNKNOWN && calm));
}

bool claims_take(struct cluster *c, const struct view *view)
{
    uint16_t self = view_find(view, &c->self);
    int64_t now = cluster_now(c);
    bool calm = cluster_is_calm(c, now), taken = false;

    if (self == NOBODY || !c->learned)
        return false;
    /* Others who start now, too, may own it as well as we do, by what they know. */
    if (view->member_count > 1)
        calm =
            calm && now - c->owners_us >= c->options.settle_us && cluster_owners_alike(c->state.view, view);
    for (unsigned g = 0; g < granules_of(c); g++) {
        struct held was = *holders_at(c->table, g);
        struct held mine = {.version = holders_next(was.version, c->cut_off), .holder = cluster_self(c)};
        if (view->owner[g] != self || is_self(c, &was.holder) || !is_free(c, &was, calm))
            continue;
        CHECK(holders_merge(c->table, g, &mine));
        c->counters.takeovers++;
        c->pull[g] = c->given[g] = nobody;
        c->tell[g] = was.holder; /* if it lives after all, it hears of it soonest this way */
        c->to_tell = true;
        spread_news(c, g);
        taken = true;
    }
    return taken;
}

/* Two terms: the other may have taken some before it knew that it was cut off. */
static void insist(struct cluster *c, unsigned g)
{
    struct held mine = {.version = holders_at(c->table, g)->version, .holder = cluster_self(c)};

    mine.version = holders_next(holders_next(mine.version, false), false);
    if (holders_merge(c->table, g, &mine))
        spread_news(c, g);
}

void claims_insist(struct cluster *c)
{
    for (unsigned g = 0; g < granules_of(c); g++) {
        if (is_self(c, &holders_at(c->table, g)->holder))
            insist(c, g);
    }
}

/* ---- what others tell ------------------------------------------------- */

void claims_told(struct cluster *c, unsigned g, const struct held *was)
{
    const struct held *is = holders_at(c->table, g);

    /* By one who was dead to this side, and is heard again: before it is known that it is back. */
    if (is_self(c, &was->holder) && !c->cut_off && cluster_life(c, &is->holder) == HOLDER_DEAD) {
        insist(c, g);
        return;
    }
    c->pull[g] = nobody;
    if (!holder_equals(&c->given[g], &is->holder))
        c->given[g] = nobody;
    if (is_self(c, &is->holder)) {
        c->counters.gains++;
        if (cluster_life(c, &is->source) == HOLDER_LIVES && !is_self(c, &is->source))
            c->pull[g] = is->source;
        cluster_changed(c, CLUSTER_CLAIMED, &is->source.id);
    } else if (is_self(c, &was->holder)) {
        c->counters.lost++;
        cluster_changed(c, CLUSTER_YIELDED, &is->holder.id);
    } else {
        cluster_changed(c, CLUSTER_TOLD, &is->holder.id);
    }
}

/* To the owner, if this node agrees that it is, and when there is nothing more to be pulled for it here: so
 * a granule has one source. In any case the claimer hears what is known. */
static void claimed(struct cluster *c, unsigned g, const struct holder *by, uint16_t member)
{
    struct held held = *holders_at(c->table, g);

    if (is_self(c, &held.holder)) {
        if (c->state.view->owner[g] != member || c->pull[g].boots > 0 ||
            held.version == HOLDERS_VERSION_MAX) {
            c->counters.claims_refused++;
            return;
        }
        held = (struct held){
            .version = holders_next(held.version, c->cut_off), .holder = *by, .source = cluster_self(c)};
        CHECK(holders_merge(c->table, g, &held));
        c->counters.yields++;
        c->given[g] = *by;
        spread_news(c, g);
    }
    c->tell[g] = *by;
    c->to_tell = true;
    cluster_changed(c, CLUSTER_YIELDED, &by->id);
}

/* Those that this node pulls from the asker no more. */
static void answer_given(struct cluster *c, const struct origin *from, const struct holder_message *m)
{
    const struct record *asker = membership_find(c->members, &from->id, NULL);
    uint8_t room[DATAGRAM_MAX];
    struct holder_writer w;

    if (asker == NULL)
        return;
    holder_write_list(&w, room, sizeof room, HOLDER_PULLED, granules_of(c), asker->incarnation >> 16);
    for (unsigned i = 0; i < m->count; i++) {
        unsigned g = holder_message_granule(m, i);
        if (!node_id_equals(&c->pull[g].id, &from->id) || c->pull[g].boots == 0)
            holder_write_granule(&w, g);
    }
    if (w.count > 0)
        c->out.send_datagram(c->out.ctx, &from->address, holder_write_end(&w, 0));
}

void claims_message(struct cluster *c, const struct origin *from, const struct holder_message *m)
{
    struct holder sender = {from->id, m->boots};
    bool meant = m->boots == cluster_self(c).boots;
    uint16_t member = view_find(c->state.view, &from->id);

    switch (m->type) {
    case HOLDER_CLAIM:
        if (member == NOBODY || cluster_life(c, &sender) != HOLDER_LIVES || c->left)
            return;
        for (unsigned i = 0; i < m->count; i++)
            claimed(c, holder_message_granule(m, i), &sender, member);
        return;
    case HOLDER_GIVEN:
        if (meant)
            answer_given(c, from, m);
        return;
    case HOLDER_PULLED:
        for (unsigned i = 0; meant && i < m->count; i++) {
            unsigned g = holder_message_granule(m, i);
            if (node_id_equals(&c->given[g].id, &from->id))
                c->given[g] = nobody;
        }
        return;
    case HOLDER_ENTRIES:
    case HOLDER_DIGEST: break;
    }
    CHECK_UNREACHABLE();
}

/* ---- sources ---------------------------------------------------------- */

void claims_sources(struct cluster *c, const struct view *view)
{
    for (unsigned g = 0; g < granules_of(c); g++) {
        if (c->pull[g].boots > 0 && cluster_life(c, &c->pull[g]) != HOLDER_LIVES)
            c->pull[g] = nobody;
        if (c->given[g].boots > 0 && cluster_life(c, &c->given[g]) != HOLDER_LIVES)
            c->given[g] = nobody;
        c->next_source[g] = c->pull[g].boots > 0 ? view_find(view, &c->pull[g].id) : NOBODY;
    }
}

void cluster_pulled(struct cluster *c, uint16_t granule)
{
    CHECK(granule < granules_of(c));
    if (c->pull[granule].boots == 0)
        return;
    c->done[granule] = c->pull[granule];
    c->pull[granule] = nobody;
    c->to_tell = true;
    cluster_publish_soon(c);
}

uint32_t cluster_pulled_from(const struct cluster *c)
{
    uint32_t count = 0;

    for (unsigned g = 0; g < granules_of(c); g++)
        count += c->given[g].boots > 0;
    return count;
}

/* ---- what is told of it ----------------------------------------------- */

/* To each of those named in `to` the list of its granules, as `type`. */
static void send_lists(struct cluster *c, const struct holder *to, enum holder_message_type type)
{
    bool sent[GRANULES_MAX] = {false};

    for (unsigned g = 0; g < granules_of(c); g++) {
        uint8_t room[DATAGRAM_MAX];
        struct holder_writer w;

        if (to[g].boots == 0 || sent[g])
            continue;
        holder_write_list(&w, room, sizeof room, type, granules_of(c), to[g].boots);
        for (unsigned i = g; i < granules_of(c); i++)
            if (holder_equals(&to[i], &to[g]) && !sent[i] && !(sent[i] = holder_write_granule(&w, i)))
                break;
        cluster_send(c, &to[g].id, holder_write_end(&w, 0));
    }
}

/* What was yielded or taken, and what was asked for in vain, to whom it concerns. */
static void send_tellings(struct cluster *c)
{
    for (unsigned g = 0; g < granules_of(c); g++) {
        struct holder whom = c->tell[g];
        uint8_t room[DATAGRAM_MAX];
        struct holder_writer w;

        if (whom.boots == 0)
            continue;
        holder_write_entries(&w, room, sizeof room, granules_of(c), 0);
        for (unsigned i = g; i < granules_of(c); i++) {
            const struct held *held = holders_at(c->table, i);
            if (!holder_equals(&c->tell[i], &whom))
                continue;
            if (held->version > 0 && !holder_write_entry(&w, i, held))
                break;
            c->tell[i] = nobody;
        }
        c->counters.entries_told += w.count;
        if (w.count > 0)
            cluster_send(c, &whom.id, holder_write_end(&w, 0));
    }
}

static void send_claims(struct cluster *c)
{
    const struct view *view = c->state.view;
    uint64_t boots = cluster_self(c).boots;

    for (uint16_t member = 0; member < view->member_count; member++) {
        uint8_t room[DATAGRAM_MAX];
        struct holder_writer w;

        if (member == c->state.self)
            continue;
        holder_write_list(&w, room, sizeof room, HOLDER_CLAIM, granules_of(c), boots);
        for (unsigned g = 0; g < granules_of(c); g++) {
            if (view->holder[g] != member || view->owner[g] != c->state.self)
                continue;
            if (!holder_write_granule(&w, g)) {
                cluster_send(c, &view->members[member].id, holder_write_end(&w, 0));
                holder_write_list(&w, room, sizeof room, HOLDER_CLAIM, granules_of(c), boots);
                holder_write_granule(&w, g);
            }
            c->counters.claims_made++;
        }
        if (w.count > 0)
            cluster_send(c, &view->members[member].id, holder_write_end(&w, 0));
    }
}

/* ---- what time brings ------------------------------------------------- */

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void arm_claims(struct cluster *c)
{
    c->claim_us = c->wanting == 0 || !c->learned ? NEVER_US
                                                 : later(c->owners_us + c->options.settle_us,
                                                         c->claimed_us + c->options.claim_patience_us);
}

void claims_seen(struct cluster *c)
{
    const struct view *view = c->state.view;

    c->wanting = 0;
    for (unsigned g = 0; c->state.self != NOBODY && g < granules_of(c); g++)
        c->wanting += view->owner[g] == c->state.self && view->holder[g] != c->state.self;
    arm_claims(c);
    if (c->given_us == NEVER_US && cluster_pulled_from(c) > 0)
        c->given_us = cluster_now(c) + c->options.claim_patience_us;
}

static bool holds_something(const struct cluster *c)
{
    for (unsigned g = 0; g < granules_of(c); g++)
        if (is_self(c, &holders_at(c->table, g)->holder))
            return true;
    return false;
}

static void drain_decide(struct cluster *c)
{
    if (!c->draining || c->left)
        return;
    if (!c->learned || membership_live(c->members) == 1 ||
        (!holds_something(c) && cluster_pulled_from(c) == 0))
        cluster_leave(c);
}

void claims_decide(struct cluster *c, int64_t now)
{
    if (now >= c->claim_us) {
        c->claimed_us = now;
        send_claims(c);
        cluster_changed(c, CLUSTER_MEMBERS, NULL); /* what nobody has may be taken now */
        arm_claims(c);
    }
    if (now >= c->given_us) {
        send_lists(c, c->given, HOLDER_GIVEN);
        c->given_us = cluster_pulled_from(c) > 0 ? now + c->options.claim_patience_us : NEVER_US;
    }
    drain_decide(c);
}

void claims_tell(struct cluster *c)
{
    if (!c->to_tell)
        return;
    c->to_tell = false;
    send_tellings(c);
    send_lists(c, c->done, HOLDER_PULLED);
    memset(c->done, 0, granules_of(c) * sizeof *c->done);
}

int64_t claims_next_us(const struct cluster *c)
{
    return c->claim_us < c->given_us ? c->claim_us : c->given_us;
}
