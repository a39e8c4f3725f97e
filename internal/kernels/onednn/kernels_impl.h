/* All kernels, for one instruction set: the file that includes this sets BLK,
   the lanes of the blocked layout, SN_NAME and SN_TABLE, and its target pragma
   above it. A file with ACT_BF16 holds the kernels for blocked maps in bfloat16,
   and sets SN_PLAIN to the table for all else.

   Most kernels see a map as spans. A span is what one image has of one channel
   (blk 1) or of one block of channels (blk BLK): contiguous elements, taken BLK
   at a time. A vector of per-channel parameters belongs to each span: the same
   value in all lanes with blk 1, so that both layouts share their loops.

   Comparisons are written so that NaN survives ReLU, pooling and clipping.

   Vectors are only passed to functions that are inlined: compile with
   -Wno-psabi, or GCC notes that its ABI for wide ones has changed once. */
#include "own_stats.h"
#include "own_words.h"

#if !defined(ACT_BF16)
#define SN_PLAIN SN_TABLE
#endif
extern const sn_kernels SN_PLAIN, SN_TABLE;

#include "kernels_host.h"

/* ---- padding ---- */

INLINE int clamp(int i, int low, int high) { return i < low ? low : i > high ? high : i; }

INLINE void pad_rows(act *dst, const act *src, sn_dims d, int mode, sn_border b, const int blk) {
    const int h = d.h + b.top + b.bottom, w = d.w + b.left + b.right;
    const int x0 = clamp(b.left, 0, w), x1 = clamp(b.left + d.w, x0, w);
    const size_t rows = (size_t)d.n * spans(d) * h, row = (size_t)w * blk;
    const int streamed = blk == BLK && worth_streaming(dst, rows * row, sizeof(act));
#pragma omp parallel for schedule(static) if (WORTH_THREADS(rows *row))
    for (size_t r = 0; r < rows; r++) {
        act *out = dst + r * row;
        const int y = border_index((int)(r % h) - b.top, d.h, mode);
        if (y < 0) {
            memset(out, 0, row * sizeof *out);
            continue;
        }
        const act *in = src + (r / h * d.h + y) * d.w * blk;
        if (mode == SN_PAD_ZERO) {
            memset(out, 0, (size_t)x0 * blk * sizeof *out);
            memset(out + (size_t)x1 * blk, 0, (size_t)(w - x1) * blk * sizeof *out);
        } else {
            for (int x = 0; x < x0; x++)
                put_pixel(out + (size_t)x * blk, pixel(in + (size_t)border_index(x - b.left, d.w, mode) * blk, blk), blk, 0);
            for (int x = x1; x < w; x++)
                put_pixel(out + (size_t)x * blk, pixel(in + (size_t)border_index(x - b.left, d.w, mode) * blk, blk), blk, 0);
        }
        act *inner = out + (size_t)x0 * blk;
        if (x1 > x0) {
            const act *from = in + (ptrdiff_t)(x0 - b.left) * blk;
            MAP(inner, (size_t)(x1 - x0) * blk, streamed, AT(from));
        }
        stream_end(streamed);
    }
}
static void k_pad(void *dst, const void *src, sn_dims d, int mode, sn_border b) {
    if (d.blk == 1)
        pad_rows(dst, src, d, mode, b, 1);
    else
        pad_rows(dst, src, d, mode, b, BLK);
}

INLINE void pad_backward_rows(act *dsrc, const act *ddst, sn_dims d, int mode, sn_border b, const int blk) {
    enum { CHUNK = PIECE / BLK }; /* pixels, which are summed in float */
    const int h = d.h + b.top + b.bottom, w = d.w + b.left + b.right, chunks = (int)ceil_div(d.w, CHUNK);
    /* the plain columns that the padded map has */
    const int first = clamp(-b.left, 0, d.w), last = clamp(w - b.left, first, d.w);
    const size_t rows = (size_t)d.n * spans(d) * d.h, row = (size_t)d.w * blk;
#pragma omp parallel for schedule(static) if (WORTH_THREADS(rows *row))
    for (size_t t = 0; t < rows * chunks; t++) {
        const size_t r = t / chunks;
        const int y = (int)(r % d.h), c0 = (int)(t % chunks) * CHUNK, c1 = (int)least(c0 + CHUNK, d.w);
        const int x0 = clamp(first, c0, c1), x1 = clamp(last, x0, c1);
        const size_t len = (size_t)(c1 - c0) * blk;
        float sum[CHUNK * BLK], *inner = sum + (size_t)(x0 - c0) * blk;
        memset(sum, 0, len * sizeof *sum);
        /* Gather the padded rows that stem from this one: itself first, and
           then those of the border. */
        for (int k = -1; k < h; k++) {
            if (k == b.top && mode != SN_PAD_ZERO) k += d.h; /* not border */
            const int from = k < 0 ? y + b.top : k;
            if (from < 0 || from >= h || (k >= 0 && border_index(k - b.top, d.h, mode) != y)) continue;
            const act *in = ddst + (r / d.h * h + from) * w * blk, *in_inner = in + (ptrdiff_t)(x0 + b.left) * blk;
            MAP(inner, (size_t)(x1 - x0) * blk, 0, AT(inner) + AT(in_inner));
            if (mode == SN_PAD_ZERO) break;
            for (int x = 0; x < w; x++) {
                if (x == b.left) x += d.w;
                if (x >= w) break;
                const int to = border_index(x - b.left, d.w, mode) - c0;
                const vf v = pixel(in + (size_t)x * blk, blk);
                if (to < 0 || to >= c1 - c0) continue;
                if (blk == 1)
                    sum[to] += v[0];
                else
                    store(sum + to * BLK, load(sum + to * BLK) + v);
            }
        }
        act *out = dsrc + r * row + (size_t)c0 * blk;
        MAP(out, len, 0, AT(sum));
    }
}
static void k_pad_backward(void *dsrc, const void *ddst, sn_dims d, int mode, sn_border b) {
    if (d.blk == 1)
        pad_backward_rows(dsrc, ddst, d, mode, b, 1);
    else
        pad_backward_rows(dsrc, ddst, d, mode, b, BLK);
}

/* ---- normalisation ---- */

/* What shares statistics is a group: a span of one image, or the same span of
   all images with batch. A group is cut to parts only where there are too few
   groups to keep all threads busy: a whole group stays in the cache of its
   thread between the pass for the statistics and the one that uses them. */
typedef struct {
    size_t groups, parts, len, span; /* len: elements of a group */
    int spans, batch;
} grouping;

