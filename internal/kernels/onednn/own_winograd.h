/* Winograd's convolution F(4x4, 3x3) (Lavin and Gray 2016): squares of 6x6
   pixels of the source and the weights are transformed to 36 frequencies,
   multiplied there, and transformed back to 4x4 pixels of the result: a quarter
   of the multiplications of the definition. Transforms are done for a block of
   tiles at a time, so that frequencies never leave the caches (Gelashvili et
   al. 2020, "L3 fusion").

   A 3x3 convolution of a map enlarged twice is four convolutions of the small
   map, one for each place of a pixel in its square, with kernels of 2x2 sums of
   weights. Seen as 3x3 kernels their first or last row and column is zero, and
   with it the first or last frequency of an axis: 25 frequencies each, of the
   same transformed source. */
#ifndef STYLENET_OWN_WINOGRAD_H
#define STYLENET_OWN_WINOGRAD_H
#include "own_fetch.h"
#include "own_stats.h"
#include "own_words.h"

/* The polynomials are evaluated at 0, A, -A, B, -B and infinity. With A and B
   the inverses of each other the errors are less than half of those of the
   usual 1 and 2 (Alam et al. 2022). */
#define WINO_A (2. / 3)
#define WINO_B (3. / 2)
/* What the weights' polynomials are multiplied by at each point. */
static const float wino_at_0 = 1 / (WINO_A * WINO_A * WINO_B * WINO_B);
static const float wino_at_a = 1 / (2 * WINO_A * WINO_A * (WINO_A * WINO_A - WINO_B * WINO_B));
static const float wino_at_b = 1 / (2 * WINO_B * WINO_B * (WINO_B * WINO_B - WINO_A * WINO_A));

/* Transforms along one axis, in place. */
INLINE void wino_source(vf d[6]) {
    const float a = WINO_A, b = WINO_B, aa = WINO_A * WINO_A, bb = WINO_B * WINO_B;
    const float product = WINO_A * WINO_A * WINO_B * WINO_B, sum = WINO_A * WINO_A + WINO_B * WINO_B;
    const vf even_a = d[4] - bb * d[2], odd_a = d[3] - bb * d[1];
    const vf even_b = d[4] - aa * d[2], odd_b = d[3] - aa * d[1];
    d[0] = product * d[0] - sum * d[2] + d[4];
    d[5] = product * d[1] - sum * d[3] + d[5];
    d[1] = even_a + a * odd_a;
    d[2] = even_a - a * odd_a;
    d[3] = even_b + b * odd_b;
    d[4] = even_b - b * odd_b;
}
INLINE void wino_weights(vf g[6]) {
    const float aa = WINO_A * WINO_A, bb = WINO_B * WINO_B;
    const vf even_a = wino_at_a * (g[0] + aa * g[2]), odd_a = (float)(WINO_A * wino_at_a) * g[1];
    const vf even_b = wino_at_b * (g[0] + bb * g[2]), odd_b = (float)(WINO_B * wino_at_b) * g[1];
    g[5] = g[2];
    g[0] = wino_at_0 * g[0];
    g[1] = even_a + odd_a;
    g[2] = even_a - odd_a;
    g[3] = even_b + odd_b;
    g[4] = even_b - odd_b;
}
/* Frequency 0 or 5 is zero where first or last is. */
INLINE void wino_result(vf y[4], const vf m[6], const int first, const int last) {
    const float a = WINO_A, b = WINO_B, aa = WINO_A * WINO_A, bb = WINO_B * WINO_B;
    const float aaa = WINO_A * WINO_A * WINO_A, bbb = WINO_B * WINO_B * WINO_B;
    const vf even_a = m[1] + m[2], odd_a = m[1] - m[2];
    const vf even_b = m[3] + m[4], odd_b = m[3] - m[4];
    y[0] = even_a + even_b;
    if (first) y[0] += m[0];
    y[1] = a * odd_a + b * odd_b;
    y[2] = aa * even_a + bb * even_b;
    y[3] = aaa * odd_a + bbb * odd_b;
    if (last) y[3] += m[5];
}

