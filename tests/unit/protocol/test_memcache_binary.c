/* test_memcache_binary.c - binary packets come out the same however they were
 * cut; what is refused is never waited for or held; replies are laid out as
 * memcached 1.6.18 lays them out. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include "tests/unit/protocol/replay.h"
#include <cmocka.h>

enum { STREAM_MAX = 4096 };

static const struct replay usual = {.dialect = REPLAY_BINARY, .value_max = 20};

struct stream {
    uint8_t data[STREAM_MAX];
    size_t len;
};

struct packet {
    uint8_t magic; /* 0: the right one */
    uint8_t opcode;
    const char *extras, *key, *value;
    size_t extras_len;
    uint32_t body_len; /* 0: the right one */
};

static void add(struct stream *s, const struct packet *p)
{
    size_t key = p->key != NULL ? strlen(p->key) : 0, value = p->value != NULL ? strlen(p->value) : 0;
    size_t body = p->extras_len + key + value;
    uint8_t *at = s->data + s->len;

    memset(at, 0, BINARY_HEADER);
    at[0] = p->magic != 0 ? p->magic : BINARY_MAGIC;
    at[1] = p->opcode;
    at[2] = (uint8_t)(key >> 8);
    at[3] = (uint8_t)key;
    at[4] = (uint8_t)p->extras_len;
    binary_put_u32(at + 8, p->body_len != 0 ? p->body_len : (uint32_t)body);
    at += BINARY_HEADER;
    memcpy(at, p->extras != NULL ? p->extras : "", p->extras_len);
    memcpy(at + p->extras_len, p->key != NULL ? p->key : "", key);
    memcpy(at + p->extras_len + key, p->value != NULL ? p->value : "", value);
    s->len += BINARY_HEADER + body;
}

/* What the record says without the bytes of headers: " 24:..." is " H", " 32:..." " H8". */
static void plain_record(const struct replay *r, char *to)
{
    for (size_t i = 0; i < r->len;) {
        size_t len;
        int used = 0;

        if (r->text[i] == ' ' && sscanf(r->text + i, " %zu:%n", &len, &used) == 1 && used > 0 &&
            len >= BINARY_HEADER && (uint8_t)r->text[i + (size_t)used] == BINARY_MAGIC) {
            to += len > BINARY_HEADER ? sprintf(to, " H%zu", len - BINARY_HEADER) : sprintf(to, " H");
            i += (size_t)used + len;
        } else {
            *to++ = r->text[i++];
        }
    }
    *to = '\0';
}

static void expect(const struct stream *s, const char *record)
{
    struct replay r = usual;
    char plain[STREAM_MAX];

    replay_run(&r, s->data, s->len, (struct cuts){0});
    plain_record(&r, plain);
    assert_string_equal(plain, record);
    free(r.text);
    replay_compare_all(&usual, s->data, s->len);
}

static void packets_are_header_key_and_value(void **state)
{
    struct stream s = {.len = 0};

    (void)state;
    add(&s, &(struct packet){.opcode = BINARY_GET, .key = "foo"});
    add(&s, &(struct packet){
                .opcode = BINARY_SET, .extras = "flagtime", .extras_len = 8, .key = "a b", .value = "value"});
    add(&s, &(struct packet){.opcode = BINARY_NOOP});
    add(&s, &(struct packet){.opcode = BINARY_APPENDQ, .key = "k", .value = "01234567890123456789"});
    expect(&s, "done H 3:foo data 0:\ndone H8 3:a b data 5:value\ndone H data 0:\n"
               "done H 1:k data 20:01234567890123456789\nleft 0\n");
}

static void an_unfinished_packet_stays(void **state)
{
    struct stream s = {.len = 0};

    (void)state;
    add(&s, &(struct packet){.opcode = BINARY_NOOP});
    s.len = 23;
    expect(&s, "left 23\n");
}

static void what_is_too_long_is_thrown_away(void **state)
{
    struct stream s = {.len = 0};

    (void)state;
    add(&s, &(struct packet){.opcode = BINARY_SET,
                             .extras = "flagtime",
                             .extras_len = 8,
                             .key = "k",
                             .value = "012345678901234567890"});
    add(&s, &(struct packet){.opcode = BINARY_NOOP});
    expect(&s, "refused H8 1:k []\nnothing 21\ndone H data 0:\nleft 0\n");
}

