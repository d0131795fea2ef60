#include "server/options.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config.h"
#include "server/check.h"

enum option_kind {
    KIND_FLAG,
    KIND_NUMBER,
    KIND_MODE,
    KIND_SIZE,
    KIND_SHARE,
    KIND_CHOICE,
    KIND_TEXT,
    KIND_WORDS,
    KIND_RULES,
    KIND_POLICY,
    KIND_FIXED
};

struct option_row {
    const char *name;
    const char *value;   /* the default, as an operator writes it */
    const char *choices; /* CHOICE, POLICY: separated by spaces */
    const char *help;
    size_t offset; /* of the field in struct options; 0, policy_ok's place, for FIXED */
    uint64_t min;  /* NUMBER: as int64_t, may be negative */
    uint64_t max;
    enum option_kind kind;
    bool live;
};

enum { WORDS_MAX = 64, NAME_MAX_LENGTH = 40 };

#define START        false
#define LIVE         true
#define KIB          (UINT64_C(1) << 10)
#define MIB          (UINT64_C(1) << 20)
#define TIB          (UINT64_C(1) << 40)
#define FIELD(field) offsetof(struct options, field)

/* clang-format off */
static const struct option_row rows[] = {
#define FLAG(field, name, value, when, help)             {name, value, "", help, FIELD(field), 0, 0, KIND_FLAG, when},
#define NUMBER(field, name, value, min, max, when, help) {name, value, "", help, FIELD(field), (uint64_t)(min), (uint64_t)(max), KIND_NUMBER, when},
#define MODE(field, name, value, min, max, when, help)   {name, value, "", help, FIELD(field), min, max, KIND_MODE, when},
#define SIZE(field, name, value, min, max, when, help)   {name, value, "", help, FIELD(field), min, max, KIND_SIZE, when},
#define SHARE(field, name, value, min, max, when, help)  {name, value, "", help, FIELD(field), min, max, KIND_SHARE, when},
#define CHOICE(field, name, value, choices, when, help)  {name, value, choices, help, FIELD(field), 0, 0, KIND_CHOICE, when},
#define TEXT(field, name, value, when, help)             {name, value, "", help, FIELD(field), 0, 0, KIND_TEXT, when},
#define WORDS(field, name, value, when, help)            {name, value, "", help, FIELD(field), 0, 0, KIND_WORDS, when},
#define RULES(field, name, value, when, help)            {name, value, "", help, FIELD(field), 0, 0, KIND_RULES, when},
#define POLICY(field, name, value, choices, when, help)  {name, value, choices, help, FIELD(field), 0, 0, KIND_POLICY, when},
#define FIXED(name, value, help)                         {name, value, "", help, 0, 0, 0, KIND_FIXED, LIVE},
#include "server/options.def"
};
/* clang-format on */

enum { ROWS = sizeof rows / sizeof rows[0] };

/* One of our own rows, never NULL: a field of the kind the table says. */
static void *field_of(const struct options *o, const struct option_row *row)
{
    CHECK(row->kind != KIND_FIXED);
    return (void *)((uintptr_t)o + row->offset);
}

static bool is_string(const struct option_row *row)
{
    return row->kind == KIND_TEXT || row->kind == KIND_WORDS || row->kind == KIND_RULES ||
           row->kind == KIND_POLICY;
}

__attribute__((format(printf, 2, 3))) static void say(struct option_error *err, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    for (char *p = err->text; *p != '\0'; p++) { /* it is one line, whatever it quotes */
        if (iscntrl((unsigned char)*p))
            *p = '?';
    }
}

/* ---- names ---------------------------------------------------------- */

static const struct option_row *row_find(const char *name)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (strcasecmp(rows[i].name, name) == 0)
            return &rows[i];
    }
    return NULL;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* How many letters to add, drop, change or swap with their neighbour to get
 * from a to b. Both are at most NAME_MAX_LENGTH long. */