/* Tiles that are multiplied at a time, with two vectors of channels: what the
   registers hold. */
#if BLK == 16
#define WINO_ROWS 14
#elif defined(__AVX2__)
#define WINO_ROWS 6
#else
#define WINO_ROWS 3
#endif
/* Tiles of one line that are transformed at a time, in a first-level cache. */
#define WINO_LINE 6
#define WINO_PITCH ((4 * WINO_LINE + 2) * BLK)
/* Words of a block of channels. */
#define WINO_WORDS (BLK / PER_WORD)
/* Tiles of a block. More would read the weights less often, but leave the
   caches: what one pair of blocks of the result needs of a block is to fit in
   the second level. */
#define WINO_TILES (BLK == 16 ? WINO_ROWS : 5 * WINO_ROWS)
/* From this many bytes on weights do not stay in the third-level cache beside
   all else: then the threads go through them together, each its own part, for
   as many blocks as have their source transformed in WINO_GROUP bytes. */
#define WINO_SHARED ((size_t)8 << 20)
#define WINO_GROUP ((size_t)10 << 20)

/* How a convolution is cut, by shapes alone, so that statistics do not depend
   on the number of threads. */
typedef struct {
    sn_own_spec low;         /* of the small map */
    int phases;              /* places of a pixel of the result in its square: 1 or 4 */
    int across, tiles;       /* tiles of an image, line by line */
    int blocks, most;        /* blocks of tiles of an image; tiles of the largest */
    int maps, pairs;         /* blocks of channels of the source; pairs of them of the result */
    int steps;               /* pairs of all phases */
    int group;               /* blocks whose source the threads share; 0: each thread does its own */
    size_t source, product;  /* words from one frequency to the next */
} wino_plan;

/* Frequencies of a phase: n x n of the 6x6, from (y, x) on. */
typedef struct {
    int y, x, n;
} wino_part;
INLINE wino_part wino_phase(int phases, int phase) {
    return phases == 1 ? (wino_part){0, 0, 6} : (wino_part){phase / 2, phase % 2, 5};
}

/* Weights stand in the order in which they are read: for each phase, pair
   of blocks of the result and frequency the words of the source, each two
   vectors: a panel. */
INLINE size_t wino_panel(const sn_own_spec *s) { return (size_t)spans(s->src) * WINO_WORDS * 2 * BLK; }
INLINE size_t wino_packed_words(const sn_own_spec *s) {
    return (s->up == 1 ? 36 : 4 * 25) * wino_panel(s) * ((spans(s->dst) + 1) / 2);
}

static wino_plan wino_cut(const sn_own_spec *s) {
    wino_plan p = {.low = *s, .phases = s->up * s->up};
    if (s->up == 2) {
        /* What a mirror shows beyond the edge is on the edge of the small map. */
        p.low.up = 1;
        if (s->mode == SN_PAD_REFLECT) p.low.mode = SN_PAD_EDGE;
        p.low.dst.h /= 2, p.low.dst.w /= 2;
        /* An odd border leaves each pixel its place in its square. */
        p.low.pad.top = (s->pad.top + 1) / 2, p.low.pad.bottom = (s->pad.bottom + 1) / 2;
    }
    p.across = (p.low.dst.w + 3) / 4;
    p.tiles = (p.low.dst.h + 3) / 4 * p.across;
    p.blocks = (p.tiles + WINO_TILES - 1) / WINO_TILES;
    if (p.blocks * s->dst.n % 2 && p.tiles > 1) p.blocks++; /* for two threads */
    p.most = (p.tiles + p.blocks - 1) / p.blocks;
    p.maps = spans(s->src);
    p.pairs = (spans(s->dst) + 1) / 2;
    p.steps = p.phases * p.pairs;
    /* Frequencies lie apart by an odd number of lines, lest they share sets of the caches. */
    p.source = ((size_t)p.most * p.maps * WINO_WORDS + 15) / 16 * 16 | 16;
    p.product = ((size_t)2 * p.most * BLK + 15) / 16 * 16 | 16;
    if (wino_packed_words(s) * sizeof(word) > WINO_SHARED) {
        const size_t all = (size_t)s->dst.n * p.blocks, bytes = all * 36 * p.source * sizeof(word);
        p.group = (int)ceil_div(all, ceil_div(bytes, WINO_GROUP));
    }
    return p;
}

