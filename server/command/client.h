/* client.h - subcommands of CLIENT that have a file of their own; connection.c has the table. */
#ifndef CORRAL_CLIENT_H
#define CORRAL_CLIENT_H

#include "server/exec.h"

command_handler client_tracking, client_trackinginfo, client_caching, client_getredir;
command_handler client_pause, client_unpause, client_unblock, client_no_evict, client_no_touch;

#endif
