//go:build onednn && cgo

#include "kernels.h"
#include <string.h>

extern const sn_kernels sn_kernels_base;
#if defined(__x86_64__)
extern const sn_kernels sn_kernels_avx512_bf16, sn_kernels_avx512, sn_kernels_avx2;
#endif

const sn_kernels *sn_kernels_named(const char *name) {
#if defined(__x86_64__)
    if (!strcmp(name, "avx512"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                       __builtin_cpu_supports("fma")
                   ? &sn_kernels_avx512
                   : NULL;
    if (!strcmp(name, "avx512_bf16"))
        return sn_kernels_named("avx512") && __builtin_cpu_supports("avx512bf16") ? &sn_kernels_avx512_bf16 : NULL;
    if (!strcmp(name, "avx2"))
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &sn_kernels_avx2 : NULL;
#endif
    return strcmp(name, "base") ? NULL : &sn_kernels_base;
}

const sn_kernels *sn_kernels_best(void) {
    const sn_kernels *k = sn_kernels_named("avx512");
    if (!k) k = sn_kernels_named("avx2");
    return k ? k : &sn_kernels_base;
}
