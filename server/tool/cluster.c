#include "server/tool/cluster.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster/keyring.h"
#include "cluster/slot.h"

enum { ID_LEN = 40, HOST_LEN = 64, LOOK_US = 200 * 1000 };

/* ---- CLUSTER NODES ---- */

struct member {
    char id[ID_LEN + 1], host[HOST_LEN], flags[64];
    int client_port, cluster_port;
    unsigned slots;
    bool has; /* the slot that was asked for */
};

struct members {
    struct member *all;
    size_t len;
};

/* "first-last" or "slot", up to the end of the line. */
static void read_slots(struct member *m, char *words, unsigned wanted)
{
    for (char *word; (word = strsep(&words, " ")) != NULL;) {
        unsigned first, last;
        int read = sscanf(word, "%u-%u", &first, &last);

        if (read < 1)
            continue;
        if (read == 1)
            last = first;
        m->slots += last - first + 1;
        m->has |= first <= wanted && wanted <= last;
    }
}

/* "id host:port@cluster_port[,name] flags - 0 0 epoch state slots" */
static bool read_member(char *line, struct member *m, unsigned wanted)
{
    char address[HOST_LEN + 320], *at, *colon;
    int used = 0;

    *m = (struct member){.slots = 0};
    if (sscanf(line, "%40s %383s %63s %*s %*s %*s %*s %*s%n", m->id, address, m->flags, &used) != 3 ||
        used == 0)
        return false;
    if ((at = strchr(address, '@')) == NULL)
        return false;
    *at = '\0';
    if ((colon = strrchr(address, ':')) == NULL || (size_t)(colon - address) >= sizeof m->host)
        return false;
    *colon = '\0';
    m->cluster_port = atoi(at + 1);
    m->client_port = atoi(colon + 1);
    memcpy(m->host, address, (size_t)(colon - address) + 1);
    if (line[used] == ' ')
        read_slots(m, line + used + 1, wanted);
    return true;
}

/* Who there is, as that node says; `wanted` is the slot whose holder is looked for. The caller frees all. */
static struct members ask_members(struct node *node, unsigned wanted)
{
    redisReply *reply = ask(node, 2, (const char *[]){"CLUSTER", "NODES"});
    struct members members = {NULL, 0};
    char *rest = reply->str, *line;
    size_t lines = 1;

    for (const char *at = reply->str; *at != '\0'; at++)
        lines += *at == '\n';
    if ((members.all = calloc(lines, sizeof *members.all)) == NULL) {
        fprintf(stderr, "corral: out of memory\n");
        exit(1);
    }
    while ((line = strsep(&rest, "\n")) != NULL)
        members.len += read_member(line, &members.all[members.len], wanted);
    freeReplyObject(reply);
    return members;
}

/* The one that is meant: by id, the beginning of an id, or address:port. NULL after saying why not. */
static const struct member *find(const struct members *members, const char *name)
{
    const struct member *found = NULL;
    const char *colon = strrchr(name, ':');

    for (size_t i = 0; i < members->len; i++) {
        const struct member *m = &members->all[i];
        bool is = strncmp(m->id, name, strlen(name)) == 0;

        if (colon != NULL)
            is = strlen(m->host) == (size_t)(colon - name) && strncmp(m->host, name, strlen(m->host)) == 0 &&
                 (atoi(colon + 1) == m->client_port || atoi(colon + 1) == m->cluster_port);
        if (is && found != NULL) {
            fprintf(stderr, "corral: %s is more than one node: corral nodes names them\n", name);
            return NULL;
        }
        found = is ? m : found;
    }
    if (found == NULL)
        fprintf(stderr, "corral: no node %s in the cluster: corral nodes names them\n", name);
    return found;
}

static struct node node_of(const struct node *asked, const struct member *m)
{
    return (struct node){.host = m->host, .port = m->client_port, .password = asked->password};
}

/* ---- looking ---- */

static bool is_myself(const struct member *m)
{
    return strstr(m->flags, "myself") != NULL;
}

static void print_absent(struct node *node)
{
    redisReply *info = ask(node, 2, (const char *[]){"INFO", "cluster"});

    for (unsigned i = 0;; i++) {
        char name[32], value[VALUE_MAX], id[ID_LEN + 1], address[HOST_LEN], state[16];

        snprintf(name, sizeof name, "cluster_absent%u", i);
        field(info, name, value);
        if (sscanf(value, "node=%40[0-9a-f],addr=%63[^,],state=%15s", id, address, state) != 3)
            break;
        printf("%s  %-21s %-13s %7s   %s\n", id, "-", address, "-", state);
    }
    freeReplyObject(info);
}

