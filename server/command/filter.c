#include "server/command/filter.h"

#include <math.h>
#include <stdlib.h>
#include <xxhash.h>

#include "server/check.h"
#include "server/filter/bloom.h"

enum { CAPACITY_MAX = 1 << 30 };

#define ERROR_MIN BLOOM_ERROR_MIN
#define ERROR_MAX .25 /* redis caps it there */

uint64_t filter_hash(struct slice item)
{
    static const uint8_t empty[1];

    return XXH3_64bits_withSeed(item.len > 0 ? item.data : empty, item.len, UINT64_C(0x636f7272616c));
}

/* ---- TYPE ---- */

/* Names of module types have nine letters; the first is RedisBloom's. */
const char *filter_type_of(const void *image)
{
    switch (image_kind(image)) {
    case IMAGE_BLOOM: return "MBbloom--";
    case IMAGE_QUOTIENT: return "MBquot---";
    }
    CHECK_UNREACHABLE();
}

const char *filter_type(struct exec *x, const struct key *key)
{
    const char *type = "string";
    struct store_peek peek;
    enum peek_status status;

    do
        status = store_peek(x->store, x->local, key, x->now, false, &peek);
    while (status == PEEK_HIT && !store_peek_ok(&peek));
    if (status == PEEK_MISS)
        return "none";
    if (!state_exists(peek.state))
        type = "none";
    else if (state_is_filter(peek.state))
        type = filter_type_of(peek.value);
    if (status == PEEK_BLOB)
        blob_unpin(&peek.blob);
    return type;
}

/* ---- arguments ---- */

bool filter_read_error(struct exec *x, struct slice word, const char *wrong, double *error)
{
    char text[64], *end;

    *error = NAN;
    if (word.len > 0 && word.len < sizeof text && word.data[0] > ' ') {
        memcpy(text, word.data, word.len);
        text[word.len] = '\0';
        *error = strtod(text, &end);
        if (end != text + word.len)
            *error = NAN;
    }
    if (isnan(*error)) {
        reply_error(x, "%s", wrong);
        return false;
    }
    if (*error <= 0 || *error >= 1) {
        reply_error(x, "ERR error rate must be in the range (0.000000, 1.000000)");
        return false;
    }
    *error = fmin(fmax(*error, ERROR_MIN), ERROR_MAX);
    return true;
}

bool filter_read_capacity(struct exec *x, struct slice word, const char *wrong, uint64_t *capacity)
{
    int64_t number;

    if (!slice_to_i64(word, &number)) {
        reply_error(x, "%s", wrong);
        return false;
    }
    if (number < 1 || number > CAPACITY_MAX) {
        reply_error(x, "ERR capacity must be in the range [1, %d]", CAPACITY_MAX);
        return false;
    }
    *capacity = (uint64_t)number;
    return true;
}

/* The names in options.def, as numbers. */
double filter_default_error(const struct exec *x)
{
    static const double rates[] = {.25, .1, .05, .02, .01, .005, .002, .001, .0005, .0002, .0001, 1e-5, 1e-6};
    unsigned i = (unsigned)option_live(x->options, bf_error_rate);

    CHECK(i < sizeof rates / sizeof rates[0]);
    return rates[i];
}

/* ---- what is there ---- */

static enum filter_found found_as(uint8_t state, const void *value, enum image_kind kind)
{
    if (!state_exists(state))
        return FILTER_ABSENT;
    return state_is_filter(state) && image_kind(value) == kind ? FILTER_FOUND : FILTER_OTHER;
}

enum filter_found filter_in(const struct store_edit *edit, enum image_kind kind)
{
    return edit->found ? found_as(edit->state, edit->value.data, kind) : FILTER_ABSENT;
}

enum filter_found filter_pin_at(struct exec *x, const struct key *key, enum image_kind kind,
                                struct filter_pin *pin)
{
    enum filter_found found = FILTER_ABSENT;
    struct store_peek peek;
    enum peek_status status;

    do
        status = store_peek(x->store, x->local, key, x->now, !x->no_touch, &peek);
    while (status == PEEK_HIT && !store_peek_ok(&peek));
    *pin = (struct filter_pin){.expired = status == PEEK_MISS && peek.expired};
    if (status != PEEK_MISS)
        found = found_as(peek.state, peek.value, kind);
    if (found == FILTER_FOUND)
        *pin = (struct filter_pin){.blob = peek.blob, .image = peek.value};
    else if (status == PEEK_BLOB)
        blob_unpin(&peek.blob);
    return found;
}

enum filter_found filter_peek(struct exec *x, const struct key *key, enum image_kind kind,
                              struct filter_pin *pin)
{
    enum filter_found found = filter_pin_at(x, key, kind, pin);

    count_lookup(x, found != FILTER_ABSENT, pin->expired);
    return found;
}

void filter_reply_unfound(struct exec *x, enum filter_found found)
{
    if (found == FILTER_ABSENT)
        reply_error(x, "ERR not found");
    else
        reply_wrong_type(x);
}

/* ---- storing ---- */

enum filter_made filter_room(struct exec *x, size_t bytes, struct blob **blob)
{
    if (bytes == 0 || bytes > option_live(x->options, filter_max_bytes)) {
        counter_add(x->counters, filters_refused, 1);
        return FILTER_TOO_LARGE;
    }
    *blob = blob_new(bytes);
    return *blob != NULL ? FILTER_MADE : FILTER_NO_MEMORY;
}

enum store_status filter_put(struct store_edit *edit, struct blob *blob)
{
    struct store_value value = {.head = {blob->data, blob->capacity},
                                .state = ITEM_FILTER,
                                .key_binary = edit->key_binary,
                                .backing = blob};

    if (edit_is_filter(edit))
        value.expires = edit->expires;
    return store_edit_put(edit, &value);
}

void filter_reply_unmade(struct exec *x, enum filter_made made)
{
    switch (made) {
    case FILTER_MADE: return;
    case FILTER_TOO_LARGE: reply_error(x, "ERR filter would exceed filter-max-bytes"); return;
    case FILTER_NO_MEMORY:
        counter_add(x->counters, oom_refused, 1);
        reply_error(x, "ERR Insufficient memory to create filter");
        return;
    }
    CHECK_UNREACHABLE();
}
