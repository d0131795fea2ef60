/* test_options.c - the settings table, the command line and the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/options.h"

enum { KIB = 1024, MIB = 1024 * 1024 };

static struct options o;
static struct option_error err;

static int set_up(void **state)
{
    (void)state;
    options_defaults(&o);
    memset(&err, 0, sizeof err);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    options_free(&o);
    options_free(&o); /* twice does no harm */
    return 0;
}

static void expect_shown(const char *name, const char *want)
{
    char got[OPTION_VALUE_MAX];

    assert_true(options_get(&o, name, got));
    assert_string_equal(got, want);
}

static void expect_refused(const char *name, const char *value, const char *reason)
{
    char before[OPTION_VALUE_MAX];
    char after[OPTION_VALUE_MAX];

    assert_true(options_get(&o, name, before));
    assert_int_equal(options_set(&o, name, value, &err), OPTION_BAD_VALUE);
    assert_string_equal(err.text, reason);
    assert_true(options_get(&o, name, after));
    assert_string_equal(before, after);
}

static void expect_set(const char *name, const char *value, const char *want)
{
    assert_int_equal(options_set(&o, name, value, &err), OPTION_OK);
    expect_shown(name, want);
}

#define PARSE(...)                                                                                           \
    parse((char *[]){"corrald", __VA_ARGS__},                                                                \
          (int)(sizeof((char *[]){"corrald", __VA_ARGS__}) / sizeof(char *)))

static enum options_verdict parse(char **argv, int argc)
{
    return options_parse_args(&o, argc, argv, &err);
}

/* Writes a configuration file and loads it. */
static char config_path[] = "/tmp/corral_test_options.XXXXXX";

static bool load_bytes(const char *bytes, size_t length)
{
    int fd;
    bool good;

    strcpy(config_path + strlen(config_path) - 6, "XXXXXX");
    fd = mkstemp(config_path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, length), (ssize_t)length);
    close(fd);
    good = options_load_file(&o, config_path, &err);
    unlink(config_path);
    return good;
}

static bool load(const char *text)
{
    return load_bytes(text, strlen(text));
}

static void expect_load_error(const char *text, const char *reason)
{
    char want[OPTION_ERROR_MAX];

    assert_false(load(text));
    snprintf(want, sizeof want, "%s:%s", config_path, reason);
    assert_string_equal(err.text, want);
}

static void defaults_are_the_documented_ones(void **state)
{
    (void)state;
    assert_string_equal(o.bind, "127.0.0.1");
    assert_int_equal(o.port, 6379);
    assert_int_equal(o.memcache_port, 11211);
    assert_string_equal(o.unixsocket, "");
    assert_int_equal(o.unixsocketperm, 0700);
    assert_true(o.maxmemory == (size_t)1024 * MIB);
    assert_string_equal(o.maxmemory_policy, "allkeys-s3fifo");
    assert_true(o.max_item_size == (size_t)64 * MIB);
    assert_int_equal(o.threads, 0);
    assert_int_equal(o.loglevel, 2); /* notice */
    assert_true(o.memcache_flush_enabled);
    assert_false(o.daemonize);
    expect_shown("save", "");
    expect_shown("appendonly", "no");
}

static void values_come_back_as_config_get_shows_them(void **state)
{
    (void)state;
    expect_set("maxmemory", "256mb", "268435456");
    expect_set("unixsocketperm", "755", "755");
    expect_set("daemonize", "YES", "yes");
    expect_set("loglevel", "Verbose", "verbose");
    assert_int_equal(o.loglevel, 1);
    expect_set("maxmemory-policy", "VOLATILE-TTL", "volatile-ttl");
    expect_set("requirepass", "two words", "two words");
    expect_set("TIMEOUT", "60", "60");
    assert_int_equal(o.timeout, 60);
    assert_false(options_get(&o, "no-such", (char[OPTION_VALUE_MAX]){0}));
}