INLINE grouping group_maps(sn_dims d, int batch) {
    grouping g = {.spans = spans(d), .span = span_elements(d), .batch = batch, .parts = 1};
    const size_t threads = WORTH_THREADS(sn_count(d)) ? omp_get_max_threads() : 1;
    g.groups = (size_t)g.spans * (batch ? 1 : d.n);
    g.len = batch ? g.span * d.n : g.span;
    if (g.groups < 4 * threads && g.groups % threads) g.parts = ceil_div(4 * threads, g.groups);
    return g;
}

/* EACH_STRETCH runs over the contiguous stretches of part p of group g:
   `len` elements from `at`. */
#define EACH_STRETCH(gr, g, p)                                                                      \
    for (size_t i_ = part_start((gr).len, p, (gr).parts, BLK),                                      \
                end_ = part_start((gr).len, (p) + 1, (gr).parts, BLK), at, len;                     \
         i_ < end_ && (len = least(end_ - i_, (gr).span - i_ % (gr).span),                          \
                      at = (gr).batch ? (i_ / (gr).span * (gr).spans + (g)) * (gr).span + i_ % (gr).span \
                                      : (g) * (gr).span + i_,                                       \
                      1);                                                                           \
         i_ += len)

/* Reads x once. The squares are taken around the mean of what came before, so
   that they are never larger than what the sum of squared deviations itself
   gains from the same values: maps with a mean far above their deviation lose
   nothing. */
INLINE void add_moments(moments *m, const act *x, size_t vectors) {
    while (vectors) {
        const size_t run = least(vectors, RUN / BLK);
        float around[BLK];
        if (m->count == 0) {
            vf sum = {};
            for (size_t i = 0; i < run; i++) sum += load_act(x + i * BLK);
            store(around, sum / (float)run);
        } else
            for (int l = 0; l < BLK; l++) around[l] = (float)m->mean[l];
        const vf k = load(around);
        vf s[4] = {}, q[4] = {};
        size_t i = 0;
        for (; i + 4 <= run; i += 4)
            for (int u = 0; u < 4; u++) {
                const vf v = load_act(x + (i + u) * BLK) - k;
                s[u] += v, q[u] += v * v;
            }
        for (; i < run; i++) {
            const vf v = load_act(x + i * BLK) - k;
            s[0] += v, q[0] += v * v;
        }
        float sf[BLK], qf[BLK];
        store(sf, (s[0] + s[1]) + (s[2] + s[3]));
        store(qf, (q[0] + q[1]) + (q[2] + q[3]));
        double mean[BLK], m2[BLK];
#pragma omp simd
        for (int l = 0; l < BLK; l++) {
            const double shift = sf[l] / (double)run, left = qf[l] - sf[l] * shift;
            mean[l] = around[l] + shift;
            m2[l] = left < 0 ? 0 : left;
        }
        moments_merge(m, (double)run, mean, m2);
        x += run * BLK, vectors -= run;
    }
}

/* The moments of a part, with blk 1 those of all lanes in every lane. */
static void part_moments(moments *m, const act *src, const grouping *gr, size_t g, size_t p, int blk) {
    moments tail = {0};
    *m = tail;
    const double zero[BLK] = {0};
    EACH_STRETCH(*gr, g, p) {
        add_moments(m, src + at, len / BLK);
        for (size_t i = len / BLK * BLK; i < len; i++) {
            double v[BLK];
            for (int l = 0; l < BLK; l++) v[l] = get_act(src + at + i);
            moments_merge(&tail, 1, v, zero);
        }
    }
    if (blk != 1) return;
    for (int l = 0; l < BLK; l++) {
        double mean[BLK], m2[BLK];
        for (int k = 0; k < BLK; k++) mean[k] = m->mean[l], m2[k] = m->squares[l];
        moments_merge(&tail, m->count, mean, m2);
    }
    *m = tail;
}

typedef struct {
    const act *src;
    const float *gamma, *beta;
    act *dst;
    float *mean, *invstd;
    sn_dims d;
    grouping gr;
    float eps;
    int relu, streamed;
} norm_args;

/* Channel statistics of group g lie from here in mean and invstd. */
INLINE size_t stats_at(const grouping *gr, size_t g, sn_dims d) {
    return gr->batch ? 0 : g / gr->spans * d.c;
}

/* Writes the statistics of group g, whose moments are m, and normalises part p
   of it to dst unless that is NULL. */
static void norm_part(const norm_args *a, const moments *m, size_t g, size_t p) {
    const int span = (int)(g % a->gr.spans);
    float mean[BLK], low[BLK], invstd[BLK];
    for (int l = 0; l < BLK; l++) {
        mean[l] = (float)m->mean[l];
        low[l] = (float)(m->mean[l] - mean[l]); /* what mean lost to rounding */
        invstd[l] = (float)(1 / __builtin_sqrt(m->squares[l] / m->count + a->eps));
    }
    if (p == 0) {
        put_channel_values(a->mean + stats_at(&a->gr, g, a->d), mean, a->d, span);
        put_channel_values(a->invstd + stats_at(&a->gr, g, a->d), invstd, a->d, span);
    }
    if (!a->dst) return;
    const vf centre = load(mean), scale = channel_values(a->gamma, a->d, span) * load(invstd);
    const vf shift = channel_values(a->beta, a->d, span) - load(low) * scale;
    EACH_STRETCH(a->gr, g, p) {
        const act *in = a->src + at;
        act *out = a->dst + at;
        if (a->relu)
            MAP(out, len, a->streamed, positive((AT(in) - centre) * scale + shift));
        else
            MAP(out, len, a->streamed, (AT(in) - centre) * scale + shift);
    }
    stream_end(a->streamed);
}

static void norm(const norm_args *a) {
    const size_t parts = a->gr.parts, tasks = a->gr.groups * parts;
    moments partial[parts > 1 ? tasks : 1];
#pragma omp parallel if (WORTH_THREADS(sn_count(a->d)))
    {
#pragma omp for schedule(static)
        for (size_t t = 0; t < tasks; t++) {
            moments m;
            part_moments(&m, a->src, &a->gr, t / parts, t % parts, a->d.blk);
            if (parts == 1)
                norm_part(a, &m, t, 0);
            else
                partial[t] = m;
        }
        if (parts > 1) {
#pragma omp for schedule(static)
            for (size_t t = 0; t < tasks; t++) {
                const moments *of_group = partial + t / parts * parts;
                moments m = {0};
                for (size_t p = 0; p < parts; p++)
                    moments_merge(&m, of_group[p].count, of_group[p].mean, of_group[p].squares);
                norm_part(a, &m, t / parts, t % parts);
            }
        }
    }
}

static void k_norm(void *dst, float *mean, float *invstd, const void *src, const float *gamma, const float *beta,
                   sn_dims d, float eps, int batch, int relu) {
    norm(&(norm_args){src, gamma, beta, dst, mean, invstd, d, group_maps(d, batch), eps, relu, worth_streaming_map(dst, d)});
}