/* Not where the tiles or the blocks of channels would be mostly empty, nor
   where there are too few tiles to read four times as many weights for. */
static int wino_takes(const sn_own_spec *s) {
    const sn_border b = s->pad;
    if (s->kh != 3 || s->kw != 3 || s->stride != 1 || s->src.blk != BLK || s->dst.blk != BLK) return 0;
    if (s->up != 1 && (s->up != 2 || s->flipped || b.left != 1 || b.right != 1)) return 0;
    if (s->up != 1 && (b.top > 1 || b.top % 2 == 0 || b.bottom > 1 || b.bottom % 2 == 0)) return 0;
    const wino_plan p = wino_cut(s);
    return s->src.c >= 12 && s->dst.c >= 12 && p.tiles >= 4 && p.low.dst.h * p.low.dst.w >= 6 * p.tiles;
}

static size_t wino_packed_bytes(const sn_own_spec *s) { return wino_packed_words(s) * sizeof(word); }

/* Row or column k of the kernel that a phase sees on the small map. */
INLINE void wino_fold(vf g[3], const int up, const int odd) {
    if (up == 1) return;
    if (odd)
        g[1] += g[0], g[0] = (vf){};
    else
        g[1] += g[2], g[2] = (vf){};
}

/* The weights of span g of the source for span o of the result. */
static void wino_pack_spans(const sn_own_spec *s, const wino_plan *p, word *packed, const float *w, int o, int g) {
    float taps[BLK][9][BLK]; /* source channel, tap, channel of the result */
    const int outs = o * BLK < s->dst.c ? (int)least(BLK, s->dst.c - o * BLK) : 0;
    const int ins = (int)least(BLK, s->src.c - g * BLK);
    memset(taps, 0, sizeof taps);
    for (int k = 0; k < outs; k++)
        for (int i = 0; i < ins; i++) {
            const size_t to = o * BLK + k, from = g * BLK + i;
            const float *tap = w + 9 * (s->flipped ? from * s->dst.c + to : to * s->src.c + from);
            for (int t = 0; t < 9; t++) taps[i][t][k] = tap[s->flipped ? 8 - t : t];
        }
    const size_t panel = wino_panel(s);
    for (int phase = 0; phase < p->phases; phase++) {
        const wino_part f = wino_phase(p->phases, phase);
        word *to = packed + ((size_t)phase * p->pairs + o / 2) * f.n * f.n * panel;
        to += ((size_t)g * WINO_WORDS * 2 + o % 2) * BLK;
        for (int k = 0; k < WINO_WORDS; k++) {
            vf u[PER_WORD][6][6];
            for (int e = 0; e < PER_WORD; e++) {
                vf rows[3][6];
                for (int y = 0; y < 3; y++) {
                    for (int x = 0; x < 3; x++) rows[y][x] = load(taps[k * PER_WORD + e][y * 3 + x]);
                    wino_fold(rows[y], s->up, phase % 2);
                    wino_weights(rows[y]);
                }
                for (int x = 0; x < 6; x++) {
                    vf column[6] = {rows[0][x], rows[1][x], rows[2][x]};
                    wino_fold(column, s->up, phase / 2);
                    wino_weights(column);
                    for (int y = 0; y < 6; y++) u[e][y][x] = column[y];
                }
            }
            for (int y = 0; y < f.n; y++)
                for (int x = 0; x < f.n; x++)
                    store((float *)(to + (y * f.n + x) * panel + k * 2 * BLK),
                          make_words(u[0][f.y + y][f.x + x], u[PER_WORD - 1][f.y + y][f.x + x]));
        }
    }
}

