#include "server/cluster/state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/log.h"

enum {
    LINE_BYTES = 256,
    TEXT_BYTES = 512 + STATE_PEERS_MAX * (ADDRESS_TEXT_MAX + 8),
};

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool node_id_from_text(struct slice text, struct node_id *id)
{
    if (text.len != NODE_ID_TEXT)
        return false;
    for (size_t i = 0; i < NODE_ID_BYTES; i++) {
        int high = hex_digit(text.data[2 * i]), low = hex_digit(text.data[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        id->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* ---- reading ---- */

struct seen {
    bool id, boots;
};

static bool read_number(const char *text, uint64_t *out)
{
    char *end;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return *end == '\0' && errno == 0;
}

/* Words that a later version may have added are skipped. */
static bool read_line(char *line, struct state *state, struct seen *seen)
{
    char *value = strchr(line, ' ');

    if (line[0] == '#' || line[0] == '\0')
        return true;
    if (value == NULL)
        return false;
    *value++ = '\0';
    if (strcmp(line, "id") == 0)
        return seen->id = node_id_from_text(slice_of(value), &state->id);
    if (strcmp(line, "boots") == 0)
        return seen->boots = read_number(value, &state->boots);
    if (strcmp(line, "peer") == 0 && state->peer_count < STATE_PEERS_MAX)
        return address_parse(value, &state->peers[state->peer_count++]);
    return true;
}

static bool read_lines(FILE *file, struct state *state, char *err, size_t err_len)
{
    struct seen seen = {0};
    char line[LINE_BYTES];

    for (unsigned number = 1; fgets(line, sizeof line, file) != NULL; number++) {
        size_t len = strlen(line);

        if (len == 0 || line[len - 1] != '\n') {
            snprintf(err, err_len, "line %u has no end", number);
            return false;
        }
        line[len - 1] = '\0';
        if (!read_line(line, state, &seen)) {
            snprintf(err, err_len, "line %u is not understood", number);
            return false;
        }
    }
    if (ferror(file))
        snprintf(err, err_len, "%s", strerror(errno));
    else if (!seen.id || !seen.boots)
        snprintf(err, err_len, "it has no %s", seen.id ? "boots" : "id");
    return !ferror(file) && seen.id && seen.boots;
}

enum state_verdict state_read(const char *path, struct state *state, char *err, size_t err_len)
{
    FILE *file = fopen(path, "re");
    bool ok;

    *state = (struct state){.boots = 0};
    if (file == NULL) {
        snprintf(err, err_len, "%s", strerror(errno));
        return errno == ENOENT ? STATE_NONE : STATE_WRONG;
    }
    ok = read_lines(file, state, err, err_len);
    fclose(file);
    return ok ? STATE_READ : STATE_WRONG;
}

/* ---- writing ---- */

static size_t print(const struct state *state, char text[TEXT_BYTES])
{
    char id[NODE_ID_TEXT + 1] = "", address[ADDRESS_TEXT_MAX];
    int len;

    node_id_to_text(&state->id, id);
    len = snprintf(text, TEXT_BYTES,
                   "# corrald keeps this file: by it, a node is the same to its cluster after a restart, "
                   "and finds the others again.\n"
                   "# No two nodes may have a copy of it.\n"
                   "id %s\nboots %" PRIu64 "\n",
                   id, state->boots);
    for (size_t i = 0; i < state->peer_count; i++) {
        address_print(&state->peers[i], address);
        len += snprintf(text + len, TEXT_BYTES - (size_t)len, "peer %s\n", address);
    }
    return (size_t)len;
}

static bool write_beside(const char *path, const char *text, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool ok;

    if (fd < 0)
        return false;
    ok = write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;
    return close(fd) == 0 && ok;
}

/* So that the new name is on the disk, too. A folder that cannot be flushed is no reason to fail. */
static void flush_folder(const char *path)
{
    char copy[PATH_MAX];
    int fd;

    snprintf(copy, sizeof copy, "%s", path);
    if ((fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        return;
    if (fsync(fd) != 0)
        log_event(LOG_LEVEL_VERBOSE, "folder_not_flushed", "path=%s reason=\"%s\"", path, strerror(errno));
    close(fd);
}

bool state_write(const char *path, const struct state *state, char *err, size_t err_len)
{
    char beside[PATH_MAX], text[TEXT_BYTES];
    size_t len = print(state, text);

    if ((size_t)snprintf(beside, sizeof beside, "%s.new", path) >= sizeof beside) {
        snprintf(err, err_len, "%s", strerror(ENAMETOOLONG));
        return false;
    }
    errno = EIO; /* what a short write is, if it is not said otherwise */
    if (!write_beside(beside, text, len) || rename(beside, path) != 0) {
        snprintf(err, err_len, "%s", strerror(errno));
        unlink(beside);
        return false;
    }
    flush_folder(path);
    return true;
}

/* ---- in a thread ---- */

struct state_writer {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t given;
    bool waits, stop;
    struct state state;
    char *path;
};

static void *write_all(void *arg)
{
    struct state_writer *w = arg;
    char err[128];
    bool failing = false;

    pthread_setname_np(pthread_self(), "state-file");
    pthread_mutex_lock(&w->lock);
    while (w->waits || !w->stop) {
        struct state state = w->state;

        if (!w->waits) {
            pthread_cond_wait(&w->given, &w->lock);
            continue;
        }
        w->waits = false;
        pthread_mutex_unlock(&w->lock);
        if (state_write(w->path, &state, err, sizeof err)) {
            failing = false;
        } else if (!failing) {
            failing = true;
            log_event(LOG_LEVEL_WARNING, "cluster_file_not_written",
                      "path=%s reason=\"%s\": after a restart this node may be another one to its cluster",
                      w->path, err);
        }
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

struct state_writer *state_writer_new(const char *path)
{
    struct state_writer *w = calloc(1, sizeof *w);

    if (w == NULL || (w->path = strdup(path)) == NULL) {
        free(w);
        return NULL;
    }
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->given, NULL);
    if (pthread_create(&w->thread, NULL, write_all, w) == 0)
        return w;
    pthread_cond_destroy(&w->given);
    pthread_mutex_destroy(&w->lock);
    free(w->path);
    free(w);
    return NULL;
}

void state_writer_give(struct state_writer *w, const struct state *state)
{
    pthread_mutex_lock(&w->lock);
    w->state = *state;
    w->waits = true;
    pthread_cond_signal(&w->given);
    pthread_mutex_unlock(&w->lock);
}

void state_writer_free(struct state_writer **writer)
{
    struct state_writer *w = *writer;

    *writer = NULL;
    if (w == NULL)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->given);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->given);
    pthread_mutex_destroy(&w->lock);
    free(w->path);
    free(w);
}
