/* trace_read.c - rows into requests.
 *
 *   keys     KEY                                   one a line
 *   csv      columns as named, separated by commas, tabs or semicolons
 *   tr       TIME KEY SIZE [...]                   blanks (webcachesim)
 *   lis      FIRST COUNT IGNORED NUMBER            blanks (the ARC paper's)
 *   twitter  TIME,KEY,KEY-SIZE,VALUE-SIZE,CLIENT,OP,TTL
 *   oracle   24 bytes: u32 time, u64 key, u32 size, i64 next use (libCacheSim)
 *
 * Rules: (1) a key is known by 64 bits of hash: among n keys one pair in n^2 /
 * 2^65 is taken for one; (2) a row that is not as promised ends the reading
 * with its line and column; (3) lines that are empty or begin with # are
 * passed over. */
#include "bench/trace_read.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <xxhash.h>

static const char *const format_names[] = {"detect", "keys", "csv", "tr", "lis", "twitter", "oracle"};

struct reader {
    struct input *in;
    const char *path;
    enum format format;
    char separator; /* ' ' stands for any run of blanks */
    enum column columns[COLUMNS_MAX];
    unsigned column_count;
    bool failed, has_sizes, has_ops;
    uint64_t line;
    struct request again; /* a row that stands for several */
    uint64_t times, first;
};

enum { REPEATS_MAX = 1000000 }; /* requests that one row stands for: a slip must not run for days */

static const struct {
    const char *name;
    enum column column;
} column_names[] = {
    {"-", COLUMN_NONE},        {"time", COLUMN_TIME},       {"timestamp", COLUMN_TIME},
    {"op_time", COLUMN_TIME},  {"key", COLUMN_KEY},         {"id", COLUMN_KEY},
    {"obj_id", COLUMN_KEY},    {"object", COLUMN_KEY},      {"size", COLUMN_SIZE},
    {"obj_size", COLUMN_SIZE}, {"value_size", COLUMN_SIZE}, {"key_size", COLUMN_KEY_SIZE},
    {"op", COLUMN_OP},         {"operation", COLUMN_OP},    {"ttl", COLUMN_TTL},
    {"count", COLUMN_COUNT},   {"op_count", COLUMN_COUNT},
};
enum { COLUMN_NAMES = sizeof(column_names) / sizeof(column_names[0]) };

static bool find_column(const char *name, size_t len, enum column *column)
{
    for (unsigned i = 0; i < COLUMN_NAMES; i++)
        if (strlen(column_names[i].name) == len && strncasecmp(column_names[i].name, name, len) == 0) {
            *column = column_names[i].column;
            return true;
        }
    return false;
}

bool read_columns(const char *text, struct read_options *o)
{
    bool has_key = false;

    for (const char *at = text; at != NULL; at = strchr(at, ',') != NULL ? strchr(at, ',') + 1 : NULL) {
        size_t len = strcspn(at, ",");

        if (o->column_count == COLUMNS_MAX || !find_column(at, len, &o->columns[o->column_count])) {
            fprintf(stderr,
                    "%s: --columns: '%.*s' is no column; they are time key size key_size op ttl "
                    "count, and - for others\n",
                    program_invocation_short_name, (int)len, at);
            return false;
        }
        has_key |= o->columns[o->column_count++] == COLUMN_KEY;
    }
    if (!has_key)
        fprintf(stderr, "%s: --columns must name the key\n", program_invocation_short_name);
    return has_key;
}

bool read_format(const char *name, enum format *format)
{
    for (unsigned i = FORMAT_KEYS; i <= FORMAT_ORACLE; i++)
        if (strcmp(format_names[i], name) == 0) {
            *format = (enum format)i;
            return true;
        }
    fprintf(stderr, "%s: there is no format '%s'; they are keys csv tr lis twitter oracle\n",
            program_invocation_short_name, name);
    return false;
}

static bool complain(struct reader *r, unsigned column, const char *what)
{
    fprintf(stderr, "%s: %s:%llu: column %u: %s\n", program_invocation_short_name, r->path,
            (unsigned long long)r->line, column, what);
    r->failed = true;
    return false;
}

struct field {
    const char *at;
    size_t len;
};

/* The fields of a line, at most `most`; the rest of the line is left alone. */
static unsigned split(const char *line, size_t len, char separator, struct field *fields, unsigned most)
{
    const char *end = line + len;
    unsigned n = 0;

    while (n < most) {
        const char *stop;

        while (separator == ' ' && line < end && (*line == ' ' || *line == '\t'))
            line++;
        if (separator == ' ' && line == end)
            break;
        stop = line;
        while (stop < end && !(*stop == separator || (separator == ' ' && *stop == '\t')))
            stop++;
        fields[n++] = (struct field){line, (size_t)(stop - line)};
        if (stop == end)
            break;
        line = stop + 1;
    }
    return n;
}

