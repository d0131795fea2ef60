/* cluster.c - turns what is believed of members and holders into views, and publishes them.
 *
 * What arrives only marks what changed. The alarm, which comes after all that had arrived, makes the next
 * view of it; so a burst of news is one view. What others may hear only after that is told then. */
#include <stdlib.h>

#include "cluster/cluster_inside.h"
#include "server/check.h"

enum {
    MILLISECOND = 1000,
    PUBLISH_GAP_US = 10 * MILLISECOND, /* and as much again for each hundred members: they cost time */
    RETRY_US = 100 * MILLISECOND,      /* after memory was short */
    SOON_US = 100 * MILLISECOND        /* what is no hurry: a change often follows */
};
#define EPOCH_MOST INT64_MAX

struct cluster_options cluster_lan(void)
{
    return (struct cluster_options){.membership = membership_lan(),
                                    .rules = {GRANULES_DEFAULT, HEADROOM_DEFAULT},
                                    .epoch = 1,
                                    .settle_us = 500 * MILLISECOND,
                                    .alone_us = 2000 * MILLISECOND,
                                    .claim_patience_us = 1000 * MILLISECOND};
}

const char *cluster_cause_name(enum cluster_cause cause)
{
    static const char *const names[] = {"members", "claimed", "yielded", "pulled", "told"};

    return names[cause];
}

/* ---- time ------------------------------------------------------------- */

int64_t cluster_now(const struct cluster *c)
{
    return c->out.now_us(c->out.ctx);
}