static void sizes_know_both_kinds_of_units(void **state)
{
    static const struct {
        const char *text;
        size_t bytes;
    } cases[] = {
        {"2000000", 2000000},   {"2000000b", 2000000},  {"2000k", 2000000},
        {"2000kb", 2000 * KIB}, {"2m", 2000000},        {"2Mb", 2 * MIB},
        {"3g", 3000000000ULL},  {"3GB", 3072ULL * MIB}, {"1T", 1000000000000ULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(options_set(&o, "maxmemory", cases[i].text, &err), OPTION_OK);
        assert_true(o.maxmemory == cases[i].bytes);
    }
    expect_refused("maxmemory", "", "argument must be a memory value");
    expect_refused("maxmemory", "-1", "argument must be a memory value");
    expect_refused("maxmemory", "1.5gb", "argument must be a memory value");
    expect_refused("maxmemory", "1 gb", "argument must be a memory value");
    expect_refused("maxmemory", "1gbx", "argument must be a memory value");
    expect_refused("maxmemory", "mb", "argument must be a memory value");
    expect_refused("maxmemory", "99999999999999999999", "argument must be a memory value");
    expect_refused("maxmemory", "18446744073709551615gb", "argument must be a memory value");
    expect_refused("maxmemory", "20000gb", "argument must be between 0 and 17592186044416 inclusive");
}

static void bad_values_are_refused_and_change_nothing(void **state)
{
    (void)state;
    expect_refused("port", "65536", "argument must be between 0 and 65535 inclusive");
    expect_refused("port", "-1", "argument must be between 0 and 65535 inclusive");
    expect_refused("port", "99999999999999999999999", "argument couldn't be parsed into an integer");
    expect_refused("port", "", "argument couldn't be parsed into an integer");
    expect_refused("port", "-", "argument couldn't be parsed into an integer");
    expect_refused("port", "63x", "argument couldn't be parsed into an integer");
    expect_refused("port", " 1", "argument couldn't be parsed into an integer");
    expect_refused("hz", "0", "argument must be between 1 and 500 inclusive");
    expect_refused("databases", "257", "argument must be between 1 and 256 inclusive");
    expect_refused("unixsocketperm", "789", "argument couldn't be parsed as an octal number");
    expect_refused("unixsocketperm", "-7", "argument couldn't be parsed as an octal number");
    expect_refused("unixsocketperm", "1000", "argument must be between 0 and 777 inclusive");
    expect_refused("daemonize", "true", "argument must be 'yes' or 'no'");
    expect_refused("loglevel", "note",
                   "argument(s) must be one of the following: debug, verbose, notice, warning");
    expect_refused("loglevel", "",
                   "argument(s) must be one of the following: debug, verbose, notice, warning");
    expect_refused("save", "900 1", "argument can only be '': Corral keeps nothing on disk");
    expect_refused("appendonly", "yes", "argument can only be 'no': Corral keeps nothing on disk");
}

static void strings_have_a_longest_length(void **state)
{
    char longest[OPTION_VALUE_MAX + 1];

    (void)state;
    memset(longest, 'x', sizeof longest);
    longest[OPTION_VALUE_MAX] = '\0';
    expect_refused("requirepass", longest, "argument must be at most 1023 bytes long");
    longest[OPTION_VALUE_MAX - 1] = '\0';
    expect_set("requirepass", longest, longest);
}

static bool only_lru(const char *name)
{
    return strcmp(name, "allkeys-lru") == 0;
}

static void the_policy_list_can_be_decided_elsewhere(void **state)
{
    (void)state;
    assert_int_equal(options_set(&o, "maxmemory-policy", "allkeys-belady", &err), OPTION_BAD_VALUE);
    assert_non_null(strstr(err.text, "noeviction, allkeys-lru, allkeys-lfu"));
    assert_non_null(strstr(err.text, "volatile-ttl"));
    o.policy_ok = only_lru;
    assert_int_equal(options_set(&o, "maxmemory-policy", "allkeys-lfu", &err), OPTION_BAD_VALUE);
    assert_string_equal(o.maxmemory_policy, "allkeys-s3fifo");
    expect_set("maxmemory-policy", "Allkeys-LRU", "allkeys-lru");
}

static void a_running_node_keeps_what_is_fixed(void **state)
{
    (void)state;
    assert_int_equal(options_change(&o, "port", "1", &err), OPTION_IMMUTABLE);
    assert_string_equal(err.text, "can't set immutable config");
    assert_int_equal(o.port, 6379);
    assert_int_equal(options_change(&o, "nonsense", "1", &err), OPTION_UNKNOWN);
    assert_int_equal(options_change(&o, "maxmemory", "2gb", &err), OPTION_OK);
    assert_true(option_live(&o, maxmemory) == (size_t)2048 * MIB);
    assert_int_equal(options_change(&o, "maxmemory", "none", &err), OPTION_BAD_VALUE);
    assert_int_equal(options_change(&o, "save", "", &err), OPTION_OK);
    assert_int_equal(options_change(&o, "requirepass", "secret", &err), OPTION_OK);
    assert_string_equal(o.requirepass, "secret");
}

static void unknown_names_get_a_suggestion(void **state)
{
    static const struct {
        const char *typed;
        const char *meant; /* NULL: nobody could tell */
    } cases[] = {
        {"maxmemry", "maxmemory"},
        {"MAXMEMOYR", "maxmemory"},
        {"memcached-port", "memcache-port"},
        {"prot", "port"},
        {"max-memory-policy", "maxmemory-policy"},
        {"cluster-enabled", NULL},
        {"x", NULL},
        {"", NULL},
        {"a-name-that-is-much-longer-than-any-option-there-could-be", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char want[OPTION_ERROR_MAX] = "there is no such option; corrald --help lists them all";

        if (cases[i].meant != NULL)
            snprintf(want, sizeof want, "there is no such option; did you mean '%s'?", cases[i].meant);
        assert_int_equal(options_set(&o, cases[i].typed, "1", &err), OPTION_UNKNOWN);
        assert_string_equal(err.text, want);
    }
}

static void the_command_line_sets_options(void **state)
{
    (void)state;
    assert_int_equal(parse((char *[]){"corrald"}, 1), OPTIONS_RUN);
    assert_int_equal(PARSE("--port", "7000", "--bind", "127.0.0.1", "::1", "--maxmemory=2mb", "--save",
                           "--requirepass=--odd=", "--port", "7001"),
                     OPTIONS_RUN);
    assert_int_equal(o.port, 7001);
    assert_string_equal(o.bind, "127.0.0.1 ::1");
    assert_true(o.maxmemory == 2 * MIB);
    assert_string_equal(o.requirepass, "--odd=");
    assert_int_equal(PARSE("--unixsocket", ""), OPTIONS_RUN);
}

static void the_command_line_says_what_is_wrong(void **state)
{
    char *many[80];

    (void)state;
    assert_int_equal(PARSE("--maxmemry", "1gb"), OPTIONS_WRONG);
    assert_string_equal(err.text, "option 'maxmemry': there is no such option; did you mean 'maxmemory'?");
    assert_int_equal(PARSE("--port", "many"), OPTIONS_WRONG);
    assert_string_equal(err.text,
                        "option 'port' cannot be 'many': argument couldn't be parsed into an integer");
    assert_int_equal(PARSE("--port"), OPTIONS_WRONG);
    assert_string_equal(err.text, "option 'port': a value is missing; the default is '6379'");
    assert_int_equal(PARSE("--port", "1", "2"), OPTIONS_WRONG);
    assert_string_equal(
        err.text, "option 'port': takes one value, but 2 were given; put a value with spaces in quotes");
    assert_int_equal(PARSE("-p", "1"), OPTIONS_WRONG);
    assert_string_equal(err.text, "'-p' was not expected: options look like --port 6379; see corrald --help");
    assert_int_equal(PARSE("/no/such/file"), OPTIONS_WRONG);
    assert_string_equal(err.text,
                        "cannot read the configuration file '/no/such/file': No such file or directory");
    assert_int_equal(PARSE("/"), OPTIONS_WRONG);
    assert_string_equal(err.text, "cannot read the configuration file '/': Is a directory");

    many[0] = "corrald";
    many[1] = "--bind";
    for (size_t i = 2; i < 80; i++)
        many[i] = "127.0.0.1";
    assert_int_equal(parse(many, 80), OPTIONS_WRONG);
    assert_string_equal(err.text, "'bind': too many values");
}

static void words_that_are_too_long_together_are_refused(void **state)
{
    char half[OPTION_VALUE_MAX / 2 + 1];

    (void)state;
    memset(half, 'x', sizeof half);
    half[sizeof half - 1] = '\0';
    assert_int_equal(PARSE("--bind", half, half, half), OPTIONS_WRONG);
    assert_string_equal(err.text, "option 'bind': the values together must be shorter than 1024 bytes");
}

static void some_arguments_ask_for_a_text(void **state)
{
    (void)state;
    assert_int_equal(PARSE("--help"), OPTIONS_SHOW_HELP);
    assert_int_equal(PARSE("-h"), OPTIONS_SHOW_HELP);
    assert_int_equal(PARSE("--version"), OPTIONS_SHOW_VERSION);
    assert_int_equal(PARSE("--man"), OPTIONS_SHOW_MAN);
    assert_int_equal(PARSE("--sample-config"), OPTIONS_SHOW_SAMPLE);
}

static void a_file_sets_options(void **state)
{
    (void)state;
    assert_true(load("# a comment\n"
                     "\n"
                     "   # another\r\n"
                     "port 7000\r\n"
                     "bind 10.0.0.1   ::1\n"
                     "\tmaxmemory\t2mb  \n"
                     "requirepass \"a \\\"b\\\" \\x41\\t\\\\ #\"\n"
                     "save \"\"\n"
                     "unixsocket '/tmp/it\\'s \\n'\n"
                     "daemonize yes")); /* no newline at the end */
    assert_int_equal(o.port, 7000);
    assert_string_equal(o.bind, "10.0.0.1 ::1");
    assert_true(o.maxmemory == 2 * MIB);
    assert_string_equal(o.requirepass, "a \"b\" A\t\\ #");
    assert_string_equal(o.unixsocket, "/tmp/it's \\n");
    assert_true(o.daemonize);
    assert_true(load(""));
}

static void a_file_says_what_is_wrong_and_where(void **state)
{
    (void)state;
    expect_load_error("port 1\nport x\nport 2\n",
                      "2: 'port' cannot be 'x': argument couldn't be parsed into an integer");
    assert_int_equal(o.port, 1); /* what stood above has been applied */
    expect_load_error("\nprot 1\n", "2: 'prot': there is no such option; did you mean 'port'?");
    expect_load_error("port\n", "1: 'port': a value is missing; the default is '6379'");
    expect_load_error("port 1 # why\n", "1: 'port': takes one value, but 3 were given; put a value with "
                                        "spaces in quotes");
    expect_load_error("requirepass \"abc\n", "1: a quote is not closed");
    expect_load_error("requirepass 'abc", "1: a quote is not closed");
    expect_load_error("requirepass \"abc\\", "1: a quote is not closed");
    expect_load_error("requirepass \"abc\\\"", "1: a quote is not closed");
    expect_load_error("requirepass \"abc\"d", "1: a space must follow a closing quote");
    expect_load_error("requirepass \"a\\x00b\"", "1: a value cannot hold a zero byte");
    assert_false(load_bytes("port 1\0x\n", 9));
    assert_non_null(strstr(err.text, ":1: a value cannot hold a zero byte"));
}

static void the_command_line_wins_over_the_file(void **state)
{
    FILE *f = fopen("/tmp/corral_test_options.conf", "w");

    (void)state;
    assert_non_null(f);
    fputs("port 7000\nhz 20\n", f);
    fclose(f);
    assert_int_equal(PARSE("/tmp/corral_test_options.conf", "--port", "7001"), OPTIONS_RUN);
    unlink("/tmp/corral_test_options.conf");
    assert_int_equal(o.port, 7001);
    assert_int_equal(o.hz, 20);
}

/* Catches what a file printed in memory says. The caller frees it. */
static char *printed(void (*print)(FILE *out))
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);

    assert_non_null(out);
    print(out);
    fclose(out);
    return text;
}

