#include "tests/sim/fleet.h"

#include <stdio.h>
#include <stdlib.h>

#include "cluster/cluster_inside.h"
#include "cluster/member_inside.h"
#include "server/check.h"

static unsigned granules_of(const struct fleet *f)
{
    return f->options.rules.granules;
}

static void on_publish(void *owner, const struct cluster_state *state, enum cluster_cause cause,
                       const struct node_id *about)
{
    struct fleet_node *n = owner;
    struct fleet *f = n->fleet;
    int64_t now = world_now_us(f->world), takes = 0;

    (void)about;
    if (f->publish_us > 0)
        takes = (int64_t)(world_random(f->world) % (uint64_t)f->publish_us);
    view_check(state->view);
    f->epoch_fell += state->view->epoch < n->epoch;
    n->epoch = state->view->epoch;
    n->publications++;
    n->pulls = 0;
    for (unsigned g = 0; g < granules_of(f); g++) {
        bool serves = state->self != NOBODY && state->view->holder[g] == state->self;
        if (n->serves[g] && !serves)
            n->serves_until[g] = now + takes;
        n->serves[g] = serves;
        if (state->source[g] == NOBODY)
            n->pulls_until[g] = 0;
        else if (n->pulls_until[g] == 0)
            n->pulls_until[g] = now + 1 + (int64_t)(world_random(f->world) % (uint64_t)f->pull_us);
        n->pulls += n->pulls_until[g] > 0;
    }
    if (f->trace)
        printf("# %10.6f s node %u publishes epoch %llu: %zu members, %zu overrides, serves %u, %s\n",
               (double)now / 1e6, n->index, (unsigned long long)n->epoch, state->view->member_count,
               state->view->override_count, fleet_share(f, n->index), cluster_cause_name(cause));
    world_stall(f->world, n->index, takes);
}

static void on_change(void *owner, enum member_event event, const struct record *record)
{
    struct fleet_node *n = owner;
    struct fleet *f = n->fleet;

    f->events[event]++;
    if (f->trace)
        printf("# %10.6f s node %u: %02x%02x weight %u %s\n", (double)world_now_us(f->world) / 1e6, n->index,
               record->id.bytes[0], record->id.bytes[1], record->weight, member_event_name(event));
}

struct fleet *fleet_new(unsigned nodes, uint64_t seed)
{
    struct fleet *f = calloc(1, sizeof *f);

    CHECK(f != NULL);
    f->world = world_new(nodes, seed);
    f->count = nodes;
    f->options = cluster_lan();
    f->publish_us = 2 * FLEET_MS;
    f->pull_us = 500 * FLEET_MS;
    f->step_us = 10 * FLEET_MS;
    f->watches = true;
    f->apart_us = calloc((size_t)nodes * nodes, sizeof *f->apart_us);
    f->unserved_us = calloc(GRANULES_MAX, sizeof *f->unserved_us);
    CHECK(f->apart_us != NULL && f->unserved_us != NULL);
    f->nodes = calloc(nodes, sizeof *f->nodes);
    CHECK(f->nodes != NULL);
    for (unsigned i = 0; i < nodes; i++)
        f->nodes[i] = (struct fleet_node){.fleet = f,
                                          .index = i,
                                          .weight = 100,
                                          .serves = calloc(GRANULES_MAX, sizeof(bool)),
                                          .serves_until = calloc(GRANULES_MAX, sizeof(int64_t)),
                                          .pulls_until = calloc(GRANULES_MAX, sizeof(int64_t))};
    return f;
}

void fleet_free(struct fleet **f)
{
    if (*f == NULL)
        return;
    for (unsigned i = 0; i < (*f)->count; i++) {
        cluster_free(&(*f)->nodes[i].cluster);
        free((*f)->nodes[i].serves);
        free((*f)->nodes[i].serves_until);
        free((*f)->nodes[i].pulls_until);
    }
    world_free(&(*f)->world);
    free((*f)->nodes);
    free((*f)->apart_us);
    free((*f)->unserved_us);
    free(*f);
    *f = NULL;
}

