/* arguments.h - what the families of data commands share: how an argument
 * names a moment, and how a key is looked at.
 *
 * Rules: (1) an item that waits for its fill (ITEM_PENDING) or was invalidated
 * (ITEM_STALE) does not exist for a RESP command, which has no way to ask for
 * a stale value. Writing over it makes it live; deleting it voids the fill. (2) A
 * key that holds a filter exists, but has nothing to show to commands about strings. */
#ifndef CORRAL_COMMAND_ARGUMENTS_H
#define CORRAL_COMMAND_ARGUMENTS_H

#include "server/exec.h"

/* ---- moments ---- */

/* How an argument names a moment: EX {true, false}, PX {}, EXAT {true, true}, PXAT {false, true}. */
struct moment_form {
    bool in_seconds;
    bool absolute; /* Unix time; else counted from now */
};

/* The expiry of SET and its relatives: an integer above 0 that names a moment
 * an instant can hold. False: answered with what is wrong. `command` is the
 * name for the error text. */
bool read_expiry(struct exec *x, const char *command, struct slice word, struct moment_form form,
                 instant *out);
/* The same for EXPIRE and its relatives, where 0 and below are moments too. `out->ms` may be 0 or less. */
bool read_any_moment(struct exec *x, const char *command, struct slice word, struct moment_form form,
                     instant *out);

/* A length of time in ms, from `least` to what 32 bits hold. False: answered
 * with what is wrong with the `option` of `command`. */
bool read_span_ms(struct exec *x, const char *command, const char *option, struct slice word, uint32_t least,
                  uint32_t *out);

/* ---- keys ---- */

static inline bool edit_shows(const struct store_edit *edit)
{
    return edit->found && state_shows(edit->state);
}
/* The same for a command that knows keys, whatever they hold. */
static inline bool edit_exists(const struct store_edit *edit)
{
    return edit->found && state_exists(edit->state);
}
/* What a command about strings does not touch, but answers with reply_wrong_type(). */
static inline bool edit_is_filter(const struct store_edit *edit)
{
    return edit->found && state_is_filter(edit->state);
}
/* In an edit by a command about strings. True: there is a filter; the edit is over, and answered. */
static inline bool refuse_filter(struct exec *x, struct store_edit *edit)
{
    if (__builtin_expect(!edit_is_filter(edit), 1))
        return false;
    store_edit_end(edit);
    reply_wrong_type(x);
    return true;
}

/* Looks at everything but the value: true when the key is there, a string or a filter;
 * then found->len, ->expires and so on are the item's (->value is not to be used).
 * Counts a keyspace hit or miss. `used` tells the policy that it was read. */
bool look_at_key(struct exec *x, const struct key *key, bool used, struct store_peek *found);
/* The same bookkeeping for a command that reads in an edit. `expired`: no hit because its time was up. */
void count_lookup(struct exec *x, bool hit, bool expired);

/* How many keys of one command wait for memory together. More would push the
 * first ones out of the first-level cache before they are used. */
enum { KEYS_AT_ONCE = 32 };

/* Hashes the keys at arguments from, from + step, ... and has their buckets and
 * items fetched; at most KEYS_AT_ONCE of them. Returns how many. */
uint32_t fetch_keys(const struct exec *x, const struct request *rq, uint32_t from, uint32_t step,
                    struct key keys[KEYS_AT_ONCE]);

#endif
