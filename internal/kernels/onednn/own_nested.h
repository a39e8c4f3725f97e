/* 9x9 convolutions by nested Winograd: the kernel is 3x3 kernels of 3x3 taps,
   each done as F(3x3, 3x3), whose tiles of the result are as far apart as the
   small kernels are, so that all nine read the same transformed source and add
   up before the transform back: 225 multiplications for 9 pixels instead of 729
   (Jiang et al. 2020). The two kinds are those of a style network's ends: a
   source of few channels, and a result of few channels. */
#ifndef STYLENET_OWN_NESTED_H
#define STYLENET_OWN_NESTED_H
#include "own_direct.h"

/* Points per axis, and their number in a square. The polynomials are evaluated
   at 0, 1, -1, 2 and infinity. */
#define NEST 5
#define NEST2 (NEST * NEST)

INLINE void nest_source(vf d[NEST]) {
    const vf t = d[3] - d[1], u = d[3] - d[2];
    d[4] = d[4] - d[2] - 2 * t;
    d[0] = 2 * (d[0] - d[2]) + t;
    d[2] = u - 2 * (d[2] - d[1]);
    d[1] = u - 2 * d[1];
    d[3] = t;
}
INLINE void nest_result(vf y[3], const vf m[NEST]) {
    const vf sum = m[1] + m[2];
    y[0] = m[0] + sum + m[3];
    y[1] = m[1] - m[2] + 2 * m[3];
    y[2] = sum + 4 * m[3] + m[4];
}
INLINE void nest_weights(double w[NEST], double a, double b, double c) {
    w[0] = a / 2;
    w[1] = -(a + b + c) / 2;
    w[2] = -(a - b + c) / 6;
    w[3] = (a + 2 * b + 4 * c) / 6;
    w[4] = c;
}

/* The points of one of the 3x3 kernels between two channels. */
static void nest_weights_square(const sn_own_spec *s, const float *w, int o, int i, int gy, int gx, double out[NEST2]) {
    double rows[3][NEST];
    for (int y = 0; y < 3; y++)
        nest_weights(rows[y], direct_weight(s, w, o, i, 3 * gy + y, 3 * gx), direct_weight(s, w, o, i, 3 * gy + y, 3 * gx + 1),
                     direct_weight(s, w, o, i, 3 * gy + y, 3 * gx + 2));
    for (int x = 0; x < NEST; x++) {
        double column[NEST];
        nest_weights(column, rows[0][x], rows[1][x], rows[2][x]);
        for (int y = 0; y < NEST; y++) out[y * NEST + x] = column[y];
    }
}

/* The points of the tiles of one channel. rows are NEST rows of its pixels, each
   as three lines of every third pixel, `line` floats apart, the first lines of
   pixel 0, 3, 6 and so on. One pixel past the last tile's is read. scratch:
   3 * NEST lines, and a vector. */
INLINE void nest_transform(float *points, size_t point, const float *const rows[NEST], size_t line, int tiles,
                           float *scratch) {
    vf d[NEST];
    for (int r = 0; r < 3; r++)
        for (int t = 0; t < tiles; t += BLK) {
#pragma GCC unroll 5
            for (int y = 0; y < NEST; y++) d[y] = load(rows[y] + r * line + t);
            nest_source(d);
#pragma GCC unroll 5
            for (int y = 0; y < NEST; y++) store(scratch + (y * 3 + r) * line + t, d[y]);
        }
    for (int y = 0; y < NEST; y++, scratch += 3 * line)
        for (int t = 0; t < tiles; t += BLK) {
#pragma GCC unroll 5
            for (int x = 0; x < NEST; x++) d[x] = load(scratch + x % 3 * line + t + x / 3);
            nest_source(d);
#pragma GCC unroll 5
            for (int x = 0; x < NEST; x++) store(points + (y * NEST + x) * point + t, d[x]);
        }
}

