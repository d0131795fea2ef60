/* quotient_filter.c - QF.*: counting quotient filters, which forget and merge.
 *
 * The commands and replies are ours, in the style of BF.*. Rules: (1) whoever looks
 * into one holds the shard's lock, as adding and removing move what is there; (2) it
 * grows to twice its size when it is full, within the request that needs it; (3) a
 * merge makes a new filter and puts it in place when it is whole, so one that is
 * refused changes nothing. */
#include "server/command/command.h"
#include "server/command/filter.h"
#include "server/filter/quotient_image.h"

/* How many times its first capacity a filter may grow to and keep its error, unless
 * told: it costs a bit per item for each doubling. One that was made without being
 * asked for begins small, and should not end there. */
enum { GROWTH = 16, MOST_UNASKED = 1 << 20 };

struct quotient_plan {
    uint64_t capacity, most;
    double error;
};

static struct quotient_plan default_plan(const struct exec *x)
{
    uint64_t capacity = (uint64_t)option_live(x->options, bf_initial_size);

    return (struct quotient_plan){.capacity = capacity,
                                  .most = capacity * GROWTH > MOST_UNASKED ? capacity * GROWTH : MOST_UNASKED,
                                  .error = filter_default_error(x)};
}

static enum filter_made make(struct exec *x, const struct quotient_plan *plan, struct blob **blob)
{
    struct quotient_shape shape = quotient_shape_for(plan->capacity, plan->most, plan->error);
    enum filter_made made = filter_room(x, quotient_image_size(&shape), blob);

    if (made == FILTER_MADE)
        quotient_image_make((void *)(*blob)->data, &shape);
    return made;
}

/* ---- QF.RESERVE ---- */

/* MOST n: the number of items up to which the error holds. */
static bool read_plan(struct exec *x, const struct request *rq, struct quotient_plan *plan)
{
    if (!filter_read_error(x, rq->argv[2], "ERR bad error rate", &plan->error) ||
        !filter_read_capacity(x, rq->argv[3], "ERR bad capacity", &plan->capacity))
        return false;
    plan->most = plan->capacity * GROWTH;
    if (rq->argc == 4)
        return true;
    if (rq->argc != 6 || !slice_is(rq->argv[4], "most")) {
        reply_syntax_error(x);
        return false;
    }
    if (!filter_read_capacity(x, rq->argv[5], "ERR bad capacity", &plan->most))
        return false;
    if (plan->most >= plan->capacity)
        return true;
    reply_error(x, "ERR MOST is less than the capacity");
    return false;
}

void cmd_qf_reserve(struct exec *x, struct request *rq)
{
    enum store_status status = STORE_OK;
    struct key key = exec_key(x, rq, 1);
    struct quotient_plan plan;
    struct blob *blob = NULL;
    enum filter_found found;
    struct store_edit edit;
    enum filter_made made;

    if (!read_plan(x, rq, &plan))
        return;
    if ((made = make(x, &plan, &blob)) != FILTER_MADE) {
        filter_reply_unmade(x, made);
        return;
    }
    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    found = filter_in(&edit, IMAGE_QUOTIENT);
    if (found == FILTER_ABSENT)
        status = filter_put(&edit, blob);
    store_edit_end(&edit);
    blob_unpin(&blob);
    if (found == FILTER_FOUND)
        reply_error(x, "ERR item exists");
    else if (found == FILTER_OTHER)
        reply_wrong_type(x);
    else if (status == STORE_OK)
        reply_ok(x);
    else
        reply_store_refused(x, status);
}

/* ---- changing ---- */

/* Puts what `f` has grown to in place. False: answered. */
static bool put_grown(struct exec *x, struct store_edit *edit, const struct quotient *f)
{
    const struct quotient_image *image = quotient_image_of(f);
    struct blob *blob = NULL;
    enum filter_made made = filter_room(x, quotient_image_bytes(image), &blob);
    enum store_status status;

    if (made != FILTER_MADE) {
        filter_reply_unmade(x, made);
        return false;
    }
    memcpy(blob->data, image, quotient_image_bytes(image));
    status = filter_put(edit, blob);
    blob_unpin(&blob);
    if (status != STORE_OK)
        reply_store_refused(x, status);
    return status == STORE_OK;
}

static bool reply_status(struct exec *x, enum quotient_status status)
{
    switch (status) {
    case QUOTIENT_OK: return true;
    case QUOTIENT_FULL: reply_error(x, "ERR filter is full"); return false;
    case QUOTIENT_NO_MEMORY: filter_reply_unmade(x, FILTER_NO_MEMORY); return false;
    }
    return false;
}

/* Whether the next larger one is larger than it may be. */
static bool outgrows(struct exec *x, const struct quotient_image *image)
{
    struct quotient_shape larger;

    if (!quotient_image_larger(image, &larger) ||
        quotient_image_size(&larger) <= option_live(x->options, filter_max_bytes))
        return false;
    counter_add(x->counters, filters_refused, 1);
    return true;
}

