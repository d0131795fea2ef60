/* outcomes.h - how fetches ended that left nothing in the store.
 *
 * A reader who is woken looks at the store, as everybody does. When its fetch
 * failed, or found that the origin has none, or brought a value that may not be
 * kept, there is nothing to see: here it learns why. An outcome is for those
 * who waited: whoever comes anew has the origin asked anew, which removes it.
 * At most OUTCOMES_MAX are kept, each for OUTCOMES_MS.
 *
 * Not locked: its owner sees to that. */
#ifndef CORRAL_ORIGIN_OUTCOMES_H
#define CORRAL_ORIGIN_OUTCOMES_H

#include "protocol/bytes.h"
#include "server/store/blob.h"

enum { OUTCOMES_MAX = 4096, OUTCOMES_MS = 2000, OUTCOME_TEXT_MAX = 200 };
#define OUTCOMES_BYTES_MAX ((size_t)64 << 20)

enum outcome_kind { OUTCOME_FAILED, OUTCOME_ABSENT, OUTCOME_VALUE };

struct outcome {
    enum outcome_kind kind;
    char why[OUTCOME_TEXT_MAX]; /* FAILED */
    struct blob *value;         /* VALUE: all of it; pinned for whoever was given the outcome */
};

struct outcomes;

struct outcomes *outcomes_new(void);
void outcomes_free(struct outcomes **outcomes);
/* Replaces what was there. Takes over the value's pin. False when memory is short: then there is none. */
bool outcomes_put(struct outcomes *o, uint8_t db, struct slice name, struct outcome *outcome, int64_t now_ms);
bool outcomes_get(struct outcomes *o, uint8_t db, struct slice name, int64_t now_ms, struct outcome *out);
void outcomes_remove(struct outcomes *o, uint8_t db, struct slice name);
/* Those whose time is over. Returns how many are left. */
size_t outcomes_expire(struct outcomes *o, int64_t now_ms);

#endif
