/* cluster.h - what the operator's tool does with a cluster: looks at it, and says who comes and goes. */
#ifndef CORRAL_TOOL_CLUSTER_H
#define CORRAL_TOOL_CLUSTER_H

#include "server/tool/node.h"

/* Verbs of the tool; argv[0] is the verb. They return the exit code. */
int do_nodes(struct node *node, int argc, char **argv);
int do_ring(struct node *node, int argc, char **argv);
int do_join(struct node *node, int argc, char **argv);
int do_drain(struct node *node, int argc, char **argv);
int do_forget(struct node *node, int argc, char **argv);
int do_keygen(struct node *node, int argc, char **argv);

#endif
