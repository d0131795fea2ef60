/* fuzz_packet.c - a packet of the control plane decodes into what it says, or is refused.
 *
 * Input: a packet. What was taken is written as the very bytes it came from.
 * The same bytes go to a node as a datagram and on a stream: it stays whole.
 * And as a sealed frame, which they are not. */
#include <stdio.h>
#include <stdlib.h>

#include "cluster/frame.h"
#include "cluster/member.h"

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

static void check_codec(struct slice packet)
{
    uint8_t room[STREAM_MESSAGE_MAX];
    struct packet again;
    struct slice rest = packet;
    struct message message;

    if (!packet_open(&rest))
        return;
    packet_begin(&again, room, sizeof room);
    while (rest.len > 0 && packet_take(&rest, &message)) {
        HOLDS(packet_put(&again, &message));
        HOLDS(again.len == packet.len - rest.len);
    }
    HOLDS(memcmp(again.bytes, packet.data, again.len) == 0);
}

static void check_node(struct slice packet)
{
    struct transport out = {NULL,         send_datagram, open_stream, send_stream,
                            close_stream, set_alarm,     now_us,      random_number};
    struct membership_self self = {.id = {{1}}, .boots = 1, .weight = 1};
    struct membership_options options = membership_lan();
    struct origin origin = {.id = {{2}}};
    struct membership *m;
    struct transport_user user;

    options.members_max = 8;
    address_parse("10.0.0.1:1", &self.address);
    address_parse("10.0.0.2:1", &origin.address);
    m = membership_new(&options, &self, out, (struct membership_hooks){0});
    HOLDS(m != NULL);
    membership_start(m);
    user = membership_user(m);
    for (int i = 0; i < 6; i++) {
        user.datagram(user.owner, &origin, packet);
        user.stream_message(user.owner, (uint64_t)(1000 + i / 3), &origin, packet);
        membership_check(m);
        now += 400000;
        user.alarm(user.owner);
        membership_check(m);
    }
    membership_free(&m);
}

static void check_frame(struct slice packet)
{
    struct keyring *ring = keyring_new();
    struct cluster_identity identity = {.generation = 1};
    struct node_id self = {{1}}, sender;
    uint8_t key[KEY_BYTES] = {1}, out[STREAM_MESSAGE_MAX];
    struct frame_stream stream = {0};
    struct frames *frames;
    uint32_t id;
    size_t len;

    HOLDS(ring != NULL && keyring_install(ring, key, &id) == KEYRING_DONE);
    frames = frames_new(ring, &identity, &self, 1, 4);
    HOLDS(frames != NULL);
    HOLDS(frame_open(frames, packet, out, &len, &sender) != FRAME_GOOD);
    HOLDS(frame_open_on(frames, &stream, packet, out, &len, &sender) != FRAME_GOOD);
    frames_free(&frames);
    keyring_free(&ring);
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
    check_codec((struct slice){copy, len});
    check_node((struct slice){copy, len});
    check_frame((struct slice){copy, len});
    free(copy);
    return 0;
}