static bool whole_number(struct field f, uint64_t *value)
{
    uint64_t v = 0;

    if (f.len == 0 || f.len > 19)
        return false;
    for (size_t i = 0; i < f.len; i++) {
        if (!isdigit((unsigned char)f.at[i]))
            return false;
        v = v * 10 + (uint64_t)(f.at[i] - '0');
    }
    *value = v;
    return true;
}

/* Times may have decimals, which are dropped, and sizes must not. Half the range is
 * enough: so a time to live may be added to any of them. */
static bool time_value(struct field f, int64_t *value)
{
    const char *dot = memchr(f.at, '.', f.len);
    uint64_t v;

    if (dot != NULL)
        f.len = (size_t)(dot - f.at);
    if (!whole_number(f, &v) || v > INT64_MAX / 2)
        return false;
    *value = (int64_t)v;
    return true;
}

static bool is_word(struct field f, const char *word)
{
    return strlen(word) == f.len && strncasecmp(f.at, word, f.len) == 0;
}

static bool op_value(struct field f, enum request_op *op)
{
    static const char *const reads[] = {"get", "gets", "read", "mget", "get_lease", "r", "lookup", "gat"};
    static const char *const writes[] = {"set",     "add",       "replace", "cas",   "append",
                                         "prepend", "incr",      "decr",    "write", "put",
                                         "update",  "set_lease", "w",       "touch"};
    static const char *const deletes[] = {"delete", "del", "remove", "d"};

    for (unsigned i = 0; i < sizeof(reads) / sizeof(reads[0]); i++)
        if (is_word(f, reads[i]))
            return *op = REQUEST_READ, true;
    for (unsigned i = 0; i < sizeof(writes) / sizeof(writes[0]); i++)
        if (is_word(f, writes[i]))
            return *op = REQUEST_WRITE, true;
    for (unsigned i = 0; i < sizeof(deletes) / sizeof(deletes[0]); i++)
        if (is_word(f, deletes[i]))
            return *op = REQUEST_DELETE, true;
    return false;
}

static uint64_t key_of(struct field f)
{
    return XXH3_64bits(f.at, f.len);
}
static uint64_t key_of_number(uint64_t number)
{
    return XXH3_64bits(&number, sizeof(number));
}

static bool size_value(struct reader *r, struct field f, unsigned column, uint64_t *size)
{
    if (f.len > 0 && f.at[0] == '-')
        return complain(r, column, "a size cannot be negative");
    if (!whole_number(f, size))
        return complain(r, column, "a size is expected, bytes as a whole number");
    if (*size > UINT32_MAX)
        return complain(r, column, "a size beyond 4 GiB");
    return true;
}

static bool table_row(struct reader *r, const struct field *fields, unsigned n, struct request *q)
{
    uint64_t key_size = 0;
    bool has_key = false;

    r->times = 1;
    for (unsigned i = 0; i < r->column_count; i++) {
        if (r->columns[i] == COLUMN_NONE)
            continue;
        if (i >= n)
            return complain(r, n, "the line ends before all columns were there");
        switch (r->columns[i]) {
        case COLUMN_NONE: break;
        case COLUMN_TIME:
            if (!time_value(fields[i], &q->time))
                return complain(r, i + 1, "a time is expected, as a number");
            break;
        case COLUMN_KEY:
            if (fields[i].len == 0)
                return complain(r, i + 1, "the key is empty");
            q->key = key_of(fields[i]);
            has_key = true;
            break;
        case COLUMN_SIZE:
            if (!size_value(r, fields[i], i + 1, &q->size))
                return false;
            break;
        case COLUMN_KEY_SIZE:
            if (!size_value(r, fields[i], i + 1, &key_size))
                return false;
            break;
        case COLUMN_OP:
            if (!op_value(fields[i], &q->op))
                return complain(r, i + 1, "an operation is expected: get, set, delete or the like");
            break;
        case COLUMN_TTL:
            if (fields[i].len > 0 && !whole_number(fields[i], &q->ttl))
                return complain(r, i + 1, "a time to live is expected, seconds as a whole number");
            break;
        case COLUMN_COUNT:
            if (!whole_number(fields[i], &r->times) || r->times > REPEATS_MAX)
                return complain(r, i + 1, "a count is expected, at most a million");
            break;
        }
    }
    if (q->size > 0 && q->size + key_size <= UINT32_MAX)
        q->size += key_size;
    return has_key;
}

