/* test_describe.c - clients are told of a view in the very bytes of a real redis cluster. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "cluster/describe.h"
#include "tests/unit/support/spawn.h"

static struct view_member member_of(uint8_t fill, uint16_t port)
{
    struct view_member m = {.incarnation = 1,
                            .weight = 1,
                            .cluster_port = (uint16_t)(port + 2),
                            .client_port = (uint16_t)(port + 1),
                            .port = port,
                            .memcache_port = (uint16_t)(port + 3),
                            .ip_bytes = 4,
                            .ip = {127, 0, 0, 1},
                            .zone = "",
                            .hostname = ""};

    memset(m.id.bytes, fill, NODE_ID_BYTES);
    return m;
}

static const struct view *view_of(const struct view_member *members, size_t count)
{
    struct view_parts parts = {
        .epoch = 12, .rules = {64, HEADROOM_DEFAULT}, .members = members, .member_count = count};
    enum view_fault fault;
    const struct view *view = view_new(&parts, &fault);

    assert_non_null(view);
    return view;
}

static void says(struct slice got, const char *want)
{
    char text[4096];

    assert_true(got.len < sizeof text);
    memcpy(text, got.data, got.len);
    text[got.len] = '\0';
    assert_string_equal(text, want);
}

#define ID_AA "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID_1B "1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b"

static void one_node_has_everything(void **state)
{
    struct view_member m = member_of(0xaa, 7000);
    const struct view *view = view_of(&m, 1);
    const struct description *d = describe_new(view, 0);

    (void)state;
    assert_non_null(d);
    view_unpin(&view); /* what was described stays */
    says(d->slots.resp2,
         "*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$9\r\n127.0.0.1\r\n:7001\r\n$40\r\n" ID_AA "\r\n*0\r\n");
    says(d->slots.resp3,
         "*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$9\r\n127.0.0.1\r\n:7001\r\n$40\r\n" ID_AA "\r\n%0\r\n");
    says(d->shards.resp2,
         "*1\r\n*4\r\n$5\r\nslots\r\n*2\r\n:0\r\n:16383\r\n$5\r\nnodes\r\n*1\r\n*14\r\n$2\r\nid\r\n$"
         "40\r\n" ID_AA
         "\r\n$4\r\nport\r\n:7001\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n$8\r\nendpoint\r\n$9\r\n127.0.0.1\r\n"
         "$4\r\nrole\r\n$6\r\nmaster\r\n$18\r\nreplication-offset\r\n:0\r\n$6\r\nhealth\r\n$6\r\nonline\r\n");
    says(d->nodes.resp2,
         "$102\r\n" ID_AA " 127.0.0.1:7001@7002 myself,master - 0 0 12 connected 0-16383\n\r\n");
    says(d->nodes.resp3,
         "=106\r\ntxt:" ID_AA " 127.0.0.1:7001@7002 myself,master - 0 0 12 connected 0-16383\n\r\n");
    says(d->memcache_nodes, "12\n127.0.0.1|127.0.0.1|7003\n");
    says(d->memcache_config, "CONFIG cluster 0 28\r\n12\n127.0.0.1|127.0.0.1|7003\n\r\nEND\r\n");
    describe_free(&d);
    assert_null(d);
    describe_free(&d);
}

