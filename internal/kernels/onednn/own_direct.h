/* Direct convolutions of our own: small kernels, strides 1 and 2. The source is
   fetched into a tile of the second-level cache, normalised and padded, and
   read from there: with broadcasts for blocks of channels of the result, or, for
   results of few channels, in whole blocks whose lanes are added up at the end.
   See own.h for what stands in spec and args. */
#ifndef STYLENET_OWN_DIRECT_H
#define STYLENET_OWN_DIRECT_H
#include "own_fetch.h"
#include "own_stats.h"
#include "own_words.h"

/* The weight from source channel i to channel o of the result, zero where
   there is none. */
INLINE float direct_weight(const sn_own_spec *s, const float *w, int o, int i, int ky, int kx) {
    if (o >= s->dst.c || i >= s->src.c || kx >= s->kw) return 0;
    if (s->flipped)
        return w[(((size_t)i * s->dst.c + o) * s->kh + s->kh - 1 - ky) * s->kw + s->kw - 1 - kx];
    return w[(((size_t)o * s->src.c + i) * s->kh + ky) * s->kw + kx];
}

#if BLK == 16
#define DIRECT_PIXELS 14 /* times two vectors of channels */
#define DIRECT_VECTORS 8 /* of the source, times up to 3 channels */
#else
#define DIRECT_PIXELS 6
#define DIRECT_VECTORS 4
#endif
#define DIRECT_MAX_KERNEL 11
/* Bytes of the source that are fetched at a time, for a second-level cache. */
#define DIRECT_TILE ((size_t)384 << 10)
/* Bytes of weights that stay in a first-level cache beside it. */
#define DIRECT_WEIGHTS (20 << 10)

/* How one convolution is cut. A unit is rows x cols pixels of the result of
   one image, all channels of it; which depends on the shapes alone, and so do
   the statistics. The fetched tile has `maps` maps of in_rows x in_pitch
   elements of in_bytes bytes. */
typedef struct {
    int rows, cols, down, across; /* units of an image */
    int maps, in_rows, in_cols, in_pitch, in_bytes;
    int groups;       /* pairs of blocks of the result */
    int runs, length; /* the kernel: runs of words that follow each other in the tile */
    int chunk;        /* runs at a time, whose weights fit in a first-level cache */
    size_t tile, sums, row; /* bytes, for each thread */
} direct_plan;

static direct_plan direct_cut(const sn_own_spec *s) {
    const int plain_dst = s->dst.blk == 1, plain_src = s->src.blk == 1;
    direct_plan p = {0};
    p.maps = spans(s->src);
    p.groups = (spans(s->dst) + 1) / 2;
    if (plain_src) {
        p.in_bytes = 4 / PER_WORD;
        p.runs = p.maps * s->kh;
        p.chunk = s->kh;
        p.length = (s->kw + PER_WORD - 1) / PER_WORD;
    } else {
        p.in_bytes = 4 * BLK / PER_WORD;
        p.runs = p.maps * s->kh * s->kw;
        p.chunk = s->kh * s->kw;
        p.length = plain_dst ? 1 : BLK / PER_WORD;
    }
    if (!plain_dst)
        for (int map = p.chunk; p.chunk < p.runs && (size_t)(p.chunk + map) * p.length * 8 * BLK < DIRECT_WEIGHTS;)
            p.chunk += map;
    /* Wide units first, for long rows, then as high as fits. */
    const int wide = 8 * DIRECT_PIXELS;
    for (p.across = (s->dst.w + wide - 1) / wide, p.rows = 16;;) {
        p.cols = (s->dst.w + p.across - 1) / p.across;
        if (plain_dst) p.cols = (p.cols + BLK - 1) / BLK * BLK; /* in whole vectors */
        p.in_rows = (p.rows - 1) * s->stride + s->kh;
        p.in_cols = (p.cols - 1) * s->stride + s->kw;
        p.in_pitch = p.in_cols + (plain_src ? 2 * BLK : 0);
        p.tile = (size_t)p.maps * p.in_rows * p.in_pitch * p.in_bytes;
        if (p.tile <= DIRECT_TILE) break;
        if (p.rows > 4 * s->stride)
            p.rows--;
        else if (p.cols > 2 * DIRECT_PIXELS)
            p.across++;
        else
            break;
    }
    /* Enough units for all threads of a small map. */
    const int enough = ceil_div(32, (size_t)s->dst.n * p.across);
    p.down = (s->dst.h + p.rows - 1) / p.rows;
    if (p.down < enough) p.down = s->dst.h < enough ? s->dst.h : enough;
    p.rows = (s->dst.h + p.down - 1) / p.down;
    p.in_rows = (p.rows - 1) * s->stride + s->kh;
    p.down = (s->dst.h + p.rows - 1) / p.rows;
    p.across = (s->dst.w + p.cols - 1) / p.cols;
    p.tile = ((size_t)p.maps * p.in_rows * p.in_pitch * p.in_bytes + 127) / 64 * 64;
    p.sums = ((size_t)(plain_dst ? s->dst.c : 2 * p.rows) * p.cols * BLK * 4 + 127) / 64 * 64;
    p.row = ((size_t)(p.in_cols + BLK) * (plain_src ? 1 : BLK) * 4 + 127) / 64 * 64;
    return p;
}

