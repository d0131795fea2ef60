#include "server/latency.h"

#include <pthread.h>
#include <stdlib.h>

static const char *const names[LATENCY_KINDS] = {"command", "fast-command", "expire-cycle"};

/* A ring: the newest sample is at `next` - 1. */
struct ring {
    unsigned next, len;
    uint32_t ms_max;
    struct latency_sample sample[LATENCY_SAMPLES];
};

struct latency {
    pthread_mutex_t lock;
    struct ring rings[LATENCY_KINDS];
};

struct latency *latency_new(void)
{
    struct latency *l = calloc(1, sizeof *l);

    if (l != NULL)
        pthread_mutex_init(&l->lock, NULL);
    return l;
}

void latency_free(struct latency **latency)
{
    if (*latency == NULL)
        return;
    pthread_mutex_destroy(&(*latency)->lock);
    free(*latency);
    *latency = NULL;
}

static void ring_add(struct ring *r, int64_t seconds, uint32_t ms)
{
    struct latency_sample *newest = &r->sample[(r->next + LATENCY_SAMPLES - 1) % LATENCY_SAMPLES];

    if (ms > r->ms_max)
        r->ms_max = ms;
    if (r->len > 0 && newest->seconds == seconds) {
        if (ms > newest->ms)
            newest->ms = ms;
        return;
    }
    r->sample[r->next] = (struct latency_sample){seconds, ms};
    r->next = (r->next + 1) % LATENCY_SAMPLES;
    if (r->len < LATENCY_SAMPLES)
        r->len++;
}

void latency_add(struct latency *l, enum latency_kind kind, int64_t seconds, uint32_t ms)
{
    pthread_mutex_lock(&l->lock);
    ring_add(&l->rings[kind], seconds, ms);
    pthread_mutex_unlock(&l->lock);
}

bool latency_look(struct latency *l, enum latency_kind kind, struct latency_event *out)
{
    struct ring *r = &l->rings[kind];

    pthread_mutex_lock(&l->lock);
    *out = (struct latency_event){.name = names[kind], .samples = r->len, .ms_max = r->ms_max};
    for (unsigned i = 0; i < r->len; i++)
        out->sample[i] = r->sample[(r->next + LATENCY_SAMPLES - r->len + i) % LATENCY_SAMPLES];
    pthread_mutex_unlock(&l->lock);
    return out->samples > 0;
}

enum latency_kind latency_named(struct slice name)
{
    enum latency_kind kind = 0;

    while (kind < LATENCY_KINDS && !slice_is(name, names[kind]))
        kind++;
    return kind;
}

bool latency_reset(struct latency *l, enum latency_kind kind)
{
    bool was;

    pthread_mutex_lock(&l->lock);
    was = l->rings[kind].len > 0;
    l->rings[kind] = (struct ring){0};
    pthread_mutex_unlock(&l->lock);
    return was;
}