static void k_statistics(float *mean, float *invstd, const void *src, sn_dims d, float eps) {
    norm(&(norm_args){.src = src, .mean = mean, .invstd = invstd, .d = d, .gr = group_maps(d, 0), .eps = eps});
}

/* The sums that a group's gradient needs: of ddst, and of ddst·(src-mean). */
typedef struct {
    lane_sums d, dx;
} norm_sums;

typedef struct {
    const act *ddst, *src;
    const float *gamma, *beta, *mean, *invstd;
    act *dsrc;
    sn_dims d;
    grouping gr;
    int relu, streamed;
} norm_backward_args;

/* ddst where the ReLU let src through. v is src-mean. */
INLINE vf through(vf ddst, vf v, vf scale, vf beta, int relu) {
    return relu ? keep(v * scale + beta > 0, ddst) : ddst;
}

INLINE void norm_backward_sums(norm_sums *s, const norm_backward_args *a, size_t g, size_t p, const int relu) {
    const int span = (int)(g % a->gr.spans);
    const size_t stats = stats_at(&a->gr, g, a->d);
    const vf centre = channel_values(a->mean + stats, a->d, span), beta = channel_values(a->beta, a->d, span);
    const vf scale = channel_values(a->gamma, a->d, span) * channel_values(a->invstd + stats, a->d, span);
    *s = (norm_sums){0};
    EACH_STRETCH(a->gr, g, p) {
        const act *x = a->src + at, *dy = a->ddst + at;
        for (size_t i = 0; i < len;) {
            const size_t end = least(len, i + RUN);
            vf sd[2] = {}, sx[2] = {};
            for (; i + 2 * BLK <= end; i += 2 * BLK)
                for (int u = 0; u < 2; u++) {
                    const vf v = load_act(x + i + u * BLK) - centre;
                    const vf dv = through(load_act(dy + i + u * BLK), v, scale, beta, relu);
                    sd[u] += dv, sx[u] += dv * v;
                }
            for (; i < end; i += BLK) {
                const size_t n = least(BLK, end - i);
                const vf v = (n == BLK ? load_act(x + i) : load_part_act(x + i, n)) - centre;
                const vf dv = through(n == BLK ? load_act(dy + i) : load_part_act(dy + i, n), v, scale, beta, relu);
                sd[0] += dv, sx[0] += dv * v;
            }
            i = end;
            float f[BLK];
            store(f, sd[0] + sd[1]);
            add_lanes(&s->d, f);
            store(f, sx[0] + sx[1]);
            add_lanes(&s->dx, f);
        }
    }
    if (a->d.blk == 1) {
        const double sum_d = total(&s->d), sum_dx = total(&s->dx);
        for (int l = 0; l < BLK; l++) s->d.lane[l] = sum_d, s->dx.lane[l] = sum_dx;
    }
}

INLINE void norm_backward_part(const norm_backward_args *a, const norm_sums *s, size_t g, size_t p, const int relu) {
    const int span = (int)(g % a->gr.spans);
    const size_t stats = stats_at(&a->gr, g, a->d);
    const vf centre = channel_values(a->mean + stats, a->d, span), beta = channel_values(a->beta, a->d, span);
    const vf invstd = channel_values(a->invstd + stats, a->d, span);
    const vf scale = channel_values(a->gamma, a->d, span) * invstd;
    const double count = (double)(a->gr.len / a->d.blk);
    float md[BLK], mdx[BLK];
    for (int l = 0; l < BLK; l++) md[l] = (float)(s->d.lane[l] / count), mdx[l] = (float)(s->dx.lane[l] / count);
    const vf mean_d = load(md), slope = load(mdx) * invstd * invstd;
    EACH_STRETCH(a->gr, g, p) {
        const act *x = a->src + at, *dy = a->ddst + at;
        act *out = a->dsrc + at;
        MAP(out, len, a->streamed,
            scale * (through(AT(dy), AT(x) - centre, scale, beta, relu) - mean_d - (AT(x) - centre) * slope));
    }
    stream_end(a->streamed);
}

INLINE void norm_backward(const norm_backward_args *a, float *sum_d, float *sum_dx, const int relu) {
    const size_t parts = a->gr.parts, tasks = a->gr.groups * parts;
    norm_sums partial[parts > 1 ? tasks : 1];
#pragma omp parallel if (WORTH_THREADS(sn_count(a->d)))
    {
#pragma omp for schedule(static)
        for (size_t t = 0; t < tasks; t++) {
            norm_sums s;
            norm_backward_sums(&s, a, t / parts, t % parts, relu);
            if (parts > 1) {
                partial[t] = s;
                continue;
            }
            for (int l = 0; l < a->d.blk; l++)
                sum_d[t * a->d.blk + l] = (float)s.d.lane[l], sum_dx[t * a->d.blk + l] = (float)s.dx.lane[l];
            norm_backward_part(a, &s, t, 0, relu);
        }
        if (parts > 1) {
#pragma omp for schedule(static)
            for (size_t t = 0; t < tasks; t++) {
                const size_t g = t / parts;
                norm_sums s = {0};
                for (size_t p = 0; p < parts; p++)
                    for (int l = 0; l < BLK; l++)
                        s.d.lane[l] += partial[g * parts + p].d.lane[l], s.dx.lane[l] += partial[g * parts + p].dx.lane[l];
                if (t % parts == 0)
                    for (int l = 0; l < a->d.blk; l++)
                        sum_d[g * a->d.blk + l] = (float)s.d.lane[l], sum_dx[g * a->d.blk + l] = (float)s.dx.lane[l];
                norm_backward_part(a, &s, g, t % parts, relu);
            }
        }
    }
}

static void k_norm_backward(void *dsrc, float *dgamma, float *dbeta, const void *ddst, const void *src,
                            const float *gamma, const float *beta, const float *mean, const float *invstd, sn_dims d,
                            int batch, int relu, float *scratch) {
    const norm_backward_args a = {ddst, src, gamma, beta, mean, invstd, dsrc, d, group_maps(d, batch),
                                  relu, worth_streaming_map(dsrc, d)};
    const size_t row = (size_t)a.gr.spans * d.blk, rows = batch ? 1 : d.n;
    float *sum_d = scratch, *sum_dx = scratch + rows * row;
    if (relu)
        norm_backward(&a, sum_d, sum_dx, 1);
    else
        norm_backward(&a, sum_d, sum_dx, 0);
    for (int c = 0; c < d.c; c++) {
        double g = 0, b = 0;
        for (size_t n = 0; n < rows; n++) {
            g += (double)sum_dx[n * row + c] * invstd[n * d.c + c];
            b += sum_d[n * row + c];
        }
        dgamma[c] = (float)g, dbeta[c] = (float)b;
    }
}

