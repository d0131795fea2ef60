/* test_command_info.c - COMMAND tells of each command what redis-server tells of it.
 *
 * Asks a fresh Corral and a fresh redis-server, and compares what both have.
 * Where they differ on purpose, the reason stands in `differs` below. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include <hiredis/hiredis.h>

#include <cmocka.h>

#include "tests/unit/support/spawn.h"

enum { FIELDS = 8, NAME = 0, ARITY, FLAGS, FIRST_KEY, LAST_KEY, KEY_STEP, CATEGORIES, TIPS, SUBCOMMANDS = 9 };

static const char *const field_names[FIELDS] = {"name",     "arity",    "flags",      "first key",
                                                "last key", "key step", "categories", "tips"};

static const struct {
    const char *command;
    int field;
    const char *why;
} differs[] = {
    {"memory", FLAGS, "an example of the form: none differs so far"},
};

static struct spawned corral, redis;
static redisContext *ours, *theirs;

/* ---- starting both ---- */

static redisContext *open_link(int port)
{
    struct timeval patience = {.tv_sec = 10};
    redisContext *link = redisConnectWithTimeout("127.0.0.1", port, patience);

    assert_non_null(link);
    assert_int_equal(link->err, 0);
    redisSetTimeout(link, patience);
    return link;
}

static int start_both(void **state)
{
    static char corrald[SPAWN_PATH_MAX], server[SPAWN_PATH_MAX];
    char name[SPAWN_PATH_MAX], ports[2][16];
    const char *bin = getenv("CORRAL_BIN");
    int port = spawn_free_port(), other;

    (void)state;
    snprintf(name, sizeof name, "%s/corrald", bin != NULL ? bin : "bin");
    if (!spawn_find(name, corrald) || !spawn_find("redis-server", server))
        return 0; /* the tests skip themselves */
    snprintf(ports[0], sizeof ports[0], "%d", port);
    if (!spawn_start(&corral, (char *[]){corrald, "--port", ports[0], "--memcache-port", "0", NULL}, port,
                     "/dev/null"))
        return -1;
    other = spawn_free_port();
    snprintf(ports[1], sizeof ports[1], "%d", other);
    if (!spawn_start(&redis,
                     (char *[]){server, "--port", ports[1], "--save", "", "--appendonly", "no", "--bind",
                                "127.0.0.1", NULL},
                     other, "/dev/null"))
        return -1;
    ours = open_link(port);
    theirs = open_link(other);
    return 0;
}

static int stop_both(void **state)
{
    (void)state;
    redisFree(ours);
    redisFree(theirs);
    spawn_stop(&corral);
    spawn_stop(&redis);
    return 0;
}

static redisReply *ask(redisContext *link, const char *line)
{
    redisReply *reply = redisCommand(link, line);

    assert_non_null(reply);
    return reply;
}

/* ---- comparing ---- */

static bool has_word(const redisReply *list, const char *word)
{
    for (size_t i = 0; i < list->elements; i++) {
        if (strcmp(list->element[i]->str, word) == 0)
            return true;
    }
    return false;
}

static bool same(const redisReply *a, const redisReply *b)
{
    if (a->type != b->type)
        return false;
    if (a->type == REDIS_REPLY_INTEGER)
        return a->integer == b->integer;
    if (a->type == REDIS_REPLY_STRING)
        return strcmp(a->str, b->str) == 0;
    if (a->elements != b->elements)
        return false;
    for (size_t i = 0; i < a->elements; i++) { /* sets of words: in any order */
        if (!has_word(b, a->element[i]->str))
            return false;
    }
    return true;
}

static bool may_differ(const char *command, int field)
{
    for (size_t i = 0; i < sizeof differs / sizeof differs[0]; i++) {
        if (strcmp(differs[i].command, command) == 0 && differs[i].field == field)
            return true;
    }
    return false;
}

static unsigned compare(const redisReply *mine, const redisReply *other)
{
    unsigned wrong = 0;

    for (int field = 0; field < FIELDS; field++) {
        if (same(mine->element[field], other->element[field]) || may_differ(mine->element[NAME]->str, field))
            continue;
        print_error("%s: %s differs\n", mine->element[NAME]->str, field_names[field]);
        wrong++;
    }
    return wrong;
}

static const redisReply *find(const redisReply *commands, const char *name)
{
    for (size_t i = 0; i < commands->elements; i++) {
        if (strcmp(commands->element[i]->element[NAME]->str, name) == 0)
            return commands->element[i];
    }
    return NULL;
}

static void every_command_is_told_as_redis_tells_it(void **state)
{
    redisReply *mine, *all;
    unsigned wrong = 0, shared = 0;

    (void)state;
    if (ours == NULL)
        skip();
    mine = ask(ours, "COMMAND");
    all = ask(theirs, "COMMAND");
    for (size_t i = 0; i < mine->elements; i++) {
        const redisReply *one = mine->element[i], *other = find(all, one->element[NAME]->str), *subs, *sub;

        if (other == NULL)
            continue; /* only here, or newer */
        shared++;
        wrong += compare(one, other);
        subs = one->element[SUBCOMMANDS];
        for (size_t j = 0; j < subs->elements; j++) {
            sub = find(other->element[SUBCOMMANDS], subs->element[j]->element[NAME]->str);
            if (sub != NULL)
                wrong += compare(subs->element[j], sub);
        }
    }
    assert_int_equal(wrong, 0);
    assert_true(shared > 50);
    freeReplyObject(mine);
    freeReplyObject(all);
}