static unsigned typing_distance(const char *a, const char *b)
{
    unsigned d[NAME_MAX_LENGTH + 1][NAME_MAX_LENGTH + 1];
    size_t a_length = strlen(a);
    size_t b_length = strlen(b);

    for (size_t i = 0; i <= a_length; i++)
        d[i][0] = (unsigned)i;
    for (size_t j = 0; j <= b_length; j++)
        d[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a_length; i++) {
        for (size_t j = 1; j <= b_length; j++) {
            unsigned change = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]) ? 0 : 1;

            d[i][j] = least(d[i - 1][j - 1] + change, least(d[i - 1][j], d[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[a_length][b_length];
}

/* The option somebody probably meant, NULL if it is anybody's guess. */
static const struct option_row *row_nearest(const char *name)
{
    const struct option_row *best = NULL;
    unsigned best_distance = UINT_MAX;

    if (strlen(name) > NAME_MAX_LENGTH)
        return NULL;
    for (size_t i = 0; i < ROWS; i++) {
        unsigned distance = typing_distance(name, rows[i].name);

        if (distance < best_distance) {
            best_distance = distance;
            best = &rows[i];
        }
    }
    return best_distance <= 1 + strlen(name) / 4 ? best : NULL;
}

static enum option_status refuse_unknown(const char *name, struct option_error *err)
{
    const struct option_row *near = row_nearest(name);

    if (near != NULL)
        say(err, "there is no such option; did you mean '%s'?", near->name);
    else
        say(err, "there is no such option; corrald --help lists them all");
    return OPTION_UNKNOWN;
}

/* ---- values in ------------------------------------------------------ */

/* Digits and nothing else. False also when it does not fit. */
static bool parse_digits(const char *text, size_t length, unsigned base, uint64_t *out)
{
    uint64_t n = 0;

    if (length == 0)
        return false;
    for (size_t i = 0; i < length; i++) {
        unsigned digit = (unsigned)(text[i] - '0');

        if (text[i] < '0' || digit >= base || n > (UINT64_MAX - digit) / base)
            return false;
        n = n * base + digit;
    }
    *out = n;
    return true;
}

static bool parse_size(const char *text, uint64_t *out)
{
    static const struct {
        const char *unit;
        uint64_t bytes;
    } units[] = {
        {"", 1},
        {"b", 1},
        {"k", 1000},
        {"kb", KIB},
        {"m", 1000000},
        {"mb", MIB},
        {"g", 1000000000},
        {"gb", UINT64_C(1) << 30},
        {"t", 1000000000000},
        {"tb", TIB},
    };
    size_t digits = strspn(text, "0123456789");
    uint64_t n;

    if (!parse_digits(text, digits, 10, &n))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcasecmp(text + digits, units[i].unit) == 0)
            return !__builtin_mul_overflow(n, units[i].bytes, out);
    }
    return false;
}

/* Where in a list of words separated by spaces: 0 for the first, -1 for nowhere. */
static int position_in(const char *list, const char *word)
{
    size_t length = strlen(word);
    int position = 0;

    for (const char *at = list; *at != '\0'; position++) {
        size_t word_length = strcspn(at, " ");

        if (word_length == length && strncasecmp(at, word, length) == 0)
            return position;
        at += word_length;
        at += strspn(at, " ");
    }
    return -1;
}

static enum option_status refuse_choice(const struct option_row *row, struct option_error *err)
{
    char list[OPTION_ERROR_MAX];
    size_t length = 0;

    for (const char *at = row->choices; *at != '\0' && length + 3 < sizeof list; at++) {
        if (*at == ' ')
            list[length++] = ',';
        list[length++] = *at;
    }
    list[length] = '\0';
    say(err, "argument(s) must be one of the following: %s", list);
    return OPTION_BAD_VALUE;
}

static enum option_status refuse_range(const struct option_row *row, struct option_error *err)
{
    if (row->min == row->max)
        say(err, "argument can only be %ju", (uintmax_t)row->min);
    else if (row->kind == KIND_MODE)
        say(err, "argument must be between %jo and %jo inclusive", (uintmax_t)row->min, (uintmax_t)row->max);
    else
        say(err, "argument must be between %jd and %jd inclusive", (intmax_t)row->min, (intmax_t)row->max);
    return OPTION_BAD_VALUE;
}

static enum option_status set_flag(bool *field, const char *value, struct option_error *err)
{
    bool yes = strcasecmp(value, "yes") == 0;

    if (!yes && strcasecmp(value, "no") != 0) {
        say(err, "argument must be 'yes' or 'no'");
        return OPTION_BAD_VALUE;
    }
    __atomic_store_n(field, yes, __ATOMIC_RELAXED);
    return OPTION_OK;
}

static enum option_status set_number(int *field, const struct option_row *row, const char *value,
                                     struct option_error *err)
{
    unsigned base = row->kind == KIND_MODE ? 8 : 10;
    bool negative = base == 10 && value[0] == '-';
    size_t length = strlen(value) - negative;
    uint64_t n;
    int64_t number;

    if (!parse_digits(value + negative, length, base, &n)) {
        say(err, base == 8 ? "argument couldn't be parsed as an octal number"
                           : "argument couldn't be parsed into an integer");
        return OPTION_BAD_VALUE;
    }
    if (n > INT_MAX)
        return refuse_range(row, err);
    number = negative ? -(int64_t)n : (int64_t)n;
    if (number < (int64_t)row->min || number > (int64_t)row->max)
        return refuse_range(row, err);
    __atomic_store_n(field, (int)number, __ATOMIC_RELAXED);
    return OPTION_OK;
}

static enum option_status set_size(size_t *field, const struct option_row *row, const char *value,
                                   struct option_error *err)
{
    uint64_t n;

    if (!parse_size(value, &n)) {
        say(err, "argument must be a memory value");
        return OPTION_BAD_VALUE;
    }
    if (n < row->min || n > row->max)
        return refuse_range(row, err);
    __atomic_store_n(field, (size_t)n, __ATOMIC_RELAXED);
    return OPTION_OK;
}

/* "10%", or bytes. */
static enum option_status set_share(size_t *field, const struct option_row *row, const char *value,
                                    struct option_error *err)
{
    size_t length = strlen(value);
    uint64_t percent;

    if (length == 0 || value[length - 1] != '%')
        return set_size(field, row, value, err);
    if (!parse_digits(value, length - 1, 10, &percent) || percent < 1 || percent > 100) {
        say(err, "argument must be a memory value or a percentage from 1%% to 100%%");
        return OPTION_BAD_VALUE;
    }
    __atomic_store_n(field, (size_t)percent | OPTION_PERCENT, __ATOMIC_RELAXED);
    return OPTION_OK;
}

static enum option_status set_choice(int *field, const struct option_row *row, const char *value,
                                     struct option_error *err)
{
    int position = position_in(row->choices, value);

    if (position < 0)
        return refuse_choice(row, err);
    __atomic_store_n(field, position, __ATOMIC_RELAXED);
    return OPTION_OK;
}

static enum option_status set_string(char **field, const char *value, struct option_error *err)
{
    if (strlen(value) >= OPTION_VALUE_MAX) {
        say(err, "argument must be at most %d bytes long", OPTION_VALUE_MAX - 1);
        return OPTION_BAD_VALUE;
    }

    char *copy = strdup(value);

    if (copy == NULL) {
        say(err, "out of memory");
        return OPTION_BAD_VALUE;
    }
    free(*field);
    *field = copy;
    return OPTION_OK;
}

/* Kept in lower case, as the policies' own names are. */
static enum option_status set_policy(struct options *o, const struct option_row *row, const char *value,
                                     struct option_error *err)
{
    char name[NAME_MAX_LENGTH + 1];
    size_t length = strlen(value);

    if (length > NAME_MAX_LENGTH)
        return refuse_choice(row, err);
    for (size_t i = 0; i <= length; i++)
        name[i] = (char)tolower((unsigned char)value[i]);
    if (o->policy_ok != NULL ? !o->policy_ok(name) : position_in(row->choices, name) < 0)
        return refuse_choice(row, err);
    return set_string(field_of(o, row), name, err);
}

static enum option_status row_set(struct options *o, const struct option_row *row, const char *value,
                                  struct option_error *err)
{
    switch (row->kind) {
    case KIND_FLAG: return set_flag(field_of(o, row), value, err);
    case KIND_NUMBER:
    case KIND_MODE: return set_number(field_of(o, row), row, value, err);
    case KIND_SIZE: return set_size(field_of(o, row), row, value, err);
    case KIND_SHARE: return set_share(field_of(o, row), row, value, err);
    case KIND_CHOICE: return set_choice(field_of(o, row), row, value, err);
    case KIND_TEXT:
    case KIND_WORDS:
    case KIND_RULES: return set_string(field_of(o, row), value, err);
    case KIND_POLICY: return set_policy(o, row, value, err);
    case KIND_FIXED:
        if (strcasecmp(value, row->value) == 0)
            return OPTION_OK;
        say(err, "argument can only be '%s': Corral keeps nothing on disk", row->value);
        return OPTION_BAD_VALUE;
    }
    CHECK_UNREACHABLE();
}

enum option_status options_set(struct options *o, const char *name, const char *value,
                               struct option_error *err)
{
    const struct option_row *row = row_find(name);

    return row == NULL ? refuse_unknown(name, err) : row_set(o, row, value, err);
}

enum option_status options_change(struct options *o, const char *name, const char *value,
                                  struct option_error *err)
{
    const struct option_row *row = row_find(name);

    if (row == NULL)
        return refuse_unknown(name, err);
    if (!row->live) {
        say(err, "can't set immutable config");
        return OPTION_IMMUTABLE;
    }
    return row_set(o, row, value, err);
}

/* ---- values out ----------------------------------------------------- */

static void choice_print(const struct option_row *row, int position, char *out, size_t room)
{
    const char *at = row->choices;

    for (; position > 0; position--) {
        at += strcspn(at, " ");
        at += strspn(at, " ");
    }
    snprintf(out, room, "%.*s", (int)strcspn(at, " "), at);
}

static void share_print(size_t value, char *out, size_t room)
{
    if (value & OPTION_PERCENT)
        snprintf(out, room, "%zu%%", value & ~OPTION_PERCENT);
    else
        snprintf(out, room, "%zu", value);
}

static void row_get(const struct options *o, const struct option_row *row, char *out, size_t room)
{
    switch (row->kind) {
    case KIND_FLAG:
        snprintf(out, room, "%s", __atomic_load_n((bool *)field_of(o, row), __ATOMIC_RELAXED) ? "yes" : "no");
        return;
    case KIND_NUMBER:
        snprintf(out, room, "%d", __atomic_load_n((int *)field_of(o, row), __ATOMIC_RELAXED));
        return;
    case KIND_MODE:
        snprintf(out, room, "%o", (unsigned)__atomic_load_n((int *)field_of(o, row), __ATOMIC_RELAXED));
        return;
    case KIND_SIZE:
        snprintf(out, room, "%zu", __atomic_load_n((size_t *)field_of(o, row), __ATOMIC_RELAXED));
        return;
    case KIND_SHARE:
        share_print(__atomic_load_n((size_t *)field_of(o, row), __ATOMIC_RELAXED), out, room);
        return;
    case KIND_CHOICE:
        choice_print(row, __atomic_load_n((int *)field_of(o, row), __ATOMIC_RELAXED), out, room);
        return;
    case KIND_TEXT:
    case KIND_WORDS:
    case KIND_RULES:
    case KIND_POLICY: snprintf(out, room, "%s", *(char **)field_of(o, row)); return;
    case KIND_FIXED: snprintf(out, room, "%s", row->value); return;
    }
    CHECK_UNREACHABLE();
}

bool options_get(const struct options *o, const char *name, char value[OPTION_VALUE_MAX])
{
    const struct option_row *row = row_find(name);

    if (row == NULL)
        return false;
    row_get(o, row, value, OPTION_VALUE_MAX);
    return true;
}

size_t options_count(void)
{
    return ROWS;
}

const char *options_name(size_t i)
{
    CHECK(i < ROWS);
    return rows[i].name;
}

bool options_is_live(size_t i)
{
    CHECK(i < ROWS);
    return rows[i].live;
}

/* ---- the struct ----------------------------------------------------- */

void options_defaults(struct options *o)
{
    struct option_error err;

    memset(o, 0, sizeof *o);
    for (size_t i = 0; i < ROWS; i++) {
        enum option_status status = row_set(o, &rows[i], rows[i].value, &err);

        CHECK(status == OPTION_OK);
    }
}

void options_free(struct options *o)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (!is_string(&rows[i]))
            continue;

        char **field = field_of(o, &rows[i]);

        free(*field);
        *field = NULL;
    }
    free(o->file);
    o->file = NULL;
}

