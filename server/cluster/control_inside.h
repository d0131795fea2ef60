/* control_inside.h - what control.c, mailbox.c and publish.c share. */
#ifndef CORRAL_CONTROL_INSIDE_H
#define CORRAL_CONTROL_INSIDE_H

#include "server/cluster/control.h"
#include "server/cluster/secrets.h"
#include "server/cluster/state_file.h"
#include "server/cluster/whereabouts.h"

enum letter_kind {
    LETTER_MEET,
    LETTER_FORGET,
    LETTER_RELOAD,
    LETTER_DRAIN,
    LETTER_LEAVE,
    LETTER_VOUCH,
    LETTER_LINK_REFUSED,
    LETTER_STOP
};
struct letter {
    enum letter_kind kind;
    struct node_id id;
    char seed[SEED_TEXT_MAX];
};

enum {
    LETTERS_MAX = 128,
    LETTERS_KEPT = 16, /* for what operators want; evidence has to do with the rest */
    SEEDS_MAX = 48,
    MET_MAX = 16 /* of CLUSTER MEET: the oldest make room */
};

struct known {
    struct node_id id;
    uint8_t state; /* enum member_state */
};

struct control {
    struct server *server;
    pthread_t thread;
    bool running;
    struct whereabouts place;
    struct cluster_identity identity;
    struct node_id self;
    struct secrets *secrets;
    struct real_transport *transport;
    struct cluster *cluster;

    /* The thread's alone. */
    struct state state; /* what the state file says, or would */
    bool state_dirty;
    int64_t state_due_ms;
    struct state_writer *writer; /* NULL: no state file, or one that may not be overwritten */
    char seeds[SEEDS_MAX + MET_MAX][SEED_TEXT_MAX]; /* those of the options, then those met */
    size_t seed_count, met_count;
    struct address found[SEEDS_MAX + MET_MAX]; /* what those are now */
    size_t found_count;
    int64_t drain_until_ms; /* 0: no drain is under way */
    bool stop, left, members_changed, seeds_changed;
    int64_t next_status_ms;

    /* The box, under `lock`; so is the status. */
    pthread_mutex_t lock;
    int eventfd;
    struct letter letters[LETTERS_MAX];
    size_t letter_count;
    _Atomic uint64_t pulled[GRANULES_MAX / 64];
    _Atomic bool draining;
    _Atomic uint64_t letters_dropped;
    struct control_status status;
    struct known *known; /* who there is, for FORGET */
    size_t known_count;
};

/* mailbox.c */
bool mailbox_open(struct control *control);
void mailbox_close(struct control *control);
/* False: too many wait. */
bool mailbox_put(struct control *control, const struct letter *letter);
/* Takes all out; how many. */
size_t mailbox_take(struct control *control, struct letter letters[LETTERS_MAX]);
/* Who there is, and the figures: what other threads see from now on. */
void mailbox_show_members(struct control *control);
void mailbox_show_figures(struct control *control);

/* publish.c: a hook of cluster.h, and what the log is told of members. */
void publish_routes(void *owner, const struct cluster_state *state, enum cluster_cause cause,
                    const struct node_id *about);
void publish_log_member(enum member_event event, const struct record *record);

#endif
