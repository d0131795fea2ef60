/* load_args.h - a command line as a table: one row per option, one function that takes its value. */
#ifndef CORRAL_BENCH_LOAD_ARGS_H
#define CORRAL_BENCH_LOAD_ARGS_H

#include <stdint.h>

struct arg_row {
    int id; /* from 256 on, so that it cannot be a letter */
    const char *name;
    const char *argument; /* NULL = a switch */
    const char *help;
};

struct arg_table {
    const char *program; /* how errors and the help begin */
    const struct arg_row *rows;
    int count;
};

/* Called for every option found, in order; `value` is NULL for a switch. */
typedef void arg_taker(void *into, int id, const char *name, const char *value);

/* Prints a sentence and exits with 2 when the command line does not fit the
 * table. Returns where in argv the words begin that are no options; they are moved to its end. */
int args_read(const struct arg_table *table, int argc, char **argv, arg_taker *take, void *into);
/* For a program that takes options only: the same if there are such words. */
void args_no_more(int argc, char **argv, int from);
void args_print_help(const struct arg_table *table, const char *purpose);

/* The rest exit with 2 and a sentence as well. */
__attribute__((format(printf, 1, 2))) _Noreturn void arg_error(const char *format, ...);
uint64_t arg_number(const char *name, const char *text, uint64_t min, uint64_t max); /* 10k and 5m too */
double arg_real(const char *name, const char *text, double max);                     /* from 0 */

#endif
