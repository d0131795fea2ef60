#include "server/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/cluster/plane.h"
#include "server/log.h"
#include "server/peers.h"
#include "server/worker.h"

enum {
    ACCEPTS_PER_TURN = 64,
    LOG_MS = 1000,
    PAUSE_MS = 100, /* after accept() failed for want of something */
    ADDRESS_MAX = 160,
};

struct listener {
    struct loop_source source; /* first: the loop calls back with it */
    struct server *server;
    int fd;
    enum dialect dialect;
    int family;
    bool paused;
    int64_t resume_ms, next_log_ms; /* in worker 0's ticks */
    char *path;                     /* of a Unix socket, to be removed at the end */
    unsigned next_worker;
};

static const char *dialect_name(enum dialect dialect)
{
    switch (dialect) {
    case DIALECT_RESP: return "resp";
    case DIALECT_MEMCACHE: return "memcached";
    case DIALECT_PEER: return "link";
    }
    return "?";
}

/* ---- accepting ---- */

static void describe(const struct sockaddr_storage *from, char *text, size_t len)
{
    char ip[INET6_ADDRSTRLEN] = "?";

    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)from;
        inet_ntop(AF_INET, &in->sin_addr, ip, sizeof ip);
        snprintf(text, len, "%s:%u", ip, ntohs(in->sin_port));
    } else if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;
        inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof ip);
        snprintf(text, len, "[%s]:%u", ip, ntohs(in6->sin6_port));
    } else {
        snprintf(text, len, "?:0");
    }
}

static void addresses(const struct listener *l, int fd, const struct sockaddr_storage *peer,
                      char remote[ADDRESS_MAX], char local[ADDRESS_MAX])
{
    struct sockaddr_storage own = {0};
    socklen_t len = sizeof own;

    if (l->family == AF_UNIX) {
        snprintf(remote, ADDRESS_MAX, "%s:0", l->path);
        snprintf(local, ADDRESS_MAX, "%s:0", l->path);
        return;
    }
    getsockname(fd, (struct sockaddr *)&own, &len);
    describe(peer, remote, ADDRESS_MAX);
    describe(&own, local, ADDRESS_MAX);
}

/* Why a connection is not taken, in the words of each dialect. */
struct refusal {
    const char *resp, *memcache;
};
static const struct refusal too_many = {"-ERR max number of clients reached\r\n",
                                        "ERROR Too many open connections\r\n"};
static const struct refusal too_many_of_yours = {"-ERR max number of clients per address reached\r\n",
                                                 "ERROR Too many open connections from this address\r\n"};
static const struct refusal protected = {
    "-DENIED Corral is running in protected mode because protected mode is enabled and no password is set "
    "for "
    "the default user. In this mode connections are only accepted from the loopback interface. To connect "
    "from other machines do one of these: 1) set a password, with 'CONFIG SET requirepass' from the node's "
    "own "
    "machine or 'requirepass' in its configuration file; 2) if nobody else can reach the node, turn this "
    "mode off, with 'CONFIG SET protected-mode no' from the node's own machine or 'protected-mode no' in its "
    "configuration file.\r\n",
    "ERROR protected mode: no password is set, so only clients on the node's own machine are served; set "
    "requirepass, or protected-mode no\r\n"};

