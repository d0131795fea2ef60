/* load_args.c - getopt_long from a table. */
#include "bench/load_args.h"

#include "server/check.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS_MAX = 64 };

static const char *program = "corral-load";

_Noreturn void arg_error(const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s: ", program);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "; see %s --help\n", program);
    exit(2);
}

void args_print_help(const struct arg_table *table, const char *purpose)
{
    printf("%s [--name value]... - %s\n\n", table->program, purpose);
    for (int i = 0; i < table->count; i++) {
        const struct arg_row *row = &table->rows[i];
        char left[40];

        snprintf(left, sizeof left, "--%s %s", row->name, row->argument != NULL ? row->argument : "");
        printf("  %-24s %s\n", left, row->help);
    }
}

uint64_t arg_number(const char *name, const char *text, uint64_t min, uint64_t max)
{
    char *end;
    uint64_t number, unit = 1;

    errno = 0;
    number = strtoull(text, &end, 10);
    if (*end == 'k' || *end == 'm') {
        unit = *end == 'k' ? 1000 : 1000000;
        end++;
    }
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || number > max / unit ||
        number * unit < min)
        arg_error("--%s wants a number from %llu to %llu, not '%s'", name, (unsigned long long)min,
                  (unsigned long long)max, text);
    return number * unit;
}

double arg_real(const char *name, const char *text, double max)
{
    char *end;
    double number = strtod(text, &end);

    if (end == text || *end != '\0' || !(number >= 0) || number > max)
        arg_error("--%s wants a number from 0 to %.0f, not '%s'", name, max, text);
    return number;
}

int args_read(const struct arg_table *table, int argc, char **argv, arg_taker *take, void *into)
{
    struct option names[ROWS_MAX + 1] = {0};
    int id;

    CHECK(table->count <= ROWS_MAX);
    program = table->program;
    for (int i = 0; i < table->count; i++)
        names[i] = (struct option){table->rows[i].name,
                                   table->rows[i].argument != NULL ? required_argument : no_argument, NULL,
                                   table->rows[i].id};
    opterr = 0;
    for (int at = 0; (id = getopt_long(argc, argv, ":", names, &at)) != -1;) {
        if (id == ':')
            arg_error("%s wants a value", argv[optind - 1]);
        if (id == '?')
            arg_error("no such option: %s", argv[optind - 1]);
        take(into, id, names[at].name, optarg);
    }
    return optind;
}

void args_no_more(int argc, char **argv, int from)
{
    if (from < argc)
        arg_error("what is '%s'?", argv[from]);
}
