/* memcache_meta.c - memcached's meta commands.
 *
 * How an item's state shows: a miss with N makes a VIVIFIED item without a
 * value and gives its maker W; the others get it too, as a hit of no bytes,
 * with Z. md I makes an item STALE: every reader gets X, the first one W as
 * well, the others Z. R gives W to one reader who comes shortly before the end
 * of an item's time.
 *
 * A win is the item's lease (herd/lease.h), so it is over after a while: then
 * the next who would have won, had nobody won before, does. To see what is out
 * of time but in its grace one has to send N or R; it comes with X. What waits
 * for the fill of another dialect's lease is a miss, or "VA 0 ... Z" with N.
 *
 * As in memcached, W is a mere hint: any value that is stored clears it,
 * whoever sends it. The fence (herd-fence on) makes it a right:
 *   (1) who wins and asks for c gets the number of the win for it: its token
 *       with LEASE_MARK. Nobody else is ever told that number; they see the cas.
 *   (2) a store with C<number> succeeds while that win is out, and only then:
 *       delete, a newer value, md I and time end it. EX, or NF if nothing is there.
 *   (3) a store with C<cas> while a win is out, or of a pending item, is EX.
 *   (4) an ms without C while a win is out is NS, and takes item and win away:
 *       it was either a fill without the right to be one, or a newer value that
 *       the fill must not replace. Classic set is a newer value, and stored.
 *
 * Rule: what only looks is answered from a peek. What changes something (T, N,
 * a win, an item's first cas) edits first and then peeks for the value, so
 * that a large value is sent from where it lies, whatever else was asked. */
#include "protocol/memcache_meta.h"

#include <stdio.h>

#include "protocol/memcache_text.h"
#include "server/check.h"
#include "server/command/memcache.h"
#include "server/command/memcache_edit.h"
#include "server/herd/reads.h"
#include "server/origin/origins.h"

static const struct slice nothing = {(const uint8_t *)"", 0};

/* ---- what the commands share ---- */

/* Answers a line that cannot be understood. */
static bool decode(struct exec *x, const struct request *rq, enum meta_verb verb, uint8_t *key_room,
                   struct meta_request *meta)
{
    const char *error = meta_decode(rq, verb, key_room, meta);

    counter_add(x->counters, mc_cmd_meta, error != NULL || verb != META_GET); /* an mg may be parked yet */
    if (error == NULL)
        return true;
    counter_add(x->counters, protocol_errors, 1);
    reply_line(x, error);
    return false;
}

static struct key key_of(const struct exec *x, const struct request *rq, const struct meta_request *meta)
{
    return meta->key_binary ? store_key_in(x->store, x->db, meta->key) : exec_key(x, rq, 1);
}

static bool wants(const struct meta_request *meta, uint8_t flag)
{
    for (unsigned i = 0; i < meta->flag_count; i++)
        if (meta->flags[i] == flag)
            return true;
    return false;
}

/* A key that came in base64, or from a redis client, may hold bytes that would
 * end the word or the line. Such a key goes out in base64 whatever the item remembers. */
static bool breaks_line(struct slice key)
{
    for (size_t i = 0; i < key.len; i++)
        switch (key.data[i]) {
        case ' ':
        case '\r':
        case '\n':
        case '\0': return true;
        }
    return false;
}

static uint8_t *put_key(uint8_t *p, struct slice key, bool binary)
{
    return meta_put_key(p, key, binary || breaks_line(key));
}

/* O and k come back with every answer, in the order in which they were sent. */
static uint8_t *put_echo(uint8_t *p, const struct meta_request *meta, uint8_t flag, bool key_binary)
{
    if (flag == 'O')
        return meta_put_opaque(p, meta->opaque);
    if (flag == 'k')
        return put_key(p, meta->key, key_binary);
    return p;
}

/* A code and the echoes, for answers about which there is no more to say. */
static void reply_code(struct exec *x, const struct meta_request *meta, const char *code)
{
    uint8_t *p = meta_put_code(out_room(x->out, META_REPLY_ROOM), code);

    for (unsigned i = 0; i < meta->flag_count; i++)
        p = put_echo(p, meta, meta->flags[i], meta->key_binary);
    out_commit(x->out, meta_put_end(p));
}

/* When the item expires once the flags up to `end` (0: all of them) had their
 * say: T and N, of which the later one counts. N speaks only for an item made here. */
static instant expiry_until(const struct exec *x, const struct meta_request *meta, instant before, bool made,
                            uint8_t end)
{
    instant expires = before;

    for (unsigned i = 0; i < meta->flag_count && meta->flags[i] != end; i++) {
        if (meta->flags[i] == 'T')
            expires = memcache_expiry(x->now, meta->exptime);
        if (meta->flags[i] == 'N' && made)
            expires = memcache_expiry(x->now, meta->vivify);
    }
    return expires;
}

