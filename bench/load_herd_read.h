/* load_herd_read.h - how a client gets a value through a cache: one read, step by step.
 *
 * A driver is what a careful client of that kind does, with the best its
 * server offers:
 *
 *   plain-resp   GET; on null fetch, SET PX
 *   plain-text   get; on END fetch, set
 *   meta         mg N; W: fetch, ms with the cas it came with; Z: ask again after a pause
 *   meta-blind   the same, but the ms carries no cas, as common clients send it
 *   lease-get    lease-get; a token: fetch, lease-set; token 1: ask again after a pause
 *   getlease     GETLEASE WAIT; a token: fetch, SETLEASE; filling: ask again after a pause
 *   lock         GET; on null SET key:lock NX PX, winner: GET once more, fetch, SET, unlock;
 *                loser: GET again after a pause
 *
 * Pure: it is told what the server answered and says what to do next. */
#ifndef CORRAL_BENCH_LOAD_HERD_READ_H
#define CORRAL_BENCH_LOAD_HERD_READ_H

#include "bench/load_herd_reply.h"

enum herd_driver {
    HERD_PLAIN_RESP,
    HERD_PLAIN_TEXT,
    HERD_META,
    HERD_META_BLIND,
    HERD_LEASE_GET,
    HERD_GETLEASE,
    HERD_LOCK,
    HERD_DRIVERS
};

enum herd_unlock {
    HERD_UNLOCK_DEL,     /* DEL: may remove somebody else's lock */
    HERD_UNLOCK_DELIFEQ, /* Corral and valkey */
    HERD_UNLOCK_EVAL     /* redis: the script everybody uses */
};

enum herd_update {
    HERD_UPDATE_DELETE,
    HERD_UPDATE_INVALIDATE, /* INVALIDATE, md I: the old value may be served, marked as such */
    HERD_UPDATE_SET         /* the writer stores the new value itself */
};

/* What all reads of a run have in common. */
struct herd_plan {
    uint64_t ttl_ms;   /* 0: values do not expire */
    uint64_t grace_ms; /* getlease: how long an expired value may be served; 0: not at all */
    uint64_t lease_ms; /* lock: its PX; meta: the stub's time to live */
    uint64_t wait_ms;  /* getlease: WAIT */
    bool takes_stale;  /* a marked old value satisfies a reader */
    enum herd_unlock unlock;
    enum herd_update update;
};

/* Where requests are written. Give it room for a value and LOAD_KEY_SIZE_MAX * 2 + 512 bytes. */
struct herd_out {
    uint8_t *data;
    size_t size;
    size_t len;
};

enum herd_step {
    HERD_SEND,  /* a request is in `out`; hand its answer to herd_read_answered */
    HERD_FETCH, /* ask the origin, then herd_read_fetched */
    HERD_PAUSE, /* wait for the poll interval, then herd_read_again */
    HERD_DONE   /* with a value from the cache, or after a fetch, or failed */
};

enum herd_stage { HERD_ASKING, HERD_LOCKING, HERD_LOOKING_AGAIN, HERD_STORING, HERD_UNLOCKING };

struct herd_read {
    enum herd_driver driver;
    struct slice key;
    uint64_t nonce; /* lock: whose it is */
    enum herd_stage stage;
    bool locked;
    uint64_t token;
    struct slice value; /* from the cache, when `hit`; good until the next byte is received */
    bool hit;
    bool marked;        /* the server said the value is old */
    bool refused;       /* an error; `complaint` has its words */
    bool strange;       /* an answer that does not fit the question */
    bool late;          /* the fill was refused: it had lost its right */
    bool filled;        /* the fill was taken */
    char complaint[96]; /* what was refused or strange, as it came; may hold anything but NUL */
};

enum herd_dialect herd_driver_dialect(enum herd_driver driver);
const char *herd_driver_name(enum herd_driver driver);
bool herd_driver_named(struct slice name, enum herd_driver *driver);

/* `key` and `plan` must outlive the read. Always HERD_SEND. */
enum herd_step herd_read_start(struct herd_read *r, enum herd_driver driver, struct slice key, uint64_t nonce,
                               const struct herd_plan *plan, struct herd_out *out);
enum herd_step herd_read_answered(struct herd_read *r, const struct herd_reply *reply,
                                  const struct herd_plan *plan, struct herd_out *out);
enum herd_step herd_read_fetched(struct herd_read *r, struct slice value, const struct herd_plan *plan,
                                 struct herd_out *out);
enum herd_step herd_read_again(struct herd_read *r, const struct herd_plan *plan, struct herd_out *out);

/* What a writer of this kind of client sends after the origin has changed. */
void herd_write_update(enum herd_driver driver, struct slice key, struct slice value,
                       const struct herd_plan *plan, struct herd_out *out);
bool herd_driver_can_update(enum herd_driver driver, enum herd_update update);
/* Removes everything a former run may have left of this key. One request, one answer. */
void herd_write_clear(enum herd_driver driver, struct slice key, struct herd_out *out);

#endif
