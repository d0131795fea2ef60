/* trace_read.h - the requests of a trace, whatever its format. */
#ifndef CORRAL_BENCH_TRACE_READ_H
#define CORRAL_BENCH_TRACE_READ_H

#include "bench/trace_input.h"

enum request_op { REQUEST_READ, REQUEST_WRITE, REQUEST_DELETE };

struct request {
    uint64_t key;  /* a hash of the key's bytes, well mixed */
    int64_t time;  /* in the trace's unit, seconds where ttl is used */
    uint64_t size; /* bytes of key and value; 0 where the trace does not say */
    uint64_t ttl;  /* seconds; 0: none */
    enum request_op op;
};

/* What the rows of a table mean; for the other formats it is known. */
enum column {
    COLUMN_NONE,
    COLUMN_TIME,
    COLUMN_KEY,
    COLUMN_SIZE,
    COLUMN_KEY_SIZE, /* added to the size */
    COLUMN_OP,
    COLUMN_TTL,
    COLUMN_COUNT /* the row stands for so many requests */
};
enum { COLUMNS_MAX = 32 };

enum format {
    FORMAT_DETECT,
    FORMAT_KEYS,
    FORMAT_TABLE,
    FORMAT_TR,
    FORMAT_LIS,
    FORMAT_TWITTER,
    FORMAT_ORACLE
};

struct read_options {
    enum format format;
    enum column columns[COLUMNS_MAX]; /* of a table; all COLUMN_NONE: its first line says */
    unsigned column_count;
};

/* "time,key,-,size" into columns; false with a message on stderr. */
bool read_columns(const char *text, struct read_options *);
/* "csv" and the like; false with a message on stderr. */
bool read_format(const char *name, enum format *);

struct reader;

/* Detects the format where it is not given. NULL with a message. */
struct reader *reader_open(const char *path, const struct read_options *);
void reader_close(struct reader **);
/* False at the end, or after a message that names line and column. */
bool reader_next(struct reader *, struct request *);
bool reader_failed(const struct reader *);
/* Where the last request was: its line, or record, and the column of its key. */
uint64_t reader_line(const struct reader *);
unsigned reader_key_column(const struct reader *);
double reader_progress(const struct reader *);    /* as input_progress() */
const char *reader_format(const struct reader *); /* "csv" */
bool reader_has_sizes(const struct reader *);
bool reader_has_ops(const struct reader *); /* ops or times to live */

#endif