/* Adds to a copy that grows, most of the time without the lock: what has changed
 * meanwhile is found by quotient_image_changes(), and then all is done again, the last
 * time under the lock. The edit may be another one then. False: answered. */
static bool add_growing(struct exec *x, struct store_edit *edit, uint64_t hash, uint64_t count)
{
    enum { TRIES = 3 };
    struct key key = edit->key;
    bool added = false;

    for (unsigned tries = 1;; tries++) {
        const struct quotient_image *image = filter_bytes(edit);
        uint64_t changes = quotient_image_changes(image);
        struct blob *old = edit->blob;
        enum quotient_status status;
        struct quotient *f;

        if (outgrows(x, image)) {
            filter_reply_unmade(x, FILTER_TOO_LARGE);
            return false;
        }
        f = quotient_copy(image);
        blob_pin(old);
        if (tries < TRIES)
            store_edit_end(edit);
        status = f != NULL ? quotient_add(f, hash, count) : QUOTIENT_NO_MEMORY;
        if (tries < TRIES)
            store_edit_begin(x->store, x->local, &key, x->now, edit);
        if (filter_in(edit, IMAGE_QUOTIENT) != FILTER_FOUND) {
            filter_reply_unfound(x, filter_in(edit, IMAGE_QUOTIENT));
        } else if (edit->blob != old || quotient_image_changes(filter_bytes(edit)) != changes) {
            blob_unpin(&old);
            quotient_free(&f);
            if ((status = quotient_image_add(filter_bytes(edit), hash, count)) == QUOTIENT_NO_MEMORY)
                continue;
            if (status == QUOTIENT_OK)
                store_edit_changed(edit);
            return reply_status(x, status);
        } else {
            added = reply_status(x, status) && put_grown(x, edit, f);
        }
        blob_unpin(&old);
        quotient_free(&f);
        return added;
    }
}

/* In the edit: adds, and answers with the count there is then. */
static void add(struct exec *x, struct store_edit *edit, uint64_t hash, uint64_t count)
{
    enum quotient_status status = quotient_image_add(filter_bytes(edit), hash, count);
    uint64_t sum;

    if (status == QUOTIENT_NO_MEMORY) {
        if (!add_growing(x, edit, hash, count))
            return;
    } else if (reply_status(x, status)) {
        store_edit_changed(edit);
    } else {
        return;
    }
    sum = quotient_image_count(filter_bytes(edit), hash);
    reply_integer(x, sum < INT64_MAX ? (int64_t)sum : INT64_MAX);
}

/* QF.ADD and QF.DEL: key item [count]. False: answered. */
static bool read_count(struct exec *x, const struct request *rq, const char *command, uint64_t *count)
{
    int64_t number = 1;

    if (rq->argc > 4) {
        reply_wrong_arity(x, command);
        return false;
    }
    if (rq->argc == 4 && (!slice_to_i64(rq->argv[3], &number) || number < 1)) {
        reply_error(x, "ERR bad count");
        return false;
    }
    *count = (uint64_t)number;
    return true;
}

void cmd_qf_add(struct exec *x, struct request *rq)
{
    struct quotient_plan plan = default_plan(x);
    enum store_status status = STORE_OK;
    struct key key = exec_key(x, rq, 1);
    struct blob *blob = NULL;
    enum filter_found found;
    enum filter_made made;
    struct store_edit edit;
    uint64_t count;

    if (!read_count(x, rq, "qf.add", &count))
        return;
    for (;;) {
        store_edit_begin(x->store, x->local, &key, x->now, &edit);
        found = filter_in(&edit, IMAGE_QUOTIENT);
        if (found != FILTER_ABSENT || blob != NULL)
            break;
        store_edit_end(&edit);
        if ((made = make(x, &plan, &blob)) != FILTER_MADE) {
            filter_reply_unmade(x, made);
            return;
        }
    }
    if (found == FILTER_ABSENT)
        status = filter_put(&edit, blob);
    blob_unpin(&blob);
    if (status != STORE_OK)
        reply_store_refused(x, status);
    else if (found == FILTER_OTHER)
        reply_wrong_type(x);
    else
        add(x, &edit, filter_hash(rq->argv[2]), count);
    store_edit_end(&edit);
}

/* Answers how many were there to be taken away. */
void cmd_qf_del(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    enum filter_found found;
    struct store_edit edit;
    uint64_t count;

    if (!read_count(x, rq, "qf.del", &count))
        return;
    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    found = filter_in(&edit, IMAGE_QUOTIENT);
    if (found == FILTER_FOUND) {
        count = quotient_image_remove(filter_bytes(&edit), filter_hash(rq->argv[2]), count);
        if (count > 0)
            store_edit_changed(&edit);
    }
    store_edit_end(&edit);
    if (found == FILTER_FOUND)
        reply_integer(x, (int64_t)count);
    else
        filter_reply_unfound(x, found);
}

