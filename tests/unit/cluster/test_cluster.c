/* test_cluster.c - one node, and what it is told by others: how each granule changes hands, step by step.
 *
 * The others are played by hand: a datagram in, and what goes out is looked at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cluster/cluster_inside.h"
#include "cluster/message.h"

enum { GRANULES = 64, MS = 1000, SENT_MAX = 512, TERM = 1 << HOLDERS_TERM_BITS };

struct sent {
    struct address to;
    size_t len;
    uint8_t bytes[DATAGRAM_MAX];
};

static int64_t now;
static int64_t alarm_at;
static uint64_t dice;
static struct sent sent[SENT_MAX];
static unsigned sent_count, publications, sent_at_publication;

static void send_datagram(void *ctx, const struct address *to, struct slice bytes)
{
    (void)ctx;
    assert_true(sent_count < SENT_MAX);
    sent[sent_count].to = *to;
    sent[sent_count].len = bytes.len;
    memcpy(sent[sent_count++].bytes, bytes.data, bytes.len);
}
static uint64_t open_stream(void *ctx, const struct address *to)
{
    (void)ctx;
    (void)to;
    return 0;
}
static bool send_stream(void *ctx, uint64_t stream, struct slice message)
{
    (void)ctx;
    (void)stream;
    (void)message;
    return true;
}
static void close_stream(void *ctx, uint64_t stream)
{
    (void)ctx;
    (void)stream;
}
static void set_alarm(void *ctx, int64_t at)
{
    (void)ctx;
    alarm_at = at;
}
static int64_t now_us(void *ctx)
{
    (void)ctx;
    return now;
}
static uint64_t random_number(void *ctx)
{
    (void)ctx;
    return dice = dice * 6364136223846793005 + 1442695040888963407;
}
static void on_publish(void *owner, const struct cluster_state *state, enum cluster_cause cause,
                       const struct node_id *about)
{
    (void)owner;
    (void)cause;
    (void)about;
    view_check(state->view);
    publications++;
    sent_at_publication = sent_count;
}

static struct node_id id_of(uint8_t byte)
{
    struct node_id id;

    memset(id.bytes, byte, sizeof id.bytes);
    return id;
}

static struct address address_of(uint8_t byte)
{
    struct address a = {.ip = {0xfd, [15] = byte}, .port = 7000};

    return a;
}

static struct holder holder_of(uint8_t byte, uint64_t boots)
{
    return (struct holder){id_of(byte), boots};
}

static void run(struct cluster *c, int64_t us)
{
    struct transport_user user = cluster_user(c);

    for (int64_t until = now + us; alarm_at <= until;) {
        now = alarm_at > now ? alarm_at : now;
        alarm_at = INT64_MAX;
        user.alarm(user.owner);
        cluster_check(c);
        if (alarm_at > until)
            now = until;
    }
}

static void deliver(struct cluster *c, uint8_t from, struct slice bytes)
{
    struct transport_user user = cluster_user(c);
    struct origin origin = {address_of(from), id_of(from), now};

    user.datagram(user.owner, &origin, bytes);
    cluster_check(c);
}

static void tell_record(struct cluster *c, uint8_t node, uint64_t incarnation, enum member_state state,
                        uint16_t weight)
{
    struct message m = {.type = MESSAGE_RECORD,
                        .record = {.id = id_of(node),
                                   .incarnation = incarnation,
                                   .address = address_of(node),
                                   .weight = weight,
                                   .state = (uint8_t)state}};
    uint8_t room[DATAGRAM_MAX];
    struct packet packet;

    packet_begin(&packet, room, sizeof room);
    assert_true(packet_put(&packet, &m));
    deliver(c, node, (struct slice){packet.bytes, packet.len});
}

static void tell_entry(struct cluster *c, uint8_t from, unsigned granule, struct held held)
{
    uint8_t room[DATAGRAM_MAX];
    struct holder_writer w;

    holder_write_entries(&w, room, sizeof room, GRANULES, 0);
    assert_true(holder_write_entry(&w, granule, &held));
    deliver(c, from, holder_write_end(&w, 0));
}

static void tell_list(struct cluster *c, uint8_t from, enum holder_message_type type, unsigned granule,
                      uint64_t boots)
{
    uint8_t room[DATAGRAM_MAX];
    struct holder_writer w;

    holder_write_list(&w, room, sizeof room, type, GRANULES, boots);
    assert_true(holder_write_granule(&w, granule));
    deliver(c, from, holder_write_end(&w, 0));
}

/* How many of the messages from that one on, to that node, of that type, are about the granule. */
static unsigned told(unsigned since, uint8_t to, enum holder_message_type type, unsigned granule)
{
    struct address address = address_of(to);
    struct holder_message m;
    struct held held;
    unsigned count = 0;

    for (unsigned i = since; i < sent_count; i++) {
        struct slice bytes = {sent[i].bytes, sent[i].len};
        if (!address_equals(&sent[i].to, &address) || !holder_message_is(bytes))
            continue;
        assert_true(holder_message_read(bytes, GRANULES, &m));
        for (unsigned k = 0; m.type == type && type != HOLDER_DIGEST && k < m.count; k++)
            count += (type == HOLDER_ENTRIES ? holder_message_entry(&m, k, &held)
                                             : holder_message_granule(&m, k)) == granule;
    }
    return count;
}

