/* lcs.c - LCS: the longest common subsequence of two values.
 *
 * Works on 64 positions of the second string at a time (Hyyrö, "Bit-parallel
 * LCS-length computation revisited", 2004). Row i of the usual table is kept as
 * one bit per column, set where the length grows from one column to the next;
 * those bits alone lead back from the end, in the same steps that redis takes,
 * so the same one of several longest subsequences is found.
 *
 * Limits: as in redis the pair is refused when a table of 4 bytes per cell
 * would exceed proto-max-bulk-len. What is really used is an eighth of that in
 * the worst case, and mostly a sixteenth: a bit per cell, and for each letter
 * of the first string, of which there are no more than rows, a row. */
#include "server/command/command.h"
#include "server/command/value.h"

#include <endian.h>
#include <stdlib.h>

struct lcs_options {
    bool indexes, length, with_lengths;
    int64_t shortest;
};

static bool read_lcs_options(struct exec *x, const struct request *rq, struct lcs_options *o)
{
    *o = (struct lcs_options){0};
    for (uint32_t i = 3; i < rq->argc; i++) {
        struct slice word = rq->argv[i];

        if (slice_is(word, "idx")) {
            o->indexes = true;
        } else if (slice_is(word, "len")) {
            o->length = true;
        } else if (slice_is(word, "withmatchlen")) {
            o->with_lengths = true;
        } else if (slice_is(word, "minmatchlen") && i + 1 < rq->argc) {
            if (!slice_to_i64(rq->argv[++i], &o->shortest)) {
                reply_not_integer(x);
                return false;
            }
        } else {
            reply_syntax_error(x);
            return false;
        }
    }
    if (o->indexes && o->length) {
        reply_error(x, "ERR If you want both the length and indexes, please just use IDX.");
        return false;
    }
    return true;
}

/* ---- the table ---- */

struct lcs {
    struct slice a, b;
    size_t words;    /* of a row, while it is worked on */
    size_t stride;   /* bytes of a row in the table, so that a short b makes a small table */
    uint64_t *row;   /* the current one, as it would be in the table */
    uint8_t *rows;   /* a.len of them; NULL when nobody wants to go back */
    uint64_t *masks; /* for each letter of a: where b has it */
    uint16_t mask_of[256];
    size_t length;
};

enum { NO_MASK = UINT16_MAX };

/* False when memory is short. */
static bool make_masks(struct lcs *t)
{
    uint16_t letters = 0;

    memset(t->mask_of, 0xff, sizeof t->mask_of);
    for (size_t i = 0; i < t->a.len; i++)
        if (t->mask_of[t->a.data[i]] == NO_MASK)
            t->mask_of[t->a.data[i]] = letters++;
    if ((t->masks = calloc((size_t)letters * t->words, sizeof *t->masks)) == NULL)
        return false;
    for (size_t j = 0; j < t->b.len; j++)
        if (t->mask_of[t->b.data[j]] != NO_MASK)
            t->masks[t->mask_of[t->b.data[j]] * t->words + j / 64] |= UINT64_C(1) << j % 64;
    return true;
}

/* Turns the row above into the next one. `v` has a zero where the length
 * grows, so that adding carries each growth to the first match at or after it. */
static void next_row(uint64_t *row, const uint64_t *mask, size_t words)
{
    unsigned long long carry = 0;

    for (size_t w = 0; w < words; w++) {
        uint64_t v = ~le64toh(row[w]), matches = v & mask[w];
        unsigned long long sum;
        bool over = __builtin_uaddll_overflow(v, matches, &sum);

        over |= __builtin_uaddll_overflow(sum, carry, &sum);
        carry = over;
        row[w] = htole64(~(sum | (v & ~mask[w])));
    }
}

static bool grows_in(const uint8_t *row, size_t column)
{
    return row[column / 8] >> column % 8 & 1;
}

/* Fills the table, or works out the length only. False when memory is short. */
static bool fill_table(struct lcs *t, bool keep_rows)
{
    t->words = (t->b.len + 63) / 64;
    t->stride = (t->b.len + 7) / 8;
    if ((t->row = calloc(t->words, sizeof *t->row)) == NULL || !make_masks(t))
        return false;
    if (keep_rows && (t->rows = malloc(t->a.len * t->stride)) == NULL)
        return false;
    for (size_t i = 0; i < t->a.len; i++) {
        next_row(t->row, t->masks + t->mask_of[t->a.data[i]] * t->words, t->words);
        if (keep_rows)
            memcpy(t->rows + i * t->stride, t->row, t->stride);
    }
    for (size_t j = 0; j < t->b.len; j++)
        t->length += grows_in((const uint8_t *)t->row, j);
    return true;
}

