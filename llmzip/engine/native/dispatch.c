/* Which kernels this processor runs. */
#include "kernels.h"

#include <string.h>

extern const struct kernels kernels_portable;

#if defined(__x86_64__)
extern const struct kernels kernels_avx512, kernels_avx2, kernels_avxvnni;

static int has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("popcnt");
}
static int has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt"); }
static int has_avxvnni(void) { return has_avx2() && __builtin_cpu_supports("avxvnni"); }
#endif

static int always(void) { return 1; }

static const struct {
    const struct kernels *kernels;
    int (*is_supported)(void);
} table[] = {
#if defined(__x86_64__)
    {&kernels_avx512, has_avx512},
    {&kernels_avxvnni, has_avxvnni},
    {&kernels_avx2, has_avx2},
#endif
    {&kernels_portable, always},
};

const struct kernels *select_kernels(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if ((!name || strcmp(name, table[i].kernels->name) == 0) && table[i].is_supported())
            return table[i].kernels;
    return NULL;
}