static void turn_away(struct listener *l, int fd, const struct refusal *refusal)
{
    const char *text = l->dialect == DIALECT_MEMCACHE ? refusal->memcache : refusal->resp;

    if (send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_event(LOG_LEVEL_VERBOSE, "turned_away", "reason=%s", strerror(errno));
    close(fd);
}

/* Only this thread adds clients, so the limits are never overrun. NULL: welcome. */
static const struct refusal *refusal_for(struct listener *l, const struct sockaddr_storage *from,
                                         uint32_t from_there)
{
    struct server *server = l->server;
    struct counters *counters = &server->workers[0]->counters;
    uint32_t per_address = (uint32_t)option_live(&server->options, maxclients_per_address);

    if (atomic_load_explicit(&server->clients, memory_order_relaxed) >=
        (uint32_t)option_live(&server->options, maxclients)) {
        counter_add(counters, connections_rejected, 1);
        return &too_many;
    }
    if (option_live(&server->options, protected_mode) && !peer_is_local(from) &&
        !server_password_set(server)) {
        counter_add(counters, protected_mode_rejected, 1);
        return &protected;
    }
    if (per_address > 0 && from_there > per_address) {
        counter_add(counters, address_limit_rejected, 1);
        return &too_many_of_yours;
    }
    return NULL;
}

/* Another node, as it says: whether that is so it has to prove (cluster/guest.h). None of the clients' limits
 * is for it. */
static void welcome_link(struct listener *l, int fd, const struct sockaddr_storage *from)
{
    struct server *server = l->server;
    struct worker *w = server->workers[l->next_worker++ % server->workers_len];
    char remote[ADDRESS_MAX], local[ADDRESS_MAX];
    struct conn *c;

    if (!plane_enter(server)) {
        counter_add(&server->workers[0]->counters, cluster_links_rejected, 1);
        close(fd);
        return;
    }
    addresses(l, fd, from, remote, local);
    if ((c = conn_new(DIALECT_PEER, fd, remote, local, server->workers[0]->now)) != NULL)
        worker_adopt(w, c);
    else
        plane_leave(server);
}

static void welcome(struct listener *l, int fd, const struct sockaddr_storage *from)
{
    struct server *server = l->server;
    char remote[ADDRESS_MAX], local[ADDRESS_MAX];
    uint32_t from_there;
    struct peer *peer = peers_enter(server->peers, from, &from_there);
    const struct refusal *refusal = refusal_for(l, from, from_there);
    struct conn *c;

    if (refusal != NULL) {
        peers_leave(server->peers, &peer);
        turn_away(l, fd, refusal);
        return;
    }
    addresses(l, fd, from, remote, local);
    if ((c = conn_new(l->dialect, fd, remote, local, server->workers[0]->now)) == NULL) {
        peers_leave(server->peers, &peer);
        return;
    }
    c->peer = peer;
    counter_add(&server->workers[0]->counters, connections_received, 1);
    atomic_fetch_add_explicit(&server->clients, 1, memory_order_relaxed);
    worker_adopt(server->workers[l->next_worker++ % server->workers_len], c);
}

/* There is no file descriptor for a connection that waits. The spare one is
 * given up so that it can be told and let go: else it would wait for nothing,
 * and the kernel would report it for ever. 0, or why that did not work either;
 * EAGAIN: nobody waited, which accept() finds out last. */
static int turn_away_without_file(struct listener *l)
{
    struct server *server = l->server;
    int fd, why;

    if (server->spare_fd < 0)
        return EMFILE;
    close(server->spare_fd);
    fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    why = fd >= 0 ? 0 : errno;
    if (fd >= 0) {
        counter_add(&server->workers[0]->counters, no_file_rejected, 1);
        turn_away(l, fd, &too_many);
    }
    server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return why;
}

/* Not to spin on a socket that nothing can be taken from. */
static void pause_accepting(struct listener *l)
{
    struct worker *w = l->server->workers[0];

    loop_change(w->loop, l->fd, 0, &l->source);
    l->paused = true;
    l->resume_ms = w->ticks_ms + PAUSE_MS;
    if (l->server->spare_fd < 0)
        l->server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void say_failed(struct listener *l, int why)
{
    struct worker *w = l->server->workers[0];

    if (w->ticks_ms >= l->next_log_ms) {
        l->next_log_ms = w->ticks_ms + LOG_MS;
        log_event(LOG_LEVEL_WARNING, "accept_failed",
                  "reason=\"%s\": raise the limit of open files, or lower maxclients", strerror(why));
    }
}

/* After accept() has failed. True: go on accepting. */
static bool go_on_after(struct listener *l, int why)
{
    if (why == EINTR || why == ECONNABORTED)
        return true;
    if (why == EMFILE || why == ENFILE) {
        int still = turn_away_without_file(l);

        if (still == EAGAIN)
            return false;
        say_failed(l, why);
        if (still == 0)
            return true;
    } else if (why == ENOBUFS || why == ENOMEM) {
        say_failed(l, why);
    } else {
        return false;
    }
    pause_accepting(l);
    return false;
}

static void on_connection(struct loop_source *source, unsigned events)
{
    struct listener *l = (struct listener *)source;

    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t len = sizeof peer;
        int fd = accept4(l->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            if (l->dialect == DIALECT_PEER)
                welcome_link(l, fd, &peer);
            else
                welcome(l, fd, &peer);
            continue;
        }
        if (!go_on_after(l, errno))
            return;
    }
}

bool listeners_start(struct server *server)
{
    for (unsigned i = 0; i < server->listeners_len; i++) {
        struct listener *l = server->listeners[i];

        if (!loop_add(server->workers[0]->loop, l->fd, LOOP_READ, &l->source))
            return false;
    }
    return true;
}

void listeners_resume(struct server *server)
{
    int64_t now = server->workers[0]->ticks_ms;

    for (unsigned i = 0; i < server->listeners_len; i++) {
        struct listener *l = server->listeners[i];

        if (!l->paused || now < l->resume_ms)
            continue;
        l->paused = false;
        loop_change(server->workers[0]->loop, l->fd, LOOP_READ, &l->source);
    }
}

/* ---- opening ---- */

static void set(int fd, int level, int name, int value)
{
    setsockopt(fd, level, name, &value, sizeof value);
}

/* Accepted sockets inherit all of this from the listening one. */
static void apply_keepalive(int fd, int seconds)
{
    set(fd, SOL_SOCKET, SO_KEEPALIVE, seconds > 0);
    if (seconds == 0)
        return;
    set(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
    set(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds >= 3 ? seconds / 3 : 1);
    set(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

void listeners_apply_keepalive(struct server *server)
{
    int seconds = option_live(&server->options, tcp_keepalive);

    for (unsigned i = 0; i < server->listeners_len; i++) {
        if (server->listeners[i]->family != AF_UNIX)
            apply_keepalive(server->listeners[i]->fd, seconds);
    }
}

/* Takes over fd and path. */
static bool add_listener(struct server *server, int fd, int family, enum dialect dialect, char *path)
{
    struct listener **more = realloc(server->listeners, (server->listeners_len + 1) * sizeof *more);
    struct listener *l = calloc(1, sizeof *l);

    if (more != NULL)
        server->listeners = more;
    if (more == NULL || l == NULL) {
        free(l);
        free(path);
        close(fd);
        return false;
    }
    *l = (struct listener){.source.ready = on_connection,
                           .server = server,
                           .fd = fd,
                           .dialect = dialect,
                           .family = family,
                           .path = path};
    server->listeners[server->listeners_len++] = l;
    return true;
}

static bool try_listen(int fd, const struct addrinfo *ai, int backlog)
{
    set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (ai->ai_family == AF_INET6)
        set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    return bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, backlog) == 0;
}

static void explain_tcp(char *err, size_t err_len, const char *host, int port, const char *option, int why)
{
    if (why == EADDRINUSE)
        snprintf(err, err_len,
                 "%s %d on %s is taken: stop the program that listens there, or choose another with --%s",
                 option, port, host, option);
    else
        snprintf(err, err_len, "cannot listen on %s, %s %d: %s", host, option, port, strerror(why));
}

static const char *option_name(enum dialect dialect)
{
    switch (dialect) {
    case DIALECT_RESP: return "port";
    case DIALECT_MEMCACHE: return "memcache-port";
    case DIALECT_PEER: return "cluster-link-port";
    }
    return "?";
}

static bool open_tcp(struct server *server, const char *host, int port, enum dialect dialect, char *err,
                     size_t err_len)
{
    const struct options *o = &server->options;
    const char *option = option_name(dialect);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *ai = NULL;
    char service[8];
    int fd, failed, why;

    snprintf(service, sizeof service, "%d", port);
    if ((failed = getaddrinfo(host, service, &hints, &ai)) != 0) {
        snprintf(err, err_len, "bind: %s is no address of this machine: %s", host, gai_strerror(failed));
        return false;
    }
    fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || !try_listen(fd, ai, o->tcp_backlog)) {
        why = errno;
        if (fd >= 0)
            close(fd);
        freeaddrinfo(ai);
        explain_tcp(err, err_len, host, port, option, why);
        return false;
    }
    apply_keepalive(fd, option_live(o, tcp_keepalive));
    if (!add_listener(server, fd, ai->ai_family, dialect, NULL)) {
        freeaddrinfo(ai);
        snprintf(err, err_len, "out of memory");
        return false;
    }
    freeaddrinfo(ai);
    log_event(LOG_LEVEL_NOTICE, "listening", "addr=%s port=%d protocol=%s", host, port,
              dialect_name(dialect));
    return true;
}

/* A socket file that a crashed node left behind may go; one that somebody
 * answers on may not, nor a file that is no socket. False: err says so. */
static bool clear_stale(const struct sockaddr_un *address, char *err, size_t err_len)
{
    struct stat st;
    int fd, why;

    if (lstat(address->sun_path, &st) != 0)
        return true; /* bind() knows the reason, if it is not that there is none */
    if (!S_ISSOCK(st.st_mode)) {
        snprintf(err, err_len, "unixsocket %s is a file that is no socket: choose another path, or remove it",
                 address->sun_path);
        return false;
    }
    /* Not to wait for somebody whose queue is full: that is an answer, too. */
    if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0) {
        snprintf(err, err_len, "cannot open a socket: %s", strerror(errno));
        return false;
    }
    why = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ? 0 : errno;
    close(fd);
    if (why == ECONNREFUSED) {
        unlink(address->sun_path);
        return true;
    }
    if (why == 0 || why == EAGAIN)
        snprintf(err, err_len,
                 "unixsocket %s is taken: stop the program that listens there, or choose another",
                 address->sun_path);
    else
        snprintf(err, err_len, "unixsocket %s is there already, and cannot be looked at: %s",
                 address->sun_path, strerror(why));
    return false;
}

static bool open_unix(struct server *server, char *err, size_t err_len)
{
    const struct options *o = &server->options;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(o->unixsocket) >= sizeof address.sun_path) {
        snprintf(err, err_len, "unixsocket %s is too long a path: at most %zu bytes", o->unixsocket,
                 sizeof address.sun_path - 1);
        return false;
    }
    memcpy(address.sun_path, o->unixsocket, strlen(o->unixsocket) + 1);
    if (!clear_stale(&address, err, err_len))
        return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        chmod(o->unixsocket, (mode_t)o->unixsocketperm) != 0 || listen(fd, o->tcp_backlog) != 0) {
        snprintf(err, err_len, "cannot listen on unixsocket %s: %s", o->unixsocket, strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    if (!add_listener(server, fd, AF_UNIX, DIALECT_RESP, strdup(o->unixsocket))) {
        snprintf(err, err_len, "out of memory");
        return false;
    }
    log_event(LOG_LEVEL_NOTICE, "listening", "path=%s protocol=resp", o->unixsocket);
    return true;
}

static bool open_link_port(struct server *server, const char *host, char *err, size_t err_len)
{
    const struct options *o = &server->options;

    return !o->cluster_enabled || open_tcp(server, host, options_link_port(o), DIALECT_PEER, err, err_len);
}

static bool open_ports(struct server *server, const char *host, char *err, size_t err_len)
{
    const struct options *o = &server->options;

    return open_link_port(server, host, err, err_len) &&
           (o->port == 0 || open_tcp(server, host, o->port, DIALECT_RESP, err, err_len)) &&
           (o->memcache_port == 0 ||
            open_tcp(server, host, o->memcache_port, DIALECT_MEMCACHE, err, err_len));
}

/* As redis: a leading '-' means that the address may be missing on this machine, '*' is 0.0.0.0. */
static bool open_address(struct server *server, const char *word, char *err, size_t err_len)
{
    bool optional = word[0] == '-';
    const char *host = optional ? word + 1 : word;

    if (strcmp(host, "*") == 0)
        host = "0.0.0.0";
    if (open_ports(server, host, err, err_len))
        return true;
    if (optional)
        log_event(LOG_LEVEL_NOTICE, "address_skipped", "addr=%s reason=\"%s\"", host, err);
    return optional;
}

bool listeners_open(struct server *server, char *err, size_t err_len)
{
    const struct options *o = &server->options;
    char *words = strdup(o->bind), *rest = words, *word;
    bool ok = words != NULL;

    while (ok && (word = strsep(&rest, " ")) != NULL) {
        if (word[0] != '\0')
            ok = open_address(server, word, err, err_len);
    }
    free(words);
    if (ok && o->unixsocket[0] != '\0')
        ok = open_unix(server, err, err_len);
    if (ok && server->listeners_len == 0) {
        snprintf(err, err_len, "nothing to listen on: set port, memcache-port or unixsocket");
        ok = false;
    }
    return ok;
}

void listeners_close(struct server *server)
{
    pthread_mutex_lock(&server->options_lock); /* CONFIG SET tcp-keepalive may be at them */
    for (unsigned i = 0; i < server->listeners_len; i++) {
        struct listener *l = server->listeners[i];

        close(l->fd);
        if (l->path != NULL)
            unlink(l->path);
        free(l->path);
        free(l);
    }
    free(server->listeners);
    server->listeners = NULL;
    server->listeners_len = 0;
    pthread_mutex_unlock(&server->options_lock);
}
