/* Gradients for the weights of kernels 9 wide between a map of few channels and
   a map of blocks of them, the ends of a style network. Lanes are channels of
   the blocked map, and the registers hold the sums of a whole row of taps with
   all channels of the other map. */
#ifndef STYLENET_OWN_WGRAD_H
#define STYLENET_OWN_WGRAD_H
#include "own_fetch.h"
#include "own_words.h"

#define WGRAD_WIDTH 9
#define WGRAD_MAX_FEW 3 /* channels of the plain map */
/* Taps at a time, times those channels, in registers. */
#if BLK == 16
#define WGRAD_TAPS 9
#else
#define WGRAD_TAPS 3
#endif
/* The result is cut to parts, whole rows of an image each, whose sums are added
   up in order; a part to tiles that fit in a second-level cache. */
#define WGRAD_PARTS 32
#define WGRAD_ROWS 8
#define WGRAD_COLS 128

typedef struct {
    int parts, cols, in_pitch, blocks;
    size_t tile, other, row, sums; /* bytes: the tiles and a row of a thread, the sums of a part */
} wgrad_plan;

static size_t wgrad_aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

static wgrad_plan wgrad_cut(const sn_own_spec *s) {
    const int few_out = s->dst.blk == 1, in_rows = WGRAD_ROWS - 1 + s->kh;
    const size_t vector = BLK * sizeof(float);
    wgrad_plan p;
    p.parts = (int)least(WGRAD_PARTS, (size_t)s->dst.n * s->dst.h);
    p.cols = (int)ceil_div(s->dst.w, ceil_div(s->dst.w, WGRAD_COLS));
    p.in_pitch = p.cols + s->kw + BLK; /* pixels of the tile of the source; words have one pixel more to the right */
    p.blocks = spans(few_out ? s->src : s->dst);
    p.row = wgrad_aligned((size_t)p.in_pitch * (few_out ? vector : sizeof(float)));
    p.tile = wgrad_aligned((size_t)spans(s->src) * in_rows * p.in_pitch * (few_out ? vector : sizeof(float)));
    p.other = DOT2 ? wgrad_aligned((size_t)WGRAD_ROWS * spans(s->dst) * (p.cols + BLK) * (few_out ? sizeof(float) : vector)) : 0;
    p.sums = wgrad_aligned((size_t)p.blocks * s->kh * s->kw * (few_out ? s->dst.c : s->src.c) * vector);
    return p;
}

static int wgrad_takes(const sn_own_spec *s) {
    const int few = s->dst.blk == 1 ? s->dst.c : s->src.c;
    return s->kw == WGRAD_WIDTH && s->kh <= 11 && s->stride == 1 && (s->src.blk == 1) != (s->dst.blk == 1) &&
           few <= WGRAD_MAX_FEW;
}

static size_t wgrad_scratch_bytes(const sn_own_spec *s, int threads) {
    const wgrad_plan p = wgrad_cut(s);
    return threads * (p.tile + p.other + p.row) + p.parts * p.sums;
}

/* A tile of the result and what it reads. */
typedef struct {
    int image, y, x, rows, cols;
} wgrad_tile;

/* The source of a tile: vectors of blocks of channels, words of which hold a
   pixel and the next, or rows of one channel. */
static void wgrad_fetch(const sn_own_spec *s, const sn_own_args *a, const wgrad_plan *p, wgrad_tile t, char *tile, float *row) {
    const int rows = t.rows - 1 + s->kh, cols = t.cols - 1 + s->kw + DOT2;
    for (int g = 0; g < spans(s->src); g++)
        for (int y = 0; y < rows; y++) {
            const size_t at = ((size_t)g * (WGRAD_ROWS - 1 + s->kh) + y) * p->in_pitch;
            float *to = (float *)tile + at * s->src.blk;
            if (!DOT2) {
                fetch_row(to, s, a, t.image, g, t.y + y, t.x, cols);
                continue;
            }
            fetch_row(row, s, a, t.image, g, t.y + y, t.x, cols);
            if (s->src.blk == 1)
                for (int x = 0; x < cols; x += BLK) store_act((act *)tile + at + x, load(row + x));
            else
                for (int x = 0; x + 1 < cols; x++)
                    store(to + (size_t)x * BLK, make_words(load(row + (size_t)x * BLK), load(row + (size_t)(x + 1) * BLK)));
        }
}

