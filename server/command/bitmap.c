/* bitmap.c - SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP. */
#include "server/command/bitmap.h"

#include "server/bits.h"
#include "server/check.h"
#include "server/command/command.h"
#include "server/store/racy.h"

bool read_bit_number(struct exec *x, struct slice word, unsigned width, uint64_t *bit)
{
    bool counts_fields = width > 0 && word.len > 0 && word.data[0] == '#';
    struct slice digits = counts_fields ? (struct slice){word.data + 1, word.len - 1} : word;
    int64_t number;

    if (!slice_to_i64(digits, &number) ||
        (counts_fields && __builtin_mul_overflow(number, (int64_t)width, &number)) || number < 0 ||
        (uint64_t)number >> 3 >= option_live(x->options, proto_max_bulk_len)) {
        reply_error(x, "ERR bit offset is not an integer or out of range");
        return false;
    }
    *bit = (uint64_t)number;
    return true;
}

/* ---- one bit ---- */

static uint8_t mask_of(uint64_t bit)
{
    return (uint8_t)(0x80u >> bit % 8);
}

struct one_bit {
    uint64_t number;
    bool set;
};

static void look_at_bit(void *arg, struct slice value)
{
    struct one_bit *bit = arg;

    bit->set =
        bit->number / 8 < value.len && (racy_load8(value.data + bit->number / 8) & mask_of(bit->number)) != 0;
}

void cmd_getbit(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    enum value_found found;
    struct one_bit bit;

    if (!read_bit_number(x, rq->argv[2], 0, &bit.number))
        return;
    found = value_visit(x, &key, look_at_bit, &bit);
    if (found != VALUE_REFUSED)
        reply_integer(x, found == VALUE_FOUND && bit.set);
}

static enum store_status set_bit(struct store_edit *edit, uint64_t number, bool set, bool *before)
{
    struct slice value = edit_value(edit);
    size_t at = number / 8;
    uint8_t byte = at < value.len ? value.data[at] : 0;

    *before = (byte & mask_of(number)) != 0;
    if (at < value.len && *before == set)
        return STORE_OK;
    byte = (uint8_t)(set ? byte | mask_of(number) : byte & ~mask_of(number));
    return store_edit_write(edit, at, (struct slice){&byte, 1});
}

void cmd_setbit(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    struct slice word = rq->argv[3];
    enum store_status status;
    struct store_edit edit;
    uint64_t number;
    bool before;

    if (!read_bit_number(x, rq->argv[2], 0, &number))
        return;
    if (word.len != 1 || (word.data[0] != '0' && word.data[0] != '1')) {
        reply_error(x, "ERR bit is not an integer or out of range");
        return;
    }
    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    if (refuse_filter(x, &edit))
        return;
    status = set_bit(&edit, number, word.data[0] == '1', &before);
    store_edit_end(&edit);
    if (status == STORE_OK)
        reply_integer(x, before);
    else
        reply_store_refused(x, status);
}

/* ---- ranges of bits ---- */

/* What is wrong with a range. It is said only once the key is known to be
 * there: redis answers for a missing key before it looks at the range. */
enum range_fault { RANGE_FINE, RANGE_NO_INTEGER, RANGE_SYNTAX };

struct bit_range {
    int64_t start, end; /* as the client wrote them: from the end when negative */
    bool given, end_given, in_bits;
    enum range_fault fault;
};

/* The numbers of bits in a value that the range covers, both ends counted. False: none. */
static bool clip(const struct bit_range *r, size_t bytes, uint64_t *first, uint64_t *last)
{
    int64_t len = (int64_t)bytes * (r->in_bits ? 8 : 1);
    int64_t start = r->start, end = r->end_given ? r->end : len - 1;

    start = start < 0 ? start + len : start;
    end = end < 0 ? end + len : end;
    start = start < 0 ? 0 : start;
    end = end < 0 ? 0 : end;
    end = end >= len ? len - 1 : end;
    if (start > end)
        return false;
    *first = (uint64_t)start * (r->in_bits ? 1 : 8);
    *last = r->in_bits ? (uint64_t)end : (uint64_t)end * 8 + 7;
    return true;
}

