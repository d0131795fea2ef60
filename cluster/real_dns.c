/* real_dns.c - looks names up in a thread, because the resolver of the C library blocks. */
#include "cluster/real_inside.h"

#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { FOUND_MAX = 256, NAME_MAX_BYTES = 256 };

struct name {
    char text[NAME_MAX_BYTES];
    struct address *found; /* the last time it could be resolved */
    size_t count;
};

/* Belongs to the thread and to the transport; whoever is last frees it, so that
 * nobody waits for a name server that does not answer. */
struct real_resolver {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    unsigned owners;
    bool stop;
    int event_fd, period_ms;
    struct name *names; /* the thread's alone */
    size_t name_count;
    struct address found[FOUND_MAX]; /* under the lock */
    size_t found_count;
};

static void leave(struct real_resolver *r)
{
    unsigned owners;

    pthread_mutex_lock(&r->lock);
    owners = --r->owners;
    r->stop = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    if (owners > 0)
        return;
    for (size_t i = 0; i < r->name_count; i++)
        free(r->names[i].found);
    free(r->names);
    close(r->event_fd);
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static void look_up(struct name *name)
{
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICSERV}, *list = NULL;
    char host[NAME_MAX_BYTES], *colon;
    struct address *found;
    size_t count = 0;

    memcpy(host, name->text, sizeof host);
    if ((colon = strrchr(host, ':')) == NULL)
        return;
    *colon = '\0';
    if (host[0] == '[' && colon[-1] == ']') { /* an IPv6 address */
        colon[-1] = '\0';
        memmove(host, host + 1, strlen(host));
    }
    if (getaddrinfo(host, colon + 1, &hints, &list) != 0)
        return;
    for (struct addrinfo *a = list; a != NULL; a = a->ai_next)
        count++;
    if ((found = calloc(count + 1, sizeof *found)) != NULL) {
        count = 0;
        for (struct addrinfo *a = list; a != NULL; a = a->ai_next) {
            struct sockaddr_storage at = {0};
            if (a->ai_addrlen > sizeof at)
                continue;
            memcpy(&at, a->ai_addr, a->ai_addrlen);
            count += real_from_sockaddr(&at, &found[count]);
        }
        free(name->found);
        name->found = found;
        name->count = count;
    }
    freeaddrinfo(list);
}

static int by_bytes(const void *a, const void *b)
{
    const struct address *x = a, *y = b;
    int order = memcmp(x->ip, y->ip, sizeof x->ip);

    return order != 0 ? order : (int)x->port - (int)y->port;
}

/* Each once, and in an order that does not depend on the name server's mood. */
static size_t gather(const struct real_resolver *r, struct address all[FOUND_MAX])
{
    size_t count = 0, kept = 0;

    for (size_t i = 0; i < r->name_count; i++)
        for (size_t j = 0; j < r->names[i].count && count < FOUND_MAX; j++)
            all[count++] = r->names[i].found[j];
    qsort(all, count, sizeof *all, by_bytes);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || !address_equals(&all[kept - 1], &all[i]))
            all[kept++] = all[i];
    return kept;
}

static bool same(const struct real_resolver *r, const struct address *all, size_t count)
{
    if (r->found_count != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!address_equals(&r->found[i], &all[i]))
            return false;
    return true;
}

static void *resolve(void *arg)
{
    struct real_resolver *r = arg;
    struct address all[FOUND_MAX] = {0};
    struct timespec until;
    bool stop;

    do {
        size_t count;
        uint64_t one = 1;
        for (size_t i = 0; i < r->name_count; i++)
            look_up(&r->names[i]);
        count = gather(r, all);
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += r->period_ms / 1000;
        until.tv_nsec += r->period_ms % 1000 * 1000000L;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        pthread_mutex_lock(&r->lock);
        if (!same(r, all, count)) {
            memcpy(r->found, all, count * sizeof *all);
            r->found_count = count;
            if (write(r->event_fd, &one, sizeof one) < 0)
                r->found_count = 0; /* cannot be; then it is told the next time */
        }
        while (!r->stop && pthread_cond_timedwait(&r->wake, &r->lock, &until) == 0)
            ;
        stop = r->stop;
        pthread_mutex_unlock(&r->lock);
    } while (!stop);
    leave(r);
    return NULL;
}

static struct real_resolver *resolver_new(const char *const *names, size_t count, int period_ms)
{
    struct real_resolver *r = calloc(1, sizeof *r);
    pthread_condattr_t monotonic;

    if (r == NULL)
        return NULL;
    if ((r->names = calloc(count + 1, sizeof *r->names)) == NULL ||
        (r->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0) {
        free(r->names);
        free(r);
        return NULL;
    }
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&r->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    r->period_ms = period_ms;
    for (size_t i = 0; i < count; i++)
        if (strlen(names[i]) < NAME_MAX_BYTES)
            strcpy(r->names[r->name_count++].text, names[i]);
    r->owners = 1;
    return r;
}

bool real_transport_seeds(struct real_transport *rt, const char *const *names, size_t count, int period_ms,
                          void (*found)(void *owner, const struct address *, size_t), void *owner)
{
    struct real_resolver *r = resolver_new(names, count, period_ms);
    pthread_attr_t detached;
    pthread_t thread;
    int error;

    if (r == NULL)
        return false;
    real_resolver_free(rt);
    rt->seeds_found = found;
    rt->seeds_owner = owner;
    r->owners = 2;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    error = real_watch(rt, r->event_fd, EPOLLIN, REAL_RESOLVER)
                ? pthread_create(&thread, &detached, resolve, r)
                : -1;
    pthread_attr_destroy(&detached);
    if (error != 0) {
        r->owners = 1;
        leave(r);
        return false;
    }
    rt->resolver = r;
    return true;
}

void real_resolver_free(struct real_transport *rt)
{
    if (rt->resolver == NULL)
        return;
    epoll_ctl(rt->epoll_fd, EPOLL_CTL_DEL, rt->resolver->event_fd, NULL);
    leave(rt->resolver);
    rt->resolver = NULL;
}

void real_resolver_event(struct real_transport *rt)
{
    struct address found[FOUND_MAX];
    uint64_t times;
    size_t count;

    if (rt->resolver == NULL || read(rt->resolver->event_fd, &times, sizeof times) < 0)
        return;
    pthread_mutex_lock(&rt->resolver->lock);
    count = 0;
    for (size_t i = 0; i < rt->resolver->found_count; i++)
        if (rt->family == AF_INET6 || address_is_v4(&rt->resolver->found[i])) /* what we can reach */
            found[count++] = rt->resolver->found[i];
    pthread_mutex_unlock(&rt->resolver->lock);
    rt->seeds_found(rt->seeds_owner, found, count);
}