static void the_sample_with_all_marks_removed_is_the_default(void **state)
{
    char *sample = printed(options_print_sample);
    size_t settings = 0;
    struct options loaded;

    (void)state;
    for (char *at = sample; at != NULL && *at != '\0'; at = strchr(at, '\n') + 1) {
        if (at[0] == '#' && at[1] != ' ') {
            at[0] = ' ';
            settings++;
        }
        assert_non_null(strchr(at, '\n'));
    }
    assert_int_equal(settings, options_count());

    loaded = o;
    options_defaults(&o);
    assert_true(load(sample));
    for (size_t i = 0; i < options_count(); i++) {
        char want[OPTION_VALUE_MAX];

        assert_true(options_get(&loaded, options_name(i), want));
        expect_shown(options_name(i), want);
    }
    options_free(&loaded);
    free(sample);
}

static void help_and_manual_name_every_option(void **state)
{
    char *help = printed(options_print_help);
    char *man = printed(options_print_man);
    char *version = printed(options_print_version);

    (void)state;
    for (size_t i = 0; i < options_count(); i++) {
        char flag[80];

        snprintf(flag, sizeof flag, "\n  --%s (", options_name(i));
        assert_non_null(strstr(help, flag));
    }
    assert_non_null(strstr(man, "maxmemory\\-policy"));
    assert_non_null(strstr(man, ".SH OPTIONS"));
    assert_memory_equal(version, "corrald ", 8);
    free(help);
    free(man);
    free(version);
}

