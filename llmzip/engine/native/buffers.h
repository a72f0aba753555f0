/* Large zeroed buffers, aligned to cache lines, in huge pages where the system gives them. */
#ifndef LLMZIP_BUFFERS_H
#define LLMZIP_BUFFERS_H

#include <stddef.h>

/* NULL when there is no memory. Bytes that are never touched cost none. */
void *alloc_huge(size_t bytes);
void free_huge(void *p);

#endif
