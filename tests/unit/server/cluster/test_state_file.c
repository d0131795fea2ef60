/* test_state_file.c - what a node remembers over a restart, and files that are not as they should be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/cluster/state_file.h"

static char folder[] = "/tmp/test_state_file.XXXXXX";
static char path[64], beside[64];

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/state", folder);
    snprintf(beside, sizeof beside, "%s/state.new", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static struct state some(void)
{
    struct state s = {.boots = 1795291383, .peer_count = 2};

    for (unsigned i = 0; i < NODE_ID_BYTES; i++)
        s.id.bytes[i] = (uint8_t)(i * 13);
    assert_true(address_parse("10.0.0.1:7946", &s.peers[0]));
    assert_true(address_parse("[fd00::1]:7947", &s.peers[1]));
    return s;
}

static void expect_same(const struct state *a, const struct state *b)
{
    assert_true(node_id_equals(&a->id, &b->id));
    assert_int_equal(a->boots, b->boots);
    assert_int_equal(a->peer_count, b->peer_count);
    for (size_t i = 0; i < a->peer_count; i++)
        assert_true(address_equals(&a->peers[i], &b->peers[i]));
}

static void what_is_written_is_read(void **state)
{
    struct state before = some(), after;
    char err[160];

    (void)state;
    unlink(path);
    assert_int_equal(state_read(path, &after, err, sizeof err), STATE_NONE);
    assert_true(state_write(path, &before, err, sizeof err));
    assert_int_equal(access(beside, F_OK), -1);
    assert_int_equal(state_read(path, &after, err, sizeof err), STATE_READ);
    expect_same(&before, &after);
    before.peer_count = STATE_PEERS_MAX;
    for (size_t i = 0; i < STATE_PEERS_MAX; i++)
        before.peers[i] = before.peers[i % 2];
    assert_true(state_write(path, &before, err, sizeof err)); /* over the one before */
    assert_int_equal(state_read(path, &after, err, sizeof err), STATE_READ);
    expect_same(&before, &after);
}

static void expect_wrong(const char *text, const char *why)
{
    FILE *file = fopen(path, "w");
    struct state s;
    char err[160] = "";

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(state_read(path, &s, err, sizeof err), STATE_WRONG);
    if (strstr(err, why) == NULL)
        fail_msg("'%s' is not in '%s'", why, err);
}

#define ID "id 00112233445566778899aabbccddeeff00112233\n"

static void a_damaged_file_is_told(void **state)
{
    (void)state;
    expect_wrong("", "no id");
    expect_wrong(ID, "no boots");
    expect_wrong("boots 1\n", "no id");
    expect_wrong(ID "boots 1", "line 2 has no end");
    expect_wrong(ID "boots -1\n", "line 2");
    expect_wrong(ID "boots 99999999999999999999999\n", "line 2");
    expect_wrong("id 00\n", "line 1");
    expect_wrong(ID "boots 1\npeer somewhere\n", "line 3");
    expect_wrong("\x7f"
                 "ELF",
                 "line 1");
    expect_wrong("boots\n", "line 1");
}

static void a_disk_that_takes_nothing_leaves_the_file(void **state)
{
    struct state before = some(), after;
    char err[160] = "";

    (void)state;
    assert_true(state_write(path, &before, err, sizeof err));
    assert_int_equal(mkdir(beside, 0755), 0); /* a folder stands in the way of the new file */
    before.boots++;
    assert_false(state_write(path, &before, err, sizeof err));
    assert_string_not_equal(err, "");
    assert_int_equal(rmdir(beside), 0);
    assert_int_equal(state_read(path, &after, err, sizeof err), STATE_READ);
    assert_int_equal(after.boots, before.boots - 1);
    assert_false(state_write("/dev/full/x", &before, err, sizeof err));
}

static void the_last_one_given_is_written(void **state)
{
    struct state_writer *w = state_writer_new(path);
    struct state s = some(), after;
    char err[160];

    (void)state;
    assert_non_null(w);
    for (s.boots = 1; s.boots < 50; s.boots++)
        state_writer_give(w, &s);
    state_writer_free(&w);
    assert_null(w);
    assert_int_equal(state_read(path, &after, err, sizeof err), STATE_READ);
    assert_int_equal(after.boots, 49);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(a_damaged_file_is_told),
        cmocka_unit_test(a_disk_that_takes_nothing_leaves_the_file),
        cmocka_unit_test(the_last_one_given_is_written),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
