/* test_world.c - the fake network does what it says, and does it again from the same seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sim/world.h"

enum { MS = 1000, SECOND = 1000000 };

/* Answers "?" with "!", on datagrams and on streams, and counts what it hears. */
struct echo {
    struct transport out;
    unsigned heard, answers, unreachable, alarms, ended[3];
    int64_t last_arrived_us, last_heard_us;
    char text[64];
};

static void echo_datagram(void *owner, const struct origin *from, struct slice bytes)
{
    struct echo *e = owner;

    e->last_arrived_us = from->arrived_us;
    e->last_heard_us = e->out.now_us(e->out.ctx);
    if (bytes.data[0] == '!') {
        e->answers++;
        return;
    }
    e->heard++;
    e->out.send_datagram(e->out.ctx, &from->address, slice_of("!"));
}

static void echo_unreachable(void *owner, const struct address *whom)
{
    (void)whom;
    ((struct echo *)owner)->unreachable++;
}

static void echo_message(void *owner, uint64_t stream, const struct origin *from, struct slice message)
{
    struct echo *e = owner;

    (void)from;
    memcpy(e->text + strlen(e->text), message.data, message.len);
    if (message.data[0] == '?') {
        assert_true(e->out.send_stream(e->out.ctx, stream, slice_of("!")));
        e->out.close_stream(e->out.ctx, stream);
    }
}

static void echo_ended(void *owner, uint64_t stream, enum stream_end why)
{
    (void)stream;
    ((struct echo *)owner)->ended[why]++;
}

static void echo_alarm(void *owner)
{
    struct echo *e = owner;

    e->alarms++;
    e->out.set_alarm(e->out.ctx, e->out.now_us(e->out.ctx) + 10 * MS);
}

static void boot(struct world *w, struct echo *e, unsigned node)
{
    *e = (struct echo){.out = world_transport(w, node)};
    world_boot(
        w, node,
        (struct transport_user){e, echo_datagram, echo_unreachable, echo_message, echo_ended, echo_alarm});
}

static void ask(struct echo *e, unsigned node)
{
    struct address to = world_address(node);

    e->out.send_datagram(e->out.ctx, &to, slice_of("?"));
}

static void datagrams_go_and_come_back(void **state)
{
    struct world *w = world_new(2, 1);
    struct echo a, b;

    (void)state;
    boot(w, &a, 0);
    boot(w, &b, 1);
    ask(&a, 1);
    world_run(w, 150);
    assert_int_equal(a.answers, 0);
    world_run(w, 1 * MS);
    assert_int_equal(a.answers, 1);
    world_cut(w, 0, 1, true);
    ask(&a, 1);
    ask(&b, 0);
    world_run(w, 1 * MS);
    assert_int_equal(b.heard, 1);
    assert_int_equal(a.heard, 1);
    assert_int_equal(b.answers, 0);
    world_cut(w, 0, 1, false);
    world_end(w, 1);
    ask(&a, 1);
    world_run(w, 1 * MS);
    assert_int_equal(a.unreachable, 1);
    world_unplug(w, 1, true);
    ask(&a, 1);
    world_run(w, 1 * MS);
    assert_int_equal(a.unreachable, 1);
    world_free(&w);
}

static void a_stalled_node_finds_its_messages_before_its_alarm(void **state)
{
    struct world *w = world_new(2, 2);
    struct echo a, b;

    (void)state;
    boot(w, &a, 0);
    boot(w, &b, 1);
    echo_alarm(&b);
    world_run(w, 35 * MS);
    assert_int_equal(b.alarms, 4);
    world_stall(w, 1, SECOND);
    ask(&a, 1);
    world_run(w, 999 * MS);
    assert_int_equal(b.heard, 0);
    assert_int_equal(b.alarms, 4);
    world_run(w, 2 * MS);
    assert_int_equal(b.heard, 1);
    assert_int_equal(b.alarms, 5);
    assert_true(b.last_heard_us - b.last_arrived_us > 990 * MS);
    world_free(&w);
}