static instant expiry_after(const struct exec *x, const struct meta_request *meta, instant before, bool made)
{
    return expiry_until(x, meta, before, made, 0);
}

/* ---- mg ---- */

/* What an mg changed before it answers, and how things were before that. */
struct mg_marks {
    bool made; /* by N, just now */
    bool held; /* the same, but somebody else holds the lease */
    bool won;
    bool fenced;       /* `cas` is the win's number, not the item's */
    bool answered;     /* within the edit */
    bool expire_later; /* T lies in the past: the value goes out first */
    bool peeked;       /* it was looked at before: that look does not count as a fetch */
    bool fetched;
    bool expired;   /* it is a miss because its time was over */
    bool refreshes; /* told "miss" although there is a value, see protect_refresh() */
    uint8_t state;
    instant expires;
    uint64_t cas;
};

/* What is told about an item. */
struct mg_view {
    struct mg_marks marks;
    size_t len;
    uint32_t flags;
    bool key_binary;
    bool with_value;
};

/* A win whose lease is over counts no more: whoever won has died, or takes too long. */
static bool is_won(const struct exec *x, uint8_t state, const struct store_herd *herd)
{
    return (state & ITEM_WON) != 0 && herd->token != 0 &&
           is_before(x->now, after(herd->granted, (span){herd->length_ms}));
}

static bool may_win(const struct exec *x, const struct meta_request *meta, uint8_t state,
                    const struct store_herd *herd, instant expires)
{
    if (is_won(x, state, herd))
        return false;
    if ((state & ITEM_STALE) != 0)
        return true;
    if ((state & ITEM_PENDING) != 0 && meta->has_vivify)
        return true;
    return meta->has_recache && expires.ms != 0 &&
           memcache_seconds_left(expires, x->now) <
               memcache_seconds_left(memcache_expiry(x->now, meta->recache), x->now);
}

static uint8_t *put_mg_flags(uint8_t *p, const struct exec *x, const struct meta_request *meta,
                             const struct mg_view *view)
{
    instant expires = view->marks.expires;

    for (unsigned i = 0; i < meta->flag_count; i++) {
        switch (meta->flags[i]) {
        case 's': p = meta_put_u64(p, 's', view->len); break;
        case 't': p = meta_put_i64(p, 't', memcache_seconds_left(expires, x->now)); break;
        case 'c': p = meta_put_u64(p, 'c', view->marks.cas); break;
        case 'f': p = meta_put_u64(p, 'f', view->flags); break;
        /* Items do not remember when they were last read (8 bytes of header say
         * all there is), so this is always "just now": the one bound that holds
         * for every item. */
        case 'l': p = meta_put_u64(p, 'l', 0); break;
        case 'h': p = meta_put_u64(p, 'h', view->marks.fetched); break;
        case 'T': expires = memcache_expiry(x->now, meta->exptime); break;
        case 'N': expires = view->marks.made ? memcache_expiry(x->now, meta->vivify) : expires; break;
        case 'O':
        case 'k': p = put_echo(p, meta, meta->flags[i], view->key_binary); break;
        }
    }
    if ((view->marks.state & ITEM_WON) != 0 && !view->marks.won)
        p = meta_put_mark(p, 'Z');
    if ((view->marks.state & ITEM_STALE) != 0)
        p = meta_put_mark(p, 'X');
    if (view->marks.won)
        p = meta_put_mark(p, 'W');
    return meta_put_end(p);
}

static uint8_t *put_mg_line(uint8_t *p, const struct exec *x, const struct meta_request *meta,
                            const struct mg_view *view)
{
    p = view->with_value ? meta_put_va(p, view->len) : meta_put_code(p, "HD");
    return put_mg_flags(p, x, meta, view);
}

/* `edited` is NULL when nothing was: then the peek is all there is to know. */
static struct mg_view view_of(const struct meta_request *meta, const struct store_peek *peek,
                              const struct mg_marks *edited)
{
    struct mg_view view = {
        .marks = {.state = peek->state, .fetched = peek->fetched, .expires = peek->expires, .cas = peek->cas},
        .len = peek->len,
        .flags = peek->flags,
        .key_binary = peek->key_binary,
        /* C: only if it is another one than the client has */
        .with_value = meta->want_value && !(meta->has_cas && peek->cas != 0 && meta->cas == peek->cas),
    };

    if (edited != NULL) {
        view.marks = *edited;
        if (peek->cas != 0 && !edited->fenced)
            view.marks.cas = peek->cas;
    }
    return view;
}

