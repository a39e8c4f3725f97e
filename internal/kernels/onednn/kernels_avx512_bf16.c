//go:build onednn && cgo

/* The kernels for blocked maps in bfloat16; see kernels_avx512.c. */
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma,prefer-vector-width=512")
#define BLK 16
#define ACT_BF16
#define SN_NAME "avx512_bf16"
#define SN_TABLE sn_kernels_avx512_bf16
#define SN_PLAIN sn_kernels_avx512
#include "kernels_impl.h"
#endif