/* ---- per channel ---- */

static void k_affine(void *dst, const void *src, const float *scale, const float *shift, sn_dims d) {
    const int streamed = worth_streaming_map(dst, d);
    const size_t n = pieces(d);
#pragma omp parallel for schedule(static) if (WORTH_THREADS(sn_count(d)))
    for (size_t i = 0; i < n; i++) {
        const piece p = piece_number(d, i);
        const vf a = channel_values(scale, d, p.span), b = shift ? channel_values(shift, d, p.span) : (vf){};
        const act *in = (const act *)src + p.at;
        act *out = (act *)dst + p.at;
        MAP(out, p.len, streamed, AT(in) * a + b);
        stream_end(streamed);
    }
}

static void k_add_bias(void *dst, const float *bias, sn_dims d) {
    const size_t n = pieces(d);
#pragma omp parallel for schedule(static) if (WORTH_THREADS(sn_count(d)))
    for (size_t i = 0; i < n; i++) {
        const piece p = piece_number(d, i);
        const vf b = channel_values(bias, d, p.span);
        act *out = (act *)dst + p.at;
        MAP(out, p.len, 0, AT(out) + b);
    }
}

static void k_bias_backward(float *db, const void *ddst, sn_dims d) {
    grouping gr = group_maps(d, 1);
    gr.parts = gr.groups < PARTS ? ceil_div(PARTS, gr.groups) : 1;
    const size_t tasks = gr.groups * gr.parts;
    lane_sums partial[tasks];
#pragma omp parallel for schedule(static) if (WORTH_THREADS(sn_count(d)))
    for (size_t t = 0; t < tasks; t++) {
        lane_sums s = {0};
        EACH_STRETCH(gr, t / gr.parts, t % gr.parts) {
            const act *in = (const act *)ddst + at;
            SUM(s, len, AT(in));
        }
        partial[t] = s;
    }
    for (size_t g = 0; g < gr.groups; g++) {
        lane_sums s = {0};
        for (size_t p = 0; p < gr.parts; p++)
            for (int l = 0; l < BLK; l++) s.lane[l] += partial[g * gr.parts + p].lane[l];
        float out[BLK];
        for (int l = 0; l < BLK; l++) out[l] = (float)(d.blk == 1 ? total(&s) : s.lane[l]);
        put_channel_values(db, out, d, (int)g);
    }
}

/* ---- element by element ---- */

#define EACH_PIECE_OF(count) \
    _Pragma("omp parallel for schedule(static) if (WORTH_THREADS(count))") for (size_t at = 0; at < (count); at += PIECE)

static void k_relu(void *dst, const void *src, size_t count) {
    const int streamed = dst != src && worth_streaming(dst, count, sizeof(act));
    EACH_PIECE_OF(count) {
        const act *in = (const act *)src + at;
        act *out = (act *)dst + at;
        MAP(out, least(PIECE, count - at), streamed, positive(AT(in)));
        stream_end(streamed);
    }
}

static void k_relu_backward(void *dsrc, const void *ddst, const void *dst, size_t count) {
    const int streamed = dsrc != ddst && worth_streaming(dsrc, count, sizeof(act));
    EACH_PIECE_OF(count) {
        const act *dy = (const act *)ddst + at, *y = (const act *)dst + at;
        act *out = (act *)dsrc + at;
        MAP(out, least(PIECE, count - at), streamed, keep(AT(y) > 0, AT(dy)));
        stream_end(streamed);
    }
}

/* Polynomials of the Cephes library (Moshier 1992): tanh itself below 0.625,
   1 - 2/(exp(2x)+1) above. */
INLINE vf tanh_lanes(vf x) {
    const vi sign = (vi)x & (int)0x80000000;
    const vf a = (vf)((vi)x & 0x7fffffff), s = x * x;
    vf low = -5.70498872745e-3f * s + 2.06390887954e-2f;
    low = low * s - 5.37397155531e-2f;
    low = low * s + 1.33314422036e-1f;
    low = low * s - 3.33332819422e-1f;
    low = low * s * a + a;
    const vf t = pick(a > 10, all(20), a + a); /* 1 in float32 from there on */
    const vi n = __builtin_convertvector(t * 1.44269504088896341f + 0.5f, vi);
    const vf nf = __builtin_convertvector(n, vf), r = t - nf * 0.693359375f + nf * 2.12194440e-4f;
    vf e = 1.9875691500e-4f * r + 1.3981999507e-3f;
    e = e * r + 8.3334519073e-3f;
    e = e * r + 4.1665795894e-2f;
    e = e * r + 1.6666665459e-1f;
    e = e * r + 5.0000001201e-1f;
    e = e * r * r + r + 1;
    e *= (vf)((n + 127) << 23);
    return (vf)((vi)pick(a < 0.625f, low, 1 - 2 / (e + 1)) | sign);
}

static void k_tanh(void *dst, const void *src, float scale, float offset, sn_dims d) {
    const size_t n = pieces(d);
#pragma omp parallel for schedule(static) if (WORTH_THREADS(sn_count(d)))
    for (size_t i = 0; i < n; i++) {
        const piece p = piece_number(d, i);
        const vi lanes = channel_lanes(d, p.span);
        const act *in = (const act *)src + p.at;
        act *out = (act *)dst + p.at;
        MAP(out, p.len, 0, keep(lanes, tanh_lanes(AT(in)) * scale + offset));
    }
}

static void k_tanh_backward(void *dsrc, const void *ddst, const void *dst, float scale, float offset, sn_dims d) {
    const size_t count = sn_count(d);
    const float inverse = scale == 0 ? 0 : 1 / scale;
    EACH_PIECE_OF(count) {
        const act *dy = (const act *)ddst + at, *y = (const act *)dst + at;
        act *out = (act *)dsrc + at;
        MAP(out, least(PIECE, count - at), 0, AT(dy) * (scale - (AT(y) - offset) * (AT(y) - offset) * inverse));
    }
}

static void k_sum(void *dst, const void *const *srcs, const float *weights, int nsrcs, size_t count) {
    const int streamed = nsrcs > 1 && dst != srcs[0] && worth_streaming(dst, count, sizeof(act));
    const float w0 = weights[0], last = weights[nsrcs - 1];
    enum { CHUNK = 1024 };
#pragma omp parallel for schedule(static) if (WORTH_THREADS(count))
    for (size_t at = 0; at < count; at += CHUNK) {
        const size_t len = least(CHUNK, count - at);
        const act *a = (const act *)srcs[0] + at, *b = (const act *)srcs[nsrcs - 1] + at;
        act *out = (act *)dst + at;
        if (nsrcs == 1)
            MAP(out, len, 0, AT(a) * w0);
        else if (nsrcs == 2)
            MAP(out, len, streamed, AT(a) * w0 + AT(b) * last);
        else {
            float sum[CHUNK];
            MAP(sum, len, 0, AT(a) * w0);
            for (int k = 1; k < nsrcs - 1; k++) {
                const act *x = (const act *)srcs[k] + at;
                const float w = weights[k];
                MAP(sum, len, 0, AT(sum) + AT(x) * w);
            }
            MAP(out, len, streamed, AT(sum) + AT(b) * last);
        }
        stream_end(streamed);
    }
}

