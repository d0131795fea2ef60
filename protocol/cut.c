#include "protocol/cut.h"

/* The bytes up to CR LF, which are taken off, too. */
static bool cut_line(struct slice *left, struct slice *line)
{
    const uint8_t *end = left->len > 0 ? memchr(left->data, '\n', left->len) : NULL;
    size_t taken = end != NULL ? (size_t)(end - left->data) + 1 : 0;

    if (taken < 2 || left->data[taken - 2] != '\r')
        return false;
    *line = (struct slice){left->data, taken - 2};
    *left = (struct slice){left->data + taken, left->len - taken};
    return true;
}

static bool number_after_type(struct slice line, int64_t *number)
{
    return line.len > 1 && slice_to_i64((struct slice){line.data + 1, line.len - 1}, number);
}

/* `len` bytes and CR LF. */
static bool skip_data(struct slice *left, int64_t len)
{
    if (len < 0 || left->len < 2 || (uint64_t)len > left->len - 2)
        return false;
    *left = (struct slice){left->data + len + 2, left->len - (size_t)len - 2};
    return true;
}

static bool skip_reply(struct slice *left, unsigned depth)
{
    struct slice line;
    int64_t number;

    if (!cut_line(left, &line) || line.len == 0)
        return false;
    switch (line.data[0]) {
    case '$':
    case '=':
    case '!': return number_after_type(line, &number) && (number == -1 || skip_data(left, number));
    case '*':
    case '~':
    case '>':
    case '%': break;
    default: return true;
    }
    if (!number_after_type(line, &number) || number < -1 || depth == 0)
        return false;
    if (line.data[0] == '%' && __builtin_mul_overflow(number, (int64_t)2, &number))
        return false;
    while (number-- > 0) {
        if (!skip_reply(left, depth - 1))
            return false;
    }
    return true;
}

bool cut_reply(struct slice *left, struct slice *reply)
{
    struct slice rest = *left;

    if (!skip_reply(&rest, CUT_DEPTH_MAX))
        return false;
    *reply = (struct slice){left->data, left->len - rest.len};
    *left = rest;
    return true;
}

bool cut_array(struct slice *left, size_t *count)
{
    struct slice rest = *left, line;
    int64_t number;

    if (!cut_line(&rest, &line) || line.len == 0 || strchr("*~>", line.data[0]) == NULL ||
        !number_after_type(line, &number) || number < 0)
        return false;
    *count = (size_t)number;
    *left = rest;
    return true;
}

bool cut_integer(struct slice reply, int64_t *value)
{
    struct slice line;

    return cut_line(&reply, &line) && reply.len == 0 && line.len > 0 && line.data[0] == ':' &&
           number_after_type(line, value);
}

bool cut_bulk(struct slice reply, struct slice *value)
{
    struct slice line, rest = reply;
    int64_t len;

    if (!cut_line(&rest, &line) || line.len == 0 || line.data[0] != '$' || !number_after_type(line, &len))
        return false;
    *value = rest;
    if (!skip_data(&rest, len) || rest.len != 0)
        return false;
    value->len = (size_t)len;
    return true;
}

/* The next word of a line, blanks between them. */
static struct slice cut_word(struct slice *line)
{
    const uint8_t *end = line->len > 0 ? memchr(line->data, ' ', line->len) : NULL;
    struct slice word = {line->data, end != NULL ? (size_t)(end - line->data) : line->len};
    size_t taken = word.len + (end != NULL);

    *line = (struct slice){line->data + taken, line->len - taken};
    return word;
}

bool cut_value(struct slice *left, struct slice *key, struct slice *hit)
{
    struct slice rest = *left, line, word, name;
    bool leased;
    uint64_t bytes;

    if (!cut_line(&rest, &line))
        return false;
    word = cut_word(&line);
    leased = slice_equals(word, slice_of("LVALUE"));
    if (!leased && !slice_equals(word, slice_of("VALUE")))
        return false;
    name = cut_word(&line);
    if (leased)
        (void)cut_word(&line); /* the token */
    (void)cut_word(&line);     /* flags */
    if (name.len == 0 || !slice_to_u64(cut_word(&line), &bytes) || bytes > INT64_MAX ||
        !skip_data(&rest, (int64_t)bytes))
        return false;
    *key = name;
    *hit = (struct slice){left->data, left->len - rest.len};
    *left = rest;
    return true;
}

bool cut_is_error(struct slice reply)
{
    return reply.len == 0 || reply.data[0] == '-' || reply.data[0] == '!' ||
           slice_begins_with(reply, slice_of("ERROR")) ||
           slice_begins_with(reply, slice_of("CLIENT_ERROR")) ||
           slice_begins_with(reply, slice_of("SERVER_ERROR"));
}
