/* sim.c - runs stories from seeds.
 *
 *   sim                       the short ones, each from its usual seed
 *   sim --long                the long ones as well
 *   sim --story NAME          only that one, short or long
 *   sim --seed N --seeds M    from seeds N .. N + M - 1
 *   sim --list                what there is
 *
 * A story that fails prints the command that plays it again. Speaks TAP. */
#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *program;

void figure(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    printf("#   ");
    vprintf(fmt, args);
    printf("\n");
    fflush(stdout);
    va_end(args);
}

bool expect_failed(int line, const char *text)
{
    printf("#   line %d: %s does not hold\n", line, text);
    return false;
}

void sample_add(struct sample *s, double value)
{
    if (s->count == s->room) {
        s->room = s->room * 2 + 64;
        s->values = realloc(s->values, s->room * sizeof *s->values);
        if (s->values == NULL)
            abort();
    }
    s->values[s->count++] = value;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double sample_part(struct sample *s, double part)
{
    size_t at;

    if (s->count == 0)
        return -1;
    qsort(s->values, s->count, sizeof *s->values, by_value);
    at = (size_t)(part * (double)s->count);
    return s->values[at < s->count ? at : s->count - 1];
}

void sample_free(struct sample *s)
{
    free(s->values);
    *s = (struct sample){0};
}

static bool play(const struct story *story, uint64_t seed, unsigned *number)
{
    struct timespec start, end;
    bool good;

    clock_gettime(CLOCK_MONOTONIC, &start);
    good = story->tell(seed);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%sok %u - %s: %s (seed %llu, %.1f s)\n", good ? "" : "not ", ++*number, story->name, story->what,
           (unsigned long long)seed,
           (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) * 1e-9);
    if (!good)
        printf("#   again: %s --story %s --seed %llu\n", program, story->name, (unsigned long long)seed);
    fflush(stdout);
    return good;
}

int main(int argc, char **argv)
{
    const struct story *const books[] = {member_stories, fleet_stories};
    const char *only = NULL;
    bool all = false, good = true;
    unsigned long long seed = 1, seeds = 1;
    unsigned number = 0;

    program = argv[0];
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--long") == 0) {
            all = true;
        } else if (strcmp(argv[i], "--story") == 0 && i + 1 < argc) {
            only = argv[++i];
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            seed = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) {
            seeds = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--list") == 0) {
            for (size_t k = 0; k < sizeof books / sizeof *books; k++)
                for (const struct story *s = books[k]; s->name != NULL; s++)
                    printf("%-24s %s%s\n", s->name, s->what, s->is_long ? " (long)" : "");
            return 0;
        } else {
            fprintf(stderr, "usage: %s [--long] [--story NAME] [--seed N] [--seeds N] [--list]\n", program);
            return 2;
        }
    }
    for (size_t k = 0; k < sizeof books / sizeof *books; k++)
        for (const struct story *s = books[k]; s->name != NULL; s++)
            for (unsigned long long i = 0; i < seeds; i++)
                if (only != NULL ? strcmp(only, s->name) == 0 : all || !s->is_long)
                    good = play(s, seed + i, &number) && good;
    printf("1..%u\n", number);
    return good && number > 0 ? 0 : 1;
}
