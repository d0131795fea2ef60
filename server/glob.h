/* glob.h - does a name match a pattern, as KEYS, SCAN and CONFIG GET ask. */
#ifndef CORRAL_GLOB_H
#define CORRAL_GLOB_H

#include "protocol/bytes.h"

/* * any bytes, ? one byte, [abc] [a-z] [^a] one of a set, \x the byte x. As
 * redis: a set without its bracket ends with the pattern, a reversed range is
 * turned round. Takes at most pattern x text steps, whatever the pattern. */
bool glob_matches(struct slice pattern, struct slice text);
/* The same with ASCII letters compared without case. */
bool glob_matches_nocase(struct slice pattern, struct slice text);

#endif
