/* connection.c - the verbs about the connection itself: who is there, what it
 * speaks, who else is connected. */
#include <stdlib.h>

#include "server/check.h"
#include "server/clients.h"
#include "server/command/client.h"
#include "server/command/command.h"
#include "server/command/databases.h"
#include "server/push.h"
#include "server/server.h"
#include "server/transaction.h"
#include "server/worker.h"

/* Names go into one line with blanks between the fields. */
static bool is_plain(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '!' || text.data[i] > '~')
            return false;
    }
    return true;
}

/* False: answered. */
static bool text_is_right(struct exec *x, struct slice what, struct slice text)
{
    if (!is_plain(text))
        reply_error(x, "ERR %.*s cannot contain spaces, newlines or special characters.", EXEC_QUOTED(what));
    else if (text.len > SESSION_TEXT_MAX)
        reply_error(x, "ERR %.*s cannot be longer than %d bytes.", EXEC_QUOTED(what), SESSION_TEXT_MAX);
    else
        return true;
    return false;
}

/* Under the registry lock: CLIENT LIST reads these strings. */
static void set_text(struct exec *x, char **field, struct slice text)
{
    clients_lock(x->server->registry);
    if (!session_set_text(field, text.data, text.len))
        x->out->failed = true; /* no memory for a few bytes: the connection cannot go on either */
    clients_unlock(x->server->registry);
}

static void set_protocol(struct exec *x, int resp)
{
    clients_lock(x->server->registry);
    x->session->resp = resp;
    clients_unlock(x->server->registry);
}

/* ---- greeting ---- */

static bool password_fits(struct exec *x, struct slice user, struct slice password)
{
    if (slice_equals(user, slice_of("default")) && server_password_ok(x->server, password)) {
        x->session->authenticated = true;
        return true;
    }
    counter_add(x->counters, auth_failures, 1);
    reply_error(x, "WRONGPASS invalid username-password pair or user is disabled.");
    return false;
}

void cmd_auth(struct exec *x, struct request *rq)
{
    if (rq->argc > 3) {
        reply_syntax_error(x);
        return;
    }
    if (rq->argc == 2 && !server_password_set(x->server)) {
        reply_error(x, "ERR AUTH <password> called without any password configured for the default user. "
                       "Are you sure your configuration is correct?");
        return;
    }
    if (password_fits(x, rq->argc == 3 ? rq->argv[1] : slice_of("default"), rq->argv[rq->argc - 1]))
        reply_ok(x);
}

struct hello {
    int resp; /* 0: as it is */
    const struct slice *user, *password, *name;
};

static bool hello_version(struct exec *x, const struct request *rq, struct hello *hello)
{
    int64_t version;

    if (rq->argc < 2)
        return true;
    if (!slice_to_i64(rq->argv[1], &version)) {
        reply_error(x, "ERR Protocol version is not an integer or out of range");
        return false;
    }
    if (version < 2 || version > 3) {
        reply_error(x, "NOPROTO unsupported protocol version");
        return false;
    }
    hello->resp = (int)version;
    return true;
}

static bool hello_options(struct exec *x, const struct request *rq, struct hello *hello)
{
    for (uint32_t i = 2; i < rq->argc; i++) {
        uint32_t more = rq->argc - 1 - i;

        if (slice_is(rq->argv[i], "auth") && more >= 2) {
            hello->user = &rq->argv[i + 1];
            hello->password = &rq->argv[i + 2];
            i += 2;
        } else if (slice_is(rq->argv[i], "setname") && more >= 1) {
            hello->name = &rq->argv[++i];
        } else {
            reply_error(x, "ERR Syntax error in HELLO option '%.*s'", EXEC_QUOTED(rq->argv[i]));
            return false;
        }
        if (hello->name != NULL && !text_is_right(x, slice_of("Client names"), *hello->name))
            return false;
    }
    return true;
}

static void hello_reply(struct exec *x)
{
    reply_map(x, 7);
    reply_text(x, "server");
    reply_text(x, "redis"); /* clients look for this word */
    reply_text(x, "version");
    reply_text(x, SERVER_REDIS_VERSION);
    reply_text(x, "proto");
    reply_integer(x, x->session->resp);
    reply_text(x, "id");
    reply_integer(x, (int64_t)x->session->id);
    reply_text(x, "mode");
    reply_text(x, option_live(x->options, cluster_enabled) ? "cluster" : "standalone");
    reply_text(x, "role");
    reply_text(x, "master");
    reply_text(x, "modules");
    reply_array(x, 0);
}

static bool is_stranger(struct exec *x)
{
    if (!x->session->authenticated && !server_password_set(x->server))
        x->session->authenticated = true;
    return !x->session->authenticated;
}

