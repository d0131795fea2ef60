/* mailbox.c - what other threads tell the control thread, and what it lets them see. */
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "server/cluster/control_inside.h"
#include "server/cluster/routes.h"

bool mailbox_open(struct control *c)
{
    pthread_mutex_init(&c->lock, NULL);
    c->eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return c->eventfd >= 0;
}

void mailbox_close(struct control *c)
{
    if (c->eventfd >= 0)
        close(c->eventfd);
    free(c->known);
    pthread_mutex_destroy(&c->lock);
}

static bool is_evidence(enum letter_kind kind)
{
    return kind == LETTER_VOUCH || kind == LETTER_LINK_REFUSED;
}

bool mailbox_put(struct control *c, const struct letter *letter)
{
    size_t room = LETTERS_MAX - (is_evidence(letter->kind) ? LETTERS_KEPT : 0);
    bool fits;

    pthread_mutex_lock(&c->lock);
    if ((fits = c->letter_count < room))
        c->letters[c->letter_count++] = *letter;
    pthread_mutex_unlock(&c->lock);
    if (fits)
        eventfd_write(c->eventfd, 1);
    else
        atomic_fetch_add_explicit(&c->letters_dropped, 1, memory_order_relaxed);
    return fits;
}

size_t mailbox_take(struct control *c, struct letter letters[LETTERS_MAX])
{
    eventfd_t ignored;
    size_t count;

    eventfd_read(c->eventfd, &ignored);
    pthread_mutex_lock(&c->lock);
    count = c->letter_count;
    memcpy(letters, c->letters, count * sizeof *letters);
    c->letter_count = 0;
    pthread_mutex_unlock(&c->lock);
    return count;
}

/* ---- letters ---- */

static enum control_answer sent(struct control *c, const struct letter *letter)
{
    return mailbox_put(c, letter) ? CONTROL_DONE : CONTROL_BUSY;
}

enum control_answer control_meet(struct control *c, const char *seed)
{
    struct letter letter = {.kind = LETTER_MEET};

    memcpy(letter.seed, seed, strlen(seed) + 1);
    return sent(c, &letter);
}

enum control_answer control_forget(struct control *c, const struct node_id *id)
{
    struct letter letter = {.kind = LETTER_FORGET, .id = *id};
    enum control_answer answer = CONTROL_UNKNOWN;

    if (node_id_equals(id, &c->self))
        return CONTROL_SELF;
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->known_count && answer == CONTROL_UNKNOWN; i++) {
        if (node_id_equals(&c->known[i].id, id))
            answer = c->known[i].state <= MEMBER_SUSPECT ? CONTROL_ALIVE : CONTROL_DONE;
    }
    pthread_mutex_unlock(&c->lock);
    return answer == CONTROL_DONE ? sent(c, &letter) : answer;
}

void control_reload(struct control *c)
{
    mailbox_put(c, &(struct letter){.kind = LETTER_RELOAD});
}

static bool others_are_there(struct control *c)
{
    bool others;

    pthread_mutex_lock(&c->lock);
    others = c->status.members[MEMBER_ALIVE] + c->status.members[MEMBER_SUSPECT] > 1;
    pthread_mutex_unlock(&c->lock);
    return others;
}

/* With nobody else, the last requests are rather answered here: the farewell comes when they are. */
void control_leave(struct control *c)
{
    if (others_are_there(c))
        mailbox_put(c, &(struct letter){.kind = LETTER_LEAVE});
}

bool control_drain(struct control *c)
{
    if (option_live(&c->server->options, cluster_drain_timeout) == 0 || !others_are_there(c) ||
        !mailbox_put(c, &(struct letter){.kind = LETTER_DRAIN}))
        return false;
    atomic_store_explicit(&c->draining, true, memory_order_relaxed);
    return true;
}

bool control_drains(const struct control *c)
{
    return atomic_load_explicit(&c->draining, memory_order_relaxed);
}

void control_vouch(struct control *c, const struct node_id *id)
{
    mailbox_put(c, &(struct letter){.kind = LETTER_VOUCH, .id = *id});
}

void control_link_refused(struct control *c, const struct node_id *id)
{
    mailbox_put(c, &(struct letter){.kind = LETTER_LINK_REFUSED, .id = *id});
}

/* There may be thousands of these at once, and none may be lost: a bit for each. */
void control_pulled(struct control *c, uint16_t granule)
{
    atomic_fetch_or_explicit(&c->pulled[granule / 64], UINT64_C(1) << granule % 64, memory_order_release);
    eventfd_write(c->eventfd, 1);
}

/* ---- what is to be seen ---- */

static void note_absent(struct control_status *s, const struct record *r)
{
    if (r->state != MEMBER_ALIVE && s->absent_count < CONTROL_ABSENT_MAX)
        s->absent[s->absent_count++] =
            (struct control_absent){r->id, r->address, (enum member_state)r->state};
}

void mailbox_show_members(struct control *c)
{
    struct membership *members = cluster_membership(c->cluster);
    struct control_status seen = {.absent_count = 0};
    uint32_t cursor = 0;
    const struct record *r;
    struct known *known;
    size_t count = 0;

    while ((r = membership_next(members, &cursor)) != NULL) {
        seen.members[r->state]++;
        note_absent(&seen, r);
        count++;
    }
    known = calloc(count, sizeof *known);
    cursor = 0;
    for (size_t i = 0; known != NULL && i < count; i++) {
        r = membership_next(members, &cursor);
        known[i] = (struct known){r->id, r->state};
    }
    pthread_mutex_lock(&c->lock);
    memcpy(c->status.members, seen.members, sizeof seen.members);
    memcpy(c->status.absent, seen.absent, sizeof seen.absent);
    c->status.absent_count = seen.absent_count;
    if (known != NULL) { /* else as it was a moment ago */
        free(c->known);
        c->known = known;
        c->known_count = count;
    }
    pthread_mutex_unlock(&c->lock);
}

void mailbox_show_figures(struct control *c)
{
    struct membership *members = cluster_membership(c->cluster);
    struct control_status *s = &c->status;

    pthread_mutex_lock(&c->lock);
    s->health = membership_health(members);
    s->pulled_from = cluster_pulled_from(c->cluster);
    s->gone = cluster_gone(c->cluster);
    s->learned = cluster_learned(c->cluster);
    s->cluster = *cluster_counters(c->cluster);
    s->membership = *membership_counters(members);
    s->transport = *real_transport_counters(c->transport);
    pthread_mutex_unlock(&c->lock);
}

void control_status(struct control *c, struct control_status *out)
{
    const struct routes *routes;

    pthread_mutex_lock(&c->lock);
    *out = c->status;
    pthread_mutex_unlock(&c->lock);
    routes = routes_pin_current(c->server);
    out->placements = routes != NULL ? routes->version : 0;
    out->draining = control_drains(c);
    out->letters_dropped = atomic_load_explicit(&c->letters_dropped, memory_order_relaxed);
    routes_unpin(&routes);
}
