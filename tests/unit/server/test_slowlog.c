/* test_slowlog.c - the slowlog keeps the newest, shortened; latency the worst of each second. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/latency.h"
#include "server/slowlog.h"

static void add(struct slowlog *log, const struct slice *argv, uint32_t argc, unsigned followers, uint64_t us)
{
    slowlog_add(log, &(struct slow_request){.argv = argv,
                                            .argc = argc,
                                            .followers = followers,
                                            .seconds = 1700000000,
                                            .us = us,
                                            .address = "127.0.0.1:1"});
}

static void only_the_newest_are_kept(void **state)
{
    struct slowlog *log = slowlog_new();
    struct slice word = slice_of("PING");
    const struct slowlog_entry *entry;

    (void)state;
    slowlog_set_max(log, 3);
    for (unsigned i = 0; i < 10; i++)
        add(log, &word, 1, 0, i);
    assert_int_equal(slowlog_len(log), 3);
    entry = slowlog_lock(log);
    for (unsigned i = 9; i > 6; i--, entry = entry->next) {
        assert_int_equal(entry->id, i);
        assert_int_equal(entry->us, i);
    }
    assert_null(entry);
    slowlog_unlock(log);
    slowlog_set_max(log, 1);
    assert_int_equal(slowlog_len(log), 1);
    slowlog_reset(log);
    assert_int_equal(slowlog_len(log), 0);
    slowlog_set_max(log, 0);
    add(log, &word, 1, 0, 1);
    assert_int_equal(slowlog_len(log), 0);
    slowlog_free(&log);
}

static void check_word(const struct slowlog_entry *entry, unsigned i, const char *want)
{
    assert_true(slice_equals(entry->word[i], slice_of(want)));
}

static void long_requests_are_shortened(void **state)
{
    struct slowlog *log = slowlog_new();
    struct slice words[40];
    uint8_t bytes[200];
    const struct slowlog_entry *entry;

    (void)state;
    memset(bytes, 'x', sizeof bytes);
    slowlog_set_max(log, 10);
    for (size_t i = 0; i < 40; i++)
        words[i] = (struct slice){bytes, 100 + i};
    add(log, words, 40, 0, 1);
    entry = slowlog_lock(log);
    assert_int_equal(entry->words, SLOWLOG_WORDS);
    assert_int_equal(entry->word[0].len, 100);
    check_word(entry, 31, "... (9 more arguments)");
    assert_int_equal(entry->word[30].len, SLOWLOG_WORD + strlen("... (2 more bytes)"));
    assert_memory_equal(entry->word[30].data + SLOWLOG_WORD, "... (2 more bytes)", 18);
    slowlog_unlock(log);

    words[0] = (struct slice){(const uint8_t *)"\0\xff", 2};
    words[1] = (struct slice){NULL, 0};
    add(log, words, 2, 31, 1);
    entry = slowlog_lock(log);
    assert_int_equal(entry->words, 3);
    assert_int_equal(entry->word[0].len, 2);
    assert_memory_equal(entry->word[0].data, "\0\xff", 2);
    assert_int_equal(entry->word[1].len, 0);
    check_word(entry, 2, "... (31 more requests)");
    assert_string_equal(entry->address, "127.0.0.1:1");
    assert_string_equal(entry->name, "");
    slowlog_unlock(log);
    slowlog_free(&log);
}

static void latency_keeps_the_worst_of_each_second(void **state)
{
    struct latency *latency = latency_new();
    struct latency_event event;

    (void)state;
    assert_false(latency_look(latency, LATENCY_COMMAND, &event));
    latency_add(latency, LATENCY_COMMAND, 100, 5);
    latency_add(latency, LATENCY_COMMAND, 100, 9);
    latency_add(latency, LATENCY_COMMAND, 100, 7);
    latency_add(latency, LATENCY_COMMAND, 101, 2);
    assert_true(latency_look(latency, LATENCY_COMMAND, &event));
    assert_int_equal(event.samples, 2);
    assert_int_equal(event.sample[0].ms, 9);
    assert_int_equal(event.sample[1].ms, 2);
    assert_int_equal(event.ms_max, 9);
    for (int64_t i = 0; i < 2 * LATENCY_SAMPLES; i++)
        latency_add(latency, LATENCY_COMMAND, 1000 + i, (uint32_t)i);
    assert_true(latency_look(latency, LATENCY_COMMAND, &event));
    assert_int_equal(event.samples, LATENCY_SAMPLES);
    assert_int_equal(event.sample[0].seconds, 1000 + LATENCY_SAMPLES);
    assert_int_equal(event.sample[LATENCY_SAMPLES - 1].ms, 2 * LATENCY_SAMPLES - 1);
    assert_false(latency_reset(latency, LATENCY_EXPIRE_CYCLE));
    assert_true(latency_reset(latency, LATENCY_COMMAND));
    assert_false(latency_look(latency, LATENCY_COMMAND, &event));
    assert_int_equal(latency_named(slice_of("FAST-command")), LATENCY_FAST_COMMAND);
    assert_int_equal(latency_named(slice_of("fork")), LATENCY_KINDS);
    latency_free(&latency);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_newest_are_kept),
        cmocka_unit_test(long_requests_are_shortened),
        cmocka_unit_test(latency_keeps_the_worst_of_each_second),
    };

    return cmocka_run_group_tests_name("slowlog", tests, NULL, NULL);
}
