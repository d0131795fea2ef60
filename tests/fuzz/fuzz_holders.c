/* fuzz_holders.c - a packet about who serves what is what it says, or is refused.
 *
 * Input: a packet. What was read is written as the very bytes it came from. What can be read goes to a node
 * as a datagram and on a stream, before and after it has learned the table: it stays whole. */
#include <stdio.h>
#include <stdlib.h>

#include "cluster/cluster_inside.h"
#include "cluster/message.h"

#define HOLDS(ok) ((ok) ? (void)0 : (fprintf(stderr, "line %d: %s does not hold\n", __LINE__, #ok), abort()))

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

static int64_t now;
static uint64_t dice = 1;

static void send_datagram(void *ctx, const struct address *to, struct slice bytes)
{
    (void)ctx;
    (void)to;
    HOLDS(bytes.len <= DATAGRAM_MAX);
}
static uint64_t open_stream(void *ctx, const struct address *to)
{
    (void)ctx;
    (void)to;
    return ++dice;
}
static bool send_stream(void *ctx, uint64_t stream, struct slice message)
{
    (void)ctx;
    HOLDS(stream != 0 && message.len <= STREAM_MESSAGE_MAX);
    return true;
}
static void close_stream(void *ctx, uint64_t stream)
{
    (void)ctx;
    (void)stream;
}
static void set_alarm(void *ctx, int64_t at)
{
    (void)ctx;
    (void)at;
}
static int64_t now_us(void *ctx)
{
    (void)ctx;
    return now;
}
static uint64_t random_number(void *ctx)
{
    (void)ctx;
    return dice = dice * 6364136223846793005 + 1442695040888963407;
}
static void on_publish(void *owner, const struct cluster_state *state, enum cluster_cause cause,
                       const struct node_id *about)
{
    (void)owner;
    (void)cause;
    (void)about;
    view_check(state->view);
}

static bool check_codec(struct slice packet)
{
    uint8_t *room = malloc(STREAM_MESSAGE_MAX + 64);
    struct slice again = {0};
    struct holder_message m;
    struct holder_writer w;
    struct held held;
    bool read = holder_message_read(packet, GRANULES_MIN, &m);

    if (read) {
        switch (m.type) {
        case HOLDER_ENTRIES:
            holder_write_entries(&w, room, STREAM_MESSAGE_MAX, GRANULES_MIN, m.buckets);
            for (unsigned i = 0; i < m.count; i++) {
                unsigned granule = holder_message_entry(&m, i, &held);
                HOLDS(holder_write_entry(&w, granule, &held));
            }
            again = holder_write_end(&w, m.flags);
            break;
        case HOLDER_DIGEST: again = holder_write_digest(room, 256, GRANULES_MIN, m.bucket); break;
        case HOLDER_CLAIM:
        case HOLDER_GIVEN:
        case HOLDER_PULLED:
            holder_write_list(&w, room, STREAM_MESSAGE_MAX, m.type, GRANULES_MIN, m.boots);
            for (unsigned i = 0; i < m.count; i++)
                HOLDS(holder_write_granule(&w, holder_message_granule(&m, i)));
            again = holder_write_end(&w, 0);
            break;
        }
        HOLDS(slice_equals(again, packet));
    }
    free(room);
    return read;
}

static void meet(struct transport_user *user, const struct origin *origin)
{
    struct message m = {
        .type = MESSAGE_RECORD,
        .record = {.id = origin->id, .incarnation = 1 << 16, .address = origin->address, .weight = 1}};
    uint8_t room[DATAGRAM_MAX];
    struct packet packet;

    packet_begin(&packet, room, sizeof room);
    HOLDS(packet_put(&packet, &m));
    user->datagram(user->owner, origin, (struct slice){packet.bytes, packet.len});
}

static void check_node(struct slice packet, bool late)
{
    struct transport out = {NULL,         send_datagram, open_stream, send_stream,
                            close_stream, set_alarm,     now_us,      random_number};
    struct membership_self self = {.id = {{1}}, .boots = 1, .weight = 1};
    struct cluster_options options = cluster_lan();
    struct origin origin = {.id = {{2}}};
    struct transport_user user;
    struct cluster *c;

    options.membership.members_max = 8;
    options.rules.granules = GRANULES_MIN;
    address_parse("10.0.0.1:1", &self.address);
    address_parse("10.0.0.2:1", &origin.address);
    c = cluster_new(&options, &self, out, (struct cluster_hooks){NULL, on_publish, NULL});
    HOLDS(c != NULL);
    cluster_start(c);
    user = cluster_user(c);
    for (int i = 0; late && i < 4; i++) {
        now += 300000;
        user.alarm(user.owner);
    }
    meet(&user, &origin);
    for (int i = 0; i < 4; i++) {
        user.datagram(user.owner, &origin, packet);
        user.stream_message(user.owner, (uint64_t)(1000 + i / 3), &origin, packet);
        cluster_check(c);
        now += 400000;
        user.alarm(user.owner);
        cluster_check(c);
    }
    cluster_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    uint8_t *copy;

    if (len > STREAM_MESSAGE_MAX)
        return 0;
    copy = malloc(len + 1); /* of this size, so that one byte too far is seen */
    if (len > 0)
        memcpy(copy, in, len);
    copy = realloc(copy, len > 0 ? len : 1);
    if (check_codec((struct slice){copy, len})) {
        check_node((struct slice){copy, len}, false);
        check_node((struct slice){copy, len}, true);
    }
    free(copy);
    return 0;
}