bool options_copy(struct options *to, const struct options *from)
{
    bool good = true;

    *to = *from;
    to->file = from->file != NULL ? strdup(from->file) : NULL;
    good = from->file == NULL || to->file != NULL;
    for (size_t i = 0; i < ROWS; i++) {
        if (!is_string(&rows[i]))
            continue;

        char **field = field_of(to, &rows[i]);

        *field = strdup(*field);
        good = good && *field != NULL;
    }
    if (!good)
        options_free(to);
    return good;
}

/* ---- the command line and the file ---------------------------------- */

/* Behind those that earlier lines have given. False: it does not fit. */
static bool add_rule(const struct options *o, const struct option_row *row, const char *value,
                     char all[OPTION_VALUE_MAX])
{
    const char *before = *(char **)field_of(o, row);

    return snprintf(all, OPTION_VALUE_MAX, "%s%s%s", before, before[0] != '\0' ? "; " : "", value) <
           OPTION_VALUE_MAX;
}

/* Joins the words and sets the row. Words beyond the first are for WORDS and RULES only. */
static bool set_from_words(struct options *o, const char *where, const char *name, const char *const *words,
                           size_t count, struct option_error *err)
{
    const struct option_row *row = row_find(name);
    struct option_error why;
    char joined[OPTION_VALUE_MAX] = "", all[OPTION_VALUE_MAX];
    const char *value = count == 1 ? words[0] : joined;

    if (row == NULL) {
        refuse_unknown(name, &why);
        say(err, "%s'%.60s': %s", where, name, why.text);
        return false;
    }
    if (count == 0 && !(row->kind == KIND_FIXED && row->value[0] == '\0')) {
        say(err, "%s'%s': a value is missing; the default is '%s'", where, row->name, row->value);
        return false;
    }
    if (count > 1 && row->kind != KIND_WORDS && row->kind != KIND_RULES && row->kind != KIND_FIXED) {
        say(err, "%s'%s': takes one value, but %zu were given; put a value with spaces in quotes", where,
            row->name, count);
        return false;
    }
    if (count != 1) {
        size_t length = 0;

        for (size_t i = 0; i < count && length < sizeof joined; i++)
            length +=
                (size_t)snprintf(joined + length, sizeof joined - length, i > 0 ? " %s" : "%s", words[i]);
        if (length >= sizeof joined) {
            say(err, "%s'%s': the values together must be shorter than %d bytes", where, row->name,
                OPTION_VALUE_MAX);
            return false;
        }
    }
    if (row->kind == KIND_RULES && value[0] != '\0' && !add_rule(o, row, value, all)) {
        say(err, "%s'%s': all its lines together must be shorter than %d bytes", where, row->name,
            OPTION_VALUE_MAX);
        return false;
    }
    if (row_set(o, row, row->kind == KIND_RULES && value[0] != '\0' ? all : value, &why) != OPTION_OK) {
        say(err, "%s'%s' cannot be '%.80s': %s", where, row->name, value, why.text);
        return false;
    }
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What follows a backslash in double quotes; *at stands on it and moves past it. */
static char unescape(const char **at)
{
    char c = **at;

    if (c == 'x' && hex_digit((*at)[1]) >= 0 && hex_digit((*at)[2]) >= 0) {
        c = (char)(hex_digit((*at)[1]) * 16 + hex_digit((*at)[2]));
        *at += 3;
        return c;
    }
    *at += 1;
    switch (c) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'b': return '\b';
    case 'a': return '\a';
    }
    return c; /* a quote, a backslash, or anything else: itself */
}

