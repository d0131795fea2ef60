/* message.h - what nodes tell each other about nodes: bytes <-> structs. Pure functions.
 *
 * A packet, which is a datagram or one message on a stream, is a version byte
 * and then messages up to its end. Numbers are big-endian:
 *
 *   ping      1  seq:4 target:20 epoch:8 load:4 table:8 time:8   "are you there, and are you target?"
 *   ack       2  seq:4 epoch:8 load:4 table:8
 *   nack      3  seq:4                              "I asked for you, and heard nothing yet"
 *   relay     4  seq:4 target:20 address            "ask target for me"
 *   stranger  5  seq:4 target:20                    "I live here now, and am not target"
 *   record    6  id:20 incarnation:8 state:1 probation:1 weight:2 zone address services
 *                and of a suspect: accusers:1 hard:1 accuser:8 ...
 *   digest    7  live:4 32 * bucket:8
 *   sync      8  buckets:4 flags:1                  flags: 1 = last, 2 = answer with yours
 *
 *   zone = len:1 and up to 15 letters, digits and ._:/-
 *   address = 4 or 6, 4 or 16 bytes, port:2
 *   services = port:2 client:2 memcache:2 link:2 hostname
 *   hostname = len:1 and up to 63 letters, digits and ._-
 *
 * Every struct has one encoding, and nothing else decodes. */
#ifndef CORRAL_MESSAGE_H
#define CORRAL_MESSAGE_H

#include "cluster/transport.h"

enum { MESSAGE_VERSION = 1, DIGEST_BUCKETS = 32, ACCUSERS_MAX = 3, ZONE_MAX = 15, HOSTNAME_MAX = 63 };

/* Where a node serves whom, at the IP address of its record; 0: it does not. A name of at most 63
 * bytes keeps a record small beside the packets that carry it. */
struct services {
    uint16_t port, client_port, memcache_port, link_port;
    char hostname[HOSTNAME_MAX + 1]; /* "": none */
};

/* Of two records of one incarnation, the later state holds. */
enum member_state { MEMBER_ALIVE, MEMBER_SUSPECT, MEMBER_DEAD, MEMBER_LEFT };

/* What is known of a node, by whomever it is told. */
struct record {
    struct node_id id;
    uint64_t incarnation; /* boots << 16 | refutations; only the node itself raises it */
    struct address address;
    uint16_t weight;
    uint8_t state;     /* enum member_state */
    uint8_t probation; /* 0: none; k: it is in its k-th, a member but not an owner */
    char zone[ZONE_MAX + 1];
    struct services services;
};
/* Whether they can be told at all. */
bool zone_valid(const char *);
bool hostname_valid(const char *);

/* Who says so of a suspect. A bit in `hard`: that one was told that the port is dead. */
struct accusation {
    uint8_t count, hard;
    uint64_t accuser[ACCUSERS_MAX]; /* the first bytes of their ids */
};

/* What changes too often for records. `table` is equal for those who have the same table of holders. */
struct vitals {
    uint64_t epoch, table;
    uint32_t load;
};

struct digest {
    uint32_t live;
    uint64_t bucket[DIGEST_BUCKETS];
};

enum message_type {
    MESSAGE_PING = 1,
    MESSAGE_ACK,
    MESSAGE_NACK,
    MESSAGE_RELAY,
    MESSAGE_STRANGER,
    MESSAGE_RECORD,
    MESSAGE_DIGEST,
    MESSAGE_SYNC
};

struct message {
    enum message_type type;
    uint32_t seq;           /* ping, ack, nack, relay, stranger */
    struct node_id target;  /* ping, relay, stranger */
    struct address address; /* relay */
    struct vitals vitals;   /* ping, ack */
    uint64_t time_us;       /* ping: the time that the cluster counts rounds by */
    union {
        struct {
            struct record record;
            struct accusation accusation;
        };
        struct digest digest;
        struct {
            uint32_t buckets;
            bool last, answer;
        } sync;
    };
};

/* A packet being written into somebody's memory. */
struct packet {
    uint8_t *bytes;
    size_t len, room;
};
void packet_begin(struct packet *, uint8_t *room, size_t size);
/* False, and nothing was written, when it does not fit. */
bool packet_put(struct packet *, const struct message *);

/* Eats the version byte; false when it is not ours. */
bool packet_open(struct slice *);
/* Eats one message. False when what is there is none; the slice is then of no more use. */
bool packet_take(struct slice *, struct message *out);

#endif
