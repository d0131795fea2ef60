/* load_herd_reply.c - RESP2 and RESP3, memcached's lines.
 *
 * Rule: nothing is remembered between two calls. An answer here is short and
 * arrives in one or two pieces, so reading it again from its start is cheaper
 * than a state. Shares no parsing with the servers it judges. */
#include "bench/load_herd_reply.h"

#include "server/check.h"

enum { LINE_MAX_BYTES = 2048, LENGTH_MAX = 1 << 30, ELEMENTS_MAX = 64, DEPTH_BUDGET = 4096 };

/* Moves past the next line and returns it without its end. */
static enum herd_take take_line(struct slice *in, struct slice *line)
{
    const uint8_t *end = in->len > 0 ? memchr(in->data, '\n', in->len) : NULL;
    size_t len;

    *line = (struct slice){in->data, in->len < 80 ? in->len : 80};
    if (end == NULL)
        return in->len > LINE_MAX_BYTES ? HERD_BROKEN : HERD_MORE;
    len = (size_t)(end - in->data);
    if (len < 1 || in->data[len - 1] != '\r')
        return HERD_BROKEN;
    *line = (struct slice){in->data, len - 1};
    in->data += len + 1;
    in->len -= len + 1;
    return HERD_TAKEN;
}

static enum herd_take take_body(struct slice *in, uint64_t len, struct slice *body)
{
    if (len > LENGTH_MAX)
        return HERD_BROKEN;
    if (in->len < len + 2)
        return HERD_MORE;
    if (in->data[len] != '\r' || in->data[len + 1] != '\n')
        return HERD_BROKEN;
    *body = (struct slice){in->data, (size_t)len};
    in->data += len + 2;
    in->len -= len + 2;
    return HERD_TAKEN;
}

/* All 64 bits: tokens and cas values are opaque. */
static bool to_unsigned(struct slice s, uint64_t *out)
{
    uint64_t value = 0;

    if (s.len == 0 || s.len > 20)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(s.data[i] - '0'), &value))
            return false;
    }
    *out = value;
    return true;
}

static bool to_integer(struct slice s, int64_t *out)
{
    bool negative = s.len > 0 && s.data[0] == '-';
    uint64_t size;

    if (!to_unsigned((struct slice){s.data + negative, s.len - negative}, &size) || size > INT64_MAX)
        return false;
    *out = negative ? -(int64_t)size : (int64_t)size;
    return true;
}

static bool is_text(struct slice s, const char *text)
{
    return slice_equals(s, slice_of(text));
}

static bool starts_with(struct slice s, const char *text)
{
    size_t len = strlen(text);

    return s.len >= len && memcmp(s.data, text, len) == 0;
}

static struct slice next_word(struct slice *s)
{
    size_t len = 0;
    struct slice word;

    while (s->len > 0 && s->data[0] == ' ') {
        s->data++;
        s->len--;
    }
    while (len < s->len && s->data[len] != ' ')
        len++;
    word = (struct slice){s->data, len};
    s->data += len;
    s->len -= len;
    return word;
}

/* ---- RESP --------------------------------------------------------------- */

/* One element; of an aggregate only its head, `number` says how many follow. */
struct element {
    uint8_t type;
    bool is_null;
    struct slice text;
    int64_t number;
};

static enum herd_take take_element(struct slice *in, struct element *e, struct slice *line)
{
    enum herd_take took = take_line(in, line);
    struct slice rest;

    if (took != HERD_TAKEN)
        return took;
    if (line->len == 0)
        return HERD_BROKEN;
    rest = (struct slice){line->data + 1, line->len - 1};
    *e = (struct element){.type = line->data[0], .text = rest};
    switch (e->type) {
    case '+':
    case '-':
    case '#':
    case ',':
    case '(': return HERD_TAKEN;
    case '_': e->is_null = true; return HERD_TAKEN;
    case ':': return to_integer(rest, &e->number) ? HERD_TAKEN : HERD_BROKEN;
    case '$':
    case '=':
    case '*':
    case '%':
    case '~':
        if (!to_integer(rest, &e->number) || e->number < -1 || e->number > LENGTH_MAX)
            return HERD_BROKEN;
        break;
    default: return HERD_BROKEN;
    }
    e->is_null = e->number < 0;
    if (e->is_null)
        return HERD_TAKEN;
    if (e->type == '$' || e->type == '=')
        return take_body(in, (uint64_t)e->number, &e->text);
    e->number *= e->type == '%' ? 2 : 1;
    return HERD_TAKEN;
}