/* Reads one word at *at, writing it over its own bytes, which it never outgrows.
 * NULL and a reason when a quote does not end, or a zero byte is meant. */
static char *take_word(const char **at, char *to, const char **why)
{
    char *word = to;
    char quote = '\0';

    if (**at == '"' || **at == '\'')
        quote = *(*at)++;
    while (quote != '\0' ? **at != quote : **at != '\0' && !isspace((unsigned char)**at)) {
        char c = **at;

        if (c == '\0') {
            *why = "a quote is not closed";
            return NULL;
        }
        *at += 1;
        if (quote == '"' && c == '\\' && **at != '\0') {
            c = unescape(at);
            if (c == '\0') {
                *why = "a value cannot hold a zero byte";
                return NULL;
            }
        } else if (quote == '\'' && c == '\\' && **at == '\'') {
            c = *(*at)++;
        }
        *to++ = c;
    }
    if (quote != '\0') {
        *at += 1;
        if (**at != '\0' && !isspace((unsigned char)**at)) {
            *why = "a space must follow a closing quote";
            return NULL;
        }
    }
    /* The byte here has been read, or is the line's end: look before it is lost. */
    if (**at != '\0')
        *at += 1;
    *to = '\0';
    return word;
}

/* Splits a line in place. -1 and a reason if it cannot be. */
static int split_line(char *line, const char **words, const char **why)
{
    const char *at = line;
    int count = 0;

    for (;;) {
        at += strspn(at, " \t\r\n\v\f");
        if (*at == '\0' || (count == 0 && *at == '#'))
            return count;
        if (count == WORDS_MAX) {
            *why = "too many words";
            return -1;
        }
        words[count] = take_word(&at, line + (at - line), why);
        if (words[count++] == NULL)
            return -1;
    }
}

