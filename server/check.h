/* check.h - invariants that stay on in production.
 *
 * A cache that restarts loses warmth; one that lies loses trust. CHECK is
 * therefore never compiled out. It is for our own mistakes only: a client's
 * mistake is answered, a machine's is counted and survived. */
#ifndef CORRAL_CHECK_H
#define CORRAL_CHECK_H

/* Prints "file:line: CHECK failed: text" to stderr and aborts. Never returns. */
_Noreturn void check_failed(const char *file, int line, const char *text);

#define CHECK(condition)                                                                                     \
    (__builtin_expect(!!(condition), 1) ? (void)0 : check_failed(__FILE__, __LINE__, #condition))
#define CHECK_UNREACHABLE() check_failed(__FILE__, __LINE__, "unreachable")

#endif