/* A value where there may be none is not waited for, however long it says it is. */
static void a_value_out_of_place_is_not_waited_for(void **state)
{
    struct stream s = {.len = 0};

    (void)state;
    add(&s, &(struct packet){.opcode = BINARY_GET, .key = "k", .value = "x"});
    add(&s, &(struct packet){.opcode = 0x40, .key = "k", .value = "abc"});
    add(&s,
        &(struct packet){.opcode = BINARY_SET, .extras = "four", .extras_len = 4, .key = "k", .value = "v"});
    add(&s, &(struct packet){.opcode = BINARY_NOOP, .body_len = UINT32_MAX});
    expect(&s, "refused H 1:k []\nnothing 1\nrefused H 1:k []\nnothing 3\nrefused H4 1:k []\nnothing 1\n"
               "refused H []\nleft 0\n");
}

static void headers_that_cannot_be_are_refused_at_once(void **state)
{
    char key[BINARY_KEY_MAX + 2];
    struct stream s = {.len = 0};

    (void)state;
    memset(key, 'k', BINARY_KEY_MAX + 1);
    key[BINARY_KEY_MAX + 1] = '\0';
    add(&s, &(struct packet){.opcode = BINARY_GET, .key = "kk", .body_len = 1});
    s.len = BINARY_HEADER;
    expect(&s, "refused H []\nleft 0\n");
    s.len = 0;
    add(&s, &(struct packet){.opcode = BINARY_GET, .key = key});
    s.len = BINARY_HEADER;
    expect(&s, "refused H []\nleft 0\n");
}

static void another_magic_ends_it(void **state)
{
    struct stream s = {.len = 0};

    (void)state;
    add(&s, &(struct packet){.opcode = BINARY_NOOP});
    add(&s, &(struct packet){.magic = 0x81, .opcode = BINARY_NOOP});
    expect(&s, "done H data 0:\nbroken []\n");
    s.len = BINARY_HEADER + 1; /* already at its first byte */
    expect(&s, "done H data 0:\nbroken []\n");
}

static void headers_are_read_and_written(void **state)
{
    static const uint8_t head[] = {0x80, 0x0c, 1, 2, 3, 0, 0, 0, 0xff, 0xee, 0xdd, 0xcc,
                                   9,    8,    7, 6, 1, 2, 3, 4, 5,    6,    7,    8};
    struct binary_header h = binary_header_decode(head);
    uint8_t reply[BINARY_ERROR_ROOM], *end;
    static const uint8_t not_found[] = {0x81, 0x0c, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9,
                                        9,    8,    7, 6, 0, 0, 0, 0, 0, 0, 0, 0};

    (void)state;
    assert_int_equal(h.opcode, BINARY_GETK);
    assert_int_equal(h.key_len, 0x0102);
    assert_int_equal(h.extras_len, 3);
    assert_int_equal(h.body_len, 0xffeeddcc);
    assert_int_equal(h.cas, 0x0102030405060708);
    end = binary_put_error(reply, &h, BINARY_NOT_FOUND);
    assert_int_equal(end - reply, BINARY_HEADER + 9);
    assert_memory_equal(reply, not_found, BINARY_HEADER);
    assert_memory_equal(reply + BINARY_HEADER, "Not found", 9);
    end = binary_put_header(reply, &h, BINARY_UNKNOWN, 4, 5, 6, UINT64_MAX);
    assert_int_equal(end - reply, BINARY_HEADER);
    assert_int_equal(reply[4], 4);
    assert_int_equal(reply[7], 0x81);
    assert_int_equal(binary_u32(reply + 8), 15);
    assert_true(binary_u64(reply + 16) == UINT64_MAX);
}

static void stats_are_name_and_value(void **state)
{
    uint8_t reply[BINARY_STAT_ROOM(3, 2)];
    struct binary_header h = {.opcode = BINARY_STAT};
    uint8_t *end = binary_put_stat(reply, &h, slice_of("pid"), slice_of("17"));

    (void)state;
    assert_int_equal(end - reply, sizeof reply);
    assert_int_equal(reply[3], 3);
    assert_int_equal(binary_u32(reply + 8), 5);
    assert_memory_equal(reply + BINARY_HEADER, "pid17", 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packets_are_header_key_and_value),
        cmocka_unit_test(an_unfinished_packet_stays),
        cmocka_unit_test(what_is_too_long_is_thrown_away),
        cmocka_unit_test(a_value_out_of_place_is_not_waited_for),
        cmocka_unit_test(headers_that_cannot_be_are_refused_at_once),
        cmocka_unit_test(another_magic_ends_it),
        cmocka_unit_test(headers_are_read_and_written),
        cmocka_unit_test(stats_are_name_and_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
