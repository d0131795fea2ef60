#include "server/herd/protect.h"

#include <math.h>
#include <stdlib.h>

#include "server/cluster/forward.h"
#include "server/cluster/guest.h"
#include "server/gate.h"
#include "server/herd/herd_private.h"
#include "server/park.h"
#include "server/post.h"
#include "server/worker.h"

enum {
    HELD_MAX = 64,       /* misses a session is known to have met, the latest */
    HELD_LINK_MAX = 512, /* the same of all clients of a link */
    HELD_NAME_MAX = 256, /* of names no longer than that */
};

/* ---- rules ---- */

static const struct herd_rules *rules_of(const struct server *server)
{
    /* Pairs with the release store in put_into_effect(). */
    return atomic_load_explicit(&server->herd_rules, memory_order_acquire);
}

static const struct herd_rule *rule_for(const struct server *server, struct slice name)
{
    const struct herd_rules *rules = rules_of(server);

    return rules != NULL ? rules_find(rules, name) : NULL;
}

bool protect_has_rule(const struct exec *x, struct slice name)
{
    return rule_for(x->server, name) != NULL;
}

struct tally *herd_tally(struct server *server, struct slice name)
{
    const struct herd_rule *rule = rule_for(server, name);

    return rule != NULL ? rule->tally : NULL;
}

static bool is_named(const struct herd_rules *rules, const struct tally *t)
{
    for (unsigned i = 0; rules != NULL && i < rules->len; i++) {
        if (rules->rules[i].tally == t)
            return true;
    }
    return false;
}

/* A rule's tally survives other changes of the option, as long as its pattern stays. */
static struct tally *find_tally(struct herd *h, const struct herd_rules *fresh, const struct herd_rules *old,
                                const char *glob)
{
    struct tally *unused = NULL;

    for (unsigned i = 0; i < TALLIES; i++) {
        struct tally *t = &h->tallies[i];

        if (strcmp(t->glob, glob) == 0)
            return t;
        if (unused == NULL && !is_named(fresh, t) && !is_named(old, t) && h->retired == NULL &&
            tally_get(&t->parked_now) == 0)
            unused = t;
        else if (unused == NULL && t->glob[0] == '\0')
            unused = t;
    }
    if (unused == NULL)
        return NULL;
    tally_reset(unused);
    memcpy(unused->glob, glob, strlen(glob) + 1);
    return unused;
}

static bool find_tallies(struct herd *h, struct herd_rules *fresh, const struct herd_rules *old)
{
    for (unsigned i = 0; i < fresh->len; i++) {
        fresh->rules[i].tally = find_tally(h, fresh, old, fresh->rules[i].glob);
        if (fresh->rules[i].tally == NULL)
            return false;
    }
    return true;
}

static void shape(void *arg, const struct store_edit *before, struct store_value *value);

static void put_into_effect(struct server *server, struct herd_rules *fresh)
{
    struct herd_rules *old = (struct herd_rules *)(uintptr_t)rules_of(server);

    if (fresh->len == 0) {
        free(fresh);
        fresh = NULL;
    }
    atomic_store_explicit(&server->herd_rules, fresh, memory_order_release);
    server->herd_shaper = (struct store_shaper){.shape = shape, .arg = server};
    store_shape(server->store, fresh != NULL ? &server->herd_shaper : NULL);
    if (old != NULL) {
        old->next = server->herd->retired;
        server->herd->retired = old;
    }
}

const char *protect_apply(struct server *server)
{
    static _Thread_local char why[RULES_ERROR_MAX];
    struct herd_rules *fresh = malloc(sizeof *fresh);

    if (fresh == NULL)
        return "out of memory";
    if (!rules_parse(server->options.herd_protect, fresh, why)) {
        free(fresh);
        return why;
    }
    if (!find_tallies(server->herd, fresh, rules_of(server))) {
        free(fresh);
        return "the figures of former rules are still in use; try again";
    }
    put_into_effect(server, fresh);
    return NULL;
}

