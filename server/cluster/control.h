/* control.h - this node's part in its cluster: a thread that runs cluster/ over real sockets, publishes
 * routes to the workers, keeps the state file, and says in the log what has changed, and why.
 *
 * Rules: (1) cluster/ belongs to that thread; others leave letters in its box, and read what it has
 * published. (2) A node that is alone is a cluster of one. (3) Before it stops, a node hands over what it
 * holds to the others, within cluster-drain-timeout, and says goodbye. (4) A state file that cannot be read
 * or written never stops the node. */
#ifndef CORRAL_CONTROL_H
#define CORRAL_CONTROL_H

#include "cluster/cluster.h"
#include "cluster/real_transport.h"
#include "server/server.h"

/* Opens cluster-port, reads the files. Without cluster-enabled it does nothing, and server->control stays
 * NULL. False: err says what to do. */
bool control_open(struct server *server, char *err, size_t err_len);
/* Publishes the first routes and starts the thread; before any client is let in. */
bool control_start(struct server *server);
/* Says goodbye, if that has not been done yet, and ends the thread; when workers have ended. */
void control_stop(struct server *server);
void control_free(struct server *server);

/* ---- for any thread, while there is a control ---- */

const struct node_id *control_self(const struct control *control);
const struct cluster_identity *control_identity(const struct control *control);
/* For the handshakes of data links; see secrets.h. */
struct secrets *control_secrets(const struct control *control);

enum control_answer {
    CONTROL_DONE,
    CONTROL_BUSY,    /* too many letters wait */
    CONTROL_UNKNOWN, /* no such node */
    CONTROL_ALIVE,   /* it is there, so there is nothing to forget */
    CONTROL_SELF     /* that is this node */
};
/* Looks for a cluster at "host:port" from now on, in addition to cluster-seeds. */
enum control_answer control_meet(struct control *control, const char *seed);
/* Removes a node that failed or left from all that this one knows. */
enum control_answer control_forget(struct control *control, const struct node_id *id);
/* SIGHUP: cluster-secret-file may have changed. */
void control_reload(struct control *control);

/* Hands all granules over; then, or when cluster-drain-timeout is over, the node stops. False, and nothing
 * begins, when there is nobody to hand over to, or no time. */
bool control_drain(struct control *control);
bool control_drains(const struct control *control);
/* Goodbye at once: what the node held is lost. */
void control_leave(struct control *control);

/* The data links' part of the evidence: a reply came, the port is dead; see member.h. Dropped when too much
 * of it waits. */
void control_vouch(struct control *control, const struct node_id *id);
void control_link_refused(struct control *control, const struct node_id *id);
/* The data plane has all of that granule from its source; see cluster.h. */
void control_pulled(struct control *control, uint16_t granule);

/* ---- figures ---- */

/* Who is known, and not (or perhaps not) there. */
enum { CONTROL_ABSENT_MAX = 16 };
struct control_absent {
    struct node_id id;
    struct address address;
    enum member_state state;
};

struct control_status {
    uint32_t members[4];  /* by enum member_state, this node included */
    unsigned health;      /* membership_health() */
    uint32_t pulled_from; /* granules that others still fetch items of from here */
    bool draining, gone;
    uint64_t letters_dropped;
    uint64_t placements; /* routes published */
    bool learned;        /* cluster_learned() */
    struct control_absent absent[CONTROL_ABSENT_MAX];
    size_t absent_count; /* of the first so many */
    struct cluster_counters cluster;
    struct membership_counters membership;
    struct real_counters transport;
};
/* As of a moment ago. */
void control_status(struct control *control, struct control_status *out);

#endif
