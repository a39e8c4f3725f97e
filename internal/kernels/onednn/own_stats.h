/* Statistics of a convolution's result, taken while parts of it are in the
   caches: the moments of each part around its own mean, merged in double
   precision in the order of the parts (Chan, Golub and LeVeque 1983). Parts
   are cut by shapes alone, so that the result does not depend on the number of
   threads. */
#ifndef STYLENET_OWN_STATS_H
#define STYLENET_OWN_STATS_H
#include "vectors.h"

/* Of a block of channels. */
typedef struct {
    double count, mean[BLK], squares[BLK]; /* squares: of the distances from the mean */
} moments;

INLINE void moments_merge(moments *m, double count, const double *mean, const double *squares) {
    const double all = m->count + count, share = count / all;
    if (count == 0) return;
#pragma omp simd
    for (int l = 0; l < BLK; l++) {
        const double d = mean[l] - m->mean[l];
        m->mean[l] += d * share;
        m->squares[l] += squares[l] + d * d * m->count * share;
    }
    m->count = all;
}

/* Adds px vectors, each `step` floats after the other. px is that of a short
   row: sums over it are taken in float32. */
INLINE void moments_add(moments *m, const float *v, int px, size_t step) {
    if (px <= 0) return;
    vf s[4] = {}, q[4] = {};
    int x = 0;
    for (; x + 4 <= px; x += 4)
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) s[k] += load(v + (size_t)(x + k) * step);
    for (; x < px; x++) s[0] += load(v + (size_t)x * step);
    const vf mean = ((s[0] + s[1]) + (s[2] + s[3])) / all((float)px);
    for (x = 0; x + 4 <= px; x += 4)
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            const vf d = load(v + (size_t)(x + k) * step) - mean;
            q[k] += d * d;
        }
    for (; x < px; x++) {
        const vf d = load(v + (size_t)x * step) - mean;
        q[0] += d * d;
    }
    float f[2][BLK];
    double row_mean[BLK], squares[BLK];
    store(f[0], mean);
    store(f[1], (q[0] + q[1]) + (q[2] + q[3]));
    for (int l = 0; l < BLK; l++) row_mean[l] = f[0][l], squares[l] = f[1][l];
    moments_merge(m, px, row_mean, squares);
}

/* Merges the parts of each image, blocks of a part following each other, into
   mean and invstd of d.n * d.c values. All threads of a region call it, after a
   barrier. */
static void moments_finish(const moments *parts, size_t per_image, sn_dims d, float eps, float *mean, float *invstd) {
    const int blocks = spans(d);
#pragma omp for schedule(static)
    for (int i = 0; i < d.n * blocks; i++) {
        const int image = i / blocks, b = i % blocks;
        moments m = {0};
        for (size_t p = 0; p < per_image; p++) {
            const moments *part = parts + ((size_t)image * per_image + p) * blocks + b;
            moments_merge(&m, part->count, part->mean, part->squares);
        }
        for (int l = 0; l < (int)least(BLK, d.c - b * BLK); l++) {
            const size_t c = (size_t)image * d.c + (size_t)b * BLK + l;
            mean[c] = (float)m.mean[l];
            invstd[c] = (float)(1 / __builtin_sqrt(m.squares[l] / m.count + (double)eps));
        }
    }
}
#endif