static void every_row_takes_what_it_prints(void **state)
{
    (void)state;
    for (size_t i = 0; i < options_count(); i++) {
        char value[OPTION_VALUE_MAX];

        assert_true(options_get(&o, options_name(i), value));
        assert_int_equal(options_set(&o, options_name(i), value, &err), OPTION_OK);
        expect_shown(options_name(i), value);
        assert_int_equal(options_change(&o, options_name(i), value, &err),
                         options_is_live(i) ? OPTION_OK : OPTION_IMMUTABLE);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults_are_the_documented_ones),
        TEST(values_come_back_as_config_get_shows_them),
        TEST(sizes_know_both_kinds_of_units),
        TEST(bad_values_are_refused_and_change_nothing),
        TEST(strings_have_a_longest_length),
        TEST(the_policy_list_can_be_decided_elsewhere),
        TEST(a_running_node_keeps_what_is_fixed),
        TEST(unknown_names_get_a_suggestion),
        TEST(the_command_line_sets_options),
        TEST(the_command_line_says_what_is_wrong),
        TEST(words_that_are_too_long_together_are_refused),
        TEST(some_arguments_ask_for_a_text),
        TEST(a_file_sets_options),
        TEST(a_file_says_what_is_wrong_and_where),
        TEST(the_command_line_wins_over_the_file),
        TEST(the_sample_with_all_marks_removed_is_the_default),
        TEST(help_and_manual_name_every_option),
        TEST(every_row_takes_what_it_prints),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
