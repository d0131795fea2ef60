/* filter.h - filters as values of keys: what BF.* and QF.* share.
 *
 * A filter is an ordinary key: it has a time to live, is evicted, renamed, copied
 * and counted like a string. What its bytes are is filter/image.h's. Commands about
 * strings answer WRONGTYPE on it, and these here on a string.
 *
 * New and larger filters are made while the shard is not locked, so that others go
 * on; filter-max-bytes is the limit of how long that keeps the worker. */
#ifndef CORRAL_COMMAND_FILTER_H
#define CORRAL_COMMAND_FILTER_H

#include "server/command/arguments.h"
#include "server/filter/image.h"

/* Well mixed, and the same on every node, so that filters can be moved and merged. */
uint64_t filter_hash(struct slice item);

/* What TYPE says of an image, and of the key; "string" and "none" if it holds none. */
const char *filter_type_of(const void *image);
const char *filter_type(struct exec *x, const struct key *key);

/* ---- arguments; false: answered with what is wrong ---- */

/* From 0 to 1, both excluded, and then taken for what filters can keep; `wrong`
 * is said when it is no number. */
bool filter_read_error(struct exec *x, struct slice word, const char *wrong, double *error);
/* From 1 to 2^30. */
bool filter_read_capacity(struct exec *x, struct slice word, const char *wrong, uint64_t *capacity);
double filter_default_error(const struct exec *x);

/* ---- what is there ---- */

enum filter_found { FILTER_ABSENT, FILTER_FOUND, FILTER_OTHER };

/* In an edit. */
enum filter_found filter_in(const struct store_edit *edit, enum image_kind kind);
static inline void *filter_bytes(struct store_edit *edit)
{
    return store_edit_bytes(edit);
}

/* Without the lock: an image and the pin that holds it. Only of a Bloom filter may
 * more than its first word be read. filter_peek() counts a hit or a miss. */
struct filter_pin {
    struct blob *blob;
    const void *image;
    bool expired; /* there is nothing, because its time was up */
};
enum filter_found filter_pin_at(struct exec *x, const struct key *key, enum image_kind kind,
                                struct filter_pin *pin);
enum filter_found filter_peek(struct exec *x, const struct key *key, enum image_kind kind,
                              struct filter_pin *pin);

/* "not found" or WRONGTYPE, of what is not FILTER_FOUND. */
void filter_reply_unfound(struct exec *x, enum filter_found found);

/* ---- storing ---- */

enum filter_made { FILTER_MADE, FILTER_TOO_LARGE, FILTER_NO_MEMORY };

/* Memory for an image; to be unpinned. `bytes` 0 is too large, too. */
enum filter_made filter_room(struct exec *x, size_t bytes, struct blob **blob);
/* Makes the blob's bytes the key's value; a filter that is replaced leaves its time to live. */
enum store_status filter_put(struct store_edit *edit, struct blob *blob);
/* Why there is no filter, or none that is larger. */
void filter_reply_unmade(struct exec *x, enum filter_made made);

#endif
