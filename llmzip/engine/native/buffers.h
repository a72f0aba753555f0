/* Large zeroed buffers, aligned to cache lines, in huge pages where the system gives them. */
#ifndef LLMZIP_BUFFERS_H
#define LLMZIP_BUFFERS_H

#include <stddef.h>

/* NULL when there is no memory. Bytes that are never touched cost none. */
void *big_alloc(size_t bytes);
void big_free(void *p);

#endif
