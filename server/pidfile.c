#include "server/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whoever ended just now may have removed the file that we have opened. */
static bool still_there(int fd, const char *path)
{
    struct stat ours, theirs;

    return fstat(fd, &ours) == 0 && stat(path, &theirs) == 0 && ours.st_ino == theirs.st_ino &&
           ours.st_dev == theirs.st_dev;
}

static void say_locked(int fd, const char *path, char *err, size_t err_len)
{
    char text[32];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    long pid;

    text[n > 0 ? n : 0] = '\0';
    pid = strtol(text, NULL, 10);
    snprintf(err, err_len,
             "pidfile %s belongs to a running process (%ld): stop that, or choose another --pidfile", path,
             pid);
}

bool pidfile_claim(struct pidfile *p, const char *path, char *err, size_t err_len)
{
    *p = (struct pidfile){.path = NULL, .fd = -1};
    if (path[0] == '\0')
        return true;
    for (;;) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

        if (fd < 0) {
            snprintf(err, err_len, "cannot write pidfile %s: %s", path, strerror(errno));
            return false;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            say_locked(fd, path, err, err_len);
            close(fd);
            return false;
        }
        if (still_there(fd, path)) {
            *p = (struct pidfile){strdup(path), fd};
            return true;
        }
        close(fd);
    }
}

bool pidfile_write(struct pidfile *p)
{
    return p->path == NULL || (ftruncate(p->fd, 0) == 0 && dprintf(p->fd, "%d\n", (int)getpid()) > 0);
}

bool pidfile_give(struct pidfile *p, uid_t uid, gid_t gid)
{
    return p->path == NULL || fchown(p->fd, uid, gid) == 0;
}

void pidfile_remove(struct pidfile *p)
{
    if (p->path == NULL)
        return;
    /* Emptied as well, for a folder that the process may not remove it from. */
    if (unlink(p->path) != 0 && ftruncate(p->fd, 0) != 0)
        fprintf(stderr, "corrald: cannot remove pidfile %s: %s\n", p->path, strerror(errno));
    close(p->fd);
    free(p->path);
    p->path = NULL;
}
