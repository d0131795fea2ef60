#include "server/tool/up.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    NODES_MAX = 32,
    DIR_MAX = PATH_MAX - 64,
    CLUSTER_ABOVE = 7946 - 6379, /* cluster ports lie as far above the redis ports as the usual ones do */
    CLIENT_ABOVE = 10000,
    START_MS = 20 * 1000,
    STOP_MS = 20 * 1000,
    LOOK_MS = 50,
    PORT_MAX = 65535,
};

static const char usage[] =
    "usage: corral up <nodes> [--dir <folder>] [--<option> <value>]...\n"
    "\n"
    "Runs that many nodes on this machine, which share the keys, until Ctrl-C. The first\n"
    "has the usual ports, or those given as --port, --memcache-port, --cluster-port and\n"
    "--cluster-client-port; each further one those above the one before. Configuration,\n"
    "logs and state are in the folder; without one, in a new one that is removed at the\n"
    "end. All other options go to every node.\n";

struct up {
    unsigned nodes;
    int port, memcache_port, cluster_port, client_port; /* the first node's */
    char dir[DIR_MAX];
    bool own_dir;
    char corrald[PATH_MAX];
    char **more; /* options for all nodes */
    int more_len;
    pid_t pids[NODES_MAX]; /* 0: has ended */
};

static bool fail(const char *what, const char *about)
{
    fprintf(stderr, "corral: %s %s: %s\n", what, about, strerror(errno));
    return false;
}

static int cluster_port(const struct up *up, unsigned i)
{
    return up->cluster_port + 2 * (int)i; /* and the port of the links after it */
}

static void name_file(const struct up *up, unsigned i, const char *end, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/node-%u.%s", up->dir, i + 1, end);
}

static void pause_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&pause, NULL);
}

/* ---- what was asked for ---- */

/* Each option with its words becomes a line of the file. */
static void write_more(const struct up *up, FILE *file)
{
    for (int i = 0; i < up->more_len; i++) {
        const char *word = up->more[i];

        if (strncmp(word, "--", 2) == 0) {
            fprintf(file, "\n%s", word + 2);
            continue;
        }
        fputs(" \"", file);
        for (; *word != '\0'; word++)
            fprintf(file, *word == '"' || *word == '\\' ? "\\%c" : "%c", *word);
        fputc('"', file);
    }
    fputc('\n', file);
}

static unsigned threads_each(const struct up *up)
{
    cpu_set_t set;
    unsigned cores = sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;

    return cores > up->nodes ? cores / up->nodes : 1;
}

static bool write_config(const struct up *up, unsigned i)
{
    char path[PATH_MAX];
    FILE *file;
    bool ok;

    name_file(up, i, "conf", path);
    if ((file = fopen(path, "we")) == NULL)
        return fail("cannot write", path);
    fprintf(file, "port %d\nmemcache-port %d\nthreads %u\n", up->port + (int)i, up->memcache_port + (int)i,
            threads_each(up));
    fprintf(file, "cluster-enabled yes\ncluster-name up-%d\ncluster-port %d\ncluster-client-port %d\n",
            up->port, cluster_port(up, i), up->client_port + (int)i);
    fputs("cluster-seeds", file);
    for (unsigned other = 0; other < up->nodes; other++)
        fprintf(file, " 127.0.0.1:%d", cluster_port(up, other));
    fprintf(file, "\ncluster-config-file \"%s/node-%u.state\"\nlogfile \"%s/node-%u.log\"\n", up->dir, i + 1,
            up->dir, i + 1);
    fprintf(file, "pidfile \"%s/node-%u.pid\"\n", up->dir, i + 1);
    write_more(up, file);
    ok = !ferror(file);
    return (fclose(file) == 0 && ok) || fail("cannot write", path);
}

/* The node's program lies beside this one. */
static bool find_corrald(struct up *up)
{
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

    if (len < 0)
        return fail("cannot find", "corrald");
    self[len] = '\0';
    if ((size_t)snprintf(up->corrald, sizeof up->corrald, "%s/corrald", dirname(self)) >=
        sizeof up->corrald) {
        errno = ENAMETOOLONG;
        return fail("cannot find", "corrald");
    }
    return access(up->corrald, X_OK) == 0 || fail("cannot run", up->corrald);
}

static bool make_dir(struct up *up, const char *asked)
{
    const char *temporary = getenv("TMPDIR");
    char path[DIR_MAX];

    if (asked == NULL) {
        snprintf(up->dir, sizeof up->dir, "%s/corral-up.XXXXXX", temporary != NULL ? temporary : "/tmp");
        up->own_dir = true;
        return mkdtemp(up->dir) != NULL || fail("cannot make", up->dir);
    }
    if (mkdir(asked, 0755) != 0 && errno != EEXIST)
        return fail("cannot make", asked);
    if (realpath(asked, path) == NULL) /* nodes may be started again from elsewhere */
        return fail("cannot use", asked);
    memcpy(up->dir, path, sizeof up->dir);
    return true;
}