/* Names, other kinds of address, and who is told of to whom. */
static void states_and_names_show(void **state)
{
    struct view_member members[4] = {member_of(0x1b, 7000), member_of(0x2c, 7100), member_of(0x3d, 7200),
                                     member_of(0xaa, 7300)};
    const struct view *view;
    const struct description *d;

    (void)state;
    members[0].hostname = "cache-a.example";
    members[0].ip_bytes = 16;
    memcpy(members[0].ip, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
    members[1].state = VIEW_LEAVING;
    members[2].state = VIEW_FAILED;
    members[3].weight = 0;
    members[3].memcache_port = 0;
    view = view_of(members, 4);
    d = describe_new(view, NOBODY);
    assert_non_null(d);
    says(d->slots.resp2, "*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$7\r\nfd00::1\r\n:7001\r\n$40\r\n" ID_1B
                         "\r\n*2\r\n$8\r\nhostname\r\n$15\r\ncache-a.example\r\n");
    says(d->nodes.resp2,
         "$378\r\n" ID_1B " fd00::1:7001@7002,cache-a.example master - 0 0 12 connected 0-16383\n"
         "2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c 127.0.0.1:7101@7102 master - 0 0 12 connected\n"
         "3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d 127.0.0.1:7201@7202 master,fail - 0 0 12 "
         "disconnected\n" ID_AA " 127.0.0.1:7301@7302 master - 0 0 12 connected\n\r\n");
    says(d->memcache_nodes, "12\ncache-a.example|fd00::1|7003\n");
    describe_free(&d);
    view_unpin(&view);

    view = view_of(NULL, 0);
    d = describe_new(view, NOBODY);
    assert_non_null(d);
    says(d->slots.resp3, "*0\r\n");
    says(d->shards.resp3, "*0\r\n");
    says(d->nodes.resp2, "$0\r\n\r\n");
    says(d->memcache_config, "CONFIG cluster 0 4\r\n12\n\n\r\nEND\r\n");
    describe_free(&d);
    view_unpin(&view);
}

/* Every slot is told of once, in order, with the node that holds it. */
static void slots_are_complete(void **state)
{
    static struct view_member members[100];
    const struct view *view;
    const struct description *d;
    char *text, *line, *rest = NULL;
    unsigned next = 0, first = 0;

    (void)state;
    for (size_t i = 0; i < 100; i++)
        members[i] = member_of((uint8_t)i, (uint16_t)(7000 + 10 * i));
    view = view_of(members, 100);
    d = describe_new(view, 3);
    assert_non_null(d);
    text = calloc(1, d->slots.resp2.len + 1);
    memcpy(text, d->slots.resp2.data, d->slots.resp2.len);
    line = strtok_r(text, "\r\n", &rest);
    for (int field = 0; (line = strtok_r(NULL, "\r\n", &rest)) != NULL;) {
        if (strcmp(line, "*3") == 0) {
            field = 1;
        } else if (line[0] == ':' && field == 1) {
            first = (unsigned)atoi(line + 1);
            assert_int_equal(first, next);
            field = 2;
        } else if (line[0] == ':' && field == 2) {
            next = (unsigned)atoi(line + 1) + 1;
            field = 3;
        } else if (line[0] == ':' && field == 3) {
            for (unsigned slot = first; slot < next; slot++)
                assert_int_equal(view->members[view->slot_holder[slot]].client_port, atoi(line + 1));
        }
    }
    assert_int_equal(next, SLOTS);
    free(text);
    describe_free(&d);
    view_unpin(&view);
}

/* ---- beside a real cluster ---- */

enum { NODES = 4, REPLY_MAX = 65536 }; /* the last one without slots */

static struct spawned real[NODES];
static char directory[] = "/tmp/corral-describe-XXXXXX";

static int real_stop(void **state)
{
    char command[128];

    (void)state;
    for (int i = 0; i < NODES; i++)
        spawn_stop(&real[i]);
    snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command);
}

static bool real_start(struct view_member *members)
{
    char path[SPAWN_PATH_MAX], log[96], config[32], text[NODES][2][16];

    if (!spawn_find("redis-server", path))
        return false;
    assert_non_null(mkdtemp(directory));
    for (int i = 0; i < NODES; i++) {
        int port = spawn_free_port(), bus = spawn_free_port();
        char *argv[] = {path,
                        "--port",
                        text[i][0],
                        "--cluster-port",
                        text[i][1],
                        "--cluster-enabled",
                        "yes",
                        "--cluster-config-file",
                        config,
                        "--cluster-node-timeout",
                        "1000",
                        "--dir",
                        directory,
                        "--save",
                        "",
                        "--bind",
                        "127.0.0.1",
                        "--cluster-announce-hostname",
                        i == 1 ? "cache-b.example" : "",
                        NULL};

        snprintf(text[i][0], sizeof text[i][0], "%d", port);
        snprintf(text[i][1], sizeof text[i][1], "%d", bus);
        snprintf(config, sizeof config, "nodes-%d.conf", i);
        snprintf(log, sizeof log, "%s/log-%d", directory, i);
        members[i] = member_of(0, (uint16_t)(port - 1));
        members[i].cluster_port = (uint16_t)bus;
        if (i == 1)
            members[i].hostname = "cache-b.example";
        if (i == NODES - 1)
            members[i].weight = 0;
        if (!spawn_start(&real[i], argv, port, log))
            return false;
    }
    return true;
}