#include "kernels_fused.h"

/* ---- sampling ---- */

INLINE void upsample_rows(act *dst, const act *src, sn_dims d, int factor, const int blk) {
    const size_t rows = (size_t)d.n * spans(d) * d.h, row = (size_t)d.w * blk, wide = row * factor;
    const int streamed = blk == BLK && worth_streaming(dst, rows * wide * factor, sizeof(act));
#pragma omp parallel for schedule(static) if (WORTH_THREADS(rows *wide *factor))
    for (size_t r = 0; r < rows; r++) {
        const act *in = src + r * row;
        act *out = dst + r * wide * factor;
        for (int f = 0; f < factor; f++)
            for (size_t x = 0; x < row; x += blk) {
                const vf v = pixel(in + x, blk);
                for (int k = 0; k < factor; k++, out += blk) put_pixel(out, v, blk, streamed);
            }
        stream_end(streamed);
    }
}
static void k_upsample(void *dst, const void *src, sn_dims d, int factor) {
    if (d.blk == 1)
        upsample_rows(dst, src, d, factor, 1);
    else
        upsample_rows(dst, src, d, factor, BLK);
}

INLINE void upsample_backward_rows(act *dsrc, const act *ddst, sn_dims d, int factor, const int blk) {
    const size_t rows = (size_t)d.n * spans(d) * d.h, row = (size_t)d.w * blk, wide = row * factor;
    const int streamed = blk == BLK && worth_streaming(dsrc, rows * row, sizeof(act));
#pragma omp parallel for schedule(static) if (WORTH_THREADS(rows *wide *factor))
    for (size_t r = 0; r < rows; r++) {
        const act *in = ddst + r * wide * factor;
        act *out = dsrc + r * row;
        for (int x = 0; x < d.w; x++, in += factor * blk, out += blk) {
            vf sum = {};
            for (int f = 0; f < factor; f++)
                for (int k = 0; k < factor; k++) sum += pixel(in + f * wide + k * blk, blk);
            put_pixel(out, sum, blk, streamed);
        }
        stream_end(streamed);
    }
}
static void k_upsample_backward(void *dsrc, const void *ddst, sn_dims d, int factor) {
    if (d.blk == 1)
        upsample_backward_rows(dsrc, ddst, d, factor, 1);
    else
        upsample_backward_rows(dsrc, ddst, d, factor, BLK);
}

INLINE vf larger(vf a, vf b) { return pick((b > a) | (b != b), b, a); }

INLINE void pool_rows(act *dst, const act *src, sn_dims d, const int kind, const int blk) {
    const int h = d.h / 2, w = d.w / 2;
    const size_t rows = (size_t)d.n * spans(d) * h, row = (size_t)d.w * blk;
    const int streamed = blk == BLK && worth_streaming(dst, rows * w * blk, sizeof(act));
#pragma omp parallel for schedule(static) if (WORTH_THREADS(sn_count(d)))
    for (size_t r = 0; r < rows; r++) {
        const act *in = src + (r / h * d.h + r % h * 2) * row;
        act *out = dst + r * w * blk;
        for (int x = 0; x < w; x++, in += 2 * blk, out += blk) {
            const vf a = pixel(in, blk), b = pixel(in + blk, blk);
            const vf e = pixel(in + row, blk), f = pixel(in + row + blk, blk);
            const vf v = kind == SN_POOL_MAX ? larger(larger(larger(a, b), e), f) : 0.25f * ((a + b) + (e + f));
            put_pixel(out, v, blk, streamed);
        }
        stream_end(streamed);
    }
}
static void k_pool(void *dst, const void *src, sn_dims d, int kind) {
    if (d.blk == 1)
        pool_rows(dst, src, d, kind, 1);
    else if (kind == SN_POOL_MAX)
        pool_rows(dst, src, d, SN_POOL_MAX, BLK);
    else
        pool_rows(dst, src, d, SN_POOL_AVG, BLK);
}

INLINE void pool_backward_rows(act *dsrc, const act *ddst, const act *src, sn_dims d, const int kind,
                               const int blk) {
    const int h = d.h / 2, w = d.w / 2, pairs = (d.h + 1) / 2;
    const size_t rows = (size_t)d.n * spans(d) * pairs, row = (size_t)d.w * blk;
    const int streamed = blk == BLK && worth_streaming(dsrc, sn_count(d), sizeof(act));
#pragma omp parallel for schedule(static) if (WORTH_THREADS(sn_count(d)))
    for (size_t r = 0; r < rows; r++) {
        const int y = (int)(r % pairs);
        const size_t at = (r / pairs * d.h + y * 2) * row;
        act *out = dsrc + at;
        if (y == h) { /* an odd last row */
            memset(out, 0, row * sizeof *out);
            continue;
        }
        const act *in = src + at, *dy = ddst + (r / pairs * h + y) * w * blk;
        for (int x = 0; x < w; x++, in += 2 * blk, out += 2 * blk, dy += blk) {
            vf g = pixel(dy, blk), ga, gb, ge, gf;
            if (kind == SN_POOL_MAX) {
                const vf a = pixel(in, blk), b = pixel(in + blk, blk), e = pixel(in + row, blk);
                const vf most = larger(larger(larger(a, b), e), pixel(in + row + blk, blk));
                /* to the first that equals the maximum, the last if it is NaN */
                const vi is_a = a == most, is_b = ~is_a & (b == most), is_e = ~(is_a | is_b) & (e == most);
                ga = keep(is_a, g), gb = keep(is_b, g), ge = keep(is_e, g), gf = keep(~(is_a | is_b | is_e), g);
            } else
                ga = gb = ge = gf = 0.25f * g;
            put_pixel(out, ga, blk, streamed);
            put_pixel(out + blk, gb, blk, streamed);
            put_pixel(out + row, ge, blk, streamed);
            put_pixel(out + row + blk, gf, blk, streamed);
        }
        if (d.w % 2) {
            put_pixel(out, (vf){}, blk, streamed);
            put_pixel(out + row, (vf){}, blk, streamed);
        }
        stream_end(streamed);
    }
}
static void k_pool_backward(void *dsrc, const void *ddst, const void *src, sn_dims d, int kind) {
    if (d.blk == 1)
        pool_backward_rows(dsrc, ddst, src, d, kind, 1);
    else if (kind == SN_POOL_MAX)
        pool_backward_rows(dsrc, ddst, src, d, SN_POOL_MAX, BLK);
    else
        pool_backward_rows(dsrc, ddst, src, d, SN_POOL_AVG, BLK);
}

