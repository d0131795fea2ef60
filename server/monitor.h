/* monitor.h - MONITOR: who watches every request.
 *
 * Requests are looked at only while SERVER_MONITORED is set. A word longer
 * than MONITOR_WORD_MAX is cut short, and so is a line that is longer than
 * MONITOR_LINE_MAX after a word; both say by how much. */
#ifndef CORRAL_MONITOR_H
#define CORRAL_MONITOR_H

#include "server/command/command.h"
#include "server/exec.h"

enum { MONITOR_WORD_MAX = 64 * 1024, MONITOR_LINE_MAX = 1024 * 1024 };

struct monitors;

struct monitors *monitors_new(void);
void monitors_free(struct monitors **monitors);

/* False when memory is short. */
bool monitor_start(struct server *server, struct session *session);
void monitor_stop(struct server *server, struct session *session);

/* A request was executed. command NULL: a memcached one. */
void monitor_feed(struct exec *x, const struct command *command, const struct request *rq);

#endif
