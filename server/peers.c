#include "server/peers.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "server/check.h"

enum { BUCKETS_FIRST = 64 };

struct peer {
    struct peer *next; /* in its bucket */
    uint64_t network;  /* the address, or the upper half of it */
    uint32_t connections;
    bool is_v6;
};

struct peers {
    pthread_mutex_t lock;
    struct peer **buckets;
    size_t buckets_len, len; /* buckets_len is a power of two */
    uint64_t seed;           /* or one could choose addresses that share a bucket */
};

struct peers *peers_new(void)
{
    struct peers *p = calloc(1, sizeof *p);

    if (p == NULL || (p->buckets = calloc(BUCKETS_FIRST, sizeof(struct peer *))) == NULL) {
        free(p);
        return NULL;
    }
    p->buckets_len = BUCKETS_FIRST;
    if (getrandom(&p->seed, sizeof p->seed, 0) != sizeof p->seed)
        p->seed = (uintptr_t)p;
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

void peers_free(struct peers **peers)
{
    struct peers *p = *peers;

    *peers = NULL;
    if (p == NULL)
        return;
    CHECK(p->len == 0);
    pthread_mutex_destroy(&p->lock);
    free(p->buckets);
    free(p);
}

static struct peer **bucket_of(struct peers *p, uint64_t network)
{
    return &p->buckets[XXH3_64bits_withSeed(&network, sizeof network, p->seed) & (p->buckets_len - 1)];
}

/* Where it does not succeed the chains just grow. */
static void make_room(struct peers *p)
{
    struct peer **old = p->buckets, **more;
    size_t old_len = p->buckets_len;

    if (p->len < old_len || (more = calloc(2 * old_len, sizeof(struct peer *))) == NULL)
        return;
    p->buckets = more;
    p->buckets_len = 2 * old_len;
    for (size_t i = 0; i < old_len; i++) {
        struct peer *peer, *next;

        for (peer = old[i]; peer != NULL; peer = next) {
            struct peer **bucket = bucket_of(p, peer->network);

            next = peer->next;
            peer->next = *bucket;
            *bucket = peer;
        }
    }
    free(old);
}

static bool network_of(const struct sockaddr_storage *from, uint64_t *network)
{
    *network = 0;
    if (from->ss_family == AF_INET)
        memcpy(network, &((const struct sockaddr_in *)from)->sin_addr, 4);
    else if (from->ss_family == AF_INET6)
        memcpy(network, &((const struct sockaddr_in6 *)from)->sin6_addr, 8);
    else
        return false;
    return true;
}

struct peer *peers_enter(struct peers *p, const struct sockaddr_storage *from, uint32_t *count)
{
    bool is_v6 = from->ss_family == AF_INET6;
    uint64_t network;
    struct peer *peer;

    *count = 0;
    if (!network_of(from, &network))
        return NULL;
    pthread_mutex_lock(&p->lock);
    for (peer = *bucket_of(p, network); peer != NULL; peer = peer->next) {
        if (peer->network == network && peer->is_v6 == is_v6)
            break;
    }
    if (peer == NULL && (peer = calloc(1, sizeof *peer)) != NULL) {
        make_room(p);
        struct peer **bucket = bucket_of(p, network);
        *peer = (struct peer){.next = *bucket, .network = network, .is_v6 = is_v6};
        *bucket = peer;
        p->len++;
    }
    if (peer != NULL)
        *count = ++peer->connections;
    pthread_mutex_unlock(&p->lock);
    return peer;
}

void peers_leave(struct peers *p, struct peer **peer)
{
    struct peer *gone = *peer, **at;

    *peer = NULL;
    if (gone == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    CHECK(gone->connections > 0);
    if (--gone->connections == 0) {
        for (at = bucket_of(p, gone->network); *at != gone; at = &(*at)->next)
            CHECK(*at != NULL);
        *at = gone->next;
        p->len--;
        free(gone);
    }
    pthread_mutex_unlock(&p->lock);
}

bool peer_is_local(const struct sockaddr_storage *from)
{
    if (from->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)from)->sin_addr.s_addr) >> 24 == 127;
    if (from->ss_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)from)->sin6_addr);
    return true; /* Unix sockets */
}
