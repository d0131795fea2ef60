/* test_real_transport.c - memberships over real sockets on loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cluster/member.h"
#include "cluster/real_transport.h"

enum { NODES = 5, MS = 1000 };

struct node {
    struct keyring *ring;
    struct real_transport *rt;
    struct membership *m;
    struct node_id id;
    unsigned failed;
};

static struct node nodes[NODES];
static struct cluster_identity identity = {.id = "loopback", .generation = 1};

static int64_t wall_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void on_change(void *owner, enum member_event event, const struct record *record)
{
    struct node *n = owner;

    (void)record;
    n->failed += event == MEMBER_FAILED;
}

static struct real_options options_of(struct node *n, unsigned i, uint8_t key_byte)
{
    struct real_options options = real_options_usual();
    uint8_t key[KEY_BYTES];
    uint32_t id;

    memset(key, key_byte, sizeof key);
    memset(n->id.bytes, (int)i + 1, sizeof n->id.bytes);
    n->ring = keyring_new();
    assert_non_null(n->ring);
    assert_int_equal(keyring_install(n->ring, key, &id), KEYRING_DONE);
    options.ring = n->ring;
    options.identity = identity;
    options.self = n->id;
    assert_true(address_parse("127.0.0.1:1", &options.listen));
    options.listen.port = 0;
    return options;
}

static void open_transport(struct node *n, unsigned i, uint8_t key_byte)
{
    struct real_options options = options_of(n, i, key_byte);

    /* UDP may have given the port that TCP got to somebody else. */
    for (int tries = 0; n->rt == NULL && tries < 20; tries++)
        n->rt = real_transport_new(&options);
    assert_non_null(n->rt);
}

static void start(unsigned i, uint8_t key_byte)
{
    struct node *n = &nodes[i];
    struct membership_options options = membership_lan();
    struct membership_self self = {.boots = 1, .weight = 100, .zone = "here"};

    memset(n, 0, sizeof *n);
    open_transport(n, i, key_byte);
    self.id = n->id;
    self.address = real_transport_address(n->rt);
    n->m =
        membership_new(&options, &self, real_transport_seam(n->rt), (struct membership_hooks){n, on_change});
    assert_non_null(n->m);
    real_transport_attach(n->rt, membership_user(n->m));
    membership_start(n->m);
}

static void stop(unsigned i)
{
    membership_free(&nodes[i].m);
    real_transport_free(&nodes[i].rt);
    keyring_free(&nodes[i].ring);
}

static void turn_all(void)
{
    for (unsigned i = 0; i < NODES; i++)
        if (nodes[i].rt != NULL)
            real_transport_turn(nodes[i].rt, 0);
    usleep(1000);
}

static void run(int64_t us)
{
    for (int64_t until = wall_us() + us; wall_us() < until;)
        turn_all();
}

static bool all_see(unsigned count)
{
    for (unsigned i = 0; i < NODES; i++)
        if (nodes[i].m != NULL && membership_live(nodes[i].m) != count)
            return false;
    return true;
}

static int64_t until_all_see(unsigned count, int64_t most_us)
{
    int64_t start_us = wall_us();

    while (!all_see(count) && wall_us() - start_us < most_us)
        turn_all();
    return all_see(count) ? wall_us() - start_us : -1;
}

static void on_seeds(void *owner, const struct address *seeds, size_t count)
{
    struct node *n = owner;

    membership_seeds(n->m, seeds, count);
}

static void seed_all(void)
{
    struct address seed = real_transport_address(nodes[0].rt);

    for (unsigned i = 1; i < NODES; i++)
        membership_seeds(nodes[i].m, &seed, 1);
}

