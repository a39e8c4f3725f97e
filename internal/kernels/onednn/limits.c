//go:build onednn && cgo

#include "limits.h"
#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* The fastest of several short runs: others may use the machine meanwhile. */
enum { RUNS = 20 };

/* Each chain waits for its last result, which takes 4 or 5 cycles: 16 of them
   keep two units busy. 32 results are more than an instruction set without 32
   registers holds. */
#define CHAINS 16
#define ROUNDS 200000L

/* A multiply-add on each chain, ROUNDS times. x keeps the compiler from
   computing the result, and the sink from leaving it out. */
#define LOOP(type, zero, step)                              \
    type acc[CHAINS];                                       \
    for (int i = 0; i < CHAINS; i++) acc[i] = zero;         \
    for (long n = 0; n < ROUNDS; n++) {                     \
        _Pragma("GCC unroll 16")                            \
        for (int i = 0; i < CHAINS; i++) acc[i] = step;     \
    }                                                       \
    type sum = zero;                                        \
    for (int i = 0; i < CHAINS; i++) sum += acc[i];         \
    return ((const float *)&sum)[0];

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx512f,avx512bf16"))) static float chains_bf16(float x) {
    __m512bh b = (__m512bh)_mm512_castps_si512(_mm512_set1_ps(x));
    LOOP(__m512, _mm512_setzero_ps(), _mm512_dpbf16_ps(acc[i], b, b))
}

__attribute__((target("avx512f"))) static float chains_avx512(float x) {
    __m512 b = _mm512_set1_ps(x);
    LOOP(__m512, _mm512_setzero_ps(), _mm512_fmadd_ps(acc[i], b, b))
}

__attribute__((target("avx2,fma"))) static float chains_avx2(float x) {
    __m256 b = _mm256_set1_ps(x);
    LOOP(__m256, _mm256_setzero_ps(), _mm256_fmadd_ps(acc[i], b, b))
}

static void copy(char *dst, const char *src, size_t bytes, int past_caches) {
    if (!past_caches) {
        memcpy(dst, src, bytes);
        return;
    }
    for (size_t i = 0; i + 16 <= bytes; i += 16)
        _mm_stream_si128((__m128i *)(dst + i), _mm_load_si128((const __m128i *)(src + i)));
    _mm_sfence();
}
#else
static void copy(char *dst, const char *src, size_t bytes, int past_caches) {
    (void)past_caches;
    memcpy(dst, src, bytes);
}
#endif

typedef float vec4 __attribute__((vector_size(16)));

static float chains_base(float x) {
    vec4 b = {x, x, x, x}, zero = {0, 0, 0, 0};
    LOOP(vec4, zero, acc[i] * b + b)
}

double sn_peak_flops(const char *isa, int threads) {
    float (*chains)(float) = chains_base;
    double per_round = 2.0 * CHAINS * 4;
#if defined(__x86_64__)
    if (!strcmp(isa, "avx512_bf16")) {
        chains = chains_bf16;
        per_round = 2.0 * CHAINS * 32;
    } else if (!strcmp(isa, "avx512")) {
        chains = chains_avx512;
        per_round = 2.0 * CHAINS * 16;
    } else if (!strcmp(isa, "avx2")) {
        chains = chains_avx2;
        per_round = 2.0 * CHAINS * 8;
    }
#else
    (void)isa;
#endif
    double best = 0;
    volatile float sink;
    for (int run = 0; run < RUNS; run++) {
        double start = 0;
        float sum = 0;
#pragma omp parallel num_threads(threads) reduction(+ : sum)
        {
#pragma omp barrier
#pragma omp master
            start = omp_get_wtime();
            sum += chains(1e-3f);
        }
        double rate = per_round * ROUNDS * threads / (omp_get_wtime() - start);
        sink = sum;
        if (rate > best) best = rate;
    }
    (void)sink;
    return best;
}

double sn_bandwidth(size_t bytes, int threads) {
    size_t each = (bytes / 2 / threads + 64) / 64 * 64, all = each * threads;
    char *src = aligned_alloc(64, all), *dst = aligned_alloc(64, all);
    double best = 0;
    if (src && dst) {
        /* Short copies are repeated within a run: a millisecond at least. */
        long repeat = 1 + (long)(20e6 / (double)all);
        for (int run = 0; run <= RUNS; run++) {
            double start = 0;
#pragma omp parallel num_threads(threads)
            {
                size_t at = each * omp_get_thread_num();
                if (run == 0) {
                    memset(src + at, 1, each);
                    memset(dst + at, 1, each);
                }
#pragma omp barrier
#pragma omp master
                start = omp_get_wtime();
                for (long i = 0; i < repeat; i++) copy(dst + at, src + at, each, run % 2);
            }
            double rate = 2.0 * all * repeat / (omp_get_wtime() - start);
            if (rate > best) best = rate;
        }
    }
    free(src);
    free(dst);
    return best;
}
