/* test_log.c - one line per event, whatever is in it and whoever writes it. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/log.h"

static char path[64];
static char text[1 << 20];

static int set_up(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/corral_test_log.%d", (int)getpid());
    unlink(path);
    log_set_level(LOG_LEVEL_NOTICE);
    return log_open(path) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return log_open(NULL) ? 0 : -1;
}

static const char *logged(void)
{
    int fd = open(path, O_RDONLY);
    ssize_t length = read(fd, text, sizeof text - 1);

    assert_true(length >= 0);
    text[length] = '\0';
    close(fd);
    return text;
}

static size_t lines_logged(void)
{
    size_t lines = 0;

    for (const char *at = logged(); (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    return lines;
}

static void a_line_has_time_level_event_and_pairs(void **state)
{
    time_t now = time(NULL);
    struct tm tm = {0};
    int ms;
    char level[16];
    char rest[64];

    (void)state;
    log_event(LOG_LEVEL_NOTICE, "listening", "port=%d protocol=%s", 6379, "resp");
    assert_int_equal(strlen(logged()), strlen("2026-11-21T10:20:30.123Z notice event=listening port=6379 "
                                              "protocol=resp\n"));
    assert_int_equal(sscanf(text, "%d-%d-%dT%d:%d:%d.%3dZ %15s %63[^\n]", &tm.tm_year, &tm.tm_mon,
                            &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &ms, level, rest),
                     9);
    assert_string_equal(level, "notice");
    assert_string_equal(rest, "event=listening port=6379 protocol=resp");
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    assert_true(llabs((long long)(timegm(&tm) - now)) <= 2);
}

static void an_event_may_have_no_pairs(void **state)
{
    (void)state;
    log_event(LOG_LEVEL_WARNING, "stopped", "");
    assert_string_equal(logged() + strlen("2026-11-21T10:20:30.123Z "), "warning event=stopped\n");
}

static void what_is_less_important_is_left_out(void **state)
{
    static const enum log_level levels[] = {LOG_LEVEL_DEBUG, LOG_LEVEL_VERBOSE, LOG_LEVEL_NOTICE,
                                            LOG_LEVEL_WARNING};

    (void)state;
    for (size_t least = 0; least < 4; least++) {
        assert_int_equal(truncate(path, 0), 0);
        log_set_level(levels[least]);
        for (size_t i = 0; i < 4; i++) {
            log_event(levels[i], "tick", "i=%zu", i);
            assert_int_equal(log_wanted(levels[i]), i >= least);
        }
        assert_int_equal(lines_logged(), 4 - least);
    }
}

static void nobody_can_forge_a_line(void **state)
{
    (void)state;
    log_event(LOG_LEVEL_NOTICE, "named", "name=%s", "a\nb\r\tc\x1b[31m\x7f");
    assert_int_equal(lines_logged(), 1);
    assert_non_null(strstr(text, " name=a?b??c?[31m?\n"));
}

static void a_long_line_is_cut_and_still_one_line(void **state)
{
    char value[LOG_LINE_MAX * 2];

    (void)state;
    memset(value, 'v', sizeof value);
    value[sizeof value - 1] = '\0';
    log_event(LOG_LEVEL_NOTICE, "long", "value=%s", value);
    assert_int_equal(strlen(logged()), LOG_LINE_MAX);
    assert_int_equal(lines_logged(), 1);
    value[LOG_LINE_MAX] = '\0';
    log_event(LOG_LEVEL_NOTICE, value, "lost=%d", 1); /* not even the event's name fits */
    assert_int_equal(strlen(logged()), 2 * LOG_LINE_MAX);
    assert_int_equal(lines_logged(), 2);
}

static void a_file_that_cannot_be_opened_changes_nothing(void **state)
{
    (void)state;
    assert_false(log_open("/no/such/folder/log"));
    assert_int_equal(errno, ENOENT);
    log_event(LOG_LEVEL_NOTICE, "still", "here=%d", 1);
    assert_int_equal(lines_logged(), 1);
}

static void a_rotated_file_is_left_behind(void **state)
{
    char rotated[80];

    (void)state;
    snprintf(rotated, sizeof rotated, "%s.1", path);
    log_event(LOG_LEVEL_NOTICE, "one", "n=%d", 1);
    assert_int_equal(rename(path, rotated), 0);
    log_event(LOG_LEVEL_NOTICE, "two", "n=%d", 2); /* still goes to the old file */
    assert_true(log_open(path));
    log_event(LOG_LEVEL_NOTICE, "three", "n=%d", 3);
    assert_int_equal(lines_logged(), 1);
    assert_non_null(strstr(text, "event=three"));
    unlink(rotated);
}

static void logging_keeps_errno(void **state)
{
    (void)state;
    errno = EPIPE;
    log_event(LOG_LEVEL_NOTICE, "tick", "n=%d", 1);
    assert_int_equal(errno, EPIPE);
}

enum { WRITERS = 4, LINES = 500 };

static void *write_lines(void *arg)
{
    int who = *(int *)arg;

    for (int i = 0; i < LINES; i++)
        log_event(LOG_LEVEL_NOTICE, "tick", "who=%d n=%04d tail=abcdefghijklmnopqrstuvwxyz", who, i);
    return NULL;
}

static void threads_do_not_mix_their_lines(void **state)
{
    pthread_t threads[WRITERS];
    int who[WRITERS];
    size_t length;

    (void)state;
    for (int i = 0; i < WRITERS; i++) {
        who[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &who[i]), 0);
    }
    for (int i = 0; i < 50; i++)
        assert_true(log_open(path)); /* reopening in the middle loses nothing */
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(lines_logged(), WRITERS * LINES);
    length = strcspn(text, "\n");
    for (const char *at = text; *at != '\0'; at += length + 1) {
        assert_int_equal(strcspn(at, "\n"), length);
        assert_memory_equal(at + length - 5, "vwxyz", 5);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_line_has_time_level_event_and_pairs), TEST(an_event_may_have_no_pairs),
        TEST(what_is_less_important_is_left_out),    TEST(nobody_can_forge_a_line),
        TEST(a_long_line_is_cut_and_still_one_line), TEST(a_file_that_cannot_be_opened_changes_nothing),
        TEST(a_rotated_file_is_left_behind),         TEST(logging_keeps_errno),
        TEST(threads_do_not_mix_their_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