int64_t cluster_jitter(const struct cluster *c, int64_t us)
{
    return us * 3 / 4 + (int64_t)(c->out.random(c->out.ctx) % (uint64_t)(us / 2 + 1));
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void cluster_arm(struct cluster *c)
{
    int64_t at = sooner(sooner(c->member_us, c->publish_us), sooner(spread_next_us(c), claims_next_us(c)));

    if (at == c->alarm_us || !c->started)
        return;
    c->alarm_us = at;
    c->out.set_alarm(c->out.ctx, at);
}

static void publish_by(struct cluster *c, int64_t at_us)
{
    int64_t hundreds = (int64_t)(c->state.view->member_count / 100);
    int64_t soonest = c->published_us + PUBLISH_GAP_US * (1 + hundreds);

    c->publish_us = sooner(c->publish_us, at_us > soonest ? at_us : soonest);
    cluster_arm(c);
}

void cluster_changed(struct cluster *c, enum cluster_cause cause, const struct node_id *about)
{
    if (!c->dirty) {
        c->cause = cause;
        c->about_known = about != NULL;
        if (about != NULL)
            c->about = *about;
    }
    c->dirty = true;
    if (c->started)
        publish_by(c, cluster_now(c));
}

void cluster_publish_soon(struct cluster *c)
{
    publish_by(c, cluster_now(c) + SOON_US);
}

/* ---- members ---------------------------------------------------------- */

struct holder cluster_self(const struct cluster *c)
{
    const struct record *self = membership_find(c->members, &c->self, NULL);

    return (struct holder){c->self, self->incarnation >> 16};
}

enum holder_life cluster_life(const struct cluster *c, const struct holder *holder)
{
    const struct record *r = membership_find(c->members, &holder->id, NULL);
    uint64_t boots = r != NULL ? r->incarnation >> 16 : 0;

    if (r == NULL)
        return HOLDER_UNKNOWN;
    if (boots != holder->boots)
        /* A later process than we know of: its record is on its way. But of ourselves we know. */
        return boots > holder->boots || node_id_equals(&r->id, &c->self) ? HOLDER_DEAD : HOLDER_UNKNOWN;
    return r->state <= MEMBER_SUSPECT && !(c->left && node_id_equals(&r->id, &c->self)) ? HOLDER_LIVES
                                                                                        : HOLDER_DEAD;
}

bool cluster_is_calm(const struct cluster *c, int64_t now)
{
    bool alone = membership_live(c->members) == 1 && membership_seeks(c->members);

    return now - c->members_us >= (alone ? c->options.alone_us : c->options.settle_us);
}

void cluster_send(struct cluster *c, const struct node_id *to, struct slice datagram)
{
    const struct record *r = membership_find(c->members, to, NULL);

    if (r != NULL)
        c->out.send_datagram(c->out.ctx, &r->address, datagram);
}

/* ---- views ------------------------------------------------------------ */

static struct view_member member_of(const struct record *r)
{
    struct view_member m = {.id = r->id,
                            .incarnation =
                                r->incarnation >> 16 << 16, /* refutations are no clients' affair */
                            .state = r->weight > 0 ? VIEW_ACTIVE : VIEW_LEAVING,
                            .weight = r->probation > 0 ? 0 : r->weight,
                            .cluster_port = r->address.port,
                            .client_port = r->services.client_port,
                            .port = r->services.port,
                            .memcache_port = r->services.memcache_port,
                            .link_port = r->services.link_port,
                            .zone = r->zone,
                            .hostname = r->services.hostname};

    m.ip_bytes = address_is_v4(&r->address) ? 4 : 16;
    memcpy(m.ip, r->address.ip + 16 - m.ip_bytes, m.ip_bytes);
    return m;
}

static int by_id(const void *a, const void *b)
{
    return node_id_compare(&((const struct view_member *)a)->id, &((const struct view_member *)b)->id);
}

/* Who lives, in the order of ids. False without memory. */
static bool gather_members(struct cluster *c, size_t *count)
{
    uint32_t live = membership_live(c->members) + 1, cursor = 0;
    const struct record *r;

    if (live > c->parts_room) {
        struct view_member *parts = realloc(c->parts, 2 * live * sizeof *parts);
        if (parts == NULL)
            return false;
        c->parts = parts;
        c->parts_room = 2 * live;
    }
    *count = 0;
    while ((r = membership_next(c->members, &cursor)) != NULL) {
        if (r->state > MEMBER_SUSPECT || (c->left && node_id_equals(&r->id, &c->self)))
            continue;
        CHECK(*count < c->parts_room);
        c->parts[(*count)++] = member_of(r);
    }
    qsort(c->parts, *count, sizeof *c->parts, by_id);
    return true;
}

static const struct view *view_with(struct cluster *c, uint64_t epoch)
{
    struct view_parts parts = {.epoch = epoch, .rules = c->options.rules, .holders = c->holders};
    const struct view *view;
    enum view_fault fault;

    if (!gather_members(c, &parts.member_count))
        return NULL;
    parts.members = c->parts;
    memcpy(parts.cluster, c->options.identity, sizeof parts.cluster);
    for (unsigned g = 0; g < c->options.rules.granules; g++) {
        const struct held *held = holders_at(c->table, g);
        struct view_member key = {.id = held->holder.id};
        const struct view_member *m = NULL;

        if (held->version > 0 && cluster_life(c, &held->holder) == HOLDER_LIVES)
            m = bsearch(&key, c->parts, parts.member_count, sizeof key, by_id);
        c->holders[g] = m != NULL ? (uint16_t)(m - c->parts) : NOBODY;
    }
    view = view_new(&parts, &fault);
    CHECK(view != NULL || fault == VIEW_NO_MEMORY);
    return view;
}

bool cluster_owners_alike(const struct view *a, const struct view *b)
{
    for (unsigned g = 0; g < a->rules.granules; g++) {
        uint16_t x = a->owner[g], y = b->owner[g];
        if (x == NOBODY || y == NOBODY ? x != y : !node_id_equals(&a->members[x].id, &b->members[y].id))
            return false;
    }
    return true;
}

static void take_view(struct cluster *c, const struct view *view)
{
    if (c->state.view == NULL || !cluster_owners_alike(c->state.view, view))
        c->owners_us = cluster_now(c);
    view_unpin(&c->state.view);
    c->state.view = view;
    c->state.self = view_find(view, &c->self);
    c->epoch = view->epoch;
    cluster_tell_vitals(c);
}

void cluster_tell_vitals(struct cluster *c)
{
    struct vitals vitals = {.epoch = c->epoch, .table = c->learned ? holders_hash(c->table) : 0};

    membership_tell_vitals(c->members, vitals);
}

static uint64_t highest_epoch(const struct cluster *c)
{
    uint64_t heard = membership_epoch_heard(c->members);

    return heard > c->epoch && heard < EPOCH_MOST ? heard : c->epoch;
}

/* The next view, after taking what is ours by it; of the present epoch if clients could not tell the
 * difference. NULL without memory. */
static const struct view *next_view(struct cluster *c)
{
    uint64_t highest = highest_epoch(c);
    const struct view *view = view_with(c, highest + 1);

    if (view != NULL && claims_take(c, view)) {
        view_unpin(&view);
        view = view_with(c, highest + 1);
    }
    if (view != NULL && view_alike(view, c->state.view)) {
        view_unpin(&view);
        view = highest == c->epoch ? view_pin(c->state.view) : view_with(c, highest);
    }
    return view;
}

static void publish(struct cluster *c)
{
    const struct view *view = next_view(c);
    size_t size = c->options.rules.granules * sizeof *c->source;
    bool same_sources, dirty = c->dirty;
    enum cluster_cause cause = c->cause;

    c->publish_us = NEVER_US;
    if (view == NULL) {
        c->counters.publications_failed++;
        c->published_us = cluster_now(c) + RETRY_US;
        publish_by(c, c->published_us);
        return;
    }
    c->dirty = false;
    claims_sources(c, view);
    same_sources = memcmp(c->source, c->next_source, size) == 0;
    if (view == c->state.view && same_sources) {
        view_unpin(&view);
        claims_seen(c);
        return;
    }
    if (!dirty)
        cause = same_sources ? CLUSTER_TOLD : CLUSTER_PULLED;
    memcpy(c->source, c->next_source, size);
    take_view(c, view);
    c->published_us = cluster_now(c);
    c->counters.publications++;
    c->hooks.publish(c->hooks.owner, &c->state, cause, dirty && c->about_known ? &c->about : NULL);
    claims_seen(c);
}

bool cluster_settled(struct cluster *c)
{
    if (c->dirty)
        publish(c);
    return !c->dirty;
}

/* ---- what happens ----------------------------------------------------- */

/* Most of those that are known, whether they are dead or not, live. */
static bool sees_most(const struct cluster *c)
{
    uint32_t known = 0, cursor = 0;
    const struct record *r;

    while ((r = membership_next(c->members, &cursor)) != NULL)
        known += r->state != MEMBER_LEFT;
    return 2 * membership_live(c->members) > known;
}

/* Only when nothing changes any more: those who were cut off see each other again one by one. */
static void look_around(struct cluster *c, int64_t now)
{
    if (c->cut_off && cluster_is_calm(c, now) && sees_most(c))
        c->cut_off = false;
}

static void on_member(void *owner, enum member_event event, const struct record *record)
{
    struct cluster *c = owner;

    if (c->hooks.changed != NULL)
        c->hooks.changed(c->hooks.owner, event, record);
    switch (event) {
    case MEMBER_JOINED: spread_returned(c, &record->id); break;
    case MEMBER_REVIVED:
        if (!c->cut_off)
            claims_insist(c);
        spread_returned(c, &record->id);
        break;
    case MEMBER_RESTARTED:
    case MEMBER_FAILED:
    case MEMBER_WENT:
    case MEMBER_UPDATED:
    case MEMBER_CONFLICT: break;
    case MEMBER_SUSPECTED:
    case MEMBER_REFUTED:
    case MEMBER_REMOVED: return;
    }
    if (event != MEMBER_UPDATED)
        c->members_us = cluster_now(c);
    c->cut_off = c->cut_off || !sees_most(c);
    cluster_changed(c, CLUSTER_MEMBERS, &record->id);
}

/* The sender has told how it is, perhaps. */
static void look_at_vitals(struct cluster *c, const struct origin *from)
{
    struct vitals theirs;

    if (highest_epoch(c) > c->epoch)
        cluster_publish_soon(c);
    if (membership_find(c->members, &from->id, &theirs) != NULL)
        spread_seen(c, &from->id, theirs.table);
}

/* False when the packet is none; what it says then counts for nothing. */
static bool apply(struct cluster *c, const struct origin *from, uint64_t stream, struct slice packet)
{
    struct holder_message message;

    if (!holder_message_read(packet, c->options.rules.granules, &message)) {
        c->counters.table_packets_bad++;
        return false;
    }
    if (message.type == HOLDER_ENTRIES || message.type == HOLDER_DIGEST)
        spread_message(c, from, stream, &message);
    else
        claims_message(c, from, &message);
    cluster_arm(c);
    return true;
}

static void on_datagram(void *owner, const struct origin *from, struct slice bytes)
{
    struct cluster *c = owner;

    if (holder_message_is(bytes)) {
        if (c->started)
            apply(c, from, 0, bytes);
        return;
    }
    c->member_user.datagram(c->member_user.owner, from, bytes);
    look_at_vitals(c, from);
}

static void on_unreachable(void *owner, const struct address *whom)
{
    struct cluster *c = owner;

    c->member_user.unreachable(c->member_user.owner, whom);
}

static void on_stream_message(void *owner, uint64_t stream, const struct origin *from, struct slice message)
{
    struct cluster *c = owner;

    if (!holder_message_is(message)) {
        c->member_user.stream_message(c->member_user.owner, stream, from, message);
        look_at_vitals(c, from);
    } else if (spread_accepts(c, stream) && !apply(c, from, stream, message)) {
        spread_close(c, stream);
    }
}

static void on_stream_ended(void *owner, uint64_t stream, enum stream_end why)
{
    struct cluster *c = owner;

    spread_ended(c, stream);
    c->member_user.stream_ended(c->member_user.owner, stream, why);
}

static void on_alarm(void *owner)
{
    struct cluster *c = owner;
    int64_t now = cluster_now(c);

    c->alarm_us = NEVER_US;
    if (now >= c->member_us) {
        c->member_us = NEVER_US;
        c->member_user.alarm(c->member_user.owner);
    }
    look_around(c, now);
    claims_decide(c, now);
    if (now >= c->publish_us)
        publish(c);
    if (!c->dirty) {
        claims_tell(c);
        if (c->left)
            membership_leave(c->members);
    }
    spread_decide(c, now);
    cluster_arm(c);
}

struct transport_user cluster_user(struct cluster *c)
{
    return (struct transport_user){c,       on_datagram, on_unreachable, on_stream_message, on_stream_ended,
                                   on_alarm};
}

/* ---- membership's transport: ours, but for the alarm ------------------ */

static void member_send_datagram(void *ctx, const struct address *to, struct slice bytes)
{
    struct cluster *c = ctx;

    c->out.send_datagram(c->out.ctx, to, bytes);
}

static uint64_t member_open_stream(void *ctx, const struct address *to)
{
    struct cluster *c = ctx;

    return c->out.open_stream(c->out.ctx, to);
}

static bool member_send_stream(void *ctx, uint64_t stream, struct slice message)
{
    struct cluster *c = ctx;

    return c->out.send_stream(c->out.ctx, stream, message);
}

static void member_close_stream(void *ctx, uint64_t stream)
{
    struct cluster *c = ctx;

    c->out.close_stream(c->out.ctx, stream);
}

static void member_set_alarm(void *ctx, int64_t at_us)
{
    struct cluster *c = ctx;

    c->member_us = at_us;
    cluster_arm(c);
}

static int64_t member_now_us(void *ctx)
{
    return cluster_now(ctx);
}

static uint64_t member_random_number(void *ctx)
{
    struct cluster *c = ctx;

    return c->out.random(c->out.ctx);
}

/* ---- life ------------------------------------------------------------- */

static bool options_make_sense(const struct cluster_options *o)
{
    return placement_rules_valid(o->rules) && o->settle_us >= 0 && o->alone_us >= 0 &&
           o->claim_patience_us > 0 && o->epoch < EPOCH_MOST / 2;
}

static bool make_room(struct cluster *c)
{
    unsigned granules = c->options.rules.granules;

    return (c->table = holders_new(granules)) != NULL && (c->news = rumours_new()) != NULL &&
           (c->holders = calloc(granules, sizeof *c->holders)) != NULL &&
           (c->source = calloc(granules, sizeof *c->source)) != NULL &&
           (c->next_source = calloc(granules, sizeof *c->next_source)) != NULL &&
           (c->pull = calloc(granules, sizeof *c->pull)) != NULL &&
           (c->given = calloc(granules, sizeof *c->given)) != NULL &&
           (c->tell = calloc(granules, sizeof *c->tell)) != NULL &&
           (c->done = calloc(granules, sizeof *c->done)) != NULL;
}

struct cluster *cluster_new(const struct cluster_options *options, const struct membership_self *self,
                            struct transport out, struct cluster_hooks hooks)
{
    struct membership_self unlearned = *self;
    struct transport seam;
    const struct view *view;
    struct cluster *c;

    if (!options_make_sense(options) || (c = calloc(1, sizeof *c)) == NULL)
        return NULL;
    c->options = *options;
    c->hooks = hooks;
    c->out = out;
    c->self = self->id;
    c->weight = self->weight;
    unlearned.weight = 0;
    c->member_us = c->publish_us = c->alarm_us = NEVER_US;
    c->news_us = c->session_us = c->digest_us = c->ask_us = c->claim_us = c->given_us = NEVER_US;
    c->epoch = options->epoch;
    seam = (struct transport){c,
                              member_send_datagram,
                              member_open_stream,
                              member_send_stream,
                              member_close_stream,
                              member_set_alarm,
                              member_now_us,
                              member_random_number};
    c->members =
        membership_new(&options->membership, &unlearned, seam, (struct membership_hooks){c, on_member});
    if (c->members == NULL || !make_room(c) || (view = view_with(c, c->epoch)) == NULL) {
        cluster_free(&c);
        return NULL;
    }
    c->member_user = membership_user(c->members);
    memset(c->source, 0xff, options->rules.granules * sizeof *c->source); /* NOBODY */
    c->state.source = c->source;
    take_view(c, view);
    return c;
}

void cluster_free(struct cluster **c)
{
    if (*c == NULL)
        return;
    membership_free(&(*c)->members);
    view_unpin(&(*c)->state.view);
    holders_free(&(*c)->table);
    rumours_free(&(*c)->news);
    free((*c)->parts);
    free((*c)->holders);
    free((*c)->source);
    free((*c)->next_source);
    free((*c)->pull);
    free((*c)->given);
    free((*c)->tell);
    free((*c)->done);
    free(*c);
    *c = NULL;
}

void cluster_start(struct cluster *c)
{
    int64_t now = cluster_now(c);

    c->started = true;
    c->members_us = c->owners_us = now;
    c->claimed_us = now - c->options.claim_patience_us;
    c->published_us = c->spread_us = now - PUBLISH_GAP_US;
    membership_start(c->members);
    spread_start(c);
    c->hooks.publish(c->hooks.owner, &c->state, CLUSTER_MEMBERS, NULL);
    if (c->dirty)
        publish_by(c, now);
    cluster_arm(c);
}

struct membership *cluster_membership(struct cluster *c)
{
    return c->members;
}

const struct cluster_state *cluster_state(const struct cluster *c)
{
    return &c->state;
}

const struct cluster_counters *cluster_counters(const struct cluster *c)
{
    return &c->counters;
}

bool cluster_learned(const struct cluster *c)
{
    return c->learned;
}

void cluster_set_weight(struct cluster *c, uint16_t weight)
{
    c->weight = weight;
    if (!c->learned || c->draining || c->left)
        return;
    membership_set_weight(c->members, weight);
    cluster_changed(c, CLUSTER_MEMBERS, &c->self);
}

void cluster_drain(struct cluster *c)
{
    if (c->draining || c->left)
        return;
    c->draining = true;
    membership_set_weight(c->members, 0);
    cluster_changed(c, CLUSTER_MEMBERS, &c->self);
}

void cluster_leave(struct cluster *c)
{
    if (c->left)
        return;
    c->left = true;
    cluster_changed(c, CLUSTER_MEMBERS, &c->self);
}

bool cluster_gone(const struct cluster *c)
{
    return c->left && !c->dirty && membership_gone(c->members);
}

void cluster_check(const struct cluster *c)
{
    const struct view *view = c->state.view;
    struct holder self = cluster_self(c);

    membership_check(c->members);
    holders_check(c->table);
    view_check(view);
    CHECK(view->epoch == c->epoch && c->epoch >= c->options.epoch);
    CHECK(c->state.self == view_find(view, &c->self));
    CHECK(c->session_count <= TABLE_SESSIONS_MAX);
    CHECK(membership_find(c->members, &c->self, NULL)->weight == 0 || c->learned);
    for (unsigned g = 0; g < c->options.rules.granules; g++) {
        const struct held *held = holders_at(c->table, g);
        CHECK(c->pull[g].boots == 0 || holder_equals(&held->holder, &self));
        CHECK(c->given[g].boots == 0 || holder_equals(&held->holder, &c->given[g]));
        /* What is published lags behind what is believed, but only while it is known to. */
        CHECK(c->dirty || c->state.self == NOBODY ||
              holder_equals(&held->holder, &self) == (view->holder[g] == c->state.self));
    }
}
