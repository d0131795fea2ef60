/* standalone.c - what libraries and tools ask of a redis that is alone: who is
 * its master, when did it save, who may do what. The answers are true for a
 * node that keeps nothing on disk and follows nobody. */
#include "config.h"
#include "server/command/command.h"
#include "server/server.h"

/* ---- replication ---- */

void cmd_role(struct exec *x, struct request *rq)
{
    (void)rq;
    reply_array(x, 3);
    reply_text(x, "master");
    reply_integer(x, 0);
    reply_array(x, 0);
}

/* NO ONE is what it follows already. */
void cmd_replicaof(struct exec *x, struct request *rq)
{
    if (slice_is(rq->argv[1], "no") && slice_is(rq->argv[2], "one"))
        reply_ok(x);
    else
        reply_error(x, "ERR this node follows nobody: a cache is filled by its clients");
}

/* ---- saving ---- */

/* An OK would be believed by whoever takes a backup. */
void cmd_save(struct exec *x, struct request *rq)
{
    (void)rq;
    reply_error(x, "ERR nothing is saved: Corral keeps nothing on disk");
}

void cmd_lastsave(struct exec *x, struct request *rq)
{
    (void)rq;
    reply_integer(x, x->server->started.ms / 1000);
}

void cmd_lolwut(struct exec *x, struct request *rq)
{
    (void)rq;
    reply_verbatim(x, slice_of("  o---o---o---o\n"
                               "  |  n_n  n_n |\n"
                               "  o--(_)--(_)-o\n"
                               "\n"
                               "Corral ver. " CORRAL_VERSION "\n"));
}

/* ---- ACL: one user, who may do everything ---- */

static void acl_whoami(struct exec *x, struct request *rq)
{
    (void)rq;
    reply_text(x, "default");
}

static void acl_users(struct exec *x, struct request *rq)
{
    (void)rq;
    reply_array(x, 1);
    reply_text(x, "default");
}

/* Redis shows a hash of the password there; that there is one must do. */
static void acl_list(struct exec *x, struct request *rq)
{
    (void)rq;
    reply_array(x, 1);
    reply_text(x, server_password_set(x->server) ? "user default on #(hidden) ~* &* +@all"
                                                 : "user default on nopass ~* &* +@all");
}

static const struct subcommand acl_subcommands[] = {
    {"list", "acl|list", 2, acl_list},
    {"users", "acl|users", 2, acl_users},
    {"whoami", "acl|whoami", 2, acl_whoami},
    {0},
};

static const char *const acl_help[] = {
    "LIST",   "    The users and what they may do: there is one, who may do everything.",
    "USERS",  "    Their names.",
    "WHOAMI", "    The name of this connection's user.",
    NULL,
};

void cmd_acl(struct exec *x, struct request *rq)
{
    static const struct command_family family = {"ACL", "acl|help", acl_subcommands, acl_help};

    command_family_run(x, rq, &family);
}
