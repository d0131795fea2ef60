/* pidfile.h - the file that says which process runs, and keeps a second from starting.
 *
 * The file is locked as long as the process lives, and the kernel takes the
 * lock away however it ends. So a file that a crash left behind is told from
 * that of a living node without looking at process ids, which are used again. */
#ifndef CORRAL_PIDFILE_H
#define CORRAL_PIDFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct pidfile {
    char *path; /* NULL: there is none */
    int fd;
};

/* Opens and locks it; nothing of a running process's file is changed. An empty
 * path needs no file. False: err says why, in one line. */
bool pidfile_claim(struct pidfile *pidfile, const char *path, char *err, size_t err_len);
/* Writes this process's id: after going to the background. */
bool pidfile_write(struct pidfile *pidfile);
/* The user that the process is about to become must be able to write it again. */
bool pidfile_give(struct pidfile *pidfile, uid_t uid, gid_t gid);
/* Removes it. Copes with one that was never claimed. */
void pidfile_remove(struct pidfile *pidfile);

#endif
