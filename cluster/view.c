/* view.c - makes views, from parts, from bytes, from the one before. */
#include "cluster/view.h"

#include <stdatomic.h>
#include <stdlib.h>

#include <xxhash.h>

#include "server/check.h"

enum {
    HEADER_BYTES = 36,
    EPOCH_AT = 8,
    MEMBER_BYTES = 20 + 8 + 1 + 2 + 5 * 2 + 1 + 1 + 1, /* and ip, zone, hostname */
    OVERRIDE_BYTES = 4,
};

/* The view, and what only this file may write. */
struct made {
    struct view view;
    atomic_uint pins;
    struct view_member *members;
    char *texts;
    uint16_t *granules; /* owner, holder, deputy */
    uint16_t *order;    /* order[k]: the index among the parts of member k; while it is made */
    uint8_t *encoded;
};

const char *view_fault_text(enum view_fault fault)
{
    switch (fault) {
    case VIEW_OK: return "nothing is wrong";
    case VIEW_NO_MEMORY: return "out of memory";
    case VIEW_BAD_VERSION: return "a version of views that is not known here";
    case VIEW_BAD_LENGTH: return "too short or too long";
    case VIEW_BAD_RULES: return "an impossible number of granules, or headroom";
    case VIEW_BAD_MEMBER: return "an impossible member";
    case VIEW_BAD_ORDER: return "something is there twice, or out of order";
    case VIEW_BAD_OVERRIDE: return "an impossible override";
    }
    CHECK_UNREACHABLE();
}

/* ---- pins ---- */

static struct made *made_of(const struct view *view)
{
    return (struct made *)(uintptr_t)view; /* its first member; none was ever const */
}

static void made_free(struct made *made)
{
    if (made == NULL)
        return;
    free(made->members);
    free(made->texts);
    free(made->granules);
    free(made->order);
    free(made->encoded);
    free(made);
}

const struct view *view_pin(const struct view *view)
{
    atomic_fetch_add_explicit(&made_of(view)->pins, 1, memory_order_relaxed);
    return view;
}

void view_unpin(const struct view **view)
{
    struct made *made = *view != NULL ? made_of(*view) : NULL;

    *view = NULL;
    /* Whoever is last must see that all others have finished reading. */
    if (made != NULL && atomic_fetch_sub_explicit(&made->pins, 1, memory_order_acq_rel) == 1)
        made_free(made);
}

/* ---- members ---- */

static bool text_valid(const char *text, size_t max, const char *marks)
{
    size_t len = 0;

    for (; text[len] != '\0'; len++) {
        char c = text[len];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

        if (len == max || (!plain && strchr(marks, c) == NULL))
            return false;
    }
    return true;
}

static bool member_valid(const struct view_member *m)
{
    return m->state <= VIEW_FAILED && (m->ip_bytes == 4 || m->ip_bytes == 16) &&
           text_valid(m->zone, VIEW_ZONE_MAX, "._:/-") && text_valid(m->hostname, VIEW_HOSTNAME_MAX, "._-");
}

static int by_id(const void *a, const void *b, void *members)
{
    const struct view_member *all = members;

    return node_id_compare(&all[*(const uint16_t *)a].id, &all[*(const uint16_t *)b].id);
}

static const char *keep_text(char **room, const char *text)
{
    size_t size = strlen(text) + 1;
    char *kept = memcpy(*room, text, size);

    *room += size;
    return kept;
}

/* Copies the members in the order of their ids. */
static enum view_fault made_members(struct made *made, const struct view_member *members, size_t count)
{
    size_t texts = 0;
    char *text;