static bool load_line(struct options *o, const char *where, char *line, size_t length,
                      struct option_error *err)
{
    const char *words[WORDS_MAX];
    const char *why = "a value cannot hold a zero byte";
    int count = memchr(line, '\0', length) != NULL ? -1 : split_line(line, words, &why);

    if (count < 0) {
        say(err, "%s%s", where, why);
        return false;
    }
    return count == 0 || set_from_words(o, where, words[0], words + 1, (size_t)count - 1, err);
}

int options_read_line(struct options *o, char *line, size_t length, struct option_error *err)
{
    const char *words[WORDS_MAX], *why = "a value cannot hold a zero byte";
    int count = memchr(line, '\0', length) != NULL ? OPTION_LINE_WRONG : split_line(line, words, &why);
    const struct option_row *row;

    if (count < 0) {
        say(err, "%s", why);
        return OPTION_LINE_WRONG;
    }
    if (count == 0)
        return OPTION_LINE_EMPTY;
    if (!set_from_words(o, "", words[0], words + 1, (size_t)count - 1, err))
        return OPTION_LINE_WRONG;
    row = row_find(words[0]);
    CHECK(row != NULL);
    return (int)(row - rows);
}

/* Remembers where CONFIG REWRITE shall write to. */
static bool keep_path(struct options *o, const char *path)
{
    free(o->file);
    o->file = realpath(path, NULL);
    return o->file != NULL;
}

