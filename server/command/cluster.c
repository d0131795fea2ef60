/* cluster.c - CLUSTER, for a cluster of one: this node has all slots.
 *
 * With cluster-enabled yes, cluster-aware clients find here what they look
 * for; everything else stays as it is, the numbered databases included. With
 * no, as redis: clients such as StackExchange.Redis ask CLUSTER NODES of
 * everybody, and take an answer as a reason to allow one database and one slot
 * per request only. */
#include <stdio.h>

#include "cluster/slot.h"
#include "server/command/command.h"
#include "server/command/walk.h"
#include "server/server.h"

static bool is_enabled(struct exec *x)
{
    if (option_live(x->options, cluster_enabled))
        return true;
    reply_error(x, "ERR This instance has cluster support disabled");
    return false;
}

/* ---- where we are ---- */

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

static void cluster_slots(struct exec *x, struct request *rq)
{
    struct place place = place_of(x);

    (void)rq;
    reply_array(x, 1);
    reply_array(x, 3);
    reply_integer(x, 0);
    reply_integer(x, SLOTS - 1);
    reply_array(x, 4);
    reply_text(x, place.host);
    reply_integer(x, place.port);
    reply_text(x, x->server->run_id);
    reply_array(x, 0); /* other names of it */
}

static void cluster_shards(struct exec *x, struct request *rq)
{
    struct place place = place_of(x);

    (void)rq;
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
    reply_text(x, x->server->run_id);
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

/* There is no port for other nodes: @0. */
static void cluster_nodes(struct exec *x, struct request *rq)
{
    struct place place = place_of(x);
    char line[OPTION_VALUE_MAX + 160];
    int len = snprintf(line, sizeof line, "%s %s:%d@0 myself,master - 0 0 0 connected 0-%d\n",
                       x->server->run_id, place.host, place.port, SLOTS - 1);

    (void)rq;
    reply_verbatim(x, (struct slice){(const uint8_t *)line, (size_t)len});
}

static void cluster_info(struct exec *x, struct request *rq)
{
    (void)rq;
    reply_verbatim(x, slice_of("cluster_state:ok\r\n"
                               "cluster_slots_assigned:16384\r\n"
                               "cluster_slots_ok:16384\r\n"
                               "cluster_slots_pfail:0\r\n"
                               "cluster_slots_fail:0\r\n"
                               "cluster_known_nodes:1\r\n"
                               "cluster_size:1\r\n"
                               "cluster_current_epoch:0\r\n"
                               "cluster_my_epoch:0\r\n"
                               "cluster_stats_messages_sent:0\r\n"
                               "cluster_stats_messages_received:0\r\n"
                               "total_cluster_links_buffer_limit_exceeded:0\r\n"));
}

static void cluster_myid(struct exec *x, struct request *rq)
{
    (void)rq;
    reply_text(x, x->server->run_id);
}

/* Links to other nodes, of whom there are none. */
static void cluster_links(struct exec *x, struct request *rq)
{
    (void)rq;
    reply_array(x, 0);
}

/* Our own replicas: none; and of others we know nothing. */
static void cluster_replicas(struct exec *x, struct request *rq)
{
    if (slice_equals(rq->argv[2], slice_of(x->server->run_id)))
        reply_array(x, 0);
    else
        reply_error(x, "ERR Unknown node %.*s", EXEC_QUOTED(rq->argv[2]));
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
    {"getkeysinslot", "cluster|getkeysinslot", 4, cluster_getkeysinslot},
    {"info", "cluster|info", 2, cluster_info},
    {"keyslot", "cluster|keyslot", 3, cluster_keyslot},
    {"links", "cluster|links", 2, cluster_links},
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
    "    How many keys lie in a slot; goes through all keys.",
    "GETKEYSINSLOT <slot> <count>",
    "    Some keys of a slot; goes through all keys.",
    "INFO",
    "    The state of the cluster, which is this node.",
    "KEYSLOT <key>",
    "    The slot of a key.",
    "LINKS",
    "    Connections to other nodes: none.",
    "MYID",
    "    This node's id, new with every start.",
    "MYSHARDID",
    "    The same.",
    "NODES",
    "    This node, as a line.",
    "REPLICAS <node-id>",
    "    Replicas of this node: none.",
    "SHARDS",
    "    This node, and that it has all slots.",
    "SLAVES <node-id>",
    "    As REPLICAS.",
    "SLOTS",
    "    The same, in the older form.",
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
