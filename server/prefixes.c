#include "server/prefixes.h"

#include <pthread.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { HEADS = 1024 };

struct prefix {
    struct prefix *next;
    struct prefix_counts counts; /* .prefix.data is name */
    uint8_t name[];
};

struct prefix_table {
    pthread_mutex_t lock;
    size_t len;
    struct prefix *heads[HEADS];
};

bool prefixes_init(struct prefixes *p)
{
    atomic_init(&p->on, false);
    p->table = calloc(1, sizeof *p->table);
    if (p->table == NULL)
        return false;
    pthread_mutex_init(&p->table->lock, NULL);
    return true;
}

static void forget(struct prefix_table *t)
{
    for (size_t i = 0; i < HEADS; i++) {
        for (struct prefix *next, *at = t->heads[i]; at != NULL; at = next) {
            next = at->next;
            free(at);
        }
        t->heads[i] = NULL;
    }
    t->len = 0;
}

void prefixes_free(struct prefixes *p)
{
    if (p->table == NULL)
        return;
    forget(p->table);
    pthread_mutex_destroy(&p->table->lock);
    free(p->table);
    p->table = NULL;
}

void prefixes_switch(struct prefixes *p, bool on)
{
    atomic_store_explicit(&p->on, on, memory_order_relaxed);
}

void prefixes_forget(struct prefixes *p)
{
    pthread_mutex_lock(&p->table->lock);
    forget(p->table);
    pthread_mutex_unlock(&p->table->lock);
}

/* NULL: not there, and not to be added. */
static struct prefix *find_or_add(struct prefix_table *t, struct slice name, size_t most)
{
    struct prefix **head = &t->heads[XXH3_64bits(name.data, name.len) % HEADS];
    struct prefix *p;

    for (p = *head; p != NULL; p = p->next)
        if (slice_equals(p->counts.prefix, name))
            return p;
    if (t->len >= most || (p = malloc(sizeof *p + name.len)) == NULL)
        return NULL;
    memcpy(p->name, name.data, name.len);
    p->counts = (struct prefix_counts){.prefix = {p->name, name.len}};
    p->next = *head;
    *head = p;
    t->len++;
    return p;
}

static void add(struct prefix_counts *counts, enum prefix_event event)
{
    switch (event) {
    case PREFIX_HIT: counts->hits++; /* fall through */
    case PREFIX_GET: counts->gets++; return;
    case PREFIX_SET: counts->sets++; return;
    case PREFIX_DELETE: counts->deletes++; return;
    }
}

bool prefixes_count(struct prefixes *p, struct slice key, enum prefix_event event, size_t most)
{
    const uint8_t *colon = key.len > 0 ? memchr(key.data, ':', key.len) : NULL;
    struct prefix *prefix;

    if (colon == NULL || colon == key.data)
        return true;
    pthread_mutex_lock(&p->table->lock);
    prefix = find_or_add(p->table, (struct slice){key.data, (size_t)(colon - key.data)}, most);
    if (prefix != NULL)
        add(&prefix->counts, event);
    pthread_mutex_unlock(&p->table->lock);
    return prefix != NULL;
}

void prefixes_each(struct prefixes *p, void (*visit)(void *arg, const struct prefix_counts *counts),
                   void *arg)
{
    pthread_mutex_lock(&p->table->lock);
    for (size_t i = 0; i < HEADS; i++)
        for (struct prefix *at = p->table->heads[i]; at != NULL; at = at->next)
            visit(arg, &at->counts);
    pthread_mutex_unlock(&p->table->lock);
}
