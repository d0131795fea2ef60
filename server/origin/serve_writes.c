/* serve_writes.c - the workers' side of writes to keys whose origin takes them.
 *
 * What is written is decoded here, from every dialect, into the same few words:
 * this key is this value, or is gone. Whatever cannot be said in these words (an
 * increment, a condition) is refused: the cache would do it to what it happens
 * to hold, and the origin would hear of something else. What only concerns how
 * long a value is kept (EXPIRE, touch) is the cache's own business. */
#include <stdio.h>
#include <stdlib.h>

#include "protocol/memcache_meta.h"
#include "protocol/memcache_text.h"
#include "server/check.h"
#include "server/command/arguments.h"
#include "server/command/memcache.h"
#include "server/command/memcache_edit.h"
#include "server/origin/guard.h"
#include "server/origin/writes.h"
#include "server/park.h"
#include "server/server.h"

enum { TEXT_MAX = 300 };

/* A request, as far as origins are concerned. */
struct writing {
    struct exec *x;
    struct wanted_write wanted;
    bool can;                /* it can be said in these words */
    const char *cannot;      /* else: what is wrong with it; NULL: it was answered */
    struct key *keys;        /* as many as it names */
    struct origin **origins; /* of each, pinned; NULL: it has none that takes writes */
    size_t n;
    size_t theirs; /* how many have one */
    enum origin_write how;
    bool mixed;         /* they have not all the same way */
    unsigned existed;   /* of those deleted */
    char why[TEXT_MAX]; /* when it failed */
};

static void writing_free(struct writing *w)
{
    for (size_t i = 0; i < w->n; i++)
        origin_unpin(&w->origins[i]);
    free(w->origins);
    free(w->keys);
}

/* ---- whose keys they are ---- */

static struct origin *origin_to_write(struct exec *x, struct slice name)
{
    struct origin *o = origins_match(x->server->origins, name);

    if (o != NULL && o->rule.write == ORIGIN_WRITE_OFF)
        origin_unpin(&o);
    return o;
}

static void add_key(struct writing *w, struct slice name)
{
    struct origin *o = origin_to_write(w->x, name);

    w->keys[w->n] = store_key_in(w->x->store, w->x->db, name);
    w->origins[w->n++] = o;
    if (o == NULL)
        return;
    w->mixed |= w->theirs > 0 && w->how != o->rule.write;
    w->how = o->rule.write;
    w->theirs++;
}

static bool make_room(struct writing *w, size_t n)
{
    w->keys = calloc(n, sizeof *w->keys);
    w->origins = calloc(n, sizeof(struct origin *));
    return w->keys != NULL && w->origins != NULL;
}

/* ---- writing ---- */

static void fail(struct writing *w, const struct origin *o, const char *why)
{
    origin_count((struct origin *)o, writes_refused);
    snprintf(w->why, sizeof w->why, "%.120s: %.160s", o->rule.shown, why);
}

static const char *place_text(enum origin_place place)
{
    return place == PLACE_SHUT ? "it has failed too often; asked again soon" : "too many requests are ahead";
}

/* Places for all of them, or for none. */
static bool reserve_all(struct writing *w)
{
    for (size_t i = 0; i < w->n; i++) {
        enum origin_place place = origin_reserve(w->origins[i]);

        if (place == PLACE_KEPT)
            continue;
        fail(w, w->origins[i], place_text(place));
        while (i-- > 0)
            origin_unreserve(w->origins[i]);
        return false;
    }
    return true;
}

/* True: it waits now. */
static bool begin_through(struct writing *w)
{
    struct exec *x = w->x;

    if (!exec_may_park(x)) {
        fail(w, w->origins[0], "the node stops");
        return false;
    }
    if (!reserve_all(w))
        return false;
    for (size_t i = 0; i < w->n; i++)
        origin_pin(w->origins[i]);
    if (writes_through(x->server->origins->writes, address_of(x->session), w->keys, w->origins, w->n,
                       &w->wanted)) {
        exec_park(x, (span){0}); /* all of them end, by their own time limit */
        return true;
    }
    for (size_t i = 0; i < w->n; i++) {
        struct origin *o = w->origins[i];

        origin_unreserve(o);
        origin_unpin(&o);
    }
    fail(w, w->origins[0], "out of memory");
    return false;
}

enum written { WRITTEN, WRITING, NOT_WRITTEN };

static enum written go_on_through(struct writing *w)
{
    struct exec *x = w->x;
    struct writes *writes = x->server->origins->writes;
    post_address who = address_of(x->session);
    struct write_result result;