static void wino_pack(const sn_own_spec *s, void *packed, const float *w) {
    const wino_plan p = wino_cut(s);
#pragma omp parallel for schedule(static)
    for (int i = 0; i < p.pairs * 2 * p.maps; i++) wino_pack_spans(s, &p, packed, w, i / p.maps, i % p.maps);
}

/* Bytes of scratch: the transformed source of a thread or of a group, and for
   each thread its products and fetched rows; last the statistics. */
typedef struct {
    size_t source, product, rows, moments;
} wino_sizes;
static wino_sizes wino_scratch(const wino_plan *p) {
    const size_t parts = (size_t)p->low.dst.n * p->blocks * p->phases;
    return (wino_sizes){
        .source = 36 * p->source * sizeof(word),
        .product = 36 * p->product * sizeof(float),
        .rows = 6 * WINO_PITCH * sizeof(float),
        .moments = p->low.stats ? parts * spans(p->low.dst) * sizeof(moments) : 0,
    };
}
static size_t wino_scratch_bytes(const sn_own_spec *s, int threads) {
    const wino_plan p = wino_cut(s);
    const wino_sizes z = wino_scratch(&p);
    return threads * (z.product + z.rows) + (p.group ? p.group : threads) * z.source + z.moments;
}

/* A block of tiles of an image. */
typedef struct {
    int image, number, first, count;
} wino_block;
INLINE wino_block wino_block_number(const wino_plan *p, int i) {
    const int number = i % p->blocks;
    const int first = (int)((size_t)p->tiles * number / p->blocks);
    return (wino_block){i / p->blocks, number, first, (int)((size_t)p->tiles * (number + 1) / p->blocks) - first};
}

/* Six lines of a span of the source. */
typedef struct {
    const act *line[6];
    vi there[6]; /* 0 for a line of zeros */
    source_norm norm;
    size_t next; /* elements to the next span */
} wino_lines;

static wino_lines wino_lines_at(const sn_own_spec *s, const sn_own_args *a, int image, int g, int y, int *some_zero) {
    wino_lines l = {.norm = norm_of(s, a, image, g)};
    const act *map = (const act *)a->src + ((size_t)image * spans(s->src) + g) * s->src.h * s->src.w * BLK;
    l.next = (size_t)s->src.h * s->src.w * BLK;
    *some_zero = 0;
    for (int r = 0; r < 6; r++) {
        const int at = border_index(y + r - s->pad.top, s->src.h, s->mode);
        l.line[r] = map + (at < 0 ? 0 : (size_t)at * s->src.w * BLK);
        l.there[r] = (vi){} - (at >= 0);
        *some_zero |= at < 0;
    }
    return l;
}

/* px columns, from column x of the source on, transformed. */
INLINE void wino_columns(float *to, const wino_lines *l, int x, int px, const int normalise, const int relu,
                         const int some_zero) {
    const source_norm norm = l->norm;
    const act *line[6];
#pragma GCC unroll 6
    for (int r = 0; r < 6; r++) line[r] = l->line[r] + (size_t)x * BLK;
    for (int c = 0; c < px; c++, to += BLK) {
        vf d[6];
#pragma GCC unroll 6
        for (int r = 0; r < 6; r++) {
            __builtin_prefetch(line[r] + (size_t)c * BLK + l->next, 0, 2);
            d[r] = seen(load_act(line[r] + (size_t)c * BLK), norm, normalise, relu);
            if (some_zero) d[r] = keep(l->there[r], d[r]);
        }
        wino_source(d);
#pragma GCC unroll 6
        for (int r = 0; r < 6; r++) store(to + r * WINO_PITCH, d[r]);
    }
}
static void wino_span(float *to, const wino_lines *l, int x, int px, const sn_own_spec *s, int some_zero) {
    switch (!!s->normalise << 2 | !!s->read_relu << 1 | some_zero) {
#define CASE(k)                                                             \
    case k:                                                                 \
        wino_columns(to, l, x, px, (k) >> 2, (k) >> 1 & 1, (k) & 1); \
        break;
        CASE(0) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7)
#undef CASE
    }
}

