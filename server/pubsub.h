/* pubsub.h - who wants to hear what is published where.
 *
 * One registry for all workers behind one lock: publishing reads it, and sends
 * the letters while it holds it, so a subscription that is answered gets
 * everything published later, one that is cancelled nothing, and the number
 * PUBLISH returns is the number of copies sent. Both how many subscriptions a
 * client may have and what all of them may take are limited. */
#ifndef CORRAL_PUBSUB_H
#define CORRAL_PUBSUB_H

#include "server/exec.h"

enum pubsub_kind { PUBSUB_CHANNEL, PUBSUB_PATTERN, PUBSUB_SHARD, PUBSUB_KINDS };

struct pubsub;
struct push;
struct subscription;

/* NULL when memory is short. */
struct pubsub *pubsub_new(void);
void pubsub_free(struct pubsub **pubsub);

/* The client of x hears of `name` from now on; once, however often it asks. False: there are too many. */
bool pubsub_subscribe(struct exec *x, struct push *push, enum pubsub_kind kind, struct slice name);
void pubsub_unsubscribe(struct server *server, struct push *push, enum pubsub_kind kind, struct slice name);
/* Cancels one subscription of that kind, whichever, and appends its name. False: none is left. */
bool pubsub_unsubscribe_any(struct server *server, struct push *push, enum pubsub_kind kind,
                            struct out *name);
void pubsub_unsubscribe_all(struct server *server, struct push *push);

/* To the subscribers of a channel (and of patterns that match it) or of a shard channel: how many. */
size_t pubsub_publish(struct exec *x, enum pubsub_kind kind, struct slice name, struct slice payload);

/* How many names have subscribers, and how many a name has. */
size_t pubsub_names(struct pubsub *pubsub, enum pubsub_kind kind);
size_t pubsub_subscribers(struct pubsub *pubsub, enum pubsub_kind kind, struct slice name);
/* Clients with a subscription of any kind. */
size_t pubsub_clients(const struct pubsub *pubsub);
/* Calls back with all names that match the pattern, under the lock. */
void pubsub_each(struct pubsub *pubsub, enum pubsub_kind kind, struct slice pattern,
                 void (*visit)(void *arg, struct slice name), void *arg);

#endif
