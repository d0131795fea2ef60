/* load_reply.c - three dialects, one shape: lines, some followed by a value.
 *
 * Rules: (1) every byte is looked at once, apart from the cut-off start of a
 * line, which is copied aside; (2) a dialect only says what a line means;
 * values are skipped or compared here for all of them. */
#include "bench/load_reply.h"

#include "server/check.h"

#include <stdlib.h>

enum {
    LINE_MAX_BYTES = 1024, /* VALUE and VA lines hold a key of at most 250 */
    COMPLAINT_MAX_BYTES = 160
};

enum part { AT_LINE, IN_VALUE, AT_CR, AT_LF };

/* What a line was: */
enum meaning {
    LINE_ENDS_REPLY,
    LINE_GOES_ON,     /* more of this reply follows */
    LINE_OPENS_VALUE, /* value_left bytes and a line end follow */
    LINE_IS_STRANGE
};

struct reply_parser {
    enum load_protocol protocol;
    bool verify;
    bool in_array;   /* RESP: the reply's array header has come */
    bool last_value; /* the reply ends with the value being read */
    bool value_is_wrong;
    enum part part;
    uint32_t keys_seen;    /* of this reply: how far into the keys asked for it has come */
    uint32_t keys_found;   /* of this reply: values */
    uint32_t keys_refused; /* of this reply: errors; all keys when it was refused as a whole */
    uint32_t line_len;     /* bytes of a cut-off line in `line` */
    uint64_t value_left;
    const uint8_t *expect; /* the value's bytes to come, or NULL when not compared */
    const struct load_data *data;
    uint8_t line[LINE_MAX_BYTES];
    char complaint[COMPLAINT_MAX_BYTES];
};

struct reply_parser *reply_parser_new(enum load_protocol protocol, const struct load_data *data, bool verify)
{
    struct reply_parser *p = calloc(1, sizeof *p);

    if (p == NULL)
        return NULL;
    p->protocol = protocol;
    p->data = data;
    p->verify = verify;
    return p;
}

void reply_parser_free(struct reply_parser **p)
{
    free(*p);
    *p = NULL;
}

const char *reply_complaint(const struct reply_parser *p)
{
    return p->complaint;
}

static void complain(struct reply_parser *p, struct slice line)
{
    size_t len = line.len < sizeof p->complaint - 1 ? line.len : sizeof p->complaint - 1;

    if (p->complaint[0] != '\0')
        return;
    for (size_t i = 0; i < len; i++)
        p->complaint[i] = line.data[i] >= ' ' && line.data[i] < 127 ? (char)line.data[i] : '?';
    p->complaint[len] = '\0';
}

static enum reply_status break_off(struct reply_parser *p, struct slice line)
{
    p->complaint[0] = '\0'; /* what ended the connection matters more than an earlier refusal */
    complain(p, line);
    return REPLY_BROKEN;
}

static enum meaning refused(struct reply_parser *p, struct slice line, const struct reply_asked *asked,
                            struct reply_tally *tally)
{
    complain(p, line);
    tally->errors++;
    p->keys_refused = asked->keys - p->keys_found;
    return LINE_ENDS_REPLY;
}

static bool starts_with(struct slice s, const char *text)
{
    size_t len = strlen(text);

    return s.len >= len && memcmp(s.data, text, len) == 0;
}

static bool is_text(struct slice s, const char *text)
{
    return slice_equals(s, slice_of(text));
}

/* Cuts the next blank-separated word off the front of `s`. */
static struct slice next_word(struct slice *s)
{
    const uint8_t *blank;
    struct slice word;

    while (s->len > 0 && s->data[0] == ' ') {
        s->data++;
        s->len--;
    }
    word = *s;
    blank = s->len > 0 ? memchr(s->data, ' ', s->len) : NULL;
    if (blank != NULL)
        word.len = (size_t)(blank - s->data);
    s->data += word.len;
    s->len -= word.len;
    return word;
}

/* A length in decimal. Not slice_to_u64: the generator judges servers and so
 * shares no parsing with one of them. */
static bool to_length(struct slice s, uint64_t *out)
{
    uint64_t value = 0;

    if (s.len == 0 || s.len > 18)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(s.data[i] - '0');
    }
    *out = value;
    return true;
}

/* A value of `len` bytes follows; it should be key `id`'s. */
static enum meaning open_value(struct reply_parser *p, uint64_t len, uint32_t id, struct reply_tally *tally)
{
    p->value_left = len;
    p->value_is_wrong = false;
    p->expect = NULL;
    if (len != load_data_value_size(p->data)) {
        p->value_is_wrong = true;
        tally->corrupt++;
    } else if (p->verify) {
        p->expect = load_data_value(p->data, id);
    }
    p->keys_found++;
    return LINE_OPENS_VALUE;
}

