/* test_memcache_meta.c - meta flags decode, and fail, as in memcached 1.6.18,
 * where each error was observed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "protocol/memcache_meta.h"

#define K50       "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
#define K250      K50 K50 K50 K50 K50
#define O_PLUS_31 "O1234567890123456789012345678901"
#define BAD_LINE  "CLIENT_ERROR bad command line format"
#define BAD_TOKEN "CLIENT_ERROR bad token in command line format"
#define BAD_FLAG  "CLIENT_ERROR invalid or duplicate flag"

static uint8_t key_room[META_KEY_ROOM];
static struct meta_request meta;

/* `line` has single blanks between its words and no line end. */
static const char *decode(const char *line)
{
    struct slice argv[40];
    struct request request = {.argv = argv};
    enum meta_verb verb;

    for (const char *p = line; *p != '\0'; p += *p == ' ') {
        size_t len = strcspn(p, " ");
        argv[request.argc++] = (struct slice){(const uint8_t *)p, len};
        p += len;
    }
    assert_true(meta_verb_of(argv[0], &verb));
    memset(&meta, 0xa5, sizeof meta);
    return meta_decode(&request, verb, key_room, &meta);
}

static void verbs_are_known(void **state)
{
    static const char *const verbs[] = {"mg", "ms", "md", "ma", "me", "mn"};
    enum meta_verb verb;

    (void)state;
    for (size_t i = 0; i < 6; i++)
        assert_true(meta_verb_of(slice_of(verbs[i]), &verb) && verb == (enum meta_verb)i);
    assert_false(meta_verb_of(slice_of("mx"), &verb));
    assert_false(meta_verb_of(slice_of("m"), &verb));
    assert_false(meta_verb_of(slice_of("mgs"), &verb));
    assert_false(meta_verb_of(slice_of("MG"), &verb));
}

static void flags_are_decoded(void **state)
{
    (void)state;
    assert_null(decode("mg foo s t c f l h O123 k v u q N30 T-1 R+5 C1"));
    assert_true(slice_is(meta.key, "foo") && !meta.key_binary);
    assert_true(meta.verb == META_GET && meta.want_value && meta.no_bump && meta.quiet && !meta.invalidate);
    assert_true(meta.has_vivify && meta.vivify == 30);
    assert_true(meta.has_exptime && meta.exptime == -1);
    assert_true(meta.has_recache && meta.recache == 5);
    assert_true(meta.has_cas && meta.cas == 1 && !meta.has_cas_new);
    assert_true(slice_is(meta.opaque, "o123") && meta.opaque.data[0] == 'O');
    assert_int_equal(meta.flag_count, 15);
    assert_memory_equal(meta.flags, "stcflhOkvuqNTRC", 15);

    assert_null(decode("ms foo 5 F4294967295 MR E18446744073709551615 I x T4102444800 P1 L2"));
    assert_true(meta.mode == 'R' && meta.has_client_flags && meta.client_flags == UINT32_MAX);
    assert_true(meta.has_cas_new && meta.cas_new == UINT64_MAX && meta.invalidate && meta.empty_value);
    assert_true(meta.exptime == 4102444800);
    assert_memory_equal(meta.flags, "FMEIxTPL", meta.flag_count);

    assert_null(decode("ma foo"));
    assert_true(meta.delta == 1 && meta.initial == 0 && meta.mode == 0 && meta.flag_count == 0);
    assert_null(decode("ma foo D10 J7 M- N0"));
    assert_true(meta.delta == 10 && meta.initial == 7 && meta.mode == '-' && meta.vivify == 0);
    assert_null(decode("md foo I T30 q"));
    assert_null(decode("mg foo kjunk vx q1 cc"));
    assert_null(decode("mg foo P L O k s t c f v h u q F0 C0 MX J0 D0"));
    assert_null(decode("mn what ever Z Z"));
    assert_null(decode("ms " K250 " 5 " O_PLUS_31));
    assert_int_equal(meta.opaque.len, META_OPAQUE_MAX);
}

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *line;
        const char *error;
    } cases[] = {
        {"mg", "ERROR"},
        {"md", "ERROR"},
        {"ma", "ERROR"},
        {"ms", "ERROR"},
        {"me", BAD_LINE},
        {"ms k", BAD_LINE},
        {"mg k" K250, BAD_LINE},
        {"md k" K250, BAD_LINE},
        {"ma k" K250 " b", BAD_LINE},
        {"me k" K250, BAD_LINE},
        {"mg foo c c", "CLIENT_ERROR duplicate flag"},
        {"mg foo \x80", "CLIENT_ERROR duplicate flag"},
        {"mg foo \x7f", "CLIENT_ERROR duplicate flag"},
        {"mg foo Z", "CLIENT_ERROR invalid flag"},
        {"mg foo 1", "CLIENT_ERROR invalid flag"},
        {"mg foo S1", "CLIENT_ERROR invalid flag"},
        {"ms foo 2 S", "CLIENT_ERROR invalid flag"},
        {"mg foo Tx", BAD_TOKEN},
        {"mg foo T", BAD_TOKEN},
        {"mg foo T1x", BAD_TOKEN},
        {"mg foo Nx", BAD_TOKEN},
        {"mg foo Rx", BAD_TOKEN},
        {"mg foo Cx", BAD_TOKEN},
        {"mg foo C-1", BAD_TOKEN},
        {"mg foo Ex", BAD_TOKEN},
        {"mg foo M", "CLIENT_ERROR incorrect length for M token"},
        {"mg foo MXX", "CLIENT_ERROR incorrect length for M token"},
        {"mg foo Fx", BAD_LINE},
        {"ms foo 2 F-1", BAD_LINE},
        {"mg foo Dx", "CLIENT_ERROR invalid numeric delta value"},
        {"mg foo Jx", "CLIENT_ERROR invalid numeric initial value"},
        {"mg foo " O_PLUS_31 "2", "CLIENT_ERROR opaque token too long"},
        {"md foo " O_PLUS_31 "2", "CLIENT_ERROR opaque token too long"},
        /* which of several counts */
        {"mg foo Tx Mxx", "CLIENT_ERROR incorrect length for M token"},
        {"mg foo Mxx Tx", BAD_TOKEN},
        {"mg foo Tx c c", "CLIENT_ERROR duplicate flag"},
        {"mg foo Tx Z", "CLIENT_ERROR invalid flag"},
        {"mg foo Tx Fx", BAD_TOKEN},
        {"ms foo 2 MZ " O_PLUS_31 "2", "CLIENT_ERROR invalid mode for ms M token"},
        {"ms foo 2 Ms", "CLIENT_ERROR invalid mode for ms M token"},
        {"ma foo MZ", "CLIENT_ERROR invalid mode for ma M token"},
        {"ma foo Mi", "CLIENT_ERROR invalid mode for ma M token"},
        {"md foo c c", BAD_FLAG},
        {"md foo Tx", BAD_FLAG},
        {"md !!! b", BAD_FLAG},
        {"ma foo Dx", BAD_FLAG},
        {"ma foo MZZ", BAD_FLAG},
        {"mg k P L O k s t c f v h u q F0 C0 MX J0 D0 I", "CLIENT_ERROR options flags are too long"},
        {"md k P L O k s t c f v h u q F0 C0 MX J0 D0 I", "CLIENT_ERROR options flags too long"},
        {"ms k 1 L O k s t c f v h u q F0 C0 MX J0 D0 I", "CLIENT_ERROR options flags too long"},
        {"me nokey b", BAD_LINE},
        {"me !!! b", BAD_LINE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *error = decode(cases[i].line);
        assert_non_null(error);
        assert_string_equal(error, cases[i].error);
    }
    assert_null(decode("me nokey x"));
    assert_null(decode("md foo MZ"));
    assert_null(decode("mg foo MX"));
}