/* The words of tile t of span g. Paired, those of tiles t and t+1, t even, are
   side by side: the values of a word are of two tiles and not of two channels. */
INLINE size_t wino_place(const wino_plan *p, int g, int t, int paired) {
    return ((size_t)g * p->most + (paired && DOT2 ? t & ~1 : t)) * WINO_WORDS;
}
INLINE void wino_put(word *to, vf v, int paired, int odd) {
#if DOT2
    if (!paired)
        store_act((act *)to, v);
    else if (odd)
        store((float *)to, (vf)((vi)load((const float *)to) | (vi)make_words((vf){}, v)));
    else
        store((float *)to, make_words(v, (vf){}));
#else
    store((float *)to, v);
#endif
}

/* Span g of the source of a block, transformed: v is for each frequency maps x
   most x WINO_WORDS words. */
static void wino_transform(const wino_plan *p, const sn_own_args *a, wino_block b, int g, word *v, float *rows,
                           const int paired) {
    const sn_own_spec *s = &p->low;
    const int w = s->src.w;
    for (int t = 0, line; t < b.count; t += line) {
        const int y = (b.first + t) / p->across * 4, left = (b.first + t) % p->across;
        line = (int)least(least(b.count - t, p->across - left), WINO_LINE);
        int some_zero;
        const wino_lines l = wino_lines_at(s, a, b.image, g, y, &some_zero);
        float *to = rows;
        for (int x = 4 * left - s->pad.left, end = x + 4 * line + 2, px; x < end; x += px, to += px * BLK) {
            const int from = border_index(x, w, s->mode);
            px = x >= 0 && x < w ? (int)least(w - x, end - x) : 1;
            if (from >= 0)
                wino_span(to, &l, from, px, s, some_zero);
            else
                for (int r = 0; r < 6; r++) store(to + r * WINO_PITCH, all(0));
        }
        for (int k = 0; k < line; k++) {
            word *at = v + wino_place(p, g, t + k, paired);
            for (int r = 0; r < 6; r++) {
                const float *from = rows + r * WINO_PITCH + 4 * k * BLK;
                vf d[6];
#pragma GCC unroll 6
                for (int c = 0; c < 6; c++) d[c] = load(from + c * BLK);
                wino_source(d);
#pragma GCC unroll 6
                for (int c = 0; c < 6; c++, at += p->source) wino_put(at, d[c], paired, (t + k) % 2);
            }
        }
    }
}

/* One frequency of a few tiles, for a pair of spans of the result. */
INLINE void wino_multiply_rows(float *m, size_t next, const word *v, size_t map, const word *u, int maps,
                               const int rows) {
    vf sum[WINO_ROWS][2];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] = (vf){};
    for (int g = 0; g < maps; g++, v += map)
#pragma GCC unroll 4
        for (int k = 0; k < WINO_WORDS; k++, u += 2 * BLK) {
            const vf u0 = load((const float *)u), u1 = load((const float *)u + BLK);
#pragma GCC unroll 16
            for (int r = 0; r < rows; r++) {
                const vf x = broadcast_word(v + r * WINO_WORDS + k);
                sum[r][0] = multiply_add(sum[r][0], x, u0);
                sum[r][1] = multiply_add(sum[r][1], x, u1);
            }
        }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
        store(m + r * BLK, sum[r][0]);
        store(m + next + r * BLK, sum[r][1]);
    }
}

/* The products of a block for one pair of spans of the result: m is for each
   frequency 2 x most x a vector. */