void fleet_start(struct fleet *f, unsigned node)
{
    struct fleet_node *n = &f->nodes[node];
    struct membership_self self = {.id = world_id(f->world, node),
                                   .boots = ++n->boots,
                                   .address = world_address(node),
                                   .weight = n->weight,
                                   .services = {6379, 16379, 11211, 7947, "node"}};
    struct cluster_hooks hooks = {n, on_publish, on_change};
    struct address seeds[3] = {world_address(0), world_address(1), world_address(2)};

    CHECK(n->cluster == NULL);
    self.zone[0] = (char)('a' + node % 3);
    n->cluster = cluster_new(&f->options, &self, world_transport(f->world, node), hooks);
    CHECK(n->cluster != NULL);
    n->epoch = 0;
    membership_seeds(cluster_membership(n->cluster), seeds, f->count < 3 ? f->count : 3);
    world_boot(f->world, node, cluster_user(n->cluster));
    cluster_start(n->cluster);
}

static void meet(struct membership *m, const struct fleet *f, unsigned self)
{
    m->in_bulk = true;
    for (unsigned j = 0; j < f->count; j++) {
        struct record other = roster_at(cluster_membership(f->nodes[j].cluster)->roster, SELF)->record;
        if (j != self)
            records_told(m, &other, NULL, true, &other.id);
    }
    m->in_bulk = false;
    rumours_drop(m->rumours, SELF);
}

void fleet_start_acquainted(struct fleet *f)
{
    const struct view *view;

    for (unsigned i = 0; i < f->count; i++)
        fleet_start(f, i);
    for (unsigned i = 0; i < f->count; i++) {
        f->nodes[i].cluster->learned = true;
        membership_set_weight(cluster_membership(f->nodes[i].cluster), f->nodes[i].weight);
    }
    for (unsigned i = 0; i < f->count; i++)
        meet(cluster_membership(f->nodes[i].cluster), f, i);
    /* The first makes a view, to see who owns what; then all believe that the owners hold it. */
    CHECK(cluster_settled(f->nodes[0].cluster));
    view = view_pin(f->nodes[0].cluster->state.view);
    for (unsigned i = 0; i < f->count; i++) {
        struct cluster *c = f->nodes[i].cluster;
        for (unsigned g = 0; g < granules_of(f); g++) {
            const struct view_member *m = &view->members[view->owner[g]];
            holders_merge(c->table, g, &(struct held){1, {m->id, m->incarnation >> 16}, {{{0}}, 0}});
        }
        cluster_changed(c, CLUSTER_MEMBERS, NULL);
        CHECK(cluster_settled(c));
    }
    view_unpin(&view);
    fleet_run(f, FLEET_SECOND);
    fleet_forgive(f);
    for (unsigned i = 0; i <= MEMBER_CONFLICT; i++)
        f->events[i] = 0;
}

void fleet_kill(struct fleet *f, unsigned node)
{
    struct fleet_node *n = &f->nodes[node];

    world_end(f->world, node);
    cluster_free(&n->cluster);
    n->pulls = 0;
    for (unsigned g = 0; g < granules_of(f); g++) {
        n->serves[g] = false;
        n->serves_until[g] = n->pulls_until[g] = 0;
    }
}

/* The data plane of a node that does not hang tells what it has pulled. */
static void pull(struct fleet *f, struct fleet_node *n)
{
    for (unsigned g = 0; g < granules_of(f); g++)
        if (n->pulls_until[g] > 0 && n->pulls_until[g] <= world_now_us(f->world))
            cluster_pulled(n->cluster, (uint16_t)g);
}

static bool holds_for_alive(const struct fleet *f, unsigned a, unsigned b)
{
    struct node_id id = world_id(f->world, b);
    const struct record *r = membership_find(cluster_membership(f->nodes[a].cluster), &id, NULL);

    return r != NULL && r->state == MEMBER_ALIVE && r->incarnation >> 16 == f->nodes[b].boots;
}

static void watch_pairs(struct fleet *f, int64_t now)
{
    for (unsigned a = 0; a < f->count; a++)
        for (unsigned b = a + 1; b < f->count; b++)
            if (!fleet_runs(f, a) || !fleet_runs(f, b) || !world_reaches(f->world, a, b) ||
                !world_reaches(f->world, b, a) || !holds_for_alive(f, a, b) || !holds_for_alive(f, b, a))
                f->apart_us[a * f->count + b] = now;
}

static void watch_pair(struct fleet *f, int64_t now, unsigned a, unsigned b, unsigned g)
{
    int64_t together = now - f->apart_us[a * f->count + b];

    f->doubled++;
    if (together <= f->doubled_worst_us)
        return;
    f->doubled_worst_us = together;
    if (f->trace)
        printf("# %10.6f s granule %u is served by %u and %u, who hear each other since %.3f s\n",
               (double)now / 1e6, g, a, b, (double)together / 1e6);
}

