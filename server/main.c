/* main.c - options, then the modules in order, then run, then all of it back. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/log.h"
#include "server/pidfile.h"
#include "server/server.h"

static int refuse(const char *why)
{
    fprintf(stderr, "corrald: %s\n", why);
    return 1;
}

/* Whom the option `user` names. False: err says why it cannot be. *user is NULL when there is no need. */
static bool find_user(const char *name, struct passwd **user, char *err, size_t err_len)
{
    *user = NULL;
    if (name[0] == '\0')
        return true;
    if ((*user = getpwnam(name)) == NULL) {
        snprintf(err, err_len, "there is no user '%.100s': create it, or choose another --user", name);
        return false;
    }
    if ((*user)->pw_uid == geteuid()) {
        *user = NULL;
        return true;
    }
    if (geteuid() == 0)
        return true;
    snprintf(err, err_len, "only root can become user '%.100s': leave --user out, or start as root", name);
    return false;
}

/* For good: the groups first, as later there is no right to it any more. The log
 * goes along, since SIGHUP opens it again. */
static bool become(const struct passwd *user, const char *logfile, struct pidfile *pidfile)
{
    if (user == NULL)
        return true;
    if (logfile[0] != '\0' && chown(logfile, user->pw_uid, user->pw_gid) != 0)
        return false;
    return pidfile_give(pidfile, user->pw_uid, user->pw_gid) &&
           initgroups(user->pw_name, user->pw_gid) == 0 && setgid(user->pw_gid) == 0 &&
           setuid(user->pw_uid) == 0;
}

/* What the node needs from the outside once its ports are open. */
static bool settle(const struct options *o, const struct passwd *user, struct pidfile *pidfile, char *err,
                   size_t err_len)
{
    if (o->daemonize && daemon(1, 0) != 0) {
        snprintf(err, err_len, "cannot go to the background: %s", strerror(errno));
        return false;
    }
    if (!pidfile_write(pidfile)) {
        snprintf(err, err_len, "cannot write pidfile %s: %s", o->pidfile, strerror(errno));
        return false;
    }
    if (!become(user, o->logfile, pidfile)) {
        snprintf(err, err_len, "cannot become user '%.100s': %s", o->user, strerror(errno));
        return false;
    }
    return true;
}

static int run(struct options *o)
{
    char err[OPTION_ERROR_MAX];
    struct passwd *user;
    struct pidfile pidfile;
    struct server *server;
    int code = 1;

    if (!log_open(o->logfile)) {
        snprintf(err, sizeof err, "cannot open logfile %.200s: %s", o->logfile, strerror(errno));
        return refuse(err);
    }
    log_set_level((enum log_level)o->loglevel);
    if (!find_user(o->user, &user, err, sizeof err) || !pidfile_claim(&pidfile, o->pidfile, err, sizeof err))
        return refuse(err);
    if ((server = server_new(o)) != NULL) {
        if (settle(&server->options, user, &pidfile, err, sizeof err))
            code = server_run(server);
        else
            refuse(err);
    }
    pidfile_remove(&pidfile);
    server_free(&server);
    return code;
}

int main(int argc, char **argv)
{
    struct options options;
    struct option_error err;
    int code = 0;

    options_defaults(&options);
    options.policy_ok = server_policy_ok;
    switch (options_parse_args(&options, argc, argv, &err)) {
    case OPTIONS_RUN: code = run(&options); break;
    case OPTIONS_SHOW_HELP: options_print_help(stdout); break;
    case OPTIONS_SHOW_VERSION: options_print_version(stdout); break;
    case OPTIONS_SHOW_MAN: options_print_man(stdout); break;
    case OPTIONS_SHOW_SAMPLE: options_print_sample(stdout); break;
    case OPTIONS_WRONG: code = refuse(err.text); break;
    }
    options_free(&options);
    return code;
}