#include "kernels_forward.h"

/* ---- Gram matrices ---- */

/* Pixels that are summed in registers before they are added to the matrix,
   which keeps the rounding error of large maps small. */
#define GRAM_RUN 256

/* Products are taken a word at a time (own_words.h): with bfloat16 that is two
   pixels, which lie side by side. */
#if DOT2
/* Pixels p and p+1 of a block, lane by lane; zeros for p+1 where left is 1. */
INLINE vf side_by_side(const act *p, size_t left) {
    const __m512i order = (__m512i)(__v32hi){0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                             8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return (vf)_mm512_permutexvar_epi16(order, _mm512_maskz_loadu_epi16(left > 1 ? ~0u : 0xffff, p));
}
#else
INLINE vf side_by_side(const act *p, size_t left) { return load_act(p); }
#endif

/* Adds scale·A·Bᵀ over px pixels to a tile of the upper triangle of a matrix of
   c columns: rows channels from a, PER_WORD pixels side by side, and cols
   whole blocks from b on. fresh writes instead of adding. */
INLINE void gram_tile(float *dst, int c, int row0, int col0, const act *a, const act *b, size_t block, size_t px,
                      float scale, int fresh, const int rows, const int cols) {
    vf acc[BLK][2];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) acc[i][0] = acc[i][1] = (vf){};
    for (size_t p = 0; p < px; p += PER_WORD, a += PER_WORD * BLK, b += PER_WORD * BLK) {
        const vf v0 = side_by_side(b, px - p), v1 = cols > 1 ? side_by_side(b + block, px - p) : (vf){};
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            acc[i][0] = multiply_add(acc[i][0], broadcast_word(a + i * PER_WORD), v0);
            if (cols > 1) acc[i][1] = multiply_add(acc[i][1], broadcast_word(a + i * PER_WORD), v1);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < cols; j++) {
            if (row0 + i >= c) continue;
            const int col = col0 + j * BLK;
            float *out = dst + (size_t)(row0 + i) * c + col;
            vf v = acc[i][j] * scale;
            if (col + BLK <= c) {
                if (!fresh) v += load(out);
                store(out, v);
            } else {
                const size_t lanes = c - col;
                if (!fresh) v += load_part(out, lanes);
                store_part(out, v, lanes);
            }
        }
}

/* Block row i, block columns j0 to j1, over px pixels. */
static void gram_blocks(float *dst, int c, const act *f, size_t block, int i, int j0, int j1, size_t px, float scale,
                        int fresh) {
    for (int j = j0; j < j1; j += 2)
        for (size_t p = 0; p < px; p += GRAM_RUN) {
            const size_t run = least(GRAM_RUN, px - p);
            const act *a = f + i * block + p * BLK, *b = f + j * block + p * BLK;
#if DOT2
            act rows[GRAM_RUN * BLK] __attribute__((aligned(64)));
            for (size_t q = 0; q < run; q += PER_WORD) {
                const vf v = side_by_side(a + q * BLK, run - q);
                memcpy(rows + q * BLK, &v, sizeof v);
            }
            a = rows;
#endif
            if (j + 1 == j1)
                gram_tile(dst, c, i * BLK, j * BLK, a, b, block, run, scale, fresh && p == 0, BLK, 1);
            else
                for (int r = 0; r < BLK; r += BLK / 2)
                    gram_tile(dst, c, i * BLK + r, j * BLK, a + r * PER_WORD, b, block, run, scale, fresh && p == 0,
                              BLK / 2, 2);
        }
}

static void gram_plain(float *dst, const act *src, sn_dims d, double scale) {
    const size_t hw = (size_t)d.h * d.w, pairs = (size_t)d.n * d.c * d.c;
#pragma omp parallel for schedule(static) if (WORTH_THREADS(sn_count(d)))
    for (size_t t = 0; t < pairs; t++) {
        const int i = (int)(t / d.c % d.c), j = (int)(t % d.c);
        if (j < i) continue;
        const size_t image = t / d.c / d.c;
        const act *a = src + (image * d.c + i) * hw, *b = src + (image * d.c + j) * hw;
        lane_sums sums = {0};
        SUM(sums, hw, AT(a) * AT(b));
        float *out = dst + image * d.c * d.c;
        out[i * d.c + j] = out[j * d.c + i] = (float)(total(&sums) * scale);
    }
}

static void k_gram(float *dst, const void *src, sn_dims d) {
    const double scale = 1 / ((double)d.c * d.h * d.w);
    if (d.blk == 1) {
        gram_plain(dst, src, d, scale);
        return;
    }
    const int nb = spans(d);
    const size_t block = span_elements(d), hw = (size_t)d.h * d.w, matrix = (size_t)d.c * d.c;
    const size_t pairs = (size_t)nb * (nb + 1) / 2;
    /* Pixels of all blocks that fill half of a second-level cache. */
    const size_t slab = ceil_div((size_t)131072 / BLK / nb, GRAM_RUN) * GRAM_RUN;
#pragma omp parallel if (WORTH_THREADS(sn_count(d)))
    {
        /* Each thread owns a range of the block pairs of all images. */
        const size_t threads = omp_get_num_threads(), me = omp_get_thread_num();
        const size_t lo = pairs * d.n * me / threads, hi = pairs * d.n * (me + 1) / threads;
        for (int n = 0; n < d.n; n++) {
            if (hi <= n * pairs || lo >= (n + 1) * pairs) continue;
            const act *image = (const act *)src + (size_t)n * nb * block;
            for (size_t p = 0; p < hw; p += slab) {
                size_t first = n * pairs; /* number of the row's first pair */
                for (int i = 0; i < nb; first += nb - i, i++) {
                    const size_t from = lo > first ? lo - first : 0;
                    const size_t to = hi > first ? least(hi - first, nb - i) : 0;
                    if (from < to)
                        gram_blocks(dst + n * matrix, d.c, image + p * BLK, block, i, i + (int)from, i + (int)to,
                                    least(slab, hw - p), (float)scale, p == 0);
                }
            }
        }
#pragma omp barrier
#pragma omp for schedule(static)
        for (size_t r = 0; r < (size_t)d.n * d.c; r++) {
            float *m = dst + r / d.c * matrix;
            const size_t i = r % d.c;
            for (size_t j = 0; j < i; j++) m[i * d.c + j] = m[j * d.c + i];
        }
    }
}

#if BLK == 16
#define GRAM_PIXELS 12
#else
#define GRAM_PIXELS 6
#endif