void cmd_hello(struct exec *x, struct request *rq)
{
    struct hello hello = {0};

    if (!hello_version(x, rq, &hello) || !hello_options(x, rq, &hello))
        return;
    if (hello.user != NULL && !password_fits(x, *hello.user, *hello.password))
        return;
    if (is_stranger(x)) {
        reply_error(x, "NOAUTH HELLO must be called with the client already authenticated, otherwise the "
                       "HELLO AUTH <user> <pass> option can be used to authenticate the client and select "
                       "the RESP protocol version at the same time");
        return;
    }
    if (hello.name != NULL)
        set_text(x, &x->session->name, *hello.name);
    if (hello.resp != 0)
        set_protocol(x, hello.resp);
    hello_reply(x);
}

void cmd_ping(struct exec *x, struct request *rq)
{
    bool subscribed = (x->session->modes & SESSION_SUBSCRIBED) && x->session->resp == 2;

    if (rq->argc > 2) {
        reply_wrong_arity(x, "ping");
    } else if (subscribed) { /* looks like the messages it is waiting for */
        reply_array(x, 2);
        reply_text(x, "pong");
        reply_bulk(x, rq->argc == 2 ? rq->argv[1] : slice_of(""));
    } else if (rq->argc == 2) {
        reply_bulk(x, rq->argv[1]);
    } else {
        reply_simple(x, "PONG");
    }
}

void cmd_echo(struct exec *x, struct request *rq)
{
    reply_bulk(x, rq->argv[1]);
}

void cmd_quit(struct exec *x, struct request *rq)
{
    (void)rq;
    reply_ok(x);
    x->session->close_after_reply = true;
}

void cmd_reset(struct exec *x, struct request *rq)
{
    struct session *s = x->session;

    (void)rq;
    push_reset(x);
    s->modes &= ~(unsigned)SESSION_NO_TOUCH;
    session_show(s, SHOWN_NO_EVICT, false);
    set_text(x, &s->name, (struct slice){0});
    set_protocol(x, 2);
    s->replies = REPLY_ON;
    s->authenticated = !server_password_set(x->server);
    transaction_end(x->server, s);
    select_database(x, 0);
    reply_simple(x, "RESET");
}

/* ---- CLIENT: about oneself ---- */

static void client_id(struct exec *x, struct request *rq)
{
    (void)rq;
    reply_integer(x, (int64_t)x->session->id);
}

static void client_getname(struct exec *x, struct request *rq)
{
    (void)rq;
    if (x->session->name != NULL)
        reply_text(x, x->session->name);
    else
        reply_null(x);
}

static void client_setname(struct exec *x, struct request *rq)
{
    if (!text_is_right(x, slice_of("Client names"), rq->argv[2]))
        return;
    set_text(x, &x->session->name, rq->argv[2]);
    reply_ok(x);
}

static void client_setinfo(struct exec *x, struct request *rq)
{
    struct slice what = rq->argv[2];
    char **field;

    if (slice_is(what, "lib-name")) {
        field = &x->session->lib_name;
    } else if (slice_is(what, "lib-ver")) {
        field = &x->session->lib_version;
    } else {
        reply_error(x, "ERR Unrecognized option '%.*s'", EXEC_QUOTED(what));
        return;
    }
    if (!text_is_right(x, what, rq->argv[3]))
        return;
    set_text(x, field, rq->argv[3]);
    reply_ok(x);
}

static void client_info(struct exec *x, struct request *rq)
{
    char line[SESSION_LINE_MAX];
    size_t len;

    (void)rq;
    len = session_line(x->session, x->now, line, sizeof line);
    reply_verbatim(x, (struct slice){(const uint8_t *)line, len});
}

static void client_reply(struct exec *x, struct request *rq)
{
    struct session *s = x->session;

    if (slice_is(rq->argv[2], "on")) {
        s->replies = REPLY_ON;
        reply_ok(x);
    } else if (slice_is(rq->argv[2], "off")) {
        s->replies = REPLY_OFF;
    } else if (slice_is(rq->argv[2], "skip")) {
        if (s->replies != REPLY_OFF)
            s->replies = REPLY_SKIP_NEXT;
    } else {
        reply_syntax_error(x);
    }
}

/* ---- CLIENT LIST ---- */

/* What TYPE may name. None of our clients is a master or a replica. */
static bool is_client_type(struct slice word)
{
    return slice_is(word, "normal") || slice_is(word, "master") || slice_is(word, "replica") ||
           slice_is(word, "slave") || slice_is(word, "pubsub");
}

/* type NULL: any. */
static bool is_of_type(const struct session *s, const struct slice *type)
{
    bool subscribed = atomic_load_explicit(&s->shown, memory_order_relaxed) & SHOWN_PUBSUB;

    return type == NULL || slice_is(*type, subscribed ? "pubsub" : "normal");
}

