/* admin.c - the verbs an operator uses: options, emptying, stopping. INFO has info.c to itself. */
#include <stdio.h>
#include <stdlib.h>

#include "server/check.h"
#include "server/command/command.h"
#include "server/glob.h"
#include "server/log.h"
#include "server/options_rewrite.h"
#include "server/server.h"
#include "server/worker.h"

/* ---- CONFIG GET ---- */

static bool is_asked_for(const struct request *rq, const char *name)
{
    for (uint32_t i = 2; i < rq->argc; i++) {
        if (glob_matches_nocase(rq->argv[i], slice_of(name)))
            return true;
    }
    return false;
}

static void config_get(struct exec *x, struct request *rq)
{
    char value[OPTION_VALUE_MAX];
    size_t pairs = 0;

    for (size_t i = 0; i < options_count(); i++)
        pairs += is_asked_for(rq, options_name(i));
    reply_map(x, pairs);
    pthread_mutex_lock(&x->server->options_lock);
    for (size_t i = 0; i < options_count(); i++) {
        const char *name = options_name(i);

        if (!is_asked_for(rq, name))
            continue;
        CHECK(options_get(x->options, name, value));
        reply_text(x, name);
        reply_text(x, value);
    }
    pthread_mutex_unlock(&x->server->options_lock);
}

/* ---- CONFIG SET ---- */

/* One pair of a CONFIG SET, which takes effect as a whole or not at all. */
struct change {
    char name[64];
    char value[OPTION_VALUE_MAX];
    char before[OPTION_VALUE_MAX];
};

static bool copy_word(char *to, size_t room, struct slice word)
{
    if (word.len >= room || (word.len > 0 && memchr(word.data, '\0', word.len) != NULL))
        return false;
    for (size_t i = 0; i < word.len; i++)
        to[i] = (char)word.data[i];
    to[word.len] = '\0';
    return true;
}

static const char *option_named(struct slice word)
{
    for (size_t i = 0; i < options_count(); i++) {
        if (slice_is(word, options_name(i)))
            return options_name(i);
    }
    return NULL;
}

static void refuse_change(struct exec *x, struct slice name, const char *why)
{
    reply_error(x, "ERR CONFIG SET failed (possibly related to argument '%.*s') - %s", EXEC_QUOTED(name),
                why);
}

/* Fills the list and finds what is wrong with the words themselves. False: answered. */
static bool read_changes(struct exec *x, const struct request *rq, struct change *changes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct slice name = rq->argv[2 + 2 * i], value = rq->argv[3 + 2 * i];
        const char *known = option_named(name);

        if (known == NULL) {
            reply_error(x, "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
                        EXEC_QUOTED(name));
            return false;
        }
        snprintf(changes[i].name, sizeof changes[i].name, "%s", known);
        if (!copy_word(changes[i].value, sizeof changes[i].value, value)) {
            refuse_change(x, name, "the value is too long");
            return false;
        }
        for (size_t j = 0; j < i; j++) {
            if (slice_equals(slice_of(changes[j].name), slice_of(known))) {
                refuse_change(x, name, "duplicate parameter");
                return false;
            }
        }
    }
    return true;
}

/* Puts the first n back, the last one first. */
static void undo_changes(struct server *server, const struct change *changes, size_t n)
{
    struct option_error ignored;

    while (n-- > 0) {
        options_change(&server->options, changes[n].name, changes[n].before, &ignored);
        server_apply_option(server, changes[n].name);
    }
}

/* Under options_lock. NULL, or why changes[*at] was refused; then nothing has changed. */
static const char *make_changes(struct server *server, struct change *changes, size_t n, size_t *at,
                                struct option_error *err)
{
    const char *why = NULL;

    for (*at = 0; *at < n; ++*at) {
        struct change *c = &changes[*at];

        CHECK(options_get(&server->options, c->name, c->before));
        if (options_change(&server->options, c->name, c->value, err) != OPTION_OK) {
            why = err->text;
            break;
        }
    }
    if (why != NULL) {
        undo_changes(server, changes, *at);
        return why;
    }
    for (*at = 0; *at < n; ++*at) {
        if ((why = server_apply_option(server, changes[*at].name)) != NULL) {
            undo_changes(server, changes, n);
            return why;
        }
    }
    return NULL;
}

static void log_changes(const struct change *changes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct slice name = slice_of(changes[i].name);
        bool secret = slice_is(name, "requirepass") || slice_is(name, "origin"); /* urls hold passwords */

        log_event(LOG_LEVEL_NOTICE, "config_set", "option=%s value=\"%s\"", changes[i].name,
                  secret ? "..." : changes[i].value);
    }
}

