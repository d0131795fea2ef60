/* fuzz_trace.c - any bytes are a trace or are refused with one line that names the
 * file; what is a trace can be replayed.
 *
 * Input: byte 0 chooses the format (0: it is detected) and, from 8 on, columns; the
 * rest is the file, packed or not. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/sim_belady.h"
#include "bench/sim_run.h"

#define MUST(ok)                                                                                             \
    ((ok) ? (void)0 : (fprintf(stdout, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #ok), abort()))

enum { REQUESTS_MAX = 20000, MEMORY_MAX = 64 << 20, POLICIES = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

static struct read_options options_of(uint8_t byte)
{
    struct read_options o = {.format = (enum format)(byte % 8 % (FORMAT_ORACLE + 1))};

    if (byte >= 8)
        MUST(read_columns(byte % 16 >= 8 ? "time,key,size,op,ttl" : "key,size,key_size,-,count", &o));
    return o;
}

/* How many requests there are, REQUESTS_MAX + 1 for more; `whole` says whether all could be read. */
static unsigned count(const char *path, const struct read_options *o, bool *whole)
{
    struct reader *r = reader_open(path, o);
    struct request q;
    unsigned n = 0;

    *whole = false;
    if (r == NULL)
        return 0;
    while (n <= REQUESTS_MAX && reader_next(r, &q)) {
        n++;
        MUST(q.size <= UINT32_MAX && q.time >= 0 && q.op <= REQUEST_DELETE && reader_line(r) > 0);
    }
    *whole = !reader_failed(r);
    MUST(reader_key_column(r) > 0 && reader_format(r)[0] != '\0');
    reader_close(&r);
    return n;
}

static void simulate(char *path, const struct read_options *o)
{
    struct sim_trace_options options = {.read = *o, .sample = 1, .memory_max = MEMORY_MAX, .quiet = true};
    struct sim_trace *t = sim_trace_read(&path, 1, &options);
    struct cell cells[POLICIES] = {{.type = evict_type_find("s3fifo"), .capacity = 5},
                                   {.type = evict_type_find("lirs"), .capacity = 100},
                                   {.type = &sim_belady, .capacity = 7},
                                   {.type = &sim_beladysize, .capacity = 1000}};

    MUST(t != NULL && sim_trace_look_ahead(t));
    sim_run(t, cells, POLICIES,
            &(struct sim_run_options){.by_bytes = t->has_sizes, .sample = 1, .quiet = true});
    for (unsigned i = 0; i < POLICIES; i++)
        MUST(cells[i].done && cells[i].misses <= cells[i].reads &&
             cells[i].miss_bytes <= cells[i].read_bytes);
    sim_trace_free(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    FILE *complaints, *before = stderr;
    struct read_options o;
    char path[64], *said = NULL;
    size_t said_len = 0;
    unsigned n;
    bool whole;
    int fd;

    if (len < 1 || len > 65536)
        return 0;
    o = options_of(in[0]);
    fd = memfd_create("trace", 0);
    MUST(fd >= 0 && write(fd, in + 1, len - 1) == (ssize_t)(len - 1));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    MUST((complaints = open_memstream(&said, &said_len)) != NULL);
    stderr = complaints;
    n = count(path, &o, &whole);
    if (n > 0 && n <= REQUESTS_MAX && whole)
        simulate(path, &o);
    stderr = before;
    fclose(complaints);
    close(fd);
    MUST(whole == (said_len == 0));
    MUST(whole || (strstr(said, path) != NULL && strchr(said, '\n') == said + said_len - 1));
    free(said);
    return 0;
}