static bool read_port(const char *word, int *port)
{
    char *end;
    long n = strtol(word, &end, 10);

    *port = (int)n;
    return *word != '\0' && *end == '\0' && n > 0 && n <= PORT_MAX;
}

/* The usual ones, where one was not given: as far above port as they usually are. */
static bool choose_ports(struct up *up)
{
    int n = (int)up->nodes;

    if (up->cluster_port == 0)
        up->cluster_port = up->port + CLUSTER_ABOVE;
    if (up->client_port == 0)
        up->client_port = up->port + CLIENT_ABOVE;
    return up->port + n <= PORT_MAX && up->memcache_port + n <= PORT_MAX &&
           up->cluster_port + 2 * n <= PORT_MAX && up->client_port + n <= PORT_MAX;
}

/* Whether it is one of the ports; *ok becomes false when the word after it is none. */
static bool takes_port(struct up *up, const char *name, const char *word, bool *ok)
{
    const struct {
        const char *name;
        int *port;
    } ports[] = {{"--port", &up->port},
                 {"--memcache-port", &up->memcache_port},
                 {"--cluster-port", &up->cluster_port},
                 {"--cluster-client-port", &up->client_port}};

    for (size_t i = 0; i < sizeof ports / sizeof *ports; i++) {
        if (strcmp(name, ports[i].name) == 0) {
            *ok &= read_port(word, ports[i].port);
            return true;
        }
    }
    return false;
}

/* Ours are taken out; the rest stays for the nodes. */
static bool read_words(struct up *up, int argc, char **argv, const char **dir)
{
    bool ok = true;
    char *end;

    up->nodes = (unsigned)strtoul(argv[1], &end, 10);
    if (*end != '\0' || up->nodes < 1 || up->nodes > NODES_MAX)
        return false;
    up->more = argv + 2;
    for (int i = 2; i < argc; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : "";

        if (strcmp(argv[i], "--dir") == 0 && next[0] != '\0')
            *dir = argv[++i];
        else if (takes_port(up, argv[i], next, &ok))
            i++;
        else if (up->more_len == 0 && strncmp(argv[i], "--", 2) != 0)
            return false;
        else
            up->more[up->more_len++] = argv[i];
    }
    return ok && choose_ports(up);
}

/* ---- starting ---- */

static bool start(struct up *up, unsigned i)
{
    char config[PATH_MAX];
    pid_t parent = getpid();
    sigset_t none;

    if (!write_config(up, i))
        return false;
    name_file(up, i, "conf", config);
    if ((up->pids[i] = fork()) < 0) {
        up->pids[i] = 0;
        return fail("cannot start", up->corrald);
    }
    if (up->pids[i] > 0)
        return true;
    setpgid(0, 0); /* Ctrl-C is for us; we stop them */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execl(up->corrald, up->corrald, config, (char *)NULL);
    fail("cannot start", up->corrald);
    _exit(127);
}

static void say_ended(const struct up *up, unsigned i, int status)
{
    if (WIFSIGNALED(status))
        printf("node-%u was ended by signal %d. ", i + 1, WTERMSIG(status));
    else
        printf("node-%u has ended with code %d. ", i + 1, WEXITSTATUS(status));
    printf("Its log is %s/node-%u.log; to start it again: %s %s/node-%u.conf\n", up->dir, i + 1, up->corrald,
           up->dir, i + 1);
    fflush(stdout);
}

/* Whether any of our own has ended since the last look. */
static bool reap(struct up *up, bool say)
{
    bool some = false;

    for (unsigned i = 0; i < up->nodes; i++) {
        int status;

        if (up->pids[i] == 0 || waitpid(up->pids[i], &status, WNOHANG) != up->pids[i])
            continue;
        up->pids[i] = 0;
        some = true;
        if (say)
            say_ended(up, i, status);
    }
    return some;
}

/* Runs one command without a word about failures: the node may not be there yet, or no more. */
static redisReply *try_command(const struct up *up, unsigned i, const char *command)
{
    struct timeval patience = {.tv_sec = 1};
    redisContext *link = redisConnectWithTimeout("127.0.0.1", up->port + (int)i, patience);
    redisReply *reply = NULL;

    if (link != NULL && link->err == 0) {
        redisSetTimeout(link, patience);
        reply = redisCommand(link, command);
    }
    redisFree(link);
    return reply;
}

static bool sees_all(const struct up *up, unsigned i)
{
    redisReply *info = try_command(up, i, "INFO cluster");
    bool all = info != NULL && info->type != REDIS_REPLY_ERROR &&
               figure(info, "cluster_members_alive") == up->nodes &&
               figure(info, "cluster_granules_held") > 0 &&
               (up->nodes == 1 || figure(info, "cluster_granules_held") < figure(info, "cluster_granules"));
    char state[VALUE_MAX] = "";

    if (all)
        field(info, "cluster_state", state);
    freeReplyObject(info);
    return all && strcmp(state, "ok") == 0;
}

