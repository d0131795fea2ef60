/* cluster.c - CLUSTER: who is there, and who has which slots.
 *
 * Of a cluster of several it tells what the control plane has published. A
 * node that is alone has all slots, and is told by the address that the client
 * has reached, as it knows no better. Without cluster-enabled, as redis:
 * clients such as StackExchange.Redis ask CLUSTER NODES of everybody, and take
 * an answer as a reason to allow one database and one slot per request only. */
#include <inttypes.h>
#include <stdio.h>

#include "cluster/slot.h"
#include "server/cluster/control.h"
#include "server/cluster/report.h"
#include "server/cluster/routes.h"
#include "server/cluster/state_file.h"
#include "server/cluster/whereabouts.h"
#include "server/check.h"
#include "server/command/command.h"
#include "server/command/walk.h"
#include "server/log.h"
#include "server/worker.h"

static bool is_enabled(struct exec *x)
{
    if (option_live(x->options, cluster_enabled))
        return true;
    reply_error(x, "ERR This instance has cluster support disabled");
    return false;
}

/* By which this batch acts, when there is anybody else; or NULL. */
static const struct routes *several(struct exec *x)
{
    const struct routes *r = x->worker->routes.routes;

    return routes_of_several(r) ? r : NULL;
}

static void describe(struct exec *x, const struct describe_reply *reply)
{
    struct slice bytes = x->session->resp == 3 ? reply->resp3 : reply->resp2;

    reply_raw(x, bytes.data, bytes.len);
}

/* Without a control plane, the id of this run has to do. */
static void own_id(struct exec *x, char id[NODE_ID_TEXT + 1])
{
    if (x->server->control != NULL)
        node_id_to_text(control_self(x->server->control), id);
    else
        memcpy(id, x->server->run_id, NODE_ID_TEXT);
    id[NODE_ID_TEXT] = '\0';
}

/* ---- a cluster of one ---- */

struct place {
    char host[OPTION_VALUE_MAX];
    int port;
};

/* As told by the operator, else the address this client has reached us at; "" on a Unix socket. */
static struct place place_of(struct exec *x)
{
    const char *local = x->session->local_address, *end = strrchr(local, ':');
    struct place place = {.port = option_live(x->options, cluster_announce_port)};
    int len = end != NULL && local[0] != '/' ? (int)(end - local) : 0;

    if (place.port == 0 && x->server->control != NULL)
        place.port = whereabouts_client_port(x->options);
    if (place.port == 0)
        place.port = x->options->port;
    if (len > 2 && local[0] == '[') { /* [::1]:6379 */
        local++;
        len -= 2;
    }
    pthread_mutex_lock(&x->server->options_lock);
    snprintf(place.host, sizeof place.host, "%s", x->options->cluster_announce_ip);
    pthread_mutex_unlock(&x->server->options_lock);
    if (place.host[0] == '\0')
        snprintf(place.host, sizeof place.host, "%.*s", len, local);
    return place;
}

static void slots_of_one(struct exec *x)
{
    struct place place = place_of(x);
    char id[NODE_ID_TEXT + 1];

    own_id(x, id);
    reply_array(x, 1);
    reply_array(x, 3);
    reply_integer(x, 0);
    reply_integer(x, SLOTS - 1);
    reply_array(x, 4);
    reply_text(x, place.host);
    reply_integer(x, place.port);
    reply_text(x, id);
    reply_array(x, 0); /* other names of it */
}

static void shards_of_one(struct exec *x)
{
    struct place place = place_of(x);
    char id[NODE_ID_TEXT + 1];

    own_id(x, id);
    reply_array(x, 1);
    reply_map(x, 2);
    reply_text(x, "slots");
    reply_array(x, 2);
    reply_integer(x, 0);
    reply_integer(x, SLOTS - 1);
    reply_text(x, "nodes");
    reply_array(x, 1);
    reply_map(x, 7);
    reply_text(x, "id");
    reply_text(x, id);
    reply_text(x, "port");
    reply_integer(x, place.port);
    reply_text(x, "ip");
    reply_text(x, place.host);
    reply_text(x, "endpoint");
    reply_text(x, place.host);
    reply_text(x, "role");
    reply_text(x, "master");
    reply_text(x, "replication-offset");
    reply_integer(x, 0);
    reply_text(x, "health");
    reply_text(x, "online");
}

