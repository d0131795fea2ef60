/* command.h - the RESP verb table: one row per command in commands.def.
 *
 * A new command is a row, a handler in server/command/, and a transcript in
 * tests/. COMMAND, COMMAND DOCS, arity checks, key prefetching and
 * authentication all read this table. */
#ifndef CORRAL_COMMAND_H
#define CORRAL_COMMAND_H

#include "server/exec.h"

/* Redis's command flags, as COMMAND INFO names them. */
enum command_flags {
    CMD_WRITE = 1 << 0,
    CMD_READONLY = 1 << 1,
    CMD_DENYOOM = 1 << 2,
    CMD_ADMIN = 1 << 3,
    CMD_FAST = 1 << 4,
    CMD_NO_AUTH = 1 << 5, /* may be sent before AUTH */
    CMD_LOADING = 1 << 6,
    CMD_STALE = 1 << 7,
    CMD_NOSCRIPT = 1 << 8,
    CMD_PUBSUB = 1 << 9,
    CMD_BLOCKING = 1 << 10,
    CMD_MOVABLE_KEYS = 1 << 11,  /* COMMAND GETKEYS asks the handler's own rules */
    CMD_NO_MULTI = 1 << 12,      /* refused between MULTI and EXEC */
    CMD_NOT_QUEUED = 1 << 13,    /* done at once even there: EXEC, DISCARD, QUIT ...; ours alone */
    CMD_EXCLUSIVE = 1 << 14,     /* runs while no other worker does; see gate.h; ours alone */
    CMD_IN_SUBSCRIBED = 1 << 15, /* a RESP2 client may send it while subscribed; ours alone */
    CMD_SKIP_MONITOR = 1 << 16,
    CMD_FAMILY =
        1 << 20,         /* with a second word, its handler is command_family_run() and no more; ours alone */
    CMD_BRIEF = 1 << 24, /* not CMD_FAST to redis, but as cheap; see figures.h; ours alone */
};

struct command {
    const char *name; /* lower case */
    command_handler *handler;
    int16_t arity; /* redis's: exact, or minus the minimum, the verb counted */
    uint32_t flags;
    int16_t first_key, last_key, key_step;            /* redis's; 0 0 0 when it has no keys */
    const char *group, *since, *complexity, *summary; /* for COMMAND DOCS and help */
};

/* A SETLEASE whose value is too long to be read: its lease goes back. `word` is the token as it came. */
void lease_give_up(struct exec *x, const struct key *key, struct slice word);

/* The row of that name, in any case; NULL if unknown. */
const struct command *command_find(struct slice name);
size_t command_count(void);
const struct command *command_at(size_t i);

/* Whether argc words, the verb counted, are as many as the arity asks for. */
bool command_arity_ok(int arity, uint32_t argc);
/* Index of the last key among argc words, whose number fits the arity. */
static inline uint32_t command_last_key(const struct command *command, uint32_t argc)
{
    int last = command->last_key;

    return last >= 0 ? (uint32_t)last : (uint32_t)((int64_t)argc + last);
}

/* A verb whose second word says what to do: CLIENT, CONFIG, COMMAND. */
struct subcommand {
    const char *name;      /* lower case; NULL ends the table */
    const char *full_name; /* "client|list" */
    int arity;
    command_handler *handler;
};
struct command_family {
    const char *name;      /* "CLIENT" */
    const char *help_name; /* "client|help" */
    const struct subcommand *subcommands;
    const char *const *help; /* lines of HELP, NULL at the end; HELP itself is added */
};
/* The family behind a command, NULL if it has no subcommands. A handler that calls
 * command_family_run() and does nothing before it needs to know nothing of this;
 * others must ask command_family_asked() first. */
const struct command_family *command_family_of(struct exec *x, const struct command *command);
static inline bool command_family_asked(const struct exec *x)
{
    return x->family != NULL;
}
/* Checks the arity and runs the subcommand; answers HELP and whatever is unknown. */
void command_family_run(struct exec *x, struct request *rq, const struct command_family *family);

/* Handlers are declared from the table. */
#define COMMAND(name, handler, ...) command_handler handler;
#include "server/commands.def"
#undef COMMAND

#endif