bool options_load_file(struct options *o, const char *path, struct option_error *err)
{
    bool from_stdin = strcmp(path, "-") == 0;
    FILE *in = from_stdin ? stdin : fopen(path, "re");
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    bool good = true;

    if (in == NULL || (!from_stdin && !keep_path(o, path))) {
        say(err, "cannot read the configuration file '%.200s': %s", path, strerror(errno));
        if (in != NULL)
            fclose(in);
        return false;
    }
    errno = 0;
    for (unsigned number = 1; good && (length = getline(&line, &room, in)) >= 0; number++) {
        char where[256];

        snprintf(where, sizeof where, "%.200s:%u: ", from_stdin ? "standard input" : path, number);
        good = load_line(o, where, line, (size_t)length, err);
    }
    if (good && ferror(in)) { /* a directory, for one, opens but does not read */
        say(err, "cannot read the configuration file '%.200s': %s", path, strerror(errno));
        good = false;
    }
    free(line);
    if (!from_stdin)
        fclose(in);
    return good;
}

/* One "--name value..." or "--name=value" at argv[*i]; moves *i past it. */
static bool parse_option(struct options *o, int argc, char *const *argv, int *i, struct option_error *err)
{
    const char *words[WORDS_MAX];
    const char *arg = argv[(*i)++];
    const char *equals = strchr(arg, '=');
    char name[64];
    size_t count = 0;

    if (strncmp(arg, "--", 2) != 0) {
        say(err, "'%.80s' was not expected: options look like --port 6379; see corrald --help", arg);
        return false;
    }
    arg += 2;
    snprintf(name, sizeof name, "%.*s", (int)(equals != NULL ? equals - arg : NAME_MAX_LENGTH + 1), arg);
    if (equals != NULL)
        words[count++] = equals + 1;
    while (equals == NULL && *i < argc && strncmp(argv[*i], "--", 2) != 0) {
        if (count == WORDS_MAX) {
            say(err, "'%s': too many values", name);
            return false;
        }
        words[count++] = argv[(*i)++];
    }
    return set_from_words(o, "option ", name, words, count, err);
}

enum options_verdict options_parse_args(struct options *o, int argc, char *const *argv,
                                        struct option_error *err)
{
    static const struct {
        const char *arg;
        enum options_verdict verdict;
    } shows[] = {
        {"--help", OPTIONS_SHOW_HELP}, {"-h", OPTIONS_SHOW_HELP},   {"--version", OPTIONS_SHOW_VERSION},
        {"-v", OPTIONS_SHOW_VERSION},  {"--man", OPTIONS_SHOW_MAN}, {"--sample-config", OPTIONS_SHOW_SAMPLE},
    };
    int i = 1;

