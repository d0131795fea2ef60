/* introspect.c - COMMAND: the verb table, told in redis's words. */
#include <stdio.h>

#include "server/command/command.h"
#include "server/glob.h"

/* ---- one command ---- */

static size_t count_bits(unsigned bits)
{
    return (size_t)__builtin_popcount(bits);
}

static void reply_flags(struct exec *x, unsigned flags)
{
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = {
        {CMD_WRITE, "write"}, {CMD_READONLY, "readonly"}, {CMD_DENYOOM, "denyoom"},
        {CMD_ADMIN, "admin"}, {CMD_NOSCRIPT, "noscript"}, {CMD_LOADING, "loading"},
        {CMD_STALE, "stale"}, {CMD_FAST, "fast"},         {CMD_NO_AUTH, "no_auth"},
    };

    reply_set(x, count_bits(flags & ~(unsigned)CMD_BRIEF));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (flags & names[i].bit)
            reply_simple(x, names[i].name);
    }
}

enum { CATEGORIES_MAX = 6 };

/* The access categories follow from flags and group. Returns how many. */
static size_t categories(const struct command *c, const char *names[CATEGORIES_MAX])
{
    size_t n = 0;

    if (slice_equals(slice_of(c->group), slice_of("generic")))
        names[n++] = "keyspace";
    if (c->flags & CMD_WRITE)
        names[n++] = "write";
    if (c->flags & CMD_READONLY)
        names[n++] = "read";
    if (slice_equals(slice_of(c->group), slice_of("string")))
        names[n++] = "string";
    if (c->flags & CMD_ADMIN)
        names[n++] = "admin";
    names[n++] = c->flags & CMD_FAST ? "fast" : "slow";
    if (slice_equals(slice_of(c->group), slice_of("connection")) && n < CATEGORIES_MAX)
        names[n++] = "connection";
    if ((c->flags & CMD_ADMIN) && n < CATEGORIES_MAX)
        names[n++] = "dangerous";
    return n;
}

static void reply_categories(struct exec *x, const struct command *c)
{
    const char *names[CATEGORIES_MAX];
    size_t n = categories(c, names);
    char text[32];

    reply_set(x, n);
    for (size_t i = 0; i < n; i++) {
        snprintf(text, sizeof text, "@%s", names[i]);
        reply_simple(x, text);
    }
}

/* Where the keys are: from first_key to last_key, every key_step words. */
static void reply_key_specs(struct exec *x, const struct command *c)
{
    if (c->first_key == 0) {
        reply_set(x, 0);
        return;
    }
    reply_set(x, 1);
    reply_map(x, 3);
    reply_text(x, "flags");
    reply_set(x, 2);
    reply_simple(x, c->flags & CMD_WRITE ? "RW" : "RO");
    reply_simple(x, c->flags & CMD_WRITE ? "update" : "access");
    reply_text(x, "begin_search");
    reply_map(x, 2);
    reply_text(x, "type");
    reply_text(x, "index");
    reply_text(x, "spec");
    reply_map(x, 1);
    reply_text(x, "index");
    reply_integer(x, c->first_key);
    reply_text(x, "find_keys");
    reply_map(x, 2);
    reply_text(x, "type");
    reply_text(x, "range");
    reply_text(x, "spec");
    reply_map(x, 3);
    reply_text(x, "lastkey");
    reply_integer(x, c->last_key < 0 ? c->last_key : c->last_key - c->first_key);
    reply_text(x, "keystep");
    reply_integer(x, c->key_step);
    reply_text(x, "limit");
    reply_integer(x, 0);
}

static void reply_command(struct exec *x, const struct command *c)
{
    reply_array(x, 10);
    reply_text(x, c->name);
    reply_integer(x, c->arity);
    reply_flags(x, c->flags);
    reply_integer(x, c->first_key);
    reply_integer(x, c->last_key);
    reply_integer(x, c->key_step);
    reply_categories(x, c);
    reply_set(x, 0); /* tips */
    reply_key_specs(x, c);
    reply_set(x, 0); /* subcommands */
}

static void reply_docs(struct exec *x, const struct command *c)
{
    reply_text(x, c->name);
    reply_map(x, 4);
    reply_text(x, "summary");
    reply_text(x, c->summary);
    reply_text(x, "since");
    reply_text(x, c->since);
    reply_text(x, "group");
    reply_text(x, c->group);
    reply_text(x, "complexity");
    reply_text(x, c->complexity);
}

/* ---- all of them ---- */

static void reply_all(struct exec *x)
{
    reply_array(x, command_count());
    for (size_t i = 0; i < command_count(); i++)
        reply_command(x, command_at(i));
}

static void command_count_all(struct exec *x, struct request *rq)
{
    (void)rq;
    reply_integer(x, (int64_t)command_count());
}