    if (!writes_result(writes, who, &result))
        return begin_through(w) ? WRITING : NOT_WRITTEN;
    if (result.left > 0 && exec_outcome(x) == PARK_WOKEN) {
        exec_park(x, (span){0});
        return WRITING;
    }
    writes_forget(writes, who);
    if (result.left > 0) {
        fail(w, w->origins[0], "nobody waits for it any more, so it is not known whether it was written");
        return NOT_WRITTEN;
    }
    w->existed = result.existed;
    if (!result.failed)
        return WRITTEN;
    origin_count(w->origins[0], writes_refused);
    snprintf(w->why, sizeof w->why, "%.120s: %.160s", result.shown, result.why);
    return NOT_WRITTEN;
}

static enum written write_through(struct writing *w)
{
    if (exec_outcome(w->x) != PARK_FRESH)
        return go_on_through(w);
    writes_forget(w->x->server->origins->writes, address_of(w->x->session)); /* of one that was cut short */
    return begin_through(w) ? WRITING : NOT_WRITTEN;
}

static const char *store_text(enum store_status why)
{
    return why == STORE_TOO_BIG ? "longer than max-item-size" : "memory is full";
}

static enum written write_behind(struct writing *w)
{
    struct writes *writes = w->x->server->origins->writes;
    enum store_status why = STORE_OK;

    for (size_t i = 0; i < w->n; i++) {
        bool found = false;

        switch (writes_behind(writes, w->x, &w->keys[i], w->origins[i], &w->wanted, &why, &found)) {
        case BEHIND_ACCEPTED: w->existed += found; continue;
        case BEHIND_FULL: fail(w, w->origins[i], "too many writes wait for it"); return NOT_WRITTEN;
        case BEHIND_NO_MEMORY: fail(w, w->origins[i], "out of memory"); return NOT_WRITTEN;
        case BEHIND_NOT_STORED: fail(w, w->origins[i], store_text(why)); return NOT_WRITTEN;
        }
    }
    return WRITTEN;
}

/* Before the origin hears of any: a reader shall not be told that there is none. */
static bool guards_admit(struct writing *w)
{
    for (size_t i = 0; i < w->n; i++) {
        if (guard_admits(w->x, w->origins[i], &w->keys[i]))
            continue;
        fail(w, w->origins[i], "its guard does not take the key: see BF.INFO");
        return false;
    }
    return true;
}

static enum written write_all(struct writing *w)
{
    if (w->mixed || w->theirs < w->n) {
        fail(w, w->origins[0] != NULL ? w->origins[0] : w->origins[w->n - 1],
             "keys that are written to it and others cannot be in one request");
        return NOT_WRITTEN;
    }
    if (w->wanted.kind == CALL_SET && exec_outcome(w->x) == PARK_FRESH && !guards_admit(w))
        return NOT_WRITTEN;
    return w->how == ORIGIN_WRITE_THROUGH ? write_through(w) : write_behind(w);
}

/* ---- RESP ---- */

/* They change how long a value is kept, or whether it is, and not what it is. */
static bool is_ours_alone(const struct command *command)
{
    command_handler *h = command->handler;

    return h == cmd_expire || h == cmd_pexpire || h == cmd_expireat || h == cmd_pexpireat ||
           h == cmd_persist || h == cmd_getex || h == cmd_touch || h == cmd_getlease || h == cmd_setlease ||
           h == cmd_invalidate || h == cmd_expiretime || h == cmd_pexpiretime;
}

static bool read_set(struct writing *w, const struct request *rq)
{
    static const struct {
        const char *word;
        struct moment_form form;
    } words[] = {
        {"ex", {true, false}}, {"px", {false, false}}, {"exat", {true, true}}, {"pxat", {false, true}}};

    w->wanted.kind = CALL_SET;
    w->wanted.value = rq->argv[2];
    if (rq->argc == 3)
        return true;
    for (size_t i = 0; i < sizeof words / sizeof *words && rq->argc == 5; i++) {
        if (!slice_is(rq->argv[3], words[i].word))
            continue;
        w->cannot = NULL; /* if it is refused it is answered */
        return read_expiry(w->x, "set", rq->argv[4], words[i].form, &w->wanted.expires);
    }
    return false;
}

static bool read_setex(struct writing *w, const struct request *rq, const char *command, bool in_seconds)
{
    w->wanted.kind = CALL_SET;
    w->wanted.value = rq->argv[3];
    w->cannot = NULL;
    return read_expiry(w->x, command, rq->argv[2], (struct moment_form){.in_seconds = in_seconds},
                       &w->wanted.expires);
}

