/* trace_input.c - reads blocks, unpacks them into one buffer, hands out views.
 *
 *   file -> raw (as stored) -> plain: | taken | at .. at+held | free |
 *
 * What it is is told by its first bytes, not by its name. Several gzip members
 * or zstd frames in a row are one stream, as their tools have it. */
#include "bench/trace_input.h"
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef CORRAL_ZLIB
#include <zlib.h>
#endif
#ifdef CORRAL_ZSTD
#include <zstd.h>
#endif

enum { RAW_SIZE = 1 << 18, PLAIN_SIZE = 1 << 20 };
enum packing { PLAIN, GZIP, ZSTD };

struct input {
    const char *path;
    int fd;
    enum packing packing;
    bool raw_ended, ended, failed;
    uint64_t raw_total, file_size; /* file_size 0: unknown */
    char *raw, *plain;
    size_t raw_at, raw_held;
    size_t at, held;
    bool frame_open; /* in the middle of a packed frame */
#ifdef CORRAL_ZLIB
    z_stream gzip;
#endif
#ifdef CORRAL_ZSTD
    ZSTD_DStream *zstd;
#endif
};

static void fail(struct input *in, const char *what)
{
    if (!in->failed)
        fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, in->path, what);
    in->failed = in->ended = true;
}

/* Fills raw; what is still in it moves to its beginning. */
static void read_raw(struct input *in)
{
    memmove(in->raw, in->raw + in->raw_at, in->raw_held);
    in->raw_at = 0;
    while (!in->raw_ended && in->raw_held < RAW_SIZE) {
        ssize_t n = read(in->fd, in->raw + in->raw_held, RAW_SIZE - in->raw_held);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            fail(in, strerror(errno));
        if (n <= 0) {
            in->raw_ended = true;
            return;
        }
        in->raw_held += (size_t)n;
        in->raw_total += (uint64_t)n;
    }
}

#ifdef CORRAL_ZLIB
static size_t unpack_gzip(struct input *in, char *to, size_t room)
{
    int status;

    in->gzip.next_in = (unsigned char *)in->raw + in->raw_at;
    in->gzip.avail_in = (unsigned)in->raw_held;
    in->gzip.next_out = (unsigned char *)to;
    in->gzip.avail_out = (unsigned)room;
    status = inflate(&in->gzip, Z_NO_FLUSH);
    in->raw_at += in->raw_held - in->gzip.avail_in;
    in->raw_held = in->gzip.avail_in;
    in->frame_open = status != Z_STREAM_END;
    if (status == Z_STREAM_END)
        inflateReset(&in->gzip);
    else if (status != Z_OK && status != Z_BUF_ERROR)
        fail(in, "the gzip data is damaged");
    return room - in->gzip.avail_out;
}
#endif

#ifdef CORRAL_ZSTD
static size_t unpack_zstd(struct input *in, char *to, size_t room)
{
    ZSTD_inBuffer from = {in->raw + in->raw_at, in->raw_held, 0};
    ZSTD_outBuffer out = {to, room, 0};
    size_t status = ZSTD_decompressStream(in->zstd, &out, &from);

    in->raw_at += from.pos;
    in->raw_held -= from.pos;
    in->frame_open = status != 0;
    if (ZSTD_isError(status))
        fail(in, "the zstd data is damaged");
    return out.pos;
}
#endif

static size_t unpack(struct input *in, char *to, size_t room)
{
    size_t n = in->raw_held < room ? in->raw_held : room;

    if (n == 0 && !in->frame_open)
        return 0; /* asking an unpacker now would begin another frame */
    switch (in->packing) {
    case PLAIN:
        memcpy(to, in->raw + in->raw_at, n);
        in->raw_at += n;
        in->raw_held -= n;
        return n;
    case GZIP:
#ifdef CORRAL_ZLIB
        return unpack_gzip(in, to, room);
#else
        break;
#endif
    case ZSTD:
#ifdef CORRAL_ZSTD
        return unpack_zstd(in, to, room);
#else
        break;
#endif
    }
    return 0;
}