static void free_all(struct herd_rules *rules)
{
    while (rules != NULL) {
        struct herd_rules *next = rules->next;

        free(rules);
        rules = next;
    }
}

/* Rules are looked at inside batches only: once the gate has been closed, nobody
 * looks at former ones. Not done by who changes them, as others may be waiting in
 * their batches for the options' lock. */
void protect_tick(struct server *server)
{
    struct herd_rules *retired;

    pthread_mutex_lock(&server->options_lock);
    retired = server->herd->retired;
    server->herd->retired = NULL;
    pthread_mutex_unlock(&server->options_lock);
    if (retired == NULL)
        return;
    (void)gate_enter(server->gate, 0);
    gate_close(server->gate, 0);
    gate_open(server->gate, 0);
    gate_leave(server->gate, 0);
    free_all(retired);
}

void protect_free(struct server *server)
{
    free_all(server->herd->retired);
    free_all((struct herd_rules *)(uintptr_t)rules_of(server));
}

/* ---- the misses a session was told of, and the leases it holds without knowing ---- */

struct held_lease {
    struct held_lease *next;
    uint64_t token; /* that was out when it was told */
    uint64_t asker; /* who was told, of those whose requests came by this link; 0: the session's own client */
    bool own;       /* and that it was given itself */
    bool unsaid;    /* by a request of several keys that is not answered yet */
    instant granted, end;
    uint8_t db; /* the store's number */
    uint32_t len;
    uint8_t name[];
};

/* Clients of other nodes share the session of the link that their requests come by. */
static uint64_t asker(const struct exec *x)
{
    return x->asked != NULL ? x->asked->asker : 0;
}

static bool is_alive(struct exec *x, const struct held_lease *l)
{
    struct key key = store_key_in(x->store, l->db, (struct slice){l->name, l->len});
    struct store_peek peek;
    enum peek_status status;

    if (!l->own || !is_before(x->now, l->end))
        return false;
    do
        status = store_look(x->store, x->local, &key, x->now, false, &peek);
    while (status == PEEK_HIT && !store_peek_ok(&peek));
    return status != PEEK_MISS ? peek.herded && peek.herd.token == l->token : peek.herded;
}

static void forget(struct session *s, struct held_lease **at)
{
    struct held_lease *l = *at;

    *at = l->next;
    s->held_len--;
    s->held_bytes -= sizeof *l + l->len;
    free(l);
}

/* Whether a fill under it would still be known for one. */
static bool is_remembered(const struct exec *x, const struct held_lease *l)
{
    return is_before(x->now, after(l->granted, (span){option_live(x->options, lease_max_ms)}));
}

/* Whether one of them is alive. Dead ones are kept a while, to know their fills for what they are. */
static bool holds_some(struct exec *x)
{
    struct held_lease **at = &x->session->held;
    bool some = false;

    while (*at != NULL) {
        if (!some && (*at)->asker == asker(x) && is_alive(x, *at))
            some = true;
        if (is_before(x->now, (*at)->end) || is_remembered(x, *at))
            at = &(*at)->next;
        else
            forget(x->session, at);
    }
    return some;
}

static struct held_lease **find_held(struct session *s, uint64_t who, const struct key *key)
{
    struct held_lease **at = &s->held;

    while (*at != NULL &&
           ((*at)->asker != who || (*at)->db != key->db || (*at)->len != key->len || memcmp((*at)->name, key->data, key->len) != 0))
        at = &(*at)->next;
    return at;
}

/* New ones stand in front. */
static struct held_lease **oldest_held(struct session *s)
{
    struct held_lease **at = &s->held;

    while ((*at)->next != NULL)
        at = &(*at)->next;
    return at;
}