static void config_set(struct exec *x, struct request *rq)
{
    size_t n = (rq->argc - 2) / 2, at = 0;
    struct change *changes;
    struct option_error err;
    const char *why;

    if (rq->argc % 2 != 0) {
        reply_syntax_error(x);
        return;
    }
    if (n > options_count()) {
        reply_error(x, "ERR CONFIG SET failed - more pairs than there are options");
        return;
    }
    if ((changes = calloc(n, sizeof *changes)) == NULL) {
        reply_error(x, "ERR CONFIG SET failed - out of memory");
        return;
    }
    if (read_changes(x, rq, changes, n)) {
        pthread_mutex_lock(&x->server->options_lock);
        why = make_changes(x->server, changes, n, &at, &err);
        pthread_mutex_unlock(&x->server->options_lock);
        if (why != NULL) {
            refuse_change(x, rq->argv[2 + 2 * at], why);
        } else {
            log_changes(changes, n);
            worker_set_limits(
                x->worker); /* for what this client sends next; the others' come with their ticks */
            reply_ok(x);
        }
    }
    free(changes);
}

static void config_resetstat(struct exec *x, struct request *rq)
{
    (void)rq;
    server_reset_stats(x->server);
    reply_ok(x);
}

/* The one handler that waits for a disk. */
static void config_rewrite(struct exec *x, struct request *rq)
{
    struct options now;
    struct option_error err;
    bool copied, good;

    (void)rq;
    if (x->options->file == NULL) {
        reply_error(x, "ERR The server is running without a config file");
        return;
    }
    pthread_mutex_lock(&x->server->options_lock);
    copied = options_copy(&now, x->options);
    pthread_mutex_unlock(&x->server->options_lock);
    if (!copied) {
        reply_error(x, "ERR Rewriting config file: out of memory");
        return;
    }
    good = options_rewrite(&now, &err);
    log_event(good ? LOG_LEVEL_NOTICE : LOG_LEVEL_WARNING, "config_rewrite", "file=\"%s\" %s%s", now.file,
              good ? "ok=1" : "reason=", good ? "" : err.text);
    options_free(&now);
    if (good)
        reply_ok(x);
    else
        reply_error(x, "ERR Rewriting config file: %s", err.text);
}

static const struct subcommand config_subcommands[] = {
    {"get", "config|get", -3, config_get},
    {"set", "config|set", -4, config_set},
    {"resetstat", "config|resetstat", 2, config_resetstat},
    {"rewrite", "config|rewrite", 2, config_rewrite},
    {0},
};

static const char *const config_help[] = {
    "GET <pattern> [<pattern> ...]",
    "    Options whose names match, and their values.",
    "SET <option> <value> [<option> <value> ...]",
    "    Changes options: all of them, or none.",
    "RESETSTAT",
    "    Lets the figures of INFO start from zero.",
    "REWRITE",
    "    Brings the configuration file up to date, comments and all.",
    NULL,
};

void cmd_config(struct exec *x, struct request *rq)
{
    static const struct command_family family = {"CONFIG", "config|help", config_subcommands, config_help};

    command_family_run(x, rq, &family);
}

/* ---- the rest ---- */

void cmd_time(struct exec *x, struct request *rq)
{
    int64_t us = clock_now_us();
    char text[24];

    (void)rq;
    reply_array(x, 2);
    snprintf(text, sizeof text, "%lld", (long long)us / 1000000);
    reply_text(x, text);
    snprintf(text, sizeof text, "%lld", (long long)us % 1000000);
    reply_text(x, text);
}

/* What to save before is the same to us: there is nothing to save to. NOW does
 * not wait for clients; there is nothing that FORCE could overcome, and once it
 * goes on nobody is listened to who could ABORT it. */
void cmd_shutdown(struct exec *x, struct request *rq)
{
    bool save = false, nosave = false, now = false, abort_it = false;

    for (uint32_t i = 1; i < rq->argc; i++) {
        if (slice_is(rq->argv[i], "save"))
            save = true;
        else if (slice_is(rq->argv[i], "nosave"))
            nosave = true;
        else if (slice_is(rq->argv[i], "abort"))
            abort_it = true;
        else if (slice_is(rq->argv[i], "now"))
            now = true;
        else if (!slice_is(rq->argv[i], "force")) {
            reply_syntax_error(x);
            return;
        }
    }
    if ((save && nosave) || (abort_it && rq->argc > 2)) {
        reply_syntax_error(x);
    } else if (abort_it) {
        reply_error(x, "ERR No shutdown in progress.");
    } else {
        log_event(LOG_LEVEL_NOTICE, "stopping", "command=shutdown addr=%s", x->session->address);
        x->session->close_after_reply = true;
        server_shutdown(x->server, !now && !nosave, now);
    }
}
