#include "server/tool/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- talking ---- */

/* Exits with a sentence when the node does not answer or refuses. The caller frees the reply. */
redisReply *ask(struct node *node, int argc, const char **argv)
{
    redisReply *reply = redisCommandArgv(node->link, argc, argv, NULL);

    if (reply == NULL) {
        fprintf(stderr, "corral: the connection broke: %s\n", node->link->errstr);
        exit(1);
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        const char *hint = strncmp(reply->str, "NOAUTH", 6) == 0 ? " (give the password with -a)" : "";
        fprintf(stderr, "corral: %s%s\n", reply->str, hint);
        freeReplyObject(reply);
        redisFree(node->link);
        exit(1);
    }
    return reply;
}

void open_link(struct node *node)
{
    struct timeval patience = {.tv_sec = 5};

    node->link = node->path != NULL ? redisConnectUnixWithTimeout(node->path, patience)
                                    : redisConnectWithTimeout(node->host, node->port, patience);
    if (node->link == NULL || node->link->err != 0) {
        if (node->path != NULL)
            fprintf(stderr, "corral: no node at %s", node->path);
        else
            fprintf(stderr, "corral: no node at %s port %d", node->host, node->port);
        fprintf(stderr, ": %s\n", node->link != NULL ? node->link->errstr : "out of memory");
        redisFree(node->link);
        exit(1);
    }
    redisSetTimeout(node->link, patience);
    if (node->password != NULL)
        freeReplyObject(ask(node, 2, (const char *[]){"AUTH", node->password}));
}

/* ---- reading INFO ---- */

redisReply *ask_info(struct node *node)
{
    return ask(node, 1, (const char *[]){"INFO"});
}

/* The text after "name:" in an INFO reply; "" when it is not there. */
void field(const redisReply *info, const char *name, char value[VALUE_MAX])
{
    size_t len = strlen(name);
    const char *at = info->str;

    value[0] = '\0';
    while (at != NULL) {
        if (strncmp(at, name, len) == 0 && at[len] == ':') {
            at += len + 1;
            snprintf(value, VALUE_MAX, "%.*s", (int)strcspn(at, "\r\n"), at);
            return;
        }
        at = strchr(at, '\n');
        at = at != NULL ? at + 1 : NULL;
    }
}

double figure(const redisReply *info, const char *name)
{
    char value[VALUE_MAX];

    field(info, name, value);
    return strtod(value, NULL);
}

double percent(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : 0;
}

/* "db0:keys=12,expires=3,..." */
double keys_held(const redisReply *info, const char *which)
{
    char value[VALUE_MAX];
    const char *at;

    field(info, "db0", value);
    at = strstr(value, which);
    return at != NULL ? strtod(at + strlen(which), NULL) : 0;
}

void human(double bytes, char text[VALUE_MAX])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t i = 0;

    while (bytes >= 1024 && i + 1 < sizeof units / sizeof units[0]) {
        bytes /= 1024;
        i++;
    }
    snprintf(text, VALUE_MAX, i == 0 ? "%.0f %s" : "%.1f %s", bytes, units[i]);
}