static void remember(struct exec *x, const struct store_edit *edit, bool own)
{
    struct session *s = x->session;
    struct held_lease **before = find_held(s, asker(x), &edit->key), *l;

    if (*before != NULL && (*before)->token == edit->herd.token)
        return;
    if (*before != NULL)
        forget(s, before);
    if (s->held_len >= (x->asked != NULL ? HELD_LINK_MAX : HELD_MAX))
        forget(s, oldest_held(s));
    if (edit->key.len > HELD_NAME_MAX || (l = malloc(sizeof *l + edit->key.len)) == NULL)
        return;
    *l = (struct held_lease){.next = s->held,
                             .token = edit->herd.token,
                             .asker = asker(x),
                             .own = own,
                             .unsaid = x->several != NULL && !own,
                             .granted = x->now,
                             .end = lease_end(edit),
                             .db = edit->key.db,
                             .len = edit->key.len};
    if (l->len > 0)
        memcpy(l->name, edit->key.data, l->len);
    s->held = l;
    s->held_len++;
    s->held_bytes += sizeof *l + l->len;
}

static void give_back(struct exec *x, const struct held_lease *l)
{
    struct key key = store_key_in(x->store, l->db, (struct slice){l->name, l->len});
    struct store_edit edit;

    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    lease_give_back(&edit, l->token);
    store_edit_end(&edit);
}

void protect_leave(struct worker *w, struct session *s)
{
    struct held_lease *l;

    if (s->held == NULL)
        return;
    (void)gate_enter(w->server->gate, w->index);
    while ((l = s->held) != NULL) {
        s->held = l->next;
        if (l->own)
            give_back(&w->exec, l);
        free(l);
    }
    s->held_len = 0;
    s->held_bytes = 0;
    gate_leave(w->server->gate, w->index);
}

/* ---- reading ---- */

static bool take(struct exec *x, const struct herd_rule *rule, struct store_edit *edit)
{
    struct slice name = herd_name(edit);
    uint64_t token;

    if (edit->lapsed || edit->herd.token != 0)
        herd_note_expired(x, name);
    if (lease_take(edit, rule->lease_ms > 0 ? rule->lease_ms : herd_lease_ms(x, name), &token) !=
        LEASE_GRANTED)
        return false;
    herd_note_granted(x, name);
    remember(x, edit, true);
    return true;
}

static enum protect_verdict wait_or_miss(struct exec *x, const struct herd_rule *rule,
                                         const struct store_edit *edit)
{
    struct fills *fills = x->server->herd->fills;
    span park = {rule->park_ms};

    if (park.ms == 0)
        return PROTECT_MISS;
    if (!fills_are_likely(fills, herd_name(edit))) {
        counter_add(x->counters, herd_not_parked, 1);
        tally_add(&rule->tally->not_parked, 1);
        return PROTECT_MISS;
    }
    if (herd_wait(x, edit, rule->park_ms))
        return PROTECT_PARKED;
    if (exec_outcome(x) != PARK_FRESH && !is_before(x->now, after(x->session->parked_first, park)) &&
        fills_note_vain(fills, herd_name(edit), x->now, park))
        counter_add(x->counters, herd_parking_stopped, 1);
    return PROTECT_MISS;
}

/* The name is in the request, which stays as long as its handler runs. */
static bool put_off(struct protect_several *several, const struct store_edit *edit)
{
    if (several->put_off_len == PROTECT_PUT_OFF_MAX)
        return false;
    several->put_off[several->put_off_len++] = edit->key;
    return true;
}

/* `busy`: it holds a lease, so it may not wait. */
static enum protect_verdict judge(struct exec *x, const struct herd_rule *rule, struct store_edit *edit,
                                  bool busy)
{
    enum lease_state state = lease_state(edit);

    if (state == LEASE_LIVE)
        return PROTECT_RETRY;
    if (state == LEASE_NEGATIVE)
        return PROTECT_MISS;
    if (!lease_is_out(edit)) {
        if (x->several == NULL || !put_off(x->several, edit))
            take(x, rule, edit); /* without memory for that, it is a miss like any other */
        return PROTECT_MISS;
    }
    if (state == LEASE_STALE && rule->grace_ms > 0) {
        herd_note_stale_served(x, herd_name(edit));
        return PROTECT_STALE;
    }
    return busy ? PROTECT_MISS : wait_or_miss(x, rule, edit);
}

