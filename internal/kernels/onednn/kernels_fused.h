/* What convolutions that read and measure in one pass (see own.h) need beside
   them, and what stands in for them: sources read as kernels.Read says, one or
   two at a time. Included by kernels_impl.h. */

static void k_read_affine(float *scale, float *shift, const float *mean, const float *invstd, const float *gamma,
                          const float *beta, int n, int c, int stats_n) {
    const int row = (c + 15) / 16 * 16;
    for (int i = 0; i < n; i++, scale += row, shift += row) {
        const float *m = mean + (size_t)(stats_n == 1 ? 0 : i) * c, *s = invstd + (size_t)(stats_n == 1 ? 0 : i) * c;
        for (int k = 0; k < c; k++) {
            const double slope = (double)gamma[k] * s[k];
            scale[k] = (float)slope;
            shift[k] = (float)(beta[k] - slope * m[k]);
        }
        memset(scale + c, 0, (row - c) * sizeof *scale);
        memset(shift + c, 0, (row - c) * sizeof *shift);
    }
}

/* What a source's values go through before upsampling and border. */
typedef struct {
    vf scale, shift;
    vi linear; /* lanes that skip the ReLU */
} transform;

INLINE transform source_transform(const sn_source *s, size_t image, int span) {
    const size_t at = image * ((s->d.c + 15) / 16 * 16);
    return (transform){
        s->scale ? channel_values(s->scale + at, s->d, span) : all(1),
        s->scale ? channel_values(s->shift + at, s->d, span) : (vf){},
        (vi){} - !s->relu,
    };
}
INLINE vf transformed(vf x, transform t) {
    x = x * t.scale + t.shift;
    return keep(~(x <= 0) | t.linear, x);
}

/* Pixels xa to xb of row y of what is read of a span, to out or added to it. */
INLINE void read_pixels(float *out, const act *span, const sn_source *s, transform t, int y, int xa, int xb, int add,
                        const int blk) {
    const int iy = border_index(y - s->pad.top, s->d.h * s->up, s->mode);
    if (iy < 0) {
        if (!add) memset(out, 0, (size_t)(xb - xa) * blk * sizeof *out);
        return;
    }
    const act *in = span + (size_t)(iy / s->up) * s->d.w * blk;
    const int x0 = clamp(s->pad.left, xa, xb), x1 = clamp(s->pad.left + s->d.w, x0, xb);
    for (int x = xa; x < xb; x++) {
        float *to = out + (size_t)(x - xa) * blk;
        if (s->up == 1 && x == x0 && x1 > x0) {
            const act *from = in + (ptrdiff_t)(x0 - s->pad.left) * blk;
            const size_t len = (size_t)(x1 - x0) * blk;
            if (add)
                MAP(to, len, 0, AT(to) + transformed(AT(from), t));
            else
                MAP(to, len, 0, transformed(AT(from), t));
            x = x1 - 1;
            continue;
        }
        const int ix = border_index(x - s->pad.left, s->d.w * s->up, s->mode);
        const vf v = ix < 0 ? (vf){} : transformed(pixel(in + (size_t)(ix / s->up) * blk, blk), t);
        if (blk == 1)
            *to = v[0] + (add ? *to : 0);
        else
            store(to, add ? v + load(to) : v);
    }
}

INLINE void sum_rows(act *dst, sn_dims d, const sn_source *s, int sources, const int blk) {
    enum { STEP = 1024 };
    const size_t rows = (size_t)d.n * spans(d) * d.h;
    const int step = STEP / blk;
#pragma omp parallel for schedule(static) if (WORTH_THREADS(sn_count(d)))
    for (size_t r = 0; r < rows; r++) {
        const size_t span = r / d.h;
        for (int x = 0; x < d.w; x += step) {
            float sum[STEP];
            const int end = (int)least(x + step, d.w);
            for (int k = 0; k < sources; k++)
                read_pixels(sum, (const act *)s[k].src + span * s[k].d.h * s[k].d.w * blk, s + k,
                            source_transform(s + k, span / spans(d), (int)(span % spans(d))), (int)(r % d.h), x, end,
                            k > 0, blk);
            act *out = dst + (r * d.w + x) * blk;
            MAP(out, (size_t)(end - x) * blk, 0, AT(sum));
        }
    }
}

/* As sum_rows, for sources that keep their size: one pass over memory. */
static void sum_pieces(act *dst, sn_dims d, const sn_source *s, int sources) {
    const int streamed = worth_streaming_map(dst, d);
    const size_t n = pieces(d), image = (size_t)spans(d) * d.h * d.w * d.blk;
#pragma omp parallel for schedule(static) if (WORTH_THREADS(sn_count(d)))
    for (size_t i = 0; i < n; i++) {
        const piece p = piece_number(d, i);
        const transform t = source_transform(s, p.at / image, p.span);
        const act *a = (const act *)s[0].src + p.at;
        act *out = dst + p.at;
        if (sources == 1)
            MAP(out, p.len, streamed, transformed(AT(a), t));
        else {
            const transform u = source_transform(s + 1, p.at / image, p.span);
            const act *b = (const act *)s[1].src + p.at;
            MAP(out, p.len, streamed, transformed(AT(a), t) + transformed(AT(b), u));
        }
        stream_end(streamed);
    }
}

static void k_fused_sum(void *dst, sn_dims d, const sn_source *s, int sources) {
    int same = 1;
    for (int k = 0; k < sources; k++) {
        const sn_border b = s[k].pad;
        same &= s[k].up == 1 && !(b.top | b.bottom | b.left | b.right);
    }
    if (same)
        sum_pieces(dst, d, s, sources);
    else if (d.blk == 1)
        sum_rows(dst, d, s, sources, 1);
    else
        sum_rows(dst, d, s, sources, BLK);
}
