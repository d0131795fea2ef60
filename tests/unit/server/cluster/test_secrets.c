/* test_secrets.c - keys out of a file, and how they change while a node runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#include "server/cluster/secrets.h"

static char path[] = "/tmp/test_secrets.XXXXXX";

static int set_up(void **state)
{
    int fd = mkstemp(path);

    (void)state;
    return fd >= 0 ? close(fd) : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void key_of(uint8_t byte, char text[KEY_TEXT_MAX])
{
    uint8_t key[KEY_BYTES];

    memset(key, byte, sizeof key);
    key_print(key, text);
}

/* The file has these keys, one after the other. */
static bool load(struct secrets *s, const char *bytes, char *err, size_t err_len)
{
    char text[1024] = "# keys\n\n", key[KEY_TEXT_MAX];

    for (; *bytes != '\0'; bytes++) {
        key_of((uint8_t)*bytes, key);
        strcat(strcat(strcat(text, "  "), key), " \r\n");
    }
    write_file(text);
    return secrets_load(s, path, err, err_len);
}

/* Which are in the ring, the one in use first, the others sorted. */
static void expect(struct secrets *s, const char *bytes)
{
    uint32_t ids[KEYS_MAX];
    size_t count = keyring_list(secrets_ring(s), ids);
    uint8_t key[KEY_BYTES];
    uint32_t current;

    assert_int_equal(count, strlen(bytes));
    secrets_current(s, &current, key); /* as other threads see it */
    assert_int_equal(current, ids[0]);
    assert_int_equal(key[0], bytes[0]);
    assert_true(secrets_find(s, ids[count - 1], key));
    assert_false(secrets_find(s, ~ids[0], key));
    assert_int_equal(keyring_current(secrets_ring(s), &current)[0], bytes[0]);
    for (size_t i = 0; i < count; i++)
        assert_non_null(strchr(bytes, keyring_find(secrets_ring(s), ids[i])[0]));
}

static void keys_change_in_steps(void **state)
{
    static const char *const steps[] = {"a",        "ab",       "ba",       "b",        "abcdefgh",
                                        "ijklmnop", "pabcdefg", "qabcdefg", "habcdefg", "x"};
    struct secrets *s = secrets_new();
    char err[160];

    (void)state;
    assert_non_null(s);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        assert_true(load(s, steps[i], err, sizeof err));
        expect(s, steps[i]);
    }
    secrets_free(&s);
}

static void a_bad_file_changes_nothing(void **state)
{
    struct secrets *s = secrets_new();
    char err[160];

    (void)state;
    assert_non_null(s);
    assert_true(load(s, "ab", err, sizeof err));
    assert_false(load(s, "", err, sizeof err));
    assert_non_null(strstr(err, "corral keygen"));
    assert_false(load(s, "abcdefghi", err, sizeof err));
    assert_non_null(strstr(err, "more than 8 keys"));
    write_file("secret\n");
    assert_false(secrets_load(s, path, err, sizeof err));
    assert_non_null(strstr(err, "line 1 is no key"));
    assert_false(secrets_load(s, "/nonexistent/file", err, sizeof err));
    assert_non_null(strstr(err, "No such file"));
    expect(s, "ab");
    secrets_free(&s);
}

static void a_name_makes_a_key_and_an_identity(void **state)
{
    struct secrets *a = secrets_new(), *b = secrets_new();
    struct cluster_identity one = secrets_identity("corral"), other = secrets_identity("corrals");
    uint32_t a_id, b_id;

    (void)state;
    assert_true(a != NULL && b != NULL);
    secrets_derive(a, "corral");
    secrets_derive(b, "corral");
    assert_memory_equal(keyring_current(secrets_ring(a), &a_id), keyring_current(secrets_ring(b), &b_id),
                        KEY_BYTES);
    assert_int_equal(a_id, b_id);
    secrets_free(&b);
    b = secrets_new();
    assert_non_null(b);
    secrets_derive(b, "corrals");
    keyring_current(secrets_ring(b), &b_id);
    assert_int_not_equal(a_id, b_id);
    assert_memory_not_equal(one.id, other.id, sizeof one.id);
    secrets_free(&a);
    secrets_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_change_in_steps),
        cmocka_unit_test(a_bad_file_changes_nothing),
        cmocka_unit_test(a_name_makes_a_key_and_an_identity),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
