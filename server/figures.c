#include "server/figures.h"

#include <stdlib.h>
#include <string.h>

enum {
    CLOSER_BATCHES = 64,
    BUCKET_BITS = 2, /* four buckets per power of two */
    NS_BITS = FIGURES_BUCKETS >> BUCKET_BITS,
};

struct figures *figures_new(void)
{
    struct figures *f = calloc(1, sizeof *f);

    if (f == NULL || (f->rows = calloc(command_count(), sizeof *f->rows)) == NULL) {
        free(f);
        return NULL;
    }
    f->first = command_at(0);
    return f;
}

void figures_free(struct figures **figures)
{
    struct figures *f = *figures;

    *figures = NULL;
    if (f == NULL)
        return;
    for (size_t i = 0; i < command_count(); i++)
        free(atomic_load_explicit(&f->rows[i].histogram, memory_order_relaxed));
    for (size_t i = 0; i < FIGURES_SUBCOMMANDS; i++)
        free(atomic_load_explicit(&f->subcommands[i].figures.histogram, memory_order_relaxed));
    free(f->rows);
    free(f);
}

/* ---- buckets ---- */

unsigned figures_bucket(uint64_t ns)
{
    const uint64_t most = (UINT64_C(1) << NS_BITS) - 1;
    unsigned top;

    if (ns > most)
        ns = most;
    if (ns < 1 << BUCKET_BITS)
        ns = 1 << BUCKET_BITS;
    top = 63 - (unsigned)__builtin_clzll(ns);
    return top << BUCKET_BITS | (unsigned)(ns >> (top - BUCKET_BITS) & ((1 << BUCKET_BITS) - 1));
}

uint64_t figures_bucket_end(unsigned bucket)
{
    unsigned top = bucket >> BUCKET_BITS;
    uint64_t part = (bucket & ((1 << BUCKET_BITS) - 1)) + 1;

    if (top < BUCKET_BITS)
        return 1 << BUCKET_BITS;
    return (UINT64_C(1) << top) + (part << (top - BUCKET_BITS));
}

uint64_t figures_percentile(const uint64_t histogram[FIGURES_BUCKETS], double percent)
{
    uint64_t total = 0, seen = 0;
    unsigned last = 0;

    for (unsigned i = 0; i < FIGURES_BUCKETS; i++)
        total += histogram[i];
    for (unsigned i = 0; i < FIGURES_BUCKETS; i++) {
        if (histogram[i] == 0)
            continue;
        seen += histogram[i];
        last = i;
        if ((double)seen >= (double)total * percent / 100)
            break;
    }
    return total > 0 ? figures_bucket_end(last) - 1 : 0;
}

/* ---- the worker's side ---- */

void figures_batch_begin(struct figures *f, unsigned requests, bool every)
{
    f->one_by_one = every || requests < FIGURES_SHORT;
    if (!f->one_by_one && f->attention > 0) {
        f->attention--;
        f->one_by_one = true;
    } else if (!f->one_by_one) { /* by the dice: every n-th batch may be every n-th of a client's loop */
        f->dice = f->dice * 1664525 + 1013904223;
        f->one_by_one = (f->dice >> 16) % FIGURES_SAMPLE == 0;
    }
    f->batch_known = 0;
    f->clock = f->batch_began = ticks_now();
}

uint64_t figures_batch_end(const struct figures *f)
{
    if (f->one_by_one)
        return 0;
    return ticks_to_ns(ticks_between(f->batch_began + f->batch_known, ticks_now()));
}

void figures_look_closer(struct figures *f)
{
    f->attention = CLOSER_BATCHES;
}

/* The row of a subcommand, by the address of its name. NULL when the table is full. */
static struct command_figures *subcommand_row(struct figures *f, const char *name)
{
    size_t at = (size_t)((uintptr_t)name * UINT64_C(0x9e3779b97f4a7c15) >> 32) % FIGURES_SUBCOMMANDS;

    for (size_t i = 0; i < FIGURES_SUBCOMMANDS; i++) {
        struct subcommand_figures *sub = &f->subcommands[(at + i) % FIGURES_SUBCOMMANDS];
        const char *there = atomic_load_explicit(&sub->name, memory_order_relaxed);

        if (there == NULL)
            atomic_store_explicit(&sub->name, name, memory_order_relaxed);
        if (there == NULL || there == name)
            return &sub->figures;
    }
    return NULL;
}

static void store_sum(uint64_t *figure, uint64_t n)
{
    __atomic_store_n(figure, *figure + n, __ATOMIC_RELAXED);
}

static uint64_t *histogram_of(struct command_figures *row)
{
    uint64_t *h = atomic_load_explicit(&row->histogram, memory_order_relaxed);

    if (h == NULL && (h = calloc(FIGURES_BUCKETS, sizeof *h)) != NULL)
        /* Pairs with the acquire load in row_add(): who sees it sees the zeroes. */
        atomic_store_explicit(&row->histogram, h, memory_order_release);
    return h;
}