/* Every third pixel of three vectors, from pixel `first` on. */
INLINE vf every_third(vf a, vf b, vf c, const int first) {
    vi ab = {}, abc = {};
    for (int l = 0; l < BLK; l++) {
        const int at = 3 * l + first;
        ab[l] = at < 2 * BLK ? at : 0;
        abc[l] = at < 2 * BLK ? l : at - BLK;
    }
    return __builtin_shuffle(__builtin_shuffle(a, b, ab), c, abc);
}

/* Back: pixels part * BLK and on of such lines. */
INLINE vf in_turn(const vf lines[3], const int part) {
    vi ab = {}, abc = {};
    for (int l = 0; l < BLK; l++) {
        const int at = part * BLK + l;
        ab[l] = at / 3 + at % 3 % 2 * BLK;
        abc[l] = at % 3 < 2 ? l : BLK + at / 3;
    }
    return __builtin_shuffle(__builtin_shuffle(lines[0], lines[1], ab), lines[2], abc);
}

/* ---- sources of few channels ---- */

/* A unit is rows x cols tiles; its points lie as [point][channel][row][tile].
   Tiles are multiplied DIRECT_PIXELS at a time. */
typedef struct {
    int rows, cols, down, across, high, wide, pitch;
    size_t points, lines, scratch, products, sums; /* floats, for each thread */
    size_t all;
} nest_plan;

static nest_plan nest_cut(const sn_own_spec *s) {
    nest_plan p;
    p.high = (s->dst.h + 2) / 3, p.wide = (s->dst.w + 2) / 3;
    p.across = (p.wide + 4 * DIRECT_PIXELS - 1) / (4 * DIRECT_PIXELS);
    p.cols = ((p.wide + p.across - 1) / p.across + DIRECT_PIXELS - 1) / DIRECT_PIXELS * DIRECT_PIXELS;
    p.across = (p.wide + p.cols - 1) / p.cols;
    p.down = (int)ceil_div(32, (size_t)s->dst.n * p.across); /* enough for all threads of a small map */
    if (p.down < p.high / 6) p.down = p.high / 6;
    if (p.down > p.high) p.down = p.high;
    p.rows = (p.high + p.down - 1) / p.down;
    p.down = (p.high + p.rows - 1) / p.rows;
    p.pitch = (p.cols + 3 + BLK - 1) / BLK * BLK;
    p.points = (size_t)NEST2 * s->src.c * (p.rows + 2) * p.pitch;
    p.lines = (size_t)(3 * (p.rows + 2) + 2) * 3 * p.pitch;
    p.scratch = (size_t)3 * (NEST + 1) * p.pitch + BLK;
    p.products = (size_t)NEST2 * DIRECT_PIXELS * 2 * BLK;
    p.sums = (size_t)9 * p.cols * 2 * BLK;
    p.all = (p.points + p.lines + p.scratch + p.products + p.sums + 15) / 16 * 16;
    return p;
}

static int nest_takes(const sn_own_spec *s) {
    return s->kh == 9 && s->kw == 9 && s->stride == 1 && s->src.blk == 1 && s->dst.blk == BLK;
}

/* [pair of blocks][point][channel, gy, gx][channel of the result] */
static size_t nest_packed_bytes(const sn_own_spec *s) {
    return (size_t)NEST2 * s->src.c * 9 * spans(s->dst) * BLK * sizeof(float) + 64;
}
static void nest_pack(const sn_own_spec *s, void *packed, const float *w) {
    const int outs = spans(s->dst) * BLK, taps = s->src.c * 9;
#pragma omp parallel for schedule(static)
    for (int o = 0; o < outs; o++) {
        const int width = (int)least(2 * BLK, outs - o / (2 * BLK) * 2 * BLK);
        float *to = (float *)packed + (size_t)(o / (2 * BLK)) * NEST2 * taps * 2 * BLK + o % (2 * BLK);
        for (int t = 0; t < taps; t++) {
            double points[NEST2];
            nest_weights_square(s, w, o, t / 9, t / 3 % 3, t % 3, points);
            for (int k = 0; k < NEST2; k++) to[((size_t)k * taps + t) * width] = (float)points[k];
        }
    }
}

