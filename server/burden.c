#include "server/burden.h"

static unsigned class_of(size_t bytes)
{
    unsigned class = bytes > 0 ? 64 - (unsigned)__builtin_clzll(bytes) : 0;

    return class < BURDEN_CLASSES ? class : BURDEN_CLASSES - 1;
}

static uint64_t filled(struct burden_list *list)
{
    return atomic_load_explicit(&list->filled, memory_order_relaxed);
}

/* Only the owner stores, so nothing can come in between. */
static void mark(struct burden_list *list, unsigned class)
{
    uint64_t bit = UINT64_C(1) << class;
    uint64_t now = list->heads[class] != NULL ? filled(list) | bit : filled(list) & ~bit;

    atomic_store_explicit(&list->filled, now, memory_order_relaxed);
}

static void leave(struct burden_list *list, struct burden *b)
{
    if (b->prev != NULL)
        b->prev->next = b->next;
    else
        list->heads[b->class] = b->next;
    if (b->next != NULL)
        b->next->prev = b->prev;
    mark(list, b->class);
    *b = (struct burden){0};
}

static void enter(struct burden_list *list, struct burden *b, unsigned class)
{
    b->class = class;
    b->next = list->heads[class];
    if (b->next != NULL)
        b->next->prev = b;
    list->heads[class] = b;
    mark(list, class);
}

void burden_set(struct burden_list *list, struct burden *b, size_t bytes)
{
    unsigned class = class_of(bytes);

    if (class == b->class)
        return;
    if (b->class != 0)
        leave(list, b);
    if (class != 0)
        enter(list, b, class);
}

unsigned burden_class(struct burden_list *list)
{
    uint64_t classes = filled(list);

    return classes != 0 ? 63 - (unsigned)__builtin_clzll(classes) : 0;
}

struct burden *burden_heaviest(struct burden_list *list)
{
    return list->heads[burden_class(list)]; /* class 0 is always empty */
}

static struct burden *first_above(struct burden_list *list, unsigned class)
{
    while (++class < BURDEN_CLASSES) {
        if (list->heads[class] != NULL)
            return list->heads[class];
    }
    return NULL;
}

struct burden *burden_first(struct burden_list *list)
{
    return first_above(list, 0);
}

struct burden *burden_next(struct burden_list *list, struct burden *b)
{
    return b->next != NULL ? b->next : first_above(list, b->class);
}
