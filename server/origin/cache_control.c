#include "server/origin/cache_control.h"

enum { SECONDS_MAX = 2147483647 };

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct slice trim(struct slice s)
{
    while (s.len > 0 && is_blank(s.data[0])) {
        s.data++;
        s.len--;
    }
    while (s.len > 0 && is_blank(s.data[s.len - 1]))
        s.len--;
    return s;
}

/* Up to the next comma that is not inside quotes. */
static struct slice next_directive(struct slice *rest)
{
    struct slice directive = {rest->data, 0};
    bool quoted = false;

    while (directive.len < rest->len && (quoted || directive.data[directive.len] != ',')) {
        quoted ^= directive.data[directive.len] == '"';
        directive.len++;
    }
    size_t used = directive.len < rest->len ? directive.len + 1 : directive.len;
    rest->data += used;
    rest->len -= used;
    return trim(directive);
}

static int64_t seconds(struct slice word)
{
    uint64_t n;

    word = trim(word);
    if (word.len >= 2 && word.data[0] == '"' && word.data[word.len - 1] == '"')
        word = (struct slice){word.data + 1, word.len - 2};
    for (size_t i = 0; i < word.len; i++) {
        if (word.data[i] < '0' || word.data[i] > '9')
            return 0;
    }
    if (word.len == 0)
        return 0;
    return slice_to_u64(word, &n) && n < SECONDS_MAX ? (int64_t)n : SECONDS_MAX;
}

static void read_directive(struct cache_control *cc, struct slice d)
{
    const uint8_t *equals = d.len > 0 ? memchr(d.data, '=', d.len) : NULL;
    struct slice name = d, value = {NULL, 0};

    if (equals != NULL) {
        name = trim((struct slice){d.data, (size_t)(equals - d.data)});
        value = (struct slice){equals + 1, d.len - (size_t)(equals - d.data) - 1};
    }
    if (slice_is(name, "no-store") || slice_is(name, "no-cache") || slice_is(name, "private")) {
        cc->no_store = true;
    } else if (slice_is(name, "s-maxage")) {
        cc->max_age_s = seconds(value);
        cc->has_max_age = cc->has_shared_age = true;
    } else if (slice_is(name, "max-age") && !cc->has_shared_age) {
        cc->max_age_s = seconds(value);
        cc->has_max_age = true;
    } else if (slice_is(name, "stale-while-revalidate")) {
        cc->stale_s = seconds(value);
    }
}

void cache_control_read(struct cache_control *cc, struct slice value)
{
    while (value.len > 0)
        read_directive(cc, next_directive(&value));
}