    if (count > VIEW_MEMBERS_MAX)
        return VIEW_BAD_MEMBER;
    for (size_t i = 0; i < count; i++) {
        if (!member_valid(&members[i]))
            return VIEW_BAD_MEMBER;
        texts += strlen(members[i].zone) + strlen(members[i].hostname) + 2;
    }
    made->members = calloc(count + 1, sizeof *made->members);
    made->order = calloc(count + 1, sizeof *made->order);
    made->texts = text = malloc(texts + 1);
    if (made->members == NULL || made->order == NULL || text == NULL)
        return VIEW_NO_MEMORY;
    for (size_t i = 0; i < count; i++)
        made->order[i] = (uint16_t)i;
    qsort_r(made->order, count, sizeof *made->order, by_id, (void *)(uintptr_t)members);
    for (size_t i = 0; i < count; i++) {
        struct view_member *m = &made->members[i];

        *m = members[made->order[i]];
        m->zone = keep_text(&text, m->zone);
        m->hostname = keep_text(&text, m->hostname);
        memset(m->ip + m->ip_bytes, 0, sizeof m->ip - m->ip_bytes);
        if (i > 0 && node_id_compare(&m[-1].id, &m->id) == 0)
            return VIEW_BAD_ORDER;
    }
    made->view.members = made->members;
    made->view.member_count = count;
    return VIEW_OK;
}

uint16_t view_find(const struct view *view, const struct node_id *id)
{
    size_t low = 0, high = view->member_count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = node_id_compare(id, &view->members[middle].id);

        if (order == 0)
            return (uint16_t)middle;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NOBODY;
}

/* ---- placement ---- */

static int by_zone(const void *a, const void *b, void *members)
{
    const struct view_member *all = members;

    return strcmp(all[*(const uint16_t *)a].zone, all[*(const uint16_t *)b].zone);
}

/* The placement's view of the members; NULL when memory is short. */
static struct placement_node *placement_nodes(const struct made *made)
{
    size_t count = made->view.member_count;
    struct placement_node *nodes = calloc(count + 1, sizeof *nodes);
    uint16_t *order = calloc(count + 1, sizeof *order), zone = 0;

    if (nodes != NULL && order != NULL) {
        for (size_t i = 0; i < count; i++)
            order[i] = (uint16_t)i;
        qsort_r(order, count, sizeof *order, by_zone, made->members);
        for (size_t i = 0; i < count; i++) {
            const struct view_member *m = &made->members[order[i]];

            if (i > 0 && strcmp(made->members[order[i - 1]].zone, m->zone) != 0)
                zone++;
            nodes[order[i]] = (struct placement_node){
                .id = m->id, .weight = m->state == VIEW_ACTIVE ? m->weight : 0, .zone = zone};
        }
        free(order);
        return nodes;
    }
    free(nodes);
    free(order);
    return NULL;
}

static uint16_t *owner_of(struct made *made)
{
    return made->granules;
}

static uint16_t *holder_of(struct made *made)
{
    return made->granules + made->view.rules.granules;
}

static uint16_t *deputy_of(struct made *made)
{
    return made->granules + 2 * made->view.rules.granules;
}

/* Owners, who are holders until somebody overrides that. */
static enum view_fault made_owners(struct made *made)
{
    size_t granules = made->view.rules.granules;
    struct placement_node *nodes;
    bool ok;

    made->granules = calloc(3 * granules, sizeof *made->granules);
    if (made->granules == NULL)
        return VIEW_NO_MEMORY;
    nodes = placement_nodes(made);
    ok = nodes != NULL && placement_owners(nodes, made->view.member_count, made->view.rules, owner_of(made));
    free(nodes);
    if (!ok)
        return VIEW_NO_MEMORY;
    memcpy(holder_of(made), owner_of(made), granules * sizeof *made->granules);
    made->view.owner = owner_of(made);
    made->view.holder = holder_of(made);
    made->view.deputy = deputy_of(made);
    return VIEW_OK;
}

static enum view_fault made_deputies(struct made *made)
{
    struct placement_node *nodes = placement_nodes(made);
    bool ok = nodes != NULL && placement_seconds(nodes, made->view.member_count, made->view.rules,
                                                 holder_of(made), deputy_of(made));