/* The memcached dialects name the key and leave out the missing ones: find
 * which of the keys asked for this is. They keep the order of the request. */
static bool find_asked(struct reply_parser *p, const struct reply_asked *asked, struct slice key,
                       uint32_t *id)
{
    uint32_t at = p->keys_seen;

    if (!p->verify) {
        p->keys_seen++;
        *id = 0;
        return p->keys_seen <= asked->keys;
    }
    if (!load_data_id_of(p->data, key, id))
        return false;
    while (at < asked->keys && asked->ids[at] != *id)
        at++;
    p->keys_seen = at + 1;
    return at < asked->keys;
}

/* ---- RESP ------------------------------------------------------------- */

static enum meaning resp_element_done(struct reply_parser *p, const struct reply_asked *asked)
{
    return ++p->keys_seen >= asked->keys ? LINE_ENDS_REPLY : LINE_GOES_ON;
}

static enum meaning resp_line(struct reply_parser *p, struct slice line, const struct reply_asked *asked,
                              struct reply_tally *tally)
{
    struct slice rest = {line.data + 1, line.len - 1};
    bool wants_array = !asked->is_set && asked->keys > 1;
    uint64_t number;

    switch (line.data[0]) {
    case '+':
        if (!asked->is_set || !is_text(rest, "OK"))
            return LINE_IS_STRANGE;
        tally->stored++;
        return LINE_ENDS_REPLY;
    case '-': return p->in_array ? LINE_IS_STRANGE : refused(p, line, asked, tally);
    case '_':
    case '$':
        if (asked->is_set || p->in_array != wants_array)
            return LINE_IS_STRANGE;
        if (line.data[0] == '_' || is_text(rest, "-1"))
            return resp_element_done(p, asked);
        if (!to_length(rest, &number))
            return LINE_IS_STRANGE;
        p->last_value = p->keys_seen + 1 == asked->keys;
        return open_value(p, number, asked->ids[p->keys_seen++], tally);
    case '*':
        if (!wants_array || p->in_array || !to_length(rest, &number) || number != asked->keys)
            return LINE_IS_STRANGE;
        p->in_array = true;
        return LINE_GOES_ON;
    }
    return LINE_IS_STRANGE;
}

/* ---- memcached, classic text ------------------------------------------ */

static bool is_memcache_error(struct slice line)
{
    return starts_with(line, "ERROR") || starts_with(line, "CLIENT_ERROR") ||
           starts_with(line, "SERVER_ERROR");
}

static enum meaning memcache_line(struct reply_parser *p, struct slice line, const struct reply_asked *asked,
                                  struct reply_tally *tally)
{
    if (asked->is_set) {
        if (is_text(line, "STORED")) {
            tally->stored++;
            return LINE_ENDS_REPLY;
        }
        if (is_text(line, "NOT_STORED") || is_memcache_error(line))
            return refused(p, line, asked, tally);
        return LINE_IS_STRANGE;
    }
    if (starts_with(line, "VALUE ")) {
        struct slice rest = {line.data + 6, line.len - 6};
        struct slice key = next_word(&rest);
        uint64_t len;
        uint32_t id;

        next_word(&rest); /* client flags */
        if (!to_length(next_word(&rest), &len) || !find_asked(p, asked, key, &id))
            return LINE_IS_STRANGE;
        p->last_value = false;
        return open_value(p, len, id, tally);
    }
    if (is_text(line, "END"))
        return LINE_ENDS_REPLY;
    return is_memcache_error(line) ? refused(p, line, asked, tally) : LINE_IS_STRANGE;
}

/* ---- memcached, meta --------------------------------------------------- */

static struct slice flag_token(struct slice flags, uint8_t flag)
{
    for (;;) {
        struct slice word = next_word(&flags);

        if (word.len == 0)
            return word;
        if (word.data[0] == flag)
            return (struct slice){word.data + 1, word.len - 1};
    }
}

static enum meaning meta_line(struct reply_parser *p, struct slice line, const struct reply_asked *asked,
                              struct reply_tally *tally)
{
    bool many = asked->keys > 1;

    if (is_memcache_error(line)) {
        if (!many)
            return refused(p, line, asked, tally);
        complain(p, line); /* one key's error; the closing mn is still answered */
        tally->errors++;
        p->keys_refused++;
        return LINE_GOES_ON;
    }
    if (asked->is_set) {
        if (is_text(line, "HD")) {
            tally->stored++;
            return LINE_ENDS_REPLY;
        }
        return is_text(line, "NS") ? refused(p, line, asked, tally) : LINE_IS_STRANGE;
    }
    if (starts_with(line, "VA ")) {
        struct slice rest = {line.data + 3, line.len - 3};
        struct slice length = next_word(&rest);
        uint32_t id = asked->ids[0];
        uint64_t len;

        if (!to_length(length, &len))
            return LINE_IS_STRANGE;
        if (many && !find_asked(p, asked, flag_token(rest, 'k'), &id))
            return LINE_IS_STRANGE;
        p->last_value = !many;
        return open_value(p, len, id, tally);
    }
    if (!many && is_text(line, "EN"))
        return LINE_ENDS_REPLY;
    return many && is_text(line, "MN") ? LINE_ENDS_REPLY : LINE_IS_STRANGE;
}

