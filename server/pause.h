/* pause.h - CLIENT PAUSE: requests wait, unexecuted, until a moment. */
#ifndef CORRAL_PAUSE_H
#define CORRAL_PAUSE_H

#include "server/command/command.h"

/* Further pauses prolong and widen the one there is, never the other way round. */
void pause_begin(struct server *server, instant until, bool all);
void pause_end(struct server *server);
instant pause_until(const struct server *server);

/* While SERVER_PAUSED is set. EXEC counts as a write whatever it holds. */
bool pause_holds(struct exec *x, const struct command *command);
bool pause_holds_memcache(struct exec *x, const struct request *rq);

#endif
