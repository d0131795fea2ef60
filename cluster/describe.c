/* describe.c - writes what clients ask of a cluster. */
#include "cluster/describe.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "protocol/resp.h"
#include "server/check.h"

/* ---- a growing text ---- */

struct text {
    uint8_t *data;
    size_t len, cap;
    bool failed;
};

enum { ROOM_MAX = 1024 }; /* the most that one call asks for */

/* ROOM_MAX writable bytes; after a failure they go nowhere. */
static uint8_t *room(struct text *text)
{
    static _Thread_local uint8_t nowhere[ROOM_MAX];

    if (!text->failed && text->cap - text->len < ROOM_MAX) {
        size_t cap = 2 * text->cap + 4 * ROOM_MAX;
        uint8_t *data = realloc(text->data, cap);

        if (data != NULL) {
            text->data = data;
            text->cap = cap;
        } else {
            text->failed = true;
        }
    }
    return text->failed ? nowhere : text->data + text->len;
}

static void wrote(struct text *text, const uint8_t *end)
{
    if (!text->failed)
        text->len = (size_t)(end - text->data);
}

static void add_integer(struct text *text, int64_t value)
{
    wrote(text, resp_put_integer(room(text), value));
}

static void add_bulk(struct text *text, const char *value)
{
    wrote(text, resp_put_bulk(room(text), slice_of(value)));
}

static void add_array(struct text *text, size_t count)
{
    wrote(text, resp_put_array(room(text), count));
}

static void add_map(struct text *text, int proto, size_t count)
{
    wrote(text, resp_put_map(room(text), proto, count));
}

__attribute__((format(printf, 2, 3))) static void add_format(struct text *text, const char *format, ...)
{
    uint8_t *to = room(text);
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf((char *)to, ROOM_MAX, format, args);
    va_end(args);
    CHECK(len >= 0 && len < ROOM_MAX);
    wrote(text, to + len);
}

/* ---- members and their slots ---- */

struct names {
    char id[NODE_ID_TEXT + 1];
    char ip[INET6_ADDRSTRLEN];
};

static struct names names_of(const struct view_member *m)
{
    struct names names = {0};

    node_id_to_text(&m->id, names.id);
    CHECK(inet_ntop(m->ip_bytes == 4 ? AF_INET : AF_INET6, m->ip, names.ip, sizeof names.ip) != NULL);
    return names;
}

struct run {
    uint16_t first, last, holder;
};

/* Slots with one holder, as long as can be, in ascending order; and by member. */
struct runs {
    size_t count;
    struct run *all;
    uint32_t *of_member; /* how many each has; then, where in by_member its runs end */
    struct run *by_member;
};

static void runs_free(struct runs *runs)
{
    free(runs->all);
    free(runs->of_member);
    free(runs->by_member);
}

static bool runs_init(struct runs *runs, const struct view *view)
{
    size_t granules = view->rules.granules;
    unsigned slots = SLOTS / view->rules.granules;
    uint32_t start = 0;

    *runs = (struct runs){.all = calloc(granules, sizeof *runs->all),
                          .of_member = calloc(view->member_count + 1, sizeof *runs->of_member),
                          .by_member = calloc(granules, sizeof *runs->by_member)};
    if (runs->all == NULL || runs->of_member == NULL || runs->by_member == NULL) {
        runs_free(runs);
        return false;
    }
    for (unsigned g = 0; g < granules; g++) {
        uint16_t last = (uint16_t)((g + 1) * slots - 1), holder = view->holder[g];

        if (holder == NOBODY)
            continue;
        if (g > 0 && view->holder[g - 1] == holder) {
            runs->all[runs->count - 1].last = last;
        } else {
            runs->all[runs->count++] = (struct run){(uint16_t)(g * slots), last, holder};
            runs->of_member[holder + 1]++;
        }
    }
    for (size_t i = 0; i <= view->member_count; i++) {
        start += runs->of_member[i];
        runs->of_member[i] = start;
    }
    for (size_t i = 0; i < runs->count; i++)
        runs->by_member[runs->of_member[runs->all[i].holder]++] = runs->all[i];
    return true;
}