/* Both kinds of weights stand in the order in which they are read: for each
   pair of blocks of the result, the words of its runs, each a vector for each
   block; or for each run a vector over its channels for each channel of the
   result: with pairs for each of the pixels that a vector of the source holds. */
static size_t direct_packed_bytes(const sn_own_spec *s) {
    const direct_plan p = direct_cut(s);
    return (size_t)p.runs * p.length * spans(s->dst) * BLK * sizeof(word);
}

static void direct_pack(const sn_own_spec *s, void *packed, const float *w) {
    const direct_plan p = direct_cut(s);
    const int plain_dst = s->dst.blk == 1, plain_src = s->src.blk == 1;
    word *out = packed;
#pragma omp parallel for schedule(static)
    for (int r = 0; r < p.runs; r++)
        for (int l = 0; l < p.length; l++) {
            /* the channel and tap of the word's first value, and the step to its second */
            int i, ky, kx, next_i = 0, next_x = 0;
            const int outs = spans(s->dst) * BLK, step = plain_dst ? BLK : 2 * BLK;
            for (int k = 0; k < outs; k++) {
                int o = k;
                if (plain_src) {
                    i = r / s->kh, ky = r % s->kh, kx = l * PER_WORD, next_x = 1;
                } else {
                    i = r / (s->kh * s->kw) * BLK + l * PER_WORD, next_i = 1;
                    ky = r / s->kw % s->kh, kx = r % s->kw;
                }
                if (plain_dst) o = k / BLK, i += k % (BLK / PER_WORD) * PER_WORD;
                const int width = plain_dst ? outs : (int)least(step, outs - k / step * step);
                const size_t at = (plain_dst ? 0 : (size_t)(k / step) * p.runs * p.length * step) +
                                  ((size_t)r * p.length + l) * width + (plain_dst ? k : k % step);
                out[at] = make_word(direct_weight(s, w, o, i, ky, kx),
                                    direct_weight(s, w, o, i + next_i, ky, kx + next_x));
            }
        }
}

static size_t direct_scratch_bytes(const sn_own_spec *s, int threads) {
    const direct_plan p = direct_cut(s);
    return threads * (p.tile + p.sums + p.row) +
           (s->stats ? (size_t)s->dst.n * p.down * p.across * spans(s->dst) * sizeof(moments) : 0);
}

/* px pixels of `blocks` blocks of the result: out is px x blocks vectors. */
INLINE void direct_pixels(float *out, int fresh, const char *in, const int pitch, const int *offsets, int runs,
                          int length, const word *w, const int px, const int blocks) {
    vf acc[DIRECT_PIXELS][2];
    if (fresh) {
#pragma GCC unroll 16
        for (int k = 0; k < px; k++) acc[k][0] = acc[k][1] = (vf){};
    } else {
#pragma GCC unroll 16
        for (int k = 0; k < px; k++)
#pragma GCC unroll 2
            for (int j = 0; j < blocks; j++) acc[k][j] = load(out + (k * blocks + j) * BLK);
    }
    for (int r = 0; r < runs; r++) {
        const char *x = in + offsets[r];
        for (int l = 0; l < length; l++, x += sizeof(word), w += blocks * BLK) {
            const vf w0 = load((const float *)w), w1 = blocks > 1 ? load((const float *)w + BLK) : (vf){};
#pragma GCC unroll 16
            for (int k = 0; k < px; k++) {
                const vf v = broadcast_word(x + k * pitch);
                acc[k][0] = multiply_add(acc[k][0], v, w0);
                if (blocks > 1) acc[k][1] = multiply_add(acc[k][1], v, w1);
            }
        }
    }
#pragma GCC unroll 16
    for (int k = 0; k < px; k++)
#pragma GCC unroll 2
        for (int j = 0; j < blocks; j++) store(out + (k * blocks + j) * BLK, acc[k][j]);
}