static bool is_aggregate(const struct element *e)
{
    return (e->type == '*' || e->type == '%' || e->type == '~') && !e->is_null;
}

/* Takes one element with all that is in it. */
static enum herd_take take_whole(struct slice *in, struct element *e, struct slice *line)
{
    int64_t left = 0;
    struct element inner;
    enum herd_take took = take_element(in, e, line);

    if (took != HERD_TAKEN || !is_aggregate(e))
        return took;
    for (left = e->number; left > 0; left--) {
        if (left > DEPTH_BUDGET)
            return HERD_BROKEN;
        took = take_element(in, &inner, line);
        if (took != HERD_TAKEN)
            return took;
        if (is_aggregate(&inner))
            left += inner.number;
    }
    return HERD_TAKEN;
}

static bool lease_state_of(struct slice name, enum herd_lease_state *state)
{
    static const struct {
        const char *name;
        enum herd_lease_state state;
    } STATES[] = {{"live", HERD_LIVE},
                  {"stale", HERD_OUTDATED},
                  {"filling", HERD_FILLING},
                  {"granted", HERD_GRANTED},
                  {"negative", HERD_NEGATIVE}};

    for (size_t i = 0; i < sizeof STATES / sizeof STATES[0]; i++)
        if (is_text(name, STATES[i].name)) {
            *state = STATES[i].state;
            return true;
        }
    return false;
}

/* The name, value pairs of GETLEASE, in any order, with any others between. An
 * array or map of anything else (HELLO's) is an answer with nothing to tell. */
static enum herd_take take_pairs(struct slice *in, int64_t elements, struct herd_reply *reply,
                                 struct slice *line)
{
    bool has_state = false;

    if (elements % 2 != 0 || elements > ELEMENTS_MAX)
        return HERD_BROKEN;
    for (int64_t i = 0; i < elements; i += 2) {
        struct element name, value;
        enum herd_take took = take_whole(in, &name, line);

        if (took == HERD_TAKEN)
            took = take_whole(in, &value, line);
        if (took != HERD_TAKEN)
            return took;
        if (is_text(name.text, "state")) {
            if (!lease_state_of(value.text, &reply->state))
                return HERD_BROKEN;
            has_state = true;
        } else if (is_text(name.text, "value")) {
            reply->has_value = !value.is_null;
            reply->value = value.text;
        } else if (is_text(name.text, "token")) {
            reply->token = value.number > 0 ? (uint64_t)value.number : 0;
        }
    }
    reply->kind = has_state ? HERD_LEASE : HERD_OK;
    return HERD_TAKEN;
}

static enum herd_take take_resp(struct slice *in, struct herd_reply *reply)
{
    struct element e;
    struct slice line;
    enum herd_take took = take_element(in, &e, &line);

    reply->text = line;
    if (took != HERD_TAKEN)
        return took;
    if (is_aggregate(&e)) {
        took = take_pairs(in, e.number, reply, &line);
        reply->text = line;
        return took;
    }
    if (e.is_null) {
        reply->kind = HERD_NOTHING;
        return HERD_TAKEN;
    }
    switch (e.type) {
    case '+': reply->kind = HERD_OK; return HERD_TAKEN;
    case '-': reply->kind = HERD_REFUSED; return HERD_TAKEN;
    case ':':
        reply->kind = HERD_NUMBER;
        reply->number = e.number;
        return HERD_TAKEN;
    case '$':
        reply->kind = HERD_VALUE;
        reply->has_value = true;
        reply->value = e.text;
        return HERD_TAKEN;
    default: return HERD_BROKEN;
    }
}

/* ---- memcached ---------------------------------------------------------- */

static const struct {
    const char *line;
    enum herd_reply_kind kind;
} WHOLE_LINES[] = {
    {"STORED", HERD_OK},
    {"DELETED", HERD_OK},
    {"HD", HERD_OK},
    {"END", HERD_NOTHING},
    {"EN", HERD_NOTHING},
    {"NOT_FOUND", HERD_NOT_STORED},
    {"NF", HERD_NOT_STORED},
    {"NS", HERD_NOT_STORED},
    {"EX", HERD_NOT_STORED},
    {"NOT_STORED", HERD_NOT_STORED},
    {"STALE_STORED", HERD_NOT_STORED}, /* kept, but not as the value */
};

static enum herd_take take_body_and_end(struct slice *in, int64_t len, struct herd_reply *reply)
{
    struct slice line;
    enum herd_take took = take_body(in, (uint64_t)len, &reply->value);

