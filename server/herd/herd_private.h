/* herd_private.h - what the files of herd protection share. */
#ifndef CORRAL_HERD_PRIVATE_H
#define CORRAL_HERD_PRIVATE_H

#include "server/herd/fills.h"
#include "server/herd/herd.h"
#include "server/herd/ledger.h"
#include "server/herd/rules.h"
#include "server/herd/waiters.h"
#include "server/server.h"

struct herd {
    struct fills *fills;
    struct waiters *waiters;
    _Atomic uint64_t waits[BINS]; /* how long requests waited that have been answered */
    struct tally *tallies;        /* TALLIES of them, for as long as the server */
    struct herd_rules *retired;   /* rules that somebody may still look at; under options_lock */
};

/* Of the rule for this key; NULL: there is none. */
struct tally *herd_tally(struct server *server, struct slice name);
/* A lease on this key ran out. */
void herd_note_expired(struct exec *x, struct slice name);

static inline struct slice herd_name(const struct store_edit *edit)
{
    return (struct slice){edit->key.data, edit->key.len};
}

#endif