/* Room enough for the line and a value in the log. */
static void put_mg(struct exec *x, const struct meta_request *meta, const struct mg_view *view,
                   const uint8_t *value)
{
    uint8_t *p = out_room(x->out, META_REPLY_ROOM + view->len + 2);

    if (p == NULL)
        return;
    p = put_mg_line(p, x, meta, view);
    if (view->with_value)
        p = memcache_copy_value(p, value, view->len);
    out_commit(x->out, p);
}

/* Takes over the peek's pin. */
static void put_mg_blob(struct exec *x, const struct meta_request *meta, const struct mg_view *view,
                        struct store_peek *peek)
{
    out_commit(x->out, put_mg_line(out_room(x->out, META_REPLY_ROOM), x, meta, view));
    if (!view->with_value) {
        blob_unpin(&peek->blob);
        return;
    }
    out_blob(x->out, peek->blob, (struct slice){peek->value, peek->len});
    reply_raw(x, "\r\n", 2);
}

enum mg_answer { MG_HIT, MG_MISS, MG_EDIT_FIRST };

static bool needs_edit(const struct exec *x, const struct meta_request *meta, const struct store_peek *peek)
{
    static const struct store_herd none;
    const struct store_herd *herd = peek->herded ? &peek->herd : &none;

    return may_win(x, meta, peek->state, herd, peek->expires) || (peek->cas == 0 && wants(meta, 'c'));
}

/* N and R are for clients that look at X, Z and W. Only they are shown what is
 * out of time and in its grace; md I's stale items are shown to all, as
 * memcached has it. Who sends neither knows nothing of herds. */
static bool takes_stale(const struct meta_request *meta)
{
    return meta->has_vivify || meta->has_recache;
}

static void note_stale(struct exec *x, const struct key *key, const struct mg_view *view)
{
    if (__builtin_expect((view->marks.state & ITEM_STALE) != 0, 0) && view->with_value)
        herd_note_stale_served(x, (struct slice){key->data, key->len});
}

/* The place-holder of a lease on a protected key, or a value that this reader is to refresh. */
static bool hides(struct exec *x, const struct meta_request *meta, const struct key *key,
                  const struct store_peek *peek, struct mg_marks *marks)
{
    if (takes_stale(meta))
        return false;
    if (peek->state & (ITEM_PENDING | ITEM_NEGATIVE))
        return reads_hide_place(x, key, peek->state);
    marks->refreshes = peek->herded && reads_refresh(x, key, peek);
    return marks->refreshes;
}

/* Answers a hit; a miss is only reported, as N may change it. Unless the edit
 * has been, it may turn out to be needed. */
static enum mg_answer answer_mg(struct exec *x, const struct meta_request *meta, const struct key *key,
                                struct mg_marks *marks, bool edited)
{
    size_t mark = out_mark(x->out);
    struct store_peek peek;

    for (;; out_rollback(x->out, mark)) {
        enum peek_status status = store_peek(x->store, x->local, key, x->now, !meta->no_bump, &peek);
        struct mg_view view;

        if (status == PEEK_MISS) {
            if (peek.herded && !edited && takes_stale(meta))
                return MG_EDIT_FIRST;
            marks->expired = peek.expired;
            return MG_MISS;
        }
        if (__builtin_expect(!memcache_shows(peek.state), 0)) {
            if (memcache_is_hidden(status, &peek))
                return MG_MISS;
            continue;
        }
        if (!edited && needs_edit(x, meta, &peek)) {
            marks->peeked = true;
            marks->fetched = peek.fetched;
            if (status == PEEK_BLOB)
                blob_unpin(&peek.blob);
            return MG_EDIT_FIRST;
        }
        if (__builtin_expect(peek.state != ITEM_LIVE || peek.herded, 0) &&
            hides(x, meta, key, &peek, marks)) {
            if (status == PEEK_BLOB)
                blob_unpin(&peek.blob);
            return MG_MISS;
        }
        view = view_of(meta, &peek, edited ? marks : NULL);
        if (status == PEEK_BLOB) {
            note_stale(x, key, &view);
            put_mg_blob(x, meta, &view, &peek);
            return MG_HIT;
        }
        put_mg(x, meta, &view, peek.value);
        if (store_peek_ok(&peek)) {
            note_stale(x, key, &view);
            return MG_HIT;
        }
    }
}

/* Under the fence, whoever won is told the number of the win instead of the item's cas. */
static void tell_win(const struct exec *x, struct mg_marks *marks, uint64_t token)
{
    marks->won = true;
    marks->fenced = memcache_is_fenced(x);
    if (marks->fenced)
        marks->cas = token | LEASE_MARK;
}

/* A miss with N: whoever comes next finds an item without a value. */
static void make_pending(struct exec *x, const struct meta_request *meta, struct store_edit *edit,
                         struct mg_marks *marks)
{
    struct store_value value = {
        .head = nothing,
        .expires = expiry_after(x, meta, (instant){0}, true),
        .key_binary = meta->key_binary,
        .cas = meta->cas_new,
    };
    uint64_t token;