/* ---- asking ---- */

/* How often the item was added; 0 where there is no such filter. */
static uint64_t count_of(struct exec *x, const struct key *key, struct slice item)
{
    uint64_t count = 0, hash = filter_hash(item);
    enum filter_found found;
    struct store_edit edit;

    store_edit_begin(x->store, x->local, key, x->now, &edit);
    found = filter_in(&edit, IMAGE_QUOTIENT);
    if (found == FILTER_FOUND) {
        count = quotient_image_count(filter_bytes(&edit), hash);
        if (!x->no_touch)
            store_edit_touch(&edit);
    }
    store_edit_end(&edit);
    count_lookup(x, found != FILTER_ABSENT, edit.expired);
    return count;
}

void cmd_qf_count(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    uint64_t count = count_of(x, &key, rq->argv[2]);

    reply_integer(x, count < INT64_MAX ? (int64_t)count : INT64_MAX);
}

void cmd_qf_exists(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);

    reply_bool(x, count_of(x, &key, rq->argv[2]) > 0);
}

static void put_info(struct exec *x, const struct quotient_image *f)
{
    const struct {
        const char *title;
        uint64_t value;
    } fields[] = {
        {"Capacity", quotient_image_capacity(f)},   {"Size", quotient_image_bytes(f) + sizeof(struct blob)},
        {"Slots used", quotient_image_used(f)},     {"Number of items", quotient_image_distinct(f)},
        {"Sum of counts", quotient_image_total(f)}, {"Fingerprint bits", quotient_image_bits(f)},
    };
    enum { FIELDS = sizeof fields / sizeof fields[0] };

    reply_map(x, FIELDS + 1);
    for (unsigned i = 0; i < FIELDS; i++) {
        reply_simple(x, fields[i].title);
        reply_integer(x, fields[i].value < INT64_MAX ? (int64_t)fields[i].value : INT64_MAX);
    }
    reply_simple(x, "Error rate");
    reply_double(x, quotient_image_rate(f));
}

void cmd_qf_info(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    enum filter_found found;
    struct store_edit edit;

    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    found = filter_in(&edit, IMAGE_QUOTIENT);
    if (found == FILTER_FOUND)
        put_info(x, filter_bytes(&edit));
    store_edit_end(&edit);
    count_lookup(x, found != FILTER_ABSENT, edit.expired);
    if (found != FILTER_FOUND)
        filter_reply_unfound(x, found);
}

/* ---- QF.MERGE ---- */

/* A copy of the filter under a key. NULL: answered, unless `may_miss` and there is none. */
static struct quotient *copy_of(struct exec *x, const struct key *key, bool may_miss,
                                enum filter_found *found)
{
    struct quotient *f = NULL;
    struct store_edit edit;

    store_edit_begin(x->store, x->local, key, x->now, &edit);
    *found = filter_in(&edit, IMAGE_QUOTIENT);
    if (*found == FILTER_FOUND)
        f = quotient_copy(filter_bytes(&edit));
    store_edit_end(&edit);
    if (*found == FILTER_OTHER || (*found == FILTER_ABSENT && !may_miss))
        filter_reply_unfound(x, *found);
    else if (*found == FILTER_FOUND && f == NULL)
        filter_reply_unmade(x, FILTER_NO_MEMORY);
    return f;
}

/* False: answered. */
static bool merge_key(struct exec *x, struct quotient *into, const struct key *key)
{
    enum filter_found found;
    struct quotient *from = copy_of(x, key, false, &found);
    bool merged = false;

    if (from == NULL)
        return false;
    if (quotient_bits(from) < quotient_bits(into))
        reply_error(x, "ERR a source has shorter fingerprints than the destination");
    else
        merged = reply_status(x, quotient_merge(into, from));
    quotient_free(&from);
    return merged;
}

/* Runs alone (CMD_EXCLUSIVE), so the filters are all of one moment. A destination
 * that is not there begins as a copy of the first source. */
void cmd_qf_merge(struct exec *x, struct request *rq)
{
    struct key to = exec_key(x, rq, 1), first = exec_key(x, rq, 2);
    enum filter_found found;
    struct quotient *into = copy_of(x, &to, true, &found);
    struct store_edit edit;
    bool merged = true;
    uint32_t i = 2;

    if (into == NULL && found == FILTER_ABSENT) {
        into = copy_of(x, &first, false, &found);
        i = 3;
    }
    if (into == NULL)
        return;
    for (; i < rq->argc && merged; i++) {
        struct key key = exec_key(x, rq, i);

        merged = merge_key(x, into, &key);
    }
    if (merged) {
        store_edit_begin(x->store, x->local, &to, x->now, &edit);
        if (put_grown(x, &edit, into))
            reply_ok(x);
        store_edit_end(&edit);
    }
    quotient_free(&into);
}
