/* bitfield.c - BITFIELD and BITFIELD_RO: numbers of any width at any bit.
 *
 * Rules: (1) all operations are read and checked before the first is done;
 * (2) they are done in order, each seeing what those before it wrote, and
 * others see all of it or nothing; (3) the value first grows as far as the
 * farthest write reaches, even if all writes then FAIL: redis's way. */
#include "server/command/bitmap.h"

#include <stdlib.h>

#include "server/bits.h"
#include "server/command/command.h"

enum field_verb { FIELD_GET, FIELD_SET, FIELD_INCRBY };
enum field_overflow { OVERFLOW_WRAP, OVERFLOW_SAT, OVERFLOW_FAIL };

struct field {
    enum field_verb verb;
    enum field_overflow overflow;
    bool is_signed;
    unsigned width; /* in bits */
    uint64_t at;    /* its first bit */
    int64_t operand;
};

/* ---- reading the request ---- */

/* Where in the request we are, and what OVERFLOW said last. */
struct field_reader {
    uint32_t next;
    enum field_overflow overflow;
};

enum field_read { FIELD_READ, FIELD_END, FIELD_WRONG /* answered */ };

static bool read_type(struct exec *x, struct slice word, struct field *f)
{
    int64_t width;

    if (word.len > 0 && (word.data[0] == 'i' || word.data[0] == 'u')) {
        f->is_signed = word.data[0] == 'i';
        if (slice_to_i64((struct slice){word.data + 1, word.len - 1}, &width) && width >= 1 &&
            width <= (f->is_signed ? 64 : 63)) {
            f->width = (unsigned)width;
            return true;
        }
    }
    reply_error(x, "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but "
                   "i64 is.");
    return false;
}

static bool read_overflow(struct exec *x, struct slice word, enum field_overflow *overflow)
{
    if (slice_is(word, "wrap"))
        *overflow = OVERFLOW_WRAP;
    else if (slice_is(word, "sat"))
        *overflow = OVERFLOW_SAT;
    else if (slice_is(word, "fail"))
        *overflow = OVERFLOW_FAIL;
    else {
        reply_error(x, "ERR Invalid OVERFLOW type specified");
        return false;
    }
    return true;
}

static bool read_verb(struct exec *x, struct slice word, uint32_t words_left, struct field *f)
{
    if (slice_is(word, "get") && words_left >= 2)
        f->verb = FIELD_GET;
    else if (slice_is(word, "set") && words_left >= 3)
        f->verb = FIELD_SET;
    else if (slice_is(word, "incrby") && words_left >= 3)
        f->verb = FIELD_INCRBY;
    else {
        reply_syntax_error(x);
        return false;
    }
    return true;
}

static enum field_read read_field(struct exec *x, const struct request *rq, struct field_reader *r,
                                  struct field *f)
{
    const struct slice *words;

    while (r->next + 1 < rq->argc && slice_is(rq->argv[r->next], "overflow")) {
        if (!read_overflow(x, rq->argv[r->next + 1], &r->overflow))
            return FIELD_WRONG;
        r->next += 2;
    }
    if (r->next == rq->argc)
        return FIELD_END;
    words = rq->argv + r->next;
    f->overflow = r->overflow;
    if (!read_verb(x, words[0], rq->argc - r->next - 1, f) || !read_type(x, words[1], f) ||
        !read_bit_number(x, words[2], f->width, &f->at))
        return FIELD_WRONG;
    r->next += 3;
    if (f->verb == FIELD_GET)
        return FIELD_READ;
    if (!slice_to_i64(words[3], &f->operand)) {
        reply_not_integer(x);
        return FIELD_WRONG;
    }
    r->next++;
    return FIELD_READ;
}

static struct field_reader read_fields_from(uint32_t at)
{
    return (struct field_reader){.next = at, .overflow = OVERFLOW_WRAP};
}

/* All operations of a request, which are not kept: there may be any number of
 * them, and reading them a second time is cheap. */