/* What a real node answers, as a text; HELLO before, for RESP3. */
static void ask(int node, int proto, const char *command, char reply[REPLY_MAX])
{
    static const char end[] = "+PONG\r\n";
    int fd = spawn_connect(real[node].port);
    char text[256], *start;
    size_t len = 0;
    ssize_t n;

    assert_true(fd >= 0);
    len = (size_t)snprintf(text, sizeof text, "HELLO %d\r\nPING\r\n%s\r\nPING\r\n", proto, command);
    assert_true(spawn_send(fd, text, len));
    len = 0;
    for (;;) {
        n = spawn_receive(fd, reply + len, REPLY_MAX - 1 - len);
        assert_true(n > 0);
        len += (size_t)n;
        reply[len] = '\0';
        start = strstr(reply, end);
        if (start != NULL && (start = start + strlen(end)) + strlen(end) <= reply + len &&
            strcmp(reply + len - strlen(end), end) == 0)
            break;
    }
    close(fd);
    len = (size_t)(reply + len - strlen(end) - start);
    memmove(reply, start, len);
    reply[len] = '\0';
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorts the parts that begin with `mark`, since redis has its nodes in no order. */
static void sort_parts(char *text, const char *mark)
{
    char *parts[16], *sorted = calloc(1, strlen(text) + 1), *at = strstr(text, mark), *next;
    size_t count = 0;

    if (at != NULL) {
        strncat(sorted, text, (size_t)(at - text));
        for (; at != NULL; at = next) {
            next = strstr(at + 1, mark);
            assert_true(count < 16);
            parts[count++] = next != NULL ? strndup(at, (size_t)(next - at)) : strdup(at);
        }
        qsort(parts, count, sizeof *parts, by_text);
        for (size_t i = 0; i < count; i++) {
            strcat(sorted, parts[i]);
            free(parts[i]);
        }
        strcpy(text, sorted);
    }
    free(sorted);
}

/* CLUSTER NODES without pings, pongs, epochs (a view does not know them), and sorted. */
static void plain_nodes(const char *text, char plain[REPLY_MAX])
{
    char *copy = strdup(text), *lines[16], *rest = NULL, *line;
    char id[64], where[128], flags[64], master[64], link[32];
    size_t count = 0, used = 0;
    int slots;

    strtok_r(copy, "\r\n", &rest); /* the header, whose length differs */
    if (rest != NULL && strncmp(rest + 1, "txt:", 4) == 0)
        rest += 5;
    while ((line = strtok_r(NULL, "\r\n", &rest)) != NULL) {
        assert_true(count < 16);
        lines[count++] = line;
    }
    qsort(lines, count, sizeof *lines, by_text);
    plain[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(sscanf(lines[i], "%63s %127s %63s %63s %*s %*s %*s %31s%n", id, where, flags, master,
                                link, &slots),
                         5);
        used += (size_t)snprintf(plain + used, REPLY_MAX - used, "%s %s %s %s %s%s\n", id, where, flags,
                                 master, link, lines[i] + slots);
    }
    free(copy);
}

static const char *text_of(struct slice reply, char text[REPLY_MAX])
{
    assert_true(reply.len < REPLY_MAX);
    memcpy(text, reply.data, reply.len);
    text[reply.len] = '\0';
    return text;
}

static char theirs[REPLY_MAX], ours[REPLY_MAX], theirs_plain[REPLY_MAX], ours_plain[REPLY_MAX];

/* Whether the real node 0 answers as we do, order of nodes aside; the two texts stay for a look. */
static bool agrees(const struct description *d)
{
    for (int proto = 2; proto <= 3; proto++) {
        bool old = proto == 2;

        ask(0, proto, "CLUSTER SLOTS", theirs);
        text_of(old ? d->slots.resp2 : d->slots.resp3, ours);
        if (strcmp(theirs, ours) != 0)
            return false;
        ask(0, proto, "CLUSTER SHARDS", theirs);
        text_of(old ? d->shards.resp2 : d->shards.resp3, ours);
        sort_parts(theirs, old ? "*4\r\n$5\r\nslots" : "%2\r\n$5\r\nslots");
        sort_parts(ours, old ? "*4\r\n$5\r\nslots" : "%2\r\n$5\r\nslots");
        if (strcmp(theirs, ours) != 0)
            return false;
        ask(0, proto, "CLUSTER NODES", theirs);
        text_of(old ? d->nodes.resp2 : d->nodes.resp3, ours);
        plain_nodes(theirs, theirs_plain);
        plain_nodes(ours, ours_plain);
        if (theirs[0] != ours[0] || strcmp(theirs_plain, ours_plain) != 0) {
            strcpy(theirs, theirs_plain);
            strcpy(ours, ours_plain);
            return false;
        }
    }
    return true;
}

/* News takes its time to get around in a real cluster. */
static void agree_soon(const struct view *view, const struct node_id *self)
{
    const struct description *d = describe_new(view, view_find(view, self));
    struct timespec nap = {.tv_nsec = 200 * 1000 * 1000};
    int tries = 150;
    bool agreed;

    assert_non_null(d);
    while (!(agreed = agrees(d)) && tries-- > 0)
        nanosleep(&nap, NULL);
    if (!agreed)
        assert_string_equal(theirs, ours);
    assert_true(agreed);
    describe_free(&d);
}

static void tell_real(const struct view *view, int node, const struct node_id *id)
{
    uint16_t member = view_find(view, id);
    unsigned slots = SLOTS / view->rules.granules;
    char command[128];

    for (unsigned g = 0; g < view->rules.granules; g++) {
        if (view->holder[g] != member)
            continue;
        snprintf(command, sizeof command, "CLUSTER ADDSLOTSRANGE %u %u", g * slots, (g + 1) * slots - 1);
        ask(node, 2, command, theirs);
        assert_string_equal(theirs, "+OK\r\n");
    }
}

static void as_a_real_cluster_of_the_same_nodes(void **state)
{
    struct view_member members[NODES];
    const struct view *view;
    char command[128], text[3] = "";

    (void)state;
    if (!real_start(members))
        skip();
    ask(0, 2, "INFO server", theirs);
    if (strstr(theirs, "redis_version:7.0.") == NULL)
        skip(); /* later ones have more to say */
    for (int i = 0; i < NODES; i++) {
        ask(i, 2, "CLUSTER MYID", theirs);
        assert_memory_equal(theirs, "$40\r\n", 5);
        for (size_t j = 0; j < NODE_ID_BYTES; j++) {
            memcpy(text, theirs + 5 + 2 * j, 2);
            members[i].id.bytes[j] = (uint8_t)strtoul(text, NULL, 16);
        }
    }
    view = view_of(members, NODES);
    for (int i = 0; i < NODES; i++) {
        tell_real(view, i, &members[i].id);
        snprintf(command, sizeof command, "CLUSTER SET-CONFIG-EPOCH %d", i + 1);
        ask(i, 2, command, theirs);
        snprintf(command, sizeof command, "CLUSTER MEET 127.0.0.1 %d %u", members[i].client_port,
                 members[i].cluster_port);
        if (i > 0)
            ask(0, 2, command, theirs);
    }
    agree_soon(view, &members[0].id);
    view_unpin(&view);

    spawn_stop(&real[NODES - 1]);
    members[NODES - 1].state = VIEW_FAILED;
    view = view_of(members, NODES);
    agree_soon(view, &members[0].id);
    view_unpin(&view);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_node_has_everything),
        cmocka_unit_test(states_and_names_show),
        cmocka_unit_test(slots_are_complete),
        cmocka_unit_test_teardown(as_a_real_cluster_of_the_same_nodes, real_stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
