#include "server/options_rewrite.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char mark[] = "# Added by CONFIG REWRITE";

struct rewrite {
    const struct options *now;
    struct options as_read; /* what the lines so far have set */
    bool *written;          /* by option: it has its line */
    FILE *out;
    bool has_mark;
};

static bool is_now(const struct rewrite *r, size_t i)
{
    char now[OPTION_VALUE_MAX], read[OPTION_VALUE_MAX];

    options_get(r->now, options_name(i), now);
    options_get(&r->as_read, options_name(i), read);
    return strcmp(now, read) == 0;
}

static void write_option(struct rewrite *r, size_t i)
{
    char value[OPTION_FILE_MAX];

    options_file_value(r->now, i, value);
    fprintf(r->out, "%s %s\n", options_name(i), value);
}

static bool rewrite_line(struct rewrite *r, const char *line, size_t length, struct option_error *err)
{
    char *words = malloc(length + 1); /* reading a line overwrites it */
    int i;

    if (words == NULL)
        return false;
    memcpy(words, line, length + 1);
    i = options_read_line(&r->as_read, words, length, err);
    free(words);
    if (i == OPTION_LINE_WRONG)
        return false;
    if (i == OPTION_LINE_EMPTY) {
        r->has_mark |= strncmp(line, mark, sizeof mark - 1) == 0;
        fwrite(line, 1, length, r->out);
        return true;
    }
    if (r->written[i])
        return true;
    r->written[i] = true;
    if (is_now(r, (size_t)i))
        fwrite(line, 1, length, r->out);
    else
        write_option(r, (size_t)i);
    return true;
}

static bool rewrite_lines(struct rewrite *r, FILE *in, struct option_error *err)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    bool good = true, ended = true;

    while (good && (length = getline(&line, &room, in)) > 0) {
        ended = line[length - 1] == '\n';
        good = rewrite_line(r, line, (size_t)length, err);
    }
    free(line);
    if (!ended)
        fputc('\n', r->out);
    return good && !ferror(in);
}

/* Defaults, except where the file said otherwise: those have their lines already. */
static void add_rest(struct rewrite *r)
{
    struct options defaults;

    options_defaults(&defaults);
    for (size_t i = 0; i < options_count(); i++) {
        char now[OPTION_VALUE_MAX], fresh[OPTION_VALUE_MAX];

        options_get(r->now, options_name(i), now);
        options_get(&defaults, options_name(i), fresh);
        if (r->written[i] || strcmp(now, fresh) == 0)
            continue;
        if (!r->has_mark)
            fprintf(r->out, "\n%s\n", mark);
        r->has_mark = true;
        write_option(r, i);
    }
    options_free(&defaults);
}

static bool write_all(const struct options *o, FILE *in, FILE *out, struct option_error *err)
{
    struct rewrite r = {.now = o, .out = out, .written = calloc(options_count(), sizeof *r.written)};
    bool good;

    if (r.written == NULL)
        return false;
    options_defaults(&r.as_read);
    r.as_read.policy_ok = o->policy_ok;
    good = rewrite_lines(&r, in, err);
    if (good)
        add_rest(&r);
    options_free(&r.as_read);
    free(r.written);
    return good && fflush(out) == 0 && fsync(fileno(out)) == 0;
}

/* So that the new name is there after a power cut, too. */
static bool sync_folder(const char *path)
{
    char copy[PATH_MAX];
    int fd;
    bool good;

    snprintf(copy, sizeof copy, "%s", path);
    if ((fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        return false;
    good = fsync(fd) == 0;
    close(fd);
    return good;
}

/* The file beside it, with the same owner and permissions; it may hold a password. */
static FILE *open_beside(const char *path, int like, char beside[PATH_MAX])
{
    struct stat st;
    FILE *out;
    int fd;

    if (snprintf(beside, PATH_MAX, "%s.rewrite-%d", path, (int)getpid()) >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    unlink(beside); /* of a crash */
    if (fstat(like, &st) != 0 || (fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
        return NULL;
    if (fchown(fd, st.st_uid, st.st_gid) != 0 && st.st_uid != geteuid())
        st.st_mode &= 0700; /* not the same owner: then nobody else's either */
    if (fchmod(fd, st.st_mode & 07777) != 0 || (out = fdopen(fd, "w")) == NULL) {
        close(fd);
        unlink(beside);
        return NULL;
    }
    return out;
}

/* Two at a time would take each other's file. */
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static bool refuse(struct option_error *err)
{
    if (err->text[0] == '\0')
        snprintf(err->text, sizeof err->text, "%s", strerror(errno));
    return false;
}

static bool replace_file(const struct options *o, struct option_error *err)
{
    char beside[PATH_MAX];
    FILE *in = fopen(o->file, "re"), *out;
    bool good;

    err->text[0] = '\0';
    if (in == NULL)
        return refuse(err);
    if ((out = open_beside(o->file, fileno(in), beside)) == NULL) {
        refuse(err);
        fclose(in);
        return false;
    }
    errno = ENOMEM;
    good = write_all(o, in, out, err) || refuse(err);
    fclose(in);
    if (fclose(out) != 0)
        good = good && refuse(err);
    if (good && (rename(beside, o->file) != 0 || !sync_folder(o->file)))
        good = refuse(err);
    if (!good)
        unlink(beside);
    return good;
}

bool options_rewrite(const struct options *o, struct option_error *err)
{
    bool good;

    pthread_mutex_lock(&one_at_a_time);
    good = replace_file(o, err);
    pthread_mutex_unlock(&one_at_a_time);
    return good;
}