/* Row y of span g of a gradient of the result, at the tile's first column. */
INLINE const char *wgrad_row(const sn_own_spec *s, const void *ddst, wgrad_tile t, int g, int y) {
    const size_t at = (((size_t)t.image * spans(s->dst) + g) * s->dst.h + t.y + y) * s->dst.w + t.x;
    return (const char *)ddst + at * (s->dst.blk == 1 ? sizeof(float) : BLK * sizeof(act));
}

/* Adds the products of a tile to sums, vectors [block][ky][kx][few channel].
   other: rows of the result, words of pixels where it has few channels, and
   vectors of words where the source has few. */
INLINE void wgrad_multiply(const sn_own_spec *s, const wgrad_plan *p, wgrad_tile t, const char *tile, const char *const *other,
                           float *sums, const int few, const int few_out) {
    const size_t line = (size_t)(WGRAD_ROWS - 1 + s->kh) * p->in_pitch, pixel = few_out ? 4 * BLK : 4 / PER_WORD;
    for (int g = 0; g < p->blocks; g++)
        for (int ky = 0; ky < s->kh; ky++)
            for (int kx = 0; kx < WGRAD_WIDTH; kx += WGRAD_TAPS, sums += WGRAD_TAPS * few * BLK) {
                vf acc[WGRAD_TAPS][WGRAD_MAX_FEW];
#pragma GCC unroll 9
                for (int k = 0; k < WGRAD_TAPS; k++)
#pragma GCC unroll 3
                    for (int f = 0; f < few; f++) acc[k][f] = load(sums + (k * few + f) * BLK);
                for (int y = 0; y < t.rows; y++) {
                    const char *x = tile + ((few_out ? g * line : 0) + (size_t)(y + ky) * p->in_pitch + kx) * pixel;
                    const char *d[WGRAD_MAX_FEW];
#pragma GCC unroll 3
                    for (int f = 0; f < few; f++) d[f] = other[(few_out ? f : g) * WGRAD_ROWS + y];
                    for (int c = 0; c < t.cols; c += PER_WORD, x += PER_WORD * pixel) {
                        vf v[WGRAD_MAX_FEW];
#pragma GCC unroll 3
                        for (int f = 0; f < few; f++)
                            v[f] = few_out ? broadcast_word(d[f] + c * (4 / PER_WORD)) : load((const float *)d[0] + c / PER_WORD * BLK);
#pragma GCC unroll 9
                        for (int k = 0; k < WGRAD_TAPS; k++)
#pragma GCC unroll 3
                            for (int f = 0; f < few; f++)
                                acc[k][f] = multiply_add(acc[k][f], few_out ? load((const float *)(x + k * pixel))
                                                                            : broadcast_word(x + f * line * pixel + k * pixel), v[f]);
                    }
                }
#pragma GCC unroll 9
                for (int k = 0; k < WGRAD_TAPS; k++)
#pragma GCC unroll 3
                    for (int f = 0; f < few; f++) store(sums + (k * few + f) * BLK, acc[k][f]);
            }
}

#define WGRAD(name, few, few_out)                                                                         \
    static __attribute__((noinline)) void name(const sn_own_spec *s, const wgrad_plan *p, wgrad_tile t,  \
                                               const char *tile, const char *const *other, float *sums) { \
        wgrad_multiply(s, p, t, tile, other, sums, few, few_out);                                        \
    }
WGRAD(wgrad_out_1, 1, 1)
WGRAD(wgrad_out_2, 2, 1)
WGRAD(wgrad_out_3, 3, 1)
WGRAD(wgrad_in_1, 1, 0)
WGRAD(wgrad_in_2, 2, 0)
WGRAD(wgrad_in_3, 3, 0)
#undef WGRAD