INLINE void direct_row(float *out, int fresh, const char *in, const int pitch, const int *offsets, int runs,
                       int length, const word *w, int px, const int blocks) {
#define DIRECT_RUN(count)                                                               \
    for (; px >= (count); px -= (count), out += (count) * blocks * BLK, in += (count) * pitch) \
    direct_pixels(out, fresh, in, pitch, offsets, runs, length, w, count, blocks)
    DIRECT_RUN(DIRECT_PIXELS);
#if DIRECT_PIXELS > 8
    DIRECT_RUN(8);
#endif
    DIRECT_RUN(4);
    DIRECT_RUN(2);
    DIRECT_RUN(1);
#undef DIRECT_RUN
}

/* A row for each distance of pixels in the tile. */
#define DIRECT_ROW(name, pitch)                                                                                  \
    static __attribute__((noinline)) void name(float *out, int fresh, const char *in, const int *offsets,       \
                                               int runs, int length, const word *w, int px, int blocks) {       \
        if (blocks > 1)                                                                                          \
            direct_row(out, fresh, in, pitch, offsets, runs, length, w, px, 2);                                  \
        else                                                                                                     \
            direct_row(out, fresh, in, pitch, offsets, runs, length, w, px, 1);                                  \
    }
DIRECT_ROW(direct_row_blocked, 4 * BLK / PER_WORD)
DIRECT_ROW(direct_row_blocked2, 8 * BLK / PER_WORD)
DIRECT_ROW(direct_row_plain, 4 / PER_WORD)
DIRECT_ROW(direct_row_plain2, 8 / PER_WORD)
#undef DIRECT_ROW

typedef struct {
    int image, y, x, rows, cols; /* of the result */
} direct_unit;

INLINE direct_unit direct_unit_number(const sn_own_spec *s, const direct_plan *p, size_t u) {
    direct_unit t;
    t.x = (int)(u % p->across) * p->cols;
    t.y = (int)(u / p->across % p->down) * p->rows;
    t.image = (int)(u / p->across / p->down);
    t.cols = (int)least(p->cols, s->dst.w - t.x);
    t.rows = (int)least(p->rows, s->dst.h - t.y);
    return t;
}

/* Rows of a blocked source that will be fetched soon: they come from memory while
   something else is multiplied. */
typedef struct {
    const sn_own_spec *s;
    const char *first; /* span 0, row 0, the first column that is wanted */
    int y, rows;       /* as the convolution sees them */
    size_t lines;      /* of the caches, for each row */
} source_ahead;

INLINE source_ahead source_rows(const sn_own_spec *s, const sn_own_args *a, int image, int y, int rows, int x, int cols) {
    const size_t pixel = BLK * sizeof(act), image_bytes = spans(s->src) * span_elements(s->src) * sizeof(act);
    const int first = (int)least(x > s->pad.left ? x - s->pad.left : 0, s->src.w * s->up - 1) / s->up;
    const size_t bytes = least(cols / s->up + 1, s->src.w - first) * pixel;
    return (source_ahead){s, (const char *)a->src + image * image_bytes + first * pixel, y, rows, (bytes + 63) / 64};
}
/* Part `part` of `parts`; none of an empty ahead. */
INLINE void read_ahead(const source_ahead *n, size_t part, size_t parts) {
    if (n->lines == 0) return;
    const sn_dims d = n->s->src;
    const size_t all = n->lines * n->rows * spans(d);
    for (size_t i = all * part / parts, row = i / n->lines, at = i % n->lines, end = all * (part + 1) / parts; i < end; row++, at = 0) {
        const int y = border_index(n->y + (int)(row % n->rows) - n->s->pad.top, d.h * n->s->up, n->s->mode);
        const char *from = n->first + (row / n->rows * d.h + (y < 0 ? 0 : y / n->s->up)) * d.w * BLK * sizeof(act);
        for (; at < n->lines && i < end; at++, i++) __builtin_prefetch(from + at * 64, 0, 2);
    }
}

