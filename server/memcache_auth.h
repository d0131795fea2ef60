/* memcache_auth.h - who may speak to the memcached port.
 *
 * Two doors: requirepass, with any user name, and the pairs of
 * memcache-auth-file, a file as memcached's -Y takes it: a line "user:password"
 * each, at most eight. While neither is set everybody may; while both are, either opens. */
#ifndef CORRAL_MEMCACHE_AUTH_H
#define CORRAL_MEMCACHE_AUTH_H

#include "protocol/bytes.h"

struct server;
struct memcache_auth;

/* Reads the file that the option names, none when it is empty. NULL, or why it
 * could not be used (static text); what was known before then stays. Any thread
 * that holds options_lock, or the one that starts the server. */
const char *memcache_auth_load(struct server *server);
void memcache_auth_free(struct server *server);

/* Whether a memcached client must give a name and a password first. */
bool memcache_auth_needed(struct server *server);
/* True also when nothing is needed. */
bool memcache_auth_ok(struct server *server, struct slice user, struct slice password);

#endif
