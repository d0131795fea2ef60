/* state_file.h - what a node remembers of its cluster over a restart: who it is, how often it was started,
 * and where others were seen last.
 *
 *   # corrald keeps this file. ...
 *   id 40 hex digits
 *   boots 1763754000
 *   peer 10.0.0.1:7946
 *
 * It is written beside and then put in place, so there is always a whole one. A thread of its own writes:
 * a disk that takes seconds is not to keep a node from answering those who ask whether it lives. */
#ifndef CORRAL_STATE_FILE_H
#define CORRAL_STATE_FILE_H

#include "cluster/address.h"
#include "cluster/node_id.h"
#include "protocol/bytes.h"

enum { STATE_PEERS_MAX = 32 };

struct state {
    struct node_id id;
    uint64_t boots;
    struct address peers[STATE_PEERS_MAX];
    size_t peer_count;
};

enum state_verdict {
    STATE_READ,
    STATE_NONE, /* there is no such file */
    STATE_WRONG /* err says why */
};
enum state_verdict state_read(const char *path, struct state *state, char *err, size_t err_len);
/* False: err says why, and the file is as it was. */
bool state_write(const char *path, const struct state *state, char *err, size_t err_len);

struct state_writer;
/* NULL without memory or thread. */
struct state_writer *state_writer_new(const char *path);
/* Waits until all that was given is written, or could not be. */
void state_writer_free(struct state_writer **writer);
/* Copied; of several that wait, only the last is written. Failures are logged, the first of a row. */
void state_writer_give(struct state_writer *writer, const struct state *state);

/* 40 hex digits, and nothing else. */
bool node_id_from_text(struct slice text, struct node_id *id);

#endif