static void clocks_drift(void **state)
{
    struct world *w = world_new(2, 3);
    struct echo a, b;
    int64_t a0, b0;

    (void)state;
    boot(w, &a, 0);
    boot(w, &b, 1);
    world_drift(w, 1, 100000);
    a0 = a.out.now_us(a.out.ctx);
    b0 = b.out.now_us(b.out.ctx);
    echo_alarm(&a);
    echo_alarm(&b);
    world_run(w, 1001 * MS);
    assert_int_equal(a.out.now_us(a.out.ctx) - a0, 1001 * MS);
    assert_int_equal(b.out.now_us(b.out.ctx) - b0, 1101100);
    assert_int_equal(a.alarms, 101);
    assert_int_equal(b.alarms, 111);
    world_free(&w);
}

static void streams_keep_order_and_say_how_they_end(void **state)
{
    struct world *w = world_new(3, 4);
    struct echo a, b;
    struct address to = world_address(1), nobody = world_address(2);
    uint64_t stream;

    (void)state;
    world_set_weather(w, (struct world_weather){.delay_us = 100, .jitter_us = 1000, .loss = 0.2});
    boot(w, &a, 0);
    boot(w, &b, 1);
    stream = a.out.open_stream(a.out.ctx, &to);
    assert_true(a.out.send_stream(a.out.ctx, stream, slice_of("1")));
    assert_true(a.out.send_stream(a.out.ctx, stream, slice_of("2")));
    assert_true(a.out.send_stream(a.out.ctx, stream, slice_of("?")));
    world_run(w, 20 * SECOND);
    assert_string_equal(b.text, "12?");
    assert_string_equal(a.text, "!");
    assert_int_equal(a.ended[STREAM_CLOSED], 1);
    assert_int_equal(b.ended[STREAM_CLOSED], 0);
    assert_false(a.out.send_stream(a.out.ctx, stream, slice_of("3")));

    world_set_weather(w, (struct world_weather){.delay_us = 100});
    assert_true(a.out.open_stream(a.out.ctx, &nobody) != 0);
    world_run(w, SECOND);
    assert_int_equal(a.ended[STREAM_REFUSED], 1);
    world_unplug(w, 2, true);
    assert_true(a.out.open_stream(a.out.ctx, &nobody) != 0);
    world_run(w, 8 * SECOND);
    assert_int_equal(a.ended[STREAM_BROKEN], 1);

    stream = a.out.open_stream(a.out.ctx, &to);
    assert_true(a.out.send_stream(a.out.ctx, stream, slice_of("4")));
    world_run(w, SECOND);
    world_end(w, 1);
    world_run(w, SECOND);
    assert_int_equal(a.ended[STREAM_BROKEN], 2);
    world_free(&w);
}

static uint64_t trace_of(uint64_t seed)
{
    struct world *w = world_new(5, seed);
    struct echo nodes[5];
    uint64_t trace;

    world_set_weather(w, (struct world_weather){100, 5000, 0.1, 0.1, 0.1, 20 * MS});
    for (unsigned i = 0; i < 5; i++)
        boot(w, &nodes[i], i);
    for (unsigned i = 0; i < 1000; i++) {
        ask(&nodes[world_random(w) % 5], (unsigned)(world_random(w) % 5));
        if (i % 100 == 0)
            world_stall(w, i / 100 % 5, 50 * MS);
        world_run(w, 3 * MS);
    }
    trace = world_trace(w);
    world_free(&w);
    return trace;
}

static void a_seed_replays_exactly(void **state)
{
    (void)state;
    assert_true(trace_of(7) == trace_of(7));
    assert_true(trace_of(7) != trace_of(8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(datagrams_go_and_come_back),
        cmocka_unit_test(a_stalled_node_finds_its_messages_before_its_alarm),
        cmocka_unit_test(clocks_drift),
        cmocka_unit_test(streams_keep_order_and_say_how_they_end),
        cmocka_unit_test(a_seed_replays_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
