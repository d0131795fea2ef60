#include "server/cluster/plane.h"

#include <sodium.h>
#include <stdlib.h>

struct plane {
    pthread_mutex_t lock; /* around the keys; a leaf */
    struct handshake_keys keys;
    bool known;
    struct links_report report;
    _Atomic uint32_t links;
};

bool plane_init(struct server *server)
{
    if (sodium_init() < 0 || (server->plane = calloc(1, sizeof *server->plane)) == NULL)
        return false;
    pthread_mutex_init(&server->plane->lock, NULL);
    return true;
}

void plane_free(struct server *server)
{
    if (server->plane == NULL)
        return;
    sodium_memzero(&server->plane->keys, sizeof server->plane->keys);
    pthread_mutex_destroy(&server->plane->lock);
    free(server->plane);
    server->plane = NULL;
}

void plane_set_keys(struct server *server, const struct handshake_keys *keys)
{
    struct plane *p = server->plane;

    pthread_mutex_lock(&p->lock);
    p->keys = *keys;
    p->known = true;
    pthread_mutex_unlock(&p->lock);
}

bool plane_keys(struct server *server, struct handshake_keys *keys)
{
    struct plane *p = server->plane;
    bool known;

    pthread_mutex_lock(&p->lock);
    *keys = p->keys;
    known = p->known;
    pthread_mutex_unlock(&p->lock);
    return known;
}

bool plane_enter(struct server *server)
{
    uint32_t most = (uint32_t)option_live(&server->options, cluster_links_max);

    /* Only worker 0 accepts, so the limit is never overrun. */
    if (atomic_load_explicit(&server->plane->links, memory_order_relaxed) >= most)
        return false;
    atomic_fetch_add_explicit(&server->plane->links, 1, memory_order_relaxed);
    return true;
}

void plane_leave(struct server *server)
{
    atomic_fetch_sub_explicit(&server->plane->links, 1, memory_order_relaxed);
}

uint32_t plane_links(const struct server *server)
{
    return atomic_load_explicit(&server->plane->links, memory_order_relaxed);
}

void links_report_to(struct server *server, struct links_report report)
{
    server->plane->report = report;
}

void link_refused(struct server *server, const struct node_id *node)
{
    const struct links_report *report = &server->plane->report;

    if (report->refused != NULL)
        report->refused(report->owner, node);
}

void link_vouch(struct server *server, const struct node_id *node)
{
    const struct links_report *report = &server->plane->report;

    if (report->vouched != NULL)
        report->vouched(report->owner, node);
}
