#include "server/pause.h"

#include "server/post.h"
#include "server/server.h"

void pause_begin(struct server *server, instant until, bool all)
{
    struct server_pause *p = &server->pause;

    pthread_mutex_lock(&p->lock);
    if (until.ms > atomic_load_explicit(&p->until_ms, memory_order_relaxed))
        atomic_store_explicit(&p->until_ms, until.ms, memory_order_relaxed);
    if (all)
        atomic_store_explicit(&p->all, true, memory_order_relaxed);
    atomic_fetch_or_explicit(&server->modes, SERVER_PAUSED, memory_order_relaxed);
    pthread_mutex_unlock(&p->lock);
}

/* Under the lock. */
static void forget(struct server *server)
{
    atomic_store_explicit(&server->pause.until_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&server->pause.all, false, memory_order_relaxed);
    atomic_fetch_and_explicit(&server->modes, ~(unsigned)SERVER_PAUSED, memory_order_relaxed);
}

void pause_end(struct server *server)
{
    pthread_mutex_lock(&server->pause.lock);
    forget(server);
    pthread_mutex_unlock(&server->pause.lock);
    post_everybody(server, LETTER_UNPAUSE);
}

instant pause_until(const struct server *server)
{
    return (instant){atomic_load_explicit(&server->pause.until_ms, memory_order_relaxed)};
}

/* Whoever notices first that its time is over ends it; those who wait have timers of their own. */
static bool is_over(struct server *server, instant now)
{
    struct server_pause *p = &server->pause;

    if (is_before(now, pause_until(server)))
        return false;
    pthread_mutex_lock(&p->lock);
    if (!is_before(now, pause_until(server)))
        forget(server);
    pthread_mutex_unlock(&p->lock);
    return true;
}

static bool holds(struct exec *x, bool writes)
{
    if (is_over(x->server, x->now))
        return false;
    return writes || atomic_load_explicit(&x->server->pause.all, memory_order_relaxed);
}

/* What redis would tell its replicas, and so holds back while writes are paused. */
static bool may_replicate(const struct command *command)
{
    return (command->flags & CMD_WRITE) || command->handler == cmd_publish ||
           command->handler == cmd_spublish || strcmp(command->name, "exec") == 0;
}

bool pause_holds(struct exec *x, const struct command *command)
{
    return !(x->session->modes & SESSION_MONITOR) && holds(x, may_replicate(command));
}

/* N and T make a mg write: an item, or its expiry. */
static bool mg_writes(const struct request *rq)
{
    for (uint32_t i = 2; i < rq->argc; i++) {
        if (rq->argv[i].len > 0 && (rq->argv[i].data[0] == 'N' || rq->argv[i].data[0] == 'T'))
            return true;
    }
    return false;
}

static bool memcache_writes(const struct request *rq)
{
    static const char *const readers[] = {"get",  "gets",    "me",        "mn",     "stats",
                                          "quit", "version", "verbosity", "config", "metaget"};

    if (rq->argc == 0)
        return false;
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++) {
        if (slice_equals(rq->argv[0], slice_of(readers[i])))
            return false;
    }
    return !slice_equals(rq->argv[0], slice_of("mg")) || mg_writes(rq);
}

bool pause_holds_memcache(struct exec *x, const struct request *rq)
{
    return holds(x, memcache_writes(rq));
}
