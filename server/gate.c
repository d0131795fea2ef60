#include "server/gate.h"

#include "server/spin.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { SPINS = 2000 }; /* about as long as others take for a batch of small requests */

struct gate_slot {
    _Alignas(64) _Atomic bool inside;
};

struct gate {
    unsigned workers;
    pthread_mutex_t turn; /* held by whoever has closed the gate, or is about to */
    pthread_mutex_t lock;
    pthread_cond_t left;
    _Alignas(64) _Atomic bool closed;
    struct gate_slot slots[];
};

struct gate *gate_new(unsigned workers)
{
    struct gate *g = aligned_alloc(64, sizeof *g + workers * sizeof *g->slots);

    if (g == NULL)
        return NULL;
    g->workers = workers;
    pthread_mutex_init(&g->turn, NULL);
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->left, NULL);
    atomic_init(&g->closed, false);
    for (unsigned i = 0; i < workers; i++)
        atomic_init(&g->slots[i].inside, false);
    return g;
}

void gate_free(struct gate **gate)
{
    struct gate *g = *gate;

    *gate = NULL;
    if (g == NULL)
        return;
    pthread_cond_destroy(&g->left);
    pthread_mutex_destroy(&g->lock);
    pthread_mutex_destroy(&g->turn);
    free(g);
}

/* Sequentially consistent, here and in gate_close(): each side writes its own
 * flag and then reads the other's, and at least one of them must see it. */
bool gate_enter(struct gate *g, unsigned worker)
{
    bool waited = false;

    if (g->workers == 1)
        return false;
    for (;; waited = true) {
        atomic_store(&g->slots[worker].inside, true);
        if (!atomic_load(&g->closed))
            return waited;
        gate_leave(g, worker);
        pthread_mutex_lock(&g->turn);
        pthread_mutex_unlock(&g->turn);
    }
}

void gate_leave(struct gate *g, unsigned worker)
{
    if (g->workers == 1)
        return;
    atomic_store(&g->slots[worker].inside, false);
    if (atomic_load(&g->closed)) {
        pthread_mutex_lock(&g->lock);
        pthread_cond_signal(&g->left);
        pthread_mutex_unlock(&g->lock);
    }
}

static void wait_until_outside(struct gate *g, struct gate_slot *slot)
{
    for (unsigned spins = 0; spins < SPINS; spins++) {
        if (!atomic_load(&slot->inside))
            return;
        spin_pause();
    }
    pthread_mutex_lock(&g->lock);
    while (atomic_load(&slot->inside))
        pthread_cond_wait(&g->left, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

void gate_close(struct gate *g, unsigned worker)
{
    gate_leave(g, worker);
    pthread_mutex_lock(&g->turn);
    if (g->workers == 1)
        return;
    atomic_store(&g->closed, true);
    for (unsigned i = 0; i < g->workers; i++)
        wait_until_outside(g, &g->slots[i]);
}

void gate_open(struct gate *g, unsigned worker)
{
    if (g->workers > 1) {
        atomic_store(&g->slots[worker].inside, true);
        atomic_store(&g->closed, false);
    }
    pthread_mutex_unlock(&g->turn);
}

void gate_visit(struct gate *g)
{
    pthread_mutex_lock(&g->turn);
}

void gate_depart(struct gate *g)
{
    pthread_mutex_unlock(&g->turn);
}
