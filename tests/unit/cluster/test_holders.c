/* test_holders.c - the table of holders: whoever heard the same believes the same; and its messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cluster/holder_message.h"
#include "cluster/message.h"

static uint64_t dice = 7;

static uint64_t roll(void)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    return dice ^= dice << 17;
}

static struct holder holder_of(uint8_t byte, uint64_t boots)
{
    struct holder h = {.boots = boots};

    memset(h.id.bytes, byte, sizeof h.id.bytes);
    return h;
}

static struct held held_by(uint64_t version, uint8_t byte, uint64_t boots)
{
    return (struct held){.version = version, .holder = holder_of(byte, boots)};
}

/* ---- the table ---- */

static void the_newer_entry_holds(void **state)
{
    struct holders *h = holders_new(64);
    struct held told;

    (void)state;
    assert_non_null(h);
    assert_int_equal(holders_at(h, 3)->version, 0);
    assert_true(holders_hash(h) == 0);
#define TOLD(version, id, boots, news)                                                                       \
    do {                                                                                                     \
        told = held_by(version, id, boots);                                                                  \
        assert_int_equal(holders_merge(h, 3, &told), news);                                                  \
        holders_check(h);                                                                                    \
    } while (0)
    TOLD(0, 1, 1, false); /* nothing was ever held */
    TOLD(5, 7, 1, true);
    TOLD(5, 7, 1, false); /* the same again */
    TOLD(4, 1, 9, false); /* a lower version, whoever says so */
    TOLD(5, 8, 9, false); /* of equals the lower id */
    TOLD(5, 6, 1, true);
    TOLD(5, 6, 2, true); /* of equals the later process */
    TOLD(5, 6, 1, false);
    TOLD(6, 9, 1, true);
#undef TOLD
    assert_int_equal(holders_at(h, 2)->version, 0);
    assert_int_equal(holders_at(h, 3)->holder.id.bytes[0], 9);
    holders_free(&h);
    assert_null(h);
}

static void any_order_gives_the_same(void **state)
{
    enum { MANY = 300, GRANULES = 64 };
    struct holders *a = holders_new(GRANULES), *b = holders_new(GRANULES);
    struct held told[MANY];
    uint64_t da[HOLDERS_BUCKETS], db[HOLDERS_BUCKETS];
    unsigned granule[MANY];

    (void)state;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < MANY; i++) {
            told[i] = held_by(roll() % 6 + 1, (uint8_t)(roll() % 4), roll() % 3 + 1);
            granule[i] = (unsigned)(roll() % GRANULES);
        }
        for (int i = 0; i < MANY; i++) {
            holders_merge(a, granule[i], &told[i]);
            holders_merge(b, granule[MANY - 1 - i], &told[MANY - 1 - i]);
        }
        holders_digest(a, da);
        holders_digest(b, db);
        assert_memory_equal(da, db, sizeof da);
        assert_true(holders_hash(a) == holders_hash(b));
    }
    told[0] = held_by(1000, 1, 1);
    assert_true(holders_merge(a, 18, &told[0]));
    holders_digest(a, da);
    for (unsigned i = 0; i < HOLDERS_BUCKETS; i++)
        assert_int_equal(da[i] != db[i], i == 18 % HOLDERS_BUCKETS);
    holders_free(&a);
    holders_free(&b);
}

/* ---- messages ---- */

static void entries_come_back(void **state)
{
    uint8_t room[1024];
    struct holder_writer w;
    struct holder_message m;
    struct held sent[20], got;
    struct slice bytes;

    (void)state;
    holder_write_entries(&w, room, sizeof room, 1024, 0x8001);
    for (unsigned i = 0; i < 20; i++) {
        sent[i] = held_by(roll() % HOLDERS_VERSION_MAX + 1, (uint8_t)(roll() % 5), 3);
        if (roll() % 2 == 0)
            sent[i].source = holder_of((uint8_t)(roll() % 5), 2);
        assert_true(holder_write_entry(&w, 50 * i + 3, &sent[i]));
    }
    bytes = holder_write_end(&w, HOLDER_LAST | HOLDER_LEARNED);
    assert_true(holder_message_is(bytes));
    assert_true(holder_message_read(bytes, 1024, &m));
    assert_false(holder_message_read(bytes, 2048, &m)); /* of other rules */
    assert_true(holder_message_read(bytes, 1024, &m));
    assert_int_equal(m.type, HOLDER_ENTRIES);
    assert_int_equal(m.flags, HOLDER_LAST | HOLDER_LEARNED);
    assert_int_equal(m.buckets, 0x8001);
    assert_int_equal(m.count, 20);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(holder_message_entry(&m, i, &got), 50 * i + 3);
        assert_true(got.version == sent[i].version);
        assert_true(holder_equals(&got.holder, &sent[i].holder));
        assert_true(holder_equals(&got.source, &sent[i].source));
    }
    for (size_t cut = 0; cut < bytes.len; cut++)
        assert_false(holder_message_read((struct slice){bytes.data, cut}, 1024, &m) && m.count == 20 &&
                     cut < bytes.len - 28);
}