/* Fetches what a unit reads, in the form that the kernel wants. */
static void direct_fetch(const sn_own_spec *s, const sn_own_args *a, const direct_plan *p, direct_unit t, char *tile,
                         float *row) {
    const int rows = (t.rows - 1) * s->stride + s->kh, cols = (t.cols - 1) * s->stride + s->kw;
    for (int m = 0; m < p->maps; m++)
        for (int y = 0; y < rows; y++) {
            char *to = tile + ((size_t)m * p->in_rows + y) * p->in_pitch * p->in_bytes;
#if DOT2
            fetch_row(row, s, a, t.image, m, t.y * s->stride + y, t.x * s->stride, cols);
            if (s->src.blk == 1) {
                for (int x = cols; x < cols + BLK; x++) row[x] = 0;
                for (int x = 0; x < cols + 1; x += BLK) store_act((act *)to + x, load(row + x));
            } else {
                for (int x = 0; x < cols; x++) store_act((act *)to + x * BLK, load(row + x * BLK));
            }
#else
            (void)row;
            fetch_row((float *)to, s, a, t.image, m, t.y * s->stride + y, t.x * s->stride, cols);
#endif
        }
}

/* One step of a transposition: lanes 2^bit apart of two vectors, every other group
   of 2^bit lanes of both, and the groups between. */
INLINE void interleave(vf *a, vf *b, const int bit) {
    vi low = {}, high = {};
    for (int l = 0; l < BLK; l++) {
        low[l] = l >> bit & 1 ? BLK + l - (1 << bit) : l;
        high[l] = l >> bit & 1 ? BLK + l : l + (1 << bit);
    }
    const vf first = __builtin_shuffle(*a, *b, low);
    *b = __builtin_shuffle(*a, *b, high);
    *a = first;
}
#define LANE_BITS (BLK == 16 ? 4 : 3)

/* The sums of the lanes of each of BLK / PER_WORD vectors: of those of each of
   their pixels. */
INLINE vf add_across(const float *from) {
    vf v[BLK];
#pragma GCC unroll 16
    for (int k = 0; k < BLK / PER_WORD; k++) v[k] = load(from + k * BLK);
#pragma GCC unroll 4
    for (int bit = 0; bit < LANE_BITS - DOT2; bit++)
#pragma GCC unroll 8
        for (int k = 0; k < BLK / PER_WORD; k += 2 << bit) {
            interleave(v + k, v + k + (1 << bit), bit);
            v[k] += v[k + (1 << bit)];
        }
#if DOT2
    vi turn = {}; /* half a vector for each pixel of all vectors: into their order */
    for (int l = 0; l < BLK; l++) turn[l] = l / 2 + l % 2 * (BLK / 2);
    v[0] = __builtin_shuffle(v[0], turn);
#endif
    return v[0];
}

/* The products of `vectors` vectors of the source, a pixel or two each, with
   `outs` channels: a vector for each, lanes not yet added up, of one channel
   `pitch` floats after those of the channel before. */
INLINE void direct_vectors(float *out, size_t pitch, const char *in, const int *offsets, int runs, const word *w,
                           const int vectors, const int outs) {
    vf acc[DIRECT_VECTORS][4];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++)
#pragma GCC unroll 4
        for (int o = 0; o < outs; o++) acc[v][o] = (vf){};
    for (int r = 0; r < runs; r++, w += outs * BLK) {
        const char *x = in + offsets[r];
        vf k[4];
#pragma GCC unroll 4
        for (int o = 0; o < outs; o++) k[o] = load((const float *)w + o * BLK);
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            const vf pixels = load((const float *)x + v * BLK);
#pragma GCC unroll 4
            for (int o = 0; o < outs; o++) acc[v][o] = multiply_add(acc[v][o], pixels, k[o]);
        }
    }
#pragma GCC unroll 4
    for (int o = 0; o < outs; o++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) store(out + o * pitch + v * BLK, acc[v][o]);
}

#define DIRECT_OUTS(name, outs, most)                                                                              \
    static __attribute__((noinline)) void name(float *out, size_t pitch, const char *in, const int *offsets,      \
                                               int runs, const word *w, int vectors) {                            \
        for (; vectors >= (most); vectors -= (most), out += (most) * BLK, in += (most) * 4 * BLK)                  \
            direct_vectors(out, pitch, in, offsets, runs, w, most, outs);                                          \
        for (; vectors > 0; vectors--, out += BLK, in += 4 * BLK)                                                  \
            direct_vectors(out, pitch, in, offsets, runs, w, 1, outs);                                             \
    }