static void wino_multiply(const wino_plan *p, wino_part f, int count, const word *v, const word *u, float *m) {
    const size_t map = (size_t)p->most * WINO_WORDS, next = (size_t)p->most * BLK;
    const int turns = (count + WINO_ROWS - 1) / WINO_ROWS;
    for (int i = 0; i < f.n * f.n; i++, u += wino_panel(&p->low))
        for (int turn = 0; turn < turns; turn++) {
            const int frequency = (f.y + i / f.n) * 6 + f.x + i % f.n, t = count * turn / turns;
            const word *from = v + frequency * p->source + t * WINO_WORDS;
            float *to = m + frequency * p->product + t * BLK;
            switch (count * (turn + 1) / turns - t) {
#define CASE(rows)                                                 \
    case rows:                                                     \
        wino_multiply_rows(to, next, from, map, u, p->maps, rows); \
        break;
                CASE(1) CASE(2) CASE(3)
#if WINO_ROWS > 3
                CASE(4) CASE(5) CASE(6)
#endif
#if WINO_ROWS > 6
                CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
#endif
#undef CASE
            }
        }
}

/* Where a span of the result goes. */
typedef struct {
    act *dst; /* pixel (0, 0) of its phase */
    vf bias;
    int up, streamed, relu;
    moments *moments;
} wino_target;

/* The result of a block for one span of one phase. */
INLINE void wino_store(const wino_plan *p, wino_block b, const float *m, wino_target to, const int first_y,
                       const int last_y, const int first_x, const int last_x) {
    const sn_dims d = p->low.dst;
    const size_t step = (size_t)to.up * BLK, pitch = step * to.up * d.w;
    vf shift = {}, sum = {}, squares = {};
    int pixels = 0;
    for (int t = 0; t < b.count; t++, m += BLK) {
        const int y = (b.first + t) / p->across * 4, x = (b.first + t) % p->across * 4;
        const int height = (int)least(4, d.h - y), width = (int)least(4, d.w - x);
        vf half[4][6];
#pragma GCC unroll 6
        for (int c = !first_x; c < 5 + last_x; c++) {
            vf f[6], r[4];
#pragma GCC unroll 6
            for (int k = !first_y; k < 5 + last_y; k++) f[k] = load(m + (k * 6 + c) * p->product);
            wino_result(r, f, first_y, last_y);
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++) half[k][c] = r[k];
        }
        act *line = to.dst + y * pitch + x * step;
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++, line += pitch) {
            vf v[4];
            wino_result(v, half[r], first_x, last_x);
            if (r >= height) continue;
#pragma GCC unroll 4
            for (int c = 0; c < 4; c++) {
                v[c] += to.bias;
                if (to.relu) v[c] = positive(v[c]);
                if (c >= width) continue;
                if (to.streamed)
                    stream_act(line + c * step, v[c]);
                else
                    store_act(line + c * step, v[c]);
                if (to.moments) { /* of what was stored */
                    act stored[BLK];
                    store_act(stored, v[c]);
                    const vf x = load_act(stored);
                    if (!pixels++) shift = x;
                    const vf e = x - shift;
                    sum += e;
                    squares += e * e;
                }
            }
        }
    }
    if (to.moments && pixels) {
        const vf mean = sum / all((float)pixels);
        squares -= sum * mean;
        to.moments->count = pixels;
        for (int l = 0; l < BLK; l++) {
            to.moments->mean[l] = (double)shift[l] + mean[l];
            to.moments->squares[l] = squares[l] > 0 ? squares[l] : 0;
        }
    }
}

