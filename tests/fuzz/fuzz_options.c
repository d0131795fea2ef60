/* fuzz_options.c - any configuration file and any command line is taken or
 * refused with one line; what was taken shows as it would be written again.
 *
 * Input: byte 0 chooses file (even) or command line (odd; words end in a zero byte). */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "server/options.h"

#define MUST(ok)                                                                                             \
    ((ok) ? (void)0 : (fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #ok), abort()))

enum { ARGS_MAX = 100 };

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

static bool from_file(struct options *o, const uint8_t *in, size_t len, struct option_error *err)
{
    char path[64];
    int fd = memfd_create("options", 0);
    bool good;

    MUST(fd >= 0 && write(fd, in, len) == (ssize_t)len);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    good = options_load_file(o, path, err);
    close(fd);
    return good;
}

static bool from_args(struct options *o, const uint8_t *in, size_t len, struct option_error *err)
{
    char *copy = malloc(len + 1), *args[ARGS_MAX + 2] = {"corrald", "--port", "1"};
    int n = 3;
    bool good;

    memcpy(copy, in, len);
    copy[len] = '\0';
    for (size_t at = 0; at < len && n < ARGS_MAX; at += strlen(copy + at) + 1)
        args[n++] = copy + at;
    good = options_parse_args(o, n, args, err) == OPTIONS_RUN;
    free(copy);
    return good;
}

/* What is shown can be set, and shows the same. */
static void check_round_trip(struct options *o)
{
    for (size_t i = 0; i < options_count(); i++) {
        char shown[OPTION_VALUE_MAX], again[OPTION_VALUE_MAX];
        struct option_error err;

        MUST(options_get(o, options_name(i), shown));
        MUST(options_set(o, options_name(i), shown, &err) == OPTION_OK);
        MUST(options_get(o, options_name(i), again) && strcmp(shown, again) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    struct options o;
    struct option_error err = {.text = ""};
    bool good;

    if (len < 1 || len > 8192)
        return 0;
    options_defaults(&o);
    good = in[0] % 2 == 0 ? from_file(&o, in + 1, len - 1, &err) : from_args(&o, in + 1, len - 1, &err);
    if (!good)
        MUST(err.text[0] != '\0' && strlen(err.text) < OPTION_ERROR_MAX && strchr(err.text, '\n') == NULL);
    check_round_trip(&o);
    options_free(&o);
    return 0;
}