/* Node 5, started for the third time; its probes are never answered, but nobody dies of that here. */
static struct cluster *alone(void)
{
    struct transport seam = {NULL,         send_datagram, open_stream, send_stream,
                             close_stream, set_alarm,     now_us,      random_number};
    struct membership_self self = {.id = id_of(5), .boots = 3, .weight = 100, .address = address_of(5)};
    struct cluster_options options = cluster_lan();
    struct cluster *c;

    options.rules.granules = GRANULES;
    options.membership.suspicion_mult = 1000;
    now = 1000000;
    alarm_at = INT64_MAX;
    dice = 1;
    sent_count = publications = 0;
    c = cluster_new(&options, &self, seam, (struct cluster_hooks){NULL, on_publish, NULL});
    assert_non_null(c);
    cluster_check(c);
    cluster_start(c);
    return c;
}

static unsigned held_here(const struct cluster *c)
{
    const struct cluster_state *state = cluster_state(c);
    unsigned count = 0;

    for (unsigned g = 0; g < GRANULES; g++)
        count += state->view->holder[g] == state->self;
    return count;
}

/* The first granule that node `owner` owns by this node's view. */
static unsigned granule_of(const struct cluster *c, uint8_t owner)
{
    const struct view *view = cluster_state(c)->view;
    struct node_id id = id_of(owner);
    unsigned g = 0;

    while (g < GRANULES && view->owner[g] != view_find(view, &id))
        g++;
    assert_true(g < GRANULES);
    return g;
}

static void who_is_alone_takes_all_after_a_while(void **state)
{
    struct cluster *c = alone();

    (void)state;
    run(c, 400 * MS);
    assert_int_equal(held_here(c), 0);
    assert_false(cluster_learned(c));
    run(c, 200 * MS);
    assert_true(cluster_learned(c));
    assert_int_equal(held_here(c), GRANULES);
    assert_int_equal(cluster_counters(c)->takeovers, GRANULES);
    assert_int_equal(holders_at(c->table, 0)->version, TERM);
    cluster_free(&c);
}

/* Node 9 comes: it owns half, and gets a granule when it asks, after this node has published that. */
static void a_claim_is_yielded_to_the_owner_only(void **state)
{
    struct cluster *c = alone();
    unsigned its, ours, before;

    (void)state;
    run(c, 700 * MS);
    tell_record(c, 9, 1 << 16, MEMBER_ALIVE, 100);
    run(c, 100 * MS);
    its = granule_of(c, 9);
    ours = granule_of(c, 5);
    assert_int_equal(held_here(c), GRANULES);

    before = sent_count;
    tell_list(c, 9, HOLDER_CLAIM, ours, 1); /* not its own */
    tell_list(c, 9, HOLDER_CLAIM, its, 2);  /* by a process that is not the one we know */
    run(c, 20 * MS);
    assert_int_equal(held_here(c), GRANULES);
    assert_int_equal(cluster_counters(c)->claims_refused, 1);
    assert_int_equal(told(before, 9, HOLDER_ENTRIES, its), 0);

    before = sent_count;
    tell_list(c, 9, HOLDER_CLAIM, its, 1);
    assert_int_equal(sent_count, before); /* first the view, then the answer */
    run(c, 10 * MS);
    assert_int_equal(sent_at_publication, before);
    assert_true(told(before, 9, HOLDER_ENTRIES, its) > 0);
    assert_int_equal(held_here(c), GRANULES - 1);
    assert_int_equal(holders_at(c->table, its)->version, 2 * TERM);
    assert_int_equal(cluster_pulled_from(c), 1);
    cluster_free(&c);
}