static bool read_command(struct writing *w, const struct command *command, const struct request *rq)
{
    command_handler *h = command->handler;

    w->cannot = "only SET (with EX, PX, EXAT or PXAT), SETEX, PSETEX, DEL and UNLINK can be written to it";
    if (h == cmd_set)
        return read_set(w, rq);
    if (h == cmd_setex)
        return read_setex(w, rq, "setex", true);
    if (h == cmd_psetex)
        return read_setex(w, rq, "psetex", false);
    w->wanted.kind = CALL_DELETE;
    return h == cmd_del;
}

/* Finds the keys of a command that writes. False: memory is short. */
static bool find_keys(struct writing *w, const struct command *command, const struct request *rq)
{
    uint32_t last = command_last_key(command, rq->argc), step = (uint32_t)command->key_step;

    if (!make_room(w, rq->argc))
        return false;
    for (uint32_t i = (uint32_t)command->first_key; i <= last && i < rq->argc; i += step)
        add_key(w, rq->argv[i]);
    return true;
}

static void answer(struct writing *w, enum written written)
{
    struct exec *x = w->x;

    switch (written) {
    case WRITTEN:
        if (w->wanted.kind == CALL_SET)
            reply_ok(x);
        else
            reply_integer(x, w->existed);
        return;
    case WRITING: return;
    case NOT_WRITTEN: reply_error(x, "ORIGIN %s", w->why); return;
    }
    CHECK_UNREACHABLE();
}

/* One of the origins of its keys; there is one. */
static struct origin *some_origin(const struct writing *w)
{
    size_t i = 0;

    while (w->origins[i] == NULL)
        i++;
    return w->origins[i];
}

static void write_command(struct writing *w, const struct command *command, const struct request *rq)
{
    if (read_command(w, command, rq)) {
        answer(w, write_all(w));
    } else if (w->cannot != NULL) {
        fail(w, some_origin(w), w->cannot);
        reply_error(w->x, "ORIGIN %s", w->why);
    }
}

bool origins_write_ready(struct exec *x, const struct command *command, const struct request *rq)
{
    struct writing w = {.x = x};
    bool ours;

    if (command->first_key <= 0 || is_ours_alone(command))
        return true;
    if (!find_keys(&w, command, rq)) {
        writing_free(&w);
        x->out->failed = true;
        return false;
    }
    ours = w.theirs == 0;
    if (!ours)
        write_command(&w, command, rq);
    writing_free(&w);
    return ours;
}

bool origins_may_queue(struct exec *x, const struct command *command, const struct request *rq)
{
    struct writing w = {.x = x};
    bool may = true;

    if (!(command->flags & CMD_WRITE) || command->first_key <= 0 || is_ours_alone(command) ||
        !atomic_load_explicit(&x->server->origins->takes_writes, memory_order_relaxed))
        return true;
    if (!find_keys(&w, command, rq)) {
        x->out->failed = true;
        may = false;
    } else if (w.theirs > 0) {
        fail(&w, some_origin(&w), "a transaction cannot wait for it to be written");
        reply_error(x, "ORIGIN %s", w.why);
        may = false;
    }
    writing_free(&w);
    return may;
}

/* ---- memcached ---- */

enum verb_kind { VERB_OTHER, VERB_SET, VERB_DELETE, VERB_META_SET, VERB_META_DELETE, VERB_IMPOSSIBLE };

static enum verb_kind kind_of(struct slice verb)
{
    static const struct {
        const char *verb;
        enum verb_kind kind;
    } verbs[] = {
        {"set", VERB_SET},           {"delete", VERB_DELETE},      {"ms", VERB_META_SET},
        {"md", VERB_META_DELETE},    {"add", VERB_IMPOSSIBLE},     {"replace", VERB_IMPOSSIBLE},
        {"append", VERB_IMPOSSIBLE}, {"prepend", VERB_IMPOSSIBLE}, {"cas", VERB_IMPOSSIBLE},
        {"incr", VERB_IMPOSSIBLE},   {"decr", VERB_IMPOSSIBLE},    {"ma", VERB_IMPOSSIBLE},
    };

    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (slice_equals(verb, slice_of(verbs[i].verb)))
            return verbs[i].kind;
    }
    return VERB_OTHER;
}