static size_t nest_scratch_bytes(const sn_own_spec *s, int threads) {
    const nest_plan p = nest_cut(s);
    return threads * p.all * sizeof(float) +
           (s->stats ? (size_t)s->dst.n * p.down * p.across * spans(s->dst) * sizeof(moments) : 0);
}

/* One point of px tiles: of a channel of the source, the next row of tiles is
   `pitch` floats on, the next channel `channel`. */
INLINE void nest_pixels(float *out, const float *in, int channels, size_t channel, size_t pitch, const float *w,
                        const int px, const int blocks) {
    vf acc[DIRECT_PIXELS][2];
#pragma GCC unroll 16
    for (int k = 0; k < px; k++) acc[k][0] = acc[k][1] = (vf){};
    for (int c = 0; c < channels; c++, in += channel)
        for (int gy = 0; gy < 3; gy++)
            for (int gx = 0; gx < 3; gx++, w += blocks * BLK) {
                const float *x = in + gy * pitch + gx;
                const vf w0 = load(w), w1 = blocks > 1 ? load(w + BLK) : (vf){};
#pragma GCC unroll 16
                for (int k = 0; k < px; k++) {
                    acc[k][0] += all(x[k]) * w0;
                    if (blocks > 1) acc[k][1] += all(x[k]) * w1;
                }
            }
#pragma GCC unroll 16
    for (int k = 0; k < px; k++)
#pragma GCC unroll 2
        for (int j = 0; j < blocks; j++) store(out + (k * blocks + j) * BLK, acc[k][j]);
}

/* All points of px tiles, and back to their pixels: out has rows `row` floats
   apart. */
INLINE void nest_tiles(float *out, size_t row, float *products, const float *in, size_t point, int channels,
                       size_t channel, size_t pitch, const float *w, const int px, const int blocks) {
    const size_t one = (size_t)px * blocks * BLK;
    for (int k = 0; k < NEST2; k++, w += channels * 9 * blocks * BLK)
        nest_pixels(products + k * one, in + k * point, channels, channel, pitch, w, px, blocks);
    for (int t = 0; t < px; t++)
        for (int j = 0; j < blocks; j++) {
            const float *from = products + (t * blocks + j) * BLK;
            vf m[NEST], rows[3][NEST], y[3];
#pragma GCC unroll 5
            for (int x = 0; x < NEST; x++) {
#pragma GCC unroll 5
                for (int k = 0; k < NEST; k++) m[k] = load(from + (k * NEST + x) * one);
                nest_result(y, m);
                rows[0][x] = y[0], rows[1][x] = y[1], rows[2][x] = y[2];
            }
#pragma GCC unroll 3
            for (int r = 0; r < 3; r++) {
                nest_result(y, rows[r]);
#pragma GCC unroll 3
                for (int x = 0; x < 3; x++) store(out + r * row + ((t * 3 + x) * blocks + j) * BLK, y[x]);
            }
        }
}
INLINE void nest_line(float *out, size_t row, float *products, const float *in, size_t point, int channels, size_t channel,
                      size_t pitch, const float *w, int px, const int blocks) {
#define NEST_RUN(count)                                                                      \
    for (; px >= (count); px -= (count), out += (count) * 3 * blocks * BLK, in += (count)) \
    nest_tiles(out, row, products, in, point, channels, channel, pitch, w, count, blocks)
    NEST_RUN(DIRECT_PIXELS);
#if DIRECT_PIXELS > 8
    NEST_RUN(8);
#endif
    NEST_RUN(4);
    NEST_RUN(2);
    NEST_RUN(1);
#undef NEST_RUN
}