struct fields {
    struct exec *x;
    const struct request *rq;
    size_t count;
    bool writes;
    size_t write_end;   /* bytes the value must have for all writes */
    size_t from, to;    /* bytes that any operation looks at; `to` is not among them */
    size_t reply_start; /* for taking replies back */
};

static bool read_fields(struct exec *x, const struct request *rq, struct fields *all)
{
    struct field_reader r = read_fields_from(2);
    struct field f;

    *all = (struct fields){.x = x, .rq = rq, .from = SIZE_MAX, .reply_start = out_mark(x->out)};
    for (;;) {
        switch (read_field(x, rq, &r, &f)) {
        case FIELD_WRONG: return false;
        case FIELD_END: return true;
        case FIELD_READ: break;
        }
        size_t from = f.at / 8, to = (f.at + f.width + 7) / 8;
        all->count++;
        all->from = from < all->from ? from : all->from;
        all->to = to > all->to ? to : all->to;
        if (f.verb != FIELD_GET) {
            all->writes = true;
            all->write_end = to > all->write_end ? to : all->write_end;
        }
    }
}

/* ---- arithmetic ---- */

static int64_t number_of(const struct field *f, uint64_t bits)
{
    return f->is_signed ? bits_signed(bits, f->width) : (int64_t)bits;
}

/* What to write over `old`, which is inside the field's bounds. False when it
 * does not fit and that makes the operation FAIL. An operand of SET counts as
 * unsigned where the field is, so a negative one is too large, not too small. */
static bool new_number(const struct field *f, int64_t old, int64_t *number)
{
    __int128 most = f->is_signed ? INT64_MAX >> (64 - f->width) : (int64_t)(UINT64_MAX >> (64 - f->width));
    __int128 least = f->is_signed ? -most - 1 : 0;
    __int128 exact = f->operand;

    if (f->verb == FIELD_INCRBY)
        exact += old;
    else if (!f->is_signed)
        exact = (uint64_t)f->operand;
    if (exact >= least && exact <= most) {
        *number = (int64_t)exact;
        return true;
    }
    switch (f->overflow) {
    case OVERFLOW_WRAP: *number = number_of(f, (uint64_t)exact & (UINT64_MAX >> (64 - f->width))); break;
    case OVERFLOW_SAT: *number = (int64_t)(exact > most ? most : least); break;
    case OVERFLOW_FAIL: return false;
    }
    return true;
}

/* ---- reading only ---- */

static void get_fields(void *arg, struct slice value)
{
    struct fields *all = arg;
    struct field_reader r = read_fields_from(2);
    struct field f;

    out_rollback(all->x->out, all->reply_start);
    reply_array(all->x, all->count);
    while (read_field(all->x, all->rq, &r, &f) == FIELD_READ)
        reply_integer(all->x, number_of(&f, bits_load(value.data, value.len, f.at, f.width)));
}

/* ---- writing ---- */

/* The bytes that are worked on: a copy of a part of a small value, written back
 * at the end, or a large value itself, whose readers cannot look in between
 * (STORE_WRITES_TOGETHER) and which would be dear to copy. */
struct workplace {
    struct store_edit *edit;
    uint8_t *copy; /* NULL: the value itself */
    size_t from, len;
    bool changed;
};

static uint64_t load(const struct workplace *w, const struct field *f)
{
    if (w->copy == NULL)
        return bits_load(w->edit->value.data, w->edit->value.len, f->at, f->width);
    return bits_load(w->copy, w->len, f->at - w->from * 8, f->width);
}

static enum store_status store(struct workplace *w, const struct field *f, int64_t number)
{
    uint8_t bytes[9] = {0};
    size_t at = f->at / 8, len = (f->at + f->width + 7) / 8 - at;

    w->changed = true;
    if (w->copy != NULL) {
        bits_store(w->copy, f->at - w->from * 8, f->width, (uint64_t)number);
        return STORE_OK;
    }
    memcpy(bytes, w->edit->value.data + at, len);
    bits_store(bytes, f->at % 8, f->width, (uint64_t)number);
    return store_edit_write(w->edit, at, (struct slice){bytes, len});
}

