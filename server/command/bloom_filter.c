/* bloom_filter.c - BF.*: RedisBloom's commands, and its replies.
 *
 * Rules: (1) BF.EXISTS and all others that only read take no lock but to find the
 * key, and see bits that are just being set, or not: filter/image.h has why either
 * is right; (2) a filter that is full grows within the request that needs it, and
 * others may come in between its items then; (3) a
 * refusal ends a request of several items: what was added before it stays added,
 * and its reply ends with the error; (4) a filter that LOADCHUNK has not finished
 * says "maybe" to everything, and takes nothing. */
#include "server/command/bloom_filter.h"
#include "server/command/command.h"
#include "server/filter/bloom_image.h"

/* Bytes of a part that SCANDUMP gives at once. */
enum { PART_BYTES = 1 << 20 };

/* What a filter is made of that is not there yet. */
struct bloom_plan {
    uint64_t capacity;
    double error;
    unsigned expansion; /* 0: it does not grow */
};

static struct bloom_plan default_plan(const struct exec *x)
{
    return (struct bloom_plan){.capacity = (uint64_t)option_live(x->options, bf_initial_size),
                               .error = filter_default_error(x),
                               .expansion = (unsigned)option_live(x->options, bf_expansion_factor)};
}

static enum filter_made make(struct exec *x, const struct bloom_plan *plan, struct blob **blob)
{
    enum filter_made made =
        filter_room(x, bloom_image_size(plan->capacity, plan->error, plan->expansion), blob);

    if (made == FILTER_MADE)
        bloom_image_make((void *)(*blob)->data, plan->capacity, plan->error, plan->expansion);
    return made;
}

/* False: answered. */
static bool read_expansion(struct exec *x, struct slice word, const char *wrong, unsigned *expansion)
{
    int64_t number;

    if (!slice_to_i64(word, &number)) {
        reply_error(x, "%s", wrong);
        return false;
    }
    if (number < 0 || number > BLOOM_EXPANSION_MAX) {
        reply_error(x, "ERR expansion must be in the range [0, %d]", BLOOM_EXPANSION_MAX);
        return false;
    }
    *expansion = (unsigned)number;
    return true;
}

/* ---- BF.RESERVE ---- */

/* EXPANSION n, NONSCALING, in any order. */
static bool read_growth(struct exec *x, const struct request *rq, struct bloom_plan *plan)
{
    bool given = false, never = false;

    for (uint32_t i = 4; i < rq->argc; i++) {
        if (slice_is(rq->argv[i], "nonscaling")) {
            never = true;
        } else if (!slice_is(rq->argv[i], "expansion")) {
            reply_syntax_error(x);
            return false;
        } else if (++i == rq->argc) {
            reply_error(x, "ERR no expansion");
            return false;
        } else if (!read_expansion(x, rq->argv[i], "ERR bad expansion", &plan->expansion)) {
            return false;
        } else {
            given = plan->expansion > 0;
        }
    }
    if (given && never) {
        reply_error(x, "Nonscaling filters cannot expand");
        return false;
    }
    plan->expansion = never ? 0 : plan->expansion;
    return true;
}

