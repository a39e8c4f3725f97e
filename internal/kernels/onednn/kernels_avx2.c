//go:build onednn && cgo

/* The kernels for processors with AVX2 and FMA; see kernels_avx512.c. */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma")
#define BLK 8
#define SN_NAME "avx2"
#define SN_TABLE sn_kernels_avx2
#include "kernels_impl.h"
#endif