static void nodes_find_each_other_and_notice_a_death(void **state)
{
    char name[32];
    const char *names[2] = {name, "no-such-host.invalid:7000"};
    uint64_t sent = 0;
    int64_t us;

    (void)state;
    for (unsigned i = 0; i < NODES; i++)
        start(i, 1);
    snprintf(name, sizeof name, "localhost:%u", real_transport_address(nodes[0].rt).port);
    for (unsigned i = 1; i < NODES; i++)
        assert_true(real_transport_seeds(nodes[i].rt, names, 2, 1000, on_seeds, &nodes[i]));
    us = until_all_see(NODES, 20000 * MS);
    assert_true(us >= 0);
    print_message("# %d nodes on loopback found each other in %.2f s\n", NODES, (double)us / 1e6);
    run(1000 * MS);
    for (unsigned i = 0; i < NODES; i++)
        sent -= real_transport_counters(nodes[i].rt)->bytes_out;
    run(2000 * MS);
    for (unsigned i = 0; i < NODES; i++)
        sent += real_transport_counters(nodes[i].rt)->bytes_out;
    print_message("# idle, each sends %llu B/s without IP and UDP headers\n",
                  (unsigned long long)(sent / NODES / 2));
    assert_true(sent / NODES / 2 < 2048);
    for (unsigned i = 0; i < NODES; i++) {
        const struct real_counters *c = real_transport_counters(nodes[i].rt);
        assert_true(c->datagrams_in > 0 && c->datagrams_out > 0);
        for (unsigned v = 0; v < FRAME_VERDICTS; v++)
            assert_int_equal(c->refused[v], 0);
    }

    stop(3);
    us = until_all_see(NODES - 1, 10000 * MS);
    assert_true(us >= 0);
    print_message("# a dead process was known to all in %.2f s\n", (double)us / 1e6);
    assert_true(
        membership_counters(nodes[0].m)->hard_evidence + membership_counters(nodes[1].m)->hard_evidence +
            membership_counters(nodes[2].m)->hard_evidence + membership_counters(nodes[4].m)->hard_evidence >
        1);

    membership_leave(nodes[4].m);
    for (int i = 0; i < 5000 && !membership_gone(nodes[4].m); i++)
        turn_all();
    assert_true(membership_gone(nodes[4].m));
    stop(4);
    assert_true(until_all_see(NODES - 2, 5000 * MS) >= 0);
    assert_true(nodes[0].failed <= 1);
    for (unsigned i = 0; i < 3; i++) {
        membership_check(nodes[i].m);
        stop(i);
    }
}

static void clusters_do_not_merge(void **state)
{
    const struct real_counters *c;

    (void)state;
    start(0, 1);
    start(1, 2); /* another key */
    identity.id[0] = 'L';
    start(2, 1); /* another cluster with the same key */
    identity.id[0] = 'l';
    identity.generation++;
    start(3, 1);
    identity.generation--;
    start(4, 1); /* a real one */
    seed_all();
    run(3000 * MS);
    assert_int_equal(membership_live(nodes[0].m), 2);
    assert_int_equal(membership_live(nodes[4].m), 2);
    for (unsigned i = 1; i < 4; i++)
        assert_int_equal(membership_live(nodes[i].m), 1);
    c = real_transport_counters(nodes[0].rt);
    assert_true(c->refused[FRAME_UNKNOWN_KEY] > 0);
    assert_true(c->refused[FRAME_FORGED] > 0);
    for (unsigned i = 0; i < NODES; i++)
        stop(i);
}

/* Random bytes, cut and old frames, on both kinds of socket: counted, and nothing else. */
static void nonsense_is_counted(void **state)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    const struct real_counters *c;
    uint8_t bytes[2000];
    int udp = socket(AF_INET, SOCK_DGRAM, 0), tcp;
    uint64_t refused = 0;

    (void)state;
    start(0, 1);
    start(1, 1);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(real_transport_address(nodes[0].rt).port);
    for (unsigned i = 0; i < 500; i++) {
        for (size_t b = 0; b < sizeof bytes; b++)
            bytes[b] = (uint8_t)rand();
        bytes[0] = (uint8_t)(i % 3);
        sendto(udp, bytes, (size_t)rand() % sizeof bytes, 0, (struct sockaddr *)&to, sizeof to);
        if (i % 10 == 0)
            turn_all();
    }
    for (unsigned i = 0; i < 5; i++) {
        tcp = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(tcp, (struct sockaddr *)&to, sizeof to), 0);
        bytes[0] = (uint8_t)(i * 40);
        assert_true(send(tcp, bytes, sizeof bytes, MSG_NOSIGNAL) > 0);
        run(20 * MS);
        close(tcp);
    }
    tcp = socket(AF_INET, SOCK_STREAM, 0); /* says nothing at all */
    assert_int_equal(connect(tcp, (struct sockaddr *)&to, sizeof to), 0);
    c = real_transport_counters(nodes[0].rt);
    for (int64_t until = wall_us() + 20000 * MS; c->streams_expired == 0 && wall_us() < until;)
        turn_all();
    for (unsigned v = 0; v < FRAME_VERDICTS; v++)
        refused += c->refused[v];
    assert_true(refused >= 500);
    assert_true(c->streams_expired >= 1);
    assert_int_equal(membership_live(nodes[0].m), 1);
    membership_check(nodes[0].m);
    close(tcp);
    close(udp);
    stop(0);
    stop(1);
}

/* Many connect and say nothing: this node can still ask others. */
static void the_silent_do_not_take_all_places(void **state)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    struct address seed;
    int silent[80];

    (void)state;
    start(0, 1);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(real_transport_address(nodes[0].rt).port);
    for (unsigned i = 0; i < 80; i++) {
        silent[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(silent[i], (struct sockaddr *)&to, sizeof to), 0);
        turn_all();
    }
    assert_true(real_transport_counters(nodes[0].rt)->streams_refused > 0);
    start(1, 1);
    seed = real_transport_address(nodes[1].rt);
    membership_seeds(nodes[0].m, &seed, 1);
    assert_true(until_all_see(2, 3000 * MS) >= 0);
    for (unsigned i = 0; i < 80; i++)
        close(silent[i]);
    stop(0);
    stop(1);
}

