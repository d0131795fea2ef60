/* options_rewrite.h - CONFIG REWRITE: the configuration file, as the node runs now. */
#ifndef CORRAL_OPTIONS_REWRITE_H
#define CORRAL_OPTIONS_REWRITE_H

#include "server/options.h"

/* Rewrites the file at o->file so that a start from it gives the options as
 * they are in *o. Comments, order and lines that still say what is so stay as
 * they stand; a changed option changes where it first stands, its later lines
 * go; options that are not at their default and not in the file are added at
 * its end. The file is replaced as a whole, or not at all, and keeps its
 * permissions. Does I/O and waits for the disk. False: err says why. */
bool options_rewrite(const struct options *o, struct option_error *err);

#endif