enum protect_verdict protect_missed(struct exec *x, const struct key *key, struct store_edit *edit)
{
    const struct herd_rule *rule = rule_for(x->server, (struct slice){key->data, key->len});
    enum protect_verdict verdict;
    bool busy;

    if (rule == NULL || key->db == FORWARD_VOID)
        return PROTECT_MISS;
    busy = x->session->held != NULL && holds_some(x);
    store_edit_begin(x->store, x->local, key, x->now, edit);
    verdict = judge(x, rule, edit, busy);
    if (verdict == PROTECT_MISS && lease_is_out(edit))
        remember(x, edit, false); /* it will fetch all the same, and its fill may come too late */
    if (verdict == PROTECT_MISS && x->session->waiter.ticket != 0)
        x->session->waiter.gave_up = true; /* waiting has spared nobody a fetch */
    if (verdict != PROTECT_STALE)
        store_edit_end(edit);
    return verdict;
}

/* XFetch (Vattani, Chierichetti, Lowenstein, VLDB 2015) with beta 1: the chance
 * grows exponentially towards the end, in units of what a fill takes. */
static bool is_chosen(const struct exec *x, const struct store_peek *peek)
{
    double left = (double)since(peek->expires, x->now).ms, fill = (double)peek->herd.fill_ms;
    double dice = ((double)lease_new_token() + 1) / (double)(1ull << 48);

    return -log(dice) * fill >= left;
}

/* Without dice: before that nobody is chosen in this process's life. */
static bool may_be_chosen(const struct exec *x, const struct store_peek *peek)
{
    enum { FILLS_BEFORE = 40 }; /* exp(-40) */

    return peek->expires.ms != 0 &&
           since(peek->expires, x->now).ms < FILLS_BEFORE * (int64_t)peek->herd.fill_ms;
}

bool protect_refresh(struct exec *x, const struct key *key, const struct store_peek *peek)
{
    const struct herd_rule *rule;
    struct store_edit edit;
    bool chosen = false;

    if (!may_be_chosen(x, peek) || !state_shows(peek->state) ||
        (peek->herd.token != 0 && is_before(x->now, after(peek->herd.granted, (span){peek->herd.length_ms}))))
        return false;
    rule = rule_for(x->server, (struct slice){key->data, key->len});
    if (rule == NULL || !rule->early || !is_chosen(x, peek))
        return false;
    store_edit_begin(x->store, x->local, key, x->now, &edit);
    if (lease_state(&edit) == LEASE_LIVE && edit.expires.ms == peek->expires.ms && !lease_is_out(&edit))
        chosen = take(x, rule, &edit);
    store_edit_end(&edit);
    if (chosen) {
        counter_add(x->counters, herd_early_refreshes, 1);
        tally_add(&rule->tally->early, 1);
    }
    return chosen;
}

/* ---- several keys ---- */

enum claim { CLAIM_TAKEN, CLAIM_NOT_TAKEN, CLAIM_PARKED };

/* The reader has been told "miss". `may_wait`: it has taken no other lease, and somebody may just have come
 * before it. */
static enum claim claim(struct exec *x, const struct key *key, bool may_wait)
{
    const struct herd_rule *rule = rule_for(x->server, (struct slice){key->data, key->len});
    enum claim result = CLAIM_NOT_TAKEN;
    struct store_edit edit;
    enum lease_state state;

    if (rule == NULL)
        return CLAIM_NOT_TAKEN; /* the rules have been changed since it was put off */
    store_edit_begin(x->store, x->local, key, x->now, &edit);
    state = lease_state(&edit);
    if (state == LEASE_LIVE || state == LEASE_NEGATIVE)
        result = CLAIM_NOT_TAKEN; /* this very moment; it is too late to answer with it */
    else if (!lease_is_out(&edit))
        result = take(x, rule, &edit) ? CLAIM_TAKEN : CLAIM_NOT_TAKEN;
    else if (may_wait && wait_or_miss(x, rule, &edit) == PROTECT_PARKED)
        result = CLAIM_PARKED;
    if (result == CLAIM_NOT_TAKEN && (state == LEASE_LIVE || lease_is_out(&edit)))
        remember(x, &edit, false); /* without memory for a lease its fill is like any other */
    store_edit_end(&edit);
    return result;
}

