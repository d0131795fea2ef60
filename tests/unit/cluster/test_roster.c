/* test_roster.c - the roster against a slow model that is obviously right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cluster/roster.h"

static uint64_t dice = 5;

static uint32_t roll(uint32_t sides)
{
    dice = dice * 6364136223846793005 + 1442695040888963407;
    return (uint32_t)(dice >> 33) % sides;
}

static struct record record_of(uint32_t number)
{
    struct record r = {.incarnation = 1};

    for (int i = 0; i < 16; i++)
        r.id.bytes[i] = (uint8_t)(number * 2654435761U >> (i % 4 * 8));
    memcpy(r.id.bytes + 8, &number, sizeof number);
    if (number % 8 == 0)
        memset(r.id.bytes, 0x55, 8); /* same mark, other id */
    return r;
}

enum { MODEL = 300 };

static void follows_the_model(void **state)
{
    struct record self = record_of(MODEL);
    struct roster *roster = roster_new(&self, 200), *other;
    bool known[MODEL] = {false};
    struct record model[MODEL];
    uint32_t count = 1, live = 0;
    struct digest a = {0}, b = {0};

    (void)state;
    for (int step = 0; step < 20000; step++) {
        uint32_t number = roll(MODEL);
        struct record r = record_of(number);
        uint32_t at = roster_find(roster, &r.id);
        assert_int_equal(at != NO_MEMBER, known[number]);
        if (!known[number]) {
            r.state = (uint8_t)roll(4);
            at = roster_add(roster, &r);
            assert_int_equal(at == NO_MEMBER, count == 200);
            if (at == NO_MEMBER)
                continue;
            known[number] = true;
            model[number] = r;
            count++;
            live += r.state <= MEMBER_SUSPECT;
        } else if (roll(2) == 0) {
            live -= model[number].state <= MEMBER_SUSPECT;
            roster_remove(roster, at);
            known[number] = false;
            count--;
        } else {
            live -= model[number].state <= MEMBER_SUSPECT;
            model[number].state = (uint8_t)roll(4);
            model[number].incarnation++;
            live += model[number].state <= MEMBER_SUSPECT;
            roster_set(roster, at, &model[number]);
        }
        assert_int_equal(roster_count(roster), count);
        assert_int_equal(roster_live(roster), live);
        if (step % 100 != 0)
            continue;
        for (uint32_t place = 0; place < live; place++) {
            const struct record *one = &roster_at(roster, roster_live_at(roster, place))->record;
            assert_int_equal(memcmp(one->id.bytes, self.id.bytes, 16) < 0, place < roster_place(roster));
            assert_true(one->state <= MEMBER_SUSPECT);
            if (place > 0)
                assert_true(memcmp(roster_at(roster, roster_live_at(roster, place - 1))->record.id.bytes,
                                   one->id.bytes, 16) < 0);
        }
    }
    other = roster_new(&self, 200);
    for (uint32_t number = MODEL; number-- > 0;)
        if (known[number])
            assert_true(roster_add(other, &model[number]) != NO_MEMBER);
    roster_digest(roster, &a);
    roster_digest(other, &b);
    assert_memory_equal(&a, &b, sizeof a);
    roster_free(&other);
    roster_free(&roster);
}

static void the_later_holds(void **state)
{
    struct record a = {.incarnation = 5, .state = MEMBER_SUSPECT}, b = a;

    (void)state;
    assert_false(roster_news(&a, &b));
    b.state = MEMBER_DEAD;
    assert_true(roster_news(&a, &b));
    assert_false(roster_news(&b, &a));
    b = (struct record){.incarnation = 6, .state = MEMBER_ALIVE};
    assert_true(roster_news(&a, &b));
    assert_false(roster_news(&b, &a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_model),
        cmocka_unit_test(the_later_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