    for (size_t s = 0; argc > 1 && s < sizeof shows / sizeof shows[0]; s++) {
        if (strcmp(argv[1], shows[s].arg) == 0)
            return shows[s].verdict;
    }
    if (argc > 1 && (argv[1][0] != '-' || argv[1][1] == '\0')) {
        if (!options_load_file(o, argv[1], err))
            return OPTIONS_WRONG;
        i++;
    }
    while (i < argc) {
        if (!parse_option(o, argc, argv, &i, err))
            return OPTIONS_WRONG;
    }
    return OPTIONS_RUN;
}

/* ---- texts made from the table -------------------------------------- */

enum { TEXT_COLUMNS = 78 };

static void print_wrapped(FILE *out, const char *indent, const char *text)
{
    size_t column = strlen(indent);

    fputs(indent, out);
    for (const char *at = text; *at != '\0';) {
        size_t word = strcspn(at, " ");

        if (at != text && column + 1 + word > TEXT_COLUMNS) {
            fprintf(out, "\n%s", indent);
            column = strlen(indent);
        } else if (at != text) {
            fputc(' ', out);
            column++;
        }
        fwrite(at, 1, word, out);
        column += word;
        at += word;
        at += strspn(at, " ");
    }
    fputc('\n', out);
}

static void size_print(uint64_t bytes, char *out, size_t room)
{
    static const char *const units[] = {"", "kb", "mb", "gb", "tb"};
    size_t unit = 0;

    while (unit < 4 && bytes > 0 && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    snprintf(out, room, "%ju%s", (uintmax_t)bytes, units[unit]);
}

/* What take_word() reads back as the same text. */
static void quote(const char *text, char *out)
{
    bool plain = text[0] != '\0' && text[0] != '#';

    for (const char *c = text; *c != '\0'; c++)
        plain = plain && *c > ' ' && *c < 0x7f && *c != '"' && *c != '\'' && *c != '\\';
    if (plain) {
        strcpy(out, text);
        return;
    }
    *out++ = '"';
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\') {
            *out++ = '\\';
            *out++ = *c;
        } else if (*c >= ' ' && *c < 0x7f) {
            *out++ = *c;
        } else {
            out += sprintf(out, "\\x%02x", (unsigned char)*c);
        }
    }
    *out++ = '"';
    *out = '\0';
}

void options_file_value(const struct options *o, size_t i, char value[OPTION_FILE_MAX])
{
    char text[OPTION_VALUE_MAX];

    CHECK(i < ROWS);
    if (rows[i].kind == KIND_SIZE) {
        size_print(__atomic_load_n((size_t *)field_of(o, &rows[i]), __ATOMIC_RELAXED), value,
                   OPTION_FILE_MAX);
        return;
    }
    row_get(o, &rows[i], text, sizeof text);
    quote(text, value);
}

/* What a row takes, as a remark: "0 to 65535". Empty when its help says all. */
static void range_print(const struct option_row *row, char *out, size_t room)
{
    char min[32];
    char max[32];

    switch (row->kind) {
    case KIND_FLAG: snprintf(out, room, "yes or no"); return;
    case KIND_CHOICE:
    case KIND_POLICY: snprintf(out, room, "one of %s", row->choices); return;
    case KIND_MODE: snprintf(out, room, "%jo to %jo", (uintmax_t)row->min, (uintmax_t)row->max); return;
    case KIND_NUMBER:
        if (row->min == row->max)
            break;
        snprintf(out, room, "%jd to %jd", (intmax_t)row->min, (intmax_t)row->max);
        return;
    case KIND_SIZE:
        size_print(row->min, min, sizeof min);
        size_print(row->max, max, sizeof max);
        snprintf(out, room, "%s to %s", min, max);
        return;
    case KIND_SHARE: snprintf(out, room, "bytes, or 1%% to 100%% of maxmemory"); return;
    case KIND_TEXT:
    case KIND_WORDS:
    case KIND_RULES:
    case KIND_FIXED: break;
    }
    snprintf(out, room, "%s", "");
}

/* "Its help. Takes ...; default X; CONFIG SET changes it." */
static void row_describe(const struct option_row *row, char *out, size_t room)
{
    char range[OPTION_ERROR_MAX];

    range_print(row, range, sizeof range);
    snprintf(out, room, "%s%s%s%s%s", row->help, range[0] != '\0' ? " Takes " : "", range,
             range[0] != '\0' ? "." : "",
             row->kind == KIND_FIXED ? ""
             : row->live             ? " CONFIG SET may change it."
                                     : "");
}

static const char *or_empty(const char *value)
{
    return value[0] != '\0' ? value : "\"\"";
}

