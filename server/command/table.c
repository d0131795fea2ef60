/* table.c - from a verb's bytes to its row, in a few nanoseconds.
 *
 * The first eight bytes, lower-cased, in one word, and the length: that is
 * nearly always enough to tell two verbs apart, so a look-up is one multiply,
 * one slot and one comparison. The slots are filled before main() and never
 * change. */
#include "server/command/command.h"

#include <stdio.h>

#include "server/check.h"

static const struct command rows[] = {
#define COMMAND(name, handler, arity, flags, first, last, step, group, since, complexity, summary)           \
    {#name, handler, arity, flags, first, last, step, group, since, complexity, summary},
#include "server/commands.def"
#undef COMMAND
};

enum {
    ROWS = sizeof rows / sizeof rows[0],
    SLOT_BITS = 10,
    SLOTS = 1 << SLOT_BITS,
    WORD = 8,
};
_Static_assert(ROWS * 3 < SLOTS, "SLOT_BITS is too small for commands.def");

struct slot {
    uint64_t head;  /* first eight bytes, lower case, padded with zeroes */
    uint32_t len;   /* of the name; 0: the slot is free */
    uint32_t index; /* of the row */
};
static struct slot slots[SLOTS];

#define EACH_BYTE(b) ((uint64_t)(b)*UINT64_C(0x0101010101010101))

/* Eight letters at a time: a byte's top bit, after adding, says whether it
 * passed the bound; bytes that have the top bit already are no letters. */
static uint64_t lower_case(uint64_t w)
{
    uint64_t low7 = w & EACH_BYTE(0x7f);
    uint64_t from_a = low7 + EACH_BYTE(0x80 - 'A');
    uint64_t after_z = low7 + EACH_BYTE(0x7f - 'Z');
    uint64_t is_upper = (from_a ^ after_z) & ~w & EACH_BYTE(0x80);

    return w | is_upper >> 2;
}

/* Reads at most len bytes, without a loop: short names as two overlapping halves. */
static uint64_t head_of(const uint8_t *data, size_t len)
{
    uint32_t a = 0, b = 0;
    uint64_t w = 0;

    if (len >= WORD) {
        memcpy(&w, data, WORD);
    } else if (len >= 4) {
        memcpy(&a, data, 4);
        memcpy(&b, data + len - 4, 4);
        w = a | (uint64_t)b << (8 * (len - 4));
    } else if (len > 0) {
        w = data[0] | (uint64_t)data[len / 2] << (8 * (len / 2)) | (uint64_t)data[len - 1] << (8 * (len - 1));
    }
    return lower_case(w);
}

static size_t slot_of(uint64_t head, size_t len)
{
    return (size_t)((head ^ (uint64_t)len << 56) * UINT64_C(0x9e3779b97f4a7c15) >> (64 - SLOT_BITS));
}

__attribute__((constructor)) static void fill_slots(void)
{
    for (uint32_t i = 0; i < ROWS; i++) {
        struct slice name = slice_of(rows[i].name);
        uint64_t head = head_of(name.data, name.len);
        size_t at = slot_of(head, name.len);

        while (slots[at].len != 0)
            at = (at + 1) % SLOTS;
        slots[at] = (struct slot){.head = head, .len = (uint32_t)name.len, .index = i};
    }
}

const struct command *command_find(struct slice name)
{
    uint64_t head = head_of(name.data, name.len);

    for (size_t at = slot_of(head, name.len); slots[at].len != 0; at = (at + 1) % SLOTS) {
        const struct command *row = &rows[slots[at].index];

        if (slots[at].head != head || slots[at].len != name.len)
            continue;
        if (name.len <= WORD || slice_is((struct slice){name.data + WORD, name.len - WORD}, row->name + WORD))
            return row;
    }
    return NULL;
}

size_t command_count(void)
{
    return ROWS;
}

const struct command *command_at(size_t i)
{
    CHECK(i < ROWS);
    return &rows[i];
}

bool command_arity_ok(int arity, uint32_t argc)
{
    return arity >= 0 ? argc == (uint32_t)arity : argc >= (uint32_t)-arity;
}

static void reply_help(struct exec *x, const struct command_family *family)
{
    char usage[128];
    size_t lines = 0;

    while (family->help[lines] != NULL)
        lines++;
    reply_array(x, lines + 3);
    snprintf(usage, sizeof usage,
             "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", family->name);
    reply_simple(x, usage);
    for (size_t i = 0; i < lines; i++)
        reply_simple(x, family->help[i]);
    reply_simple(x, "HELP");
    reply_simple(x, "    Prints this help.");
}

static void run_help(struct exec *x, struct request *rq, const struct command_family *family)
{
    session_doing(x->session, family->help_name);
    if (rq->argc != 2)
        reply_wrong_arity(x, family->help_name);
    else if (!x->checking)
        reply_help(x, family);
}

void command_family_run(struct exec *x, struct request *rq, const struct command_family *family)
{
    struct slice verb = rq->argv[1];

    for (const struct subcommand *sub = family->subcommands; sub->name != NULL; sub++) {
        if (!slice_is(verb, sub->name))
            continue;
        session_doing(x->session, sub->full_name);
        if (!command_arity_ok(sub->arity, rq->argc))
            reply_wrong_arity(x, sub->full_name);
        else if (!x->checking)
            sub->handler(x, rq);
        return;
    }
    if (slice_is(verb, "help"))
        run_help(x, rq, family);
    else
        reply_error(x, "ERR unknown subcommand '%.*s'. Try %s HELP.", EXEC_QUOTED(verb), family->name);
}
