/* node.h - a node as the operator's tool sees it: asked over its redis port. */
#ifndef CORRAL_TOOL_NODE_H
#define CORRAL_TOOL_NODE_H

#include <hiredis/hiredis.h>

enum { VALUE_MAX = 128 };

struct node {
    const char *host, *path, *password;
    int port;
    redisContext *link;
};

/* Both exit with a sentence when the node does not answer or refuses. The caller frees the reply. */
void open_link(struct node *node);
redisReply *ask(struct node *node, int argc, const char **argv);

/* INFO, and the fields of it: "" or 0 when there is none of that name. */
redisReply *ask_info(struct node *node);
void field(const redisReply *info, const char *name, char value[VALUE_MAX]);
double figure(const redisReply *info, const char *name);
/* "db0:keys=12,expires=3,..." */
double keys_held(const redisReply *info, const char *which);

double percent(double part, double whole);
void human(double bytes, char text[VALUE_MAX]);

#endif
