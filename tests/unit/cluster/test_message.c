/* test_message.c - what is written is read, in one form only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cluster/message.h"

static struct node_id id_of(uint8_t byte)
{
    struct node_id id;

    memset(id.bytes, byte, sizeof id.bytes);
    return id;
}

static struct message suspect(void)
{
    struct message m = {.type = MESSAGE_RECORD};

    m.record = (struct record){.id = id_of(7),
                               .incarnation = 0x1234567890,
                               .weight = 300,
                               .state = MEMBER_SUSPECT,
                               .probation = 2,
                               .zone = "north-1",
                               .services = {6379, 16379, 11211, 7947, "cache-7.example.net"}};
    assert_true(address_parse("10.1.2.3:7000", &m.record.address));
    m.accusation = (struct accusation){.count = 2, .hard = 2, .accuser = {11, 12}};
    return m;
}

static void same(const struct message *a, const struct message *b)
{
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->seq, b->seq);
    assert_true(node_id_equals(&a->target, &b->target));
    assert_true(a->vitals.epoch == b->vitals.epoch && a->vitals.load == b->vitals.load &&
                a->vitals.table == b->vitals.table);
    assert_true(a->time_us == b->time_us);
    if (a->type == MESSAGE_RECORD) {
        assert_memory_equal(&a->record.id, &b->record.id, sizeof a->record.id);
        assert_true(a->record.incarnation == b->record.incarnation);
        assert_true(address_equals(&a->record.address, &b->record.address));
        assert_int_equal(a->record.weight, b->record.weight);
        assert_int_equal(a->record.state, b->record.state);
        assert_int_equal(a->record.probation, b->record.probation);
        assert_string_equal(a->record.zone, b->record.zone);
        assert_memory_equal(&a->record.services, &b->record.services, sizeof a->record.services);
        assert_memory_equal(&a->accusation, &b->accusation, sizeof a->accusation);
    }
    if (a->type == MESSAGE_DIGEST)
        assert_memory_equal(&a->digest, &b->digest, sizeof a->digest);
}

static void all_messages_come_back(void **state)
{
    uint8_t room[DATAGRAM_MAX];
    struct message sent[8] = {
        {.type = MESSAGE_PING, .seq = 1, .target = id_of(9), .vitals = {UINT64_MAX, 7, 5}, .time_us = 77},
        {.type = MESSAGE_ACK, .seq = 2, .vitals = {1, 3, 2}},
        {.type = MESSAGE_NACK, .seq = 3},
        {.type = MESSAGE_RELAY, .seq = 4, .target = id_of(1)},
        {.type = MESSAGE_STRANGER, .seq = 5, .target = id_of(2)},
        suspect(),
        {.type = MESSAGE_DIGEST},
        {.type = MESSAGE_SYNC, .sync = {.buckets = 0x80000001, .last = true, .answer = true}},
    };
    struct packet packet;
    struct slice in;

    (void)state;
    assert_true(address_parse("[fd00::5]:1", &sent[3].address));
    sent[6].digest.live = 9;
    sent[6].digest.bucket[DIGEST_BUCKETS - 1] = UINT64_MAX;
    packet_begin(&packet, room, sizeof room);
    for (int i = 0; i < 8; i++)
        assert_true(packet_put(&packet, &sent[i]));
    in = (struct slice){packet.bytes, packet.len};
    assert_true(packet_open(&in));
    for (int i = 0; i < 8; i++) {
        struct message got = {0};
        assert_true(packet_take(&in, &got));
        same(&sent[i], &got);
        if (i == 3)
            assert_true(address_equals(&sent[3].address, &got.address));
        if (i == 7)
            assert_true(got.sync.buckets == 0x80000001 && got.sync.last && got.sync.answer);
    }
    assert_int_equal(in.len, 0);
}

static bool decodes(const uint8_t *bytes, size_t len)
{
    struct slice in = {bytes, len};
    struct message m;

    return packet_open(&in) && packet_take(&in, &m) && in.len == 0;
}

static void nothing_else_is_read(void **state)
{
    uint8_t room[256];
    struct packet packet;
    struct message m = suspect();
    size_t zone = 1 + 1 + NODE_ID_BYTES + 8 + 1 + 1 + 2;
    size_t address = zone + 1 + 7;
    size_t host = address + 1 + 4 + 2 + 4 * 2;
    size_t count = host + 1 + strlen(m.record.services.hostname);

    (void)state;
    packet_begin(&packet, room, sizeof room);
    assert_true(packet_put(&packet, &m));
    assert_true(decodes(room, packet.len));
    for (size_t len = 0; len < packet.len; len++)
        assert_false(decodes(room, len));
#define WITH(at, byte)                                                                                       \
    do {                                                                                                     \
        uint8_t was = room[at];                                                                              \
        room[at] = (byte);                                                                                   \
        assert_false(decodes(room, packet.len));                                                             \
        room[at] = was;                                                                                      \
    } while (0)
    WITH(0, MESSAGE_VERSION + 1);
    WITH(1, 0);
    WITH(1, MESSAGE_SYNC + 1);
    WITH(1 + 1 + NODE_ID_BYTES + 8, MEMBER_LEFT + 1);
    WITH(zone, ZONE_MAX + 1);
    WITH(zone + 1, '\n');
    WITH(zone + 1, ' ');
    WITH(address, 5);
    WITH(host, HOSTNAME_MAX + 1);
    WITH(host + 1, ':');
    WITH(host + 2, 0);
    WITH(count, 0);
    WITH(count, ACCUSERS_MAX + 1);
    WITH(count + 1, 4);       /* a third accuser, of two */
    WITH(count + 2 + 15, 11); /* the same one twice */
#undef WITH
    assert_true(decodes(room, packet.len));
}

static void what_does_not_fit_is_not_begun(void **state)
{
    uint8_t room[60];
    struct packet packet;
    struct message m = suspect();
    struct message nack = {.type = MESSAGE_NACK};

    (void)state;
    packet_begin(&packet, room, sizeof room);
    assert_true(packet_put(&packet, &nack));
    assert_false(packet_put(&packet, &m));
    assert_int_equal(packet.len, 6);
}

static void addresses_are_text_and_back(void **state)
{
    static const char *const good[] = {"127.0.0.1:1", "10.20.30.40:65535", "[::1]:7000", "[fd00::1:2]:80"};
    static const char *const bad[] = {"",      "1.2.3.4", "1.2.3.4:", "1.2.3.4:0", "1.2.3.4:65536",
                                      "::1:5", "[::1]",   "host:1",   ":1",        "1.2.3.4:1x"};
    char text[ADDRESS_TEXT_MAX];
    struct address a;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(address_parse(good[i], &a));
        address_print(&a, text);
        assert_string_equal(text, good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(address_parse(bad[i], &a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_messages_come_back),
        cmocka_unit_test(nothing_else_is_read),
        cmocka_unit_test(what_does_not_fit_is_not_begun),
        cmocka_unit_test(addresses_are_text_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
