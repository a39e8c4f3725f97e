/* Kernels that run forward alone: those of networks that others have trained.
   Included by kernels_impl.h. */

/* ---- value by value ---- */

INLINE vf function_of(const int f, vf x, vf y, vf low, vf high) {
    switch (f) {
    case SN_LEAKY_RELU: return pick(x < 0, x * low, x);
    case SN_PRELU: return pick(x < 0, x * y, x);
    case SN_SIGMOID: return tanh_lanes(x * 0.5f) * 0.5f + 0.5f;
    case SN_CLIP: x = pick(x < low, low, x); return pick(x > high, high, x);
    case SN_ADD: return x + y;
    case SN_SUBTRACT: return x - y;
    case SN_MULTIPLY: return x * y;
    default: return x / y;
    }
}

INLINE void unary_pieces(act *dst, const act *src, sn_dims d, const sn_function *of, const float *slopes, const int f) {
    const int streamed = worth_streaming_map(dst, d);
    const size_t n = pieces(d);
    const vf low = all(of->a), high = all(of->b);
#pragma omp parallel for schedule(static) if (WORTH_THREADS(sn_count(d)))
    for (size_t i = 0; i < n; i++) {
        const piece p = piece_number(d, i);
        const vi lanes = channel_lanes(d, p.span);
        const vf slope = slopes ? channel_values(slopes, d, p.span) : (vf){};
        const act *in = src + p.at;
        act *out = dst + p.at;
        MAP(out, p.len, streamed, keep(lanes, function_of(f, AT(in), slope, low, high)));
        stream_end(streamed);
    }
}

/* b has the layout of a, or one channel and the plain one. */
INLINE void binary_rows(act *dst, const act *a, sn_dims d, const void *b, sn_dims bd, const int f, const int blk) {
    const int streamed = worth_streaming_map(dst, d);
    const size_t rows = (size_t)d.n * spans(d) * d.h, row = (size_t)d.w * blk;
#pragma omp parallel for schedule(static) if (WORTH_THREADS(sn_count(d)))
    for (size_t r = 0; r < rows; r++) {
        const size_t image = r / d.h / spans(d);
        const int g = (int)(r / d.h % spans(d)), y = bd.h == 1 ? 0 : (int)(r % d.h);
        const size_t line = (image * spans(bd) + (bd.c == 1 ? 0 : g)) * bd.h + y;
        const vi lanes = channel_lanes(d, g);
        const act *in = a + r * row;
        act *out = dst + r * row;
        if (blk != 1 && bd.blk == 1) {
            const float *from = (const float *)b + line * bd.w;
            for (int x = 0; x < d.w; x++) {
                const vf v = all(from[bd.w == 1 ? 0 : x]);
                put_pixel(out + (size_t)x * blk, keep(lanes, function_of(f, load_act(in + (size_t)x * blk), v, v, v)), blk, streamed);
            }
        } else {
            const act *from = (const act *)b + line * bd.w * blk;
            const vf v = pixel(from, blk);
            if (bd.w == 1)
                MAP(out, row, streamed, keep(lanes, function_of(f, AT(in), v, v, v)));
            else
                MAP(out, row, streamed, keep(lanes, function_of(f, AT(in), AT(from), v, v)));
        }
        stream_end(streamed);
    }
}

static void k_pointwise(void *dst, const void *a, sn_dims d, const sn_function *f, const void *b, sn_dims bd) {
    switch (f->what) {
#define UNARY(of) \
    case of: unary_pieces(dst, a, d, f, b, of); break;
#define BINARY(of)                                \
    case of:                                      \
        if (d.blk == 1)                           \
            binary_rows(dst, a, d, b, bd, of, 1); \
        else                                      \
            binary_rows(dst, a, d, b, bd, of, BLK); \
        break;
        UNARY(SN_LEAKY_RELU) UNARY(SN_PRELU) UNARY(SN_SIGMOID) UNARY(SN_CLIP)
        BINARY(SN_ADD) BINARY(SN_SUBTRACT) BINARY(SN_MULTIPLY) BINARY(SN_DIVIDE)
#undef UNARY
#undef BINARY
    }
}

/* ---- channels and pixels in another order ---- */

/* The channel's values from a pixel on, as floats or elements. */
INLINE const float *floats_of(const sn_channel *c, size_t image, size_t pixel) {
    return (const float *)c->map + image * c->image + c->at + pixel;
}
INLINE const act *elements_of(const sn_channel *c, size_t image, size_t pixel) {
    return (const act *)c->map + image * c->image + c->at + pixel * BLK;
}

/* The channels of a span lie side by side in a span of a source. */
INLINE int side_by_side_channels(const sn_channel *c, int lanes) {
    for (int l = 0; l < lanes; l++)
        if (c[l].blk == 1 || c[l].map != c->map || c[l].at != c->at + l) return 0;
    return 1;
}