static void a_claim_is_answered_again(void **state)
{
    struct cluster *c = alone();
    unsigned its, before;

    (void)state;
    run(c, 700 * MS);
    tell_record(c, 9, 1 << 16, MEMBER_ALIVE, 100);
    run(c, 100 * MS);
    its = granule_of(c, 9);
    tell_list(c, 9, HOLDER_CLAIM, its, 1);
    run(c, 500 * MS); /* the answer was lost, and so was all news */
    before = sent_count;
    tell_list(c, 9, HOLDER_CLAIM, its, 1);
    run(c, 10 * MS);
    assert_int_equal(told(before, 9, HOLDER_ENTRIES, its), 1);
    assert_int_equal(holders_at(c->table, its)->version, 2 * TERM);

    before = sent_count;
    run(c, 3000 * MS); /* it is asked whether it has pulled */
    assert_true(told(before, 9, HOLDER_GIVEN, its) >= 2);
    tell_list(c, 9, HOLDER_PULLED, its, 2); /* meant for an earlier process */
    assert_int_equal(cluster_pulled_from(c), 1);
    tell_list(c, 9, HOLDER_PULLED, its, 3);
    assert_int_equal(cluster_pulled_from(c), 0);
    cluster_free(&c);
}

static void the_claimer_dies(void **state)
{
    struct cluster *c = alone();
    unsigned its;

    (void)state;
    run(c, 700 * MS);
    tell_record(c, 9, 1 << 16, MEMBER_ALIVE, 100);
    run(c, 100 * MS);
    its = granule_of(c, 9);
    tell_list(c, 9, HOLDER_CLAIM, its, 1);
    run(c, 20 * MS);
    assert_int_equal(held_here(c), GRANULES - 1);
    tell_record(c, 9, 2 << 16, MEMBER_ALIVE, 0); /* restarted: it holds nothing any more */
    run(c, 20 * MS);
    assert_int_equal(cluster_pulled_from(c), 0);
    assert_int_equal(held_here(c), GRANULES); /* its weight is 0, so this node owns all */
    assert_int_equal(holders_at(c->table, its)->version, 3 * TERM);
    cluster_free(&c);
}

/* This node comes to one that holds all. */
static struct cluster *joined(unsigned *ours)
{
    struct cluster *c = alone();

    tell_record(c, 9, 1 << 16, MEMBER_ALIVE, 100);
    for (unsigned g = 0; g < GRANULES; g++)
        tell_entry(c, 9, g, (struct held){.version = 40, .holder = holder_of(9, 1)});
    run(c, 100 * MS);
    c->learned = true; /* the stream by which it learns is the simulator's affair */
    membership_set_weight(cluster_membership(c), 100);
    cluster_changed(c, CLUSTER_MEMBERS, NULL);
    run(c, 20 * MS);
    *ours = granule_of(c, 5);
    return c;
}