static void fill(struct input *in)
{
    memmove(in->plain, in->plain + in->at, in->held);
    in->at = 0;
    while (!in->ended && in->held < PLAIN_SIZE) {
        size_t got;

        if (in->raw_held == 0 || in->raw_at > RAW_SIZE / 2)
            read_raw(in);
        got = unpack(in, in->plain + in->held, PLAIN_SIZE - in->held);
        in->held += got;
        if (got == 0 && in->raw_held == 0 && in->raw_ended) {
            in->ended = true;
            if (in->frame_open && !in->failed)
                fail(in, "the compressed data ends too early");
        }
    }
}

static bool start_unpacking(struct input *in)
{
    const unsigned char *m = (const unsigned char *)in->raw;

    read_raw(in);
    if (in->raw_held >= 2 && m[0] == 0x1f && m[1] == 0x8b)
        in->packing = GZIP;
    else if (in->raw_held >= 4 && m[0] == 0x28 && m[1] == 0xb5 && m[2] == 0x2f && m[3] == 0xfd)
        in->packing = ZSTD;
#ifdef CORRAL_ZLIB
    if (in->packing == GZIP && inflateInit2(&in->gzip, 15 + 16) != Z_OK)
        return false;
#else
    if (in->packing == GZIP)
        fail(in, "is packed with gzip, and this build has no zlib: take - as the trace, and gzip -dc before "
                 "a pipe");
#endif
#ifdef CORRAL_ZSTD
    if (in->packing == ZSTD && (in->zstd = ZSTD_createDStream()) == NULL)
        return false;
#else
    if (in->packing == ZSTD)
        fail(in, "is packed with zstd, and this build has no libzstd: take - as the trace, and zstd -dc "
                 "before a pipe");
#endif
    return !in->failed;
}

struct input *input_open(const char *path)
{
    struct input *in = calloc(1, sizeof(*in));
    struct stat st;

    if (in == NULL)
        return NULL;
    in->path = strcmp(path, "-") == 0 ? "stdin" : path;
    in->fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    in->raw = malloc(RAW_SIZE);
    in->plain = malloc(PLAIN_SIZE);
    if (in->fd < 0 || fstat(in->fd, &st) != 0)
        fail(in, strerror(errno));
    else if (S_ISDIR(st.st_mode))
        fail(in, "is a directory");
    else if (S_ISREG(st.st_mode))
        in->file_size = (uint64_t)st.st_size;
    if (in->failed || in->raw == NULL || in->plain == NULL || !start_unpacking(in))
        input_close(&in);
    return in;
}

void input_close(struct input **inp)
{
    struct input *in = *inp;

    if (in == NULL)
        return;
#ifdef CORRAL_ZLIB
    if (in->packing == GZIP)
        inflateEnd(&in->gzip);
#endif
#ifdef CORRAL_ZSTD
    ZSTD_freeDStream(in->zstd);
#endif
    if (in->fd >= 0)
        close(in->fd);
    free(in->raw);
    free(in->plain);
    free(in);
    *inp = NULL;
}

size_t input_peek(struct input *in, size_t want, const char **at)
{
    if (in->held < want)
        fill(in);
    *at = in->plain + in->at;
    return in->held < want ? in->held : want;
}

void input_skip(struct input *in, size_t bytes)
{
    in->at += bytes;
    in->held -= bytes;
}

bool input_line(struct input *in, const char **line, size_t *len)
{
    const char *end = memchr(in->plain + in->at, '\n', in->held);

    if (end == NULL) {
        fill(in);
        end = memchr(in->plain + in->at, '\n', in->held);
    }
    *line = in->plain + in->at;
    *len = end != NULL ? (size_t)(end - *line) : in->held;
    if (in->failed || (end == NULL && in->held == 0))
        return false;
    if (*len > INPUT_PEEK_MAX) {
        fail(in, "a line is longer than 64 KiB: this is no trace that I know");
        return false;
    }
    input_skip(in, *len + (end != NULL));
    if (*len > 0 && (*line)[*len - 1] == '\r')
        --*len;
    return true;
}

bool input_failed(const struct input *in)
{
    return in->failed;
}

double input_progress(const struct input *in)
{
    return in->file_size > 0 ? (double)in->raw_total / (double)in->file_size : -1;
}
