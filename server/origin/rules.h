/* rules.h - which keys come from which origin: the option `origin`, read.
 *
 *   origin <glob> <url> [ttl s] [timeout ms] [in-flight n] [retries n]
 *          [negative-ttl s] [grace ms] [write through|behind|off] [guard key]
 *
 * Several rules follow one another, with a ';' between them or without. The
 * first whose glob matches a key is the key's. */
#ifndef CORRAL_ORIGIN_RULES_H
#define CORRAL_ORIGIN_RULES_H

#include "protocol/bytes.h"

enum { ORIGIN_RULES_MAX = 16 };

enum origin_kind { ORIGIN_RESP, ORIGIN_HTTP };
enum origin_write { ORIGIN_WRITE_OFF, ORIGIN_WRITE_THROUGH, ORIGIN_WRITE_BEHIND };

struct origin_rule {
    const char *glob, *url; /* as they were written */
    const char *shown;      /* the url without its password, for logs and INFO */
    enum origin_kind kind;
    const char *host; /* RESP over TCP: name or address; NULL: over the socket at `path` */
    int port;
    const char *path;
    const char *password; /* RESP: NULL for none */
    int db;               /* RESP */
    int ttl_s;            /* of what is fetched; 0: it has no expiry */
    int timeout_ms;       /* of one attempt */
    int in_flight;
    int retries;
    int negative_ttl_s; /* how long an absent value is remembered; 0: not at all */
    int grace_ms;
    enum origin_write write;
    const char *guard; /* the key of a Bloom filter of what it has; NULL: none */
};

struct origin_rules {
    unsigned len;
    struct origin_rule rules[ORIGIN_RULES_MAX];
    char *text; /* that all strings lie in */
};

/* NULL, with what is wrong in err. A text without words is no rules. */
struct origin_rules *origin_rules_new(const char *text, char *err, size_t err_len);
void origin_rules_free(struct origin_rules **rules);
/* Just this one, with strings of its own. NULL when memory is short. */
struct origin_rules *origin_rules_of(const struct origin_rule *rule);

/* Two rules that say the same, word for word in effect. */
bool origin_rule_equals(const struct origin_rule *a, const struct origin_rule *b);

#endif