/* Without a control plane there is no port for other nodes: @0. */
static void nodes_of_one(struct exec *x)
{
    struct place place = place_of(x);
    const struct routes *r = x->worker->routes.routes;
    char line[OPTION_VALUE_MAX + 160], id[NODE_ID_TEXT + 1];
    int len;

    own_id(x, id);
    len = snprintf(line, sizeof line, "%s %s:%d@%d myself,master - 0 0 %" PRIu64 " connected 0-%d\n", id,
                   place.host, place.port, x->server->control != NULL ? x->options->cluster_port : 0,
                   r != NULL ? r->view->epoch : 0, SLOTS - 1);
    reply_verbatim(x, (struct slice){(const uint8_t *)line, (size_t)len});
}

/* ---- who is there ---- */

static void cluster_slots(struct exec *x, struct request *rq)
{
    const struct routes *r = several(x);

    (void)rq;
    if (r != NULL)
        describe(x, &r->description->slots);
    else
        slots_of_one(x);
}

static void cluster_shards(struct exec *x, struct request *rq)
{
    const struct routes *r = several(x);

    (void)rq;
    if (r != NULL)
        describe(x, &r->description->shards);
    else
        shards_of_one(x);
}

static void cluster_nodes(struct exec *x, struct request *rq)
{
    const struct routes *r = several(x);

    (void)rq;
    if (r != NULL)
        describe(x, &r->description->nodes);
    else
        nodes_of_one(x);
}

/* How many slots are served, and by how many nodes. */
static void count_served(const struct routes *r, unsigned *slots, unsigned *nodes)
{
    *slots = *nodes = 0;
    for (unsigned slot = 0; slot < SLOTS; slot++)
        *slots += r->holder[slot] != ROUTE_NOBODY;
    for (size_t i = 0; i < r->view->member_count; i++) {
        unsigned g = 0;

        while (g < r->view->rules.granules && r->view->holder[g] != i)
            g++;
        *nodes += g < r->view->rules.granules;
    }
}

static void cluster_info(struct exec *x, struct request *rq)
{
    const struct routes *r = x->worker->routes.routes;
    struct control_status status = {.members = {1}};
    unsigned slots = SLOTS, nodes = 1;
    uint64_t epoch = r != NULL ? r->view->epoch : 0;
    char text[1024];
    int len;

    (void)rq;
    if (r != NULL) {
        control_status(x->server->control, &status);
        count_served(r, &slots, &nodes);
    }
    len =
        snprintf(text, sizeof text,
                 "cluster_state:%s\r\ncluster_slots_assigned:%u\r\ncluster_slots_ok:%u\r\n"
                 "cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:%u\r\n"
                 "cluster_size:%u\r\ncluster_current_epoch:%" PRIu64 "\r\ncluster_my_epoch:%" PRIu64 "\r\n"
                 "cluster_stats_messages_sent:%" PRIu64 "\r\ncluster_stats_messages_received:%" PRIu64 "\r\n"
                 "total_cluster_links_buffer_limit_exceeded:0\r\n",
                 slots == SLOTS ? "ok" : "fail", slots, slots,
                 status.members[MEMBER_ALIVE] + status.members[MEMBER_SUSPECT] + status.members[MEMBER_DEAD],
                 nodes, epoch, epoch, status.transport.datagrams_out, status.transport.datagrams_in);
    reply_verbatim(x, (struct slice){(const uint8_t *)text, (size_t)len});
}

static void cluster_myid(struct exec *x, struct request *rq)
{
    char id[NODE_ID_TEXT + 1];

    (void)rq;
    own_id(x, id);
    reply_text(x, id);
}

/* Redis has two links to each other node; what ours carry is in INFO cluster. */
static void cluster_links(struct exec *x, struct request *rq)
{
    (void)rq;
    reply_array(x, 0);
}

/* Nobody has any. */
static void cluster_replicas(struct exec *x, struct request *rq)
{
    const struct routes *r = several(x);
    char own[NODE_ID_TEXT + 1];
    struct node_id id;

    own_id(x, own);
    if (slice_equals(rq->argv[2], slice_of(own)) ||
        (r != NULL && node_id_from_text(rq->argv[2], &id) && view_find(r->view, &id) != NOBODY))
        reply_array(x, 0);
    else
        reply_error(x, "ERR Unknown node %.*s", EXEC_QUOTED(rq->argv[2]));
}

/* ---- who is to be there ---- */

