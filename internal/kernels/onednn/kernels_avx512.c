//go:build onednn && cgo

/* The kernels for processors with AVX-512. The pragma stands before every
   include, so that the intrinsics and the functions that OpenMP splits off are
   compiled for it too. */
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,prefer-vector-width=512")
#define BLK 16
#define SN_NAME "avx512"
#define SN_TABLE sn_kernels_avx512
#include "kernels_impl.h"
#endif
