/* bloom_filter.h - adding to a Bloom filter under a key, for BF.* and for guards (origin/guard.h). */
#ifndef CORRAL_COMMAND_BLOOM_FILTER_H
#define CORRAL_COMMAND_BLOOM_FILTER_H

#include "server/command/filter.h"

enum bloom_filter_added { BLOOM_FILTER_NEW, BLOOM_FILTER_KNOWN, BLOOM_FILTER_REFUSED };

enum bloom_refused {
    BLOOM_REFUSED_FULL,    /* it does not grow */
    BLOOM_REFUSED_LOADING, /* BF.LOADCHUNK has not finished it */
    BLOOM_REFUSED_LAYERS,  /* it has as many as it may */
    BLOOM_REFUSED_GONE,    /* it was removed while it grew: `found` */
    BLOOM_REFUSED_ROOM,    /* `made` */
    BLOOM_REFUSED_STORE,   /* `status` */
};
struct bloom_refusal {
    enum bloom_refused why;
    enum filter_found found;
    enum filter_made made;
    enum store_status status;
};

/* Adds to the Bloom filter that an edit has found. If it has to grow, the edit is
 * ended and begun anew. *changed is set when it was: say store_edit_changed() in
 * the end. */
enum bloom_filter_added bloom_filter_add(struct exec *x, struct store_edit *edit, uint64_t hash,
                                         bool *changed, struct bloom_refusal *refusal);

#endif
