/* introspect.c - COMMAND: the verb table, told in redis's words.
 *
 * What it tells comes from commands.def and, where redis says more, from
 * command_notes.def; of commands that redis does not have, the rest follows
 * from their flags. Subcommands are those their families list. */
#include <stdio.h>
#include <strings.h>

#include "server/check.h"
#include "server/command/command.h"
#include "server/glob.h"

/* ---- what is known of a command ---- */

struct note {
    const char *name, *since, *flags, *categories, *tips, *keys;
};

static const struct note notes[] = {
#define NOTE(name, since, flags, categories, tips, keys) {name, since, flags, categories, tips, keys},
#include "server/command_notes.def"
};

static const struct note *note_of(const char *name)
{
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        if (strcmp(notes[i].name, name) == 0)
            return &notes[i];
    }
    return NULL;
}

enum { WORDS_MAX = 192, SUMMARY_MAX = 160 };

/* A command or a subcommand, in words. */
struct description {
    const char *name, *group, *since, *complexity, *tips;
    int arity, first_key, last_key, key_step;
    char flags[WORDS_MAX], categories[WORDS_MAX], keys[WORDS_MAX], summary[SUMMARY_MAX];
};

static void add_word(char words[WORDS_MAX], const char *word)
{
    size_t len = strlen(words);

    snprintf(words + len, WORDS_MAX - len, len > 0 ? " %s" : "%s", word);
}

static void add_flags(char words[WORDS_MAX], unsigned flags)
{
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = {
        {CMD_WRITE, "write"},       {CMD_READONLY, "readonly"}, {CMD_DENYOOM, "denyoom"},
        {CMD_ADMIN, "admin"},       {CMD_PUBSUB, "pubsub"},     {CMD_NOSCRIPT, "noscript"},
        {CMD_BLOCKING, "blocking"}, {CMD_LOADING, "loading"},   {CMD_STALE, "stale"},
        {CMD_FAST, "fast"},         {CMD_NO_AUTH, "no_auth"},   {CMD_MOVABLE_KEYS, "movablekeys"},
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (flags & names[i].bit)
            add_word(words, names[i].name);
    }
}

static void add_categories(char words[WORDS_MAX], const char *group, unsigned flags)
{
    if (strcmp(group, "generic") == 0)
        add_word(words, "keyspace");
    if (flags & CMD_READONLY)
        add_word(words, "read");
    if (flags & CMD_WRITE)
        add_word(words, "write");
    if (strcmp(group, "string") == 0)
        add_word(words, "string");
    if (flags & CMD_PUBSUB)
        add_word(words, "pubsub");
    if (flags & CMD_ADMIN)
        add_word(words, "admin");
    add_word(words, flags & CMD_FAST ? "fast" : "slow");
    if (flags & CMD_ADMIN)
        add_word(words, "dangerous");
    if (strcmp(group, "connection") == 0)
        add_word(words, "connection");
}

static void add_keys(char keys[WORDS_MAX], const struct command *c)
{
    if (c->first_key > 0)
        snprintf(keys, WORDS_MAX, "%d %d %d %s", c->first_key,
                 c->last_key < 0 ? c->last_key : c->last_key - c->first_key, c->key_step,
                 c->flags & CMD_WRITE ? "RW update" : "RO access");
}

static void take_note(struct description *d, const struct note *note)
{
    snprintf(d->flags, sizeof d->flags, "%s", note->flags);
    snprintf(d->categories, sizeof d->categories, "%s", note->categories);
    snprintf(d->keys, sizeof d->keys, "%s", note->keys);
    d->tips = note->tips;
}

static void describe(struct description *d, const struct command *c)
{
    const struct note *note = note_of(c->name);

    *d = (struct description){.name = c->name,
                              .group = c->group,
                              .since = c->since,
                              .complexity = c->complexity,
                              .tips = "",
                              .arity = c->arity,
                              .first_key = c->first_key,
                              .last_key = c->last_key,
                              .key_step = c->key_step};
    snprintf(d->summary, sizeof d->summary, "%s", c->summary);
    if (note != NULL) {
        take_note(d, note);
        return;
    }
    add_flags(d->flags, c->flags);
    add_categories(d->categories, c->group, c->flags);
    add_keys(d->keys, c);
}

