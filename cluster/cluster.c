/* cluster.c - turns what membership believes into views, and publishes them.
 *
 * What arrives only marks what changed. The alarm, which comes after all that had arrived, makes the next
 * view of it; so a burst of news is one view. */
#include "cluster/cluster.h"

#include <stdlib.h>

#include "server/check.h"

enum {
    MILLISECOND = 1000,
    PUBLISH_GAP_US = 10 * MILLISECOND, /* a view costs the more the more nodes there are */
    RETRY_US = 100 * MILLISECOND,      /* after memory was short */
    ADOPT_US = 100 * MILLISECOND       /* a newer epoch alone is no hurry: a change often follows */
};
#define NEVER_US   INT64_MAX
#define EPOCH_MOST INT64_MAX

struct cluster {
    struct cluster_options options;
    struct cluster_hooks hooks;
    struct transport out;
    struct membership *members;
    struct transport_user member_user;
    struct node_id self;
    uint16_t weight;
    bool started, draining;

    struct cluster_state state;
    uint16_t *source;
    uint64_t epoch;
    /* What the next view is for. */
    bool dirty, about_known;
    enum cluster_cause cause;
    struct node_id about;

    int64_t member_us, publish_us, published_us, alarm_us;
};

struct cluster_options cluster_lan(void)
{
    return (struct cluster_options){.membership = membership_lan(),
                                    .rules = {GRANULES_DEFAULT, HEADROOM_DEFAULT},
                                    .epoch = 1,
                                    .settle_us = 500 * MILLISECOND,
                                    .claim_patience_us = 1000 * MILLISECOND};
}

const char *cluster_cause_name(enum cluster_cause cause)
{
    static const char *const names[] = {"members", "claimed", "yielded", "pulled", "told"};

    return names[cause];
}

/* ---- time ------------------------------------------------------------- */

