/* guest.h - requests that other nodes pass on to this one: a data link's other end.
 *
 * A connection that came by cluster-link-port (DIALECT_PEER) speaks frames. Once it has proven who it is, each
 * REQUEST is executed as if its client were here, in the dialect, protocol version and database that the frame
 * names, and the reply goes back in an ANSWER. A batch of frames is prefetched and executed as a batch of
 * requests is.
 *
 * Frames are independent of each other: one that has to wait must not keep those behind it. So the session
 * that executes them belongs to a *guest*, a connection without a socket that the link always has
 * ready. If the request parks, the guest stays with it, keeps a copy of the frame, is woken and run again as any
 * parked connection is, and answers by the link when it is done; for the next frames there is a new one. What
 * plain clients hold without knowing (herd/protect.h) stays with the link: who comes next finds it.
 *
 * Rules: (1) a stranger has no more than PEER_GREETING_MAX bytes of ours, for no more than two
 * seconds. (2) Guests live no longer than their link, and at most cluster-guests-max for each. (3) Every
 * REQUEST is answered exactly once, unless the link ends or the asker forgets it. (4) A frame for a key that is
 * not served here is passed on (forward.h) or handed back as NOT_MINE, never executed. */
#ifndef CORRAL_GUEST_H
#define CORRAL_GUEST_H

#include "protocol/peer.h"
#include "server/dispatch.h"

struct conn;
struct host;

/* What is executed is a frame of another node; struct exec points to it. */
struct asked {
    struct peer_header header;
    uint64_t asker;          /* the client at the other node */
    enum peer_status status; /* of the answer; PEER_OK unless somebody sets it while it is executed */
};

/* An incoming link. False: memory is short. */
bool host_open(struct conn *link);
/* The link closes, and with it its guests. */
void host_close(struct conn *link);
bool host_is_link(const struct conn *c);
bool host_is_proven(const struct conn *link);
/* Also whether there are still guests, whose answers are to come. */
bool host_is_idle(const struct conn *link);

/* What dispatch() does for connections of DIALECT_PEER. */
enum dispatch_status guest_dispatch(struct worker *w, struct dispatch_input *in);
/* A guest is woken. False: it has answered, and is to be closed. */
bool guest_resume(struct conn *guest);
/* It closes, whatever the reason: if it has not answered, it does so now. */
void guest_leave(struct conn *guest);
/* Tells the asker that it will take so long. */
void guest_waits(struct conn *guest, uint32_t ms);
/* Calls back for each of a link's; which may not go meanwhile. */
void guests_each(struct conn *link, void (*visit)(struct conn *guest));

#endif
