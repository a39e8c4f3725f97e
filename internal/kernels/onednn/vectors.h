/* What all kernels of one instruction set and precision share: vectors, the
   elements of feature maps, and how maps are cut for the threads. The file that
   includes this has set BLK, and ACT_BF16 where blocked maps are bfloat16. */
#ifndef STYLENET_VECTORS_H
#define STYLENET_VECTORS_H
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include "kernels.h"

#define INLINE static inline __attribute__((always_inline))

/* ---- vectors ---- */

typedef float vf __attribute__((vector_size(4 * BLK)));
typedef int vi __attribute__((vector_size(4 * BLK)));
typedef float vf_unaligned __attribute__((vector_size(4 * BLK), aligned(4), may_alias));

INLINE vf all(float x) { return x - (vf){}; }
INLINE vf load(const float *p) { return *(const vf_unaligned *)p; }
INLINE void store(float *p, vf v) { *(vf_unaligned *)p = v; }

INLINE vf load_part(const float *p, size_t lanes) {
    float f[BLK] = {0};
    memcpy(f, p, lanes * sizeof *p);
    return load(f);
}
INLINE void store_part(float *p, vf v, size_t lanes) {
    float f[BLK];
    store(f, v);
    memcpy(p, f, lanes * sizeof *p);
}

/* A store past the caches. The address must be a multiple of the vector. */
INLINE void stream(float *p, vf v) {
#if defined(__AVX512F__) && BLK == 16
    _mm512_stream_ps(p, (__m512)v);
#elif defined(__AVX2__) && BLK == 8
    _mm256_stream_ps(p, (__m256)v);
#else
    store(p, v);
#endif
}
/* Makes streamed stores visible before whatever the thread signals next. */
INLINE void stream_end(int streamed) {
#if defined(__x86_64__)
    if (streamed) _mm_sfence();
#else
    (void)streamed;
#endif
}

#if BLK == 16
#define FIRST_HALVES 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define SECOND_HALVES 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#else
#define FIRST_HALVES 0, 8, 1, 9, 2, 10, 3, 11
#define SECOND_HALVES 4, 12, 5, 13, 6, 14, 7, 15
#endif

/* Vector i, lane j becomes vector j, lane i. Written one after the other, the
   bits of i and j are an address; each step rotates them by one bit. */
INLINE void transpose(vf *v) {
#if defined(__AVX2__)
#pragma GCC unroll 4
    for (int step = 1; step < BLK; step *= 2) {
        vf w[BLK];
#pragma GCC unroll 8
        for (int i = 0; i < BLK / 2; i++) {
            w[2 * i] = __builtin_shufflevector(v[i], v[i + BLK / 2], FIRST_HALVES);
            w[2 * i + 1] = __builtin_shufflevector(v[i], v[i + BLK / 2], SECOND_HALVES);
        }
#pragma GCC unroll 16
        for (int i = 0; i < BLK; i++) v[i] = w[i];
    }
#else /* without such shuffles memory is quicker */
    float f[BLK][BLK], g[BLK][BLK];
    memcpy(f, v, sizeof f);
    for (int i = 0; i < BLK; i++)
        for (int j = 0; j < BLK; j++) g[j][i] = f[i][j];
    memcpy(v, g, sizeof g);
#endif
}

/* ---- elements of maps ---- */

/* An element of a blocked map. Maps with blk 1 are always float: the kernels of
   kernels_impl.h for bfloat16, which need AVX-512 BF16, leave them to those for
   float. */
#if defined(ACT_BF16)
typedef uint16_t act;
#else
typedef float act;
#endif

#if defined(ACT_BF16)
INLINE uint16_t round_bf16(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return (uint16_t)(x == x ? (u + 0x7fff + (u >> 16 & 1)) >> 16 : u >> 16 | 0x40);
}
#endif

/* BLK elements as floats, and back, rounded to nearest even. */
INLINE vf load_act(const act *p) {
#if defined(ACT_BF16)
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16);
#else
    return load(p);
