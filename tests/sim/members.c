#include "tests/sim/members.h"

#include <stdio.h>
#include <stdlib.h>

#include "cluster/member_inside.h"
#include "server/check.h"

static void on_change(void *owner, enum member_event event, const struct record *record)
{
    struct members *c = owner;
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

struct members *members_new(unsigned nodes, uint64_t seed)
{
    struct members *c = calloc(1, sizeof *c);

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

void members_free(struct members **c)
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

static struct membership *birth(struct members *c, unsigned node)
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

void members_start(struct members *c, unsigned node)
{
    birth(c, node);
}

void members_start_acquainted(struct members *c)
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

void members_kill(struct members *c, unsigned node)
{
    world_end(c->world, node);
    membership_free(&c->nodes[node]);
}

void members_run(struct members *c, int64_t us)
{
    world_run(c->world, us);
}

int members_belief(const struct members *c, unsigned a, unsigned b)
{
    struct node_id id = world_id(c->world, b);
    const struct record *record = membership_find(c->nodes[a], &id, NULL);

    return record == NULL ? -1 : record->state;
}

unsigned members_believers(const struct members *c, unsigned b, int state)
{
    unsigned count = 0;

    for (unsigned a = 0; a < c->count; a++)
        count += a != b && c->nodes[a] != NULL && members_belief(c, a, b) == state;
    return count;
}

/* Counting first is what makes this cheap while there is no agreement. */
bool members_agrees(const struct members *c)
{
    unsigned running = 0;

    for (unsigned i = 0; i < c->count; i++)
        running += c->nodes[i] != NULL;
    for (unsigned i = 0; i < c->count; i++)
        if (c->nodes[i] != NULL && membership_live(c->nodes[i]) != running)
            return false;
    for (unsigned i = 0; i < c->count; i++)
        for (unsigned j = 0; c->nodes[i] != NULL && j < c->count; j++)
            if (c->nodes[j] != NULL && members_belief(c, i, j) != MEMBER_ALIVE)
                return false;
    return true;
}

int64_t members_until(struct members *c, bool (*so)(const struct members *, unsigned), unsigned about,
                      int64_t step_us, int64_t most_us)
{
    for (int64_t us = 0; us <= most_us; us += step_us) {
        if (so(c, about))
            return us;
        members_run(c, step_us);
    }
    return -1;
}

bool members_knows_dead(const struct members *c, unsigned node)
{
    for (unsigned a = 0; a < c->count; a++)
        if (a != node && c->nodes[a] != NULL && members_belief(c, a, node) < MEMBER_DEAD)
            return false;
    return true;
}

bool members_knows_alive(const struct members *c, unsigned node)
{
    for (unsigned a = 0; a < c->count; a++)
        if (a != node && c->nodes[a] != NULL && members_belief(c, a, node) != MEMBER_ALIVE)
            return false;
    return true;
}

bool members_all_agree(const struct members *c, unsigned unused)
{
    (void)unused;
    return members_agrees(c);
}

void members_check(const struct members *c)
{
    for (unsigned i = 0; i < c->count; i++)
        if (c->nodes[i] != NULL)
            membership_check(c->nodes[i]);
}