static void free_table(struct lcs *t)
{
    free(t->row);
    free(t->rows);
    free(t->masks);
}

/* The next run of matches on the way back from (*i, *j), which is moved to its
 * beginning. Its length; 0: there is none any more. */
static size_t run_before(const struct lcs *t, size_t *i, size_t *j)
{
    size_t run = 0;

    while (*i > 0 && *j > 0) {
        if (t->a.data[*i - 1] == t->b.data[*j - 1]) {
            run++;
            --*i;
            --*j;
        } else if (run > 0) {
            break;
        } else if (grows_in(t->rows + (*i - 1) * t->stride, *j - 1)) {
            --*i; /* no match, and yet longer than to the left: it came from above */
        } else {
            --*j;
        }
    }
    return run;
}

/* ---- answering ---- */

static void reply_pair(struct exec *x, size_t first, size_t len)
{
    reply_array(x, 2);
    reply_integer(x, (int64_t)first);
    reply_integer(x, (int64_t)(first + len - 1));
}

static void reply_indexes(struct exec *x, const struct lcs *t, const struct lcs_options *o)
{
    size_t i = t->a.len, j = t->b.len, matches = 0, mark, run;

    reply_map(x, 2);
    reply_text(x, "matches");
    mark = reply_array_open(x);
    while ((run = run_before(t, &i, &j)) > 0) {
        if ((int64_t)run < o->shortest)
            continue;
        matches++;
        reply_array(x, o->with_lengths ? 3 : 2);
        reply_pair(x, i, run);
        reply_pair(x, j, run);
        if (o->with_lengths)
            reply_integer(x, (int64_t)run);
    }
    reply_array_close(x, mark, matches);
    reply_text(x, "len");
    reply_integer(x, (int64_t)t->length);
}

static void reply_no_memory(struct exec *x)
{
    reply_error(x, "ERR Insufficient memory, failed allocating transient memory for LCS");
}

static void reply_subsequence(struct exec *x, const struct lcs *t)
{
    size_t i = t->a.len, j = t->b.len, at = t->length, run;
    uint8_t *text = malloc(t->length + 1);

    if (text == NULL) {
        reply_no_memory(x);
        return;
    }
    while ((run = run_before(t, &i, &j)) > 0) {
        at -= run;
        memcpy(text + at, t->a.data + i, run);
    }
    reply_bulk(x, (struct slice){text, t->length});
    free(text);
}

static bool fits_limit(struct exec *x, size_t a, size_t b)
{
    uint64_t most = option_live(x->options, proto_max_bulk_len), cells;

    if (!__builtin_mul_overflow((uint64_t)a + 1, (uint64_t)b + 1, &cells) && cells <= most / 4)
        return true;
    reply_error(x, "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
    return false;
}

static void reply_lcs(struct exec *x, struct slice a, struct slice b, const struct lcs_options *o)
{
    struct lcs t = {.a = a, .b = b};

    if (!fits_limit(x, a.len, b.len))
        return;
    if (a.len > 0 && b.len > 0 && !fill_table(&t, !o->length))
        reply_no_memory(x);
    else if (o->indexes)
        reply_indexes(x, &t, o);
    else if (o->length)
        reply_integer(x, (int64_t)t.length);
    else
        reply_subsequence(x, &t);
    free_table(&t);
}

void cmd_lcs(struct exec *x, struct request *rq)
{
    struct key key_a = exec_key(x, rq, 1), key_b = exec_key(x, rq, 2);
    struct held_value a = {0}, b = {0};
    struct lcs_options options;
    enum value_found found;

    if (!read_lcs_options(x, rq, &options))
        return;
    if ((found = value_hold(x, &key_a, &a)) < VALUE_REFUSED &&
        (found = value_hold(x, &key_b, &b)) < VALUE_REFUSED)
        reply_lcs(x, a.value, b.value, &options);
    else if (found == VALUE_NO_MEMORY)
        reply_no_memory(x);
    value_release(&a);
    value_release(&b);
}
