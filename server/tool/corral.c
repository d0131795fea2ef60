/* corral.c - the operator's tool: asks a node over its redis port and prints what a person wants to know. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/tool/cluster.h"
#include "server/tool/node.h"
#include "server/tool/up.h"

enum { TOP_HEADER_EVERY = 20 };

static const char usage[] = "usage: corral [-h host] [-p port] [-s unixsocket] [-a password] <what>\n"
                            "\n"
                            "  status             how the node is doing, on one screen\n"
                            "  top                one line a second, until Ctrl-C\n"
                            "  info [section]     everything INFO tells\n"
                            "  ping               whether the node answers\n"
                            "  config get <glob>  options and their values\n"
                            "  config set <option> <value>\n"
                            "  flush              removes all keys\n"
                            "\n"
                            "  nodes              who is in the cluster, and what each node has\n"
                            "  ring <key>         which node has a key\n"
                            "  join <host>[:port] finds a cluster by that node (port: its cluster-port)\n"
                            "  drain <node>       that node hands over what it has, and stops\n"
                            "  forget <node>      on all nodes: one that failed is not expected back\n"
                            "  keygen             makes a key for cluster-secret-file\n"
                            "  up <n>             runs n nodes on this machine until Ctrl-C; up help\n"
                            "\n"
                            "A node is named by its id or the beginning of that, or by address:port.\n"
                            "The password may also stand in the environment variable CORRAL_PASSWORD.\n";

/* ---- what the tool can do ---- */

