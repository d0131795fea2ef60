/* clients.h - everybody who is connected, for those who ask: CLIENT LIST, CLIENT KILL.
 *
 * A list under one lock. It is taken when clients come and go and when
 * somebody looks, never for a request; its place in the order of locks is
 * last, so nothing else may be locked while it is held. */
#ifndef CORRAL_CLIENTS_H
#define CORRAL_CLIENTS_H

#include "server/session.h"

struct clients;

struct clients *clients_new(void);
void clients_free(struct clients **clients);

/* Gives a session its id, without adding it: to those whom no client sees. */
void clients_name(struct clients *clients, struct session *session);
/* Also gives the session its id. */
void clients_add(struct clients *clients, struct session *session);
void clients_remove(struct clients *clients, struct session *session);

/* While locked no session goes away, and its owner leaves what others may see alone. */
void clients_lock(struct clients *clients);
void clients_unlock(struct clients *clients);
/* Oldest first, NULL past the last; only while locked. */
struct session *clients_first(struct clients *clients);
static inline struct session *clients_next(struct session *session)
{
    return session->next;
}

#endif