void options_print_help(FILE *out)
{
    fputs("usage: corrald [file] [--name value]...\n"
          "       corrald --help | --version | --man | --sample-config\n"
          "\n"
          "Runs a Corral cache node for redis and memcached clients. The file holds lines\n"
          "of the form 'name value'; '-' reads them from standard input. What the command\n"
          "line says wins. Sizes may end in k, kb, m, mb, g, gb, t or tb.\n"
          "\n",
          out);
    for (size_t i = 0; i < ROWS; i++) {
        fprintf(out, "  --%s (%s)\n", rows[i].name, or_empty(rows[i].value));
        print_wrapped(out, "        ", rows[i].help);
    }
}

void options_print_version(FILE *out)
{
    fprintf(out, "corrald %s\n", CORRAL_VERSION);
}

/* Text for roff: a hyphen is a minus, and the first character is never a command. */
static void print_roff(FILE *out, const char *text)
{
    fputs("\\&", out);
    for (; *text != '\0'; text++) {
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
    }
}

void options_print_man(FILE *out)
{
    fprintf(out, ".TH CORRALD 8 \"\" \"Corral %s\" \"System administration\"\n", CORRAL_VERSION);
    fputs(".SH NAME\n"
          "corrald \\- a cache node for redis and memcached clients\n"
          ".SH SYNOPSIS\n"
          ".B corrald\n"
          "[\\fIfile\\fR] [\\fB\\-\\-\\fIname value\\fR]...\n"
          ".br\n"
          ".B corrald\n"
          "\\fB\\-\\-help\\fR | \\fB\\-\\-version\\fR | \\fB\\-\\-man\\fR | \\fB\\-\\-sample\\-config\\fR\n"
          ".SH DESCRIPTION\n"
          ".B corrald\n"
          "keeps keys and values in memory and serves them to redis clients (RESP2 and RESP3)\n"
          "and to memcached clients (text and meta), who see the same keys. It keeps nothing\n"
          "on disk.\n"
          ".PP\n"
          "Settings come from\n"
          ".IR file ,\n"
          "or from standard input when it is\n"
          ".BR \\- ,\n"
          "and then from the command line, which wins. The file holds one\n"
          ".I name value\n"
          "pair per line; empty lines and lines that begin with # are skipped, and a value\n"
          "with spaces goes in quotes. Sizes may end in k, m, g or t (powers of 1000), or in\n"
          "kb, mb, gb or tb (powers of 1024).\n"
          ".PP\n"
          "SIGTERM and SIGINT stop the node cleanly; in a cluster it first hands over to the\n"
          "others what it holds. A second one does not wait. SIGHUP opens the log anew, and\n"
          "reads memcache\\-auth\\-file and cluster\\-secret\\-file again.\n"
          ".SH OPTIONS\n",
          out);
    for (size_t i = 0; i < ROWS; i++) {
        char text[OPTION_VALUE_MAX];

        fputs(".TP\n\\fB\\-\\-", out);
        print_roff(out, rows[i].name);
        fputs("\\fR (", out);
        print_roff(out, or_empty(rows[i].value));
        fputs(")\n", out);
        row_describe(&rows[i], text, sizeof text);
        print_roff(out, text);
        fputc('\n', out);
    }
    fputs(".SH EXAMPLES\n"
          ".EX\n"
          "corrald \\-\\-maxmemory 4gb \\-\\-threads 4\n"
          "corrald /etc/corral/corral.conf \\-\\-port 6380\n"
          ".EE\n"
          ".SH FILES\n"
          ".I /etc/corral/corral.conf\n"
          "is what the systemd unit starts the node with.\n"
          ".SH SEE ALSO\n"
          ".BR redis\\-cli (1),\n"
          ".BR memcached (1)\n",
          out);
}

void options_print_sample(FILE *out)
{
    fputs("# Configuration of corrald: one 'name value' per line. Every option is shown at\n"
          "# its default; remove the # in front of a line to change it. Sizes may end in\n"
          "# k, m, g or t (powers of 1000), or in kb, mb, gb or tb (powers of 1024).\n",
          out);
    for (size_t i = 0; i < ROWS; i++) {
        char text[OPTION_VALUE_MAX];

        row_describe(&rows[i], text, sizeof text);
        fputc('\n', out);
        print_wrapped(out, "# ", text);
        fprintf(out, "#%s %s\n", rows[i].name, or_empty(rows[i].value));
    }
}