static bool has_control(struct exec *x)
{
    if (x->server->control != NULL)
        return true;
    reply_error(x, "ERR this node was not started with cluster-enabled yes: it takes part in a cluster from "
                   "its next start on");
    return false;
}

static void reply_answer(struct exec *x, enum control_answer answer, struct slice node)
{
    switch (answer) {
    case CONTROL_DONE: reply_ok(x); return;
    case CONTROL_BUSY: reply_error(x, "ERR too much is being asked of the control plane: try again"); return;
    case CONTROL_UNKNOWN: reply_error(x, "ERR Unknown node %.*s", EXEC_QUOTED(node)); return;
    case CONTROL_ALIVE:
        reply_error(
            x, "ERR node %.*s is there: stop it, or let it go with CLUSTER DRAIN, before it is forgotten",
            EXEC_QUOTED(node));
        return;
    case CONTROL_SELF: reply_error(x, "ERR I tried hard but I can't forget myself..."); return;
    }
    CHECK_UNREACHABLE();
}

/* CLUSTER MEET host port [cluster-port]: what redis calls its port says nothing of ours, so without the
 * third the other's cluster-port is taken to be the same as here. */
static void cluster_meet(struct exec *x, struct request *rq)
{
    char host[SEED_TEXT_MAX], seed[SEED_TEXT_MAX];
    int64_t port, bus = x->options->cluster_port;

    if (!has_control(x))
        return;
    if (rq->argc > 5) {
        reply_syntax_error(x);
        return;
    }
    if (!slice_to_i64(rq->argv[3], &port) || port < 0 || port > 65535) {
        reply_error(x, "ERR Invalid base port specified: %.*s", EXEC_QUOTED(rq->argv[3]));
        return;
    }
    if (rq->argc == 5 && (!slice_to_i64(rq->argv[4], &bus) || bus < 1 || bus > 65535)) {
        reply_error(x, "ERR Invalid bus port specified: %.*s", EXEC_QUOTED(rq->argv[4]));
        return;
    }
    if (rq->argv[2].len >= sizeof host - 2 || memchr(rq->argv[2].data, '\0', rq->argv[2].len) != NULL) {
        reply_error(x, "ERR Invalid node address specified");
        return;
    }
    /* An IPv6 address is in brackets where a port follows it. */
    snprintf(host, sizeof host, memchr(rq->argv[2].data, ':', rq->argv[2].len) != NULL ? "[%.*s]" : "%.*s",
             (int)rq->argv[2].len, (const char *)rq->argv[2].data);
    if (!whereabouts_seed(host, (int)bus, seed))
        reply_error(x, "ERR Invalid node address specified: %.*s", EXEC_QUOTED(rq->argv[2]));
    else
        reply_answer(x, control_meet(x->server->control, seed), rq->argv[2]);
}

static void cluster_forget(struct exec *x, struct request *rq)
{
    struct node_id id;

    if (!has_control(x))
        return;
    reply_answer(
        x, node_id_from_text(rq->argv[2], &id) ? control_forget(x->server->control, &id) : CONTROL_UNKNOWN,
        rq->argv[2]);
}

/* Ours: what SIGTERM does, for whoever is not on this machine. */
static void cluster_drain_node(struct exec *x, struct request *rq)
{
    (void)rq;
    if (!has_control(x))
        return;
    if (control_drains(x->server->control)) {
        reply_ok(x);
    } else if (control_drain(x->server->control)) {
        log_event(LOG_LEVEL_NOTICE, "stopping", "command=cluster|drain addr=%s", x->session->address);
        reply_ok(x);
    } else {
        reply_error(
            x, "ERR there is no other node, or no time (cluster-drain-timeout): SHUTDOWN stops this one");
    }
}

/* ---- slots and their keys ---- */

static void cluster_keyslot(struct exec *x, struct request *rq)
{
    reply_integer(x, slot_of_key(rq->argv[2]));
}

struct slot_walk {
    struct walk walk;
    unsigned slot;
    bool list;
    int64_t most;
};

static void visit(struct walk *walk, const struct scan_item *item)
{
    struct slot_walk *of = (struct slot_walk *)walk;

    if (walk->count >= of->most || slot_of_key(item->key) != of->slot)
        return;
    if (of->list)
        walk_list(walk, item->key);
    else
        walk->count++;
}

static bool has_enough(const struct walk *walk)
{
    return walk->count >= ((const struct slot_walk *)walk)->most;
}