static bool is_subcommand(const char *name, const struct command *command)
{
    size_t len;

    if (name == command->name)
        return false;
    len = strlen(command->name);
    return strncmp(name, command->name, len) == 0 && name[len] == '|';
}

uint64_t figures_end(struct figures *f, const struct command *command, const char *name, uint64_t began,
                     bool failed, bool tracking)
{
    struct command_figures *row = figures_of(f, command), *sub;
    uint64_t now = ticks_now(), ns = ticks_to_ns(ticks_between(began, now));
    uint64_t *histogram;

    f->clock = now;
    f->batch_known += ticks_between(began, now);
    if (is_subcommand(name, command) && (sub = subcommand_row(f, name)) != NULL)
        row = sub;
    figures_count(&row->calls);
    figures_count(&row->timed);
    store_sum(&row->ns, ns);
    if (failed)
        figures_count(&row->failed);
    if (tracking && (histogram = histogram_of(row)) != NULL)
        figures_count(&histogram[figures_bucket(ns)]);
    return ns;
}

/* ---- sums ---- */

static void row_add(struct command_figures *total, const struct command_figures *one)
{
    uint64_t *mine, *theirs = atomic_load_explicit(&one->histogram, memory_order_acquire);

    total->calls += __atomic_load_n(&one->calls, __ATOMIC_RELAXED);
    total->timed += __atomic_load_n(&one->timed, __ATOMIC_RELAXED);
    total->ns += __atomic_load_n(&one->ns, __ATOMIC_RELAXED);
    total->rejected += __atomic_load_n(&one->rejected, __ATOMIC_RELAXED);
    total->failed += __atomic_load_n(&one->failed, __ATOMIC_RELAXED);
    if (theirs == NULL || (mine = histogram_of(total)) == NULL)
        return;
    for (unsigned i = 0; i < FIGURES_BUCKETS; i++)
        mine[i] += __atomic_load_n(&theirs[i], __ATOMIC_RELAXED);
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static void row_subtract(struct command_figures *from, const struct command_figures *since)
{
    uint64_t *left = atomic_load_explicit(&from->histogram, memory_order_relaxed);
    const uint64_t *gone = atomic_load_explicit(&since->histogram, memory_order_relaxed);

    from->calls = less(from->calls, since->calls);
    from->timed = less(from->timed, since->timed);
    from->ns = less(from->ns, since->ns);
    from->rejected = less(from->rejected, since->rejected);
    from->failed = less(from->failed, since->failed);
    for (unsigned i = 0; left != NULL && gone != NULL && i < FIGURES_BUCKETS; i++)
        left[i] = less(left[i], gone[i]);
}

void figures_add(struct figures *total, const struct figures *one)
{
    for (size_t i = 0; i < command_count(); i++)
        row_add(&total->rows[i], &one->rows[i]);
    for (size_t i = 0; i < FIGURES_SUBCOMMANDS; i++) {
        const struct subcommand_figures *sub = &one->subcommands[i];
        const char *name = atomic_load_explicit(&sub->name, memory_order_relaxed);
        struct command_figures *row = name != NULL ? subcommand_row(total, name) : NULL;

        if (row != NULL)
            row_add(row, &sub->figures);
    }
}

void figures_subtract(struct figures *total, const struct figures *since)
{
    for (size_t i = 0; i < command_count(); i++)
        row_subtract(&total->rows[i], &since->rows[i]);
    for (size_t i = 0; i < FIGURES_SUBCOMMANDS; i++) {
        const struct subcommand_figures *sub = &since->subcommands[i];
        const char *name = atomic_load_explicit(&sub->name, memory_order_relaxed);
        struct command_figures *row = name != NULL ? subcommand_row(total, name) : NULL;

        if (row != NULL)
            row_subtract(row, &sub->figures);
    }
}

struct command_figures *figures_named(struct figures *total, struct slice name)
{
    const struct command *command = command_find(name);

    if (command != NULL)
        return figures_of(total, command);
    for (size_t i = 0; i < FIGURES_SUBCOMMANDS; i++) {
        const char *there = atomic_load_explicit(&total->subcommands[i].name, memory_order_relaxed);

        if (there != NULL && slice_is(name, there))
            return &total->subcommands[i].figures;
    }
    return NULL;
}

/* In floating point, for the product may not fit: a figure of nine digits is exact enough. */
uint64_t figures_ns(const struct command_figures *row)
{
    if (row->timed == 0 || row->timed == row->calls)
        return row->ns;
    return (uint64_t)((double)row->ns / (double)row->timed * (double)row->calls);
}
