/* load_pick.c - uniform and zipf.
 *
 * The alias table has one cell per key. Every cell stands for an equal share
 * of the probability and splits it between its own rank and one other: below
 * `split` the cell's own, above it `other`. */
#include "bench/load_pick.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

struct cell {
    uint32_t split;
    uint32_t other;
};

struct pick_table {
    uint32_t keys;
    uint32_t stride;    /* rank -> key number; shares no factor with keys */
    struct cell *cells; /* NULL when uniform */
};

static uint32_t common_factor(uint32_t a, uint32_t b)
{
    while (b != 0) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static bool fill_cells(struct pick_table *t, double exponent)
{
    double *share = malloc(t->keys * sizeof *share); /* in units of one cell */
    uint32_t *rank = malloc(t->keys * sizeof *rank); /* poor ranks from the left, rich from the right */
    uint32_t poor = 0, rich = t->keys;
    double sum = 0;

    t->cells = malloc(t->keys * sizeof *t->cells);
    if (share == NULL || rank == NULL || t->cells == NULL) {
        free(share);
        free(rank);
        return false;
    }
    for (uint32_t i = 0; i < t->keys; i++)
        sum += share[i] = pow((double)i + 1, -exponent);
    for (uint32_t i = 0; i < t->keys; i++) {
        share[i] *= (double)t->keys / sum;
        if (share[i] < 1)
            rank[poor++] = i;
        else
            rank[--rich] = i;
    }
    /* Each poor rank's cell is topped up by a rich one, which may turn poor by it. */
    while (poor > 0 && rich < t->keys) {
        uint32_t p = rank[--poor], r = rank[rich];

        t->cells[p] = (struct cell){(uint32_t)(share[p] * 4294967295.0), r};
        share[r] -= 1 - share[p];
        if (share[r] < 1) {
            rich++;
            rank[poor++] = r;
        }
    }
    /* Rounding leaves some over on one side; they fill their cells alone. */
    while (poor > 0) {
        uint32_t p = rank[--poor];
        t->cells[p] = (struct cell){UINT32_MAX, p};
    }
    while (rich < t->keys) {
        uint32_t r = rank[rich++];
        t->cells[r] = (struct cell){UINT32_MAX, r};
    }
    free(share);
    free(rank);
    return true;
}

struct pick_table *pick_table_new(enum pick_kind kind, uint32_t keys, double exponent)
{
    struct pick_table *t = calloc(1, sizeof *t);

    if (t == NULL)
        return NULL;
    t->keys = keys;
    t->stride = (uint32_t)((double)keys * 0.6180339887) | 1;
    while (common_factor(t->stride, keys) != 1)
        t->stride++;
    if (kind == PICK_ZIPF && !fill_cells(t, exponent))
        pick_table_free(&t);
    return t;
}

void pick_table_free(struct pick_table **t)
{
    if (*t != NULL)
        free((*t)->cells);
    free(*t);
    *t = NULL;
}

uint32_t pick_next(const struct pick_table *t, uint64_t *dice)
{
    uint64_t roll = dice_roll(dice);
    uint32_t at = (uint32_t)(((roll >> 32) * t->keys) >> 32);
    struct cell cell;

    if (t->cells == NULL)
        return at;
    cell = t->cells[at];
    if ((uint32_t)roll > cell.split)
        at = cell.other;
    return (uint32_t)((uint64_t)at * t->stride % t->keys);
}
