/* racy.h - touching memory that somebody may be changing meanwhile.
 *
 * Optimistic readers look at items and buckets without a lock while a writer
 * may be changing them. That is sound because (1) the memory stays mapped,
 * (2) every length read is checked against the segment before it is used, and
 * (3) nothing read is believed until the bucket's version is seen unchanged:
 * the acquire fence before the second look at the version pairs with the
 * writer's release fence after making it odd, and with its release store when
 * making it even again.
 *
 * C11 calls a plain access in such a race undefined, so words are relaxed
 * atomics. Whole values are copied by memcpy in production, as no compiler we
 * know turns that into anything but loads; under ThreadSanitizer they are
 * copied by relaxed bytes, so that it checks everything else. */
#ifndef CORRAL_RACY_H
#define CORRAL_RACY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t racy_load32(const void *from)
{
    return __atomic_load_n((const uint32_t *)from, __ATOMIC_RELAXED);
}
static inline void racy_store32(void *to, uint32_t v)
{
    __atomic_store_n((uint32_t *)to, v, __ATOMIC_RELAXED);
}
static inline uint8_t racy_load8(const void *from)
{
    return __atomic_load_n((const uint8_t *)from, __ATOMIC_RELAXED);
}
static inline void racy_store8(void *to, uint8_t v)
{
    __atomic_store_n((uint8_t *)to, v, __ATOMIC_RELAXED);
}

#if defined(__SANITIZE_THREAD__)
static inline void racy_read(void *to, const void *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)to)[i] = racy_load8((const uint8_t *)from + i);
}
static inline void racy_write(void *to, const void *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        racy_store8((uint8_t *)to + i, ((const uint8_t *)from)[i]);
}
static inline bool racy_equals(const void *racy, const void *mine, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (racy_load8((const uint8_t *)racy + i) != ((const uint8_t *)mine)[i])
            return false;
    return true;
}
/* ThreadSanitizer does not model fences; with every access atomic it needs none. */
static inline void racy_fence_acquire(void)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}
static inline void racy_fence_release(void)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}
#else
static inline void racy_read(void *to, const void *from, size_t n)
{
    memcpy(to, from, n);
}
static inline void racy_write(void *to, const void *from, size_t n)
{
    memcpy(to, from, n);
}
static inline bool racy_equals(const void *racy, const void *mine, size_t n)
{
    return memcmp(racy, mine, n) == 0;
}
static inline void racy_fence_acquire(void)
{
    atomic_thread_fence(memory_order_acquire);
}
static inline void racy_fence_release(void)
{
    atomic_thread_fence(memory_order_release);
}
#endif

#endif
