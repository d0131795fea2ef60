/* pages.h - ranges of addresses that cost memory only where they are touched. */
#ifndef CORRAL_PAGES_H
#define CORRAL_PAGES_H

#include <stddef.h>
#include <sys/mman.h>

/* Reserves zeroed pages. NULL when address space is short. */
static inline void *pages_reserve(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

/* Gives the addresses back; copes with NULL. */
static inline void pages_release(void *pages, size_t bytes)
{
    if (pages != NULL)
        munmap(pages, bytes);
}

#endif
