/* See buffers.h. */
#define _DEFAULT_SOURCE
#include "buffers.h"

#include <stdint.h>
#include <sys/mman.h>

#if defined(__has_feature) /* Clang's way, before GCC 14 */
#if __has_feature(address_sanitizer)
#define ON_HEAP
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define ON_HEAP
#endif

#if defined(ON_HEAP)

/* From the heap, where AddressSanitizer sees what runs past an end. */
#include <stdlib.h>
#include <string.h>

void *alloc_huge(size_t bytes)
{
    size_t size = (bytes + 63) / 64 * 64;
    void *p = aligned_alloc(64, size);
    return p ? memset(p, 0, size) : NULL;
}

void free_huge(void *p) { free(p); }

#else

#define HUGE_PAGE ((size_t)1 << 21)
/* Keeps the mapping's start and size in front of the buffer, and its alignment. */
#define HEADER 64

void *alloc_huge(size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    size_t size = bytes + HEADER + (bytes >= HUGE_PAGE ? HUGE_PAGE : 0);
    char *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED)
        return NULL;
#ifdef MADV_HUGEPAGE
    /* A hint: one entry of the address cache then covers 2 MiB, and hardware prefetching does not
     * stop every 4 KiB. */
    if (bytes >= HUGE_PAGE)
        madvise(mapped, size, MADV_HUGEPAGE);
#endif
    size_t *header = (size_t *)(void *)mapped;
    *header = size;
    return mapped + HEADER;
}

void free_huge(void *p)
{
    if (p) {
        char *mapped = (char *)p - HEADER;
        munmap(mapped, *(size_t *)(void *)mapped);
    }
}

#endif
