#include "server/cluster/report.h"

#include <stdio.h>
#include <string.h>

#include "server/check.h"
#include "server/cluster/control.h"
#include "server/cluster/routes.h"

/* Counters of workers that are about other nodes; counters.def says what they count. */
static const char *const prefixes[] = {"link_", "call_", "forward_", "gather_", "redirect_", "handover_"};

struct sheet {
    struct cluster_figure *figures;
    size_t len;
};

static void put(struct sheet *sheet, const char *name, uint64_t value)
{
    CHECK(sheet->len < CLUSTER_FIGURES_MAX);
    sheet->figures[sheet->len++] = (struct cluster_figure){name, value};
}

static unsigned granules_held(const struct routes *r, unsigned *pulling)
{
    unsigned held = 0;

    *pulling = 0;
    for (unsigned g = 0; g < r->view->rules.granules; g++) {
        if (r->holder[g * (SLOTS / r->view->rules.granules)] != ROUTE_HERE)
            continue;
        held++;
        *pulling += r->source[g] != NOBODY;
    }
    return held;
}

static void put_view(struct sheet *sheet, const struct routes *r)
{
    unsigned pulling, held = granules_held(r, &pulling);

    put(sheet, "epoch", r->view->epoch);
    put(sheet, "view_members", r->view->member_count);
    put(sheet, "granules", r->view->rules.granules);
    put(sheet, "granules_held", held);
    put(sheet, "granules_pulling", pulling);
}

static void put_status(struct sheet *sheet, const struct control_status *s)
{
    put(sheet, "granules_pulled_from", s->pulled_from);
    put(sheet, "draining", s->draining);
    put(sheet, "health", s->health);
    put(sheet, "members_alive", s->members[MEMBER_ALIVE]);
    put(sheet, "members_suspect", s->members[MEMBER_SUSPECT]);
    put(sheet, "members_dead", s->members[MEMBER_DEAD]);
    put(sheet, "members_left", s->members[MEMBER_LEFT]);
    put(sheet, "placements", s->placements);
    put(sheet, "letters_dropped", s->letters_dropped);
    put(sheet, "learned", s->learned);
#define X(name, help) put(sheet, #name, s->cluster.name);
    CLUSTER_COUNTERS(X)
#undef X
#define X(name, help) put(sheet, #name, s->membership.name);
    MEMBERSHIP_COUNTERS(X)
#undef X
#define X(name, help) put(sheet, "transport_" #name, s->transport.name);
    REAL_COUNTERS(X)
#undef X
    put(sheet, "refused_short", s->transport.refused[FRAME_SHORT]);
    put(sheet, "refused_other_version", s->transport.refused[FRAME_OTHER_VERSION]);
    put(sheet, "refused_unknown_key", s->transport.refused[FRAME_UNKNOWN_KEY]);
    put(sheet, "refused_forged", s->transport.refused[FRAME_FORGED]);
    put(sheet, "refused_replayed", s->transport.refused[FRAME_REPLAYED]);
}

static void put_counters(struct sheet *sheet, const struct counters *counters)
{
    for (size_t i = 0; i < counters_count(); i++) {
        for (size_t p = 0; p < sizeof prefixes / sizeof *prefixes; p++) {
            if (strncmp(counters_name(i), prefixes[p], strlen(prefixes[p])) == 0)
                put(sheet, counters_name(i), counters_value(counters, i));
        }
    }
}

size_t cluster_figures(struct server *server, const struct counters *counters,
                       struct cluster_figure figures[CLUSTER_FIGURES_MAX])
{
    const struct routes *routes = routes_pin_current(server);
    struct sheet sheet = {figures, 0};
    struct control_status status;

    if (server->control == NULL || routes == NULL) {
        routes_unpin(&routes);
        return 0;
    }
    control_status(server->control, &status);
    put_view(&sheet, routes);
    put_status(&sheet, &status);
    put_counters(&sheet, counters);
    routes_unpin(&routes);
    return sheet.len;
}

bool cluster_absent_line(struct server *server, size_t i, char *line, size_t len)
{
    char id[NODE_ID_TEXT + 1] = "", address[ADDRESS_TEXT_MAX];
    struct control_status status;

    if (server->control == NULL)
        return false;
    control_status(server->control, &status);
    if (i >= status.absent_count)
        return false;
    node_id_to_text(&status.absent[i].id, id);
    address_print(&status.absent[i].address, address);
    snprintf(line, len, "node=%s,addr=%s,state=%s", id, address, member_state_name(status.absent[i].state));
    return true;
}

bool cluster_is_whole(struct server *server)
{
    const struct routes *routes = routes_pin_current(server);
    bool whole = routes != NULL;

    for (unsigned slot = 0; whole && slot < SLOTS; slot++)
        whole = routes->holder[slot] != ROUTE_NOBODY;
    routes_unpin(&routes);
    return whole;
}