    switch (herd_vivify(x, edit, &value, &token)) {
    case LEASE_HELD: /* by a client of another dialect, which shows nothing meanwhile */
        marks->held = true;
        marks->state = ITEM_WON;
        marks->expires = lease_end(edit);
        return;
    case LEASE_NO_ROOM: return;
    case LEASE_GRANTED: break;
    }
    marks->made = true;
    if (wants(meta, 'c'))
        marks->cas = store_edit_cas(edit);
    tell_win(x, marks, token);
}

static void change_found(struct exec *x, const struct meta_request *meta, struct store_edit *edit,
                         struct mg_marks *marks)
{
    instant expires = expiry_after(x, meta, edit->expires, false);
    uint64_t token;

    if (!marks->peeked)
        marks->fetched = edit->fetched;
    marks->state = edit->state;
    marks->expires = edit->expires;
    if (wants(meta, 'c'))
        marks->cas = store_edit_cas(edit);
    if (may_win(x, meta, edit->state, &edit->herd, expiry_until(x, meta, edit->expires, false, 'R')) &&
        herd_win(x, edit, &token) == LEASE_GRANTED)
        tell_win(x, marks, token);
    marks->expire_later = meta->has_exptime && expires.ms != 0 && !is_before(x->now, expires);
    if (meta->has_exptime && !marks->expire_later)
        store_edit_expire(edit, expires); /* when memory is short it keeps the time it had */
}

/* What is out of time but in its grace, as if md I had marked it; but T does not
 * bring it back. It is answered here: no later look would find it. */
static void answer_graced(struct exec *x, const struct meta_request *meta, const struct key *key,
                          struct store_edit *edit, struct mg_marks *marks)
{
    struct mg_view view = {.len = edit->value.len, .flags = edit->flags, .key_binary = edit->key_binary};
    struct store_peek value = {.len = (uint32_t)edit->value.len, .blob = edit->blob};
    uint64_t token;

    marks->answered = true;
    marks->fetched = edit->fetched;
    marks->state = edit->state | ITEM_STALE;
    marks->expires = edit->expires;
    marks->cas = edit->cas;
    if (herd_take(x, edit, &token) == LEASE_GRANTED)
        tell_win(x, marks, token);
    value.value = edit->value.data; /* the lease may have moved it */
    view.marks = *marks;
    view.with_value = meta->want_value && !(meta->has_cas && edit->cas != 0 && meta->cas == edit->cas);
    note_stale(x, key, &view);
    if (edit->blob == NULL) {
        put_mg(x, meta, &view, value.value);
        return;
    }
    blob_pin(edit->blob);
    put_mg_blob(x, meta, &view, &value);
}

/* False when there is nothing to answer with. */
static bool edit_mg(struct exec *x, const struct meta_request *meta, const struct key *key,
                    struct mg_marks *marks)
{
    struct store_edit edit;
    bool there;

    store_edit_begin(x->store, x->local, key, x->now, &edit);
    there = memcache_finds(&edit);
    if (there)
        change_found(x, meta, &edit, marks);
    else if (edit.graced && lease_state(&edit) == LEASE_STALE && takes_stale(meta))
        answer_graced(x, meta, key, &edit, marks);
    else if (meta->has_vivify)
        make_pending(x, meta, &edit, marks);
    store_edit_end(&edit);
    return there || marks->made || marks->held || marks->answered;
}

static void expire_now(struct exec *x, const struct key *key)
{
    struct store_edit edit;

    store_edit_begin(x->store, x->local, key, x->now, &edit);
    store_edit_drop(&edit);
    store_edit_end(&edit);
}

static bool edit_and_answer_mg(struct exec *x, const struct meta_request *meta, const struct key *key,
                               struct mg_marks *marks)
{
    if (!edit_mg(x, meta, key, marks))
        return false;
    if (marks->answered)
        return true;
    if (marks->held || answer_mg(x, meta, key, marks, true) == MG_MISS) {
        struct mg_view view = {
            .marks = *marks, .key_binary = meta->key_binary, .with_value = meta->want_value};

        if (!marks->made && !marks->held) /* somebody removed it this very moment */
            return false;
        put_mg(x, meta, &view, nothing.data); /* N gave it no time at all */
    }
    if (marks->expire_later)
        expire_now(x, key);
    return true;
}

/* What an origin has for a key that is not there. */
static bool answer_mg_instead(struct exec *x, const struct meta_request *meta, const struct key *key)
{
    struct store_peek peek = {0};
    struct origin_gift gift;
    struct mg_view view;

    if (!x->instead || !origins_instead(x, key, &gift))
        return false;
    peek.blob = gift.blob;
    peek.value = gift.value.data;
    peek.len = (uint32_t)gift.value.len;
    peek.flags = gift.flags;
    view = view_of(meta, &peek, NULL);
    put_mg_blob(x, meta, &view, &peek);
    return true;
}

