/* value.h - reading whole values without a lock, for commands that do more
 * with them than send them.
 *
 * Rule: what does not show (see arguments.h) reads as missing. */
#ifndef CORRAL_COMMAND_VALUE_H
#define CORRAL_COMMAND_VALUE_H

#include "server/command/arguments.h"

enum value_found {
    VALUE_MISSING,
    VALUE_FOUND,
    VALUE_REFUSED,  /* it is a filter; answered */
    VALUE_NO_MEMORY /* to hold it */
};

/* Shows the value under a key to `visit`, counting a hit or a miss. A writer may
 * be changing it meanwhile: look through store/racy.h only, and expect to be
 * called again from the start. What was worked out counts only with VALUE_FOUND. */
typedef void value_visitor(void *arg, struct slice value);
enum value_found value_visit(struct exec *x, const struct key *key, value_visitor *visit, void *arg);

/* A value that stays as it is until it is let go of: a pin or a copy. */
struct held_value {
    struct slice value; /* empty when there is none */
    struct blob *blob;
    uint8_t *copy;
};
/* Counts a hit or a miss. */
enum value_found value_hold(struct exec *x, const struct key *key, struct held_value *held);
void value_release(struct held_value *held); /* copes with one that is all zero */

/* The value an edit found or keeps, as a bulk, from inside it. A large one is
 * pinned: copying it would hold the shard's lock for long. */
void reply_edited(struct exec *x, const struct store_edit *edit);

/* The value an edit found, empty when nothing shows. */
static inline struct slice edit_value(const struct store_edit *edit)
{
    return edit_shows(edit) ? edit->value : (struct slice){NULL, 0};
}

/* Whether a value may become that long for all of proto-max-bulk-len; answers when not. */
bool value_length_ok(struct exec *x, uint64_t offset, uint64_t len);

#endif
