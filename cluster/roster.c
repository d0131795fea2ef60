#include "cluster/roster.h"

#include <stdlib.h>

#include "server/check.h"

/* The mark stands beside the index, so that a search stays in one place. */
struct live {
    uint64_t mark;
    uint32_t member;
};

struct roster {
    struct member *members;
    uint32_t end, room, count, max;
    struct live *live;
    uint32_t live_count;       /* room as members */
    uint32_t self_place;       /* how many of the living stand before self */
    uint32_t *gaps, gap_count; /* indices below end that are free; room as members */
    uint32_t *table;           /* open addressing, index + 1, 0 is free */
    uint32_t mask;
    uint64_t bucket[DIGEST_BUCKETS];
};

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static bool is_live(const struct record *r)
{
    return r->state <= MEMBER_SUSPECT;
}

unsigned roster_bucket(const struct node_id *id)
{
    return id->bytes[0] % DIGEST_BUCKETS;
}

/* Suspicions come and go without an exchange: the digest leaves them out. */
static void digest_toggle(struct roster *roster, const struct record *r)
{
    if (is_live(r))
        roster->bucket[roster_bucket(&r->id)] ^= mix(mix(node_id_mark(&r->id)) ^ r->incarnation);
}

static uint32_t table_slot(const struct roster *roster, const struct node_id *id)
{
    uint32_t slot = (uint32_t)mix(node_id_mark(id)) & roster->mask;

    while (roster->table[slot] != 0 &&
           !node_id_equals(&roster->members[roster->table[slot] - 1].record.id, id))
        slot = (slot + 1) & roster->mask;
    return slot;
}

static bool grow_array(void **array, size_t size)
{
    void *fresh = realloc(*array, size);

    if (fresh != NULL)
        *array = fresh;
    return fresh != NULL;
}

static bool grow(struct roster *roster)
{
    uint32_t room = roster->room == 0 ? 16 : roster->room * 2;
    uint32_t *table;

    if (!grow_array((void **)&roster->members, room * sizeof *roster->members) ||
        !grow_array((void **)&roster->live, room * sizeof *roster->live) ||
        !grow_array((void **)&roster->gaps, room * sizeof *roster->gaps) ||
        (table = calloc((size_t)room * 2, sizeof *table)) == NULL)
        return false;
    free(roster->table);
    roster->table = table;
    roster->mask = room * 2 - 1;
    roster->room = room;
    for (uint32_t i = 0; i < roster->end; i++)
        if (roster_used(roster, i))
            roster->table[table_slot(roster, &roster->members[i].record.id)] = i + 1;
    return true;
}

struct roster *roster_new(const struct record *self, uint32_t max)
{
    struct roster *roster = calloc(1, sizeof *roster);

    if (roster == NULL || max == 0)
        goto fail;
    roster->max = max;
    if (!grow(roster) || roster_add(roster, self) == NO_MEMBER)
        goto fail;
    return roster;
fail:
    roster_free(&roster);
    return NULL;
}

void roster_free(struct roster **roster)
{
    if (*roster == NULL)
        return;
    free((*roster)->members);
    free((*roster)->live);
    free((*roster)->gaps);
    free((*roster)->table);
    free(*roster);
    *roster = NULL;
}

uint32_t roster_find(const struct roster *roster, const struct node_id *id)
{
    return roster->table[table_slot(roster, id)] - 1; /* 0 - 1 is NO_MEMBER */
}