static void nest_run(const sn_own_spec *s, const sn_own_args *a) {
    const nest_plan p = nest_cut(s);
    const size_t per_image = (size_t)p.down * p.across, units = per_image * s->dst.n;
    const size_t channel = (size_t)(p.rows + 2) * p.pitch, point = s->src.c * channel;
    const int streamed = worth_streaming_map(a->dst, s->dst), blocks_all = spans(s->dst);
#pragma omp parallel
    {
        const size_t me = omp_get_thread_num(), threads = omp_get_num_threads();
        float *points = (float *)a->scratch + me * p.all, *lines = points + p.points, *scratch = lines + p.lines;
        float *products = scratch + p.scratch, *sums = products + p.products;
        moments *parts = (moments *)((float *)a->scratch + threads * p.all);
        for (size_t u = units * me / threads; u < units * (me + 1) / threads; u++) {
            const int image = (int)(u / per_image), first = (int)(u / p.across % p.down) * p.rows;
            const int left = (int)(u % p.across) * p.cols;
            const int rows = (int)least(p.rows, p.high - first), cols = (int)least(p.cols, p.wide - left);
            for (int c = 0; c < s->src.c; c++) {
                for (int y = 0; y < 3 * (rows + 2) + 2; y++) {
                    float *pixels = scratch, *to = lines + (size_t)y * 3 * p.pitch;
                    fetch_row(pixels, s, a, image, c, 3 * first + y, 3 * left, 3 * (cols + 3));
                    for (int t = 0; t < cols + 3; t += BLK) {
                        const vf v[3] = {load(pixels + 3 * t), load(pixels + 3 * t + BLK), load(pixels + 3 * t + 2 * BLK)};
                        store(to + t, every_third(v[0], v[1], v[2], 0));
                        store(to + p.pitch + t, every_third(v[0], v[1], v[2], 1));
                        store(to + 2 * p.pitch + t, every_third(v[0], v[1], v[2], 2));
                    }
                }
                for (int y = 0; y < rows + 2; y++) {
                    const float *from[NEST];
                    for (int k = 0; k < NEST; k++) from[k] = lines + (size_t)(3 * y + k) * 3 * p.pitch;
                    nest_transform(points + c * channel + (size_t)y * p.pitch, point, from, p.pitch, cols + 3, scratch);
                }
            }
            moments *found = s->stats ? parts + u * blocks_all : NULL;
            if (found) memset(found, 0, blocks_all * sizeof *found);
            for (int b = 0; b < blocks_all; b += 2) {
                const int blocks = (int)least(2, blocks_all - b);
                const float *w = (const float *)a->packed + (size_t)b * NEST2 * s->src.c * 9 * BLK;
                const size_t row = (size_t)3 * p.cols * blocks * BLK;
                for (int y = 0; y < rows; y++) {
                    const float *in = points + (size_t)y * p.pitch;
                    if (blocks > 1)
                        nest_line(sums, row, products, in, point, s->src.c, channel, p.pitch, w, cols, 2);
                    else
                        nest_line(sums, row, products, in, point, s->src.c, channel, p.pitch, w, cols, 1);
                    const int at = 3 * (first + y), x = 3 * left;
                    for (int j = 0; j < blocks; j++)
                        own_finish(s, a, image, b + j, at, x, (int)least(3, s->dst.h - at),
                                   (int)least(3 * cols, s->dst.w - x), sums + j * BLK, row, blocks * BLK,
                                   found ? found + b + j : NULL, streamed);
                }
            }
            stream_end(streamed);
        }
#pragma omp barrier
        if (s->stats) moments_finish(parts, per_image, s->dst, s->eps, a->mean, a->invstd);
    }
}

static const sn_own_conv own_nested_source = {
    .name = "nested Winograd, few source channels",
    .approximate = 1,
    .takes = nest_takes,
    .packed_bytes = nest_packed_bytes,
    .pack = nest_pack,
    .scratch_bytes = nest_scratch_bytes,
    .run = nest_run,
};

/* ---- results of few channels ---- */

/* Lanes are tiles: NEST_WIDE of them along x, of which the last 3 are of no use,
   as the small kernels reach 2 further and a tile reads one pixel past its
   third. A unit is a strip of that width, rows tiles high. */