static void wgrad_one_tile(const sn_own_spec *s, const sn_own_args *a, const wgrad_plan *p, const void *ddst, wgrad_tile t,
                           char *tile, char *words, float *row, float *sums) {
    const int few_out = s->dst.blk == 1, count = spans(s->dst);
    const char *other[count * WGRAD_ROWS];
    wgrad_fetch(s, a, p, t, tile, row);
    for (int g = 0; g < count; g++)
        for (int y = 0; y < t.rows; y++) {
            const char *from = wgrad_row(s, ddst, t, g, y);
            other[g * WGRAD_ROWS + y] = from;
#if DOT2
            /* words of two pixels, the last with nothing */
            const size_t line = (size_t)(p->cols + BLK) * (few_out ? 2 : 2 * BLK);
            act *to = (act *)(words + (g * WGRAD_ROWS + y) * line);
            other[g * WGRAD_ROWS + y] = (const char *)to;
            if (few_out)
                for (int x = 0; x <= t.cols; x += BLK)
                    store_act(to + x, x < t.cols ? load_part((const float *)from + x, least(BLK, t.cols - x)) : (vf){});
            else
                for (int x = 0; x < t.cols; x += 2) {
                    const act *pixel = (const act *)from + (size_t)x * BLK;
                    store((float *)to + (size_t)x / 2 * BLK,
                          make_words(load_act(pixel), x + 1 < t.cols ? load_act(pixel + BLK) : (vf){}));
                }
#endif
        }
    (void)words;
    if (few_out)
        (s->dst.c == 1 ? wgrad_out_1 : s->dst.c == 2 ? wgrad_out_2 : wgrad_out_3)(s, p, t, tile, other, sums);
    else
        (s->src.c == 1 ? wgrad_in_1 : s->src.c == 2 ? wgrad_in_2 : wgrad_in_3)(s, p, t, tile, other, sums);
}

static void wgrad_run(const sn_own_spec *s, const sn_own_args *a, const void *ddst, float *dw) {
    const wgrad_plan p = wgrad_cut(s);
    const int few_out = s->dst.blk == 1, few = few_out ? s->dst.c : s->src.c, lines = s->dst.n * s->dst.h;
#pragma omp parallel
    {
        const size_t me = omp_get_thread_num(), threads = omp_get_num_threads(), mine = p.tile + p.other + p.row;
        char *tile = (char *)a->scratch + me * mine, *words = tile + p.tile;
        float *row = (float *)(words + p.other);
        char *parts = (char *)a->scratch + threads * mine;
#pragma omp for schedule(static)
        for (int part = 0; part < p.parts; part++) {
            float *sums = (float *)(parts + part * p.sums);
            memset(sums, 0, p.sums);
            const int end = (int)((size_t)lines * (part + 1) / p.parts);
            for (int y = (int)((size_t)lines * part / p.parts), rows; y < end; y += rows) {
                rows = (int)least(least(WGRAD_ROWS, end - y), s->dst.h - y % s->dst.h);
                for (int x = 0; x < s->dst.w; x += p.cols) {
                    const wgrad_tile t = {y / s->dst.h, y % s->dst.h, x, rows, (int)least(p.cols, s->dst.w - x)};
                    wgrad_one_tile(s, a, &p, ddst, t, tile, words, row, sums);
                }
            }
        }
#pragma omp for schedule(static)
        for (int o = 0; o < s->dst.c; o++)
            for (int i = 0; i < s->src.c; i++)
                for (int k = 0; k < s->kh * s->kw; k++) {
                    const int blocked = few_out ? i : o, other = few_out ? o : i;
                    const size_t at = (((size_t)(blocked / BLK) * s->kh * s->kw + k) * few + other) * BLK + blocked % BLK;
                    double sum = 0;
                    for (int part = 0; part < p.parts; part++) sum += ((const float *)(parts + part * p.sums))[at];
                    dw[((size_t)o * s->src.c + i) * s->kh * s->kw + k] = (float)sum;
                }
    }
}

static const sn_own_wgrad own_wgrad_few = {
    .name = "few channels",
    .takes = wgrad_takes,
    .scratch_bytes = wgrad_scratch_bytes,
    .run = wgrad_run,
};
#endif
