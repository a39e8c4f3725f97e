/* Gradients for the weights of 3x3 kernels between maps of blocks of channels,
   by the transposes of Winograd's transforms (own_winograd.h): the gradient of
   the result goes to 36 frequencies by the transpose of the result's
   transform, products with those of the source are added up over all tiles, and
   only their sums go back to 3x3 weights. */
#ifndef STYLENET_OWN_WINOGRAD_WEIGHTS_H
#define STYLENET_OWN_WINOGRAD_WEIGHTS_H
#include "own_winograd.h"

/* Rows of sums that are in registers at a time, each two vectors. */
#define WWINO_ROWS (BLK / 2)
/* The threads transform lines of tiles of together so many bytes, then multiply
   all of them, each its own frequencies: sums are the same with any number of
   threads. */
#define WWINO_GROUP ((size_t)8 << 20)

typedef struct {
    wino_plan source, result; /* of both maps a group's tiles */
    int lines, pitch;         /* lines of tiles of a map; tiles of one, whole words */
    int group;                /* lines of a group */
    size_t row;               /* floats of a row of sums: channels of the result */
} wwino_plan;

static wwino_plan wwino_cut(const sn_own_spec *s) {
    wwino_plan p = {.source = wino_cut(s)};
    p.lines = (s->dst.h + 3) / 4;
    p.pitch = (int)ceil_div(p.source.across, PER_WORD) * PER_WORD;
    p.row = (size_t)(spans(s->dst) + 1) / 2 * 2 * BLK;
    const size_t line = 36 * p.pitch * WINO_WORDS * sizeof(word) * (spans(s->src) + p.row / BLK);
    const size_t all = (size_t)s->dst.n * p.lines;
    p.group = (int)ceil_div(all, ceil_div(line * all, WWINO_GROUP));
    p.source.most = p.group * p.pitch;
    p.source.source = ((size_t)p.source.most * spans(s->src) * WINO_WORDS + 15) / 16 * 16 | 16;
    p.result = p.source;
    p.result.source = ((size_t)p.source.most * (p.row / BLK) * WINO_WORDS + 15) / 16 * 16 | 16;
    return p;
}

static int wwino_takes(const sn_own_spec *s) { return s->up == 1 && wino_takes(s); }

static size_t wwino_sums(const wwino_plan *p) { return 36 * (size_t)p->source.maps * BLK * p->row; }
static size_t wwino_scratch_bytes(const sn_own_spec *s, int threads) {
    const wwino_plan p = wwino_cut(s);
    return 36 * (p.source.source + p.result.source) * sizeof(word) +
           (wwino_sums(&p) + (size_t)threads * 6 * WINO_PITCH) * sizeof(float);
}

/* The transpose of wino_result. */
INLINE void wwino_result(vf m[6], const vf y[4]) {
    const float a = WINO_A, b = WINO_B, aa = WINO_A * WINO_A, bb = WINO_B * WINO_B;
    const float aaa = WINO_A * WINO_A * WINO_A, bbb = WINO_B * WINO_B * WINO_B;
    const vf even_a = y[0] + aa * y[2], odd_a = a * y[1] + aaa * y[3];
    const vf even_b = y[0] + bb * y[2], odd_b = b * y[1] + bbb * y[3];
    m[0] = y[0];
    m[1] = even_a + odd_a;
    m[2] = even_a - odd_a;
    m[3] = even_b + odd_b;
    m[4] = even_b - odd_b;
    m[5] = y[3];
}
/* The transpose of wino_weights. */
INLINE void wwino_weights(vf g[3], const vf u[6]) {
    const float aa = WINO_A * WINO_A, bb = WINO_B * WINO_B;
    const vf even_a = wino_at_a * (u[1] + u[2]), odd_a = (float)(WINO_A * wino_at_a) * (u[1] - u[2]);
    const vf even_b = wino_at_b * (u[3] + u[4]), odd_b = (float)(WINO_B * wino_at_b) * (u[3] - u[4]);
    g[0] = wino_at_0 * u[0] + even_a + even_b;
    g[1] = odd_a + odd_b;
    g[2] = aa * even_a + bb * even_b + u[5];
}

/* A line of tiles of span g of the gradient of the result, transformed; pixels
   beyond the map are zero, and so are spans. */
static void wwino_transform(const wwino_plan *p, const act *ddst, int line, int g, word *v) {
    const sn_dims d = p->result.low.dst;
    const int y = line % p->lines * 4, height = g < spans(d) ? (int)least(4, d.h - y) : 0;
    const act *from = ddst + (((size_t)line / p->lines * spans(d) + g) * d.h + y) * d.w * BLK;
    for (int t = 0; t < p->result.across; t++) {
        const int width = (int)least(4, d.w - 4 * t);
        vf half[6][4];
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) {
            vf pixels[4], m[6];
#pragma GCC unroll 4
            for (int r = 0; r < 4; r++)
                pixels[r] = r < height && c < width ? load_act(from + ((size_t)r * d.w + 4 * t + c) * BLK) : (vf){};
            wwino_result(m, pixels);
#pragma GCC unroll 6
            for (int r = 0; r < 6; r++) half[r][c] = m[r];
        }
        word *at = v + wino_place(&p->result, g, t, 1);
        for (int r = 0; r < 6; r++) {
            vf m[6];
            wwino_result(m, half[r]);
#pragma GCC unroll 6
            for (int c = 0; c < 6; c++, at += p->result.source) wino_put(at, m[c], 1, t % 2);
        }
    }
}