DIRECT_OUTS(direct_vectors_1, 1, DIRECT_VECTORS)
DIRECT_OUTS(direct_vectors_2, 2, DIRECT_VECTORS)
DIRECT_OUTS(direct_vectors_3, 3, DIRECT_VECTORS)
DIRECT_OUTS(direct_vectors_4, 4, DIRECT_VECTORS / 2)
#undef DIRECT_OUTS

/* Writes cols pixels of a row of channel o of the result, from column x on, out
   of the sums of their products. */
static void own_finish_plain(const sn_own_spec *s, const sn_own_args *a, int image, int o, int y, int x, int cols,
                             const float *sums) {
    const vf bias = all(s->bias ? a->bias[o] : 0);
    float *to = (float *)a->dst + (((size_t)image * s->dst.c + o) * s->dst.h + y) * s->dst.w + x;
    if (s->relu)
        MAP(to, cols, 0, positive(AT(sums) + bias));
    else
        MAP(to, cols, 0, AT(sums) + bias);
}

/* A unit of a result of few channels. */
static void direct_unit_plain(const sn_own_spec *s, const sn_own_args *a, const direct_plan *p, const int *offsets,
                              direct_unit t, const char *tile, float *sums, const source_ahead *ahead) {
    const int vectors = (t.cols + BLK - 1) / BLK * (BLK / PER_WORD);
    const size_t pitch = (size_t)p->cols * BLK;
    for (int y = 0; y < t.rows; y++) {
        const char *in = tile + (size_t)y * p->in_pitch * p->in_bytes;
        (s->dst.c == 1   ? direct_vectors_1
         : s->dst.c == 2 ? direct_vectors_2
         : s->dst.c == 3 ? direct_vectors_3
                         : direct_vectors_4)(sums, pitch, in, offsets, p->runs, a->packed, vectors);
        for (int o = 0; o < s->dst.c; o++) {
            float *of_channel = sums + o * pitch; /* each vector over those that it is the sums of */
            for (int v = 0; v < vectors; v += BLK / PER_WORD)
                store(of_channel + v * PER_WORD, add_across(of_channel + (size_t)v * BLK));
            own_finish_plain(s, a, t.image, o, t.y + y, t.x, t.cols, of_channel);
        }
        read_ahead(ahead, y, t.rows);
    }
}

/* Writes rows x cols pixels, from (y, x) on, of a block of the result. sums are
   those of the products, rows `row` and pixels `step` floats apart, and are
   overwritten. With found their moments are added to it. */
static void own_finish(const sn_own_spec *s, const sn_own_args *a, int image, int block, int y, int x, int rows, int cols,
                       float *sums, size_t row, size_t step, moments *found, int streamed) {
    const vf bias = s->bias ? load_part(a->bias + (size_t)block * BLK, least(BLK, s->dst.c - block * BLK)) : (vf){};
    for (int r = 0; r < rows; r++, sums += row) {
        act *to = (act *)a->dst + ((((size_t)image * spans(s->dst) + block) * s->dst.h + y + r) * s->dst.w + x) * BLK;
        for (int c = 0; c < cols; c++, to += BLK) {
            vf v = load(sums + c * step) + bias;
            if (s->relu) v = positive(v);
            if (streamed)
                stream_act(to, v);
            else
                store_act(to, v);
            if (found) { /* moments of what was stored */
                act stored[BLK];
                store_act(stored, v);
                store(sums + c * step, load_act(stored));
            }
        }
        if (found) moments_add(found, sums, cols, step);
    }
}

/* A unit of a result of blocks of channels; with stats their moments go to
   found, which is empty before. */