static void binary_keys_are_decoded(void **state)
{
    static const char *const bad[] = {"foo", "Zm9vYg", "Zm9=v", "Zm9v====", "====", "Z===", "...."};
    char line[64];

    (void)state;
    assert_null(decode("mg Zm9v k b"));
    assert_true(meta.key_binary && slice_is(meta.key, "foo") && meta.key.data == key_room);
    assert_memory_equal(meta.flags, "kb", 2);
    assert_null(decode("ms Zm9vYg== 2 bx"));
    assert_true(slice_is(meta.key, "foob"));
    assert_null(decode("md Zm.9v b"));
    assert_true(slice_is(meta.key, "foo"));
    assert_null(decode("mg Zg==Zg== b"));
    assert_true(slice_is(meta.key, "f"));
    assert_null(decode("mg Zh== b"));
    assert_true(slice_is(meta.key, "f"));
    assert_null(decode("me Zm9v b"));
    assert_true(meta.key_binary && slice_is(meta.key, "foo"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memcpy(line, "mg ", 3);
        strcpy(line + 3, bad[i]);
        strcat(line, " b");
        assert_string_equal(decode(line), "CLIENT_ERROR error decoding key");
    }
}

static void base64_round_trips(void **state)
{
    uint8_t bytes[256];
    uint8_t text[BASE64_LEN(sizeof bytes)];
    uint8_t back[sizeof bytes + 2];

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 167 + 13);
    for (size_t len = 1; len <= sizeof bytes; len++) {
        size_t n = base64_encode(text, (struct slice){bytes, len});
        assert_int_equal(n, BASE64_LEN(len));
        assert_int_equal(base64_decode(back, (struct slice){text, n}), len);
        assert_memory_equal(back, bytes, len);
        assert_int_equal(base64_decode(text, (struct slice){text, n}), len); /* in place */
        assert_memory_equal(text, bytes, len);
    }
    assert_int_equal(base64_encode(text, (struct slice){NULL, 0}), 0);
    assert_int_equal(base64_decode(text, (struct slice){NULL, 0}), 0);
}

static void replies_are_spelled(void **state)
{
    uint8_t b[META_REPLY_ROOM];
    uint8_t *p = b;
    static const char expected[] = "VA 12 c18446744073709551615 t-1 O12 kfoo kZm9v b W\r\n";

    (void)state;
    p = meta_put_va(p, 12);
    p = meta_put_u64(p, 'c', UINT64_MAX);
    p = meta_put_i64(p, 't', -1);
    p = meta_put_opaque(p, slice_of("O12"));
    p = meta_put_key(p, slice_of("foo"), false);
    p = meta_put_key(p, slice_of("foo"), true);
    p = meta_put_mark(p, 'W');
    p = meta_put_end(p);
    assert_int_equal(p - b, sizeof expected - 1);
    assert_memory_equal(b, expected, sizeof expected - 1);
    p = meta_put_end(meta_put_code(b, "EN"));
    assert_memory_equal(b, "EN\r\n", 4);
    p = meta_put_me(b, slice_of("foo"), true);
    assert_memory_equal(b, "ME Zm9v", 7);
    assert_int_equal(p - b, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verbs_are_known),    cmocka_unit_test(flags_are_decoded),
        cmocka_unit_test(mistakes_are_named), cmocka_unit_test(binary_keys_are_decoded),
        cmocka_unit_test(base64_round_trips), cmocka_unit_test(replies_are_spelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
