#include "server/origin/rules.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "config.h"

enum {
    WORDS_MAX = 512,
    REDIS_PORT = 6379,
    TTL_S = 60,
    TIMEOUT_MS = 1000,
    IN_FLIGHT = 64,
    RETRIES = 2,
    NEGATIVE_TTL_S = 5,
};

struct reader {
    char *at; /* where the next string goes in rules->text, which has room for three times all words */
    char *err;
    size_t err_len;
};

__attribute__((format(printf, 2, 3))) static bool refuse(struct reader *r, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(r->err, r->err_len, format, args);
    va_end(args);
    return false;
}

static const char *keep(struct reader *r, const char *text, size_t len)
{
    char *kept = r->at;

    memcpy(kept, text, len);
    kept[len] = '\0';
    r->at += len + 1;
    return kept;
}

/* ---- settings ---- */

static const struct setting {
    const char *name;
    size_t offset;
    long min, max;
    const char *unit;
} settings[] = {
#define SETTING(name, field, min, max, unit)                                                                 \
    {                                                                                                        \
        name, offsetof(struct origin_rule, field), min, max, unit                                            \
    }
    SETTING("ttl", ttl_s, 0, 2147483, "seconds"),
    SETTING("timeout", timeout_ms, 1, 60000, "milliseconds"),
    SETTING("in-flight", in_flight, 1, 10000, "requests"),
    SETTING("retries", retries, 0, 10, "retries"),
    SETTING("negative-ttl", negative_ttl_s, 0, 86400, "seconds"),
    SETTING("grace", grace_ms, 0, 604800000, "milliseconds"),
#undef SETTING
};

static const struct setting *setting_named(const char *word)
{
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        if (strcasecmp(settings[i].name, word) == 0)
            return &settings[i];
    }
    return NULL;
}

static bool is_setting(const char *word)
{
    return strcasecmp(word, "write") == 0 || strcasecmp(word, "guard") == 0 || setting_named(word) != NULL;
}

static bool set_number(struct reader *r, struct origin_rule *rule, const struct setting *s, const char *value)
{
    int64_t n;

    if (!slice_to_i64(slice_of(value), &n) || n < s->min || n > s->max)
        return refuse(r, "%s of origin '%.60s' must be %ld to %ld %s, not '%.40s'", s->name, rule->glob,
                      s->min, s->max, s->unit, value);
    *(int *)(void *)((char *)rule + s->offset) = (int)n;
    return true;
}

static bool set_write(struct reader *r, struct origin_rule *rule, const char *value)
{
    if (strcasecmp(value, "off") == 0)
        rule->write = ORIGIN_WRITE_OFF;
    else if (strcasecmp(value, "through") == 0)
        rule->write = ORIGIN_WRITE_THROUGH;
    else if (strcasecmp(value, "behind") == 0)
        rule->write = ORIGIN_WRITE_BEHIND;
    else
        return refuse(r, "write of origin '%.60s' must be through, behind or off, not '%.40s'", rule->glob,
                      value);
    return true;
}

static bool set_word(struct reader *r, struct origin_rule *rule, const char *name, const char *value)
{
    if (strcasecmp(name, "write") == 0)
        return set_write(r, rule, value);
    rule->guard = keep(r, value, strlen(value));
    return true;
}

/* ---- urls ---- */

/* The url with what stands before '@' left out. */
static const char *without_password(struct reader *r, const char *url)
{
    const char *slashes = strstr(url, "://"), *from, *at;
    char *kept;

    if (slashes == NULL)
        return url;
    from = slashes + 3;
    at = from + strcspn(from, "/@");
    if (*at != '@')
        return url;
    kept = r->at;
    keep(r, url, (size_t)(from - url));
    r->at--;
    keep(r, at + 1, strlen(at + 1));
    return kept;
}

static bool read_port(struct reader *r, struct origin_rule *rule, const char *text, size_t len)
{
    uint64_t port;

    if (!slice_to_u64((struct slice){(const uint8_t *)text, len}, &port) || port < 1 || port > 65535)
        return refuse(r, "'%.*s' is no port, in the url of origin '%.60s'", len < 20 ? (int)len : 20, text,
                      rule->glob);
    rule->port = (int)port;
    return true;
}