static void count_mg(struct exec *x, const struct meta_request *meta, bool hit)
{
    bool touched = hit && meta->has_exptime;

    counter_add(x->counters, mc_cmd_meta, 1);
    counter_add(x->counters, keyspace_hits, hit);
    counter_add(x->counters, keyspace_misses, !hit);
    if (touched) {
        counter_add(x->counters, mc_cmd_touch, 1);
        counter_add(x->counters, mc_touch_hits, 1);
        return;
    }
    counter_add(x->counters, mc_cmd_get, 1);
    counter_add(x->counters, mc_get_hits, hit);
    counter_add(x->counters, mc_get_misses, !hit);
}

static void put_kept(struct exec *x, const struct meta_request *meta, const struct store_edit *edit)
{
    struct store_peek kept = {.value = edit->value.data,
                              .len = (uint32_t)edit->value.len,
                              .flags = edit->flags,
                              .cas = edit->cas,
                              .expires = edit->expires,
                              .fetched = edit->fetched,
                              .state = ITEM_STALE | ITEM_WON, /* it is told so: X, and Z as another has won */
                              .key_binary = edit->key_binary,
                              .blob = edit->blob};
    struct mg_view view = view_of(meta, &kept, NULL);

    if (kept.blob == NULL) {
        put_mg(x, meta, &view, kept.value);
        return;
    }
    blob_pin(kept.blob);
    put_mg_blob(x, meta, &view, &kept);
}

/* A miss of who asks for no win: a rule may have it wait, or be given what is in its grace. */
static enum mg_answer answer_absent_mg(struct exec *x, const struct meta_request *meta, const struct key *key)
{
    struct store_edit edit;

    switch (reads_missed(x, key, &edit)) {
    case PROTECT_MISS:
    case PROTECT_PARKED: return MG_MISS;
    case PROTECT_RETRY: return MG_EDIT_FIRST;
    case PROTECT_STALE:
        put_kept(x, meta, &edit);
        store_edit_end(&edit);
        return MG_HIT;
    }
    CHECK_UNREACHABLE();
}

void mc_mg(struct exec *x, struct request *rq)
{
    enum mg_answer answer = MG_EDIT_FIRST;
    uint8_t key_room[META_KEY_ROOM];
    struct mg_marks marks = {0};
    struct meta_request meta;
    struct key key;
    bool hit;

    if (!decode(x, rq, META_GET, key_room, &meta))
        return;
    key = key_of(x, rq, &meta);
    if (x->hopeful && (meta.has_exptime || takes_stale(&meta)) && origins_ask(x, &key))
        return; /* it may change the item before it is known whether there is one to answer with */
    if (!meta.has_exptime)
        answer = answer_mg(x, &meta, &key, &marks, false);
    if (answer == MG_EDIT_FIRST || (answer == MG_MISS && meta.has_vivify))
        hit = edit_and_answer_mg(x, &meta, &key, &marks);
    else
        hit = answer == MG_HIT;
    hit = hit || answer_mg_instead(x, &meta, &key);
    if (!hit && !takes_stale(&meta) && !marks.refreshes &&
        (answer = answer_absent_mg(x, &meta, &key)) != MG_MISS)
        hit = answer == MG_HIT || edit_and_answer_mg(x, &meta, &key, &marks);
    if (x->session->parked != PARK_NOT)
        return;
    if (marks.expired)
        memcache_note_expired(x);
    if (!hit && !meta.quiet)
        reply_code(x, &meta, "EN");
    count_mg(x, &meta, hit);
}

/* ---- ms ---- */

static enum memcache_how how_of(const struct meta_request *meta)
{
    switch (meta->mode) {
    case 'E': return HOW_ADD;
    case 'A': return HOW_APPEND;
    case 'P': return HOW_PREPEND;
    case 'R': return meta->has_cas ? HOW_CAS : HOW_REPLACE;
    default: return meta->has_cas ? HOW_CAS : HOW_SET;
    }
}

static struct memcache_put put_of(const struct exec *x, const struct request *rq,
                                  const struct meta_request *meta)
{
    enum memcache_how how = how_of(meta);
    bool makes = meta->has_vivify && (how == HOW_APPEND || how == HOW_PREPEND);

    return (struct memcache_put){
        .how = how,
        .key_len = meta->key.len,
        .data = rq->data,
        .backing = x->backing,
        .flags = meta->client_flags,
        .expires = memcache_expiry(x->now, makes ? meta->vivify : meta->exptime),
        .has_cas = meta->has_cas,
        .late_is_ok = meta->invalidate,
        .is_meta = true,
        .make_missing = makes,
        .key_binary = meta->key_binary,
        .cas = meta->cas,
        .cas_new = meta->cas_new,
    };
}