/* px pixels of cols output blocks: the sum over channels i of s[i] times
   channel i of f. s has rows of `stride` for PER_WORD channels side by side,
   zero past the last channel. */
INLINE void gram_backward_tile(act *dst, const act *s, size_t stride, const act *f, size_t block, sn_dims d,
                               int first, const int px, const int cols) {
    vf acc[GRAM_PIXELS][2];
#pragma GCC unroll 16
    for (int k = 0; k < px; k++) acc[k][0] = acc[k][1] = (vf){};
    for (int i0 = 0; i0 < d.c; i0 += BLK, f += block) {
        const int lanes = (int)least(BLK, d.c - i0);
        for (int l = 0; l < lanes; l += PER_WORD, s += stride) {
            vf v0, v1 = {};
            memcpy(&v0, s, sizeof v0);
            if (cols > 1) memcpy(&v1, s + PER_WORD * BLK, sizeof v1);
#pragma GCC unroll 16
            for (int k = 0; k < px; k++) {
                acc[k][0] = multiply_add(acc[k][0], broadcast_word(f + k * BLK + l), v0);
                if (cols > 1) acc[k][1] = multiply_add(acc[k][1], broadcast_word(f + k * BLK + l), v1);
            }
        }
    }
#pragma GCC unroll 2
    for (int j = 0; j < cols; j++) {
        const vi lanes = channel_lanes(d, first + j); /* zero times NaN is not zero */
#pragma GCC unroll 16
        for (int k = 0; k < px; k++) store_act(dst + j * block + k * BLK, keep(lanes, acc[k][j]));
    }
}
INLINE void gram_backward_pixels(act *dst, const act *s, size_t stride, const act *f, size_t block, sn_dims d,
                                 int first, size_t px, const int cols) {
    size_t p = 0;
    for (; p + GRAM_PIXELS <= px; p += GRAM_PIXELS)
        gram_backward_tile(dst + p * BLK, s, stride, f + p * BLK, block, d, first, GRAM_PIXELS, cols);
    for (; p < px; p++) gram_backward_tile(dst + p * BLK, s, stride, f + p * BLK, block, d, first, 1, cols);
}

static void k_gram_backward(void *dsrc, const float *dgram, const void *src, sn_dims d, float *scratch) {
    const float scale = (float)(1 / ((double)d.c * d.h * d.w));
    const int nb = spans(d), pair_columns = (nb + 1) / 2;
    const size_t stride = (size_t)nb * d.blk * PER_WORD;
    act *weights = (act *)scratch; /* (G + G^T), PER_WORD rows side by side */
    const size_t block = span_elements(d), hw = (size_t)d.h * d.w;
    const size_t chunk = d.blk == 1 ? PIECE : 8 * GRAM_PIXELS, chunks = ceil_div(hw, chunk);
    const size_t tasks = chunks * (d.blk == 1 ? d.c : pair_columns);
#pragma omp parallel if (WORTH_THREADS(sn_count(d)))
    for (int n = 0; n < d.n; n++) {
        const float *g = dgram + (size_t)n * d.c * d.c;
        const act *f = (const act *)src + (size_t)n * nb * block;
        act *out = (act *)dsrc + (size_t)n * nb * block;
#pragma omp for schedule(static)
        for (int i = 0; i < (d.c + PER_WORD - 1) / PER_WORD * PER_WORD; i++)
            for (int j = 0; j < nb * d.blk; j++)
                put_act(weights + i / PER_WORD * stride + j * PER_WORD + i % PER_WORD,
                        i < d.c && j < d.c ? (g[(size_t)i * d.c + j] + g[(size_t)j * d.c + i]) * scale : 0);
#pragma omp for schedule(static)
        for (size_t t = 0; t < tasks; t++) {
            if (d.blk == 1) {
                const size_t i = t / chunks, p = t % chunks * chunk, len = least(chunk, hw - p);
                act *to = out + i * hw + p;
                for (int j = 0; j < d.c; j++) {
                    const act *from = f + j * hw + p;
                    const float s = get_act(weights + i * stride + j);
                    if (j == 0)
                        MAP(to, len, 0, AT(from) * s);
                    else
                        MAP(to, len, 0, AT(to) + AT(from) * s);
                }
                continue;
            }
            const size_t p = t / pair_columns * chunk, px = least(chunk, hw - p);
            const int j = (int)(t % pair_columns) * 2;
            const act *from = f + p * BLK;
            const act *s = weights + (size_t)j * BLK * PER_WORD;
            act *to = out + j * block + p * BLK;
            if (j + 1 < nb)
                gram_backward_pixels(to, s, stride, from, block, d, j, px, 2);
            else
                gram_backward_pixels(to, s, stride, from, block, d, j, px, 1);
        }
    }
}

/* ---- losses ---- */

static void k_mse(float *loss, const void *a, const void *b, int n, int b_images, size_t count, size_t elements) {
    const size_t per_image = ceil_div(PARTS, n), parts = per_image * n;
    double partial[parts];
#pragma omp parallel for schedule(static) if (WORTH_THREADS(count *n))
    for (size_t t = 0; t < parts; t++) {
        const size_t image = t / per_image, at = part_start(count, t % per_image, per_image, BLK);
        const act *x = (const act *)a + image * count + at, *y = (const act *)b + (b_images == 1 ? 0 : image * count) + at;
        lane_sums s = {0};
        SUM(s, part_start(count, t % per_image + 1, per_image, BLK) - at, (AT(x) - AT(y)) * (AT(x) - AT(y)));
        partial[t] = total(&s);
    }
    *loss = (float)(add_up(partial, parts) / (double)elements);
}

static void k_mse_backward(void *da, const float *dloss, const void *a, const void *b, int n, int b_images,
                           size_t count, size_t elements) {
    const float k = (float)(2.0 * *dloss / (double)elements);
    const int streamed = count % BLK == 0 && worth_streaming(da, count * n, sizeof(act));
    const size_t per_image = ceil_div(count, PIECE);
#pragma omp parallel for schedule(static) if (WORTH_THREADS(count *n))
    for (size_t t = 0; t < per_image * n; t++) {
        const size_t image = t / per_image, at = t % per_image * PIECE;
        const act *x = (const act *)a + image * count + at, *y = (const act *)b + (b_images == 1 ? 0 : image * count) + at;
        act *out = (act *)da + image * count + at;
        MAP(out, least(PIECE, count - at), streamed, (AT(x) - AT(y)) * k);
        stream_end(streamed);
    }
}