static void show_uptime(const redisReply *info)
{
    long seconds = (long)figure(info, "uptime_in_seconds");

    if (seconds >= 86400)
        printf("up %ld d %ld h", seconds / 86400, seconds / 3600 % 24);
    else
        printf("up %ld h %ld min %ld s", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

static void show_node(const redisReply *info)
{
    char version[VALUE_MAX], pid[VALUE_MAX], port[VALUE_MAX], memcache[VALUE_MAX], workers[VALUE_MAX];

    field(info, "corral_version", version);
    field(info, "process_id", pid);
    field(info, "tcp_port", port);
    field(info, "memcache_port", memcache);
    field(info, "worker_threads", workers);
    printf("node      corral %s, pid %s, ", version[0] != '\0' ? version : "(not a corral node)", pid);
    show_uptime(info);
    printf("\nports     redis %s, memcached %s; %s workers\n", port, memcache, workers);
}

static void show_memory(const redisReply *info)
{
    char used[VALUE_MAX], most[VALUE_MAX], rss[VALUE_MAX], policy[VALUE_MAX];

    human(figure(info, "used_memory"), used);
    human(figure(info, "maxmemory"), most);
    human(figure(info, "used_memory_rss"), rss);
    field(info, "maxmemory_policy", policy);
    printf("memory    %s of %s (%.0f %%), resident %s, policy %s\n", used, most,
           percent(figure(info, "used_memory"), figure(info, "maxmemory")), rss, policy);
}

static void show_traffic(const redisReply *info)
{
    double hits = figure(info, "keyspace_hits"), misses = figure(info, "keyspace_misses");

    printf("keys      %.0f, %.0f of them with a time to live\n", keys_held(info, "keys="),
           keys_held(info, "expires="));
    printf("hits      %.2f %% of %.0f look-ups\n", percent(hits, hits + misses), hits + misses);
    printf("gone      %.0f evicted, %.0f expired\n", figure(info, "evicted_keys"),
           figure(info, "expired_keys"));
    printf("clients   %.0f of %.0f, %.0f turned away\n", figure(info, "connected_clients"),
           figure(info, "maxclients"), figure(info, "rejected_connections"));
    printf("requests  %.0f a second now, %.0f in all, %.0f errors\n",
           figure(info, "instantaneous_ops_per_sec"), figure(info, "total_commands_processed"),
           figure(info, "total_error_replies"));
}

static void show_cluster(const redisReply *info)
{
    char state[VALUE_MAX];

    field(info, "cluster_state", state);
    if (state[0] == '\0')
        return;
    printf("cluster   %s, %.0f nodes", state, figure(info, "cluster_members_alive"));
    if (figure(info, "cluster_members_dead") + figure(info, "cluster_members_suspect") > 0)
        printf(" and %.0f that do not answer",
               figure(info, "cluster_members_dead") + figure(info, "cluster_members_suspect"));
    printf(", %.1f %% of the slots are here%s\n",
           percent(figure(info, "cluster_granules_held"), figure(info, "cluster_granules")),
           figure(info, "cluster_draining") > 0 ? ", draining" : "");
}

static int do_status(struct node *node, int argc, char **argv)
{
    redisReply *info = ask_info(node);

    (void)argc;
    (void)argv;
    show_node(info);
    show_cluster(info);
    show_memory(info);
    show_traffic(info);
    freeReplyObject(info);
    return 0;
}

struct moment {
    double hits, misses, evicted, cpu;
};

static void top_line(const redisReply *info, struct moment *last, unsigned row)
{
    struct moment now = {figure(info, "keyspace_hits"), figure(info, "keyspace_misses"),
                         figure(info, "evicted_keys"),
                         figure(info, "used_cpu_sys") + figure(info, "used_cpu_user")};
    double asked = now.hits - last->hits + now.misses - last->misses;
    char used[VALUE_MAX];

    human(figure(info, "used_memory"), used);
    if (row % TOP_HEADER_EVERY == 0)
        printf("%12s %8s %8s %12s %12s %10s %7s\n", "requests/s", "hits", "clients", "keys", "memory",
               "evicted/s", "cpu");
    printf("%12.0f %7.2f%% %8.0f %12.0f %12s %10.0f %6.0f%%\n", figure(info, "instantaneous_ops_per_sec"),
           percent(now.hits - last->hits, asked), figure(info, "connected_clients"), keys_held(info, "keys="),
           used, now.evicted - last->evicted, 100 * (now.cpu - last->cpu));
    fflush(stdout);
    *last = now;
}

static int do_top(struct node *node, int argc, char **argv)
{
    struct moment last = {0};

    (void)argc;
    (void)argv;
    for (unsigned row = 0; !ferror(stdout); row++) {
        redisReply *info = ask_info(node);

        if (row == 0)
            last = (struct moment){figure(info, "keyspace_hits"), figure(info, "keyspace_misses"),
                                   figure(info, "evicted_keys"),
                                   figure(info, "used_cpu_sys") + figure(info, "used_cpu_user")};
        else
            top_line(info, &last, row - 1);
        freeReplyObject(info);
        sleep(1);
    }
    return 1;
}

static int do_info(struct node *node, int argc, char **argv)
{
    redisReply *info = ask(node, argc > 1 ? 2 : 1, (const char *[]){"INFO", argc > 1 ? argv[1] : ""});

    printf("%s", info->str);
    freeReplyObject(info);
    return 0;
}

static int do_ping(struct node *node, int argc, char **argv)
{
    redisReply *reply = ask(node, 1, (const char *[]){"PING"});

    (void)argc;
    (void)argv;
    printf("%s\n", reply->str);
    freeReplyObject(reply);
    return 0;
}

static int do_flush(struct node *node, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    freeReplyObject(ask(node, 1, (const char *[]){"FLUSHALL"}));
    printf("all keys are gone\n");
    return 0;
}

static int do_config(struct node *node, int argc, char **argv)
{
    redisReply *reply;

    if (argc == 3 && strcmp(argv[1], "get") == 0) {
        reply = ask(node, 3, (const char *[]){"CONFIG", "GET", argv[2]});
        for (size_t i = 0; i + 1 < reply->elements; i += 2)
            printf("%s %s\n", reply->element[i]->str, reply->element[i + 1]->str);
        if (reply->elements == 0)
            fprintf(stderr, "corral: no option is called %s\n", argv[2]);
    } else if (argc == 4 && strcmp(argv[1], "set") == 0) {
        reply = ask(node, 4, (const char *[]){"CONFIG", "SET", argv[2], argv[3]});
        printf("%s is now %s\n", argv[2], argv[3]);
    } else {
        fputs(usage, stderr);
        return 1;
    }
    int code = reply->type == REDIS_REPLY_ARRAY && reply->elements == 0;
    freeReplyObject(reply);
    return code;
}

static const struct verb {
    const char *name;
    int words;  /* it needs, itself included */
    bool alone; /* asks no node */
    int (*run)(struct node *node, int argc, char **argv);
} verbs[] = {
    {"status", 1, false, do_status}, {"top", 1, false, do_top},       {"info", 1, false, do_info},
    {"ping", 1, false, do_ping},     {"flush", 1, false, do_flush},   {"config", 3, false, do_config},
    {"nodes", 1, false, do_nodes},   {"ring", 2, false, do_ring},     {"join", 2, false, do_join},
    {"drain", 2, false, do_drain},   {"forget", 2, false, do_forget}, {"keygen", 1, true, do_keygen},
    {"up", 2, true, do_up},
};

static int run(struct node *node, int argc, char **argv)
{
    const struct verb *verb = verbs, *end = verbs + sizeof verbs / sizeof *verbs;

    while (verb < end && strcmp(argv[0], verb->name) != 0)
        verb++;
    if (verb == end) {
        fprintf(stderr, "corral: what is '%s'?\n%s", argv[0], usage);
        return 1;
    }
    if (argc < verb->words) {
        fputs(usage, stderr);
        return 1;
    }
    if (!verb->alone)
        open_link(node);
    return verb->run(node, argc, argv);
}

int main(int argc, char **argv)
{
    struct node node = {.host = "127.0.0.1", .port = 6379, .password = getenv("CORRAL_PASSWORD")};
    int option, code;

    while ((option = getopt(argc, argv, "+h:p:s:a:")) != -1) {
        switch (option) {
        case 'h': node.host = optarg; break;
        case 'p': node.port = atoi(optarg); break;
        case 's': node.path = optarg; break;
        case 'a': node.password = optarg; break;
        default: fputs(usage, stderr); return 1;
        }
    }
    if (optind == argc || strcmp(argv[optind], "help") == 0) {
        fputs(usage, optind == argc ? stderr : stdout);
        return optind == argc;
    }
    code = run(&node, argc - optind, argv + optind);
    redisFree(node.link);
    return code;
}
