/* main.c - options, then the modules in order, then run, then all of it back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/log.h"
#include "server/server.h"

static bool write_pidfile(const char *path)
{
    FILE *f;

    if (path[0] == '\0')
        return true;
    if ((f = fopen(path, "we")) == NULL) {
        fprintf(stderr, "corrald: cannot write pidfile %s: %s\n", path, strerror(errno));
        return false;
    }
    fprintf(f, "%d\n", (int)getpid());
    return fclose(f) == 0;
}

/* What the node needs from the outside once it is known to start. */
static bool settle(const struct options *o)
{
    if (o->daemonize && daemon(1, 0) != 0) {
        fprintf(stderr, "corrald: cannot go to the background: %s\n", strerror(errno));
        return false;
    }
    return write_pidfile(o->pidfile);
}

static int run(struct options *o)
{
    struct server *server;
    int code = 1;

    if (!log_open(o->logfile)) {
        fprintf(stderr, "corrald: cannot open logfile %s: %s\n", o->logfile, strerror(errno));
        return 1;
    }
    log_set_level((enum log_level)o->loglevel);
    if ((server = server_new(o)) == NULL)
        return 1;
    if (settle(&server->options)) {
        code = server_run(server);
        if (server->options.pidfile[0] != '\0')
            unlink(server->options.pidfile);
    }
    server_free(&server);
    return code;
}

static int refuse(const char *why)
{
    fprintf(stderr, "corrald: %s\n", why);
    return 1;
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