void cmd_bf_reserve(struct exec *x, struct request *rq)
{
    struct bloom_plan plan = default_plan(x);
    enum store_status status = STORE_OK;
    struct key key = exec_key(x, rq, 1);
    struct blob *blob = NULL;
    enum filter_found found;
    struct store_edit edit;
    enum filter_made made;

    if (rq->argc > 7) {
        reply_wrong_arity(x, "bf.reserve");
        return;
    }
    if (!filter_read_error(x, rq->argv[2], "ERR bad error rate", &plan.error) ||
        !filter_read_capacity(x, rq->argv[3], "ERR bad capacity", &plan.capacity) ||
        !read_growth(x, rq, &plan))
        return;
    if ((made = make(x, &plan, &blob)) != FILTER_MADE) {
        filter_reply_unmade(x, made);
        return;
    }
    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    found = filter_in(&edit, IMAGE_BLOOM);
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

/* ---- adding ---- */

static enum bloom_filter_added refused(struct bloom_refusal *refusal, enum bloom_refused why)
{
    refusal->why = why;
    return BLOOM_FILTER_REFUSED;
}

/* Makes a larger one, without the lock: as long as its last layer is full nobody
 * sets a bit in it, and who has it grow first has it replaced. False: refused. */
static bool grow(struct exec *x, struct store_edit *edit, bool *changed, struct bloom_refusal *refusal)
{
    struct blob *old = edit->blob, *blob = NULL;
    struct key key = edit->key;

    if (bloom_image_layers((const void *)old->data) == BLOOM_LAYERS_MAX) {
        counter_add(x->counters, filters_refused, 1);
        refused(refusal, BLOOM_REFUSED_LAYERS);
        return false;
    }
    if (*changed)
        store_edit_changed(edit);
    *changed = false;
    blob_pin(old);
    store_edit_end(edit);
    refusal->made = filter_room(x, bloom_image_grown_size((const void *)old->data), &blob);
    if (refusal->made == FILTER_MADE)
        bloom_image_grow((void *)blob->data, (const void *)old->data);
    store_edit_begin(x->store, x->local, &key, x->now, edit);
    refusal->found = filter_in(edit, IMAGE_BLOOM);
    refusal->status = STORE_OK;
    if (refusal->found != FILTER_FOUND)
        refused(refusal, BLOOM_REFUSED_GONE);
    else if (refusal->made != FILTER_MADE)
        refused(refusal, BLOOM_REFUSED_ROOM);
    else if (edit->blob == old && (refusal->status = filter_put(edit, blob)) != STORE_OK)
        refused(refusal, BLOOM_REFUSED_STORE);
    blob_unpin(&old);
    blob_unpin(&blob);
    return refusal->found == FILTER_FOUND && refusal->made == FILTER_MADE && refusal->status == STORE_OK;
}

enum bloom_filter_added bloom_filter_add(struct exec *x, struct store_edit *edit, uint64_t hash,
                                         bool *changed, struct bloom_refusal *refusal)
{
    uint64_t next;

    for (;;) {
        if (bloom_image_is_loading(filter_bytes(edit), &next))
            return refused(refusal, BLOOM_REFUSED_LOADING);
        switch (bloom_image_add(filter_bytes(edit), hash)) {
        case BLOOM_NEW: *changed = true; return BLOOM_FILTER_NEW;
        case BLOOM_KNOWN: return BLOOM_FILTER_KNOWN;
        case BLOOM_FULL: return refused(refusal, BLOOM_REFUSED_FULL);
        case BLOOM_NO_MEMORY:
            if (!grow(x, edit, changed, refusal))
                return BLOOM_FILTER_REFUSED;
        }
    }
}

/* The filter under a key in an open edit, which is made if it may be. False: answered, and the edit is over.
 */
static bool open_filter(struct exec *x, const struct key *key, const struct bloom_plan *plan, bool creates,
                        struct store_edit *edit)
{
    enum store_status status = STORE_OK;
    struct blob *blob = NULL;
    enum filter_found found;
    enum filter_made made;

    for (;;) {
        store_edit_begin(x->store, x->local, key, x->now, edit);
        found = filter_in(edit, IMAGE_BLOOM);
        if (found != FILTER_ABSENT || !creates || blob != NULL)
            break;
        store_edit_end(edit);
        if ((made = make(x, plan, &blob)) != FILTER_MADE) {
            filter_reply_unmade(x, made);
            return false;
        }
    }
    if (found == FILTER_ABSENT && creates && (status = filter_put(edit, blob)) == STORE_OK)
        found = FILTER_FOUND;
    blob_unpin(&blob);
    if (found == FILTER_FOUND)
        return true;
    store_edit_end(edit);
    if (status != STORE_OK)
        reply_store_refused(x, status);
    else
        filter_reply_unfound(x, found);
    return false;
}

static void reply_refusal(struct exec *x, const struct bloom_refusal *refusal)
{
    switch (refusal->why) {
    case BLOOM_REFUSED_FULL: reply_error(x, "ERR non scaling filter is full"); return;
    case BLOOM_REFUSED_LOADING: reply_error(x, "ERR filter is being loaded"); return;
    case BLOOM_REFUSED_LAYERS:
        reply_error(x, "ERR filter has all the layers it may have: %d", BLOOM_LAYERS_MAX);
        return;
    case BLOOM_REFUSED_GONE: filter_reply_unfound(x, refusal->found); return;
    case BLOOM_REFUSED_ROOM: filter_reply_unmade(x, refusal->made); return;
    case BLOOM_REFUSED_STORE: reply_store_refused(x, refusal->status); return;
    }
}

/* One item. False: it was refused, and that is answered. */
static bool add(struct exec *x, struct store_edit *edit, struct slice item, bool *changed)
{
    struct bloom_refusal refusal;

    switch (bloom_filter_add(x, edit, filter_hash(item), changed, &refusal)) {
    case BLOOM_FILTER_NEW: reply_bool(x, true); return true;
    case BLOOM_FILTER_KNOWN: reply_bool(x, false); return true;
    case BLOOM_FILTER_REFUSED: reply_refusal(x, &refusal); return false;
    }
    return false;
}

/* The items from argument `first` on, into a filter that open_filter() found. */
static void add_items(struct exec *x, const struct request *rq, uint32_t first, bool several,
                      struct store_edit *edit)
{
    size_t mark = several ? reply_array_open(x) : 0;
    bool changed = false, goes_on = true;
    size_t answered = 0;

    for (uint32_t i = first; i < rq->argc && goes_on; i++, answered++)
        goes_on = add(x, edit, rq->argv[i], &changed);
    if (changed)
        store_edit_changed(edit);
    store_edit_end(edit);
    if (several)
        reply_array_close(x, mark, answered);
}

static void add_to_filter(struct exec *x, struct request *rq, bool several)
{
    struct bloom_plan plan = default_plan(x);
    struct key key = exec_key(x, rq, 1);
    struct store_edit edit;

    if (open_filter(x, &key, &plan, true, &edit))
        add_items(x, rq, 2, several, &edit);
}

void cmd_bf_add(struct exec *x, struct request *rq)
{
    add_to_filter(x, rq, false);
}

void cmd_bf_madd(struct exec *x, struct request *rq)
{
    add_to_filter(x, rq, true);
}

/* What stands before ITEMS. Returns where the items begin; 0: answered. */
static uint32_t read_insert(struct exec *x, const struct request *rq, struct bloom_plan *plan, bool *creates)
{
    bool never = false;

    for (uint32_t i = 2; i < rq->argc; i++) {
        struct slice word = rq->argv[i];

        if (slice_is(word, "items")) {
            plan->expansion = never ? 0 : plan->expansion;
            if (i + 1 < rq->argc)
                return i + 1;
            break;
        }
        if (slice_is(word, "nocreate")) {
            *creates = false;
            continue;
        }
        if (slice_is(word, "nonscaling")) {
            never = true;
            continue;
        }
        if (!slice_is(word, "error") && !slice_is(word, "capacity") && !slice_is(word, "expansion")) {
            reply_error(x, "Unknown argument received");
            return 0;
        }
        if (++i == rq->argc)
            break;
        if (slice_is(word, "error") ? !filter_read_error(x, rq->argv[i], "Bad error rate", &plan->error)
            : slice_is(word, "capacity")
                ? !filter_read_capacity(x, rq->argv[i], "Bad capacity", &plan->capacity)
                : !read_expansion(x, rq->argv[i], "Bad expansion", &plan->expansion))
            return 0;
    }
    reply_wrong_arity(x, "bf.insert");
    return 0;
}

void cmd_bf_insert(struct exec *x, struct request *rq)
{
    struct bloom_plan plan = default_plan(x);
    struct key key = exec_key(x, rq, 1);
    struct store_edit edit;
    bool creates = true;
    uint32_t first = read_insert(x, rq, &plan, &creates);

    if (first > 0 && open_filter(x, &key, &plan, creates, &edit))
        add_items(x, rq, first, true, &edit);
}

/* ---- asking ---- */

/* What is no Bloom filter has no items, as RedisBloom has it. */
static void ask(struct exec *x, struct request *rq, bool several)
{
    struct key key = exec_key(x, rq, 1);
    struct filter_pin pin;

    (void)filter_peek(x, &key, IMAGE_BLOOM, &pin);
    if (several)
        reply_array(x, rq->argc - 2);
    for (uint32_t i = 2; i < rq->argc; i++)
        reply_bool(x, pin.image != NULL && bloom_image_maybe(pin.image, filter_hash(rq->argv[i])));
    blob_unpin(&pin.blob);
}

void cmd_bf_exists(struct exec *x, struct request *rq)
{
    ask(x, rq, false);
}

void cmd_bf_mexists(struct exec *x, struct request *rq)
{
    ask(x, rq, true);
}

void cmd_bf_card(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    struct filter_pin pin;
    enum filter_found found = filter_peek(x, &key, IMAGE_BLOOM, &pin);

    if (found == FILTER_OTHER)
        reply_wrong_type(x);
    else
        reply_integer(x, found == FILTER_FOUND ? (int64_t)bloom_image_items(pin.image) : 0);
    blob_unpin(&pin.blob);
}

/* ---- BF.INFO ---- */

static int64_t info_capacity(const struct bloom_image *b)
{
    return (int64_t)bloom_image_capacity(b);
}
static int64_t info_size(const struct bloom_image *b)
{
    return (int64_t)(bloom_image_bytes(b) + sizeof(struct blob));
}
static int64_t info_layers(const struct bloom_image *b)
{
    return bloom_image_layers(b);
}
static int64_t info_items(const struct bloom_image *b)
{
    return (int64_t)bloom_image_items(b);
}
static int64_t info_expansion(const struct bloom_image *b)
{
    return bloom_image_expansion(b);
}

static const struct info_field {
    const char *word, *title;
    int64_t (*value)(const struct bloom_image *);
    bool null_when_0;
} info_fields[] = {
    {"capacity", "Capacity", info_capacity, false},
    {"size", "Size", info_size, false},
    {"filters", "Number of filters", info_layers, false},
    {"items", "Number of items inserted", info_items, false},
    {"expansion", "Expansion rate", info_expansion, true},
};
enum { INFO_FIELDS = sizeof info_fields / sizeof info_fields[0] };

static void put_field(struct exec *x, const struct info_field *field, const struct bloom_image *image)
{
    int64_t value = field->value(image);

    if (value == 0 && field->null_when_0)
        reply_null(x);
    else
        reply_integer(x, value);
}

static void put_fields(struct exec *x, const struct bloom_image *image)
{
    reply_map(x, INFO_FIELDS);
    for (unsigned i = 0; i < INFO_FIELDS; i++) {
        reply_simple(x, info_fields[i].title);
        put_field(x, &info_fields[i], image);
    }
}

/* One field is an array of one in RESP2, and a map of one in RESP3. */
static void put_one_field(struct exec *x, struct slice word, const struct bloom_image *image)
{
    unsigned i = 0;

    while (i < INFO_FIELDS && !slice_is(word, info_fields[i].word))
        i++;
    if (i == INFO_FIELDS) {
        reply_error(x, "Invalid information value");
        return;
    }
    if (x->session->resp == 3) {
        reply_map(x, 1);
        reply_simple(x, info_fields[i].title);
    } else {
        reply_array(x, 1);
    }
    put_field(x, &info_fields[i], image);
}

void cmd_bf_info(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    enum filter_found found;
    struct filter_pin pin;

    if (rq->argc > 3) {
        reply_wrong_arity(x, "bf.info");
        return;
    }
    found = filter_peek(x, &key, IMAGE_BLOOM, &pin);
    if (found != FILTER_FOUND)
        filter_reply_unfound(x, found);
    else if (rq->argc == 3)
        put_one_field(x, rq->argv[2], pin.image);
    else
        put_fields(x, pin.image);
    blob_unpin(&pin.blob);
}

/* ---- moving one ---- */

static void dump(struct exec *x, const struct bloom_image *image, int64_t iterator)
{
    uint64_t at = (uint64_t)iterator - 1, next;
    uint8_t head[BLOOM_HEAD_MAX];
    const uint8_t *part = head;
    size_t len = 0;

    if (bloom_image_is_loading(image, &next)) {
        reply_error(x, "ERR filter is being loaded");
        return;
    }
    reply_array(x, 2);
    if (iterator == 0) {
        reply_integer(x, 1);
        len = bloom_image_head(image, head);
        reply_bulk(x, (struct slice){head, len});
        return;
    }
    if (iterator > 0 && at < bloom_image_parts(image))
        part = bloom_image_part(image, at, PART_BYTES, &len);
    reply_integer(x, len > 0 ? iterator + (int64_t)len : 0);
    reply_racy_bulk(x, part, len);
}

void cmd_bf_scandump(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    enum filter_found found;
    struct filter_pin pin;
    int64_t iterator;

    if (!slice_to_i64(rq->argv[2], &iterator)) {
        reply_error(x, "Second argument must be numeric");
        return;
    }
    found = filter_peek(x, &key, IMAGE_BLOOM, &pin);
    if (found == FILTER_FOUND)
        dump(x, pin.image, iterator);
    else
        filter_reply_unfound(x, found);
    blob_unpin(&pin.blob);
}

/* The first chunk: a filter with nothing in it yet. */
static void load_head(struct exec *x, const struct key *key, struct slice head)
{
    size_t bytes = bloom_image_sized(head.data, head.len);
    enum store_status status = STORE_OK;
    struct blob *blob = NULL;
    enum filter_found found;
    enum filter_made made;
    struct store_edit edit;

    if (bytes == 0) {
        reply_error(x, "ERR received bad data");
        return;
    }
    if ((made = filter_room(x, bytes, &blob)) != FILTER_MADE) {
        filter_reply_unmade(x, made);
        return;
    }
    bloom_image_load((void *)blob->data, head.data, head.len);
    store_edit_begin(x->store, x->local, key, x->now, &edit);
    found = filter_in(&edit, IMAGE_BLOOM);
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

/* What is wrong with a part that ends before `iterator`; NULL: it is in. */
static const char *load_part(struct store_edit *edit, int64_t iterator, struct slice part)
{
    struct bloom_image *image = filter_bytes(edit);
    uint64_t next;

    if (iterator <= 0 || (uint64_t)iterator <= part.len)
        return "ERR received bad data";
    if (!bloom_image_is_loading(image, &next) || (uint64_t)iterator - 1 - part.len != next)
        return "ERR invalid offset - no link found";
    if (!bloom_image_load_part(image, part.data, part.len))
        return "ERR invalid chunk - Too big for current filter";
    store_edit_changed(edit);
    return NULL;
}

void cmd_bf_loadchunk(struct exec *x, struct request *rq)
{
    struct key key = exec_key(x, rq, 1);
    const char *wrong = NULL;
    enum filter_found found;
    struct store_edit edit;
    int64_t iterator;

    if (!slice_to_i64(rq->argv[2], &iterator)) {
        reply_error(x, "ERR Second argument must be numeric");
        return;
    }
    if (iterator == 1) {
        load_head(x, &key, rq->argv[3]);
        return;
    }
    store_edit_begin(x->store, x->local, &key, x->now, &edit);
    found = filter_in(&edit, IMAGE_BLOOM);
    if (found == FILTER_FOUND)
        wrong = load_part(&edit, iterator, rq->argv[3]);
    store_edit_end(&edit);
    if (found != FILTER_FOUND)
        filter_reply_unfound(x, found);
    else if (wrong != NULL)
        reply_error(x, "%s", wrong);
    else
        reply_ok(x);
}
