/* pulls.h - which keys are on their way from the node that served them before.
 *
 * A key is brought by one at a time. While it is under way others wait for it;
 * afterwards it is *settled*: here if it was anywhere, and never to be asked for
 * again. That is remembered as long as there is room; a key that was forgotten
 * is asked for once more, in vain.
 *
 * So of each item there is one copy: at the old node until it is taken, then on
 * its way and marked here, then here. If it is lost on the way it is a miss;
 * and what was given up (pulls_settle) is thrown away should it still arrive.
 * Keys are known here by 64 bits of the caller's choice: of the key's hash, its
 * database, and which hand-over it is, so that what is settled in one is not in
 * the next. Any thread. A stripe's lock is outside the shards' and the inboxes'. */
#ifndef CORRAL_PULLS_H
#define CORRAL_PULLS_H

#include "server/post.h"

struct pulls;

enum pulls_answer {
    PULLS_YOURS,     /* ask for it, and call pulls_end() whatever comes of it */
    PULLS_UNDER_WAY, /* whoever asks for it will wake `who`, if that is not 0 */
    PULLS_SETTLED,
    PULLS_NO_MEMORY
};

/* NULL when memory is short. */
struct pulls *pulls_new(void);
void pulls_free(struct pulls **pulls);

/* With PULLS_YOURS, too, `who` will be woken by pulls_end(). */
enum pulls_answer pulls_begin(struct pulls *pulls, uint64_t id, post_address who);
/* It has come, or will not. `put` stores it, unless it was given up meanwhile; NULL: there is none. Settled
 * says whether it is. Wakes all who wait. */
void pulls_end(struct pulls *pulls, struct server *server, uint64_t id, bool settled, void (*put)(void *arg),
               void *arg);
/* It was not asked for after all. Nobody is woken: who waits for it looks again by and by. */
void pulls_drop(struct pulls *pulls, uint64_t id);
/* It is not waited for any longer: settled from now on, without having come. */
void pulls_settle(struct pulls *pulls, uint64_t id);
/* Which one was begun last; and whether that and all before it have ended. */
uint64_t pulls_serial(struct pulls *pulls);
bool pulls_ended_until(struct pulls *pulls, uint64_t serial);
size_t pulls_under_way(struct pulls *pulls);

#endif