static void claim_all(struct exec *x, const struct protect_several *several)
{
    bool may_wait = !holds_some(x);

    for (unsigned i = 0; i < several->put_off_len; i++) {
        enum claim result = claim(x, &several->put_off[i], may_wait);

        if (result == CLAIM_PARKED)
            return;
        if (result == CLAIM_TAKEN)
            may_wait = false;
    }
}

/* What a request that is parked has missed so far nobody has been told. */
static void settle_unsaid(struct session *s)
{
    for (struct held_lease **at = &s->held; *at != NULL;) {
        if ((*at)->unsaid && s->parked != PARK_NOT) {
            forget(s, at);
        } else {
            (*at)->unsaid = false;
            at = &(*at)->next;
        }
    }
}

bool protect_end(struct exec *x, struct protect_several *several)
{
    if (x->session->parked == PARK_NOT && several->put_off_len > 0)
        claim_all(x, several);
    x->several = NULL;
    settle_unsaid(x->session);
    if (x->session->parked == PARK_NOT)
        return false;
    out_cut(x->out, several->mark, several->pins);
    __atomic_store_n(&x->counters->keyspace_hits, several->hits, __ATOMIC_RELAXED);
    __atomic_store_n(&x->counters->keyspace_misses, several->misses, __ATOMIC_RELAXED);
    return true;
}

/* ---- writing ---- */

static bool carries_over(const struct store_edit *before, const struct store_value *value)
{
    return before->found && value->expires.ms == before->expires.ms && value->herd.grace_ms == 0 &&
           !value->sets_expiry;
}

/* A plain set of a key whose lease is out fills it, whoever holds the lease. */
static void note_fill(const struct store_edit *before, const struct herd_rule *rule,
                      struct store_value *value)
{
    struct worker *me = post_me();
    int64_t took = since(before->now, before->herd.granted).ms;
    uint32_t fill_ms = took > 0 ? (uint32_t)took : 1;

    if (rule->early)
        value->herd.fill_ms = fill_ms;
    if (me != NULL)
        herd_note_filled(&me->exec, herd_name(before), fill_ms);
}

/* Whatever changes an item takes the token away; that time passes does not. */
static bool is_untouched(const struct store_edit *edit, const struct held_lease *l)
{
    return l->token != 0 && l->token == edit->herd.token;
}

static bool is_there_already(const struct store_edit *edit, struct slice value)
{
    return edit->found && state_shows(edit->state) && slice_equals(edit->value, value);
}

bool protect_is_late_slowly(struct exec *x, struct store_edit *edit, struct slice value)
{
    struct held_lease **at = find_held(x->session, asker(x), &edit->key);
    bool late;

    if (*at == NULL)
        return false;
    late = is_remembered(x, *at) && !is_untouched(edit, *at) && !is_there_already(edit, value);
    if (late) {
        herd_note_late(x, herd_name(edit));
        /* The next leases are to be long enough, if that was all there was to it. */
        fills_note(x->server->herd->fills, herd_name(edit), (uint32_t)since(x->now, (*at)->granted).ms);
        if (edit->found && !lease_is_out(edit))
            store_edit_drop(edit);
    }
    forget(x->session, at);
    return late;
}

/* Under the shard's lock. Who fills with a token says how long it took, and notes it himself. */
static void shape(void *arg, const struct store_edit *before, struct store_value *value)
{
    const struct herd_rules *rules = rules_of(arg);
    bool fills = value->herd.fill_ms == 0 && lease_is_out(before);
    const struct herd_rule *rule;

    if (rules == NULL || (!fills && !rules->shapes))
        return;
    if ((rule = rules_find(rules, herd_name(before))) == NULL)
        return;
    if (value->expires.ms != 0 && value->herd.grace_ms == 0 && !carries_over(before, value))
        value->herd.grace_ms = rule->grace_ms;
    if (fills)
        note_fill(before, rule, value);
}
