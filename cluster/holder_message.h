/* holder_message.h - what nodes tell each other about who serves what: bytes <-> structs. Pure functions.
 *
 * A packet, which is a datagram or one message on a stream, is one message. Its type byte stands where
 * packets about members (message.h) have theirs, and tells the two apart. Numbers are big-endian:
 *
 *   version:1  type:1  log2 of granules:1  and then
 *
 *   entries 32  flags:1 buckets:2 count:2 count * entry, holder ...      up to the end
 *   digest  33  16 * bucket:8
 *   claim   34  boots:8 granule:2 ...     "I own these now: yield them to me, who was started so often"
 *   given   35  boots:8 granule:2 ...     "I yielded these to you, who were started so often: have you all of
 * them?" pulled  36  boots:8 granule:2 ...     "I have all of these that you, who were started so often, had"
 *
 *   entry  = granule:2 version:8 holder:1 source:1    indices of the holders that follow; source 255: none
 *   holder = id:20 boots:8
 *   flags: 1 = last of these, 2 = answer with yours of these buckets, 4 = the teller has learned the table
 *
 * Every message has one encoding, and nothing else decodes: granules ascend, holders stand in the order in
 * which entries first name them, each once. */
#ifndef CORRAL_HOLDER_MESSAGE_H
#define CORRAL_HOLDER_MESSAGE_H

#include "cluster/holders.h"
#include "protocol/bytes.h"

enum holder_message_type { HOLDER_ENTRIES = 32, HOLDER_DIGEST, HOLDER_CLAIM, HOLDER_GIVEN, HOLDER_PULLED };

enum { HOLDER_LAST = 1, HOLDER_ANSWER = 2, HOLDER_LEARNED = 4 };

/* Whether a packet is one of these rather than one of message.h. */
bool holder_message_is(struct slice packet);

/* One that was read. What it refers to lies in the packet. */
struct holder_message {
    enum holder_message_type type;
    unsigned flags;                   /* entries */
    uint16_t buckets;                 /* entries: a bit for each that it is about */
    unsigned count;                   /* entries or granules */
    uint64_t bucket[HOLDERS_BUCKETS]; /* digest */
    uint64_t boots;                   /* claim, given, pulled */
    const uint8_t *items;
    const uint8_t *holders;
};
/* False when it is none, or of another number of granules. */
bool holder_message_read(struct slice packet, unsigned granules, struct holder_message *out);
/* Entry i of entries. */
unsigned holder_message_entry(const struct holder_message *, unsigned i, struct held *out);
/* Granule i of a claim, given or pulled. */
unsigned holder_message_granule(const struct holder_message *, unsigned i);

/* One being written into somebody's memory. */
enum { HOLDER_HOLDERS_MAX = 64 };
struct holder_writer {
    uint8_t *bytes;
    size_t len, room;
    unsigned count, holder_count;
    struct holder holders[HOLDER_HOLDERS_MAX];
};
void holder_write_entries(struct holder_writer *, uint8_t *room, size_t size, unsigned granules,
                          uint16_t buckets);
/* Granules must ascend. False, and nothing was written, when it does not fit. */
bool holder_write_entry(struct holder_writer *, unsigned granule, const struct held *);
/* Ends them. */
struct slice holder_write_end(struct holder_writer *, unsigned flags);

struct slice holder_write_digest(uint8_t *room, size_t size, unsigned granules, const uint64_t *buckets);

/* A claim, given or pulled; ends with holder_write_end(w, 0). */
void holder_write_list(struct holder_writer *, uint8_t *room, size_t size, enum holder_message_type,
                       unsigned granules, uint64_t boots);
bool holder_write_granule(struct holder_writer *, unsigned granule);

#endif
