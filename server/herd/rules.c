#include "server/herd/rules.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "server/glob.h"
#include "server/store/store.h"

static const char BLANKS[] = " \t\r\n";

/* One rule's words, taken one by one. */
struct words {
    const char *at, *end;
};

static struct slice next_word(struct words *w)
{
    const char *from;

    while (w->at < w->end && strchr(BLANKS, *w->at) != NULL)
        w->at++;
    from = w->at;
    while (w->at < w->end && strchr(BLANKS, *w->at) == NULL)
        w->at++;
    return (struct slice){(const uint8_t *)from, (size_t)(w->at - from)};
}

__attribute__((format(printf, 3, 4))) static bool refuse(char *why, unsigned number, const char *format, ...)
{
    size_t len = (size_t)snprintf(why, RULES_ERROR_MAX, "rule %u: ", number);
    va_list args;

    va_start(args, format);
    vsnprintf(why + len, RULES_ERROR_MAX - len, format, args);
    va_end(args);
    return false;
}

enum { QUOTED_MAX = 40 };
#define QUOTED(s) (int)((s).len < QUOTED_MAX ? (s).len : QUOTED_MAX), (const char *)(s).data

static const struct setting {
    const char *name;
    size_t at;
    uint32_t least, most;
} settings[] = {
    {"park", offsetof(struct herd_rule, park_ms), 0, RULES_PARK_MAX_MS},
    {"lease", offsetof(struct herd_rule, lease_ms), 1, STORE_LEASE_MAX_MS},
    {"grace", offsetof(struct herd_rule, grace_ms), 0, INT32_MAX},
};

static const struct setting *find_setting(struct slice word)
{
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        if (slice_is(word, settings[i].name))
            return &settings[i];
    }
    return NULL;
}

static bool set_ms(struct herd_rule *rule, const struct setting *s, struct slice value, unsigned number,
                   char *why)
{
    int64_t ms;

    if (!slice_to_i64(value, &ms) || ms < s->least || ms > s->most)
        return refuse(why, number, "%s takes %u to %u milliseconds, not '%.*s'", s->name, s->least, s->most,
                      QUOTED(value));
    *(uint32_t *)(void *)((char *)rule + s->at) = (uint32_t)ms;
    return true;
}

static bool set_early(struct herd_rule *rule, struct slice value, unsigned number, char *why)
{
    rule->early = slice_is(value, "on");
    if (rule->early || slice_is(value, "off"))
        return true;
    return refuse(why, number, "early is on or off, not '%.*s'", QUOTED(value));
}

static bool parse_rule(struct herd_rule *rule, struct slice glob, struct words *w, unsigned number, char *why)
{
    struct slice word;

    if (glob.len >= sizeof rule->glob)
        return refuse(why, number, "its pattern is longer than %zu bytes", sizeof rule->glob - 1);
    *rule = (struct herd_rule){.park_ms = RULES_PARK_DEFAULT_MS};
    memcpy(rule->glob, glob.data, glob.len);
    while ((word = next_word(w)).len > 0) {
        const struct setting *s = find_setting(word);
        struct slice value = next_word(w);

        if (s == NULL && !slice_is(word, "early"))
            return refuse(why, number, "'%.*s' is none of park, lease, grace and early", QUOTED(word));
        if (value.len == 0)
            return refuse(why, number, "'%.*s' needs a value", QUOTED(word));
        if (!(s != NULL ? set_ms(rule, s, value, number, why) : set_early(rule, value, number, why)))
            return false;
    }
    return true;
}

bool rules_parse(const char *text, struct herd_rules *rules, char why[RULES_ERROR_MAX])
{
    *rules = (struct herd_rules){0};
    while (*text != '\0') {
        size_t len = strcspn(text, ";");
        struct words w = {text, text + len};
        struct slice glob = next_word(&w);

        if (glob.len > 0) {
            struct herd_rule *rule = &rules->rules[rules->len];

            if (rules->len == RULES_MAX)
                return refuse(why, RULES_MAX + 1, "there can be no more than %d", RULES_MAX);
            if (!parse_rule(rule, glob, &w, rules->len + 1, why))
                return false;
            rules->shapes |= rule->grace_ms > 0;
            rules->len++;
        }
        text += len + (text[len] == ';');
    }
    return true;
}

const struct herd_rule *rules_find(const struct herd_rules *rules, struct slice name)
{
    for (unsigned i = 0; i < rules->len; i++) {
        const struct herd_rule *rule = &rules->rules[i];

        if (glob_matches((struct slice){(const uint8_t *)rule->glob, strlen(rule->glob)}, name))
            return rule;
    }
    return NULL;
}
