/* sim.h - the stories, and how they say what they found. */
#ifndef CORRAL_TESTS_SIM_H
#define CORRAL_TESTS_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct story {
    const char *name;
    bool (*tell)(uint64_t seed); /* false: it went wrong, and EXPECT has said how */
    bool is_long;
    const char *what;
};

/* Each ends with a name of NULL. */
extern const struct story member_stories[], fleet_stories[];

/* A line of the report. */
void figure(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
bool expect_failed(int line, const char *text);
#define EXPECT(condition)                                                                                    \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            return expect_failed(__LINE__, #condition);                                                      \
    } while (0)

struct sample {
    double *values;
    size_t count, room;
};
void sample_add(struct sample *, double);
/* The value that this part of them, 0 .. 1, does not exceed. */
double sample_part(struct sample *, double part);
void sample_free(struct sample *);

#endif