static bool tr_row(struct reader *r, const struct field *fields, unsigned n, struct request *q)
{
    if (n < 3)
        return complain(r, n, "TIME KEY SIZE is expected");
    if (!time_value(fields[0], &q->time))
        return complain(r, 1, "a time is expected, as a number");
    q->key = key_of(fields[1]);
    return size_value(r, fields[2], 3, &q->size);
}

static bool lis_row(struct reader *r, const struct field *fields, unsigned n)
{
    if (n < 2 || !whole_number(fields[0], &r->first))
        return complain(r, 1, "FIRST COUNT is expected, the number of the first block and how many");
    if (!whole_number(fields[1], &r->times) || r->times > REPEATS_MAX)
        return complain(r, 2, "a number of blocks is expected, at most a million");
    return true;
}

static bool text_row(struct reader *r, const char *line, size_t len, struct request *q)
{
    struct field fields[COLUMNS_MAX];
    unsigned n;

    *q = (struct request){0};
    r->times = 1;
    if (r->format == FORMAT_KEYS) {
        q->key = key_of((struct field){line, len});
        return true;
    }
    n = split(line, len, r->separator, fields, COLUMNS_MAX);
    if (r->format == FORMAT_TR)
        return tr_row(r, fields, n, q);
    if (r->format == FORMAT_LIS)
        return lis_row(r, fields, n);
    return table_row(r, fields, n, q);
}

static bool oracle_row(struct reader *r, struct request *q)
{
    enum { ROW = 24 };
    const char *at;
    size_t got = input_peek(r->in, ROW, &at);
    uint32_t time, size;
    uint64_t key;

    r->line++;
    if (got == 0 || input_failed(r->in))
        return false;
    if (got < ROW)
        return complain(
            r, (unsigned)got,
            "the file ends in the middle of a record of 24 bytes (line and column are record and byte)");
    memcpy(&time, at, 4);
    memcpy(&key, at + 4, 8);
    memcpy(&size, at + 12, 4);
    input_skip(r->in, ROW);
    *q = (struct request){.key = key_of_number(key), .time = time, .size = size};
    return true;
}

bool reader_next(struct reader *r, struct request *q)
{
    const char *line;
    size_t len;

    if (r->format == FORMAT_ORACLE)
        return oracle_row(r, q);
    while (r->times == 0) {
        if (r->failed || !input_line(r->in, &line, &len))
            return false;
        r->line++;
        while (len > 0 && isspace((unsigned char)line[len - 1]))
            len--;
        if (len == 0 || line[0] == '#')
            continue;
        if (!text_row(r, line, len, &r->again)) {
            r->times = 0;
            return false;
        }
    }
    r->times--;
    if (r->format == FORMAT_LIS)
        r->again.key = key_of_number(r->first++);
    *q = r->again;
    return true;
}

/* ---- what is it? ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t a = strlen(text), b = strlen(end);

    return a >= b && strcmp(text + a - b, end) == 0;
}

static bool name_says(const char *path, const char *what)
{
    char packed[32];

    snprintf(packed, sizeof(packed), "%s.gz", what);
    if (ends_with(path, what) || ends_with(path, packed))
        return true;
    snprintf(packed, sizeof(packed), "%s.zst", what);
    return ends_with(path, packed);
}

static bool looks_binary(const char *at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)at[i] < ' ' && strchr("\n\r\t", at[i]) == NULL)
            return true;
        else if (at[i] == '\0')
            return true;
    return false;
}

static char separator_of(const char *line, size_t len)
{
    if (memchr(line, ',', len) != NULL)
        return ',';
    if (memchr(line, '\t', len) != NULL)
        return '\t';
    return memchr(line, ';', len) != NULL ? ';' : ' ';
}

/* A first line that names its columns; `takes` says whether it did. */
static void read_header(struct reader *r, const struct field *fields, unsigned n, bool *takes)
{
    bool has_key = false;

    for (unsigned i = 0; i < n; i++) {
        if (!find_column(fields[i].at, fields[i].len, &r->columns[i]))
            r->columns[i] = COLUMN_NONE;
        has_key |= r->columns[i] == COLUMN_KEY;
    }
    r->column_count = n;
    *takes = has_key;
}