    free(nodes);
    return ok ? VIEW_OK : VIEW_NO_MEMORY;
}

/* ---- bytes ---- */

static uint8_t *put(uint8_t *to, uint64_t value, unsigned bytes)
{
    while (bytes-- > 0)
        *to++ = (uint8_t)(value >> 8 * bytes);
    return to;
}

static uint8_t *put_bytes(uint8_t *to, const void *from, size_t len)
{
    memcpy(to, from, len);
    return to + len;
}

static uint8_t *put_text(uint8_t *to, const char *text)
{
    size_t len = strlen(text);

    return put_bytes(put(to, len, 1), text, len);
}

static uint8_t *put_member(uint8_t *p, const struct view_member *m)
{
    p = put_bytes(p, m->id.bytes, NODE_ID_BYTES);
    p = put(p, m->incarnation, 8);
    p = put(p, m->state, 1);
    p = put(p, m->weight, 2);
    p = put(p, m->cluster_port, 2);
    p = put(p, m->client_port, 2);
    p = put(p, m->port, 2);
    p = put(p, m->memcache_port, 2);
    p = put(p, m->link_port, 2);
    p = put_bytes(put(p, m->ip_bytes, 1), m->ip, m->ip_bytes);
    p = put_text(p, m->zone);
    return put_text(p, m->hostname);
}

static enum view_fault made_encoded(struct made *made)
{
    struct view *view = &made->view;
    size_t size = HEADER_BYTES + view->override_count * OVERRIDE_BYTES;
    uint8_t *p;

    for (size_t i = 0; i < view->member_count; i++)
        size += MEMBER_BYTES + view->members[i].ip_bytes + strlen(view->members[i].zone) +
                strlen(view->members[i].hostname);
    p = made->encoded = malloc(size);
    if (p == NULL)
        return VIEW_NO_MEMORY;
    p = put(p, VIEW_VERSION, 1);
    p = put(p, (unsigned)__builtin_ctz(view->rules.granules), 1);
    p = put(p, view->rules.headroom, 2);
    p = put(p, view->generation, 4);
    p = put(p, view->epoch, 8);
    p = put_bytes(p, view->cluster, VIEW_CLUSTER_BYTES);
    p = put(p, view->member_count, 2);
    p = put(p, view->override_count, 2);
    for (size_t i = 0; i < view->member_count; i++)
        p = put_member(p, &view->members[i]);
    for (unsigned g = 0; g < view->rules.granules; g++)
        if (view->holder[g] != view->owner[g])
            p = put(put(p, g, 2), view->holder[g], 2);
    CHECK(p == made->encoded + size);
    view->encoded = (struct slice){made->encoded, size};
    view->hash = XXH3_64bits(made->encoded, size);
    return VIEW_OK;
}

/* What is still to be read, and whether more was asked for than there was. */
struct window {
    struct slice bytes;
    bool short_of;
};

static const uint8_t *take_bytes(struct window *w, size_t len)
{
    static const uint8_t nothing[256];
    const uint8_t *p = w->bytes.data;

    if (w->bytes.len < len) {
        w->short_of = true;
        w->bytes.len = 0;
        return nothing;
    }
    w->bytes.data += len;
    w->bytes.len -= len;
    return p;
}

static uint64_t take(struct window *w, unsigned bytes)
{
    const uint8_t *p = take_bytes(w, bytes);
    uint64_t value = 0;

    while (bytes-- > 0)
        value = value << 8 | *p++;
    return value;
}

/* To a buffer of 256 bytes; a NUL inside shows as a member that is not valid. */
static bool take_text(struct window *w, char *text)
{
    size_t len = take(w, 1);

    memcpy(text, take_bytes(w, len), len);
    text[len] = '\0';
    return strlen(text) == len;
}

struct texts {
    char zone[256], hostname[256];
};

static enum view_fault take_member(struct window *w, struct view_member *m, struct texts *texts)
{
    uint64_t state;
    bool clean;

