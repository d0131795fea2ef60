/* options.h - what the operator decides: corrald [file] [--name value]...
 *
 * options.def is the table; this is the machinery behind it. Rules:
 * (1) A value is checked before it is stored: a struct options is always valid.
 * (2) At the start only the main thread touches it. Afterwards changes go
 *     through options_change(), one at a time, under the server's lock for
 *     CONFIG SET. Rows marked START never change again: read them plainly.
 *     LIVE numbers, sizes, flags and choices are stored with relaxed atomics;
 *     other threads read them with option_live() and may see the old value for
 *     a moment. LIVE strings are replaced: read them under that same lock.
 * (3) Strings belong to the struct and are never NULL. */
#ifndef CORRAL_OPTIONS_H
#define CORRAL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
    OPTION_VALUE_MAX = 1024,                    /* bytes of any value as text, with its zero byte */
    OPTION_FILE_MAX = 4 * OPTION_VALUE_MAX + 8, /* the same as a file holds it: in quotes, escaped */
    OPTION_ERROR_MAX = 512
};

struct options {
    /* Decides which names maxmemory-policy takes. NULL: those in options.def. */
    bool (*policy_ok)(const char *name);
    char *file; /* whole path of the file they were read from; NULL: none */

#define FLAG(field, name, value, when, help)             bool field;
#define NUMBER(field, name, value, min, max, when, help) int field;
#define MODE(field, name, value, min, max, when, help)   int field;
#define SIZE(field, name, value, min, max, when, help)   size_t field;
#define SHARE(field, name, value, min, max, when, help)  size_t field;
#define CHOICE(field, name, value, choices, when, help)  int field;
#define TEXT(field, name, value, when, help)             char *field;
#define WORDS(field, name, value, when, help)            char *field;
#define RULES(field, name, value, when, help)            char *field;
#define POLICY(field, name, value, choices, when, help)  char *field;
#include "server/options.def"
};

/* Reads a LIVE number, size, flag or choice from any thread. Pairs with nothing:
 * the value stands alone, and a moment's delay does no harm. */
#define option_live(options, field) __atomic_load_n(&(options)->field, __ATOMIC_RELAXED)

/* A SHARE is bytes, or a percentage of something when this bit is set. */
#define OPTION_PERCENT (SIZE_MAX / 2 + 1)
/* How much that is, of a whole. 0 stays 0: no limit. */
static inline uint64_t option_share(size_t value, uint64_t whole)
{
    return value & OPTION_PERCENT ? whole / 100 * (value & ~OPTION_PERCENT) : value;
}

/* Why something was refused: one line, no newline at its end. */
struct option_error {
    char text[OPTION_ERROR_MAX];
};

/* Fills it with the defaults. What it held before is not looked at. */
void options_defaults(struct options *o);
/* Frees the strings; the struct itself is the caller's. Twice does no harm. */
void options_free(struct options *o);

enum options_verdict {
    OPTIONS_RUN, /* all read: start */
    OPTIONS_SHOW_HELP,
    OPTIONS_SHOW_VERSION,
    OPTIONS_SHOW_MAN,
    OPTIONS_SHOW_SAMPLE,
    OPTIONS_WRONG /* err says what and where */
};

/* Reads the command line, and the file it names first. Later values win. */
enum options_verdict options_parse_args(struct options *o, int argc, char *const *argv,
                                        struct option_error *err);
/* Reads "name value" lines; "-" is standard input. False: err says which line. What
 * stood above that line has been applied. */
bool options_load_file(struct options *o, const char *path, struct option_error *err);

/* Sets what one line of such a file says, overwriting the line; returns the option's
 * place in the table. */
enum { OPTION_LINE_EMPTY = -1, OPTION_LINE_WRONG = -2 };
int options_read_line(struct options *o, char *line, size_t length, struct option_error *err);
/* Writes the value of row i as such a line wants it: sizes with their unit, quotes where needed. */
void options_file_value(const struct options *o, size_t i, char value[OPTION_FILE_MAX]);
/* *to, which holds nothing, becomes the same as *from. False when memory is short. */
bool options_copy(struct options *to, const struct options *from);

enum option_status {
    OPTION_OK,
    OPTION_UNKNOWN,   /* no such name; err suggests one */
    OPTION_BAD_VALUE, /* err says what it may be, in the words redis clients know */
    OPTION_IMMUTABLE  /* a START row, and the node is running */
};

/* Sets one option at the start. Names are matched without regard to case. err
 * holds the reason alone, so that the caller can say where it came from. */
enum option_status options_set(struct options *o, const char *name, const char *value,
                               struct option_error *err);
/* The same for a running node, which refuses START rows. See rule 2. */
enum option_status options_change(struct options *o, const char *name, const char *value,
                                  struct option_error *err);
/* Writes the value as CONFIG GET shows it: sizes in bytes, flags as yes or no.
 * False if there is no such option. */
bool options_get(const struct options *o, const char *name, char value[OPTION_VALUE_MAX]);

/* The names, in the order of the table. */
size_t options_count(void);
const char *options_name(size_t i);
bool options_is_live(size_t i);

/* Texts made from the table. */
void options_print_help(FILE *out);
void options_print_version(FILE *out);
void options_print_man(FILE *out);    /* corrald(8), in roff */
void options_print_sample(FILE *out); /* every option, commented out, at its default */

#endif
