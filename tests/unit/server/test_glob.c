/* test_glob.c - patterns as redis understands them, and in linear time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/glob.h"

static bool matches(const char *pattern, const char *text)
{
    return glob_matches(slice_of(pattern), slice_of(text));
}

static void plain_text_matches_itself_only(void **state)
{
    (void)state;
    assert_true(matches("", ""));
    assert_false(matches("", "a"));
    assert_true(matches("abc", "abc"));
    assert_false(matches("abc", "ab"));
    assert_false(matches("abc", "abcd"));
    assert_false(matches("abc", "abC"));
}

static void star_takes_any_bytes_and_question_mark_one(void **state)
{
    (void)state;
    assert_true(matches("*", ""));
    assert_true(matches("*", "anything"));
    assert_true(matches("**", ""));
    assert_true(matches("a*c", "ac"));
    assert_true(matches("a*c", "abcbc"));
    assert_false(matches("a*c", "abcb"));
    assert_true(matches("*a*b*", "xxaxxbxx"));
    assert_false(matches("*a*b*", "xxbxxaxx"));
    assert_true(matches("?", "x"));
    assert_false(matches("?", ""));
    assert_true(matches("a?c*", "abc"));
    assert_true(matches("*?", "ab"));
    assert_false(matches("*??", "a"));
}

static void sets_have_members_ranges_and_negation(void **state)
{
    (void)state;
    assert_true(matches("h[ae]llo", "hello"));
    assert_false(matches("h[ae]llo", "hillo"));
    assert_true(matches("h[^i]llo", "hello"));
    assert_false(matches("h[^i]llo", "hillo"));
    assert_true(matches("[a-c]", "b"));
    assert_true(matches("[c-a]", "b"));
    assert_false(matches("[a-c]", "d"));
    assert_true(matches("[a-c0-9x]9", "x9"));
    assert_true(matches("[\\]]", "]"));
    assert_true(matches("[a\\-z]", "-"));
    assert_false(matches("[a\\-z]", "m"));
    assert_true(matches("*[0-9]", "key7"));
}

static void sets_that_never_close_end_with_the_pattern(void **state)
{
    (void)state;
    assert_true(matches("[abc", "b"));
    assert_false(matches("[abc", "d"));
    assert_false(matches("[", "["));
    assert_true(matches("[^", "x"));
    assert_true(matches("[a-", "-"));
}

static void backslash_makes_a_byte_plain(void **state)
{
    (void)state;
    assert_true(matches("a\\*c", "a*c"));
    assert_false(matches("a\\*c", "abc"));
    assert_true(matches("\\?", "?"));
    assert_true(matches("\\[x]", "[x]"));
    assert_true(matches("a\\", "a\\"));
}

static void bytes_may_be_anything(void **state)
{
    static const uint8_t text[] = {'k', 0, 0xff, 'z'}, pattern[] = {'k', 0, '?', '*'};

    (void)state;
    assert_true(glob_matches((struct slice){pattern, sizeof pattern}, (struct slice){text, sizeof text}));
}

static void letters_may_be_compared_without_case(void **state)
{
    (void)state;
    assert_true(glob_matches_nocase(slice_of("MaxMem*"), slice_of("maxmemory")));
    assert_true(glob_matches_nocase(slice_of("[A-C]x"), slice_of("bX")));
    assert_false(matches("MaxMem*", "maxmemory"));
}

/* The textbook recursion would take longer than the universe has. */
static void many_stars_cost_little(void **state)
{
    char pattern[201], text[100001];

    (void)state;
    for (size_t i = 0; i < sizeof pattern - 1; i++)
        pattern[i] = i % 2 == 0 ? 'a' : '*';
    pattern[sizeof pattern - 1] = '\0';
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_true(matches(pattern, text));
    pattern[sizeof pattern - 2] = 'b';
    assert_false(matches(pattern, text));
}

/* ---- against a slow matcher that is plainly right ---- */

static bool slow_set(const char **pattern, char c)
{
    const char *p = *pattern;
    bool negated = *p == '^', found = false;

    p += negated;
    for (; *p != '\0' && *p != ']'; p++)
        found |= *p == c;
    *pattern = *p == ']' ? p + 1 : p;
    return found != negated;
}

/* Without ranges and backslashes, which the generator does not make. */
static bool slow_matches(const char *pattern, const char *text)
{
    if (*pattern == '\0')
        return *text == '\0';
    if (*pattern == '*')
        return slow_matches(pattern + 1, text) || (*text != '\0' && slow_matches(pattern, text + 1));
    if (*text == '\0')
        return false;
    if (*pattern == '[') {
        const char *rest = pattern + 1;
        return slow_set(&rest, *text) && slow_matches(rest, text + 1);
    }
    return (*pattern == '?' || *pattern == *text) && slow_matches(pattern + 1, text + 1);
}

static void fill(char *to, size_t max, const char *letters)
{
    size_t len = (size_t)rand() % max;

    for (size_t i = 0; i < len; i++)
        to[i] = letters[(size_t)rand() % strlen(letters)];
    to[len] = '\0';
}

static void agrees_with_the_slow_matcher(void **state)
{
    char pattern[9], text[9];
    unsigned hits = 0;

    (void)state;
    srand(7);
    for (int i = 0; i < 300000; i++) {
        fill(pattern, sizeof pattern, "ab**?[]^");
        fill(text, sizeof text, "ab^");
        bool want = slow_matches(pattern, text);
        if (matches(pattern, text) != want)
            fail_msg("pattern '%s' text '%s': want %d", pattern, text, want);
        hits += want;
    }
    assert_true(hits > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_text_matches_itself_only),
        cmocka_unit_test(star_takes_any_bytes_and_question_mark_one),
        cmocka_unit_test(sets_have_members_ranges_and_negation),
        cmocka_unit_test(sets_that_never_close_end_with_the_pattern),
        cmocka_unit_test(backslash_makes_a_byte_plain),
        cmocka_unit_test(bytes_may_be_anything),
        cmocka_unit_test(letters_may_be_compared_without_case),
        cmocka_unit_test(many_stars_cost_little),
        cmocka_unit_test(agrees_with_the_slow_matcher),
    };

    return cmocka_run_group_tests_name("glob", tests, NULL, NULL);
}
