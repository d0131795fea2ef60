/* corral.c - the operator's tool: asks a node over its redis port and prints what a person wants to know.
 *
 *   corral [-h host] [-p port] [-a password] status | top | info [section] | ping
 *                                            | config get X | config set X Y | flush */
#include <hiredis/hiredis.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { VALUE_MAX = 128, TOP_HEADER_EVERY = 20 };

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
                            "The password may also stand in the environment variable CORRAL_PASSWORD.\n";

struct node {
    const char *host, *path, *password;
    int port;
    redisContext *link;
};

/* ---- talking ---- */

/* Exits with a sentence when the node does not answer or refuses. The caller frees the reply. */
static redisReply *ask(struct node *node, int argc, const char **argv)
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

static void open_link(struct node *node)
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

static redisReply *ask_info(struct node *node)
{
    return ask(node, 1, (const char *[]){"INFO"});
}

/* The text after "name:" in an INFO reply; "" when it is not there. */
static void field(const redisReply *info, const char *name, char value[VALUE_MAX])
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

static double figure(const redisReply *info, const char *name)
{
    char value[VALUE_MAX];

    field(info, name, value);
    return strtod(value, NULL);
}

static double percent(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : 0;
}

/* "db0:keys=12,expires=3,..." */
static double keys_held(const redisReply *info, const char *which)
{
    char value[VALUE_MAX];
    const char *at;

    field(info, "db0", value);
    at = strstr(value, which);
    return at != NULL ? strtod(at + strlen(which), NULL) : 0;
}

static void human(double bytes, char text[VALUE_MAX])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t i = 0;

    while (bytes >= 1024 && i + 1 < sizeof units / sizeof units[0]) {
        bytes /= 1024;
        i++;
    }
    snprintf(text, VALUE_MAX, i == 0 ? "%.0f %s" : "%.1f %s", bytes, units[i]);
}

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

static int do_status(struct node *node)
{
    redisReply *info = ask_info(node);

    show_node(info);
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

_Noreturn static void do_top(struct node *node)
{
    struct moment last = {0};

    for (unsigned row = 0;; row++) {
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
}

static int do_info(struct node *node, int argc, char **argv)
{
    redisReply *info = ask(node, argc > 1 ? 2 : 1, (const char *[]){"INFO", argc > 1 ? argv[1] : ""});

    printf("%s", info->str);
    freeReplyObject(info);
    return 0;
}

static int do_ping(struct node *node)
{
    redisReply *reply = ask(node, 1, (const char *[]){"PING"});

    printf("%s\n", reply->str);
    freeReplyObject(reply);
    return 0;
}

static int do_flush(struct node *node)
{
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

static int run(struct node *node, int argc, char **argv)
{
    static const char *const verbs[] = {"status", "top", "info", "ping", "flush", "config"};
    size_t verb = 0, verbs_len = sizeof verbs / sizeof verbs[0];

    while (verb < verbs_len && strcmp(argv[0], verbs[verb]) != 0)
        verb++;
    if (verb == verbs_len) {
        fprintf(stderr, "corral: what is '%s'?\n%s", argv[0], usage);
        return 1;
    }
    open_link(node);
    switch (verb) {
    case 0: return do_status(node);
    case 1: do_top(node);
    case 2: return do_info(node, argc, argv);
    case 3: return do_ping(node);
    case 4: return do_flush(node);
    default: return do_config(node, argc, argv);
    }
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