static bool is_backwards(const struct bit_range *r)
{
    return r->start < 0 && r->end < 0 && r->start > r->end;
}

static enum range_fault read_unit(struct slice word, bool *in_bits)
{
    *in_bits = slice_is(word, "bit");
    return *in_bits || slice_is(word, "byte") ? RANGE_FINE : RANGE_SYNTAX;
}

static bool reply_fault(struct exec *x, enum range_fault fault)
{
    switch (fault) {
    case RANGE_FINE: return false;
    case RANGE_NO_INTEGER: reply_not_integer(x); return true;
    case RANGE_SYNTAX: reply_syntax_error(x); return true;
    }
    CHECK_UNREACHABLE();
}

/* [start end [BYTE|BIT]]. A range that is backwards is fine whatever comes after it, as in redis. */
static struct bit_range read_count_range(const struct request *rq)
{
    struct bit_range r = {.given = rq->argc > 2, .end_given = rq->argc > 2};

    if (rq->argc == 3 || rq->argc > 5)
        r.fault = RANGE_SYNTAX;
    else if (r.given && (!slice_to_i64(rq->argv[2], &r.start) || !slice_to_i64(rq->argv[3], &r.end)))
        r.fault = RANGE_NO_INTEGER;
    else if (rq->argc == 5 && !is_backwards(&r))
        r.fault = read_unit(rq->argv[4], &r.in_bits);
    return r;
}

/* [start [end [BYTE|BIT]]], in redis's order of complaints. */
static struct bit_range read_find_range(const struct request *rq)
{
    struct bit_range r = {.given = rq->argc > 3, .end_given = rq->argc > 4};

    if (rq->argc > 6)
        r.fault = RANGE_SYNTAX;
    else if (r.given && !slice_to_i64(rq->argv[3], &r.start))
        r.fault = RANGE_NO_INTEGER;
    else if (rq->argc == 6 && (r.fault = read_unit(rq->argv[5], &r.in_bits)) != RANGE_FINE)
        return r;
    else if (r.end_given && !slice_to_i64(rq->argv[4], &r.end))
        r.fault = RANGE_NO_INTEGER;
    return r;
}

struct bit_query {
    struct bit_range range;
    bool set; /* of BITPOS */
    int64_t result;
};

static void count_bits(void *arg, struct slice value)
{
    struct bit_query *q = arg;
    uint64_t first, last;

    q->result = 0;
    if (q->range.fault == RANGE_FINE && !is_backwards(&q->range) && clip(&q->range, value.len, &first, &last))
        q->result = (int64_t)bits_count(value.data, first, last);
}

static void answer_query(struct exec *x, enum value_found found, const struct bit_query *q, int64_t missing)
{
    if (found == VALUE_MISSING)
        reply_integer(x, missing);
    else if (found == VALUE_FOUND && !reply_fault(x, q->range.fault))
        reply_integer(x, q->result);
}

void cmd_bitcount(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    struct bit_query q = {.range = read_count_range(rq)};

    answer_query(x, value_visit(x, &key, count_bits, &q), &q, 0);
}

/* A value is followed by zeros without end, as long as no end was given. */
static void find_bit(void *arg, struct slice value)
{
    struct bit_query *q = arg;
    uint64_t first, last;

    q->result = -1;
    if (q->range.fault != RANGE_FINE || !clip(&q->range, value.len, &first, &last))
        return;
    q->result = bits_find(value.data, first, last, q->set);
    if (q->result < 0 && !q->set && !q->range.end_given)
        q->result = (int64_t)value.len * 8;
}

void cmd_bitpos(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    struct bit_query q = {.range = read_find_range(rq)};
    int64_t bit;

    if (!slice_to_i64(rq->argv[2], &bit)) {
        reply_not_integer(x);
        return;
    }
    if (bit != 0 && bit != 1) {
        reply_error(x, "ERR The bit argument must be 1 or 0.");
        return;
    }
    q.set = bit == 1;
    answer_query(x, value_visit(x, &key, find_bit, &q), &q, q.set ? -1 : 0);
}

/* ---- BITOP ---- */