static void k_tv(float *loss, const void *src, sn_dims d) {
    const size_t rows = (size_t)d.n * spans(d) * d.h, row = (size_t)d.w * d.blk, parts = least(PARTS, rows);
    double partial[PARTS];
#pragma omp parallel for schedule(static) if (WORTH_THREADS(sn_count(d)))
    for (size_t t = 0; t < parts; t++) {
        lane_sums s = {0};
        for (size_t r = part_start(rows, t, parts, 1); r < part_start(rows, t + 1, parts, 1); r++) {
            const act *x = (const act *)src + r * row, *right = x + d.blk, *below = x + row;
            SUM(s, row - d.blk, (AT(right) - AT(x)) * (AT(right) - AT(x)));
            if (r % d.h + 1 < (size_t)d.h) SUM(s, row, (AT(below) - AT(x)) * (AT(below) - AT(x)));
        }
        partial[t] = total(&s);
    }
    *loss = (float)add_up(partial, parts);
}

static void k_tv_backward(void *dsrc, const float *dloss, const void *src, sn_dims d) {
    const size_t rows = (size_t)d.n * spans(d) * d.h, row = (size_t)d.w * d.blk, inner = row - d.blk;
    const float k = 2 * *dloss;
#pragma omp parallel for schedule(static) if (WORTH_THREADS(sn_count(d)))
    for (size_t r = 0; r < rows; r++)
        for (size_t at = 0; at < row; at += PIECE) {
            const size_t len = least(PIECE, row - at), lefts = at ? 0 : d.blk;
            const act *x = (const act *)src + r * row + at, *above = x - row, *below = x + row, *right = x + d.blk;
            const act *second = x + lefts, *left = second - d.blk;
            float sum[PIECE], *from = sum + lefts;
            act *out = (act *)dsrc + r * row + at;
            const int up = r % d.h > 0, down = r % d.h + 1 < (size_t)d.h;
            if (up && down)
                MAP(sum, len, 0, k * ((AT(x) - AT(above)) + (AT(x) - AT(below))));
            else if (up)
                MAP(sum, len, 0, k * (AT(x) - AT(above)));
            else if (down)
                MAP(sum, len, 0, k * (AT(x) - AT(below)));
            else
                memset(sum, 0, len * sizeof *sum);
            if (at < inner) MAP(sum, least(len, inner - at), 0, AT(sum) + k * (AT(x) - AT(right)));
            MAP(from, len - lefts, 0, AT(from) + k * (AT(second) - AT(left)));
            MAP(out, len, 0, AT(sum));
        }
}

/* ---- optimiser ---- */

static void k_dots(float *dst, const void *a, const void *const *bs, int nbs, size_t count) {
    const size_t parts = least(PARTS, ceil_div(count, RUN));
    for (int i = 0; i < nbs; i++) {
        double partial[PARTS];
#pragma omp parallel for schedule(static) if (WORTH_THREADS(count))
        for (size_t t = 0; t < parts; t++) {
            const size_t at = part_start(count, t, parts, BLK);
            const act *x = (const act *)a + at, *y = (const act *)bs[i] + at;
            lane_sums s = {0};
            SUM(s, part_start(count, t + 1, parts, BLK) - at, AT(x) * AT(y));
            partial[t] = total(&s);
        }
        dst[i] = (float)add_up(partial, parts);
    }
}

static void k_squared_norm(float *dst, const float *const *srcs, const size_t *counts, int nsrcs) {
    double sum = 0;
    for (int i = 0; i < nsrcs; i++) {
        const size_t count = counts[i], parts = least(PARTS, ceil_div(count, RUN));
        double partial[PARTS];
#pragma omp parallel for schedule(static) if (WORTH_THREADS(count))
        for (size_t t = 0; t < parts; t++) {
            const size_t at = part_start(count, t, parts, BLK);
            const float *x = srcs[i] + at;
            lane_sums s = {0};
            SUM(s, part_start(count, t + 1, parts, BLK) - at, AT(x) * AT(x));
            partial[t] = total(&s);
        }
        sum += add_up(partial, parts);
    }
    *dst = (float)sum;
}

static void k_adam(float *p, const float *g, float *m, float *v, size_t count, const float *squared_norm,
                   const sn_adam_params *a) {
    const double correct1 = 1 - pow(a->beta1, a->step), correct2 = 1 - pow(a->beta2, a->step);
    double clip = 1;
    if (a->clip_norm > 0) {
        clip = a->clip_norm / (__builtin_sqrt(*squared_norm) + 1e-6);
        if (clip > 1) clip = 1;
    }
    const float grad = (float)clip, m1 = (float)a->beta1, g1 = (float)(1 - a->beta1);
    const float v2 = (float)a->beta2, g2 = (float)(1 - a->beta2);
    const float root = (float)(1 / __builtin_sqrt(correct2)), eps = (float)a->eps, rate = (float)(a->lr / correct1);
    EACH_PIECE_OF(count) {
        const size_t len = least(PIECE, count - at);
        const float *x = g + at;
        float *w = p + at, *mean = m + at, *square = v + at;
        MAP(mean, len, 0, AT(mean) * m1 + AT(x) * grad * g1);
        MAP(square, len, 0, AT(square) * v2 + (AT(x) * grad) * (AT(x) * grad) * g2);
        MAP(w, len, 0, AT(w) - rate * AT(mean) / (square_root(AT(square)) * root + eps));
    }
}

#include "own_list.h"

const sn_kernels SN_TABLE = {
    .name = SN_NAME,
    .blk = BLK,
    .size = sizeof(act),
    .plain = &SN_PLAIN,
    .import = k_import,
    .export = k_export,
    .pad = k_pad,
    .pad_backward = k_pad_backward,
    .norm = k_norm,
    .statistics = k_statistics,
    .read_affine = k_read_affine,
    .norm_backward = k_norm_backward,
    .affine = k_affine,
    .add_bias = k_add_bias,
    .bias_backward = k_bias_backward,
    .relu = k_relu,
    .relu_backward = k_relu_backward,
    .tanh = k_tanh,
    .tanh_backward = k_tanh_backward,
    .sum = k_sum,
    .fused_sum = k_fused_sum,
    .upsample = k_upsample,
    .upsample_backward = k_upsample_backward,
    .pool = k_pool,
    .pool_backward = k_pool_backward,
    .pointwise = k_pointwise,
    .arrange = k_arrange,
    .resample = k_resample,
    .warp = k_warp,
    .window_pool = k_window_pool,
    .gram = k_gram,
    .gram_backward = k_gram_backward,
    .mse = k_mse,
    .mse_backward = k_mse_backward,
    .tv = k_tv,
    .tv_backward = k_tv_backward,
    .dots = k_dots,
    .squared_norm = k_squared_norm,
    .adam = k_adam,
    .own = own_list,
    .owns = sizeof own_list / sizeof *own_list,
    .own_wgrad = own_wgrad_list,
    .own_wgrads = sizeof own_wgrad_list / sizeof *own_wgrad_list,
};
