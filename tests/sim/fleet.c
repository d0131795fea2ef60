#include "tests/sim/fleet.h"

#include <stdio.h>
#include <stdlib.h>

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

void fleet_run(struct fleet *f, int64_t us)
{
    const int64_t step = 10 * FLEET_MS;

    for (; us > 0; us -= step) {
        world_run(f->world, us < step ? us : step);
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

unsigned fleet_doubled(const struct fleet *f)
{
    unsigned doubled = 0;

    for (unsigned g = 0; g < granules_of(f); g++) {
        unsigned servers = 0;
        for (unsigned i = 0; i < f->count; i++)
            servers += fleet_serves(f, i, g);
        doubled += servers > 1;
    }
    return doubled;
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
    const struct view *first = NULL;
    unsigned running = 0;

    for (unsigned i = 0; i < f->count; i++)
        running += fleet_runs(f, i);
    for (unsigned i = 0; i < f->count; i++) {
        const struct cluster_state *state = fleet_runs(f, i) ? cluster_state(f->nodes[i].cluster) : NULL;
        if (state == NULL)
            continue;
        if (state->view->member_count != running || state->view->override_count != 0)
            return false;
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