static enum store_status do_field(struct exec *x, struct workplace *w, const struct field *f)
{
    int64_t old = number_of(f, load(w, f)), number = old;

    if (f->verb == FIELD_GET) {
        reply_integer(x, old);
        return STORE_OK;
    }
    if (!new_number(f, old, &number)) {
        reply_null(x);
        return STORE_OK;
    }
    reply_integer(x, f->verb == FIELD_SET ? old : number);
    return number == old ? STORE_OK : store(w, f, number);
}

static enum store_status do_fields(const struct fields *all, struct workplace *w)
{
    struct field_reader r = read_fields_from(2);
    enum store_status status = STORE_OK;
    struct field f;

    reply_array(all->x, all->count);
    while (status == STORE_OK && read_field(all->x, all->rq, &r, &f) == FIELD_READ)
        status = do_field(all->x, w, &f);
    return status;
}

static enum store_status edit_large(const struct fields *all, struct store_edit *edit)
{
    struct workplace w = {.edit = edit};
    enum store_status status = STORE_OK;

    /* Only this, or else the first of the writes, can be refused: after it the value is nobody else's. */
    if (!edit_shows(edit) || all->write_end > edit->value.len)
        status = store_edit_write(edit, all->write_end, (struct slice){NULL, 0});
    return status == STORE_OK ? do_fields(all, &w) : status;
}

static enum store_status edit_small(const struct fields *all, struct store_edit *edit)
{
    struct slice value = edit_value(edit);
    size_t len = all->write_end > value.len ? all->write_end : value.len;
    struct workplace w = {.edit = edit, .from = all->from};
    enum store_status status;
    uint8_t few[256];
    size_t there;

    w.len = (all->to < len ? all->to : len) - all->from; /* the first write is inside: so is all->from */
    w.copy = w.len <= sizeof few ? few : malloc(w.len);
    if (w.copy == NULL)
        return STORE_NO_SPACE;
    there = value.len > w.from ? value.len - w.from : 0;
    there = there < w.len ? there : w.len;
    if (there > 0)
        memcpy(w.copy, value.data + w.from, there);
    memset(w.copy + there, 0, w.len - there);
    status = do_fields(all, &w);
    if (status == STORE_OK && (w.changed || len > value.len))
        status = store_edit_write(edit, w.from, (struct slice){w.copy, w.len});
    if (w.copy != few)
        free(w.copy);
    return status;
}

static void edit_fields(struct exec *x, const struct key *key, const struct fields *all)
{
    enum store_status status;
    struct store_edit edit;
    size_t len;

    store_edit_begin(x->store, x->local, key, x->now, &edit);
    if (refuse_filter(x, &edit))
        return;
    len = edit_value(&edit).len;
    len = all->write_end > len ? all->write_end : len;
    status = len > STORE_WRITES_TOGETHER ? edit_large(all, &edit) : edit_small(all, &edit);
    store_edit_end(&edit);
    if (status != STORE_OK) {
        out_rollback(x->out, all->reply_start);
        reply_store_refused(x, status);
    }
}

static void answer_fields(struct exec *x, const struct key *key, struct fields *all)
{
    switch (value_visit(x, key, get_fields, all)) {
    case VALUE_MISSING: get_fields(all, (struct slice){NULL, 0}); return;
    case VALUE_FOUND:
    case VALUE_REFUSED:
    case VALUE_NO_MEMORY: return;
    }
}

void cmd_bitfield(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    struct fields all;

    if (!read_fields(x, rq, &all))
        return;
    if (all.writes)
        edit_fields(x, &key, &all);
    else
        answer_fields(x, &key, &all);
}

void cmd_bitfield_ro(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    struct fields all;

    if (!read_fields(x, rq, &all))
        return;
    if (all.writes)
        reply_error(x, "ERR BITFIELD_RO only supports the GET subcommand");
    else
        answer_fields(x, &key, &all);
}