/* ---- subcommands ---- */

/* Where it stands in the help of its family: "GET <pattern>" above, the sentence below it. */
static void summarize(struct description *d, const struct command_family *family, const char *name)
{
    size_t len = strlen(name);

    for (const char *const *line = family->help; line[0] != NULL && line[1] != NULL; line++) {
        if (strncasecmp(line[0], name, len) != 0 || (line[0][len] != ' ' && line[0][len] != '\0'))
            continue;
        snprintf(d->summary, sizeof d->summary, "%s", line[1] + strspn(line[1], " "));
        return;
    }
}

static void describe_subcommand(struct description *d, const struct command *c,
                                const struct command_family *family, const struct subcommand *sub)
{
    const struct note *note = note_of(sub->full_name);
    int last = 0;

    *d = (struct description){.name = sub->full_name,
                              .group = c->group,
                              .since = c->since,
                              .complexity = "",
                              .tips = "",
                              .arity = sub->arity};
    summarize(d, family, sub->name);
    if (note == NULL) {
        add_flags(d->flags, c->flags);
        add_categories(d->categories, c->group, c->flags);
        return;
    }
    take_note(d, note);
    d->since = note->since;
    if (sscanf(d->keys, "%d %d %d", &d->first_key, &last, &d->key_step) == 3)
        d->last_key = last < 0 ? last : d->first_key + last;
}

static struct subcommand help_of(const struct command_family *family)
{
    return (struct subcommand){.name = "help", .full_name = family->help_name, .arity = 2};
}

const struct command_family *command_family_of(struct exec *x, const struct command *command)
{
    size_t len = strlen(command->name);
    const struct command_family *family = NULL;
    struct slice words[] = {slice_of(command->name), slice_of("help")};
    struct request rq = {.argv = words, .argc = 2, .argv_max = 2};
    struct exec asking = *x;
    struct out nowhere = {0};
    bool has_subcommands = false;

    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++)
        has_subcommands |= strncmp(notes[i].name, command->name, len) == 0 && notes[i].name[len] == '|';
    if (!has_subcommands)
        return NULL;
    asking.family = &family;
    asking.out = &nowhere;
    command->handler(&asking, &rq);
    out_free(&nowhere);
    return family;
}

static size_t count_subcommands(const struct command_family *family)
{
    size_t n = 1; /* HELP */

    if (family == NULL)
        return 0;
    for (const struct subcommand *sub = family->subcommands; sub->name != NULL; sub++)
        n++;
    return n;
}

/* The i-th of a family, HELP last. */
static struct subcommand subcommand_at(const struct command_family *family, size_t i)
{
    return i + 1 < count_subcommands(family) ? family->subcommands[i] : help_of(family);
}

/* "get" or "config|get", in any case. False: there is no such command. */
static bool describe_named(struct exec *x, struct slice name, struct description *d)
{
    const uint8_t *bar = name.len > 0 ? memchr(name.data, '|', name.len) : NULL;
    const struct command *c =
        command_find(bar != NULL ? (struct slice){name.data, (size_t)(bar - name.data)} : name);
    const struct command_family *family;

    if (c == NULL)
        return false;
    if (bar == NULL) {
        describe(d, c);
        return true;
    }
    family = command_family_of(x, c);
    for (size_t i = 0; i < count_subcommands(family); i++) {
        struct subcommand sub = subcommand_at(family, i);

        if (!slice_is(name, sub.full_name))
            continue;
        describe_subcommand(d, c, family, &sub);
        return true;
    }
    return false;
}

/* ---- in words ---- */

/* The next word of a list separated by blanks; len 0 at its end. */
static struct slice next_word(const char **at)
{
    struct slice word;

