/* glob.c - matching with one step back instead of recursion.
 *
 * A star tries to match nothing first; on a mismatch the last star takes one
 * byte more and matching goes on after it. Earlier stars need never be
 * revisited: whatever they could give up, the last one can take as well. That
 * bounds the work by |pattern| * |text|, where the textbook recursion is
 * exponential in the number of stars and a client's KEYS could stop a worker. */
#include "server/glob.h"

static uint8_t folded(uint8_t c, bool nocase)
{
    return nocase && c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

/* Reads one member of a set, undoing a backslash. *at is inside the pattern. */
static uint8_t set_member(struct slice pattern, size_t *at)
{
    if (pattern.data[*at] == '\\' && *at + 1 < pattern.len)
        ++*at;
    return pattern.data[(*at)++];
}

/* *at is after the '['; leaves it after the ']' or at the end of the pattern. */
static bool set_has(struct slice pattern, size_t *at, uint8_t c, bool nocase)
{
    bool negated = *at < pattern.len && pattern.data[*at] == '^';
    bool found = false;

    if (negated)
        ++*at;
    while (*at < pattern.len && pattern.data[*at] != ']') {
        bool escaped = pattern.data[*at] == '\\';
        uint8_t low = set_member(pattern, at), high = low;

        if (!escaped && *at + 1 < pattern.len && pattern.data[*at] == '-') {
            high = pattern.data[*at + 1];
            *at += 2;
        }
        low = folded(low, nocase);
        high = folded(high, nocase);
        if (low <= high ? low <= c && c <= high : high <= c && c <= low)
            found = true;
    }
    if (*at < pattern.len)
        ++*at;
    return found != negated;
}

/* Does the element of the pattern at *at, which is no star, take c? Moves past it. */
static bool element_takes(struct slice pattern, size_t *at, uint8_t c, bool nocase)
{
    uint8_t want = pattern.data[(*at)++];

    c = folded(c, nocase);
    if (want == '?')
        return true;
    if (want == '[')
        return set_has(pattern, at, c, nocase);
    if (want == '\\' && *at < pattern.len)
        want = pattern.data[(*at)++];
    return folded(want, nocase) == c;
}

static bool matches(struct slice pattern, struct slice text, bool nocase)
{
    size_t p = 0, t = 0;
    size_t star_p = 0, star_t = 0; /* after the last star, and what it has taken up to */
    bool star = false;

    while (t < text.len) {
        if (p < pattern.len && pattern.data[p] == '*') {
            star = true;
            star_p = ++p;
            star_t = t;
            continue;
        }
        if (p < pattern.len && element_takes(pattern, &p, text.data[t], nocase)) {
            t++;
            continue;
        }
        if (!star || star_p == pattern.len) /* nothing to give, or a last star that takes all */
            return star;
        p = star_p;
        t = ++star_t;
    }
    while (p < pattern.len && pattern.data[p] == '*')
        p++;
    return p == pattern.len;
}

bool glob_matches(struct slice pattern, struct slice text)
{
    return matches(pattern, text, false);
}

bool glob_matches_nocase(struct slice pattern, struct slice text)
{
    return matches(pattern, text, true);
}