static void an_owner_claims_and_waits(void **state)
{
    unsigned ours, before;
    struct cluster *c = joined(&ours);
    struct held given = {41, holder_of(5, 3), holder_of(9, 1)};
    struct node_id nine = id_of(9);

    (void)state;
    assert_int_equal(held_here(c), 0);
    run(c, 400 * MS);
    assert_int_equal(told(0, 9, HOLDER_CLAIM, ours), 0); /* it is not settled yet */
    run(c, 200 * MS);
    assert_int_equal(told(0, 9, HOLDER_CLAIM, ours), 1);
    run(c, 1000 * MS);
    assert_int_equal(told(0, 9, HOLDER_CLAIM, ours), 2); /* and again */
    assert_int_equal(held_here(c), 0);

    tell_entry(c, 9, ours, given);
    run(c, 20 * MS);
    assert_int_equal(held_here(c), 1);
    assert_int_equal(cluster_state(c)->source[ours], view_find(cluster_state(c)->view, &nine));
    before = sent_count;
    tell_list(c, 9, HOLDER_GIVEN, ours, 3);
    assert_int_equal(told(before, 9, HOLDER_PULLED, ours), 0); /* not yet */
    cluster_pulled(c, (uint16_t)ours);
    cluster_pulled(c, (uint16_t)ours);
    run(c, 200 * MS);
    assert_int_equal(cluster_state(c)->source[ours], NOBODY);
    assert_int_equal(told(before, 9, HOLDER_PULLED, ours), 1);
    tell_list(c, 9, HOLDER_GIVEN, ours, 3);
    assert_int_equal(told(before, 9, HOLDER_PULLED, ours), 2);
    cluster_free(&c);
}

static void a_granule_with_a_source_is_not_given_on(void **state)
{
    unsigned ours;
    struct cluster *c = joined(&ours);

    (void)state;
    tell_entry(c, 9, ours, (struct held){41, holder_of(5, 3), holder_of(9, 1)});
    run(c, 20 * MS);
    cluster_drain(c);
    run(c, 20 * MS);
    tell_list(c, 9, HOLDER_CLAIM, ours, 1);
    run(c, 20 * MS);
    assert_int_equal(held_here(c), 1);
    cluster_pulled(c, (uint16_t)ours);
    tell_list(c, 9, HOLDER_CLAIM, ours, 1);
    run(c, 20 * MS);
    assert_int_equal(held_here(c), 0);
    assert_int_equal(holders_at(c->table, ours)->version, TERM);
    run(c, 20 * MS);
    assert_int_not_equal(cluster_state(c)->self, NOBODY); /* 9 has it from us, and is not done */
    tell_list(c, 9, HOLDER_PULLED, ours, 3);
    run(c, 3000 * MS);
    assert_int_equal(cluster_state(c)->self, NOBODY);
    assert_true(cluster_gone(c));
    cluster_free(&c);
}

static void the_dead_are_inherited_at_once(void **state)
{
    unsigned ours;
    struct cluster *c = joined(&ours);
    unsigned before;

    (void)state;
    tell_entry(c, 9, ours, (struct held){41, holder_of(5, 3), holder_of(9, 1)});
    run(c, 20 * MS);
    assert_int_not_equal(cluster_state(c)->source[ours], NOBODY);
    before = sent_count;
    tell_record(c, 9, 1 << 16, MEMBER_DEAD, 100);
    run(c, 10 * MS);
    assert_int_equal(held_here(c), GRANULES);
    assert_int_equal(cluster_state(c)->source[ours], NOBODY);
    for (unsigned g = 0; g < GRANULES; g++) {
        assert_true(holders_at(c->table, g)->version == 41);
        assert_int_equal(told(before, 9, HOLDER_ENTRIES, g) > 0, g != ours); /* should it live after all */
    }
    cluster_free(&c);
}

static void a_newer_entry_ends_serving(void **state)
{
    struct cluster *c = alone();

    (void)state;
    run(c, 700 * MS);
    tell_record(c, 9, 1 << 16, MEMBER_ALIVE, 100);
    run(c, 20 * MS);
    tell_entry(c, 9, 7, (struct held){TERM, holder_of(9, 1), {{{0}}, 0}}); /* equal, and of the higher id */
    run(c, 20 * MS);
    assert_int_equal(held_here(c), GRANULES);
    tell_entry(c, 9, 7, (struct held){TERM + 1, holder_of(9, 1), {{{0}}, 0}});
    run(c, 20 * MS);
    assert_int_equal(held_here(c), GRANULES - 1);
    assert_int_equal(cluster_counters(c)->lost, 1);
    cluster_free(&c);
}

/* Three nodes, one of them cut off: it takes what it takes for free, and when it is heard again it gets none
 * of it. */