/* px pixels of span g, `step` pixels apart, from a pixel of the sources on. */
static void arrange_span(act *out, int step, const sn_channel *c, size_t image, size_t pixel, int px, vi mask, int lanes) {
    if (side_by_side_channels(c, lanes)) {
        const act *in = elements_of(c, image, pixel);
        for (int x = 0; x < px; x++) store_act(out + (size_t)x * step * BLK, keep(mask, load_act(in + (size_t)x * BLK)));
        return;
    }
    for (int l = 0; l < BLK; l++) {
        act *to = out + l;
        if (l >= lanes)
            for (int x = 0; x < px; x++) to[(size_t)x * step * BLK] = 0;
        else if (c[l].blk == 1) {
            const float *in = floats_of(c + l, image, pixel);
            for (int x = 0; x < px; x++) put_act(to + (size_t)x * step * BLK, in[x]);
        } else {
            const act *in = elements_of(c + l, image, pixel);
            for (int x = 0; x < px; x++) to[(size_t)x * step * BLK] = in[(size_t)x * BLK];
        }
    }
}

static void arrange_plain(float *out, int step, const sn_channel *c, size_t image, size_t pixel, int px) {
    if (c->blk == 1) {
        const float *in = floats_of(c, image, pixel);
        for (int x = 0; x < px; x++) out[(size_t)x * step] = in[x];
    } else {
        const act *in = elements_of(c, image, pixel);
        for (int x = 0; x < px; x++) out[(size_t)x * step] = get_act(in + (size_t)x * BLK);
    }
}

static void k_arrange(void *dst, sn_dims d, const sn_channel *from, int block, int top) {
    enum { CHUNK = 128 }; /* pixels, whose lanes are written one after the other */
    const int w = d.w / block;
    const size_t rows = (size_t)d.n * spans(d) * d.h;
#pragma omp parallel for schedule(static) if (WORTH_THREADS(sn_count(d)))
    for (size_t r = 0; r < rows; r++) {
        const size_t image = r / d.h / spans(d);
        const int g = (int)(r / d.h % spans(d)), y = (int)(r % d.h) + top;
        const int lanes = d.blk == 1 ? 1 : (int)least(BLK, d.c - g * BLK);
        const vi mask = channel_lanes(d, g);
        for (int x = 0; x < w; x += CHUNK)
            for (int j = 0; j < block; j++) {
                const sn_channel *c = from + (size_t)(y % block * block + j) * d.c + (size_t)g * d.blk;
                const size_t pixel = (size_t)(y / block) * w + x, out = (r * d.w + (size_t)x * block + j) * d.blk;
                const int px = (int)least(CHUNK, w - x);
                if (d.blk == 1)
                    arrange_plain((float *)dst + out, block, c, image, pixel, px);
                else
                    arrange_span((act *)dst + out, block, c, image, pixel, px, mask, lanes);
            }
    }
}

/* ---- between rows and columns ---- */

INLINE vf between(float w, vf a, vf b) { return (1 - w) * a + w * b; }

INLINE void resample_rows(act *dst, sn_dims d, const act *src, sn_dims s, const sn_tap *rows, const sn_tap *cols,
                          const int blk) {
    const size_t all_rows = (size_t)d.n * spans(d) * d.h, row = (size_t)s.w * blk;
    const int streamed = worth_streaming_map(dst, d);
#pragma omp parallel for schedule(static) if (WORTH_THREADS(sn_count(d)))
    for (size_t r = 0; r < all_rows; r++) {
        const sn_tap t = rows[r % d.h];
        const act *above = src + (r / d.h * s.h + t.a) * row, *below = src + (r / d.h * s.h + t.b) * row;
        act *out = dst + r * d.w * blk;
        for (int x = 0; x < d.w; x++, out += blk) {
            const size_t a = (size_t)cols[x].a * blk, b = (size_t)cols[x].b * blk;
            const float w = cols[x].w;
            vf v = pixel(above + a, blk);
            if (w != 0) v = between(w, v, pixel(above + b, blk));
            if (t.w != 0) {
                vf u = pixel(below + a, blk);
                if (w != 0) u = between(w, u, pixel(below + b, blk));
                v = between(t.w, v, u);
            }
            put_pixel(out, v, blk, streamed);
        }
        stream_end(streamed);
    }
}
static void k_resample(void *dst, sn_dims d, const void *src, sn_dims s, const sn_tap *rows, const sn_tap *cols) {
    if (d.blk == 1)
        resample_rows(dst, d, src, s, rows, cols, 1);
    else
        resample_rows(dst, d, src, s, rows, cols, BLK);
}

/* ---- along a flow ---- */

/* The pixel of n before the place that a flow leads to from pixel p, and in *rest
   how far behind it that lies. What is no number leads to the first. The flow
   alone is split: the sum would lose its last digits. */
INLINE int place(int p, float flow, int n, float *rest) {
    flow = flow > (float)-n ? flow : (float)-n;
    flow = flow < (float)n ? flow : (float)n;
    int whole = (int)flow;
    if (flow < (float)whole) whole--;
    const int i = p + whole;
    *rest = i < 0 || n == 1 ? 0 : i >= n - 1 ? 1 : flow - (float)whole;
    return i < 0 || n == 1 ? 0 : i >= n - 1 ? n - 2 : i;
}

