/* test_out.c - replies come out as they went in, however the socket takes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/out.h"

enum { MODEL_MAX = 1 << 16 };

/* What should come out. */
struct model {
    uint8_t data[MODEL_MAX];
    size_t len;
};

static void put(struct out *out, struct model *model, const char *text)
{
    out_append(out, text, strlen(text));
    memcpy(model->data + model->len, text, strlen(text));
    model->len += strlen(text);
}

static void put_blob(struct out *out, struct model *model, size_t len)
{
    struct blob *blob = blob_new(len + 2);

    assert_non_null(blob);
    for (size_t i = 0; i < blob->capacity; i++)
        blob->data[i] = (uint8_t)(i * 7 + len);
    memcpy(model->data + model->len, blob->data + 1, len);
    model->len += len;
    out_blob(out, blob, (struct slice){blob->data + 1, len});
}

/* As a socket would that takes at most `most` bytes in at most `iovs` pieces. */
static size_t take(struct out *out, uint8_t *to, int iovs, size_t most)
{
    struct iovec iov[8];
    int n = out_iovecs(out, iov, iovs);
    size_t taken = 0;

    for (int i = 0; i < n && taken < most; i++) {
        size_t len = iov[i].iov_len < most - taken ? iov[i].iov_len : most - taken;

        assert_true(iov[i].iov_len > 0);
        memcpy(to + taken, iov[i].iov_base, len);
        taken += len;
    }
    out_advance(out, taken);
    return taken;
}

static void expect_all(struct out *out, const struct model *model, int iovs, size_t most)
{
    static uint8_t got[MODEL_MAX];
    size_t len = 0;

    assert_int_equal(out_pending(out), model->len);
    while (out_pending(out) > 0) {
        size_t n = take(out, got + len, iovs, most);
        assert_true(n > 0);
        len += n;
    }
    assert_int_equal(len, model->len);
    assert_memory_equal(got, model->data, len);
}

static void build(struct out *out, struct model *model)
{
    *model = (struct model){.len = 0};
    put(out, model, "first");
    put_blob(out, model, 300);
    put(out, model, "-");
    put_blob(out, model, 1);
    put_blob(out, model, 77);
    put(out, model, "the end, which is long enough to be cut somewhere");
}

static void comes_out_whole_in_pieces_of_any_size(void **state)
{
    static struct model model;
    uint64_t before = blob_bytes_total();

    (void)state;
    for (int iovs = 1; iovs <= 8; iovs++) {
        for (size_t most = 1; most <= 60; most++) {
            struct out out = {0};
            build(&out, &model);
            expect_all(&out, &model, iovs, most);
            assert_true(blob_bytes_total() == before); /* let go before anything is cleared */
            out_free(&out);
        }
    }
}

static void what_is_left_can_move_behind_something_else(void **state)
{
    static struct model model, both;
    uint64_t before = blob_bytes_total();
    static uint8_t gone[MODEL_MAX];

    (void)state;
    for (size_t cut = 0; cut <= 430; cut++) {
        for (int preceded = 0; preceded < 2; preceded++) {
            struct out from = {0}, to = {0};

            both = (struct model){.len = 0};
            if (preceded)
                put(&to, &both, "already waiting");
            build(&from, &model);
            size_t taken = take(&from, gone, 8, cut);
            assert_int_equal(taken, cut);
            memcpy(both.data + both.len, model.data + cut, model.len - cut);
            both.len += model.len - cut;
            out_move(&to, &from);
            assert_int_equal(out_pending(&from), 0);
            expect_all(&to, &both, 3, 50);
            out_free(&to);
            out_free(&from);
        }
    }
    assert_true(blob_bytes_total() == before);
}

static void grows_by_itself(void **state)
{
    struct out out = {0};
    uint8_t byte = 'x';

    (void)state;
    for (int i = 0; i < 3000000; i++)
        out_append(&out, &byte, 1);
    assert_int_equal(out_pending(&out), 3000000);
    assert_true(out.cap < 2 * 4096 * 1024);
    for (size_t i = 0; i < out.len; i++)
        assert_true(out.data[i] == 'x');
    out_clear(&out, 1024);
    assert_null(out.data);
    out_free(&out);
}

static void rollback_and_cut_take_back_the_last_words(void **state)
{
    static struct model model;
    struct out out = {0};
    uint64_t before = blob_bytes_total();
    size_t mark, pins;

    (void)state;
    build(&out, &model);
    mark = out_mark(&out);
    out_append(&out, "mistake", 7);
    out_rollback(&out, mark);
    mark = out_mark(&out);
    pins = out.pins_len;
    uint64_t held = blob_bytes_total();
    struct model ignored = {.len = 0};
    put(&out, &ignored, "muted");
    put_blob(&out, &ignored, 500);
    put(&out, &ignored, "reply");
    out_cut(&out, mark, pins);
    assert_true(blob_bytes_total() == held);
    expect_all(&out, &model, 8, 1000);
    out_free(&out);
    assert_true(blob_bytes_total() == before);
}

