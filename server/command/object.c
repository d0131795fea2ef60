/* object.c - OBJECT: how a value is kept; and WAIT and DEBUG, which tell or do something to the whole node.
 */
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "server/command/arguments.h"
#include "server/command/command.h"
#include "server/server.h"

/* ---- OBJECT ---- */

/* False: answered, because the key is not there. No hit for the policy. */
static bool find_key(struct exec *x, struct request *rq, struct store_edit *edit)
{
    struct key key = store_key_in(x->store, x->db, rq->argv[2]);

    store_edit_begin(x->store, x->local, &key, x->now, edit);
    if (edit_exists(edit))
        return true;
    store_edit_end(edit);
    reply_null(x);
    return false;
}

static bool key_is_too_long(struct exec *x, const struct request *rq)
{
    if (rq->argv[2].len <= STORE_KEY_MAX)
        return false;
    reply_null(x); /* no such key can be there */
    return true;
}

/* Values are bytes here, whatever they say. Redis's names for how it would
 * keep a value of these bytes that came with SET; after APPEND it says raw. */
static void object_encoding(struct exec *x, struct request *rq)
{
    enum { EMBSTR_MAX = 44 };
    struct store_edit edit;
    const char *name;
    int64_t ignored;

    if (key_is_too_long(x, rq) || !find_key(x, rq, &edit))
        return;
    if (edit_is_filter(&edit))
        name = "raw"; /* as for every type of a module */
    else if (slice_to_i64(edit.value, &ignored))
        name = "int";
    else
        name = edit.value.len <= EMBSTR_MAX ? "embstr" : "raw";
    store_edit_end(&edit);
    reply_text(x, name);
}

static bool policy_is_lfu(struct exec *x)
{
    bool is;

    pthread_mutex_lock(&x->server->options_lock);
    is = strstr(x->options->maxmemory_policy, "-lfu") != NULL;
    pthread_mutex_unlock(&x->server->options_lock);
    return is;
}

static void object_freq(struct exec *x, struct request *rq)
{
    struct store_edit edit;
    unsigned frequency;

    if (key_is_too_long(x, rq) || !find_key(x, rq, &edit))
        return;
    frequency = store_edit_frequency(&edit);
    store_edit_end(&edit);
    if (policy_is_lfu(x))
        reply_integer(x, frequency);
    else
        reply_error(x,
                    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note "
                    "that when switching between policies at runtime LRU and LFU data will take some time to "
                    "adjust.");
}

/* No policy keeps the time of the last use: that would be more bytes for each
 * item than all the rest of its upkeep. 0 keeps whoever removes what has been
 * idle for long from removing what is in use. */
static void object_idletime(struct exec *x, struct request *rq)
{
    struct store_edit edit;

    if (key_is_too_long(x, rq) || !find_key(x, rq, &edit))
        return;
    store_edit_end(&edit);
    if (policy_is_lfu(x))
        reply_error(x,
                    "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when "
                    "switching between policies at runtime LRU and LFU data will take some time to adjust.");
    else
        reply_integer(x, 0);
}

static void object_refcount(struct exec *x, struct request *rq)
{
    struct store_edit edit;

    if (key_is_too_long(x, rq) || !find_key(x, rq, &edit))
        return;
    store_edit_end(&edit);
    reply_integer(x, 1);
}

static const struct subcommand object_subcommands[] = {
    {"encoding", "object|encoding", 3, object_encoding},
    {"freq", "object|freq", 3, object_freq},
    {"idletime", "object|idletime", 3, object_idletime},
    {"refcount", "object|refcount", 3, object_refcount},
    {0},
};

static const char *const object_help[] = {
    "ENCODING <key>",
    "    What redis would call the way such a value is kept.",
    "FREQ <key>",
    "    How often the key was used lately; with an lfu policy only.",
    "IDLETIME <key>",
    "    Always 0: the time of the last use is not kept.",
    "REFCOUNT <key>",
    "    Always 1.",
    NULL,
};

void cmd_object(struct exec *x, struct request *rq)
{
    static const struct command_family family = {"OBJECT", "object|help", object_subcommands, object_help};

    command_family_run(x, rq, &family);
}

/* ---- DEBUG ---- */

static void debug_sleep(struct exec *x, struct request *rq)
{
    char text[32], *end;
    struct timespec time;
    double seconds;

    if (rq->argv[2].len >= sizeof text) {
        reply_syntax_error(x);
        return;
    }
    memcpy(text, rq->argv[2].data, rq->argv[2].len);
    text[rq->argv[2].len] = '\0';
    seconds = strtod(text, &end);
    if (end == text || *end != '\0' || !(seconds >= 0 && seconds <= 1e6)) {
        reply_error(x, "ERR value is not a valid float");
        return;
    }
    time = (struct timespec){(time_t)seconds, (long)(fmod(seconds, 1) * 1e9)};
    nanosleep(&time, NULL); /* behind the gate: everybody waits */
    x->now = clock_now();
    reply_ok(x);
}

static const struct subcommand debug_subcommands[] = {
    {"sleep", "debug|sleep", 3, debug_sleep},
    {0},
};

static const char *const debug_help[] = {
    "SLEEP <seconds>",
    "    Does nothing, and lets nobody else do anything, for so long.",
    NULL,
};

static bool is_local(const struct session *s)
{
    return strncmp(s->address, "127.", 4) == 0 || strncmp(s->address, "[::1]", 5) == 0 ||
           s->address[0] == '/';
}

void cmd_debug(struct exec *x, struct request *rq)
{
    static const struct command_family family = {"DEBUG", "debug|help", debug_subcommands, debug_help};
    enum { NOBODY, ANYBODY, LOCALS };
    int who = x->options->enable_debug_command;

    if (who == ANYBODY || (who == LOCALS && is_local(x->session)))
        command_family_run(x, rq, &family);
    else
        reply_error(x,
                    "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", "
                    "you can run it from a local connection, otherwise you need to set this option in the "
                    "configuration file, and then restart the server.");
}