    reply->has_value = true;
    if (took == HERD_TAKEN)
        took = take_line(in, &line);
    if (took == HERD_TAKEN && !is_text(line, "END"))
        return HERD_BROKEN;
    return took;
}

/* LVALUE <key> <token> <flags> <bytes>: 1 is a hot miss, more is a lease. */
static enum herd_take take_lvalue(struct slice rest, struct slice *in, struct herd_reply *reply)
{
    int64_t len;
    enum herd_take took;

    next_word(&rest); /* the key */
    if (!to_unsigned(next_word(&rest), &reply->token) || reply->token < 1)
        return HERD_BROKEN;
    next_word(&rest); /* client flags */
    if (!to_integer(next_word(&rest), &len) || len < 0)
        return HERD_BROKEN;
    took = take_body_and_end(in, len, reply);
    reply->kind = HERD_LEASE;
    reply->has_value = reply->value.len > 0;
    reply->state = reply->token > 1 ? HERD_GRANTED : reply->has_value ? HERD_OUTDATED : HERD_FILLING;
    if (reply->token == 1)
        reply->token = 0;
    return took;
}

static enum herd_take take_text_value(struct slice rest, struct slice *in, struct herd_reply *reply)
{
    int64_t len;

    next_word(&rest); /* the key */
    next_word(&rest); /* client flags */
    if (!to_integer(next_word(&rest), &len) || len < 0)
        return HERD_BROKEN;
    reply->kind = HERD_VALUE;
    return take_body_and_end(in, len, reply);
}

/* VA <bytes> <flags>: W the asker fetches, Z somebody does, X the value is old. */
static enum herd_take take_meta_value(struct slice rest, struct slice *in, struct herd_reply *reply)
{
    bool won = false, other = false, old = false;
    uint64_t cas = 0;
    int64_t len;
    enum herd_take took;

    if (!to_integer(next_word(&rest), &len) || len < 0)
        return HERD_BROKEN;
    took = take_body(in, (uint64_t)len, &reply->value);
    for (struct slice word = next_word(&rest); word.len > 0; word = next_word(&rest)) {
        won |= word.data[0] == 'W';
        other |= word.data[0] == 'Z';
        old |= word.data[0] == 'X';
        if (word.data[0] == 'c' && !to_unsigned((struct slice){word.data + 1, word.len - 1}, &cas))
            return HERD_BROKEN;
    }
    reply->has_value = len > 0;
    reply->kind = won || other || old ? HERD_LEASE : HERD_VALUE;
    reply->token = won ? cas : 0;
    if (won)
        reply->state = HERD_GRANTED;
    else if (!reply->has_value)
        reply->state = HERD_FILLING;
    else
        reply->state = old ? HERD_OUTDATED : HERD_LIVE;
    return took;
}

static enum herd_take take_memcache(struct slice *in, struct herd_reply *reply)
{
    struct slice line, rest, word;
    enum herd_take took = take_line(in, &line);

    reply->text = line;
    if (took != HERD_TAKEN)
        return took;
    rest = line;
    word = next_word(&rest);
    if (is_text(word, "VA"))
        return take_meta_value(rest, in, reply);
    if (is_text(word, "VALUE"))
        return take_text_value(rest, in, reply);
    if (is_text(word, "LVALUE"))
        return take_lvalue(rest, in, reply);
    for (size_t i = 0; i < sizeof WHOLE_LINES / sizeof WHOLE_LINES[0]; i++)
        if (is_text(word, WHOLE_LINES[i].line)) {
            reply->kind = WHOLE_LINES[i].kind;
            return HERD_TAKEN;
        }
    if (starts_with(line, "ERROR") || starts_with(line, "CLIENT_ERROR") ||
        starts_with(line, "SERVER_ERROR")) {
        reply->kind = HERD_REFUSED;
        return HERD_TAKEN;
    }
    return HERD_BROKEN;
}

enum herd_take herd_reply_take(enum herd_dialect dialect, struct slice *in, struct herd_reply *reply)
{
    struct slice before = *in;
    enum herd_take took;

    *reply = (struct herd_reply){.kind = HERD_NOTHING, .state = HERD_LIVE};
    switch (dialect) {
    case HERD_RESP: took = take_resp(in, reply); break;
    case HERD_MEMCACHE: took = take_memcache(in, reply); break;
    default: CHECK_UNREACHABLE();
    }
    if (took != HERD_TAKEN)
        *in = before;
    return took;
}