#endif
}
#if defined(ACT_BF16)
INLINE __m256i narrow(vf v) { return (__m256i)_mm512_cvtneps_pbh((__m512)v); }
#endif
INLINE void store_act(act *p, vf v) {
#if defined(ACT_BF16)
    _mm256_storeu_si256((__m256i *)p, narrow(v));
#else
    store(p, v);
#endif
}
/* As stream; the address must be a multiple of BLK elements. */
INLINE void stream_act(act *p, vf v) {
#if defined(ACT_BF16)
    _mm256_stream_si256((__m256i *)p, narrow(v));
#else
    stream(p, v);
#endif
}
INLINE vf load_part_act(const act *p, size_t lanes) {
    act a[BLK] = {0};
    memcpy(a, p, lanes * sizeof *p);
    return load_act(a);
}
INLINE void store_part_act(act *p, vf v, size_t lanes) {
    act a[BLK];
    store_act(a, v);
    memcpy(p, a, lanes * sizeof *p);
}
/* One element. */
INLINE float get_act(const act *p) {
#if defined(ACT_BF16)
    const uint32_t u = (uint32_t)*p << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
#else
    return *p;
#endif
}
INLINE void put_act(act *p, float x) {
#if defined(ACT_BF16)
    *p = round_bf16(x);
#else
    *p = x;
#endif
}

/* The function of that name for what p points at: floats or elements. */
#if defined(ACT_BF16)
#define OF(p, name) _Generic(*(p), float: name, act: name##_act)
#else
#define OF(p, name) name
#endif

INLINE vf pick(vi mask, vf a, vf b) { return (vf)(((vi)a & mask) | ((vi)b & ~mask)); }
INLINE vf keep(vi mask, vf a) { return (vf)((vi)a & mask); }
INLINE vf positive(vf x) { return keep(~(x <= 0), x); }
INLINE vf square_root(vf x) {
#if defined(__AVX512F__) && BLK == 16
    return (vf)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX2__) && BLK == 8
    return (vf)_mm256_sqrt_ps((__m256)x);
#else
    float f[BLK];
    store(f, x);
    for (int l = 0; l < BLK; l++) f[l] = __builtin_sqrtf(f[l]);
    return load(f);
#endif
}

/* MAP stores expr, an expression over AT(pointer), to n floats or elements of
   dst; dst may be one of the pointers, which may be of both kinds. SUM adds the
   lanes of expr over n of them to lane_sums; it adds in float32 over short runs
   only, so that the error does not grow with n. Past the end AT reads zeros,
   for which expr must be zero in a SUM. */
#define AT(p) (k_ == BLK ? OF(p, load)((p) + i_) : OF(p, load_part)((p) + i_, k_))
#define MAP(dst, n, streamed, expr)                                              \
    do {                                                                         \
        size_t i_ = 0, k_ = BLK;                                                 \
        const size_t n_ = (n);                                                   \
        if (streamed)                                                            \
            for (; i_ + BLK <= n_; i_ += BLK) OF(dst, stream)((dst) + i_, expr); \
        else                                                                     \
            for (; i_ + BLK <= n_; i_ += BLK) OF(dst, store)((dst) + i_, expr);  \
        k_ = n_ - i_;                                                            \
        if (k_) OF(dst, store_part)((dst) + i_, expr, k_);                       \
    } while (0)
#define RUN (256 * BLK)
#define SUM(sums, n, expr)                                      \
    do {                                                        \
        size_t i_ = 0;                                          \
        const size_t n_ = (n);                                  \
        while (i_ < n_) {                                       \
            const size_t end_ = n_ - i_ < RUN ? n_ : i_ + RUN;  \
            vf s_[4] = {};                                      \
            size_t k_ = BLK;                                    \
            while (i_ + 4 * BLK <= end_) {                      \
                s_[0] += expr, i_ += BLK;                       \
                s_[1] += expr, i_ += BLK;                       \
                s_[2] += expr, i_ += BLK;                       \
                s_[3] += expr, i_ += BLK;                       \
            }                                                   \
            for (; i_ + BLK <= end_; i_ += BLK) s_[0] += expr;  \
            k_ = end_ - i_;                                     \
            if (k_) s_[1] += expr, i_ = end_;                   \
            float f_[BLK];                                      \
            store(f_, (s_[0] + s_[1]) + (s_[2] + s_[3]));       \
            add_lanes(&(sums), f_);                             \
        }                                                       \
    } while (0)

