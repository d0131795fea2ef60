/* load_sizes.c - two columns of a table in Markdown. */
#include "bench/load_sizes.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { ROWS_MAX = 1024, COLUMNS_MAX = 64, VALUE_SIZE_MAX = 16 << 20 };

struct size_table {
    uint32_t count;
    struct {
        uint32_t key, value;
    } rows[ROWS_MAX];
};

/* Cuts "| a | b |" into its cells, without blanks around them. */
static unsigned split_cells(char *line, char *cells[COLUMNS_MAX])
{
    unsigned count = 0;

    if (line[0] != '|')
        return 0;
    for (char *at = line + 1, *end; count < COLUMNS_MAX && (end = strchr(at, '|')) != NULL; at = end + 1) {
        char *last = end;

        at += strspn(at, " \t");
        while (last > at && (last[-1] == ' ' || last[-1] == '\t'))
            last--;
        *last = '\0';
        cells[count++] = at;
    }
    return count;
}

static int find_cell(char *const *cells, unsigned count, const char *name)
{
    for (unsigned i = 0; i < count; i++)
        if (strcasecmp(cells[i], name) == 0)
            return (int)i;
    return -1;
}

static bool to_size(const char *text, uint32_t *size)
{
    char *end;
    long number = strtol(text, &end, 10);

    if (end == text || *end != '\0' || number < 1 || number > VALUE_SIZE_MAX)
        return false;
    *size = (uint32_t)number;
    return true;
}

static void read_rows(struct size_table *t, FILE *f)
{
    char *line = NULL, *cells[COLUMNS_MAX];
    size_t size = 0;
    int key = -1, value = -1;

    while (getline(&line, &size, f) >= 0 && t->count < ROWS_MAX) {
        unsigned count = split_cells(line, cells);

        if (key < 0 || value < 0) {
            key = find_cell(cells, count, "key size");
            value = find_cell(cells, count, "value size");
        } else if ((int)count > key && (int)count > value && to_size(cells[key], &t->rows[t->count].key) &&
                   to_size(cells[value], &t->rows[t->count].value)) {
            t->count++;
        }
    }
    free(line);
}

struct size_table *size_table_read(const char *path, char *why, size_t why_size)
{
    struct size_table *t = calloc(1, sizeof *t);
    FILE *f = fopen(path, "r");

    if (t == NULL || f == NULL) {
        snprintf(why, why_size, "%s: %s", path, strerror(errno));
        if (f != NULL)
            fclose(f);
        free(t);
        return NULL;
    }
    read_rows(t, f);
    fclose(f);
    if (t->count == 0) {
        snprintf(why, why_size, "%s: has no table with the columns 'key size' and 'value size'", path);
        size_table_free(&t);
    }
    return t;
}

void size_table_free(struct size_table **t)
{
    free(*t);
    *t = NULL;
}

void size_table_pick(const struct size_table *t, uint64_t hash, uint32_t *key_size, uint32_t *value_size)
{
    uint32_t row = (uint32_t)(((hash >> 32) * t->count) >> 32);

    *key_size = t->rows[row].key;
    *value_size = t->rows[row].value;
}