static int64_t now_us(const struct cluster *c)
{
    return c->out.now_us(c->out.ctx);
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void arm(struct cluster *c)
{
    int64_t at = sooner(c->member_us, c->publish_us);

    if (at == c->alarm_us || at == NEVER_US)
        return;
    c->alarm_us = at;
    c->out.set_alarm(c->out.ctx, at);
}

static void publish_by(struct cluster *c, int64_t at_us)
{
    int64_t soonest = c->published_us + PUBLISH_GAP_US;

    c->publish_us = sooner(c->publish_us, at_us > soonest ? at_us : soonest);
    arm(c);
}

/* Of several reasons the first is told. */
static void changed(struct cluster *c, enum cluster_cause cause, const struct node_id *about)
{
    if (!c->dirty) {
        c->cause = cause;
        c->about_known = about != NULL;
        if (about != NULL)
            c->about = *about;
    }
    c->dirty = true;
    if (c->started)
        publish_by(c, now_us(c));
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

static const struct view *view_of_members(const struct cluster *c, uint64_t epoch)
{
    size_t live = membership_live(c->members), count = 0;
    struct view_member *members = calloc(live + 1, sizeof *members);
    struct view_parts parts = {.epoch = epoch, .rules = c->options.rules, .members = members};
    const struct view *view = NULL;
    const struct record *r;
    enum view_fault fault;
    uint32_t cursor = 0;

    if (members == NULL)
        return NULL;
    memcpy(parts.cluster, c->options.identity, sizeof parts.cluster);
    while ((r = membership_next(c->members, &cursor)) != NULL)
        if (r->state <= MEMBER_SUSPECT) {
            CHECK(count < live);
            members[count++] = member_of(r);
        }
    parts.member_count = count;
    view = view_new(&parts, &fault);
    CHECK(view != NULL || fault == VIEW_NO_MEMORY);
    free(members);
    return view;
}

static void take_view(struct cluster *c, const struct view *view)
{
    view_unpin(&c->state.view);
    c->state.view = view;
    c->state.self = view_find(view, &c->self);
    for (unsigned g = 0; g < c->options.rules.granules; g++)
        c->source[g] = NOBODY;
    c->epoch = view->epoch;
    membership_tell_vitals(c->members, (struct vitals){.epoch = c->epoch});
}

/* The next epoch if clients could see the difference; the same one otherwise, or the highest heard of. */
static void publish(struct cluster *c)
{
    uint64_t heard = membership_epoch_heard(c->members);
    uint64_t highest = heard > c->epoch && heard < EPOCH_MOST ? heard : c->epoch;
    const struct view *view = view_of_members(c, highest + 1);
    bool alike = view != NULL && view_alike(view, c->state.view);

    if (alike) {
        view_unpin(&view);
        view = highest > c->epoch ? view_of_members(c, highest) : NULL;
    }
    c->publish_us = NEVER_US;
    if (view == NULL && !(alike && highest == c->epoch)) {
        publish_by(c, now_us(c) + RETRY_US);
        return;
    }
    c->dirty = false;
    if (view == NULL)
        return;
    take_view(c, view);
    c->published_us = now_us(c);
    c->hooks.publish(c->hooks.owner, &c->state, alike ? CLUSTER_TOLD : c->cause,
                     !alike && c->about_known ? &c->about : NULL);
}

/* ---- what happens ----------------------------------------------------- */

static void on_member(void *owner, enum member_event event, const struct record *record)
{
    struct cluster *c = owner;

    if (c->hooks.changed != NULL)
        c->hooks.changed(c->hooks.owner, event, record);
    switch (event) {
    case MEMBER_JOINED:
    case MEMBER_RESTARTED:
    case MEMBER_UPDATED:
    case MEMBER_FAILED:
    case MEMBER_REVIVED:
    case MEMBER_WENT: changed(c, CLUSTER_MEMBERS, &record->id); return;
    case MEMBER_SUSPECTED:
    case MEMBER_REFUTED:
    case MEMBER_REMOVED:
    case MEMBER_CONFLICT: return;
    }
    CHECK_UNREACHABLE();
}

static void look_at_epochs(struct cluster *c)
{
    uint64_t heard = membership_epoch_heard(c->members);

    if (heard > c->epoch && heard < EPOCH_MOST)
        publish_by(c, now_us(c) + ADOPT_US);
}

static void on_datagram(void *owner, const struct origin *from, struct slice bytes)
{
    struct cluster *c = owner;

    c->member_user.datagram(c->member_user.owner, from, bytes);
    look_at_epochs(c);
}

static void on_unreachable(void *owner, const struct address *whom)
{
    struct cluster *c = owner;

    c->member_user.unreachable(c->member_user.owner, whom);
}

static void on_stream_message(void *owner, uint64_t stream, const struct origin *from, struct slice message)
{
    struct cluster *c = owner;

    c->member_user.stream_message(c->member_user.owner, stream, from, message);
    look_at_epochs(c);
}

static void on_stream_ended(void *owner, uint64_t stream, enum stream_end why)
{
    struct cluster *c = owner;

    c->member_user.stream_ended(c->member_user.owner, stream, why);
}

static void on_alarm(void *owner)
{
    struct cluster *c = owner;

    c->alarm_us = NEVER_US;
    if (now_us(c) >= c->member_us) {
        c->member_us = NEVER_US;
        c->member_user.alarm(c->member_user.owner);
    }
    if (now_us(c) >= c->publish_us)
        publish(c);
    arm(c);
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
    arm(c);
}

static int64_t member_now_us(void *ctx)
{
    return now_us(ctx);
}

static uint64_t member_random_number(void *ctx)
{
    struct cluster *c = ctx;

    return c->out.random(c->out.ctx);
}

/* ---- life ------------------------------------------------------------- */

struct cluster *cluster_new(const struct cluster_options *options, const struct membership_self *self,
                            struct transport out, struct cluster_hooks hooks)
{
    struct cluster *c;
    struct transport seam;
    const struct view *view;

    if (!placement_rules_valid(options->rules) || options->settle_us < 0 || options->claim_patience_us <= 0 ||
        (c = calloc(1, sizeof *c)) == NULL)
        return NULL;
    c->options = *options;
    c->hooks = hooks;
    c->out = out;
    c->self = self->id;
    c->weight = self->weight;
    c->member_us = c->publish_us = c->alarm_us = NEVER_US;
    c->epoch = options->epoch;
    seam = (struct transport){c,
                              member_send_datagram,
                              member_open_stream,
                              member_send_stream,
                              member_close_stream,
                              member_set_alarm,
                              member_now_us,
                              member_random_number};
    c->source = calloc(options->rules.granules, sizeof *c->source);
    c->members = membership_new(&options->membership, self, seam, (struct membership_hooks){c, on_member});
    if (c->source == NULL || c->members == NULL || (view = view_of_members(c, c->epoch)) == NULL) {
        cluster_free(&c);
        return NULL;
    }
    c->member_user = membership_user(c->members);
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
    free((*c)->source);
    free(*c);
    *c = NULL;
}

void cluster_start(struct cluster *c)
{
    c->started = true;
    c->published_us = now_us(c) - PUBLISH_GAP_US;
    membership_start(c->members);
    c->hooks.publish(c->hooks.owner, &c->state, CLUSTER_MEMBERS, NULL);
    if (c->dirty)
        publish_by(c, now_us(c));
    arm(c);
}

struct membership *cluster_membership(struct cluster *c)
{
    return c->members;
}

const struct cluster_state *cluster_state(const struct cluster *c)
{
    return &c->state;
}

void cluster_drain(struct cluster *c)
{
    if (c->draining)
        return;
    c->draining = true;
    cluster_leave(c);
}

void cluster_leave(struct cluster *c)
{
    membership_leave(c->members);
    changed(c, CLUSTER_MEMBERS, &c->self);
}

bool cluster_gone(const struct cluster *c)
{
    return membership_gone(c->members);
}

void cluster_pulled(struct cluster *c, uint16_t granule)
{
    CHECK(granule < c->options.rules.granules);
}

uint32_t cluster_pulled_from(const struct cluster *c)
{
    (void)c;
    return 0;
}

void cluster_check(const struct cluster *c)
{
    membership_check(c->members);
    view_check(c->state.view);
    CHECK(c->state.view->epoch == c->epoch && c->epoch >= c->options.epoch);
    CHECK(c->state.self == view_find(c->state.view, &c->self));
}