/* What an origin keeps is bytes. */
static bool take_value(struct writing *w, struct slice value, uint32_t flags, int64_t exptime)
{
    w->wanted = (struct wanted_write){
        .kind = CALL_SET, .value = value, .expires = memcache_expiry(w->x->now, exptime)};
    if (flags != 0)
        w->cannot = "client flags other than 0 cannot be written to it";
    return flags == 0;
}

static bool read_set_line(struct writing *w, const struct request *rq, const struct request *packet)
{
    struct memcache_store line;
    uint32_t flags;
    int64_t exptime;

    if (w->x->session->binary)
        return binary_read_set(packet, &flags, &exptime) && take_value(w, rq->data, flags, exptime);
    return memcache_store_decode(rq, false, &line) == NULL &&
           take_value(w, rq->data, line.flags, line.exptime);
}

static bool read_meta(struct writing *w, const struct request *rq, const struct meta_request *meta)
{
    if (meta->has_cas || meta->has_cas_new || meta->invalidate || meta->empty_value || meta->has_vivify ||
        (meta->verb == META_SET && meta->mode != 0 && meta->mode != 'S' && meta->mode != 's'))
        return false;
    if (meta->verb == META_SET)
        return take_value(w, rq->data, meta->client_flags, meta->exptime);
    w->wanted.kind = CALL_DELETE;
    return true;
}

static bool read_line(struct writing *w, enum verb_kind kind, const struct request *rq,
                      const struct request *packet, const struct meta_request *meta)
{
    w->cannot = "only plain set and delete can be written to it";
    w->wanted.kind = CALL_DELETE;
    switch (kind) {
    case VERB_SET: return read_set_line(w, rq, packet);
    case VERB_DELETE: return true;
    case VERB_META_SET:
    case VERB_META_DELETE: return read_meta(w, rq, meta);
    case VERB_OTHER:
    case VERB_IMPOSSIBLE: break;
    }
    return false;
}

static void answer_line(struct writing *w, enum verb_kind kind, const struct request *rq,
                        const struct request *packet)
{
    struct exec *x = w->x;
    bool set = w->wanted.kind == CALL_SET, found = set || w->existed > 0;

    counter_add(x->counters, mc_cmd_set, set);
    counter_add(x->counters, mc_delete_hits, !set && found);
    counter_add(x->counters, mc_delete_misses, !set && !found);
    if (x->session->binary)
        binary_answer_written(x, packet, found);
    else if (kind == VERB_META_SET || kind == VERB_META_DELETE)
        memcache_meta_answer_written(x, rq, found);
    else if (!memcache_noreply(rq))
        reply_line(x, set ? "STORED" : found ? "DELETED" : "NOT_FOUND");
}

/* noreply goes for errors, too, or the next answer would be taken for this one's. */
static bool is_muted(const struct exec *x, enum verb_kind kind, const struct request *rq)
{
    return !x->session->binary && kind != VERB_META_SET && kind != VERB_META_DELETE && memcache_noreply(rq);
}

static void write_line(struct writing *w, enum verb_kind kind, const struct request *rq,
                       const struct request *packet, const struct meta_request *meta)
{
    enum written written = NOT_WRITTEN;

    if (read_line(w, kind, rq, packet, meta))
        written = write_all(w);
    else
        fail(w, w->origins[0], w->cannot);
    if (written == WRITTEN)
        answer_line(w, kind, rq, packet);
    else if (written == NOT_WRITTEN && !is_muted(w->x, kind, rq))
        origins_refuse_memcache(w->x, packet, w->why);
}

bool origins_write_ready_memcache(struct exec *x, const struct request *rq, const struct request *packet)
{
    enum verb_kind kind = kind_of(rq->argv[0]);
    uint8_t key_room[META_KEY_ROOM];
    struct meta_request meta = {0};
    struct writing w = {.x = x};
    struct slice name;
    bool ours;

    if (kind == VERB_OTHER || rq->argc < 2)
        return true;
    name = rq->argv[1];
    if (kind == VERB_META_SET || kind == VERB_META_DELETE) {
        if (meta_decode(rq, kind == VERB_META_SET ? META_SET : META_DELETE, key_room, &meta) != NULL)
            return true; /* the handler will say what is wrong */
        name = meta.key;
    }
    if (name.len == 0 || name.len > MEMCACHE_KEY_MAX)
        return true;
    if (!make_room(&w, 1)) {
        writing_free(&w);
        x->out->failed = true;
        return false;
    }
    add_key(&w, name);
    ours = w.theirs == 0;
    if (!ours)
        write_line(&w, kind, rq, packet, &meta);
    writing_free(&w);
    return ours;
}