static void watch(struct fleet *f)
{
    int64_t now = world_now_us(f->world);

    watch_pairs(f, now);
    for (unsigned g = 0; g < granules_of(f); g++) {
        unsigned first = f->count;
        for (unsigned i = 0; i < f->count; i++) {
            if (!fleet_serves(f, i, g))
                continue;
            if (first < f->count)
                watch_pair(f, now, first, i, g);
            first = i;
        }
        if (first < f->count)
            f->unserved_us[g] = 0;
        else if (f->unserved_us[g] == 0)
            f->unserved_us[g] = now;
        else if (now - f->unserved_us[g] > f->unserved_worst_us)
            f->unserved_worst_us = now - f->unserved_us[g];
    }
}

void fleet_forgive(struct fleet *f)
{
    f->doubled = 0;
    f->doubled_worst_us = f->unserved_worst_us = 0;
    for (unsigned g = 0; g < granules_of(f); g++)
        f->unserved_us[g] = 0;
}

void fleet_run(struct fleet *f, int64_t us)
{
    const int64_t step = f->step_us;

    for (; us > 0; us -= step) {
        world_run(f->world, us < step ? us : step);
        if (f->watches)
            watch(f);
        for (unsigned i = 0; i < f->count; i++)
            if (fleet_runs(f, i) && f->nodes[i].pulls > 0)
                pull(f, &f->nodes[i]);
    }
}

bool fleet_runs(const struct fleet *f, unsigned node)
{
    return f->nodes[node].cluster != NULL;
}

bool fleet_serves(const struct fleet *f, unsigned node, unsigned granule)
{
    const struct fleet_node *n = &f->nodes[node];

    return n->serves[granule] || n->serves_until[granule] > world_now_us(f->world);
}

unsigned fleet_unserved(const struct fleet *f)
{
    unsigned unserved = 0;

    for (unsigned g = 0; g < granules_of(f); g++) {
        unsigned servers = 0;
        for (unsigned i = 0; i < f->count; i++)
            servers += fleet_serves(f, i, g);
        unserved += servers == 0;
    }
    return unserved;
}

/* `index` says which node a member is. */
bool fleet_routes(const struct fleet *f, unsigned node)
{
    const struct view *view = cluster_state(f->nodes[node].cluster)->view;
    uint16_t index[VIEW_MEMBERS_MAX];
    bool good = true;

    memset(index, 0xff, sizeof index);
    for (unsigned i = 0; i < f->count; i++) {
        struct node_id id = world_id(f->world, i);
        uint16_t member = view_find(view, &id);
        if (member != NOBODY)
            index[member] = (uint16_t)i;
    }
    for (unsigned g = 0; good && g < granules_of(f); g++)
        good = view->holder[g] != NOBODY && index[view->holder[g]] != NOBODY &&
               f->nodes[index[view->holder[g]]].serves[g];
    return good;
}

unsigned fleet_share(const struct fleet *f, unsigned node)
{
    unsigned share = 0;

    for (unsigned g = 0; g < granules_of(f); g++)
        share += f->nodes[node].serves[g];
    return share;
}

bool fleet_agrees(const struct fleet *f)
{
    uint64_t table[HOLDERS_BUCKETS], ours[HOLDERS_BUCKETS];
    const struct view *first = NULL;
    unsigned running = 0;

    for (unsigned i = 0; i < f->count; i++)
        running += fleet_runs(f, i);
    for (unsigned i = 0; i < f->count; i++) {
        const struct cluster_state *state = fleet_runs(f, i) ? cluster_state(f->nodes[i].cluster) : NULL;
        if (state == NULL)
            continue;
        if (state->view->member_count != running || state->view->override_count != 0 ||
            state->view->owner[0] == NOBODY || f->nodes[i].pulls > 0 ||
            cluster_pulled_from(f->nodes[i].cluster) > 0)
            return false;
        holders_digest(f->nodes[i].cluster->table, ours);
        if (first != NULL && memcmp(ours, table, sizeof ours) != 0)
            return false;
        memcpy(table, ours, sizeof ours);
        if (first != NULL && first->hash != state->view->hash)
            return false;
        first = state->view;
    }
    return true;
}

int64_t fleet_until_agreed(struct fleet *f, int64_t step_us, int64_t most_us)
{
    for (int64_t us = 0; us <= most_us; us += step_us) {
        if (fleet_agrees(f))
            return us;
        fleet_run(f, step_us);
    }
    return -1;
}

void fleet_check(const struct fleet *f)
{
    for (unsigned i = 0; i < f->count; i++)
        if (fleet_runs(f, i))
            cluster_check(f->nodes[i].cluster);
}
