/* batch.h - requests that were parsed together and are executed one after the other.
 *
 * For those who see more of a request than its handler does: dispatch.c, and the
 * two sides of a cluster (cluster/forward.c, cluster/guest.c). */
#ifndef CORRAL_BATCH_H
#define CORRAL_BATCH_H

#include "server/dispatch.h"
#include "server/exec.h"

enum { BATCH = 32 };

struct entry {
    struct request request;
    enum parse_status status; /* PARSE_DONE or PARSE_REFUSED */
    const struct command *command;
    struct key key;    /* data NULL: none */
    size_t begin, end; /* of the request, in the input */
    const char *error;
    bool silent, too_large; /* PARSE_REFUSED */
    size_t refused;         /* the same, RESP: the length that was too much */
    struct slice begun;     /* ... and what had come of the request */
};

struct batch {
    struct entry entries[BATCH];
    unsigned len;
    size_t end;               /* input parsed so far */
    enum parse_status status; /* why parsing stopped */
    struct slice *words;      /* argv of all requests, one after the other */
    uint32_t words_len, words_cap;
    uint8_t *line; /* an inline request as it came, should it have to be parsed again */
    size_t line_at, line_len, line_cap;
    struct asked *asked; /* of frames: cluster/guest.c's, as many as there are entries */
};

/* Room for a request of so many words, which is only to be had while the batch is empty; true as well when it
 * is not. False: memory is short. */
bool batch_make_room(struct batch *b, uint32_t words);
/* The first key, by the session's dialect; also finds the command of a RESP request. */
bool entry_first_key(const struct session *session, struct entry *e, struct slice *key);
/* The blob that x->backing is to name for this request, or NULL. */
struct blob *entry_backing(struct server *server, const struct dispatch_input *in, const struct request *rq);
/* Executes it for x->session, which may be parked then. x->db, first_key and backing are set. */
void entry_run(struct exec *x, struct entry *e);

#endif
