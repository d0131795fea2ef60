/* up.h - corral up: some nodes of a cluster on this machine, to try it, until Ctrl-C. */
#ifndef CORRAL_TOOL_UP_H
#define CORRAL_TOOL_UP_H

#include "server/tool/node.h"

/* A verb of the tool: see cluster.h. */
int do_up(struct node *node, int argc, char **argv);

#endif
