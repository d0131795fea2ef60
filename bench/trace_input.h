/* trace_input.h - the bytes of a trace: a file or stdin, plain, gzip or zstd. */
#ifndef CORRAL_BENCH_TRACE_INPUT_H
#define CORRAL_BENCH_TRACE_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct input;

/* "-" is stdin. NULL with a message on stderr when it cannot be read. */
struct input *input_open(const char *path);
void input_close(struct input **);
/* What is next, at most `want` bytes and less only at the end, without taking
 * it; `want` is at most INPUT_PEEK_MAX. */
enum { INPUT_PEEK_MAX = 65536 };
size_t input_peek(struct input *, size_t want, const char **at);
void input_skip(struct input *, size_t bytes); /* that many were peeked at */
/* The next line without its end; false at the end or after an error. It is
 * valid until the next call. A line longer than INPUT_PEEK_MAX is an error. */
bool input_line(struct input *, const char **line, size_t *len);
/* Was anything wrong with the bytes (truncated, damaged, no such line)? It has
 * been said on stderr. */
bool input_failed(const struct input *);
/* 0..1, how much of the file is read; negative where that is not known. */
double input_progress(const struct input *);

#endif
