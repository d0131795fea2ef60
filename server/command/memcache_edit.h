/* memcache_edit.h - what memcached's commands do to an item, whichever dialect asks.
 *
 * classic `set` and meta `ms`, `incr` and `ma`, do the same deeds under other
 * names; here they are once, as steps inside an open edit. */
#ifndef CORRAL_COMMAND_MEMCACHE_EDIT_H
#define CORRAL_COMMAND_MEMCACHE_EDIT_H

#include "server/exec.h"
#include "server/herd/lease.h"

/* What every reply calls itself. Client libraries look for features by number;
 * 1.6.27 is the least that one of them (Dalli 5) takes meta commands from. */
#define MEMCACHE_VERSION "1.6.40"

#define MEMCACHE_TOO_LARGE     "SERVER_ERROR object too large for cache"
#define MEMCACHE_NO_MEMORY     "SERVER_ERROR out of memory storing object"
#define MEMCACHE_NOT_A_NUMBER  "CLIENT_ERROR cannot increment or decrement non-numeric value"
#define MEMCACHE_BAD_LINE      "CLIENT_ERROR bad command line format"
#define MEMCACHE_OUT_OF_MEMORY "SERVER_ERROR out of memory"

/* Handlers are declared from the table. */
#define MEMCACHE(verb, handler, ...) command_handler handler;
#include "server/memcache.def"

/* ---- moments ---- */

/* The moment that a client's seconds name: 0 is never, up to 30 days count
 * from now, more is Unix time, and below 0 is past already. So are the last 30
 * days that 32 bits can count (in 2106): libmemcached writes -1 as 4294967295. */
instant memcache_expiry(instant now, int64_t seconds);
/* Whole seconds until then, rounded up so that an item that lives has at least 1; -1 for never. */
int64_t memcache_seconds_left(instant expires, instant now);

/* ---- what is there ---- */

/* Whether memcached's clients see an item: what waits for the fill of a lease,
 * and what is known not to exist, are misses to them as to everybody. Stale
 * items and those that their own N made are not. A filter is a miss as well; but
 * what stores only where nothing is does not replace it. */
static inline bool memcache_shows(uint8_t state)
{
    return (state & (LEASE_VIVIFIED | ITEM_FILTER)) == 0 || lease_is_vivified(state);
}
static inline bool memcache_finds(const struct store_edit *edit)
{
    return edit->found && memcache_shows(edit->state);
}
static inline bool memcache_finds_filter(const struct store_edit *edit)
{
    return edit->found && state_is_filter(edit->state);
}
/* For a reader who found what memcache_shows() says is not to be seen. True: it
 * is so, and a pin is let go of. False: it changed meanwhile, so peek again. */
bool memcache_is_hidden(enum peek_status status, struct store_peek *peek);

/* ---- storing ---- */

enum memcache_how { HOW_SET, HOW_ADD, HOW_REPLACE, HOW_APPEND, HOW_PREPEND, HOW_CAS };

struct memcache_put {
    enum memcache_how how;
    size_t key_len;
    struct slice data;
    struct blob *backing;
    uint32_t flags;
    instant expires;
    bool has_cas;      /* the item must have `cas`: always with HOW_CAS, perhaps with append and prepend */
    bool late_is_ok;   /* HOW_CAS that comes too late stores a stale value instead of failing (meta I) */
    bool make_missing; /* append and prepend store what is not there (meta N) */
    bool key_binary;
    bool wants_cas; /* edit->cas is asked for afterwards: have one */
    bool is_meta;   /* ms: under the fence it has to name the win that is out */
    uint64_t cas;
    uint64_t cas_new; /* 0: the next one */
};

enum memcache_outcome { PUT_STORED, PUT_NOT_STORED, PUT_EXISTS, PUT_NOT_FOUND, PUT_TOO_LARGE, PUT_NO_MEMORY };

/* One storage command; counts it. After PUT_TOO_LARGE and PUT_NO_MEMORY the
 * item is as it was: what to do with it is the caller's to decide. */
enum memcache_outcome memcache_put(struct exec *x, struct store_edit *edit, const struct memcache_put *put);

/* Whether stores have to name the win they are for (herd-fence). A cas in
 * which LEASE_MARK is set is then the number of a win, and memcache_put() with
 * HOW_CAS stores only if that win is still out. */
static inline bool memcache_is_fenced(const struct exec *x)
{
    return option_live(x->options, herd_fence) != 0;
}

/* ---- arithmetic ---- */

enum memcache_sum { SUM_DONE, SUM_NOT_A_NUMBER, SUM_NO_MEMORY };

/* Adds or takes delta and stores the result. A result no longer than the value
 * takes its place, padded with blanks, as memcached does; clients know that.
 * cas_new: as above. The item must be there. */
enum memcache_sum memcache_add(struct store_edit *edit, bool up, uint64_t delta, uint64_t cas_new,
                               uint64_t *result);

/* ---- time ---- */

struct memcache_touched {
    bool found;
    bool refused; /* it was there, but memory was too short to note the new time */
};
/* Changes when an item expires; counts it. */
struct memcache_touched memcache_touch(struct exec *x, const struct key *key, instant expires);

/* ---- reading ---- */

/* A read missed a key whose time was over: counted, unless the request is parked and will come again. */
void memcache_note_expired(struct exec *x);

/* Makes sure the item under a key has a cas, for a reader who peeked and saw
 * none. False when it is gone or memory is short: let it be a miss. */
bool memcache_give_cas(struct exec *x, const struct key *key);

/* A value and \r\n. A writer may be changing the value meanwhile; store_peek_ok() will tell. */
uint8_t *memcache_copy_value(uint8_t *p, const uint8_t *value, size_t len);

#endif
