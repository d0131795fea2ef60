/* spawn.h - real servers for tests: find one, start it on a free port, talk to it, stop it.
 *
 * Nothing outlives the test: children die with their parent, and are stopped by pid only. */
#ifndef CORRAL_TESTS_SPAWN_H
#define CORRAL_TESTS_SPAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { SPAWN_PATH_MAX = 4096 };

struct spawned {
    pid_t pid; /* 0: not running */
    int port;
};

/* Where a program is: `name` as it stands if it has a slash, else looked for along PATH. */
bool spawn_find(const char *name, char path[SPAWN_PATH_MAX]);

/* A TCP port on 127.0.0.1 that nobody listened on a moment ago. */
int spawn_free_port(void);

/* Starts argv[0] and waits until `port` takes connections. Its output goes to
 * the file `log`, appended. False when it ends before that, or takes longer
 * than ten seconds; it is gone then. */
bool spawn_start(struct spawned *server, char *const argv[], int port, const char *log);

/* SIGTERM, then waits; SIGKILL after ten seconds. Returns what waitpid() says,
 * -1 when it had to be killed, 0 when it was not running. */
int spawn_stop(struct spawned *server);

/* A blocking TCP connection to 127.0.0.1; -1 when nobody listens. */
int spawn_connect(int port);

/* False when the connection breaks first. */
bool spawn_send(int fd, const void *data, size_t len);

/* Waits up to ten seconds for some bytes. 0: closed by the other side; -1: nothing came. */
ssize_t spawn_receive(int fd, void *data, size_t max);

#endif
