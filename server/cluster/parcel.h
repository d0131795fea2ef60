/* parcel.h - an item on its way to another node: all that is known of it, as bytes.
 *
 * Times travel as what is left of them, so that two clocks need not agree; how
 * long it was under way is not known, and lengthens a life by as much. All
 * numbers are little-endian:
 *
 *   1 database   1 state   1 flags   1 (zero)   2 bytes of key   4 bytes of value
 *   4 client flags   key   value
 *   flags & TIMED:  8 milliseconds left; negative when it is in its grace
 *   flags & HERDED: 4 grace   4 fill
 *   flags & LEASED: 8 token   4 length of the lease   4 how long ago it was granted
 *   flags & CAS:    8 cas
 *
 * Pure, but for the two that know the store. */
#ifndef CORRAL_PARCEL_H
#define CORRAL_PARCEL_H

#include "server/store/store.h"

struct parcel {
    struct slice key, value;
    uint8_t db;      /* the store's number */
    uint8_t state;   /* enum item_state bits */
    bool key_binary; /* as in struct store_value */
    bool timed;      /* or it lives for ever */
    bool leased;     /* a lease is out */
    uint32_t flags;  /* memcached's client flags */
    int64_t left_ms; /* if timed */
    uint32_t grace_ms, fill_ms;
    uint64_t token; /* if leased, as the next two */
    uint32_t lease_ms, granted_ms_ago;
    uint64_t cas; /* 0: none yet */
};

size_t parcel_size(const struct parcel *parcel);
/* Writes parcel_size() bytes; returns the first free one. */
uint8_t *parcel_put(uint8_t *to, const struct parcel *parcel);
/* Eats one; its slices point into the bytes. False: what is there is none. */
bool parcel_take(struct slice *bytes, struct parcel *parcel);

/* What an open edit shows: found, in its grace, or pending. False: there is nothing. Good while the edit is
 * open. */
bool parcel_of(const struct store_edit *edit, struct parcel *parcel);
/* Stores it, unless the key is there already in any form, which then is newer, or *refused, looked at under
 * the shard's lock, is true; it may be NULL. */
enum store_status parcel_store(struct store *store, struct store_local *local, const struct parcel *parcel,
                               instant now, const _Atomic bool *refused);

#endif