static void command_info(struct exec *x, struct request *rq)
{
    if (rq->argc == 2) {
        reply_all(x);
        return;
    }
    reply_array(x, rq->argc - 2);
    for (uint32_t i = 2; i < rq->argc; i++) {
        const struct command *c = command_find(rq->argv[i]);

        if (c != NULL)
            reply_command(x, c);
        else
            reply_null(x);
    }
}

static void command_docs(struct exec *x, struct request *rq)
{
    size_t found = 0;

    if (rq->argc == 2) {
        reply_map(x, command_count());
        for (size_t i = 0; i < command_count(); i++)
            reply_docs(x, command_at(i));
        return;
    }
    for (uint32_t i = 2; i < rq->argc; i++)
        found += command_find(rq->argv[i]) != NULL;
    reply_map(x, found);
    for (uint32_t i = 2; i < rq->argc; i++) {
        const struct command *c = command_find(rq->argv[i]);

        if (c != NULL)
            reply_docs(x, c);
    }
}

/* ---- COMMAND LIST ---- */

enum list_filter { LIST_ALL, LIST_MODULE, LIST_CATEGORY, LIST_PATTERN };

static bool has_category(const struct command *c, struct slice category)
{
    const char *names[CATEGORIES_MAX];
    size_t n = categories(c, names);

    for (size_t i = 0; i < n; i++) {
        if (slice_is(category, names[i]))
            return true;
    }
    return false;
}

static bool is_listed(const struct command *c, enum list_filter filter, struct slice word)
{
    switch (filter) {
    case LIST_ALL: return true;
    case LIST_MODULE: return false;
    case LIST_CATEGORY: return has_category(c, word);
    case LIST_PATTERN: return glob_matches_nocase(word, slice_of(c->name));
    }
    return false;
}

static void command_list(struct exec *x, struct request *rq)
{
    enum list_filter filter = LIST_ALL;
    size_t mark, n = 0;

    if (rq->argc == 5 && slice_is(rq->argv[2], "filterby") && slice_is(rq->argv[3], "module"))
        filter = LIST_MODULE;
    else if (rq->argc == 5 && slice_is(rq->argv[2], "filterby") && slice_is(rq->argv[3], "aclcat"))
        filter = LIST_CATEGORY;
    else if (rq->argc == 5 && slice_is(rq->argv[2], "filterby") && slice_is(rq->argv[3], "pattern"))
        filter = LIST_PATTERN;
    else if (rq->argc != 2) {
        reply_syntax_error(x);
        return;
    }
    mark = reply_array_open(x);
    for (size_t i = 0; i < command_count(); i++) {
        if (!is_listed(command_at(i), filter, rq->argc == 5 ? rq->argv[4] : (struct slice){0}))
            continue;
        reply_text(x, command_at(i)->name);
        n++;
    }
    reply_array_close(x, mark, n);
}

/* ---- COMMAND GETKEYS ---- */

static void command_getkeys(struct exec *x, struct request *rq)
{
    const struct command *c = command_find(rq->argv[2]);
    uint32_t argc = rq->argc - 2, last;
    size_t mark, n = 0;
    int step;

    if (c == NULL) {
        reply_error(x, "ERR Invalid command specified");
        return;
    }
    if (c->first_key == 0) {
        reply_error(x, "ERR The command has no key arguments");
        return;
    }
    if (!command_arity_ok(c->arity, argc)) {
        reply_error(x, "ERR Invalid number of arguments specified for command");
        return;
    }
    last = command_last_key(c, argc);
    step = c->key_step;
    mark = reply_array_open(x);
    for (uint32_t i = (uint32_t)c->first_key; i <= last && i < argc; i += (uint32_t)step, n++)
        reply_bulk(x, rq->argv[i + 2]);
    reply_array_close(x, mark, n);
}

static const struct subcommand command_subcommands[] = {
    {"count", "command|count", 2, command_count_all},    {"docs", "command|docs", -2, command_docs},
    {"info", "command|info", -2, command_info},          {"list", "command|list", -2, command_list},
    {"getkeys", "command|getkeys", -4, command_getkeys}, {0},
};

static const char *const command_help[] = {
    "(no subcommand)",
    "    Everything INFO tells, about all commands.",
    "COUNT",
    "    How many commands there are.",
    "DOCS [<command> ...]",
    "    What commands are for; without names, all of them.",
    "GETKEYS <command line>",
    "    Which of its words are keys.",
    "INFO [<command> ...]",
    "    Arity, flags and keys of commands; without names, of all.",
    "LIST [FILTERBY (MODULE|ACLCAT|PATTERN) <value>]",
    "    Names of commands.",
    NULL,
};

void cmd_command(struct exec *x, struct request *rq)
{
    static const struct command_family family = {"COMMAND", "command|help", command_subcommands,
                                                 command_help};

    if (rq->argc == 1)
        reply_all(x);
    else
        command_family_run(x, rq, &family);
}