/* The first place whose id is not before that one. */
static uint32_t live_search(const struct roster *roster, const struct node_id *id)
{
    uint64_t mark = node_id_mark(id);
    uint32_t low = 0, high = roster->live_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct live *at = &roster->live[middle];
        bool before = at->mark != mark ? at->mark < mark
                                       : node_id_compare(&roster->members[at->member].record.id, id) < 0;
        if (before)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void live_update(struct roster *roster, uint32_t index, bool was)
{
    const struct record *r = &roster->members[index].record;
    struct live *at;
    size_t behind;

    if (index == 0 || was == is_live(r))
        return;
    at = &roster->live[live_search(roster, &r->id)];
    behind = (size_t)(roster->live + roster->live_count - at);
    if (node_id_compare(&r->id, &roster->members[0].record.id) < 0)
        roster->self_place += was ? UINT32_MAX : 1;
    if (was) {
        memmove(at, at + 1, (behind - 1) * sizeof *at);
        roster->live_count--;
    } else {
        memmove(at + 1, at, behind * sizeof *at);
        *at = (struct live){node_id_mark(&r->id), index};
        roster->live_count++;
    }
}

uint32_t roster_add(struct roster *roster, const struct record *record)
{
    uint32_t index;

    if (roster->count >= roster->max)
        return NO_MEMBER;
    if (roster->gap_count == 0 && roster->end == roster->room && !grow(roster))
        return NO_MEMBER;
    index = roster->gap_count > 0 ? roster->gaps[--roster->gap_count] : roster->end++;
    roster->members[index] = (struct member){.record = *record};
    roster->table[table_slot(roster, &record->id)] = index + 1;
    roster->count++;
    digest_toggle(roster, record);
    live_update(roster, index, false);
    return index;
}

void roster_set(struct roster *roster, uint32_t index, const struct record *record)
{
    struct member *m = roster_at(roster, index);
    bool was = is_live(&m->record);

    CHECK(node_id_equals(&m->record.id, &record->id));
    digest_toggle(roster, &m->record);
    m->record = *record;
    digest_toggle(roster, record);
    live_update(roster, index, was);
}

/* Those behind the gap in the table move up, so that none is cut off from its hash. */
static void table_remove(struct roster *roster, uint32_t gap)
{
    roster->table[gap] = 0;
    for (uint32_t slot = (gap + 1) & roster->mask; roster->table[slot] != 0;
         slot = (slot + 1) & roster->mask) {
        uint32_t index = roster->table[slot];
        roster->table[slot] = 0;
        roster->table[table_slot(roster, &roster->members[index - 1].record.id)] = index;
    }
}

void roster_remove(struct roster *roster, uint32_t index)
{
    struct member *m = roster_at(roster, index);
    bool was;

    CHECK(index != 0);
    digest_toggle(roster, &m->record);
    table_remove(roster, table_slot(roster, &m->record.id));
    was = is_live(&m->record);
    m->record.state = UINT8_MAX;
    live_update(roster, index, was);
    roster->gaps[roster->gap_count++] = index;
    roster->count--;
}

struct member *roster_at(struct roster *roster, uint32_t index)
{
    CHECK(roster_used(roster, index));
    return &roster->members[index];
}

bool roster_news(const struct record *known, const struct record *told)
{
    return told->incarnation != known->incarnation ? told->incarnation > known->incarnation
                                                   : told->state > known->state;
}

uint32_t roster_count(const struct roster *roster)
{
    return roster->count;
}

uint32_t roster_end(const struct roster *roster)
{
    return roster->end;
}

bool roster_used(const struct roster *roster, uint32_t index)
{
    return index < roster->end && roster->members[index].record.state != UINT8_MAX;
}

uint32_t roster_live(const struct roster *roster)
{
    return roster->live_count;
}

uint32_t roster_live_at(const struct roster *roster, uint32_t place)
{
    CHECK(place < roster->live_count);
    return roster->live[place].member;
}

uint32_t roster_place(const struct roster *roster)
{
    return roster->self_place;
}

bool roster_is_live(const struct roster *roster, uint32_t index)
{
    uint32_t place = live_search(roster, &roster->members[index].record.id);

    return place < roster->live_count && roster->live[place].member == index;
}

void roster_digest(const struct roster *roster, struct digest *out)
{
    out->live = roster->live_count + is_live(&roster->members[0].record);
    memcpy(out->bucket, roster->bucket, sizeof out->bucket);
}
