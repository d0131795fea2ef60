/* corral.h - what the store's shadows say, in lines for INFO. */
#ifndef CORRAL_COMMAND_CORRAL_H
#define CORRAL_COMMAND_CORRAL_H

#include "server/server.h"

enum { SHADOW_LINES_MAX = 20 };
typedef char shadow_line[200];

/* INFO eviction and INFO mrc; how many lines. */
size_t eviction_lines(struct server *server, shadow_line lines[SHADOW_LINES_MAX]);
size_t mrc_lines(struct server *server, shadow_line lines[SHADOW_LINES_MAX]);

#endif