#define NEST_WIDE 48
#define NEST_USE (NEST_WIDE - 3)
#define NEST_MAX_OUTS 4
typedef struct {
    int rows, down, across, high, wide, channels;
    size_t points, lines, pixels, scratch, products; /* floats, for each thread */
    size_t all;
} nest_few_plan;

static nest_few_plan nest_few_cut(const sn_own_spec *s) {
    nest_few_plan p;
    p.high = (s->dst.h + 2) / 3, p.wide = (s->dst.w + 2) / 3;
    p.channels = spans(s->src) * BLK;
    p.across = (p.wide + NEST_USE - 1) / NEST_USE;
    p.down = (int)ceil_div(8, (size_t)s->dst.n * p.across);
    if (p.down < p.high / 16) p.down = p.high / 16;
    if (p.down > p.high) p.down = p.high;
    p.rows = (p.high + p.down - 1) / p.down;
    p.down = (p.high + p.rows - 1) / p.rows;
    p.points = (size_t)3 * NEST2 * p.channels * NEST_WIDE;
    p.lines = (size_t)NEST * p.channels * 3 * NEST_WIDE;
    p.pixels = (size_t)3 * NEST_WIDE * BLK;
    p.scratch = (size_t)3 * NEST * NEST_WIDE + 3 * NEST_MAX_OUTS * NEST_WIDE + 2 * BLK;
    p.products = (size_t)NEST2 * s->dst.c * NEST_WIDE;
    p.all = (p.points + p.lines + p.pixels + p.scratch + p.products + 15) / 16 * 16;
    return p;
}

static int nest_few_takes(const sn_own_spec *s) {
    return s->kh == 9 && s->kw == 9 && s->stride == 1 && s->src.blk == BLK && s->dst.blk == 1 &&
           s->dst.c <= NEST_MAX_OUTS && !s->stats;
}

/* [point][gy][channel][channel of the result][gx] */
static size_t nest_few_packed_bytes(const sn_own_spec *s) {
    return (size_t)NEST2 * spans(s->src) * BLK * 9 * s->dst.c * sizeof(float) + 64;
}
static void nest_few_pack(const sn_own_spec *s, void *packed, const float *w) {
    const int channels = spans(s->src) * BLK;
    const size_t point = (size_t)channels * 9 * s->dst.c;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < channels; i++)
        for (int t = 0; t < 9 * s->dst.c; t++) {
            const int gy = t / 3 / s->dst.c, o = t / 3 % s->dst.c, gx = t % 3;
            double points[NEST2];
            nest_weights_square(s, w, o, i, gy, gx, points);
            for (int k = 0; k < NEST2; k++)
                ((float *)packed)[k * point + (size_t)(gy * channels + i) * 3 * s->dst.c + o * 3 + gx] = (float)points[k];
        }
}

static size_t nest_few_scratch_bytes(const sn_own_spec *s, int threads) {
    return threads * nest_few_cut(s).all * sizeof(float);
}

/* One point of `vectors` vectors of tiles: the products with each channel of the
   result and each of the three small kernels along x go to lines of their own,
   so that all loads are of whole lines of the caches. */
INLINE void nest_few_vectors(float *out, const float *const in[3], int channels, const float *w, const int vectors,
                             const int outs) {
    vf acc[3 * NEST_MAX_OUTS][3];
#pragma GCC unroll 12
    for (int o = 0; o < 3 * outs; o++) acc[o][0] = acc[o][1] = acc[o][2] = (vf){};
    for (int gy = 0; gy < 3; gy++) {
        const float *x = in[gy];
        for (int i = 0; i < channels; i++, x += NEST_WIDE, w += 3 * outs) {
            vf v[3];
#pragma GCC unroll 3
            for (int k = 0; k < vectors; k++) v[k] = load(x + k * BLK);
#pragma GCC unroll 12
            for (int o = 0; o < 3 * outs; o++) {
                const vf weight = all(w[o]);
#pragma GCC unroll 3
                for (int k = 0; k < vectors; k++) acc[o][k] += v[k] * weight;
            }
        }
    }
#pragma GCC unroll 12
    for (int o = 0; o < 3 * outs; o++)
#pragma GCC unroll 3
        for (int k = 0; k < vectors; k++) store(out + o * NEST_WIDE + k * BLK, acc[o][k]);
}

