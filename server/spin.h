/* spin.h - telling the processor that this is a loop that waits for another one. */
#ifndef CORRAL_SPIN_H
#define CORRAL_SPIN_H

static inline void spin_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory"); /* waits as long as pause does; yield is a no-op on most cores */
#else
    __asm__ volatile("" ::: "memory");
#endif
}

#endif