    *at += strspn(*at, " ");
    word = (struct slice){(const uint8_t *)*at, strcspn(*at, " ")};
    *at += word.len;
    return word;
}

static size_t count_words(const char *list)
{
    size_t n = 0;

    while (next_word(&list).len > 0)
        n++;
    return n;
}

static void reply_words(struct exec *x, const char *list, const char *before)
{
    char text[WORDS_MAX];
    struct slice word;

    reply_set(x, count_words(list));
    while ((word = next_word(&list)).len > 0) {
        snprintf(text, sizeof text, "%s%.*s", before, (int)word.len, (const char *)word.data);
        reply_simple(x, text);
    }
}

static void reply_tips(struct exec *x, const char *list)
{
    struct slice word;

    reply_set(x, count_words(list));
    while ((word = next_word(&list)).len > 0)
        reply_bulk(x, word);
}

/* "first last step flags"; see command_notes.def. */
struct key_spec {
    int first, last, step;
    char flags[64];
};

/* Reads the next of `keys`; false at its end. */
static bool next_spec(const char **keys, struct key_spec *spec)
{
    const char *end = *keys + strcspn(*keys, ";");
    int flags_at = 0;

    if (sscanf(*keys, "%d %d %d %n", &spec->first, &spec->last, &spec->step, &flags_at) < 3)
        return false;
    snprintf(spec->flags, sizeof spec->flags, "%.*s", (int)(end - *keys) - flags_at, *keys + flags_at);
    *keys = *end == ';' ? end + 1 : end;
    return true;
}

static void reply_key_spec(struct exec *x, const struct key_spec *spec)
{
    reply_map(x, 3);
    reply_text(x, "flags");
    reply_words(x, spec->flags, "");
    reply_text(x, "begin_search");
    reply_map(x, 2);
    reply_text(x, "type");
    reply_text(x, "index");
    reply_text(x, "spec");
    reply_map(x, 1);
    reply_text(x, "index");
    reply_integer(x, spec->first);
    reply_text(x, "find_keys");
    reply_map(x, 2);
    reply_text(x, "type");
    reply_text(x, "range");
    reply_text(x, "spec");
    reply_map(x, 3);
    reply_text(x, "lastkey");
    reply_integer(x, spec->last);
    reply_text(x, "keystep");
    reply_integer(x, spec->step);
    reply_text(x, "limit");
    reply_integer(x, 0);
}

static void reply_key_specs(struct exec *x, const char *keys)
{
    struct key_spec spec;
    const char *at = keys;
    size_t n = 0;

    while (next_spec(&at, &spec))
        n++;
    reply_set(x, n);
    while (next_spec(&keys, &spec))
        reply_key_spec(x, &spec);
}

/* All but the subcommands, which follow. */
static void reply_description(struct exec *x, const struct description *d)
{
    reply_array(x, 10);
    reply_text(x, d->name);
    reply_integer(x, d->arity);
    reply_words(x, d->flags, "");
    reply_integer(x, d->first_key);
    reply_integer(x, d->last_key);
    reply_integer(x, d->key_step);
    reply_words(x, d->categories, "@");
    reply_tips(x, d->tips);
    reply_key_specs(x, d->keys);
}

static void reply_command(struct exec *x, const struct command *c)
{
    const struct command_family *family = command_family_of(x, c);
    struct description d;

    describe(&d, c);
    reply_description(x, &d);
    reply_array(x, count_subcommands(family));
    for (size_t i = 0; i < count_subcommands(family); i++) {
        struct subcommand sub = subcommand_at(family, i);

        describe_subcommand(&d, c, family, &sub);
        reply_description(x, &d);
        reply_array(x, 0);
    }
}

/* The pairs every one has; `more` will follow. */
static void reply_doc(struct exec *x, const struct description *d, size_t more)
{
    bool has_complexity = d->complexity[0] != '\0';

    reply_text(x, d->name);
    reply_map(x, 3 + has_complexity + more);
    reply_text(x, "summary");
    reply_text(x, d->summary);
    reply_text(x, "since");
    reply_text(x, d->since);
    reply_text(x, "group");
    reply_text(x, d->group);
    if (has_complexity) {
        reply_text(x, "complexity");
        reply_text(x, d->complexity);
    }
}

