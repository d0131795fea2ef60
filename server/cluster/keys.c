#include "server/cluster/keys.h"

#include "cluster/slot.h"

/* Families whose subcommands have one key, behind the subcommand. */
static bool names_key_third(const struct command *command, const struct request *rq)
{
    if (rq->argc < 3)
        return false;
    if (command->handler == cmd_object)
        return rq->argc == 3 && !slice_is(rq->argv[1], "help");
    return command->handler == cmd_memory && slice_is(rq->argv[1], "usage");
}

struct key_words keys_of(const struct command *command, const struct request *rq)
{
    uint32_t last;

    if (names_key_third(command, rq))
        return (struct key_words){2, 2, 1};
    if (command->first_key <= 0 || (uint32_t)command->first_key >= rq->argc)
        return (struct key_words){0};
    last = command_last_key(command, rq->argc);
    return (struct key_words){(uint32_t)command->first_key, last < rq->argc ? last : rq->argc - 1,
                              (uint32_t)command->key_step};
}

struct key_words keys_of_line(const struct request *rq)
{
    static const struct {
        const char *verb;
        uint32_t first;
    } lists[] = {{"get", 1}, {"gets", 1}, {"bget", 1}, {"gat", 2}, {"gats", 2}, {"lease-get", 1}};

    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        if (slice_equals(rq->argv[0], slice_of(lists[i].verb)))
            return rq->argc > lists[i].first ? (struct key_words){lists[i].first, rq->argc - 1, 1}
                                             : (struct key_words){0};
    }
    return (struct key_words){0};
}

void keys_place(const struct routes *routes, const struct request *rq, struct key_words keys,
                struct key_place *place)
{
    for (uint32_t i = keys.first, n = keys_count(keys); n > 0; n--, i += keys.step) {
        unsigned slot = slot_of_key(rq->argv[i]);
        uint16_t holder = routes->holder[slot];

        if (!place->some)
            *place = (struct key_place){.some = true, .slot = slot, .holder = holder};
        place->many_slots |= slot != place->slot;
        place->many_holders |= holder != place->holder;
    }
}