/* All points of a line of tiles. */
INLINE void nest_few_line(float *products, const float *const lines[3], int channels, const float *w, int vectors,
                          float *scratch, source_ahead *ahead, const int outs) {
    const size_t point = (size_t)channels * NEST_WIDE;
    const int most = BLK < 16 ? 1 : outs == 4 ? 2 : 3;
    for (int k = 0; k < NEST2; k++, w += (size_t)channels * 9 * outs) {
        read_ahead(ahead, k, NEST2);
        const float *in[3] = {lines[0] + k * point, lines[1] + k * point, lines[2] + k * point};
        int v = 0;
        for (; v + most <= vectors; v += most) {
            const float *at[3] = {in[0] + v * BLK, in[1] + v * BLK, in[2] + v * BLK};
            nest_few_vectors(scratch + v * BLK, at, channels, w, most, outs);
        }
        for (; v < vectors; v++) {
            const float *at[3] = {in[0] + v * BLK, in[1] + v * BLK, in[2] + v * BLK};
            nest_few_vectors(scratch + v * BLK, at, channels, w, 1, outs);
        }
        for (int o = 0; o < outs; o++, products += NEST_WIDE) {
            const float *sums = scratch + o * 3 * NEST_WIDE;
            for (int t = 0; t < vectors * BLK; t += BLK)
                store(products + t, load(sums + t) + load(sums + NEST_WIDE + t + 1) + load(sums + 2 * NEST_WIDE + t + 2));
        }
    }
}
#define NEST_FEW(name, outs)                                                                                     \
    static __attribute__((noinline)) void name(float *products, const float *const lines[3], int channels,      \
                                               const float *w, int vectors, float *scratch,                     \
                                               source_ahead *ahead) {                                        \
        nest_few_line(products, lines, channels, w, vectors, scratch, ahead, outs);                              \
    }
NEST_FEW(nest_few_1, 1)
NEST_FEW(nest_few_2, 2)
NEST_FEW(nest_few_3, 3)
NEST_FEW(nest_few_4, 4)
#undef NEST_FEW

/* Fetches row y of a strip of `vectors` vectors of tiles, from pixel x on, as
   lines of every third pixel of each channel. */
static void nest_few_fetch(const sn_own_spec *s, const sn_own_args *a, int image, int y, int x, int vectors, float *lines,
                           float *pixels) {
    for (int g = 0; g < spans(s->src); g++) {
        fetch_row(pixels, s, a, image, g, y, x, 3 * vectors * BLK);
        for (int v = 0; v < vectors; v++)
            for (int r = 0; r < 3; r++) {
                vf square[BLK];
#pragma GCC unroll 16
                for (int k = 0; k < BLK; k++) square[k] = load(pixels + (size_t)(3 * (v * BLK + k) + r) * BLK);
                transpose(square);
#pragma GCC unroll 16
                for (int k = 0; k < BLK; k++) store(lines + (size_t)((g * BLK + k) * 3 + r) * NEST_WIDE + v * BLK, square[k]);
            }
    }
}

