/* sim_fleet.c - stories about who serves what. The figures have their names (T1 ..) from docs/CLUSTER.md. */
#include "tests/sim/fleet.h"
#include "tests/sim/sim.h"

static bool views_follow_members(uint64_t seed)
{
    struct fleet *f = fleet_new(5, seed);

    for (unsigned i = 0; i < 5; i++)
        fleet_start(f, i);
    EXPECT(fleet_until_agreed(f, FLEET_MS, 10 * FLEET_SECOND) >= 0);
    fleet_kill(f, 3);
    EXPECT(fleet_until_agreed(f, FLEET_MS, 10 * FLEET_SECOND) >= 0);
    fleet_start(f, 3);
    EXPECT(fleet_until_agreed(f, FLEET_MS, 10 * FLEET_SECOND) >= 0);
    cluster_leave(f->nodes[2].cluster);
    while (!cluster_gone(f->nodes[2].cluster))
        fleet_run(f, FLEET_MS);
    fleet_kill(f, 2);
    EXPECT(fleet_until_agreed(f, FLEET_MS, 10 * FLEET_SECOND) >= 0);
    EXPECT(f->epoch_fell == 0);
    fleet_check(f);
    fleet_free(&f);
    return true;
}

const struct story fleet_stories[] = {
    {"views", views_follow_members, false, "all who live have the same view of who is there"},
    {NULL, NULL, false, NULL},
};