/* ---- the stream -------------------------------------------------------- */

static enum meaning read_line(struct reply_parser *p, struct slice line, const struct reply_asked *asked,
                              struct reply_tally *tally)
{
    if (line.len == 0)
        return LINE_IS_STRANGE;
    switch (p->protocol) {
    case LOAD_RESP: return resp_line(p, line, asked, tally);
    case LOAD_MEMCACHE: return memcache_line(p, line, asked, tally);
    case LOAD_META: return meta_line(p, line, asked, tally);
    }
    CHECK_UNREACHABLE();
}

/* Finds the next whole line, without its line end. False when it has not all
 * come yet (its start is kept) or, with *broken, when it never could. */
static bool take_line(struct reply_parser *p, struct slice *in, struct slice *line, bool *broken)
{
    const uint8_t *end = in->len > 0 ? memchr(in->data, '\n', in->len) : NULL;
    size_t len = end != NULL ? (size_t)(end - in->data) + 1 : in->len;

    *broken = false;
    *line = (struct slice){in->data, len};
    in->data += len;
    in->len -= len;
    if (end == NULL || p->line_len > 0) {
        if (p->line_len + len > sizeof p->line) {
            *broken = true;
            return false;
        }
        if (len > 0)
            memcpy(p->line + p->line_len, line->data, len);
        p->line_len += (uint32_t)len;
        *line = (struct slice){p->line, p->line_len};
    }
    if (end == NULL)
        return false;
    p->line_len = 0;
    *broken = line->len < 2 || line->data[line->len - 2] != '\r';
    line->len -= *broken ? 1 : 2;
    return !*broken;
}

static void pass_value(struct reply_parser *p, struct slice *in, struct reply_tally *tally)
{
    size_t len = in->len < p->value_left ? in->len : (size_t)p->value_left;

    if (p->expect != NULL) {
        if (!p->value_is_wrong && memcmp(p->expect, in->data, len) != 0) {
            p->value_is_wrong = true;
            tally->corrupt++;
        }
        p->expect += len;
    }
    in->data += len;
    in->len -= len;
    p->value_left -= len;
}

static bool take_byte(struct slice *in, uint8_t byte)
{
    if (in->data[0] != byte)
        return false;
    in->data++;
    in->len--;
    return true;
}

/* Whatever was asked for, not found and not refused is missing. */
static void finish_reply(struct reply_parser *p, const struct reply_asked *asked, struct reply_tally *tally)
{
    uint32_t answered = p->keys_found + p->keys_refused;

    tally->hits += p->keys_found;
    if (!asked->is_set && answered < asked->keys)
        tally->misses += asked->keys - answered;
    p->in_array = false;
    p->keys_seen = 0;
    p->keys_found = 0;
    p->keys_refused = 0;
}

/* Each turn spends at least one byte or returns. */
enum reply_status reply_take(struct reply_parser *p, struct slice *in, const struct reply_asked *asked,
                             struct reply_tally *tally)
{
    struct slice line;
    bool broken;

    while (in->len > 0) {
        switch (p->part) {
        case AT_LINE:
            if (!take_line(p, in, &line, &broken))
                return broken ? break_off(p, line) : REPLY_MORE;
            switch (read_line(p, line, asked, tally)) {
            case LINE_ENDS_REPLY: finish_reply(p, asked, tally); return REPLY_DONE;
            case LINE_GOES_ON: break;
            case LINE_OPENS_VALUE: p->part = p->value_left > 0 ? IN_VALUE : AT_CR; break;
            case LINE_IS_STRANGE: return break_off(p, line);
            }
            break;
        case IN_VALUE:
            pass_value(p, in, tally);
            if (p->value_left == 0)
                p->part = AT_CR;
            break;
        case AT_CR:
        case AT_LF:
            if (!take_byte(in, p->part == AT_CR ? '\r' : '\n'))
                return break_off(p, slice_of("a value is not followed by a line end"));
            p->part = p->part == AT_CR ? AT_LF : AT_LINE;
            if (p->part == AT_LINE && p->last_value) {
                p->last_value = false;
                finish_reply(p, asked, tally);
                return REPLY_DONE;
            }
            break;
        }
    }
    return REPLY_MORE;
}