/* A line of tiles back to pixels, and into the result. */
static void nest_few_finish(const sn_own_spec *s, const sn_own_args *a, int image, int y, int x, int vectors, int cols,
                            const float *products, float *pixels) {
    const size_t row = (size_t)3 * NEST_WIDE;
    for (int o = 0; o < s->dst.c; o++) {
        for (int t = 0; t < vectors; t++) {
            const float *from = products + (size_t)o * NEST_WIDE + t * BLK;
            vf m[NEST], rows[3][NEST], v[3];
            for (int c = 0; c < NEST; c++) {
                for (int k = 0; k < NEST; k++) m[k] = load(from + (size_t)(k * NEST + c) * s->dst.c * NEST_WIDE);
                nest_result(v, m);
                rows[0][c] = v[0], rows[1][c] = v[1], rows[2][c] = v[2];
            }
            for (int r = 0; r < 3; r++) {
                float *to = pixels + r * row + (size_t)t * 3 * BLK;
                nest_result(v, rows[r]);
                store(to, in_turn(v, 0));
                store(to + BLK, in_turn(v, 1));
                store(to + 2 * BLK, in_turn(v, 2));
            }
        }
        for (int r = 0; r < 3 && y + r < s->dst.h; r++)
            own_finish_plain(s, a, image, o, y + r, x, cols, pixels + r * row);
    }
}

static void nest_few_run(const sn_own_spec *s, const sn_own_args *a) {
    const nest_few_plan p = nest_few_cut(s);
    const size_t units = (size_t)p.down * p.across * s->dst.n;
    const size_t line = (size_t)NEST2 * p.channels * NEST_WIDE, row = (size_t)p.channels * 3 * NEST_WIDE;
#pragma omp parallel
    {
        const size_t me = omp_get_thread_num(), threads = omp_get_num_threads();
        float *points = (float *)a->scratch + me * p.all, *lines = points + p.points, *pixels = lines + p.lines;
        float *products = pixels + p.pixels, *scratch = products + p.products;
        for (size_t u = units * me / threads; u < units * (me + 1) / threads; u++) {
            const int image = (int)(u / p.across / p.down), left = (int)(u % p.across) * NEST_USE;
            const int first = (int)(u / p.across % p.down) * p.rows, rows = (int)least(p.rows, p.high - first);
            const int tiles = (int)least(NEST_USE, p.wide - left), vectors = (tiles + 3 + BLK - 1) / BLK;
            for (int y = 0; y < rows + 2; y++) {
                /* rows and lines of tiles take turns in their places */
                for (int k = y == 0 ? 0 : NEST - 3; k < NEST; k++)
                    nest_few_fetch(s, a, image, 3 * (first + y) + k, 3 * left, vectors, lines + (3 * y + k) % NEST * row,
                                   pixels);
                for (int c = 0; c < p.channels; c++) {
                    const float *from[NEST];
                    for (int k = 0; k < NEST; k++) from[k] = lines + (3 * y + k) % NEST * row + (size_t)c * 3 * NEST_WIDE;
                    nest_transform(points + y % 3 * line + (size_t)c * NEST_WIDE, (size_t)p.channels * NEST_WIDE, from,
                                   NEST_WIDE, vectors * BLK, scratch);
                }
                if (y < 2) continue;
                const float *in[3] = {points + (y - 2) % 3 * line, points + (y - 1) % 3 * line, points + y % 3 * line};
                source_ahead ahead = {0};
                if (y + 1 < rows + 2)
                    ahead = source_rows(s, a, image, 3 * (first + y) + NEST, 3, 3 * left, 3 * vectors * BLK);
                (s->dst.c == 1   ? nest_few_1
                 : s->dst.c == 2 ? nest_few_2
                 : s->dst.c == 3 ? nest_few_3
                                 : nest_few_4)(products, in, p.channels, a->packed, vectors, scratch,
                                              &ahead);
                nest_few_finish(s, a, image, 3 * (first + y - 2), 3 * left, vectors, (int)least(3 * tiles, s->dst.w - 3 * left),
                                products, pixels);
            }
        }
    }
}

static const sn_own_conv own_nested_result = {
    .name = "nested Winograd, few channels of the result",
    .approximate = 1,
    .takes = nest_few_takes,
    .packed_bytes = nest_few_packed_bytes,
    .pack = nest_few_pack,
    .scratch_bytes = nest_few_scratch_bytes,
    .run = nest_few_run,
};
#endif