/* In order, so that a million ids and ten thousand clients are no ten thousand million comparisons. */
struct id_list {
    int64_t *ids; /* NULL: all of them */
    size_t len;
};

static int by_value(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

static bool is_wanted(const struct session *s, const struct id_list *list, const struct slice *type)
{
    int64_t id = (int64_t)s->id;

    if (list->ids == NULL)
        return is_of_type(s, type);
    return bsearch(&id, list->ids, list->len, sizeof id, by_value) != NULL;
}

/* Lines of all sessions, or of those with these ids, or of a type. */
static void list_sessions(struct exec *x, const struct id_list *ids, const struct slice *type)
{
    struct out lines = {.limit = x->out->limit};

    clients_lock(x->server->registry);
    for (struct session *s = clients_first(x->server->registry); s != NULL; s = clients_next(s)) {
        char *line;

        if (!is_wanted(s, ids, type))
            continue;
        line = (char *)out_room(&lines, SESSION_LINE_MAX);
        out_commit(&lines, (uint8_t *)line + session_line(s, x->now, line, SESSION_LINE_MAX));
    }
    clients_unlock(x->server->registry);
    if (!lines.failed)
        reply_verbatim(x, (struct slice){lines.data, lines.len});
    x->out->failed |= lines.failed;
    x->out->over |= lines.over;
    out_free(&lines);
}

/* The words from `first` on, of which there is one. False: one is no id, or memory is short. */
static bool read_ids(const struct request *rq, uint32_t first, struct id_list *list)
{
    if ((list->ids = calloc(rq->argc - first, sizeof *list->ids)) == NULL)
        return false;
    for (uint32_t i = first; i < rq->argc; i++) {
        int64_t *id = &list->ids[list->len++];

        if (!slice_to_i64(rq->argv[i], id) || *id < 0)
            return false;
    }
    qsort(list->ids, list->len, sizeof *list->ids, by_value);
    return true;
}

static void list_by_id(struct exec *x, const struct request *rq)
{
    struct id_list list = {0};

    if (read_ids(rq, 3, &list))
        list_sessions(x, &list, NULL);
    else
        reply_error(x, "ERR Invalid client ID");
    free(list.ids);
}

static void client_list(struct exec *x, struct request *rq)
{
    const struct id_list all = {0};

    if (rq->argc == 2) {
        list_sessions(x, &all, NULL);
    } else if (rq->argc == 4 && slice_is(rq->argv[2], "type")) {
        if (!is_client_type(rq->argv[3]))
            reply_error(x, "ERR Unknown client type '%.*s'", EXEC_QUOTED(rq->argv[3]));
        else
            list_sessions(x, &all, &rq->argv[3]);
    } else if (rq->argc > 3 && slice_is(rq->argv[2], "id")) {
        list_by_id(x, rq);
    } else {
        reply_syntax_error(x);
    }
}

/* ---- CLIENT KILL ---- */

struct kill_filter {
    uint64_t id; /* 0: any */
    const struct slice *address, *local_address, *type;
    bool skip_me;
};

static bool is_address(const struct slice *wanted, const char *address)
{
    return wanted == NULL || slice_equals(*wanted, slice_of(address));
}

static bool is_target(const struct exec *x, const struct session *s, const struct kill_filter *f)
{
    if (!is_of_type(s, f->type) || (f->skip_me && s == x->session) || (f->id != 0 && f->id != s->id))
        return false;
    return is_address(f->address, s->address) && is_address(f->local_address, s->local_address);
}

/* Marks the targets; their workers close them. Returns how many. */
static int64_t kill_sessions(struct exec *x, const struct kill_filter *filter)
{
    struct server *server = x->server;
    bool concerned[256] = {0};
    int64_t killed = 0;

    clients_lock(server->registry);
    for (struct session *s = clients_first(server->registry); s != NULL; s = clients_next(s)) {
        if (!is_target(x, s, filter))
            continue;
        killed++;
        if (s == x->session) {
            s->close_after_reply = true;
            continue;
        }
        atomic_store_explicit(&s->killed, true, memory_order_relaxed);
        concerned[s->worker] = true;
    }
    clients_unlock(server->registry);
    for (unsigned i = 0; i < server->workers_len; i++) {
        if (concerned[i])
            worker_notice_killed(server->workers[i]);
    }
    return killed;
}

/* One option and its value. False: answered. */
static bool kill_option(struct exec *x, struct kill_filter *f, const struct slice *option,
                        const struct slice *value)
{
    int64_t id;

    if (slice_is(*option, "id")) {
        if (!slice_to_i64(*value, &id) || id < 1) {
            reply_error(x, "ERR client-id should be greater than 0");
            return false;
        }
        f->id = (uint64_t)id;
    } else if (slice_is(*option, "type")) {
        if (!is_client_type(*value)) {
            reply_error(x, "ERR Unknown client type '%.*s'", EXEC_QUOTED(*value));
            return false;
        }
        f->type = value;
    } else if (slice_is(*option, "addr")) {
        f->address = value;
    } else if (slice_is(*option, "laddr")) {
        f->local_address = value;
    } else if (slice_is(*option, "user")) {
        if (!slice_equals(*value, slice_of("default"))) {
            reply_error(x, "ERR No such user '%.*s'", EXEC_QUOTED(*value));
            return false;
        }
    } else if (slice_is(*option, "skipme") && (slice_is(*value, "yes") || slice_is(*value, "no"))) {
        f->skip_me = slice_is(*value, "yes");
    } else {
        reply_syntax_error(x);
        return false;
    }
    return true;
}

static void client_kill(struct exec *x, struct request *rq)
{
    struct kill_filter filter = {.skip_me = true};

    if (rq->argc == 3) { /* the old form: an address, which may be one's own */
        filter = (struct kill_filter){.address = &rq->argv[2]};
        if (kill_sessions(x, &filter) > 0)
            reply_ok(x);
        else
            reply_error(x, "ERR No such client");
        return;
    }
    if (rq->argc % 2 != 0) {
        reply_syntax_error(x);
        return;
    }
    for (uint32_t i = 2; i < rq->argc; i += 2) {
        if (!kill_option(x, &filter, &rq->argv[i], &rq->argv[i + 1]))
            return;
    }
    reply_integer(x, kill_sessions(x, &filter));
}

/* ---- CLIENT ---- */

static const struct subcommand client_subcommands[] = {
    {"caching", "client|caching", 3, client_caching},
    {"getredir", "client|getredir", 2, client_getredir},
    {"tracking", "client|tracking", -3, client_tracking},
    {"trackinginfo", "client|trackinginfo", 2, client_trackinginfo},
    {"pause", "client|pause", -3, client_pause},
    {"unpause", "client|unpause", 2, client_unpause},
    {"unblock", "client|unblock", -3, client_unblock},
    {"no-evict", "client|no-evict", 3, client_no_evict},
    {"no-touch", "client|no-touch", 3, client_no_touch},
    {"id", "client|id", 2, client_id},
    {"getname", "client|getname", 2, client_getname},
    {"setname", "client|setname", 3, client_setname},
    {"setinfo", "client|setinfo", 4, client_setinfo},
    {"info", "client|info", 2, client_info},
    {"list", "client|list", -2, client_list},
    {"kill", "client|kill", -3, client_kill},
    {"reply", "client|reply", 3, client_reply},
    {0},
};

static const char *const client_help[] = {
    "CACHING (YES|NO)",
    "    Whether the next command's keys are tracked, in OPTIN and OPTOUT mode.",
    "GETREDIR",
    "    To whom invalidations are redirected: 0 for nobody, -1 without tracking.",
    "GETNAME",
    "    The name of this connection.",
    "ID",
    "    The number of this connection.",
    "INFO",
    "    The line that LIST prints for this connection.",
    "KILL <ip:port>",
    "    Closes the connection from that address.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Closes all connections that fit every option:",
    "    * ID <number>",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "    * USER <name>",
    "    * SKIPME (YES|NO): whether this one is spared (default: yes)",
    "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB) | ID <number> [<number> ...]]",
    "    One line about each connection.",
    "NO-EVICT (ON|OFF)",
    "    Whether maxmemory-clients spares this connection.",
    "NO-TOUCH (ON|OFF)",
    "    Whether what this connection reads counts as used.",
    "PAUSE <milliseconds> [WRITE|ALL]",
    "    Lets the requests of all clients, or only their writes, wait.",
    "REPLY (ON|OFF|SKIP)",
    "    Whether this connection is answered; SKIP leaves out the next answer.",
    "SETINFO (LIB-NAME|LIB-VER) <value>",
    "    Notes which client library this is.",
    "SETNAME <name>",
    "    Names this connection.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
    "         [OPTIN] [OPTOUT] [NOLOOP]",
    "    Whether this connection is told when keys it has read change.",
    "TRACKINGINFO",
    "    How this connection tracks.",
    "UNBLOCK <number> [TIMEOUT|ERROR]",
    "    Ends the waiting of a connection.",
    "UNPAUSE",
    "    Ends a pause before its time.",
    NULL,
};

void cmd_client(struct exec *x, struct request *rq)
{
    static const struct command_family family = {"CLIENT", "client|help", client_subcommands, client_help};

    command_family_run(x, rq, &family);
}