static void answer(struct exec *x, struct walk *walk)
{
    if (!((struct slot_walk *)walk)->list) {
        reply_integer(x, walk->count);
        return;
    }
    reply_array(x, (size_t)walk->count);
    walk_reply_listed(x, walk);
}

/* Nothing remembers which keys a slot has: all keys are gone through, as by KEYS. */
static void walk_slot(struct exec *x, int64_t slot, bool list, int64_t most)
{
    static const struct walk_kind kind = {.visit = visit, .has_enough = has_enough, .answer = answer};
    struct slot_walk *of = walk_new(x, sizeof *of, &kind);

    if (of == NULL)
        return;
    of->slot = (unsigned)slot;
    of->list = list;
    of->most = most;
    walk_run(x, &of->walk);
}

static void cluster_countkeysinslot(struct exec *x, struct request *rq)
{
    int64_t slot;

    if (!slice_to_i64(rq->argv[2], &slot)) {
        reply_not_integer(x);
    } else if (slot < 0 || slot >= SLOTS) {
        reply_error(x, "ERR Invalid slot");
    } else {
        walk_slot(x, slot, false, INT64_MAX);
    }
}

static void cluster_getkeysinslot(struct exec *x, struct request *rq)
{
    int64_t slot, most;

    if (!slice_to_i64(rq->argv[2], &slot) || !slice_to_i64(rq->argv[3], &most)) {
        reply_not_integer(x);
    } else if (slot < 0 || slot >= SLOTS || most < 0) {
        reply_error(x, "ERR Invalid slot or number of keys");
    } else {
        walk_slot(x, slot, true, most);
    }
}

/* ---- the verbs ---- */

static const struct subcommand cluster_subcommands[] = {
    {"countkeysinslot", "cluster|countkeysinslot", 3, cluster_countkeysinslot},
    {"drain", "cluster|drain", 2, cluster_drain_node},
    {"forget", "cluster|forget", 3, cluster_forget},
    {"getkeysinslot", "cluster|getkeysinslot", 4, cluster_getkeysinslot},
    {"info", "cluster|info", 2, cluster_info},
    {"keyslot", "cluster|keyslot", 3, cluster_keyslot},
    {"links", "cluster|links", 2, cluster_links},
    {"meet", "cluster|meet", -4, cluster_meet},
    {"myid", "cluster|myid", 2, cluster_myid},
    {"myshardid", "cluster|myshardid", 2, cluster_myid},
    {"nodes", "cluster|nodes", 2, cluster_nodes},
    {"replicas", "cluster|replicas", 3, cluster_replicas},
    {"shards", "cluster|shards", 2, cluster_shards},
    {"slaves", "cluster|slaves", 3, cluster_replicas},
    {"slots", "cluster|slots", 2, cluster_slots},
    {0},
};

static const char *const cluster_help[] = {
    "COUNTKEYSINSLOT <slot>",
    "    How many keys of a slot lie on this node; goes through all its keys.",
    "DRAIN",
    "    Hands over all that this node has to the others, and then stops it.",
    "FORGET <node-id>",
    "    Removes a node that failed or left.",
    "GETKEYSINSLOT <slot> <count>",
    "    Some of those keys; goes through all keys.",
    "INFO",
    "    The state of the cluster.",
    "KEYSLOT <key>",
    "    The slot of a key.",
    "LINKS",
    "    Nothing: what links to other nodes carry is in INFO cluster.",
    "MEET <host> <port> [<cluster-port>]",
    "    Looks for a cluster there from now on; the port itself does not matter.",
    "MYID",
    "    This node's id.",
    "MYSHARDID",
    "    The same.",
    "NODES",
    "    All nodes, a line for each.",
    "REPLICAS <node-id>",
    "    Replicas of a node: none.",
    "SHARDS",
    "    All nodes, and which slots each has.",
    "SLAVES <node-id>",
    "    As REPLICAS.",
    "SLOTS",
    "    The same, by slots.",
    NULL,
};

void cmd_cluster(struct exec *x, struct request *rq)
{
    static const struct command_family family = {"CLUSTER", "cluster|help", cluster_subcommands,
                                                 cluster_help};

    if (command_family_asked(x) || slice_is(rq->argv[1], "help") || is_enabled(x))
        command_family_run(x, rq, &family);
}

/* READONLY, READWRITE, ASKING: nobody is a replica, no slot is on its way. */
void cmd_cluster_mode(struct exec *x, struct request *rq)
{
    (void)rq;
    if (is_enabled(x))
        reply_ok(x);
}