static void reply_docs(struct exec *x, const struct command *c)
{
    const struct command_family *family = command_family_of(x, c);
    struct description d;

    describe(&d, c);
    reply_doc(x, &d, family != NULL);
    if (family == NULL)
        return;
    reply_text(x, "subcommands");
    reply_map(x, count_subcommands(family));
    for (size_t i = 0; i < count_subcommands(family); i++) {
        struct subcommand sub = subcommand_at(family, i);

        describe_subcommand(&d, c, family, &sub);
        reply_doc(x, &d, 0);
    }
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

static bool is_subcommand(struct slice name)
{
    return name.len > 0 && memchr(name.data, '|', name.len) != NULL;
}

static void command_info(struct exec *x, struct request *rq)
{
    struct description d;

    if (rq->argc == 2) {
        reply_all(x);
        return;
    }
    reply_array(x, rq->argc - 2);
    for (uint32_t i = 2; i < rq->argc; i++) {
        if (!describe_named(x, rq->argv[i], &d)) {
            reply_null(x);
        } else if (is_subcommand(rq->argv[i])) {
            reply_description(x, &d);
            reply_array(x, 0);
        } else {
            reply_command(x, command_find(rq->argv[i]));
        }
    }
}

static void command_docs(struct exec *x, struct request *rq)
{
    struct description d;
    size_t found = 0;

    if (rq->argc == 2) {
        reply_map(x, command_count());
        for (size_t i = 0; i < command_count(); i++)
            reply_docs(x, command_at(i));
        return;
    }
    for (uint32_t i = 2; i < rq->argc; i++)
        found += describe_named(x, rq->argv[i], &d);
    reply_map(x, found);
    for (uint32_t i = 2; i < rq->argc; i++) {
        if (!describe_named(x, rq->argv[i], &d))
            continue;
        if (is_subcommand(rq->argv[i]))
            reply_doc(x, &d, 0);
        else
            reply_docs(x, command_find(rq->argv[i]));
    }
}

/* ---- COMMAND LIST ---- */

enum list_filter { LIST_ALL, LIST_MODULE, LIST_CATEGORY, LIST_PATTERN };

static bool is_listed(const struct description *d, enum list_filter filter, struct slice word)
{
    const char *at = d->categories;
    struct slice category;

    switch (filter) {
    case LIST_ALL: return true;
    case LIST_MODULE: return false;
    case LIST_PATTERN: return glob_matches_nocase(word, slice_of(d->name));
    case LIST_CATEGORY:
        while ((category = next_word(&at)).len > 0) {
            if (category.len == word.len &&
                strncasecmp((const char *)category.data, (const char *)word.data, word.len) == 0)
                return true;
        }
        return false;
    }
    CHECK_UNREACHABLE();
}

static bool read_filter(const struct request *rq, enum list_filter *filter)
{
    *filter = LIST_ALL;
    if (rq->argc == 2)
        return true;
    if (rq->argc != 5 || !slice_is(rq->argv[2], "filterby"))
        return false;
    if (slice_is(rq->argv[3], "module"))
        *filter = LIST_MODULE;
    else if (slice_is(rq->argv[3], "aclcat"))
        *filter = LIST_CATEGORY;
    else if (slice_is(rq->argv[3], "pattern"))
        *filter = LIST_PATTERN;
    return *filter != LIST_ALL;
}

static void command_list(struct exec *x, struct request *rq)
{
    enum list_filter filter;
    struct slice word = rq->argc == 5 ? rq->argv[4] : (struct slice){0};
    struct description d;
    size_t mark, n = 0;

    if (!read_filter(rq, &filter)) {
        reply_syntax_error(x);
        return;
    }
    mark = reply_array_open(x);
    for (size_t i = 0; i < command_count(); i++) {
        const struct command *c = command_at(i);
        const struct command_family *family = command_family_of(x, c);

        describe(&d, c);
        for (size_t sub = 0;; sub++) {
            if (is_listed(&d, filter, word)) {
                reply_text(x, d.name);
                n++;
            }
            if (sub == count_subcommands(family))
                break;
            struct subcommand s = subcommand_at(family, sub);
            describe_subcommand(&d, c, family, &s);
        }
    }
    reply_array_close(x, mark, n);
}

/* ---- COMMAND GETKEYS ---- */

/* The command that these words would run. */
static bool describe_line(struct exec *x, const struct slice *argv, uint32_t argc, struct description *d)
{
    const struct command *c = command_find(argv[0]);
    const struct command_family *family = c != NULL ? command_family_of(x, c) : NULL;

    if (c == NULL)
        return false;
    describe(d, c);
    for (size_t i = 0; argc > 1 && i < count_subcommands(family); i++) {
        struct subcommand sub = subcommand_at(family, i);

        if (slice_is(argv[1], sub.name))
            describe_subcommand(d, c, family, &sub);
    }
    return true;
}

static bool has_word(const struct slice *argv, uint32_t argc, const char *word)
{
    for (uint32_t i = 2; i < argc; i++) {
        if (slice_is(argv[i], word))
            return true;
    }
    return false;
}

/* What becomes of the key depends on the other words: SET reads it only with GET,
 * BITFIELD writes it only with SET or INCRBY. */
static const char *key_flags(const struct description *d, const struct key_spec *spec,
                             const struct slice *argv, uint32_t argc)
{
    if (strstr(spec->flags, "variable_flags") == NULL)
        return spec->flags;
    if (strcmp(d->name, "set") == 0)
        return has_word(argv, argc, "get") ? "RW access update" : "OW update";
    return has_word(argv, argc, "set") || has_word(argv, argc, "incrby") ? "RW access update" : "RO access";
}

static size_t reply_keys(struct exec *x, const struct description *d, const struct slice *argv, uint32_t argc,
                         bool with_flags)
{
    const char *at = d->keys;
    struct key_spec spec;
    size_t n = 0;

    while (next_spec(&at, &spec)) {
        int64_t last = spec.last >= 0 ? spec.first + spec.last : (int64_t)argc + spec.last;

        for (int64_t i = spec.first; i <= last && i < argc; i += spec.step, n++) {
            if (with_flags)
                reply_array(x, 2);
            reply_bulk(x, argv[i]);
            if (with_flags)
                reply_words(x, key_flags(d, &spec, argv, argc), "");
        }
    }
    return n;
}

static void answer_keys(struct exec *x, struct request *rq, bool with_flags)
{
    const struct slice *argv = rq->argv + 2;
    uint32_t argc = rq->argc - 2;
    struct description d;
    size_t mark;

    if (!describe_line(x, argv, argc, &d)) {
        reply_error(x, "ERR Invalid command specified");
    } else if (d.keys[0] == '\0') {
        reply_error(x, "ERR The command has no key arguments");
    } else if (!command_arity_ok(d.arity, argc)) {
        reply_error(x, "ERR Invalid number of arguments specified for command");
    } else {
        mark = reply_array_open(x);
        reply_array_close(x, mark, reply_keys(x, &d, argv, argc, with_flags));
    }
}

static void command_getkeys(struct exec *x, struct request *rq)
{
    answer_keys(x, rq, false);
}

static void command_getkeysandflags(struct exec *x, struct request *rq)
{
    answer_keys(x, rq, true);
}

static const struct subcommand command_subcommands[] = {
    {"count", "command|count", 2, command_count_all},
    {"docs", "command|docs", -2, command_docs},
    {"getkeys", "command|getkeys", -4, command_getkeys},
    {"getkeysandflags", "command|getkeysandflags", -4, command_getkeysandflags},
    {"info", "command|info", -2, command_info},
    {"list", "command|list", -2, command_list},
    {0},
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
    "GETKEYSANDFLAGS <command line>",
    "    The same, and what becomes of them.",
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