/* ---- streams by themselves -------------------------------------------- */

struct ear {
    size_t messages, bytes;
    uint64_t stream;
    unsigned ended[3];
    bool echo;
    struct transport out;
};

static void ear_datagram(void *owner, const struct origin *from, struct slice bytes)
{
    (void)owner;
    (void)from;
    (void)bytes;
}
static void ear_unreachable(void *owner, const struct address *whom)
{
    (void)owner;
    (void)whom;
}
static void ear_message(void *owner, uint64_t stream, const struct origin *from, struct slice message)
{
    struct ear *e = owner;

    (void)from;
    e->messages++;
    e->bytes += message.len;
    e->stream = stream;
    if (e->echo)
        assert_true(e->out.send_stream(e->out.ctx, stream, message));
}
static void ear_ended(void *owner, uint64_t stream, enum stream_end why)
{
    (void)stream;
    ((struct ear *)owner)->ended[why]++;
}
static void ear_alarm(void *owner)
{
    (void)owner;
}

static void attach(struct node *n, struct ear *e)
{
    *e = (struct ear){.out = real_transport_seam(n->rt)};
    real_transport_attach(
        n->rt, (struct transport_user){e, ear_datagram, ear_unreachable, ear_message, ear_ended, ear_alarm});
}

static void streams_carry_much_and_say_how_they_end(void **state)
{
    static uint8_t big[STREAM_MESSAGE_MAX];
    struct ear a, b;
    struct address to, nobody;
    uint64_t stream;

    (void)state;
    memset(nodes, 0, sizeof nodes);
    for (unsigned i = 0; i < 3; i++)
        open_transport(&nodes[i], i, 1);
    attach(&nodes[0], &a);
    attach(&nodes[1], &b);
    b.echo = true;
    to = real_transport_address(nodes[1].rt);
    nobody = real_transport_address(nodes[2].rt);
    real_transport_free(&nodes[2].rt);
    keyring_free(&nodes[2].ring);

    stream = a.out.open_stream(a.out.ctx, &to);
    assert_true(stream != 0);
    for (unsigned i = 0; i < 100; i++)
        assert_true(a.out.send_stream(a.out.ctx, stream, (struct slice){big, sizeof big - i}));
    for (int i = 0; i < 3000 && a.messages < 100; i++)
        turn_all();
    assert_int_equal(b.messages, 100);
    assert_int_equal(a.messages, 100);
    assert_int_equal(a.bytes, b.bytes);
    a.out.close_stream(a.out.ctx, stream);
    run(50 * MS);
    assert_int_equal(b.ended[STREAM_CLOSED], 1);
    assert_false(b.out.send_stream(b.out.ctx, b.stream, slice_of("x")));

    stream = a.out.open_stream(a.out.ctx, &to); /* closed before it is connected: still delivered */
    assert_true(a.out.send_stream(a.out.ctx, stream, slice_of("last words")));
    a.out.close_stream(a.out.ctx, stream);
    b.echo = false;
    run(50 * MS);
    assert_int_equal(b.messages, 101);
    assert_int_equal(b.ended[STREAM_CLOSED], 2);

    assert_true(a.out.open_stream(a.out.ctx, &nobody) != 0);
    run(50 * MS);
    assert_int_equal(a.ended[STREAM_REFUSED], 1);

    stream = a.out.open_stream(a.out.ctx, &to); /* more than it may hold unsent */
    for (unsigned i = 0; i < 300 && a.out.send_stream(a.out.ctx, stream, (struct slice){big, sizeof big});
         i++)
        ;
    assert_int_equal(real_transport_counters(nodes[0].rt)->streams_overflown, 1);
    run(50 * MS);
    assert_int_equal(a.ended[STREAM_BROKEN], 1);

    for (unsigned i = 0; i < 100; i++) /* more than there may be */
        a.out.open_stream(a.out.ctx, &to);
    assert_true(real_transport_counters(nodes[0].rt)->streams_refused > 0);
    real_transport_free(&nodes[0].rt);
    keyring_free(&nodes[0].ring);
    real_transport_free(&nodes[1].rt);
    keyring_free(&nodes[1].ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_carry_much_and_say_how_they_end),
        cmocka_unit_test(nodes_find_each_other_and_notice_a_death),
        cmocka_unit_test(clusters_do_not_merge),
        cmocka_unit_test(nonsense_is_counted),
        cmocka_unit_test(the_silent_do_not_take_all_places),
    };
    /* Who runs this beside us is another cluster. */
    identity.generation = (uint32_t)getpid();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