INLINE void warp_rows(act *dst, const act *src, const float *flow, sn_dims d, int pairs, const int blk) {
    const size_t rows = (size_t)d.n * spans(d) * d.h, row = (size_t)d.w * blk, pixels = (size_t)d.h * d.w;
    const size_t right = d.w > 1 ? blk : 0, down = d.h > 1 ? row : 0;
    const int streamed = worth_streaming_map(dst, d);
#pragma omp parallel for schedule(static) if (WORTH_THREADS(sn_count(d)))
    for (size_t r = 0; r < rows; r++) {
        const size_t map = r / d.h, image = map / spans(d), of = pairs ? image ^ 1 : image;
        const int y = (int)(r % d.h);
        const float *us = flow + image * 2 * pixels + (size_t)y * d.w, *vs = us + pixels;
        const act *from = src + (of * spans(d) + map % spans(d)) * d.h * row;
        act *out = dst + r * row;
        for (int x = 0; x < d.w; x++, out += blk) {
            float u, v;
            const int x0 = place(x, us[x], d.w, &u), y0 = place(y, vs[x], d.h, &v);
            const act *p = from + (size_t)y0 * row + (size_t)x0 * blk;
            const vf above = between(u, pixel(p, blk), pixel(p + right, blk));
            const vf below = between(u, pixel(p + down, blk), pixel(p + down + right, blk));
            put_pixel(out, between(v, above, below), blk, streamed);
        }
        stream_end(streamed);
    }
}
static void k_warp(void *dst, const void *src, const float *flow, sn_dims d, int pairs) {
    if (d.blk == 1)
        warp_rows(dst, src, flow, d, pairs, 1);
    else
        warp_rows(dst, src, flow, d, pairs, BLK);
}

/* ---- windows ---- */

/* Means over h rows, `row` elements apart, of w pixels; count is what they are
   divided by. Sums over many are double, of short runs in float. */
INLINE vf window_mean(const act *in, size_t row, int h, int w, int count, const int blk) {
    vf sum = {};
    if (h * w <= 64) {
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) sum += pixel(in + y * row + (size_t)x * blk, blk);
        return sum / all((float)count);
    }
    lane_sums s = {0};
    float f[BLK];
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w;) {
            const int end = (int)least(w, x + 64);
            vf of[2] = {};
            for (; x + 2 <= end; x += 2)
                for (int u = 0; u < 2; u++) of[u] += pixel(in + y * row + (size_t)(x + u) * blk, blk);
            if (x < end) of[0] += pixel(in + y * row + (size_t)x++ * blk, blk);
            store(f, of[0] + of[1]);
            add_lanes(&s, f);
        }
    for (int l = 0; l < BLK; l++) f[l] = (float)(s.lane[l] / count);
    return load(f);
}

INLINE vf window_most(const act *in, size_t row, int h, int w, const int blk) {
    vf most = pixel(in, blk);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) most = larger(most, pixel(in + y * row + (size_t)x * blk, blk));
    return most;
}

INLINE void window_rows(act *dst, sn_dims d, const act *src, sn_dims s, const sn_window *of, const int kind, const int blk) {
    const size_t rows = (size_t)d.n * spans(d) * d.h, row = (size_t)s.w * blk;
#pragma omp parallel for schedule(static) if (WORTH_THREADS(sn_count(s)))
    for (size_t r = 0; r < rows; r++) {
        const int y = (int)(r % d.h) * of->stride - of->top, y0 = y < 0 ? 0 : y, h = (int)least(y + of->height, s.h) - y0;
        const act *in = src + (r / d.h * s.h + y0) * row;
        for (int i = 0; i < d.w; i++) {
            const int x = i * of->stride - of->left, x0 = x < 0 ? 0 : x, w = (int)least(x + of->width, s.w) - x0;
            const act *at = in + (size_t)x0 * blk;
            const vf v = kind == SN_POOL_MAX
                             ? window_most(at, row, h, w, blk)
                             : window_mean(at, row, h, w, of->count_pad ? of->height * of->width : h * w, blk);
            put_pixel(dst + (r * d.w + i) * blk, v, blk, 0);
        }
    }
}
static void k_window_pool(void *dst, sn_dims d, const void *src, sn_dims s, const sn_window *w) {
    if (d.blk == 1 && w->kind == SN_POOL_MAX)
        window_rows(dst, d, src, s, w, SN_POOL_MAX, 1);
    else if (d.blk == 1)
        window_rows(dst, d, src, s, w, SN_POOL_AVG, 1);
    else if (w->kind == SN_POOL_MAX)
        window_rows(dst, d, src, s, w, SN_POOL_MAX, BLK);
    else
        window_rows(dst, d, src, s, w, SN_POOL_AVG, BLK);
}