static void reply_ms(struct exec *x, const struct meta_request *meta, const char *code, size_t len,
                     uint64_t cas)
{
    uint8_t *p = meta_put_code(out_room(x->out, META_REPLY_ROOM), code);

    for (unsigned i = 0; i < meta->flag_count; i++) {
        switch (meta->flags[i]) {
        case 'c': p = meta_put_u64(p, 'c', cas); break;
        case 's': p = meta_put_u64(p, 's', len); break;
        default: p = put_echo(p, meta, meta->flags[i], meta->key_binary);
        }
    }
    out_commit(x->out, meta_put_end(p));
}

static void answer_ms(struct exec *x, const struct meta_request *meta, enum memcache_outcome outcome,
                      size_t len, uint64_t cas)
{
    switch (outcome) {
    case PUT_STORED:
        if (!meta->quiet)
            reply_ms(x, meta, "HD", len, cas);
        return;
    case PUT_NOT_STORED: reply_ms(x, meta, "NS", len, 0); return;
    case PUT_EXISTS: reply_ms(x, meta, "EX", len, 0); return;
    case PUT_NOT_FOUND: reply_ms(x, meta, "NF", len, 0); return;
    case PUT_TOO_LARGE: reply_line(x, MEMCACHE_TOO_LARGE); return;
    case PUT_NO_MEMORY: reply_line(x, MEMCACHE_NO_MEMORY); return;
    }
    CHECK_UNREACHABLE();
}

/* Without the fence the lease that is out is mostly the client's own: what the
 * fill took is worth knowing, though nothing proves it. Where a rule protects
 * the key that has been noted, as of every plain set. */
static void note_fill(struct exec *x, const struct key *key, const struct store_herd *lease)
{
    struct slice name = {key->data, key->len};
    int64_t took = since(x->now, lease->granted).ms;

    if (!protect_on(x) || !protect_has_rule(x, name))
        herd_note_filled(x, name, took > 0 ? (uint32_t)took : 1);
}

static enum memcache_outcome run_ms(struct exec *x, const struct key *key, const struct memcache_put *put,
                                    struct store_edit *edit)
{
    struct store_herd lease = edit->herd;
    bool was_out = lease_is_out(edit);
    enum memcache_outcome outcome;

    outcome = memcache_put(x, edit, put);
    if (outcome == PUT_STORED && was_out && !lease_is_out(edit) && !memcache_is_fenced(x))
        note_fill(x, key, &lease);
    return outcome;
}

void mc_ms(struct exec *x, struct request *rq)
{
    uint8_t key_room[META_KEY_ROOM];
    enum memcache_outcome outcome;
    struct meta_request meta;
    struct memcache_put put;
    struct store_edit edit;
    struct key key;
    size_t len = rq->data.len;
    uint64_t cas = 0;

    if (!decode(x, rq, META_SET, key_room, &meta))
        return;
    key = key_of(x, rq, &meta);
    put = put_of(x, rq, &meta);
    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    outcome = run_ms(x, &key, &put, &edit);
    /* A value that could not be stored takes the old one with it, in every mode, as memcached has it. */
    if (outcome == PUT_TOO_LARGE || outcome == PUT_NO_MEMORY)
        store_edit_drop(&edit);
    if (outcome == PUT_STORED && edit.found) {
        len = edit.value.len;
        cas = wants(&meta, 'c') ? store_edit_cas(&edit) : 0;
    }
    store_edit_end(&edit);
    answer_ms(x, &meta, outcome, len, cas);
}

/* ---- md ---- */

/* Both ways to keep the item may need memory. Where there is none the item is
 * removed instead: that invalidates it too, and only costs a miss. */
static void empty_item(const struct exec *x, const struct meta_request *meta, struct store_edit *edit)
{
    struct store_value value = {
        .head = nothing,
        .flags = meta->client_flags,
        .expires = memcache_expiry(x->now, meta->exptime),
        .key_binary = meta->key_binary,
        .cas = meta->has_cas_new ? meta->cas_new : edit->cas,
    };

    if (store_edit_put(edit, &value) != STORE_OK)
        store_edit_drop(edit);
}

/* Whoever had won it before has lost it, by the new cas or with the lease. */
static void mark_stale(const struct exec *x, const struct meta_request *meta, struct store_edit *edit)
{
    instant expires = expiry_after(x, meta, edit->expires, false);
    struct store_value value = {
        .head = edit->value,
        .flags = edit->flags,
        .expires = expires,
        .state = (uint8_t)((edit->state | ITEM_STALE) & ~ITEM_WON),
        .key_binary = edit->key_binary,
        .cas = meta->cas_new,
    };
    enum store_status status;
    bool was_fetched = edit->fetched;

    if (edit->cas != 0 || meta->has_cas_new)
        status = store_edit_put(edit, &value); /* for a new cas */
    else
        status = lease_mark_stale(edit, expires);
    if (status != STORE_OK)
        store_edit_drop(edit);
    else if (was_fetched && edit->found)
        store_edit_touch(edit);
}

