/* Which kernels this processor runs. */
#define _DEFAULT_SOURCE
#include "kernels.h"

#include <string.h>

#if defined(__x86_64__)
extern const struct kernels kernels_avx512, kernels_avx2;

static int has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("popcnt");
}
static int has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");
}
#endif

#if defined(HAS_AVXVNNI_KERNELS)
#include <cpuid.h>

extern const struct kernels kernels_avxvnni;

static int has_avxvnni(void) /* a name that some versions of Clang do not let one ask for */
{
    unsigned a = 0, b, c, d;
    return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}
#endif

#if defined(HAS_DOTPROD_KERNELS)
extern const struct kernels kernels_dotprod;

/* The whole build needs it, as all builds for Apple's processors do. */
#if defined(__ARM_FEATURE_DOTPROD)
static int has_dotprod(void) { return 1; }
#elif defined(__linux__)
#include <sys/auxv.h>

static int has_dotprod(void) { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
#else
static int has_dotprod(void) { return 0; }
#endif
#endif

#if defined(HAS_I8MM_KERNELS)
extern const struct kernels kernels_i8mm;

#if defined(__ARM_FEATURE_MATMUL_INT8)
static int has_i8mm(void) { return has_dotprod(); }
#elif defined(__linux__)
#include <sys/auxv.h>
#if !defined(HWCAP2_I8MM) /* of a C library before 2.32 */
#define HWCAP2_I8MM (1 << 13)
#endif

static int has_i8mm(void) { return has_dotprod() && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0; }
#elif defined(__APPLE__)
#include <sys/sysctl.h>

static int has_i8mm(void)
{
    int has = 0;
    size_t size = sizeof has;
    return sysctlbyname("hw.optional.arm.FEAT_I8MM", &has, &size, NULL, 0) == 0 && has;
}
#else
static int has_i8mm(void) { return 0; }
#endif
#endif

#if defined(HAS_AMX_KERNELS)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

extern const struct kernels kernels_amx;

#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_XTILEDATA 18

/* Whether the processor has tiles for bytes, the system saves them, and lets this process use them:
 * it must be asked, because they make a thread's state so large. Kernels before Linux 5.16 and some
 * sandboxes know no such question, and say no. */
static int has_amx(void)
{
    unsigned a, b, c, d, low, high;
    if (!has_avx512() || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 24 & 1) ||
        !(d >> 25 & 1)) /* AMX-TILE, AMX-INT8 */
        return 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low >> 17 & 3) == 3 &&
           syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}
#endif

static int always(void) { return 1; }

static const struct {
    const struct kernels *kernels;
    int (*is_supported)(void);
} table[] = {
#if defined(HAS_AMX_KERNELS)
    {&kernels_amx, has_amx},
#endif
#if defined(__x86_64__)
    {&kernels_avx512, has_avx512},
#endif
#if defined(HAS_AVXVNNI_KERNELS)
    {&kernels_avxvnni, has_avxvnni},
#endif
#if defined(__x86_64__)
    {&kernels_avx2, has_avx2},
#endif
#if defined(HAS_I8MM_KERNELS)
    {&kernels_i8mm, has_i8mm},
#endif
#if defined(HAS_DOTPROD_KERNELS)
    {&kernels_dotprod, has_dotprod},
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