static void insert_moves_what_follows(void **state)
{
    static struct model model, tail;
    struct out out = {0};
    size_t mark;

    (void)state;
    model = tail = (struct model){.len = 0};
    put_blob(&out, &model, 20);
    put(&out, &model, "before");
    mark = out_mark(&out);
    put_blob(&out, &tail, 33);
    put(&out, &tail, "one");
    put_blob(&out, &tail, 5);
    put(&out, &tail, "two");
    out_insert(&out, mark, "*2 goes here: ", 14);
    memcpy(model.data + model.len, "*2 goes here: ", 14);
    memcpy(model.data + model.len + 14, tail.data, tail.len);
    model.len += 14 + tail.len;
    expect_all(&out, &model, 8, 7);
    out_free(&out);
}

/* An allocation that cannot be had. */
static void failure_is_remembered_and_swallows(void **state)
{
    struct out out = {0};
    uint8_t *p;

    (void)state;
    out_append(&out, "good", 4);
    struct blob *blob = blob_new(10);
    uint64_t with = blob_bytes_total();
    out_blob(&out, blob, (struct slice){blob->data, 10});
    assert_null(out_room(&out, SIZE_MAX - 100));
    assert_true(out.failed);
    assert_true(blob_bytes_total() < with); /* let go at once */
    for (int i = 0; i < 100; i++) {
        p = out_room(&out, 100000);
        assert_non_null(p);
        memset(p, 0, 100000);
        out_commit(&out, p + 100000);
    }
    out_rollback(&out, SIZE_MAX);
    assert_int_equal(out_pending(&out), 0);
    struct iovec iov;
    assert_int_equal(out_iovecs(&out, &iov, 1), 0);

    struct out other = {0};
    out_append(&other, "x", 1);
    out_move(&other, &out);
    assert_true(other.failed);
    assert_false(out.failed);
    out_append(&out, "usable again", 12);
    assert_int_equal(out_pending(&out), 12);
    out_free(&out);
    out_free(&other);
}

static void blobs_are_shared_and_grow(void **state)
{
    uint64_t before = blob_bytes_total();
    struct blob *a, *b;

    (void)state;
    a = blob_new(100);
    memset(a->data, 'q', 100);
    assert_true(blob_bytes_total() == before + sizeof *a + 100);
    a = blob_grow(a, 1000);
    assert_non_null(a);
    assert_int_equal(a->capacity, 1000);
    assert_true(a->data[99] == 'q');
    assert_ptr_equal(blob_grow(a, 10), a);
    blob_pin(a);
    b = a;
    blob_unpin(&a);
    assert_null(a);
    blob_unpin(&a);
    assert_true(b->data[0] == 'q');
    blob_unpin(&b);
    assert_true(blob_bytes_total() == before);
    assert_null(blob_new(SIZE_MAX - 2));
}

/* A reader that is always behind but never stops: what is sent must be let go of. */
static void what_is_sent_does_not_pile_up(void **state)
{
    static struct model model;
    static uint8_t got[MODEL_MAX];
    struct out pending = {0}, turn = {0};
    size_t len = 0;

    (void)state;
    memset(&model, 0, sizeof model);
    for (unsigned i = 0; model.len < MODEL_MAX - 2000; i++) {
        put(&turn, &model, "some reply or other, and then some more of it");
        if (i % 5 == 0)
            put_blob(&turn, &model, 300 + i % 7);
        out_move(&pending, &turn);
        while (out_pending(&pending) > 1000) { /* never to the end */
            size_t n = take(&pending, got + len, 4, 1 + i % 173);
            assert_true(n > 0);
            len += n;
        }
        assert_true(pending.len < 8192 && pending.pins_len < 64);
    }
    while (out_pending(&pending) > 0)
        len += take(&pending, got + len, 8, 999);
    assert_int_equal(len, model.len);
    assert_memory_equal(got, model.data, len);
    out_free(&pending);
    out_free(&turn);
    assert_int_equal(blob_bytes_total(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_out_whole_in_pieces_of_any_size),
        cmocka_unit_test(what_is_left_can_move_behind_something_else),
        cmocka_unit_test(grows_by_itself),
        cmocka_unit_test(rollback_and_cut_take_back_the_last_words),
        cmocka_unit_test(insert_moves_what_follows),
        cmocka_unit_test(failure_is_remembered_and_swallows),
        cmocka_unit_test(blobs_are_shared_and_grow),
        cmocka_unit_test(what_is_sent_does_not_pile_up),
    };

    return cmocka_run_group_tests_name("out", tests, NULL, NULL);
}
