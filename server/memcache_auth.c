#include "server/memcache_auth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/server.h"

enum { PAIRS_MAX = 8, LINE_MAX_BYTES = 512 }; /* both memcached's, or more */

struct memcache_auth {
    unsigned len;
    char *pairs[PAIRS_MAX]; /* "user:password" */
};

static void auth_free(struct memcache_auth *auth)
{
    if (auth == NULL)
        return;
    for (unsigned i = 0; i < auth->len; i++)
        free(auth->pairs[i]);
    free(auth);
}

void memcache_auth_free(struct server *server)
{
    auth_free(server->memcache_auth);
    server->memcache_auth = NULL;
}

static const char *add_line(struct memcache_auth *auth, char *line)
{
    size_t len = strlen(line);

    if (len == LINE_MAX_BYTES - 1 && line[len - 1] != '\n')
        return "a line of memcache-auth-file is too long";
    line[strcspn(line, "\r\n")] = '\0';
    if (strchr(line, ':') == NULL)
        return "every line of memcache-auth-file must be user:password";
    if (auth->len == PAIRS_MAX)
        return "memcache-auth-file has more than eight lines";
    if ((auth->pairs[auth->len] = strdup(line)) == NULL)
        return "out of memory";
    auth->len++;
    return NULL;
}

static const char *read_pairs(struct memcache_auth *auth, const char *path)
{
    char line[LINE_MAX_BYTES];
    const char *why = NULL;
    FILE *f = fopen(path, "re");

    if (f == NULL)
        return "memcache-auth-file cannot be opened";
    while (why == NULL && fgets(line, sizeof line, f) != NULL)
        why = add_line(auth, line);
    if (why == NULL && ferror(f))
        why = "memcache-auth-file cannot be read";
    fclose(f);
    explicit_bzero(line, sizeof line);
    if (why == NULL && auth->len == 0)
        why = "memcache-auth-file is empty";
    return why;
}

const char *memcache_auth_load(struct server *server)
{
    const char *path = server->options.memcache_auth_file;
    struct memcache_auth *auth;
    const char *why;

    if (path[0] == '\0') {
        memcache_auth_free(server);
        return NULL;
    }
    if ((auth = calloc(1, sizeof *auth)) == NULL)
        return "out of memory";
    if ((why = read_pairs(auth, path)) != NULL) {
        auth_free(auth);
        return why;
    }
    memcache_auth_free(server);
    server->memcache_auth = auth;
    return NULL;
}

/* Takes the same time for every wrong pair of the same length. */
static bool same_pair(struct slice user, struct slice password, const char *pair)
{
    size_t len = strlen(pair), at = 0;
    unsigned differs = user.len + 1 + password.len != len;

    for (size_t i = 0; i < user.len; i++, at++)
        differs |= (unsigned)(user.data[i] ^ (uint8_t)pair[at % (len + 1)]);
    differs |= (unsigned)(':' ^ (uint8_t)pair[at++ % (len + 1)]);
    for (size_t i = 0; i < password.len; i++, at++)
        differs |= (unsigned)(password.data[i] ^ (uint8_t)pair[at % (len + 1)]);
    return differs == 0;
}

bool memcache_auth_needed(struct server *server)
{
    bool needed;

    pthread_mutex_lock(&server->options_lock);
    needed = server->options.requirepass[0] != '\0' || server->memcache_auth != NULL;
    pthread_mutex_unlock(&server->options_lock);
    return needed;
}

static bool pair_known(struct server *server, struct slice user, struct slice password)
{
    const struct memcache_auth *auth;
    bool known = false;

    pthread_mutex_lock(&server->options_lock);
    auth = server->memcache_auth;
    for (unsigned i = 0; auth != NULL && i < auth->len; i++)
        known |= same_pair(user, password, auth->pairs[i]);
    pthread_mutex_unlock(&server->options_lock);
    return known;
}

bool memcache_auth_ok(struct server *server, struct slice user, struct slice password)
{
    if (!memcache_auth_needed(server) || pair_known(server, user, password))
        return true;
    return server_password_set(server) && server_password_ok(server, password);
}