    memcpy(m->id.bytes, take_bytes(w, NODE_ID_BYTES), NODE_ID_BYTES);
    m->incarnation = take(w, 8);
    state = take(w, 1);
    m->weight = (uint16_t)take(w, 2);
    m->cluster_port = (uint16_t)take(w, 2);
    m->client_port = (uint16_t)take(w, 2);
    m->port = (uint16_t)take(w, 2);
    m->memcache_port = (uint16_t)take(w, 2);
    m->link_port = (uint16_t)take(w, 2);
    m->ip_bytes = (uint8_t)take(w, 1);
    if (state > VIEW_FAILED || m->ip_bytes > sizeof m->ip)
        return w->short_of ? VIEW_BAD_LENGTH : VIEW_BAD_MEMBER;
    m->state = (enum view_state)state;
    memcpy(m->ip, take_bytes(w, m->ip_bytes), m->ip_bytes);
    clean = take_text(w, texts->zone);
    clean = take_text(w, texts->hostname) && clean;
    m->zone = texts->zone;
    m->hostname = texts->hostname;
    if (w->short_of)
        return VIEW_BAD_LENGTH;
    return clean ? VIEW_OK : VIEW_BAD_MEMBER;
}

/* ---- making ---- */

static enum view_fault made_overrides(struct made *made, const struct view_override *overrides, size_t count)
{
    uint16_t *index = malloc((made->view.member_count + 1) * sizeof *index);
    enum view_fault fault = VIEW_OK;

    if (index == NULL)
        return VIEW_NO_MEMORY;
    for (size_t i = 0; i < made->view.member_count; i++)
        index[made->order[i]] = (uint16_t)i;
    for (size_t i = 0; i < count && fault == VIEW_OK; i++) {
        unsigned g = overrides[i].granule;
        uint16_t holder;

        if (g >= made->view.rules.granules ||
            (overrides[i].holder >= made->view.member_count && overrides[i].holder != NOBODY)) {
            fault = VIEW_BAD_OVERRIDE;
            break;
        }
        holder = overrides[i].holder != NOBODY ? index[overrides[i].holder] : NOBODY;
        if (holder == made->view.owner[g] || (holder != NOBODY && made->members[holder].state == VIEW_FAILED))
            fault = VIEW_BAD_OVERRIDE;
        else if (made->view.holder[g] != made->view.owner[g])
            fault = VIEW_BAD_ORDER;
        holder_of(made)[g] = holder;
    }
    free(index);
    return fault;
}

static enum view_fault made_holders(struct made *made, const uint16_t *holders)
{
    uint16_t *index = malloc((made->view.member_count + 1) * sizeof *index);
    enum view_fault fault = VIEW_OK;

    if (index == NULL)
        return VIEW_NO_MEMORY;
    for (size_t i = 0; i < made->view.member_count; i++)
        index[made->order[i]] = (uint16_t)i;
    for (unsigned g = 0; g < made->view.rules.granules && fault == VIEW_OK; g++) {
        uint16_t holder = NOBODY;

        if (holders[g] < made->view.member_count)
            holder = index[holders[g]];
        else if (holders[g] != NOBODY)
            fault = VIEW_BAD_OVERRIDE;
        if (holder != NOBODY && made->members[holder].state == VIEW_FAILED)
            fault = VIEW_BAD_OVERRIDE;
        holder_of(made)[g] = holder;
    }
    free(index);
    return fault;
}

static void made_pins(struct made *made, const struct view *before, const struct view_change *change)
{
    for (unsigned g = 0; g < made->view.rules.granules; g++) {
        uint16_t held = before->holder[g], holder;

        holder = held != NOBODY ? view_find(&made->view, &before->members[held].id) : NOBODY;
        if (holder != NOBODY && made->members[holder].state != VIEW_FAILED)
            holder_of(made)[g] = holder;
    }
    for (size_t i = 0; i < change->released_count; i++) {
        CHECK(change->released[i] < made->view.rules.granules);
        holder_of(made)[change->released[i]] = made->view.owner[change->released[i]];
    }
}