/* What COMMAND lists is what the handlers know: too few or too many words are the right subcommand's error.
 */
static void every_subcommand_is_there(void **state)
{
    redisReply *mine;
    unsigned known = 0;

    (void)state;
    if (ours == NULL)
        skip();
    mine = ask(ours, "COMMAND LIST");
    for (size_t i = 0; i < mine->elements; i++) {
        const char *name = mine->element[i]->str, *bar = strchr(name, '|');
        redisReply *reply;
        char want[128];

        if (bar == NULL)
            continue;
        known++;
        reply = redisCommand(ours, "COMMAND INFO %s", name);
        assert_int_equal(reply->elements, 1);
        assert_int_equal(reply->element[0]->type, REDIS_REPLY_ARRAY);
        assert_string_equal(reply->element[0]->element[NAME]->str, name);
        if (reply->element[0]->element[ARITY]->integer == 2) {
            freeReplyObject(reply);
            reply = redisCommand(ours, "%b %s unexpected", name, (size_t)(bar - name), bar + 1);
            snprintf(want, sizeof want, "ERR wrong number of arguments for '%s' command", name);
            if (strncmp(name, "cluster|", 8) != 0) /* off by default */
                assert_string_equal(reply->str, want);
        }
        freeReplyObject(reply);
    }
    assert_true(known > 30);
    freeReplyObject(mine);
}

static void keys_are_found_as_redis_finds_them(void **state)
{
    static const char *const lines[] = {
        "GET a",      "SET a b",        "SET a b EX 10 GET", "MSET a 1 b 2", "MGET a b c",  "DEL a b",
        "EXISTS a a", "MEMORY USAGE a", "GETEX a PERSIST",   "APPEND a b",   "EXPIRE a 10", "PING",
        "PING a",     "GET a b",        "NOSUCH a",          "CONFIG GET a",
    };

    (void)state;
    if (ours == NULL)
        skip();
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        static const char *const verbs[] = {"GETKEYS", "GETKEYSANDFLAGS"};

        for (size_t v = 0; v < 2; v++) {
            char line[128];
            redisReply *mine, *other;

            snprintf(line, sizeof line, "COMMAND %s %s", verbs[v], lines[i]);
            mine = ask(ours, line);
            other = ask(theirs, line);
            assert_int_equal(mine->type, other->type);
            if (mine->type == REDIS_REPLY_ERROR)
                assert_string_equal(mine->str, other->str);
            assert_int_equal(mine->elements, other->elements);
            for (size_t k = 0; k < mine->elements; k++) {
                if (v == 0) {
                    assert_string_equal(mine->element[k]->str, other->element[k]->str);
                    continue;
                }
                assert_string_equal(mine->element[k]->element[0]->str, other->element[k]->element[0]->str);
                assert_true(same(mine->element[k]->element[1], other->element[k]->element[1]));
            }
            freeReplyObject(mine);
            freeReplyObject(other);
        }
    }
}

/* What clients that show hints read; the sentences are our own. */
static void docs_have_the_form_clients_read(void **state)
{
    redisReply *docs;

    (void)state;
    if (ours == NULL)
        skip();
    docs = ask(ours, "COMMAND DOCS");
    for (size_t i = 0; i + 1 < docs->elements; i += 2) {
        const redisReply *doc = docs->element[i + 1];
        unsigned found = 0;

        for (size_t j = 0; j + 1 < doc->elements; j += 2) {
            const char *name = doc->element[j]->str;

            found += strcmp(name, "summary") == 0 || strcmp(name, "since") == 0 || strcmp(name, "group") == 0;
        }
        assert_int_equal(found, 3);
    }
    freeReplyObject(docs);
}

/* Every name in redis's INFO that a dashboard may look for is in ours, once. */
static void info_has_every_field_of_redis(void **state)
{
    static const char *const left_out[] = {
        "expire_cycle_cpu_milliseconds", /* expiry has no cycle of its own here */
        "total_reads_processed",         /* not counted: it would cost every read */
        "total_writes_processed",        "used_cpu_sys_main_thread", /* all workers are alike */
        "used_cpu_user_main_thread",
    };
    redisReply *mine, *other;

    (void)state;
    if (ours == NULL)
        skip();
    mine = ask(ours, "INFO all");
    other = ask(theirs, "INFO default");
    for (char *at = strtok(other->str, "\r\n"); at != NULL; at = strtok(NULL, "\r\n")) {
        char sought[128];
        bool skipped = at[0] == '#' || strchr(at, ':') == NULL;
        const char *there;

        for (size_t i = 0; i < sizeof left_out / sizeof left_out[0]; i++)
            skipped |= strncmp(at, left_out[i], strlen(left_out[i])) == 0;
        if (skipped)
            continue;
        snprintf(sought, sizeof sought, "\n%.*s:", (int)strcspn(at, ":"), at);
        there = strstr(mine->str, sought);
        if (there == NULL)
            print_error("INFO lacks %s\n", sought + 1);
        assert_non_null(there);
        if (strstr(there + 1, sought) != NULL)
            print_error("INFO has %s twice\n", sought + 1);
        assert_null(strstr(there + 1, sought));
    }
    freeReplyObject(mine);
    freeReplyObject(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_is_told_as_redis_tells_it),
        cmocka_unit_test(every_subcommand_is_there),
        cmocka_unit_test(keys_are_found_as_redis_finds_them),
        cmocka_unit_test(docs_have_the_form_clients_read),
        cmocka_unit_test(info_has_every_field_of_redis),
    };

    return cmocka_run_group_tests_name("command_info", tests, start_both, stop_both);
}