/* Returns how many runs a member has, and the first of them. */
static size_t runs_of(const struct runs *runs, size_t member, const struct run **first)
{
    uint32_t start = member > 0 ? runs->of_member[member - 1] : 0;

    *first = runs->by_member + start;
    return runs->of_member[member] - start;
}

/* ---- the replies ---- */

static void add_slots(struct text *text, const struct view *view, const struct runs *runs, int proto)
{
    add_array(text, runs->count);
    for (size_t i = 0; i < runs->count; i++) {
        const struct view_member *m = &view->members[runs->all[i].holder];
        struct names names = names_of(m);

        add_array(text, 3);
        add_integer(text, runs->all[i].first);
        add_integer(text, runs->all[i].last);
        add_array(text, 4);
        add_bulk(text, names.ip);
        add_integer(text, m->client_port);
        add_bulk(text, names.id);
        add_map(text, proto, m->hostname[0] != '\0');
        if (m->hostname[0] != '\0') {
            add_bulk(text, "hostname");
            add_bulk(text, m->hostname);
        }
    }
}

static void add_shard_node(struct text *text, const struct view_member *m, int proto)
{
    struct names names = names_of(m);

    add_map(text, proto, m->hostname[0] != '\0' ? 8 : 7);
    add_bulk(text, "id");
    add_bulk(text, names.id);
    add_bulk(text, "port");
    add_integer(text, m->client_port);
    add_bulk(text, "ip");
    add_bulk(text, names.ip);
    add_bulk(text, "endpoint");
    add_bulk(text, names.ip);
    if (m->hostname[0] != '\0') {
        add_bulk(text, "hostname");
        add_bulk(text, m->hostname);
    }
    add_bulk(text, "role");
    add_bulk(text, "master");
    add_bulk(text, "replication-offset");
    add_integer(text, 0);
    add_bulk(text, "health");
    add_bulk(text, m->state == VIEW_FAILED ? "fail" : "online");
}

static void add_shards(struct text *text, const struct view *view, const struct runs *runs, int proto)
{
    add_array(text, view->member_count);
    for (size_t i = 0; i < view->member_count; i++) {
        const struct run *run;
        size_t count = runs_of(runs, i, &run);

        add_map(text, proto, 2);
        add_bulk(text, "slots");
        add_array(text, 2 * count);
        for (; count > 0; count--, run++) {
            add_integer(text, run->first);
            add_integer(text, run->last);
        }
        add_bulk(text, "nodes");
        add_array(text, 1);
        add_shard_node(text, &view->members[i], proto);
    }
}

static void add_nodes(struct text *text, const struct view *view, const struct runs *runs, uint16_t self)
{
    for (size_t i = 0; i < view->member_count; i++) {
        const struct view_member *m = &view->members[i];
        struct names names = names_of(m);
        const struct run *run;
        size_t count = runs_of(runs, i, &run);

        add_format(text, "%s %s:%u@%u%s%s %smaster%s - 0 0 %" PRIu64 " %s", names.id, names.ip,
                   m->client_port, m->cluster_port, m->hostname[0] != '\0' ? "," : "", m->hostname,
                   i == self ? "myself," : "", m->state == VIEW_FAILED ? ",fail" : "", view->epoch,
                   m->state == VIEW_FAILED ? "disconnected" : "connected");
        for (; count > 0; count--, run++) {
            if (run->first == run->last)
                add_format(text, " %u", run->first);
            else
                add_format(text, " %u-%u", run->first, run->last);
        }
        add_format(text, "\n");
    }
}

