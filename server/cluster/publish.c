/* publish.c - from what the control plane says to what workers act by, and to the log. */
#include <stdio.h>
#include <time.h>

#include "server/cluster/control_inside.h"
#include "server/cluster/handover.h"
#include "server/cluster/routes.h"
#include "server/cluster/scope.h"
#include "server/log.h"

/* ---- routes ---- */

static void fill_slots(struct routes *r)
{
    const struct view *view = r->view;

    r->alone = true;
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        uint16_t holder = view->slot_holder[slot];

        r->holder[slot] = holder == r->self && holder != NOBODY ? ROUTE_HERE : holder;
        r->alone &= r->holder[slot] == ROUTE_HERE;
    }
}

static void fill_sources(struct routes *r, const uint16_t *source)
{
    for (unsigned granule = 0; granule < r->view->rules.granules; granule++) {
        r->source[granule] = source[granule];
        r->pulls |= source[granule] != NOBODY;
    }
}

static struct routes *make_routes(const struct cluster_state *state)
{
    struct routes *r = routes_new(state->view, state->self);
    const struct routes *half = r;

    if (r == NULL)
        return NULL;
    if ((r->description = describe_new(r->view, r->self)) == NULL) {
        routes_unpin(&half);
        return NULL;
    }
    fill_slots(r);
    fill_sources(r, state->source);
    return r;
}

/* Whoever publishes goes by it that all of us act by it, so there is no going on without. */
static struct routes *make_routes_at_last(const struct cluster_state *state)
{
    static const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    struct routes *r;

    for (bool said = false; (r = make_routes(state)) == NULL; said = true) {
        if (!said)
            log_event(LOG_LEVEL_WARNING, "cluster_waits_for_memory", "epoch=%llu",
                      (unsigned long long)state->view->epoch);
        nanosleep(&pause, NULL);
    }
    return r;
}

static void count_moves(const struct routes *before, const struct routes *now, unsigned *here,
                        unsigned *gained, unsigned *lost)
{
    *here = *gained = *lost = 0;
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        bool was = before != NULL && before->holder[slot] == ROUTE_HERE;
        bool is = now->holder[slot] == ROUTE_HERE;

        *here += is;
        *gained += is && !was;
        *lost += was && !is;
    }
}

static void log_placement(const struct routes *before, const struct routes *now, enum cluster_cause cause,
                          const struct node_id *about)
{
    char id[NODE_ID_TEXT + 1] = "-";
    unsigned here, gained, lost;

    if (about != NULL) {
        node_id_to_text(about, id);
        id[NODE_ID_TEXT] = '\0';
    }
    count_moves(before, now, &here, &gained, &lost);
    log_event(LOG_LEVEL_NOTICE, "placement",
              "epoch=%llu cause=%s node=%s members=%zu slots_here=%u slots_gained=%u slots_lost=%u",
              (unsigned long long)now->view->epoch, cluster_cause_name(cause), id, now->view->member_count,
              here, gained, lost);
}

void publish_routes(void *owner, const struct cluster_state *state, enum cluster_cause cause,
                    const struct node_id *about)
{
    struct control *c = owner;
    const struct routes *before = routes_pin_current(c->server);
    struct routes *r = make_routes_at_last(state);

    if (before != NULL && before->view->epoch == r->view->epoch)
        r->since = before->since;
    log_placement(before, r, cause, about);
    handover_before(c->server, c->local, before, r);
    routes_publish(c->server, r);   /* only this thread replaces them, so these are there until the next */
    server_wake_workers(c->server); /* requests may be waiting for these */
    handover_after(c->server, before, r);
    if (before != NULL)
        scope_lost_slots(c->server, before, r);
    routes_unpin(&before);
}

/* ---- the log ---- */

void publish_log_member(enum member_event event, const struct record *record)
{
    char name[32], id[NODE_ID_TEXT + 1] = "", address[ADDRESS_TEXT_MAX];
    enum log_level level =
        event == MEMBER_FAILED || event == MEMBER_CONFLICT ? LOG_LEVEL_WARNING : LOG_LEVEL_NOTICE;

    if (!log_wanted(level))
        return;
    snprintf(name, sizeof name, "member_%s", member_event_name(event));
    node_id_to_text(&record->id, id);
    address_print(&record->address, address);
    log_event(level, name, "node=%s addr=%s state=%s incarnation=%llu weight=%u probation=%u zone=%s", id,
              address, member_state_name(record->state), (unsigned long long)record->incarnation,
              record->weight, record->probation, record->zone);
}
