/* spawn.c - starting and stopping real servers. */
#include "tests/unit/support/spawn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_MS = 10000, LOOK_EVERY_MS = 5 };

static void nap(void)
{
    struct timespec t = {0, LOOK_EVERY_MS * 1000000L};

    nanosleep(&t, NULL);
}

bool spawn_find(const char *name, char path[SPAWN_PATH_MAX])
{
    const char *dirs = getenv("PATH");
    size_t len;

    if (strchr(name, '/') != NULL)
        return snprintf(path, SPAWN_PATH_MAX, "%s", name) < SPAWN_PATH_MAX && access(path, X_OK) == 0;
    if (dirs == NULL)
        dirs = "/usr/bin:/bin";
    for (; *dirs != '\0'; dirs += len + (dirs[len] == ':')) {
        len = strcspn(dirs, ":");
        if (snprintf(path, SPAWN_PATH_MAX, "%.*s/%s", (int)len, dirs, name) < SPAWN_PATH_MAX &&
            access(path, X_OK) == 0)
            return true;
    }
    return false;
}

static struct sockaddr_in local(int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

int spawn_free_port(void)
{
    struct sockaddr_in at = local(0);
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int port = 0;

    if (fd < 0)
        return 0;
    if (bind(fd, (struct sockaddr *)&at, sizeof at) == 0 &&
        getsockname(fd, (struct sockaddr *)&at, &len) == 0)
        port = ntohs(at.sin_port);
    close(fd);
    return port;
}

int spawn_connect(int port)
{
    struct sockaddr_in to = local(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;

    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        return fd;
    }
    close(fd);
    return -1;
}

static void become(char *const argv[], const char *log, pid_t parent)
{
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    execv(argv[0], argv);
    _exit(127);
}

static bool wait_until_it_listens(struct spawned *server)
{
    for (int waited = 0; waited < WAIT_MS; waited += LOOK_EVERY_MS) {
        int fd = spawn_connect(server->port);

        if (fd >= 0) {
            close(fd);
            return true;
        }
        if (waitpid(server->pid, NULL, WNOHANG) == server->pid) {
            server->pid = 0;
            return false;
        }
        nap();
    }
    return false;
}

bool spawn_start(struct spawned *server, char *const argv[], int port, const char *log)
{
    pid_t parent = getpid();

    server->port = port;
    server->pid = fork();
    if (server->pid == 0)
        become(argv, log, parent);
    if (server->pid < 0) {
        server->pid = 0;
        return false;
    }
    if (wait_until_it_listens(server))
        return true;
    spawn_stop(server);
    return false;
}

int spawn_stop(struct spawned *server)
{
    pid_t pid = server->pid;
    int status;

    server->pid = 0;
    if (pid <= 0)
        return 0;
    kill(pid, SIGTERM);
    for (int waited = 0; waited < WAIT_MS; waited += LOOK_EVERY_MS) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return status;
        nap();
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return -1;
}

bool spawn_send(int fd, const void *data, size_t len)
{
    const char *at = data;

    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

ssize_t spawn_receive(int fd, void *data, size_t max)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    ssize_t n;

    do {
        n = poll(&ready, 1, WAIT_MS);
    } while (n < 0 && errno == EINTR);
    if (n <= 0)
        return -1;
    do {
        n = recv(fd, data, max, 0);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? 0 : n; /* a reset is a close too */
}
