/* load_herd_link.h - a connection with one question under way at a time. */
#ifndef CORRAL_BENCH_LOAD_HERD_LINK_H
#define CORRAL_BENCH_LOAD_HERD_LINK_H

#include "bench/load_herd_reply.h"
#include "bench/load_net.h"

struct herd_out;

/* All zeroes but fd = -1 is one that was never opened. */
struct herd_link {
    int fd;
    enum herd_dialect dialect;
    uint8_t *in; /* what came of the answer */
    size_t in_size;
    size_t in_len;
    uint8_t *kept; /* what a full socket did not take, or NULL */
    size_t kept_at;
    size_t kept_len;
};

struct herd_door {
    struct server_address server;
    enum herd_dialect dialect;
    bool resp3;         /* greet with HELLO 3 */
    size_t answer_size; /* of the longest answer */
};

enum herd_link_status { HERD_LINK_OK, HERD_LINK_WAITS, HERD_LINK_LOST };

/* False and a sentence in `why` when there is nobody, or HELLO is refused. Copes
 * with one that is open already: closes that first. */
bool herd_link_open(struct herd_link *link, const struct herd_door *door, char *why, size_t why_size);
/* Keeps the memory for the next opening. */
void herd_link_close(struct herd_link *link);
void herd_link_free(struct herd_link *link);

/* WAITS: the socket is full; call herd_link_flush when it can be written again. */
enum herd_link_status herd_link_send(struct herd_link *link, const struct herd_out *out);
enum herd_link_status herd_link_flush(struct herd_link *link);
/* Reads what is there. WAITS: nothing came. */
enum herd_link_status herd_link_receive(struct herd_link *link);
/* The answer, once it is whole. Its slices are good until the next receive.
 * Bytes after it are BROKEN: nothing was asked that they could answer. */
enum herd_take herd_link_take(struct herd_link *link, struct herd_reply *reply);

/* Sends and waits for the answer, five seconds at most. */
bool herd_link_exchange(struct herd_link *link, const struct herd_out *out, struct herd_reply *reply,
                        char *why, size_t why_size);

#endif