static bool wait_until_together(struct up *up, const sigset_t *signals)
{
    static const struct timespec none = {0};
    unsigned i = 0;

    for (int waited = 0; waited < START_MS; waited += LOOK_MS) {
        int signal = sigtimedwait(signals, NULL, &none);

        if (signal == SIGINT || signal == SIGTERM || reap(up, true))
            return false;
        while (i < up->nodes && sees_all(up, i))
            i++;
        if (i == up->nodes)
            return true;
        pause_ms(LOOK_MS);
    }
    fprintf(stderr, "corral: the nodes did not find each other; their logs are in %s\n", up->dir);
    up->own_dir = false;
    return false;
}

static void say_how(const struct up *up)
{
    printf("%u node%s, one set of keys; logs and state in %s\n\n", up->nodes, up->nodes > 1 ? "s" : "",
           up->dir);
    for (unsigned i = 0; i < up->nodes; i++)
        printf("  node-%-3u redis %d   memcached %d   redis cluster clients %d\n", i + 1, up->port + (int)i,
               up->memcache_port + (int)i, up->client_port + (int)i);
    printf("\nAny client may use any node, and both kinds see the same keys:\n\n"
           "  redis-cli -p %d set greeting hello\n"
           "  printf 'get greeting\\r\\nquit\\r\\n' | nc 127.0.0.1 %d\n"
           "  redis-cli -c -p %d get greeting\n"
           "  %s -p %d nodes\n"
           "\nCtrl-C stops %s.\n",
           up->port, up->memcache_port + (int)up->nodes - 1, up->client_port, program_invocation_name,
           up->port, up->nodes > 1 ? "them all" : "it");
    fflush(stdout);
}

/* ---- stopping ---- */

/* Whoever runs node i now: ours, or one that somebody has started again. 0: nobody. */
static pid_t running(const struct up *up, unsigned i)
{
    char path[PATH_MAX];
    FILE *file;
    int pid = 0;

    if (up->pids[i] != 0)
        return up->pids[i];
    name_file(up, i, "pid", path);
    if ((file = fopen(path, "re")) == NULL)
        return 0;
    if (fscanf(file, "%d", &pid) != 1)
        pid = 0;
    fclose(file);
    return pid > 0 && kill(pid, 0) == 0 ? pid : 0;
}

/* There will be nobody to hand anything over to. */
static void tell_to_stop(const struct up *up)
{
    for (unsigned i = 0; i < up->nodes; i++) {
        if (running(up, i) != 0)
            freeReplyObject(try_command(up, i, "CONFIG SET cluster-drain-timeout 0"));
    }
    for (unsigned i = 0; i < up->nodes; i++) {
        pid_t pid = running(up, i);

        if (pid != 0)
            kill(pid, SIGTERM);
    }
}

static bool all_ended(struct up *up)
{
    reap(up, false);
    for (unsigned i = 0; i < up->nodes; i++) {
        if (running(up, i) != 0)
            return false;
    }
    return true;
}

/* False when some had to be killed. */
static bool stop_all(struct up *up)
{
    tell_to_stop(up);
    for (int waited = 0; waited < STOP_MS; waited += LOOK_MS) {
        if (all_ended(up))
            return true;
        pause_ms(LOOK_MS);
    }
    for (unsigned i = 0; i < up->nodes; i++) {
        pid_t pid = running(up, i);

        if (pid == 0)
            continue;
        fprintf(stderr, "corral: node-%u does not stop, and is killed; its log is in %s\n", i + 1, up->dir);
        kill(pid, SIGKILL);
    }
    return false;
}

static void remove_dir(const struct up *up)
{
    static const char *const ends[] = {"conf", "log", "state", "pid"};
    char path[PATH_MAX];

    for (unsigned i = 0; i < up->nodes; i++) {
        for (size_t e = 0; e < sizeof ends / sizeof *ends; e++) {
            name_file(up, i, ends[e], path);
            unlink(path);
        }
    }
    rmdir(up->dir);
}

/* ---- the verb ---- */

static bool start_all(struct up *up)
{
    for (unsigned i = 0; i < up->nodes; i++) {
        if (!start(up, i))
            return false;
    }
    return true;
}

static void watch(struct up *up, const sigset_t *signals)
{
    for (;;) {
        int signal = sigwaitinfo(signals, NULL);

        if (signal == SIGINT || signal == SIGTERM)
            return;
        if (signal == SIGCHLD)
            reap(up, true);
    }
}

int do_up(struct node *node, int argc, char **argv)
{
    struct up up = {.port = 6379, .memcache_port = 11211};
    const char *dir = NULL;
    sigset_t signals;
    bool ok;

    (void)node;
    if (strcmp(argv[1], "help") == 0 || !read_words(&up, argc, argv, &dir)) {
        fputs(usage, stderr);
        return 1;
    }
    if (!find_corrald(&up) || !make_dir(&up, dir))
        return 1;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    ok = start_all(&up) && wait_until_together(&up, &signals);
    if (ok) {
        say_how(&up);
        watch(&up, &signals);
        printf("\nstopping ...\n");
    }
    ok &= stop_all(&up);
    if (up.own_dir && ok)
        remove_dir(&up);
    return !ok;
}