static void add_memcache_nodes(struct text *text, const struct view *view)
{
    const char *between = "";

    add_format(text, "%" PRIu64 "\n", view->epoch);
    for (size_t i = 0; i < view->member_count; i++) {
        const struct view_member *m = &view->members[i];
        struct names names;

        if (m->state != VIEW_ACTIVE || m->memcache_port == 0)
            continue;
        names = names_of(m);
        add_format(text, "%s%s|%s|%u", between, m->hostname[0] != '\0' ? m->hostname : names.ip, names.ip,
                   m->memcache_port);
        between = " ";
    }
    add_format(text, "\n");
}

/* ---- all of them ---- */

struct made {
    struct description description;
    struct text slots2, slots3, shards2, shards3, nodes2, nodes3, memcache;
};

static struct slice slice_of_text(const struct text *text)
{
    return (struct slice){text->data, text->len};
}

/* The second of a pair says the same in RESP3. */
static void add_verbatim(struct text *resp2, struct text *resp3, const struct text *value)
{
    struct slice bytes = slice_of_text(value);
    struct text *both[] = {resp2, resp3};

    for (int i = 0; i < 2; i++) {
        struct text *to = both[i];

        to->data = malloc(RESP_VERBATIM_MAX(bytes.len));
        to->failed = value->failed || to->data == NULL;
        if (!to->failed)
            wrote(to, resp_put_verbatim(to->data, 2 + i, "txt", bytes));
    }
}

static void add_memcache(struct made *made, const struct text *list)
{
    static const char end[] = "\r\nEND\r\n";
    struct text *to = &made->memcache;
    size_t head;

    add_format(to, "CONFIG cluster 0 %zu\r\n", list->len);
    head = to->len;
    if (!to->failed && !list->failed) {
        uint8_t *data = realloc(to->data, head + list->len + sizeof end);

        to->failed = data == NULL;
        if (data != NULL) {
            memcpy(data + head, list->data, list->len);
            memcpy(data + head + list->len, end, sizeof end - 1);
            to->data = data;
            to->len = head + list->len + sizeof end - 1;
            made->description.memcache_nodes = (struct slice){data + head, list->len};
        }
    }
    to->failed |= list->failed;
    made->description.memcache_config = slice_of_text(to);
}

static bool made_all(struct made *made, const struct view *view, uint16_t self)
{
    struct text nodes = {0}, list = {0};
    struct runs runs;

    if (!runs_init(&runs, view))
        return false;
    add_slots(&made->slots2, view, &runs, 2);
    add_slots(&made->slots3, view, &runs, 3);
    add_shards(&made->shards2, view, &runs, 2);
    add_shards(&made->shards3, view, &runs, 3);
    add_nodes(&nodes, view, &runs, self);
    add_verbatim(&made->nodes2, &made->nodes3, &nodes);
    add_memcache_nodes(&list, view);
    add_memcache(made, &list);
    runs_free(&runs);
    free(nodes.data);
    free(list.data);
    made->description.slots =
        (struct describe_reply){slice_of_text(&made->slots2), slice_of_text(&made->slots3)};
    made->description.shards =
        (struct describe_reply){slice_of_text(&made->shards2), slice_of_text(&made->shards3)};
    made->description.nodes =
        (struct describe_reply){slice_of_text(&made->nodes2), slice_of_text(&made->nodes3)};
    return !made->slots2.failed && !made->slots3.failed && !made->shards2.failed && !made->shards3.failed &&
           !made->nodes2.failed && !made->nodes3.failed && !made->memcache.failed;
}

const struct description *describe_new(const struct view *view, uint16_t self)
{
    struct made *made = calloc(1, sizeof *made);
    const struct description *description = made != NULL ? &made->description : NULL;

    if (made != NULL && !made_all(made, view, self))
        describe_free(&description);
    return description;
}

void describe_free(const struct description **description)
{
    struct made *made = (struct made *)(uintptr_t)*description; /* its first member */

    *description = NULL;
    if (made == NULL)
        return;
    free(made->slots2.data);
    free(made->slots3.data);
    free(made->shards2.data);
    free(made->shards3.data);
    free(made->nodes2.data);
    free(made->nodes3.data);
    free(made->memcache.data);
    free(made);
}
