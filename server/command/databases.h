/* databases.h - numbered databases, as the commands that name one see them. */
#ifndef CORRAL_COMMAND_DATABASES_H
#define CORRAL_COMMAND_DATABASES_H

#include "server/exec.h"

/* The number of a database there is. False: answered with what is wrong. */
bool read_database(struct exec *x, struct slice word, int *db);
/* The session's from now on, and that of the rest of this request. */
void select_database(struct exec *x, int db);

#endif