static void the_larger_side_keeps_what_it_holds(void **state)
{
    struct cluster *c = alone();
    struct held taken = {TERM + 1, holder_of(9, 1), {{{0}}, 0}};

    (void)state;
    run(c, 700 * MS);
    tell_record(c, 3, 1 << 16, MEMBER_ALIVE, 0);
    tell_record(c, 9, 1 << 16, MEMBER_ALIVE, 0);
    run(c, 20 * MS);
    tell_record(c, 9, 1 << 16, MEMBER_DEAD, 0);
    run(c, 20 * MS);
    tell_entry(c, 3, 7, taken);
    run(c, 20 * MS);
    assert_int_equal(held_here(c), GRANULES);
    assert_int_equal(holders_at(c->table, 7)->version, 3 * TERM);
    assert_int_equal(holders_at(c->table, 8)->version, TERM);
    tell_record(c, 9, (1 << 16) + 1, MEMBER_ALIVE, 0); /* it is back: the same of all the rest */
    run(c, 20 * MS);
    assert_int_equal(holders_at(c->table, 8)->version, 3 * TERM);
    tell_entry(c, 9, 8, taken);
    run(c, 20 * MS);
    assert_int_equal(held_here(c), GRANULES);
    assert_int_equal(cluster_counters(c)->lost, 0);
    cluster_free(&c);
}

static void of_two_halves_who_took_it_wins(void **state)
{
    struct cluster *c = alone();

    (void)state;
    run(c, 700 * MS);
    tell_record(c, 9, 1 << 16, MEMBER_ALIVE, 0);
    run(c, 20 * MS);
    tell_record(c, 9, 1 << 16, MEMBER_DEAD, 0);
    run(c, 20 * MS);
    tell_record(c, 9, (1 << 16) + 1, MEMBER_ALIVE, 0);
    tell_entry(c, 9, 7, (struct held){TERM + 1, holder_of(9, 1), {{{0}}, 0}});
    run(c, 20 * MS);
    assert_int_equal(held_here(c), GRANULES - 1);
    cluster_free(&c);
}

static void epochs_only_rise(void **state)
{
    struct cluster *c = alone();
    struct message ping = {.type = MESSAGE_PING, .seq = 1, .target = id_of(5), .vitals = {.epoch = 5000}};
    uint8_t room[DATAGRAM_MAX];
    struct packet packet;
    uint64_t epoch;

    (void)state;
    run(c, 700 * MS);
    epoch = cluster_state(c)->view->epoch;
    assert_true(epoch > 1);
    tell_record(c, 9, 1 << 16, MEMBER_ALIVE, 100);
    run(c, 20 * MS);
    assert_true(cluster_state(c)->view->epoch > epoch);
    tell_record(c, 9, (1 << 16) + 1, MEMBER_ALIVE, 100); /* a refutation is nothing that clients see */
    epoch = cluster_state(c)->view->epoch;
    run(c, 300 * MS);
    assert_true(cluster_state(c)->view->epoch == epoch);
    packet_begin(&packet, room, sizeof room);
    packet_put(&packet, &ping);
    deliver(c, 9, (struct slice){packet.bytes, packet.len});
    run(c, 200 * MS);
    assert_true(cluster_state(c)->view->epoch == 5000);
    ping.vitals.epoch = 4000;
    packet_begin(&packet, room, sizeof room);
    packet_put(&packet, &ping);
    deliver(c, 9, (struct slice){packet.bytes, packet.len});
    run(c, 200 * MS);
    assert_true(cluster_state(c)->view->epoch == 5000);
    cluster_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_alone_takes_all_after_a_while),
        cmocka_unit_test(a_claim_is_yielded_to_the_owner_only),
        cmocka_unit_test(a_claim_is_answered_again),
        cmocka_unit_test(the_claimer_dies),
        cmocka_unit_test(an_owner_claims_and_waits),
        cmocka_unit_test(a_granule_with_a_source_is_not_given_on),
        cmocka_unit_test(the_dead_are_inherited_at_once),
        cmocka_unit_test(a_newer_entry_ends_serving),
        cmocka_unit_test(the_larger_side_keeps_what_it_holds),
        cmocka_unit_test(of_two_halves_who_took_it_wins),
        cmocka_unit_test(epochs_only_rise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
