/* evict.c - finds a policy by name or by position. */
#include "server/evict/policies.h"

#include <string.h>

static const struct evict_type *const types[] = {
#define EVICT_POLICY(name, help) &evict_##name,
#include "server/evict/policies.def"
#undef EVICT_POLICY
};

const struct evict_type *evict_type_at(size_t i)
{
    return i < sizeof(types) / sizeof(types[0]) ? types[i] : NULL;
}

const struct evict_type *evict_type_find(const char *name)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(types[i]->name, name) == 0)
            return types[i];
    return strcmp(name, evict_wtinylfu_doorkeeper.name) == 0 ? &evict_wtinylfu_doorkeeper : NULL;
}
