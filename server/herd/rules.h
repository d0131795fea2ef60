/* rules.h - which keys of plain clients are protected, and how: the option herd-protect.
 *
 *   <glob> [park <ms>] [lease <ms>] [grace <ms>] [early on|off]
 *
 * Several are separated by ';' (and so no glob holds one, nor a blank). The
 * first that matches a key counts. Pure: text to struct. */
#ifndef CORRAL_RULES_H
#define CORRAL_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/bytes.h"
#include "server/herd/ledger.h"

enum { RULES_MAX = 64, RULES_PARK_DEFAULT_MS = 1000, RULES_PARK_MAX_MS = 600000, RULES_ERROR_MAX = 200 };

struct herd_rule {
    char glob[TALLY_GLOB_MAX];
    uint32_t park_ms;  /* how long others wait for a fill; 0: not at all */
    uint32_t lease_ms; /* 0: learned from fills */
    uint32_t grace_ms; /* how long a value is kept after its time */
    bool early;        /* one reader is sent to refresh it before its time is over */
    struct tally *tally;
};

struct herd_rules {
    struct herd_rules *next; /* of those no longer in effect */
    unsigned len;
    bool shapes; /* some rule has a grace: values that are stored are looked at */
    struct herd_rule rules[RULES_MAX];
};

/* False: `why` says which rule is wrong and what about it. Tallies are left NULL. */
bool rules_parse(const char *text, struct herd_rules *rules, char why[RULES_ERROR_MAX]);
/* NULL: none matches. */
const struct herd_rule *rules_find(const struct herd_rules *rules, struct slice name);

#endif