static void delete_item(struct exec *x, const struct meta_request *meta, struct store_edit *edit)
{
    if (meta->empty_value)
        empty_item(x, meta, edit);
    if (!meta->invalidate)
        counter_add(x->counters, mc_delete_hits, 1);
    else if (edit->found)
        mark_stale(x, meta, edit);
    if (!meta->invalidate && !meta->empty_value)
        store_edit_drop(edit);
}

/* There is nothing that memcached's clients would see; but what was on its way
 * to be stored is out of date now. */
static void void_fill(const struct meta_request *meta, struct store_edit *edit)
{
    if (meta->has_cas)
        return;
    if (meta->invalidate)
        lease_invalidate(edit, 0);
    else
        store_edit_drop(edit);
}

void mc_md(struct exec *x, struct request *rq)
{
    uint8_t key_room[META_KEY_ROOM];
    struct meta_request meta;
    struct store_edit edit;
    const char *code = "HD";
    struct key key;

    if (!decode(x, rq, META_DELETE, key_room, &meta))
        return;
    key = key_of(x, rq, &meta);
    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    if (memcache_finds_filter(&edit) && !meta.has_cas) {
        counter_add(x->counters, mc_delete_hits, 1);
        store_edit_drop(&edit); /* marked stale or emptied, it would be no filter any more */
    } else if (!memcache_finds(&edit)) {
        code = "NF";
        void_fill(&meta, &edit);
    } else if (meta.has_cas && (edit.cas == 0 || edit.cas != meta.cas)) {
        code = "EX";
    } else {
        delete_item(x, &meta, &edit);
    }
    store_edit_end(&edit);
    counter_add(x->counters, mc_delete_misses, code[0] != 'H');
    if (code[0] != 'H' || !meta.quiet)
        reply_code(x, &meta, code);
}

void memcache_meta_answer_written(struct exec *x, const struct request *rq, bool found)
{
    bool set = slice_is(rq->argv[0], "ms");
    uint8_t key_room[META_KEY_ROOM];
    struct meta_request meta;

    if (!decode(x, rq, set ? META_SET : META_DELETE, key_room, &meta))
        return;
    if (set)
        answer_ms(x, &meta, PUT_STORED, rq->data.len, 0);
    else if (!found || !meta.quiet)
        reply_code(x, &meta, found ? "HD" : "NF");
}

/* ---- ma ---- */

/* What an ma did, for its answer. */
struct ma_result {
    enum { MA_DONE, MA_NOT_FOUND, MA_EXISTS, MA_NOT_A_NUMBER, MA_NO_MEMORY } status;
    bool made;
    uint64_t number;
    uint64_t cas;
    instant expires; /* before T and N */
};

static void make_number(struct exec *x, const struct meta_request *meta, struct store_edit *edit,
                        struct ma_result *result)
{
    uint8_t digits[20];
    struct store_value value = {
        .head = {digits, u64_to_text(digits, meta->initial)},
        .expires = expiry_after(x, meta, (instant){0}, true),
        .cas = meta->cas_new,
    };

    result->number = meta->initial;
    result->made = store_edit_put(edit, &value) == STORE_OK;
    result->status = result->made ? MA_DONE : MA_NO_MEMORY;
}

static void change_number(struct exec *x, const struct meta_request *meta, bool up, struct store_edit *edit,
                          struct ma_result *result)
{
    enum memcache_sum sum;

    result->expires = edit->expires;
    if (edit->value.len != 0 && meta->has_cas && meta->cas != 0 && meta->cas != edit->cas) {
        result->status = MA_EXISTS;
        return;
    }
    sum = memcache_add(edit, up, meta->delta, meta->cas_new, &result->number);
    if (sum == SUM_DONE && meta->has_exptime &&
        store_edit_expire(edit, expiry_after(x, meta, edit->expires, false)) != STORE_OK)
        sum = SUM_NO_MEMORY;
    result->status = sum == SUM_DONE ? MA_DONE : sum == SUM_NOT_A_NUMBER ? MA_NOT_A_NUMBER : MA_NO_MEMORY;
}

static void run_ma(struct exec *x, const struct key *key, const struct meta_request *meta, bool up,
                   struct ma_result *result)
{
    struct store_edit edit;

    store_edit_begin(x->store, x->local, key, x->now, &edit);
    if (memcache_finds(&edit))
        change_number(x, meta, up, &edit, result);
    else if (meta->has_vivify && !memcache_finds_filter(&edit))
        make_number(x, meta, &edit, result);
    else
        result->status = MA_NOT_FOUND;
    if (result->status == MA_DONE && wants(meta, 'c'))
        result->cas = store_edit_cas(&edit);
    store_edit_end(&edit);
}