/* `before` is NULL unless this is the one that follows it. */
static const struct view *make(const struct view_parts *parts, const struct view *before,
                               const struct view_change *change, enum view_fault *fault)
{
    struct made *made = calloc(1, sizeof *made);
    struct view *view;

    *fault = VIEW_NO_MEMORY;
    if (made == NULL)
        return NULL;
    view = &made->view;
    atomic_init(&made->pins, 1);
    memcpy(view->cluster, parts->cluster, sizeof view->cluster);
    view->generation = parts->generation;
    view->epoch = parts->epoch;
    view->rules = parts->rules;
    *fault = placement_rules_valid(parts->rules) ? VIEW_OK : VIEW_BAD_RULES;
    if (*fault == VIEW_OK)
        *fault = made_members(made, parts->members, parts->member_count);
    if (*fault == VIEW_OK)
        *fault = made_owners(made);
    if (*fault == VIEW_OK && before != NULL)
        made_pins(made, before, change);
    else if (*fault == VIEW_OK && parts->holders != NULL)
        *fault = made_holders(made, parts->holders);
    else if (*fault == VIEW_OK)
        *fault = made_overrides(made, parts->overrides, parts->override_count);
    if (*fault == VIEW_OK)
        *fault = made_deputies(made);
    if (*fault != VIEW_OK) {
        made_free(made);
        return NULL;
    }
    for (unsigned g = 0; g < view->rules.granules; g++)
        view->override_count += view->holder[g] != view->owner[g];
    for (unsigned slot = 0; slot < SLOTS; slot++)
        view->slot_holder[slot] = view->holder[granule_of_slot(slot, view->rules.granules)];
    *fault = made_encoded(made);
    if (*fault != VIEW_OK) {
        made_free(made);
        return NULL;
    }
    free(made->order);
    made->order = NULL;
    return view;
}

const struct view *view_new(const struct view_parts *parts, enum view_fault *fault)
{
    return make(parts, NULL, NULL, fault);
}

const struct view *view_next(const struct view *view, const struct view_change *change,
                             enum view_fault *fault)
{
    struct view_parts parts = {.generation = view->generation,
                               .epoch = view->epoch + 1,
                               .rules = view->rules,
                               .members = change->members,
                               .member_count = change->member_count};

    memcpy(parts.cluster, view->cluster, sizeof parts.cluster);
    return make(&parts, view, change, fault);
}

static enum view_fault decode_members(struct window *w, struct view_member *members, struct texts *texts,
                                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        enum view_fault fault = take_member(w, &members[i], &texts[i]);

        if (fault != VIEW_OK)
            return fault;
        if (i > 0 && node_id_compare(&members[i - 1].id, &members[i].id) >= 0)
            return VIEW_BAD_ORDER;
    }
    return VIEW_OK;
}

static enum view_fault decode_overrides(struct window *w, struct view_override *overrides, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        overrides[i].granule = (uint16_t)take(w, 2);
        overrides[i].holder = (uint16_t)take(w, 2);
        if (i > 0 && overrides[i - 1].granule >= overrides[i].granule)
            return VIEW_BAD_ORDER;
    }
    return VIEW_OK;
}

