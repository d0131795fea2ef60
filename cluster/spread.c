/* spread.c - how the table of holders gets from node to node, as membership does it: what is new is told to a
 * few, who tell it on; now and then two compare a digest, and even out what differs on a stream. Who starts
 * learns all of it from one who has, before it owns anything: until then its weight is 0. */
#include "cluster/cluster_inside.h"

#include <math.h>
#include <stdlib.h>

#include "server/check.h"

enum {
    MILLISECOND = 1000,
    FANOUT = 4,
    NEWS_PERIOD_US = 20 * MILLISECOND,
    NEWS_PACKETS_MAX = 4, /* to one node in one round */
    NEWS_ROUNDS = 2,      /* times the digits of the number of nodes */
    NEWS_ENTRIES_MAX = DATAGRAM_MAX / 12,
    SESSION_LIFE_US = 10000 * MILLISECOND,
    LEARNING_LIFE_US = 2000 * MILLISECOND,
    ASK_PERIOD_US = 100 * MILLISECOND,
    ASK_IN_VAIN = 3, /* so many who have not learned it either are enough */
    RETURNED_US = 20 * MILLISECOND,
    HURRY = 10,
    QUIET_US = 250 * MILLISECOND, /* after news, and between two comparisons because of vitals */
    ALL_BUCKETS = (1 << HOLDERS_BUCKETS) - 1
};

/* ---- sessions --------------------------------------------------------- */

static struct table_session *session_find(struct cluster *c, uint64_t stream)
{
    for (unsigned i = 0; i < c->session_count; i++)
        if (c->sessions[i].stream == stream)
            return &c->sessions[i];
    return NULL;
}

static void session_new(struct cluster *c, uint64_t stream, enum table_session_kind kind)
{
    int64_t life = kind == TABLE_LEARNING ? LEARNING_LIFE_US : SESSION_LIFE_US;
    struct table_session *s = &c->sessions[c->session_count++];

    CHECK(c->session_count <= TABLE_SESSIONS_MAX);
    *s = (struct table_session){stream, kind, cluster_now(c) + life};
    if (s->until_us < c->session_us)
        c->session_us = s->until_us;
}

static void session_close(struct cluster *c, struct table_session *s)
{
    c->out.close_stream(c->out.ctx, s->stream);
    *s = c->sessions[--c->session_count];
}

static bool is_asking(const struct cluster *c)
{
    for (unsigned i = 0; i < c->session_count; i++)
        if (c->sessions[i].kind != TABLE_SERVED)
            return true;
    return false;
}

/* One place is kept for a stream of our own. */
bool spread_accepts(struct cluster *c, uint64_t stream)
{
    if (session_find(c, stream) != NULL)
        return true;
    if (c->started && c->session_count + 1 < TABLE_SESSIONS_MAX) {
        session_new(c, stream, TABLE_SERVED);
        return true;
    }
    c->counters.table_sessions_refused++;
    c->out.close_stream(c->out.ctx, stream);
    return false;
}

void spread_ended(struct cluster *c, uint64_t stream)
{
    struct table_session *s = session_find(c, stream);

    if (s != NULL)
        *s = c->sessions[--c->session_count];
}

void spread_close(struct cluster *c, uint64_t stream)
{
    struct table_session *s = session_find(c, stream);

    if (s != NULL)
        session_close(c, s);
}

/* ---- entries on streams ----------------------------------------------- */

static bool send_message(struct cluster *c, uint64_t stream, struct holder_writer *w, unsigned flags)
{
    c->counters.entries_told += w->count;
    return c->out.send_stream(c->out.ctx, stream, holder_write_end(w, flags));
}