/* What has been combined so far. Bytes from `zeros_from` on are known to be
 * zero: then a thousand short strings cost no more than their own length. */
struct combination {
    struct blob *blob; /* NULL: nothing yet, or nothing but empty strings */
    size_t len, zeros_from;
    bool begun;
};

static bool widen(struct combination *c, size_t len)
{
    struct blob *wider = c->blob == NULL ? blob_new(len) : blob_grow(c->blob, len);

    if (wider == NULL)
        return false;
    memset(wider->data + c->len, 0, len - c->len);
    c->blob = wider;
    c->len = len;
    return true;
}

static bool combine(struct combination *c, enum bits_operation operation, struct slice value)
{
    size_t overlap;

    if (value.len > c->len && !widen(c, value.len))
        return false;
    if (!c->begun) {
        if (value.len > 0)
            memcpy(c->blob->data, value.data, value.len);
        c->zeros_from = value.len;
        c->begun = true;
        return true;
    }
    if (operation != BITS_AND && value.len > c->zeros_from)
        c->zeros_from = value.len;
    overlap = value.len < c->zeros_from ? value.len : c->zeros_from;
    if (overlap > 0)
        bits_combine(operation, c->blob->data, value.data, overlap);
    if (operation == BITS_AND && overlap < c->zeros_from) {
        memset(c->blob->data + overlap, 0, c->zeros_from - overlap);
        c->zeros_from = overlap;
    }
    return true;
}

/* Combines the keys from argument 3 on. False: answered, unless *status says why. */
static bool combine_keys(struct exec *x, const struct request *rq, enum bits_operation operation,
                         struct combination *c, enum store_status *status)
{
    for (uint32_t i = 3; i < rq->argc; i++) {
        struct key key = exec_key(x, rq, i);
        struct held_value held;
        bool fits = false;

        switch (value_hold(x, &key, &held)) {
        case VALUE_REFUSED: *status = STORE_OK; return false;
        case VALUE_FOUND:
        case VALUE_MISSING: fits = combine(c, operation, held.value); break;
        case VALUE_NO_MEMORY: break;
        }
        value_release(&held);
        if (!fits)
            return false;
    }
    return true;
}

/* An empty result removes the key. */
static enum store_status store_combination(struct exec *x, const struct key *key, const struct combination *c)
{
    struct store_value item = {0};
    enum store_status status = STORE_OK;
    struct store_edit edit;

    store_edit_begin(x->store, x->local, key, x->now, &edit);
    if (c->len > 0) {
        item.head = (struct slice){c->blob->data, c->len};
        item.backing = c->blob;
        status = store_edit_put(&edit, &item);
    } else {
        store_edit_drop(&edit);
    }
    store_edit_end(&edit);
    return status;
}

static bool read_operation(struct slice word, enum bits_operation *operation, bool *invert)
{
    *invert = slice_is(word, "not");
    if (slice_is(word, "and"))
        *operation = BITS_AND;
    else if (slice_is(word, "or") || *invert)
        *operation = BITS_OR;
    else if (slice_is(word, "xor"))
        *operation = BITS_XOR;
    else
        return false;
    return true;
}

/* Runs alone (CMD_EXCLUSIVE), so the keys are all of one moment. */
void cmd_bitop(struct exec *x, struct request *rq)
{
    struct combination c = {0};
    enum store_status status = STORE_NO_SPACE;
    enum bits_operation operation;
    bool invert, combined;

    if (!read_operation(rq->argv[1], &operation, &invert)) {
        reply_syntax_error(x);
        return;
    }
    if (invert && rq->argc != 4) {
        reply_error(x, "ERR BITOP NOT must be called with a single source key.");
        return;
    }
    combined = combine_keys(x, rq, operation, &c, &status);
    if (combined) {
        struct key key = exec_key(x, rq, 2);

        if (invert && c.len > 0)
            bits_invert(c.blob->data, c.len);
        status = store_combination(x, &key, &c);
    }
    blob_unpin(&c.blob);
    if (status != STORE_OK)
        reply_store_refused(x, status);
    else if (combined)
        reply_integer(x, (int64_t)c.len);
}