static void reply_ma(struct exec *x, const struct meta_request *meta, const struct ma_result *result)
{
    uint8_t *p = out_room(x->out, META_REPLY_ROOM);
    instant expires = result->expires;
    uint8_t digits[20];
    size_t len = u64_to_text(digits, result->number);

    p = meta->want_value ? meta_put_va(p, len) : meta_put_code(p, "HD");
    for (unsigned i = 0; i < meta->flag_count; i++) {
        switch (meta->flags[i]) {
        case 'c': p = meta_put_u64(p, 'c', result->cas); break;
        case 't': p = meta_put_i64(p, 't', memcache_seconds_left(expires, x->now)); break;
        case 'T': expires = memcache_expiry(x->now, meta->exptime); break;
        case 'N': expires = result->made ? memcache_expiry(x->now, meta->vivify) : expires; break;
        default: p = put_echo(p, meta, meta->flags[i], meta->key_binary);
        }
    }
    p = meta_put_end(p);
    if (meta->want_value)
        p = memcache_copy_value(p, digits, len);
    out_commit(x->out, p);
}

static void count_ma(struct exec *x, bool up, const struct ma_result *result)
{
    bool hit = result->status == MA_DONE && !result->made;
    bool miss = result->status == MA_NOT_FOUND;

    counter_add(x->counters, mc_incr_hits, up && hit);
    counter_add(x->counters, mc_incr_misses, up && miss);
    counter_add(x->counters, mc_decr_hits, !up && hit);
    counter_add(x->counters, mc_decr_misses, !up && miss);
    counter_add(x->counters, oom_refused, result->status == MA_NO_MEMORY);
}

void mc_ma(struct exec *x, struct request *rq)
{
    struct ma_result result = {0};
    uint8_t key_room[META_KEY_ROOM];
    struct meta_request meta;
    struct key key;
    bool up;

    if (!decode(x, rq, META_ARITHMETIC, key_room, &meta))
        return;
    up = meta.mode != 'D' && meta.mode != '-';
    key = key_of(x, rq, &meta);
    run_ma(x, &key, &meta, up, &result);
    count_ma(x, up, &result);
    switch (result.status) {
    case MA_DONE:
        if (!meta.quiet || result.made) /* q does not hide that N made it */
            reply_ma(x, &meta, &result);
        return;
    case MA_NOT_FOUND: reply_code(x, &meta, "NF"); return;
    case MA_EXISTS: reply_code(x, &meta, "EX"); return;
    case MA_NOT_A_NUMBER: reply_line(x, MEMCACHE_NOT_A_NUMBER); return;
    case MA_NO_MEMORY: reply_line(x, MEMCACHE_OUT_OF_MEMORY); return;
    }
    CHECK_UNREACHABLE();
}

/* ---- me, mn ---- */

/* A time to live is told below zero, as memcached has it. Sizes are of key and value alone: what an item
 * costs beside them is the store's business. There are no slab classes; all items are in class 1. */
static uint8_t *put_facts(uint8_t *p, const struct exec *x, const struct store_edit *edit, size_t key_len,
                          uint64_t cas)
{
    int64_t left = memcache_seconds_left(edit->expires, x->now);
    int n = snprintf((char *)p, 256, " exp=%lld la=0 cas=%llu fetch=%s cls=1 size=%zu",
                     (long long)(edit->expires.ms == 0 ? left : -left), (unsigned long long)cas,
                     edit->fetched ? "yes" : "no", key_len + edit->value.len);

    return p + n;
}

void mc_me(struct exec *x, struct request *rq)
{
    uint8_t key_room[META_KEY_ROOM];
    struct meta_request meta;
    struct store_edit edit;
    struct key key;
    uint64_t cas;
    uint8_t *p;

    if (!decode(x, rq, META_DEBUG, key_room, &meta))
        return;
    p = out_room(x->out, META_REPLY_ROOM);
    key = key_of(x, rq, &meta);
    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    if (memcache_finds(&edit)) {
        struct store_edit seen = edit; /* giving it a cas must not change what is reported */

        cas = store_edit_cas(&edit);
        p = meta_put_me(p, meta.key, seen.key_binary || breaks_line(meta.key));
        p = put_facts(p, x, &seen, key.len, cas);
    } else {
        p = meta_put_code(p, "EN");
    }
    store_edit_end(&edit);
    out_commit(x->out, meta_put_end(p));
}

void mc_mn(struct exec *x, struct request *rq)
{
    (void)rq;
    counter_add(x->counters, mc_cmd_meta, 1);
    reply_line(x, "MN");
}