/* All that are known in those buckets. What a full stream does not take, a later comparison brings. */
static void send_entries(struct cluster *c, uint64_t stream, uint16_t buckets, unsigned flags)
{
    unsigned granules = holders_granules(c->table);
    uint8_t room[STREAM_MESSAGE_MAX];
    struct holder_writer w;

    holder_write_entries(&w, room, sizeof room, granules, buckets);
    for (unsigned g = 0; g < granules; g++) {
        const struct held *held = holders_at(c->table, g);
        if (held->version == 0 || !(buckets >> g % HOLDERS_BUCKETS & 1) || holder_write_entry(&w, g, held))
            continue;
        if (!send_message(c, stream, &w, c->learned ? HOLDER_LEARNED : 0))
            return;
        holder_write_entries(&w, room, sizeof room, granules, buckets);
        CHECK(holder_write_entry(&w, g, held));
    }
    send_message(c, stream, &w, flags | HOLDER_LAST | (c->learned ? HOLDER_LEARNED : 0));
}

static void begin(struct cluster *c, const struct address *to, uint16_t buckets, enum table_session_kind kind)
{
    uint64_t stream;

    if (is_asking(c) || c->session_count == TABLE_SESSIONS_MAX || !cluster_settled(c) ||
        (stream = c->out.open_stream(c->out.ctx, to)) == 0)
        return;
    c->counters.table_exchanges_begun++;
    session_new(c, stream, kind);
    send_entries(c, stream, buckets, HOLDER_ANSWER);
}

static void learn(struct cluster *c)
{
    c->learned = true;
    c->owners_us = cluster_now(c);
    cluster_tell_vitals(c);
    if (!c->draining)
        membership_set_weight(c->members, c->weight);
    cluster_changed(c, CLUSTER_MEMBERS, &c->self);
}

/* The last message of a stream's one question, or of its answer. */
static void last_of(struct cluster *c, struct table_session *s, const struct holder_message *m)
{
    uint64_t stream = s->stream;

    if (s->kind == TABLE_LEARNING && !c->learned) {
        if (m->flags & HOLDER_LEARNED)
            learn(c);
        else
            c->vain++;
    }
    if (s->kind == TABLE_SERVED && (m->flags & HOLDER_ANSWER) && cluster_settled(c)) {
        c->counters.table_exchanges_served++;
        send_entries(c, stream, m->buckets, 0);
    }
    spread_close(c, stream);
}

/* ---- what is told ----------------------------------------------------- */

static void take_entries(struct cluster *c, const struct holder_message *m)
{
    struct held told, was;

    for (unsigned i = 0; i < m->count; i++) {
        unsigned g = holder_message_entry(m, i, &told);
        was = *holders_at(c->table, g);
        if (!holders_merge(c->table, g, &told))
            continue;
        c->counters.entries_news++;
        spread_news(c, g);
        claims_told(c, g, &was);
    }
}

static void compare(struct cluster *c, const struct origin *from, const struct holder_message *m)
{
    uint64_t ours[HOLDERS_BUCKETS];
    unsigned differ = 0;

    holders_digest(c->table, ours);
    for (unsigned i = 0; i < HOLDERS_BUCKETS; i++)
        differ |= (unsigned)(ours[i] != m->bucket[i]) << i;
    if (differ != 0 && c->learned && !c->left)
        begin(c, &from->address, (uint16_t)differ, TABLE_ASKED);
}

void spread_message(struct cluster *c, const struct origin *from, uint64_t stream,
                    const struct holder_message *m)
{
    struct table_session *s = session_find(c, stream);

    if (m->type == HOLDER_DIGEST) {
        compare(c, from, m);
        return;
    }
    take_entries(c, m);
    if (stream != 0 && s != NULL && (m->flags & HOLDER_LAST))
        last_of(c, s, m);
}

/* ---- news ------------------------------------------------------------- */

/* Where there is news, some of it may get lost: the next comparison comes sooner. */
void spread_news(struct cluster *c, unsigned granule)
{
    int64_t now = cluster_now(c), soon = c->spread_us + NEWS_PERIOD_US;
    int64_t hurry = now + cluster_jitter(c, c->options.membership.exchange_period_us / HURRY);

    if (hurry < c->digest_us)
        c->digest_us = hurry;
    c->quiet_us = now + QUIET_US;
    cluster_tell_vitals(c);

    rumours_put(c->news, granule);
    if (c->news_us == NEVER_US)
        c->news_us = soon > now ? soon : now;
    cluster_arm(c);
}