static void direct_unit_blocked(const sn_own_spec *s, const sn_own_args *a, const direct_plan *p, const int *offsets,
                                direct_unit t, const char *tile, float *sums, moments *found, int streamed,
                                const source_ahead *ahead) {
    const int plain_src = s->src.blk == 1;
    void (*row)(float *, int, const char *, const int *, int, int, const word *, int, int) =
        plain_src ? s->stride == 1 ? direct_row_plain : direct_row_plain2
                  : s->stride == 1 ? direct_row_blocked : direct_row_blocked2;
    size_t part = 0;
    const size_t parts = (size_t)p->groups * t.rows * ((p->runs + p->chunk - 1) / p->chunk);
    for (int g = 0; g < p->groups; g++) {
        const int blocks = (int)least(2, spans(s->dst) - 2 * g);
        const word *w = (const word *)a->packed + (size_t)g * p->runs * p->length * 2 * BLK;
        /* Where the weights go in one piece a row is done at once, and its sums stay in a first-level cache. */
        const int step = p->chunk < p->runs ? t.rows : 1;
        for (int top = 0; top < t.rows; top += step) {
            for (int r = 0; r < p->runs; r += p->chunk)
                for (int y = 0; y < step; y++, part++) {
                    row(sums + (size_t)y * p->cols * blocks * BLK, r == 0,
                        tile + (size_t)(top + y) * s->stride * p->in_pitch * p->in_bytes, offsets + r,
                        (int)least(p->chunk, p->runs - r), p->length, w + (size_t)r * p->length * blocks * BLK, t.cols, blocks);
                    read_ahead(ahead, part, parts);
                }
            for (int j = 0; j < blocks; j++)
                own_finish(s, a, t.image, 2 * g + j, t.y + top, t.x, step, t.cols, sums + j * BLK,
                           (size_t)p->cols * blocks * BLK, blocks * BLK, s->stats ? found + 2 * g + j : NULL, streamed);
        }
    }
    stream_end(streamed);
}

static void direct_run(const sn_own_spec *s, const sn_own_args *a) {
    const direct_plan p = direct_cut(s);
    const size_t per_image = (size_t)p.down * p.across, units = per_image * s->dst.n;
    const int plain_dst = s->dst.blk == 1, per_map = s->src.blk == 1 ? s->kh : s->kh * s->kw;
    const int streamed = !plain_dst && worth_streaming_map(a->dst, s->dst);
    int offsets[p.runs]; /* in a tile, in bytes */
    for (int r = 0; r < p.runs; r++) {
        const int tap = r % per_map, ky = tap / (per_map / s->kh), kx = tap % (per_map / s->kh);
        offsets[r] = ((r / per_map * p.in_rows + ky) * p.in_pitch + kx) * p.in_bytes;
    }
#pragma omp parallel
    {
        const size_t me = omp_get_thread_num(), threads = omp_get_num_threads(), mine = p.tile + p.sums + p.row;
        char *tile = (char *)a->scratch + me * mine;
        float *sums = (float *)(tile + p.tile), *row = (float *)(tile + p.tile + p.sums);
        moments *found = (moments *)((char *)a->scratch + threads * mine);
        for (size_t u = units * me / threads; u < units * (me + 1) / threads; u++) {
            const direct_unit t = direct_unit_number(s, &p, u);
            if (s->stats) memset(found + u * spans(s->dst), 0, spans(s->dst) * sizeof *found);
            direct_fetch(s, a, &p, t, tile, row);
            source_ahead ahead = {0};
            if (s->src.blk != 1 && u + 1 < units * (me + 1) / threads) {
                const direct_unit n = direct_unit_number(s, &p, u + 1);
                ahead = source_rows(s, a, n.image, n.y * s->stride, (n.rows - 1) * s->stride + s->kh, n.x * s->stride,
                                    (n.cols - 1) * s->stride + s->kw);
            }
            if (plain_dst)
                direct_unit_plain(s, a, &p, offsets, t, tile, sums, &ahead);
            else
                direct_unit_blocked(s, a, &p, offsets, t, tile, sums, found + u * spans(s->dst), streamed, &ahead);
        }
#pragma omp barrier
        if (s->stats) moments_finish(found, per_image, s->dst, s->eps, a->mean, a->invstd);
    }
}

static int direct_takes(const sn_own_spec *s) {
    if (s->kh > DIRECT_MAX_KERNEL || s->kw > DIRECT_MAX_KERNEL || s->stride > 2) return 0;
    if (s->dst.blk == 1) return s->dst.c <= 4 && s->src.blk != 1 && s->stride == 1 && !s->stats;
    return 1;
}

static const sn_own_conv own_direct = {
    .name = "direct",
    .takes = direct_takes,
    .packed_bytes = direct_packed_bytes,
    .pack = direct_pack,
    .scratch_bytes = direct_scratch_bytes,
    .run = direct_run,
};
#endif
