/* park.h - letting a request wait for something.
 *
 * A handler that cannot answer yet writes nothing, calls exec_park() and
 * returns. The request stays unexecuted at the head of its connection, which
 * is not read from meanwhile, and the handler is called again with the same
 * request when somebody wakes it or the time is over; exec_outcome() says
 * which. So a handler looks at the world anew each time, keeps nothing in
 * between, and needs no second half that answers later.
 *
 *     if (there_is_an_answer)                          reply;
 *     else if (exec_outcome(x) == PARK_TIMED_OUT)      reply that there was none;
 *     else if (exec_may_park(x))                       exec_park(x, timeout);
 *
 * Being woken in vain is possible. To wake a client: post_to() or post_later()
 * with LETTER_WAKE, to the address it had when it parked. Whoever registers
 * that address somewhere does so before it looks for the last time: a letter
 * that comes before the client is parked finds it parked all the same. */
#ifndef CORRAL_PARK_H
#define CORRAL_PARK_H

#include "server/exec.h"

/* Not within a transaction, where nothing may wait, nor while the node stops. */
bool exec_may_park(const struct exec *x);
/* For at most this long, counted from the first time the request was parked; 0 ms: for ever. */
void exec_park(struct exec *x, span most);
/* The same, but the request is looked at again at that instant even if nobody
 * woke it: that, too, is PARK_WOKEN. 0 ms: no need. */
void exec_park_look(struct exec *x, span most, instant look);
static inline enum park_outcome exec_outcome(const struct exec *x)
{
    return x->session->outcome;
}

#endif