/* Adds to WWINO_ROWS rows of sums of one frequency the products of count words of
   channels of the source with those of two spans of the result. */
static void wwino_multiply(float *sums, size_t row, const word *v, const word *d, size_t next, int count, int fresh) {
    vf acc[WWINO_ROWS][2];
#pragma GCC unroll 8
    for (int r = 0; r < WWINO_ROWS; r++) {
        acc[r][0] = fresh ? (vf){} : load(sums + r * row);
        acc[r][1] = fresh ? (vf){} : load(sums + r * row + BLK);
    }
    for (int k = 0; k < count; k++, v += BLK, d += BLK) {
        const vf d0 = load((const float *)d), d1 = load((const float *)(d + next));
#pragma GCC unroll 8
        for (int r = 0; r < WWINO_ROWS; r++) {
            const vf x = broadcast_word(v + r);
            acc[r][0] = multiply_add(acc[r][0], x, d0);
            acc[r][1] = multiply_add(acc[r][1], x, d1);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < WWINO_ROWS; r++) {
        store(sums + r * row, acc[r][0]);
        store(sums + r * row + BLK, acc[r][1]);
    }
}

/* The weights of channel i of the source, of the sums of all frequencies. */
static void wwino_finish(const wwino_plan *p, const float *sums, int i, float *dw) {
    const sn_own_spec *s = &p->source.low;
    const size_t next = (size_t)p->source.maps * BLK * p->row;
    for (int o = 0; o < s->dst.c; o += BLK) {
        const float *from = sums + i * p->row + o;
        vf half[6][3], taps[3];
        float found[9][BLK];
        for (int r = 0; r < 6; r++) {
            vf m[6];
            for (int c = 0; c < 6; c++, from += next) m[c] = load(from);
            wwino_weights(half[r], m);
        }
        for (int x = 0; x < 3; x++) {
            vf column[6];
            for (int r = 0; r < 6; r++) column[r] = half[r][x];
            wwino_weights(taps, column);
            for (int y = 0; y < 3; y++) store(found[3 * y + x], taps[y]);
        }
        for (int l = 0; l < (int)least(BLK, s->dst.c - o); l++)
            for (int t = 0; t < 9; t++) dw[((size_t)(o + l) * s->src.c + i) * 9 + t] = found[t][l];
    }
}

static void wwino_run(const sn_own_spec *s, const sn_own_args *a, const void *ddst, float *dw) {
    const wwino_plan p = wwino_cut(s);
    const int maps = p.source.maps, both = maps + (int)(p.row / BLK), lines = s->dst.n * p.lines;
    word *source = a->scratch, *result = source + 36 * p.source.source;
    float *sums = (float *)(result + 36 * p.result.source), *rows = sums + wwino_sums(&p);
    const size_t next = (size_t)p.result.most * WINO_WORDS;
#pragma omp parallel
    for (int start = 0; start < lines; start += p.group) {
        const int count = (int)least(p.group, lines - start);
#pragma omp for schedule(static)
        for (int i = 0; i < count * both; i++) {
            const int g = i % both, line = start + i / both;
            const size_t at = (size_t)(i / both) * p.pitch * WINO_WORDS;
            const wino_block b = {
                .image = line / p.lines, .first = line % p.lines * p.source.across, .count = p.source.across};
            if (g < maps)
                wino_transform(&p.source, a, b, g, source + at, rows + (size_t)omp_get_thread_num() * 6 * WINO_PITCH, 1);
            else
                wwino_transform(&p, ddst, line, g - maps, result + at);
        }
#pragma omp for schedule(static)
        for (int i = 0; i < 36 * maps; i++) {
            const word *v = source + i / maps * p.source.source + (size_t)(i % maps) * next;
            const word *d = result + i / maps * p.result.source;
            for (size_t o = 0; o < p.row; o += 2 * BLK, d += 2 * next)
                for (int r = 0; r < BLK; r += WWINO_ROWS)
                    wwino_multiply(sums + ((size_t)i * BLK + r) * p.row + o, p.row, v + r, d, next,
                                   count * p.pitch / PER_WORD, start == 0);
        }
    }
#pragma omp parallel for schedule(static)
    for (int i = 0; i < s->src.c; i++) wwino_finish(&p, sums, i, dw);
}

static const sn_own_wgrad own_wgrad_winograd = {
    .name = "winograd 4x4",
    .approximate = 1,
    .takes = wwino_takes,
    .scratch_bytes = wwino_scratch_bytes,
    .run = wwino_run,
};
#endif
