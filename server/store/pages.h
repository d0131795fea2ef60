/* pages.h - ranges of addresses that cost memory only where they are touched. */
#ifndef CORRAL_PAGES_H
#define CORRAL_PAGES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

/* Reserves zeroed pages. NULL when address space is short. */
static inline void *pages_reserve(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

/* A region that fills up from its start has grown from `before` bytes to `now`:
 * what that completed gets huge pages. The rest of it keeps small ones, so that
 * no memory is taken ahead of need; a table of a million items would feel it. */
static inline void pages_grown(void *region, size_t before, size_t now)
{
    const size_t huge = (size_t)2 << 20;
    size_t from = ((uintptr_t)region + before) & ~(huge - 1);
    size_t to = ((uintptr_t)region + now) & ~(huge - 1);

    if (from < (uintptr_t)region)
        from += huge;
    if (from >= to)
        return;
    madvise((void *)from, to - from, MADV_HUGEPAGE);
#ifdef MADV_COLLAPSE
    /* At once; a kernel before 6.1 does it in its own time. */
    madvise((void *)from, to - from, MADV_COLLAPSE);
#endif
}

/* Gives the addresses back; copes with NULL. */
static inline void pages_release(void *pages, size_t bytes)
{
    if (pages != NULL)
        munmap(pages, bytes);
}

#endif