/* "host", "host:port", "[::1]:port" */
static bool read_host(struct reader *r, struct origin_rule *rule, const char *from, size_t len)
{
    const char *end = from + len, *host = from, *host_end, *colon;

    if (len > 0 && *from == '[') {
        host++;
        host_end = memchr(from, ']', len);
        if (host_end == NULL || (host_end + 1 < end && host_end[1] != ':'))
            return refuse(r, "the address in the url of origin '%.60s' has no closing ']'", rule->glob);
        colon = host_end + 1 < end ? host_end + 1 : NULL;
    } else {
        colon = memchr(from, ':', len);
        host_end = colon != NULL ? colon : end;
    }
    if (host_end == host)
        return refuse(r, "the url of origin '%.60s' names no host", rule->glob);
    rule->host = keep(r, host, (size_t)(host_end - host));
    rule->port = REDIS_PORT;
    return colon == NULL || read_port(r, rule, colon + 1, (size_t)(end - colon - 1));
}

static bool read_db(struct reader *r, struct origin_rule *rule, const char *text)
{
    uint64_t db;

    if (*text == '\0')
        return true;
    if (!slice_to_u64(slice_of(text), &db) || db > 1000000)
        return refuse(r, "'%.40s' is no database number, in the url of origin '%.60s'", text, rule->glob);
    rule->db = (int)db;
    return true;
}

/* [:password@]; returns what follows it. */
static const char *read_password(struct reader *r, struct origin_rule *rule, const char *from)
{
    size_t len = strcspn(from, "/@");
    const char *colon = memchr(from, ':', len);

    if (from[len] != '@')
        return from;
    if (colon != NULL)
        rule->password = keep(r, colon + 1, (size_t)(from + len - colon - 1));
    return from + len + 1;
}

static bool read_redis_url(struct reader *r, struct origin_rule *rule, const char *from)
{
    size_t len;

    from = read_password(r, rule, from);
    len = strcspn(from, "/");
    return read_host(r, rule, from, len) && (from[len] == '\0' || read_db(r, rule, from + len + 1));
}

/* unix://[:password@]/path/to/socket[?db=n] */
static bool read_unix_url(struct reader *r, struct origin_rule *rule, const char *from)
{
    size_t len;

    from = read_password(r, rule, from);
    len = strcspn(from, "?");
    if (from[0] != '/')
        return refuse(r, "the url of origin '%.60s' needs a whole path: unix:///run/redis.sock", rule->glob);
    rule->path = keep(r, from, len);
    if (from[len] == '\0')
        return true;
    if (strncmp(from + len, "?db=", 4) != 0)
        return refuse(r, "only ?db=<number> may follow the path in the url of origin '%.60s'", rule->glob);
    return read_db(r, rule, from + len + 4);
}

static bool read_http_url(struct reader *r, struct origin_rule *rule)
{
#ifdef CORRAL_CURL
    const char *key = strstr(rule->url, "{key}");

    if (key == NULL)
        return refuse(r, "the url of origin '%.60s' must say where the key goes: http://host/items/{key}",
                      rule->glob);
    if (strstr(key + 1, "{key}") != NULL)
        return refuse(r, "the url of origin '%.60s' has more than one {key}", rule->glob);
    rule->kind = ORIGIN_HTTP;
    return true;
#else
    return refuse(r,
                  "origin '%.60s' needs HTTP, and this corrald was built without it: install "
                  "libcurl4-openssl-dev, run ./configure and make",
                  rule->glob);
#endif
}

static bool read_url(struct reader *r, struct origin_rule *rule)
{
    const char *url = rule->url;

    rule->shown = without_password(r, url);
    rule->kind = ORIGIN_RESP;
    if (strncasecmp(url, "redis://", 8) == 0)
        return read_redis_url(r, rule, url + 8);
    if (strncasecmp(url, "unix://", 7) == 0)
        return read_unix_url(r, rule, url + 7);
    if (strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0)
        return read_http_url(r, rule);
    return refuse(r,
                  "'%.80s' is not the url of an origin: redis://host:port/db, unix:///path, "
                  "http://host/items/{key} and https:// are",
                  rule->shown);
}

/* ---- rules ---- */

/* Reads the settings after glob and url; returns how many words they were, -1 when refused. */
static int read_settings(struct reader *r, struct origin_rule *rule, char *const *words, int n)
{
    int i = 0;

    while (i < n && is_setting(words[i])) {
        const struct setting *s = setting_named(words[i]);

        if (i + 1 >= n) {
            refuse(r, "%s of origin '%.60s' has no value", words[i], rule->glob);
            return -1;
        }
        if (!(s != NULL ? set_number(r, rule, s, words[i + 1]) : set_word(r, rule, words[i], words[i + 1])))
            return -1;
        i += 2;
    }
    return i;
}