typedef struct {
    double lane[BLK];
} lane_sums;

INLINE void add_lanes(lane_sums *s, const float *f) {
#pragma omp simd
    for (int l = 0; l < BLK; l++) s->lane[l] += f[l];
}
INLINE double total(const lane_sums *s) {
    double sum = 0;
    for (int l = 0; l < BLK; l++) sum += s->lane[l];
    return sum;
}
INLINE double add_up(const double *v, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += v[i];
    return sum;
}

/* ---- spans, pieces, parts ---- */

INLINE size_t least(size_t a, size_t b) { return a < b ? a : b; }
INLINE size_t ceil_div(size_t a, size_t b) { return (a + b - 1) / b; }

/* Where row or column i of a map of n pixels is read, -1 for a zero. i may lie
   beyond the border too, where results are cut off: any finite value does. */
INLINE int border_index(int i, int n, int mode) {
    if (i >= 0 && i < n) return i;
    if (mode == SN_PAD_ZERO) return -1;
    if (mode == SN_PAD_REFLECT) i = i < 0 ? -i : 2 * (n - 1) - i;
    return i < 0 ? 0 : i < n ? i : n - 1;
}

/* A pixel of a span: one element with blk 1, in all lanes. */
INLINE vf pixel(const act *p, const int blk) { return blk == 1 ? all(get_act(p)) : load_act(p); }
INLINE void put_pixel(act *p, vf v, const int blk, int streamed) {
    if (blk == 1)
        put_act(p, v[0]);
    else if (streamed)
        stream_act(p, v);
    else
        store_act(p, v);
}

/* Below this many elements the start of a parallel region costs more than it
   gains. */
#define WORTH_THREADS(count) ((count) > 32768)

/* Outputs of more bytes than this leave the caches before they are read again;
   streaming them saves reading their lines first. */
#define STREAM_FROM ((size_t)16 << 20)
INLINE int worth_streaming(const void *dst, size_t count, size_t size) {
    return count * size >= STREAM_FROM && (uintptr_t)dst % (size * BLK) == 0;
}
INLINE int worth_streaming_map(const act *dst, sn_dims d) {
    return d.blk == BLK && worth_streaming(dst, sn_count(d), sizeof *dst);
}

INLINE int spans(sn_dims d) { return d.blk == 1 ? d.c : (d.c + BLK - 1) / BLK; }
INLINE size_t span_elements(sn_dims d) { return (size_t)d.h * d.w * d.blk; }

/* The lanes of span g that are channels. */
INLINE vi channel_lanes(sn_dims d, int g) {
    vi m;
    for (int l = 0; l < BLK; l++) m[l] = d.blk == 1 || g * BLK + l < d.c ? -1 : 0;
    return m;
}
/* The parameters of span g, out of one value for each channel. */
INLINE vf channel_values(const float *p, sn_dims d, int g) {
    return d.blk == 1 ? all(p[g]) : keep(channel_lanes(d, g), load(p + (size_t)g * BLK));
}
INLINE void put_channel_values(float *p, const float *v, sn_dims d, int g) {
    int n = d.blk == 1 ? 1 : (int)least(BLK, d.c - g * BLK);
    memcpy(p + (size_t)g * d.blk, v, n * sizeof *v);
}

/* Spans cut to pieces that fit in a first-level cache. */
#define PIECE 8192
typedef struct {
    size_t at, len; /* elements */
    int span;       /* of its image */
} piece;

INLINE size_t pieces(sn_dims d) { return (size_t)d.n * spans(d) * ceil_div(span_elements(d), PIECE); }
INLINE piece piece_number(sn_dims d, size_t i) {
    const size_t len = span_elements(d), per_span = ceil_div(len, PIECE);
    const size_t s = i / per_span, at = i % per_span * PIECE;
    return (piece){s * len + at, least(PIECE, len - at), (int)(s % spans(d))};
}

/* Sums are taken over a fixed number of parts, each by one thread, and then
   over the parts in order: the same result with any number of threads. */
#define PARTS 128
INLINE size_t part_start(size_t count, size_t part, size_t parts, size_t unit) {
    return part == parts ? count : count / unit * part / parts * unit;
}
#endif
