/* test_conn.c - replies go to who asked, also when he is no longer there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/unit/support/spawn.h"

static void say(int fd, const char *text)
{
    assert_true(spawn_send(fd, text, strlen(text)));
}

static void expect(int fd, const char *wanted)
{
    char text[256];
    size_t len = 0;

    while (len < strlen(wanted)) {
        ssize_t n = spawn_receive(fd, text + len, sizeof text - 1 - len);

        assert_true(n > 0);
        len += (size_t)n;
    }
    text[len] = '\0';
    assert_string_equal(text, wanted);
}

/* The node sleeps while a request and then the end of its connection arrive:
 * it reads the one, and finds out about the other when it answers. */
static void replies_nobody_takes_are_dropped(void **state)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    char program[SPAWN_PATH_MAX], path[SPAWN_PATH_MAX], port[8], log[64];
    const char *bin = getenv("CORRAL_BIN");
    struct spawned node = {.port = spawn_free_port()};

    (void)state;
    snprintf(program, sizeof program, "%s/corrald", bin != NULL ? bin : "bin");
    assert_true(spawn_find(program, path));
    snprintf(port, sizeof port, "%d", node.port);
    snprintf(log, sizeof log, "/tmp/test_conn.%d", (int)getpid());
    char *argv[] = {path,  "--port", port, "--memcache-port", "0", "--threads", "1", "--enable-debug-command",
                    "yes", NULL};
    assert_true(spawn_start(&node, argv, node.port, log));
    int sleeper = spawn_connect(node.port), other = spawn_connect(node.port);

    say(other, "SET secret hush\r\n");
    expect(other, "+OK\r\n");
    for (unsigned i = 0; i < 3; i++) {
        int leaver = spawn_connect(node.port);

        say(leaver, "PING\r\n");
        expect(leaver, "+PONG\r\n");
        say(sleeper, "DEBUG SLEEP 0.3\r\n");
        usleep(100 * 1000);
        say(leaver, "GET secret\r\n");
        setsockopt(leaver, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(leaver); /* with a reset */
        say(other, "PING\r\n");
        expect(sleeper, "+OK\r\n");
        expect(other, "+PONG\r\n");
    }
    close(sleeper);
    close(other);
    assert_int_equal(spawn_stop(&node), 0);
    unlink(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_nobody_takes_are_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