/* One rule from words[0] on; returns how many words it took, -1 when refused. */
static int read_rule(struct reader *r, struct origin_rule *rule, char *const *words, int n)
{
    int took;

    *rule = (struct origin_rule){.ttl_s = TTL_S,
                                 .timeout_ms = TIMEOUT_MS,
                                 .in_flight = IN_FLIGHT,
                                 .retries = RETRIES,
                                 .negative_ttl_s = NEGATIVE_TTL_S};
    rule->glob = keep(r, words[0], strlen(words[0]));
    if (n < 2) {
        refuse(r, "origin '%.60s' has no url", rule->glob);
        return -1;
    }
    rule->url = keep(r, words[1], strlen(words[1]));
    if (!read_url(r, rule))
        return -1;
    took = read_settings(r, rule, words + 2, n - 2);
    if (took < 0)
        return -1;
    return took + 2;
}

/* A word that is meant for a setting, and is none, would be taken for a glob. */
static bool looks_like_rule(struct reader *r, char *const *words, int n)
{
    if (n >= 2 && strstr(words[1], "://") == NULL)
        return refuse(r,
                      "'%.60s' is neither a setting (ttl, timeout, in-flight, retries, negative-ttl, "
                      "grace, write, guard) nor a glob with a url behind it",
                      words[0]);
    return true;
}

static bool read_rules(struct reader *r, struct origin_rules *rules, char *const *words, int n)
{
    for (int i = 0; i < n;) {
        int took;

        if (strcmp(words[i], ";") == 0) {
            i++;
            continue;
        }
        if (rules->len == ORIGIN_RULES_MAX)
            return refuse(r, "there may be %d origins at most", ORIGIN_RULES_MAX);
        if (!looks_like_rule(r, words + i, n - i))
            return false;
        took = read_rule(r, &rules->rules[rules->len], words + i, n - i);
        if (took < 0)
            return false;
        rules->len++;
        i += took;
    }
    return true;
}

/* Splits in place at blanks; a ';' at the end of a word is a word of its own. */
static int split(char *text, char **words)
{
    static char semicolon[] = ";";
    int n = 0;

    for (char *p = text; n + 1 < WORDS_MAX;) {
        size_t len;

        while (isspace((unsigned char)*p))
            p++;
        if (*p == '\0')
            break;
        words[n++] = p;
        for (len = 0; p[len] != '\0' && !isspace((unsigned char)p[len]); len++)
            ;
        p += len;
        if (*p != '\0')
            *p++ = '\0';
        if (len > 1 && words[n - 1][len - 1] == ';') {
            words[n - 1][len - 1] = '\0';
            words[n++] = semicolon;
        }
    }
    return n;
}

struct origin_rules *origin_rules_new(const char *text, char *err, size_t err_len)
{
    struct origin_rules *rules = calloc(1, sizeof *rules);
    char *copy = strdup(text), **words = calloc(WORDS_MAX, sizeof *words);
    struct reader r = {.err = err, .err_len = err_len};
    bool good = false;

    if (rules != NULL)
        rules->text = malloc(4 * strlen(text) + 4 * (size_t)WORDS_MAX);
    if (rules == NULL || copy == NULL || words == NULL || rules->text == NULL) {
        refuse(&r, "out of memory");
    } else {
        r.at = rules->text;
        good = read_rules(&r, rules, words, split(copy, words));
    }
    free(words);
    free(copy);
    if (!good)
        origin_rules_free(&rules);
    return rules;
}

void origin_rules_free(struct origin_rules **rules)
{
    if (*rules == NULL)
        return;
    free((*rules)->text);
    free(*rules);
    *rules = NULL;
}

struct origin_rules *origin_rules_of(const struct origin_rule *rule)
{
    struct origin_rules *rules = calloc(1, sizeof *rules);
    struct origin_rule *r;
    size_t room = 1;
    char *at;

    if (rules == NULL)
        return NULL;
    r = &rules->rules[0];
    *r = *rule;
    rules->len = 1;
    const char **strings[] = {&r->glob, &r->url, &r->shown, &r->host, &r->path, &r->password, &r->guard};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
        room += *strings[i] != NULL ? strlen(*strings[i]) + 1 : 0;
    if ((at = rules->text = malloc(room)) == NULL) {
        free(rules);
        return NULL;
    }
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
        if (*strings[i] == NULL)
            continue;
        *strings[i] = strcpy(at, *strings[i]);
        at += strlen(at) + 1;
    }
    return rules;
}

static bool is_same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool origin_rule_equals(const struct origin_rule *a, const struct origin_rule *b)
{
    return strcmp(a->glob, b->glob) == 0 && strcmp(a->url, b->url) == 0 && a->ttl_s == b->ttl_s &&
           a->timeout_ms == b->timeout_ms && a->in_flight == b->in_flight && a->retries == b->retries &&
           a->negative_ttl_s == b->negative_ttl_s && a->grace_ms == b->grace_ms && a->write == b->write &&
           is_same_text(a->guard, b->guard);
}
