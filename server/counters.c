#include "server/counters.h"

#include <string.h>

#include "server/check.h"

struct counter_row {
    const char *name;
    const char *help;
    size_t offset;
};

static const struct counter_row rows[] = {
#define COUNTER(name, help) {#name, help, offsetof(struct counters, name)},
#include "server/counters.def"
};

enum { ROWS = sizeof rows / sizeof rows[0] };

static uint64_t *counter_slot(struct counters *c, size_t i)
{
    return (uint64_t *)(void *)((char *)c + rows[i].offset);
}

void counters_sum(struct counters *const *all, size_t n, struct counters *out)
{
    memset(out, 0, sizeof *out);
    for (size_t worker = 0; worker < n; worker++) {
        for (size_t i = 0; i < ROWS; i++)
            *counter_slot(out, i) += counters_value(all[worker], i);
    }
}

void counters_subtract(struct counters *from, const struct counters *since)
{
    for (size_t i = 0; i < ROWS; i++) {
        uint64_t *left = counter_slot(from, i);
        uint64_t gone = counters_value(since, i);

        *left = *left > gone ? *left - gone : 0;
    }
}

size_t counters_count(void)
{
    return ROWS;
}

const char *counters_name(size_t i)
{
    CHECK(i < ROWS);
    return rows[i].name;
}

const char *counters_help(size_t i)
{
    CHECK(i < ROWS);
    return rows[i].help;
}

/* Pairs with the relaxed store in counter_add(): no figure is ever torn. */
uint64_t counters_value(const struct counters *c, size_t i)
{
    CHECK(i < ROWS);
    return __atomic_load_n((const uint64_t *)(const void *)((const char *)c + rows[i].offset),
                           __ATOMIC_RELAXED);
}