int do_nodes(struct node *node, int argc, char **argv)
{
    struct members members = ask_members(node, SLOTS);

    (void)argc;
    (void)argv;
    printf("%-40s  %-21s %-13s %7s\n", "node", "cluster clients", "cluster-port", "slots");
    for (size_t i = 0; i < members.len; i++) {
        const struct member *m = &members.all[i];
        char address[HOST_LEN + 8];

        snprintf(address, sizeof address, "%s:%d", m->host, m->client_port);
        printf("%s  %-21s %-13d %7u %s%s\n", m->id, address, m->cluster_port, m->slots,
               is_myself(m) ? "  asked" : "", strstr(m->flags, "fail") != NULL ? "  failed" : "");
    }
    print_absent(node);
    free(members.all);
    return 0;
}

int do_ring(struct node *node, int argc, char **argv)
{
    redisReply *reply = ask(node, 3, (const char *[]){"CLUSTER", "KEYSLOT", argv[1]});
    unsigned slot = (unsigned)reply->integer;
    struct members members = ask_members(node, slot);
    int code = 1;

    (void)argc;
    freeReplyObject(reply);
    printf("%s is in slot %u", argv[1], slot);
    for (size_t i = 0; i < members.len; i++) {
        const struct member *m = &members.all[i];

        if (!m->has)
            continue;
        printf(", which %s has at %s:%d%s\n", m->id, m->host, m->client_port,
               is_myself(m) ? ": the node that was asked" : "");
        code = 0;
    }
    if (code != 0)
        printf(", which nobody has\n");
    free(members.all);
    return code;
}

/* ---- coming and going ---- */

int do_join(struct node *node, int argc, char **argv)
{
    char *host = argv[1], *port = strrchr(host, ':');

    (void)argc;
    if (host[0] == '[' && port != NULL && port[-1] == ']') { /* an IPv6 address and a port */
        port[-1] = '\0';
        host++;
    } else if (port != NULL && strchr(host, ':') != port) { /* one without */
        port = NULL;
    }
    if (port != NULL)
        *port++ = '\0';
    freeReplyObject(ask(node, port != NULL ? 5 : 4,
                        (const char *[]){"CLUSTER", "MEET", host, "0", port != NULL ? port : ""}));
    printf("looks for a cluster at %s from now on: corral nodes shows who was found\n", host);
    return 0;
}

/* Until the node hangs up. */
static void wait_for_end(struct node *node)
{
    redisReply *reply;

    while ((reply = redisCommand(node->link, "PING")) != NULL) {
        freeReplyObject(reply);
        usleep(LOOK_US);
    }
}

int do_drain(struct node *node, int argc, char **argv)
{
    struct members members = ask_members(node, SLOTS);
    const struct member *m = find(&members, argv[1]);
    struct node to;

    (void)argc;
    if (m == NULL) {
        free(members.all);
        return 1;
    }
    to = node_of(node, m);
    open_link(&to);
    freeReplyObject(ask(&to, 2, (const char *[]){"CLUSTER", "DRAIN"}));
    printf("%s hands over %u slots ...\n", m->id, m->slots);
    fflush(stdout);
    wait_for_end(&to);
    printf("%s has stopped\n", m->id);
    redisFree(to.link);
    free(members.all);
    return 0;
}

/* Not through ask(): what one node refuses is to be asked of the others all the same. */
static bool forget_at(struct node *node, const char *id)
{
    redisReply *reply = redisCommand(node->link, "CLUSTER FORGET %s", id);
    bool ok = reply != NULL && reply->type != REDIS_REPLY_ERROR;

    if (!ok)
        fprintf(stderr, "corral: %s:%d: %s\n", node->host, node->port,
                reply != NULL ? reply->str : node->link->errstr);
    freeReplyObject(reply);
    return ok;
}

int do_forget(struct node *node, int argc, char **argv)
{
    struct members members = ask_members(node, SLOTS);
    size_t done = 0;

    (void)argc;
    if (strlen(argv[1]) != ID_LEN) {
        fprintf(stderr,
                "corral: forget needs the whole id: corral nodes has those that do not answer last\n");
        free(members.all);
        return 1;
    }
    for (size_t i = 0; i < members.len; i++) {
        struct node one = is_myself(&members.all[i]) ? *node : node_of(node, &members.all[i]);

        if (!is_myself(&members.all[i]))
            open_link(&one);
        done += forget_at(&one, argv[1]);
        if (!is_myself(&members.all[i]))
            redisFree(one.link);
    }
    printf("forgotten by %zu of %zu nodes\n", done, members.len);
    free(members.all);
    return done == 0;
}

int do_keygen(struct node *node, int argc, char **argv)
{
    struct keyring *ring = keyring_new(); /* makes the dice ready */
    uint8_t key[KEY_BYTES];
    char text[KEY_TEXT_MAX];

    (void)node;
    (void)argc;
    (void)argv;
    if (ring == NULL) {
        fprintf(stderr, "corral: this machine has no random numbers\n");
        return 1;
    }
    keyring_free(&ring);
    key_make(key);
    key_print(key, text);
    printf("%s\n", text);
    return 0;
}