static int ascending(const void *a, const void *b)
{
    return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

/* They are chosen in the order of the rumours, and written in the order that messages have. Returns how many.
 */
static unsigned news_packet(struct cluster *c, unsigned most, unsigned rounds, struct holder_writer *w,
                            uint8_t *room)
{
    unsigned granules = holders_granules(c->table), count = 0;
    uint16_t chosen[NEWS_ENTRIES_MAX];

    holder_write_entries(w, room, DATAGRAM_MAX, granules, 0);
    for (uint32_t at = rumours_first(c->news); at != RUMOURS_END && count < most;) {
        uint32_t g = at;
        if (!holder_write_entry(w, g, holders_at(c->table, g)))
            break;
        chosen[count++] = (uint16_t)g;
        at = rumours_next(c->news);
        rumours_told(c->news, g, rounds);
    }
    qsort(chosen, count, sizeof *chosen, ascending);
    holder_write_entries(w, room, DATAGRAM_MAX, granules, 0);
    for (unsigned i = 0; i < count; i++)
        CHECK(holder_write_entry(w, chosen[i], holders_at(c->table, chosen[i])));
    return count;
}

/* The live others, in the order in which membership has them; NULL without memory. */
static const struct record **others(const struct cluster *c, size_t *count)
{
    const struct record **all = malloc((membership_live(c->members) + 1) * sizeof *all), *r;
    uint32_t cursor = 0;

    *count = 0;
    while (all != NULL && (r = membership_next(c->members, &cursor)) != NULL)
        if (r->state <= MEMBER_SUSPECT && !node_id_equals(&r->id, &c->self))
            all[(*count)++] = r;
    return all;
}

/* In one round the same news goes to a few; what does not fit into it is the first of the next. */
static void tell_news(struct cluster *c, const struct record *const *to, size_t to_count, unsigned rounds)
{
    unsigned left = rumours_count(c->news);

    for (unsigned k = 0; k < NEWS_PACKETS_MAX && left > 0; k++) {
        uint8_t room[DATAGRAM_MAX];
        struct holder_writer w;
        unsigned count = news_packet(c, left < NEWS_ENTRIES_MAX ? left : NEWS_ENTRIES_MAX, rounds, &w, room);
        struct slice packet = holder_write_end(&w, 0);

        for (size_t i = 0; i < to_count; i++)
            c->out.send_datagram(c->out.ctx, &to[i]->address, packet);
        c->counters.entries_told += count * to_count;
        left -= count;
    }
}

static void news_decide(struct cluster *c, int64_t now)
{
    const struct record **all, *to[FANOUT];
    size_t count, first, chosen = 0;

    if (now < c->news_us || !cluster_settled(c))
        return;
    c->spread_us = now;
    c->news_us = NEVER_US;
    if ((all = others(c, &count)) == NULL)
        return;
    first = count > 0 ? (size_t)(c->out.random(c->out.ctx) % count) : 0;
    for (; chosen < FANOUT && chosen < count; chosen++) {
        /* With few there is an order that meets all; with many, dice. */
        size_t at = count <= 8 ? (first + chosen) % count : (size_t)(c->out.random(c->out.ctx) % count);
        to[chosen] = all[at];
    }
    free(all);
    /* Who is alone has nobody to tell; whoever comes learns all of it. */
    if (count == 0)
        return;
    tell_news(c, to, chosen, NEWS_ROUNDS * (unsigned)ceil(log10((double)count + 2)));
    if (rumours_count(c->news) > 0)
        c->news_us = now + NEWS_PERIOD_US;
}

/* ---- what time brings ------------------------------------------------- */

static void sessions_decide(struct cluster *c, int64_t now)
{
    if (now < c->session_us)
        return;
    c->session_us = NEVER_US;
    for (unsigned i = c->session_count; i-- > 0;) {
        if (c->sessions[i].until_us <= now) {
            c->counters.table_sessions_expired++;
            session_close(c, &c->sessions[i]);
        } else if (c->sessions[i].until_us < c->session_us) {
            c->session_us = c->sessions[i].until_us;
        }
    }
}

/* One who owns something has learned the table; if there is none, anybody may have. */
static const struct record *pick_teacher(struct cluster *c, bool *owners)
{
    const struct record **all, *chosen = NULL;
    size_t count, owning = 0;

    *owners = false;
    if ((all = others(c, &count)) == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++)
        if (all[i]->weight > 0) {
            const struct record *r = all[i];
            all[i] = all[owning];
            all[owning++] = r;
        }
    *owners = owning > 0;
    if (count > 0)
        chosen = all[c->out.random(c->out.ctx) % (owning > 0 ? owning : count)];
    free(all);
    return chosen;
}

static void learning_decide(struct cluster *c, int64_t now)
{
    const struct record *teacher;
    uint32_t count = membership_live(c->members) - 1;
    bool owners;

    if (c->learned || c->left || now < c->ask_us)
        return;
    c->ask_us = now + ASK_PERIOD_US;
    teacher = pick_teacher(c, &owners);
    if (!owners && cluster_is_calm(c, now) && c->vain >= (count < ASK_IN_VAIN ? count : ASK_IN_VAIN)) {
        learn(c);
        return;
    }
    if (teacher != NULL)
        begin(c, &teacher->address, ALL_BUCKETS, TABLE_LEARNING);
}

static void digest_decide(struct cluster *c, int64_t now)
{
    const struct record *r = NULL, **all;
    uint8_t room[DATAGRAM_MAX];
    uint64_t ours[HOLDERS_BUCKETS];
    size_t count;

    if (now < c->digest_us)
        return;
    c->digest_us = now + cluster_jitter(c, c->options.membership.exchange_period_us);
    if (!c->learned || c->left || !cluster_settled(c) || (all = others(c, &count)) == NULL)
        return;
    if (count > 0)
        r = all[c->out.random(c->out.ctx) % count];
    if (c->returned_known)
        r = membership_find(c->members, &c->returned, NULL);
    free(all);
    c->returned_known = false;
    if (r == NULL)
        return;
    c->counters.table_digests++;
    holders_digest(c->table, ours);
    c->out.send_datagram(c->out.ctx, &r->address,
                         holder_write_digest(room, sizeof room, holders_granules(c->table), ours));
}

/* Each side of a healed partition has gone its own way. */
void spread_returned(struct cluster *c, const struct node_id *who)
{
    int64_t soon = cluster_now(c) + cluster_jitter(c, RETURNED_US);

    c->returned = *who;
    c->returned_known = true;
    if (soon < c->digest_us)
        c->digest_us = soon;
}

/* With each probe and each answer comes a hash of the table: what differs for long was missed. */
void spread_seen(struct cluster *c, const struct node_id *who, uint64_t hash)
{
    int64_t now = cluster_now(c);

    if (hash == 0 || !c->learned || now < c->quiet_us || hash == holders_hash(c->table))
        return;
    c->quiet_us = now + QUIET_US;
    c->returned = *who;
    c->returned_known = true;
    c->digest_us = now;
    cluster_arm(c);
}

void spread_start(struct cluster *c)
{
    int64_t now = cluster_now(c);

    c->ask_us = now;
    c->digest_us = now + cluster_jitter(c, c->options.membership.exchange_period_us);
}

void spread_decide(struct cluster *c, int64_t now)
{
    sessions_decide(c, now);
    learning_decide(c, now);
    digest_decide(c, now);
    news_decide(c, now);
}

int64_t spread_next_us(const struct cluster *c)
{
    int64_t at = c->session_us < c->digest_us ? c->session_us : c->digest_us;

    if (c->news_us < at)
        at = c->news_us;
    return !c->learned && !c->left && c->ask_us < at ? c->ask_us : at;
}
