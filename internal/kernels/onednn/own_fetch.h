/* How a convolution of our own reads its source: rows of the map that it sees,
   which is the source normalised, through ReLU, enlarged, and with its border
   (see kernels.Read and sn_own_spec). Fetched rows are always float. */
#ifndef STYLENET_OWN_FETCH_H
#define STYLENET_OWN_FETCH_H
#include "own.h"
#include "vectors.h"

/* Scale and shift of span g of an image, for all lanes of a vector. */
typedef struct {
    vf scale, shift;
} source_norm;

INLINE source_norm norm_of(const sn_own_spec *s, const sn_own_args *a, int n, int g) {
    if (!s->normalise) return (source_norm){all(1), all(0)};
    const size_t image = (size_t)n * ((s->src.c + 15) / 16 * 16);
    if (s->src.blk == 1) return (source_norm){all(a->scale[image + g]), all(a->shift[image + g])};
    return (source_norm){load(a->scale + image + (size_t)g * BLK), load(a->shift + image + (size_t)g * BLK)};
}

/* A value as the convolution sees it. normalise and relu are constants. */
INLINE vf seen(vf v, source_norm r, const int normalise, const int relu) {
    if (normalise) v = v * r.scale + r.shift;
    return relu ? positive(v) : v;
}

/* px pixels of a row of the source, each `up` times. */
INLINE void fetch_inside(float *to, const void *row, int x, int px, int up, const int blk, source_norm r,
                         const int normalise, const int relu) {
    if (blk == 1) {
        const float *from = (const float *)row;
        if (up == 1)
            for (from += x; px > 0; px -= BLK, from += BLK, to += BLK) {
                const size_t k = least(BLK, px);
                if (k == BLK)
                    store(to, seen(load(from), r, normalise, relu));
                else
                    store_part(to, seen(load_part(from, k), r, normalise, relu), k);
            }
        else
            for (int k = 0; k < px; k++) to[k] = seen(all(from[(x + k) / up]), r, normalise, relu)[0];
        return;
    }
    const act *from = (const act *)row + (size_t)(x / up) * BLK;
    if (up == 1) {
        for (; px > 0; px--, from += BLK, to += BLK) store(to, seen(load_act(from), r, normalise, relu));
        return;
    }
    for (int again = up - x % up; px > 0; from += BLK, again = up) {
        const vf v = seen(load_act(from), r, normalise, relu);
        for (; px > 0 && again > 0; px--, again--, to += BLK) store(to, v);
    }
}

static void fetch_span(float *to, const void *row, int x, int px, const sn_own_spec *s, source_norm r) {
    switch ((s->src.blk == 1) << 2 | !!s->normalise << 1 | !!s->read_relu) {
#define CASE(k)                                                                             \
    case k:                                                                                 \
        fetch_inside(to, row, x, px, s->up, (k) & 4 ? 1 : BLK, r, (k) >> 1 & 1, (k) & 1); \
        break;
        CASE(0) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7)
#undef CASE
    }
}

/* cols pixels, from column x on, of row y of the map that the convolution sees,
   border included: span g of image n. A pixel is src.blk floats. */
static void fetch_row(float *to, const sn_own_spec *s, const sn_own_args *a, int n, int g, int y, int x, int cols) {
    const sn_dims d = s->src;
    const int w = d.w * s->up, line = border_index(y - s->pad.top, d.h * s->up, s->mode);
    if (line < 0) {
        memset(to, 0, (size_t)cols * d.blk * sizeof *to);
        return;
    }
    const source_norm r = norm_of(s, a, n, g);
    const size_t at = (((size_t)n * spans(d) + g) * d.h + line / s->up) * d.w * d.blk;
    const char *row = (const char *)a->src + at * (d.blk == 1 ? sizeof(float) : sizeof(act));
    x -= s->pad.left;
    for (int end = x + cols, px; x < end; x += px, to += (size_t)px * d.blk) {
        const int inside = x >= 0 && x < w, from = border_index(x, w, s->mode);
        px = inside ? (int)least(w - x, end - x) : 1;
        if (from < 0)
            memset(to, 0, (size_t)d.blk * sizeof *to);
        else
            fetch_span(to, row, from, px, s, r);
    }
}
#endif
