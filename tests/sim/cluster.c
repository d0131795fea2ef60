#include "tests/sim/cluster.h"

#include <stdio.h>
#include <stdlib.h>

#include "cluster/member_inside.h"
#include "server/check.h"

static void on_change(void *owner, enum member_event event, const struct record *record)
{
    struct cluster *c = owner;
    unsigned node = 0;

    for (int i = 12; i < 16; i++)
        node = node << 8 | record->address.ip[i];
    c->events[event]++;
    if (event == MEMBER_FAILED)
        c->failed[node]++;
    if (c->trace && event != MEMBER_JOINED)
        printf("# %10.3f s node %u %s, incarnation %llx\n", (double)world_now_us(c->world) / SECOND, node,
               member_event_name(event), (unsigned long long)record->incarnation);
}

struct cluster *cluster_new(unsigned nodes, uint64_t seed)
{
    struct cluster *c = calloc(1, sizeof *c);

    CHECK(c != NULL);
    c->world = world_new(nodes, seed);
    c->count = nodes;
    c->options = membership_lan();
    c->nodes = calloc(nodes, sizeof *c->nodes);
    c->boots = calloc(nodes, sizeof *c->boots);
    c->failed = calloc(nodes, sizeof *c->failed);
    CHECK(c->nodes != NULL && c->boots != NULL && c->failed != NULL);
    return c;
}

void cluster_free(struct cluster **c)
{
    if (*c == NULL)
        return;
    for (unsigned i = 0; i < (*c)->count; i++)
        membership_free(&(*c)->nodes[i]);
    world_free(&(*c)->world);
    free((*c)->nodes);
    free((*c)->boots);
    free((*c)->failed);
    free(*c);
    *c = NULL;
}

static struct membership *birth(struct cluster *c, unsigned node)
{
    struct membership_self self = {.id = world_id(c->world, node),
                                   .boots = ++c->boots[node],
                                   .address = world_address(node),
                                   .weight = 100};
    struct membership_hooks hooks = {c, on_change};
    struct address seeds[3] = {world_address(0), world_address(1), world_address(2)};

    CHECK(c->nodes[node] == NULL);
    self.zone[0] = (char)('a' + node % 3);
    c->nodes[node] = membership_new(&c->options, &self, world_transport(c->world, node), hooks);
    CHECK(c->nodes[node] != NULL);
    membership_seeds(c->nodes[node], seeds, c->count < 3 ? c->count : 3);
    world_boot(c->world, node, membership_user(c->nodes[node]));
    membership_start(c->nodes[node]);
    return c->nodes[node];
}

void cluster_start(struct cluster *c, unsigned node)
{
    birth(c, node);
}

void cluster_start_acquainted(struct cluster *c)
{
    for (unsigned i = 0; i < c->count; i++)
        birth(c, i);
    for (unsigned i = 0; i < c->count; i++) {
        struct membership *m = c->nodes[i];
        m->in_bulk = true;
        for (unsigned j = 0; j < c->count; j++)
            if (j != i) {
                struct record other = roster_at(c->nodes[j]->roster, SELF)->record;
                records_told(m, &other, NULL, true, &other.id);
            }
        m->in_bulk = false;
        rumours_drop(m->rumours, SELF);
        member_arm(m);
    }
    for (unsigned i = 0; i <= MEMBER_CONFLICT; i++)
        c->events[i] = 0;
}

void cluster_kill(struct cluster *c, unsigned node)
{
    world_end(c->world, node);
    membership_free(&c->nodes[node]);
}

void cluster_run(struct cluster *c, int64_t us)
{
    world_run(c->world, us);
}

int cluster_belief(const struct cluster *c, unsigned a, unsigned b)
{
    struct node_id id = world_id(c->world, b);
    const struct record *record = membership_find(c->nodes[a], &id, NULL);

    return record == NULL ? -1 : record->state;
}

unsigned cluster_believers(const struct cluster *c, unsigned b, int state)
{
    unsigned count = 0;

    for (unsigned a = 0; a < c->count; a++)
        count += a != b && c->nodes[a] != NULL && cluster_belief(c, a, b) == state;
    return count;
}

/* Counting first is what makes this cheap while there is no agreement. */
bool cluster_agrees(const struct cluster *c)
{
    unsigned running = 0;

    for (unsigned i = 0; i < c->count; i++)
        running += c->nodes[i] != NULL;
    for (unsigned i = 0; i < c->count; i++)
        if (c->nodes[i] != NULL && membership_live(c->nodes[i]) != running)
            return false;
    for (unsigned i = 0; i < c->count; i++)
        for (unsigned j = 0; c->nodes[i] != NULL && j < c->count; j++)
            if (c->nodes[j] != NULL && cluster_belief(c, i, j) != MEMBER_ALIVE)
                return false;
    return true;
}

int64_t cluster_until(struct cluster *c, bool (*so)(const struct cluster *, unsigned), unsigned about,
                      int64_t step_us, int64_t most_us)
{
    for (int64_t us = 0; us <= most_us; us += step_us) {
        if (so(c, about))
            return us;
        cluster_run(c, step_us);
    }
    return -1;
}

bool cluster_knows_dead(const struct cluster *c, unsigned node)
{
    for (unsigned a = 0; a < c->count; a++)
        if (a != node && c->nodes[a] != NULL && cluster_belief(c, a, node) < MEMBER_DEAD)
            return false;
    return true;
}

bool cluster_knows_alive(const struct cluster *c, unsigned node)
{
    for (unsigned a = 0; a < c->count; a++)
        if (a != node && c->nodes[a] != NULL && cluster_belief(c, a, node) != MEMBER_ALIVE)
            return false;
    return true;
}

bool cluster_all_agree(const struct cluster *c, unsigned unused)
{
    (void)unused;
    return cluster_agrees(c);
}

void cluster_check(const struct cluster *c)
{
    for (unsigned i = 0; i < c->count; i++)
        if (c->nodes[i] != NULL)
            membership_check(c->nodes[i]);
}