/* All of one block for one pair of spans of one phase. */
static void wino_step(const wino_plan *p, const sn_own_args *a, wino_block b, int step, const word *v, float *m,
                      moments *parts, int streamed) {
    const sn_own_spec *low = &p->low;
    const int up = p->phases == 1 ? 1 : 2, blocks = spans(low->dst), phase = step / p->pairs, pair = step % p->pairs;
    const wino_part f = wino_phase(p->phases, phase);
    wino_multiply(p, f, b.count, v, (const word *)a->packed + (size_t)step * f.n * f.n * wino_panel(low), m);
    const size_t w = (size_t)low->dst.w * up, map = (size_t)low->dst.h * up * w * BLK;
    const size_t part = ((size_t)b.image * p->blocks + b.number) * p->phases + phase;
    for (int g = 2 * pair; g < 2 * pair + 2 && g < blocks; g++) {
        const wino_target to = {
            .dst = (act *)a->dst + (b.image * (size_t)blocks + g) * map + (phase / 2 * w + phase % 2) * BLK,
            .bias = low->bias ? channel_values(a->bias, low->dst, g) : all(0),
            .up = up,
            .streamed = streamed,
            .relu = low->relu,
            .moments = parts ? parts + part * blocks + g : NULL,
        };
        const float *from = m + (size_t)(g % 2) * p->most * BLK;
        if (up == 1)
            wino_store(p, b, from, to, 1, 1, 1, 1);
        else if (phase == 0)
            wino_store(p, b, from, to, 1, 0, 1, 0);
        else if (phase == 1)
            wino_store(p, b, from, to, 1, 0, 0, 1);
        else if (phase == 2)
            wino_store(p, b, from, to, 0, 1, 1, 0);
        else
            wino_store(p, b, from, to, 0, 1, 0, 1);
    }
}

static void wino_run(const sn_own_spec *s, const sn_own_args *a) {
    const wino_plan p = wino_cut(s);
    const wino_sizes z = wino_scratch(&p);
    const int all_blocks = s->dst.n * p.blocks;
    /* Only whole lines: half of one at a time would be slower than no streaming. */
    const int streamed = (s->up == 1 || sizeof(act) * BLK >= 64) && worth_streaming_map(a->dst, s->dst);
    char *scratch = a->scratch;
#pragma omp parallel
    {
        const int thread = omp_get_thread_num(), threads = omp_get_num_threads();
        char *own = scratch + thread * (z.product + z.rows), *shared = scratch + threads * (z.product + z.rows);
        moments *parts = s->stats ? (moments *)(shared + (p.group ? p.group : threads) * z.source) : NULL;
        float *m = (float *)own, *rows = (float *)(own + z.product);
        if (!p.group) {
            word *v = (word *)(shared + thread * z.source);
            const int end = (int)((size_t)all_blocks * (thread + 1) / threads);
            for (int i = (int)((size_t)all_blocks * thread / threads); i < end; i++) {
                const wino_block b = wino_block_number(&p, i);
                for (int g = 0; g < p.maps; g++) wino_transform(&p, a, b, g, v, rows, 0);
                for (int k = 0; k < p.steps; k++) wino_step(&p, a, b, k, v, m, parts, streamed);
            }
        } else {
            for (int start = 0; start < all_blocks; start += p.group) {
                const int count = (int)least(p.group, all_blocks - start);
#pragma omp for schedule(static)
                for (int i = 0; i < count * p.maps; i++)
                    wino_transform(&p, a, wino_block_number(&p, start + i / p.maps), i % p.maps,
                                   (word *)(shared + i / p.maps * z.source), rows, 0);
#pragma omp for schedule(static)
                for (int i = 0; i < count * p.steps; i++)
                    wino_step(&p, a, wino_block_number(&p, start + i % count), i / count,
                              (const word *)(shared + i % count * z.source), m, parts, streamed);
            }
        }
        stream_end(streamed);
#pragma omp barrier
        if (parts) moments_finish(parts, (size_t)p.blocks * p.phases, s->dst, s->eps, a->mean, a->invstd);
    }
}

static const sn_own_conv own_winograd = {
    .name = "winograd 4x4",
    .approximate = 1,
    .takes = wino_takes,
    .packed_bytes = wino_packed_bytes,
    .pack = wino_pack,
    .scratch_bytes = wino_scratch_bytes,
    .run = wino_run,
};
#endif