static void what_does_not_fit_waits_for_the_next(void **state)
{
    uint8_t room[100];
    struct holder_writer w;
    struct holder_message m;
    struct held one = held_by(1, 1, 1), other = held_by(1, 2, 1);

    (void)state;
    holder_write_entries(&w, room, sizeof room, 64, 0);
    assert_true(holder_write_entry(&w, 1, &one));   /* 8 + 12 + 28 */
    assert_true(holder_write_entry(&w, 2, &one));   /* 60 */
    assert_true(holder_write_entry(&w, 3, &other)); /* 100 */
    assert_false(holder_write_entry(&w, 4, &one));
    assert_true(holder_message_read(holder_write_end(&w, 0), 64, &m));
    assert_int_equal(m.count, 3);
}

static void lists_and_digests_come_back(void **state)
{
    uint64_t buckets[HOLDERS_BUCKETS];
    uint8_t room[256];
    struct holder_writer w;
    struct holder_message m;

    (void)state;
    holder_write_list(&w, room, sizeof room, HOLDER_CLAIM, 128, 77);
    assert_true(holder_write_granule(&w, 0));
    assert_true(holder_write_granule(&w, 127));
    assert_true(holder_message_read(holder_write_end(&w, 0), 128, &m));
    assert_true(m.type == HOLDER_CLAIM && m.boots == 77 && m.count == 2);
    assert_int_equal(holder_message_granule(&m, 1), 127);
    for (int i = 0; i < HOLDERS_BUCKETS; i++)
        buckets[i] = roll();
    assert_true(holder_message_read(holder_write_digest(room, sizeof room, 128, buckets), 128, &m));
    assert_int_equal(m.type, HOLDER_DIGEST);
    assert_memory_equal(m.bucket, buckets, sizeof buckets);
}

/* Two entries, two holders; what is changed is refused, or is another good message. */
static void nothing_else_is_read(void **state)
{
    enum { VERSION = 0, TYPE = 1, LOG = 2, FLAGS = 3, COUNT = 6, FIRST = 8, SECOND = 20, HOLDERS = 32 };
    struct held one = held_by(1, 1, 1), other = held_by(2, 2, 1);
    struct slice packet = {0};
    struct holder_message m;
    struct holder_writer w;
    uint8_t room[256];

    (void)state;
    other.source = one.holder;
    holder_write_entries(&w, room, sizeof room, 64, 0);
    assert_true(holder_write_entry(&w, 9, &one));
    assert_true(holder_write_entry(&w, 10, &other));
    packet = holder_write_end(&w, 0);
    assert_int_equal(packet.len, HOLDERS + 2 * 28);
    assert_true(holder_message_read(packet, 64, &m));
#define WITH(at, byte)                                                                                       \
    do {                                                                                                     \
        uint8_t was = room[at];                                                                              \
        room[at] = (byte);                                                                                   \
        assert_false(holder_message_read(packet, 64, &m));                                                   \
        room[at] = was;                                                                                      \
    } while (0)
    WITH(VERSION, MESSAGE_VERSION + 1);
    WITH(TYPE, HOLDER_PULLED + 1);
    WITH(TYPE, HOLDER_ENTRIES - 1);
    WITH(LOG, 7);
    WITH(FLAGS, 8);
    WITH(COUNT + 1, 1);
    WITH(COUNT + 1, 3);
    WITH(FIRST + 1, 10);       /* twice the same granule */
    WITH(FIRST + 1, 11);       /* not ascending */
    WITH(SECOND + 1, 64);      /* no such granule */
    WITH(FIRST + 9, 0);        /* version 0 */
    WITH(FIRST + 2, 0x7f);     /* too high a version */
    WITH(FIRST + 10, 1);       /* the second holder is named first */
    WITH(FIRST + 10, 2);       /* no such holder */
    WITH(SECOND + 10, 0);      /* the second is named by nobody */
    WITH(SECOND + 11, 2);      /* no such source */
    WITH(HOLDERS + 28 - 1, 0); /* it never started */
#undef WITH
    memcpy(room + HOLDERS, room + HOLDERS + 28, 28); /* twice the same holder */
    assert_false(holder_message_read(packet, 64, &m));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newer_entry_holds),       cmocka_unit_test(any_order_gives_the_same),
        cmocka_unit_test(entries_come_back),           cmocka_unit_test(what_does_not_fit_waits_for_the_next),
        cmocka_unit_test(lists_and_digests_come_back), cmocka_unit_test(nothing_else_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
