/* load_net.c - connecting with a bound on the wait. */
#include "bench/load_net.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CONNECT_TIMEOUT_MS = 5000 };

/* Returns the socket, or -1 and errno. */
static int connect_bounded(int family, const struct sockaddr *address, socklen_t len)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int error = 0;
    socklen_t error_len = sizeof error;
    struct pollfd wait = {.fd = fd, .events = POLLOUT};

    if (fd < 0)
        return -1;
    if (connect(fd, address, len) == 0)
        return fd;
    if (errno == EINPROGRESS) {
        int ready = poll(&wait, 1, CONNECT_TIMEOUT_MS);

        if (ready == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_len) == 0 && error == 0)
            return fd;
        errno = ready == 0 ? ETIMEDOUT : error;
    }
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int connect_unix(const struct server_address *to, char *why, size_t why_size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = -1;

    if (strlen(to->unix_path) >= sizeof address.sun_path) {
        snprintf(why, why_size, "the socket path %s is too long", to->unix_path);
        return -1;
    }
    strcpy(address.sun_path, to->unix_path);
    /* A full backlog says "try again" at once instead of waiting, as TCP does. */
    for (int tries = 0; tries < CONNECT_TIMEOUT_MS; tries++) {
        fd = connect_bounded(AF_UNIX, (const struct sockaddr *)&address, sizeof address);
        if (fd >= 0 || errno != EAGAIN)
            break;
        poll(NULL, 0, 1);
    }
    if (fd < 0)
        snprintf(why, why_size, "no server at %s: %s", to->unix_path, strerror(errno));
    return fd;
}

static int connect_tcp(const struct server_address *to, char *why, size_t why_size)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    int fd = -1, on = 1, status = getaddrinfo(to->host, to->port, &hints, &found);

    if (status != 0) {
        snprintf(why, why_size, "cannot look up %s port %s: %s", to->host, to->port, gai_strerror(status));
        return -1;
    }
    for (struct addrinfo *at = found; at != NULL && fd < 0; at = at->ai_next)
        fd = connect_bounded(at->ai_family, at->ai_addr, at->ai_addrlen);
    if (fd < 0)
        snprintf(why, why_size, "no server at %s port %s: %s", to->host, to->port, strerror(errno));
    else
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    freeaddrinfo(found);
    return fd;
}

int net_connect(const struct server_address *to, char *why, size_t why_size)
{
    return to->unix_path != NULL ? connect_unix(to, why, why_size) : connect_tcp(to, why, why_size);
}