static bool detect_table(struct reader *r, const struct field *fields, unsigned n, bool *takes)
{
    static const enum column twitter[] = {COLUMN_TIME, COLUMN_KEY, COLUMN_KEY_SIZE, COLUMN_SIZE,
                                          COLUMN_NONE, COLUMN_OP,  COLUMN_TTL};
    enum request_op op;

    r->format = FORMAT_TABLE;
    read_header(r, fields, n, takes);
    if (*takes)
        return true;
    if (n == 7 && op_value(fields[5], &op)) {
        r->format = FORMAT_TWITTER;
        memcpy(r->columns, twitter, sizeof(twitter));
        r->column_count = 7;
        return true;
    }
    fprintf(stderr,
            "%s: %s: a table whose first line names no column 'key': say which is which, as in "
            "--columns time,key,-,size\n",
            program_invocation_short_name, r->path);
    return false;
}

/* Its end is left as an empty line, which counts for it. */
static void pass_header(struct reader *r, size_t bytes)
{
    const char *at;

    input_peek(r->in, bytes, &at);
    for (size_t i = 0; i < bytes; i++)
        r->line += at[i] == '\n';
    input_skip(r->in, bytes);
}

static bool detect(struct reader *r)
{
    struct field fields[COLUMNS_MAX];
    const char *at, *end;
    size_t len = input_peek(r->in, INPUT_PEEK_MAX, &at), skip = 0;
    bool header = false;
    unsigned n;

    if (len == 0) {
        if (!input_failed(r->in))
            fprintf(stderr, "%s: %s: is empty\n", program_invocation_short_name, r->path);
        return false;
    }
    if (r->format == FORMAT_ORACLE ||
        (r->format == FORMAT_DETECT && looks_binary(at, len < 240 ? len : 240))) {
        r->format = FORMAT_ORACLE;
        return true;
    }
    while (skip < len && (at[skip] == '#' || at[skip] == '\n')) {
        end = memchr(at + skip, '\n', len - skip);
        skip = end != NULL ? (size_t)(end - at) + 1 : len;
    }
    at += skip;
    len -= skip;
    end = memchr(at, '\n', len);
    if (end != NULL)
        len = (size_t)(end - at);
    while (len > 0 && isspace((unsigned char)at[len - 1]))
        len--;
    r->separator = separator_of(at, len);
    n = split(at, len, r->separator, fields, COLUMNS_MAX);
    /* Of these the first line tells the rest. */
    if (r->format == FORMAT_TWITTER || (r->format == FORMAT_TABLE && r->column_count == 0))
        r->format = FORMAT_DETECT;
    if (r->format == FORMAT_DETECT && r->column_count == 0 && r->separator != ' ') {
        if (!detect_table(r, fields, n, &header))
            return false;
        if (header)
            pass_header(r, skip + len);
        return true;
    }
    if (r->format != FORMAT_DETECT)
        return true;
    if (r->column_count > 0) {
        r->format = FORMAT_TABLE;
    } else if (name_says(r->path, ".lis") || (n == 4 && is_word(fields[2], "0"))) {
        r->format = FORMAT_LIS;
    } else {
        r->format = n >= 3 ? FORMAT_TR : FORMAT_KEYS;
    }
    return true;
}

struct reader *reader_open(const char *path, const struct read_options *o)
{
    struct reader *r = calloc(1, sizeof(*r));

    if (r == NULL)
        return NULL;
    r->path = strcmp(path, "-") == 0 ? "stdin" : path;
    r->format = o->format;
    memcpy(r->columns, o->columns, sizeof(r->columns));
    r->column_count = o->column_count;
    if ((r->in = input_open(path)) == NULL || !detect(r)) {
        reader_close(&r);
        return NULL;
    }
    r->has_sizes = r->format == FORMAT_TR || r->format == FORMAT_ORACLE;
    for (unsigned i = 0; i < r->column_count; i++) {
        r->has_sizes |= r->columns[i] == COLUMN_SIZE;
        r->has_ops |= r->columns[i] == COLUMN_OP || r->columns[i] == COLUMN_TTL;
    }
    return r;
}

void reader_close(struct reader **rp)
{
    if (*rp == NULL)
        return;
    input_close(&(*rp)->in);
    free(*rp);
    *rp = NULL;
}

bool reader_failed(const struct reader *r)
{
    return r->failed || input_failed(r->in);
}
uint64_t reader_line(const struct reader *r)
{
    return r->line;
}
unsigned reader_key_column(const struct reader *r)
{
    for (unsigned i = 0; i < r->column_count; i++)
        if (r->columns[i] == COLUMN_KEY)
            return i + 1;
    return r->format == FORMAT_TR ? 2 : 1;
}
double reader_progress(const struct reader *r)
{
    return input_progress(r->in);
}
const char *reader_format(const struct reader *r)
{
    return format_names[r->format];
}
bool reader_has_sizes(const struct reader *r)
{
    return r->has_sizes;
}
bool reader_has_ops(const struct reader *r)
{
    return r->has_ops;
}