const struct view *view_decode(struct slice bytes, enum view_fault *fault)
{
    struct window w = {.bytes = bytes};
    struct view_parts parts = {0};
    struct view_member *members;
    struct view_override *overrides;
    struct texts *texts;
    const struct view *view = NULL;
    uint64_t log;

    if (bytes.len > 0 && bytes.data[0] != VIEW_VERSION) {
        *fault = VIEW_BAD_VERSION;
        return NULL;
    }
    (void)take(&w, 1);
    log = take(&w, 1);
    parts.rules.granules = log < 15 ? 1u << log : 0;
    parts.rules.headroom = (unsigned)take(&w, 2);
    parts.generation = (uint32_t)take(&w, 4);
    parts.epoch = take(&w, 8);
    memcpy(parts.cluster, take_bytes(&w, VIEW_CLUSTER_BYTES), VIEW_CLUSTER_BYTES);
    parts.member_count = take(&w, 2);
    parts.override_count = take(&w, 2);
    /* Before any memory is spent on them: there are bytes for so many, at least. */
    if (w.short_of ||
        parts.member_count * (MEMBER_BYTES + 4) + parts.override_count * OVERRIDE_BYTES > w.bytes.len) {
        *fault = VIEW_BAD_LENGTH;
        return NULL;
    }
    members = calloc(parts.member_count + 1, sizeof *members);
    texts = calloc(parts.member_count + 1, sizeof *texts);
    overrides = calloc(parts.override_count + 1, sizeof *overrides);
    parts.members = members;
    parts.overrides = overrides;
    *fault = VIEW_NO_MEMORY;
    if (members != NULL && texts != NULL && overrides != NULL)
        *fault = decode_members(&w, members, texts, parts.member_count);
    if (*fault == VIEW_OK)
        *fault = decode_overrides(&w, overrides, parts.override_count);
    if (w.short_of || (*fault == VIEW_OK && w.bytes.len != 0))
        *fault = VIEW_BAD_LENGTH;
    if (*fault == VIEW_OK)
        view = view_new(&parts, fault);
    free(members);
    free(texts);
    free(overrides);
    return view;
}

/* ---- comparing ---- */

bool view_alike(const struct view *a, const struct view *b)
{
    const uint8_t *x = a->encoded.data, *y = b->encoded.data;

    return a->encoded.len == b->encoded.len && memcmp(x, y, EPOCH_AT) == 0 &&
           memcmp(x + EPOCH_AT + 8, y + EPOCH_AT + 8, a->encoded.len - EPOCH_AT - 8) == 0;
}

void view_compare(const struct view *before, const struct view *now,
                  void (*moved)(void *arg, const struct view_move *move), void *arg)
{
    struct view_move run = {0};
    bool running = false;

    for (unsigned slot = 0; slot < SLOTS; slot++) {
        uint16_t from = before->slot_holder[slot], to = now->slot_holder[slot];

        if (running && from == run.from && to == run.to) {
            run.last = (uint16_t)slot;
            continue;
        }
        if (running)
            moved(arg, &run);
        run = (struct view_move){(uint16_t)slot, (uint16_t)slot, from, to};
        running = from == NOBODY || to == NOBODY
                      ? from != to
                      : node_id_compare(&before->members[from].id, &now->members[to].id) != 0;
    }
    if (running)
        moved(arg, &run);
}

void view_check(const struct view *view)
{
    size_t overrides = 0;

    CHECK(made_of(view)->pins > 0);
    CHECK(placement_rules_valid(view->rules));
    CHECK(view->hash == XXH3_64bits(view->encoded.data, view->encoded.len));
    for (size_t i = 1; i < view->member_count; i++)
        CHECK(node_id_compare(&view->members[i - 1].id, &view->members[i].id) < 0);
    for (unsigned g = 0; g < view->rules.granules; g++) {
        uint16_t owner = view->owner[g], holder = view->holder[g], deputy = view->deputy[g];

        overrides += owner != holder;
        CHECK(owner == NOBODY || (owner < view->member_count && view->members[owner].state == VIEW_ACTIVE));
        CHECK(holder == NOBODY ||
              (holder < view->member_count && view->members[holder].state != VIEW_FAILED));
        CHECK(deputy == NOBODY || (deputy < view->member_count && deputy != holder &&
                                   view->members[deputy].state == VIEW_ACTIVE));
    }
    CHECK(overrides == view->override_count);
    for (unsigned slot = 0; slot < SLOTS; slot++)
        CHECK(view->slot_holder[slot] == view->holder[granule_of_slot(slot, view->rules.granules)]);
}
