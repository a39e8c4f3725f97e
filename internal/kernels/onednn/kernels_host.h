/* Row-major maps of the host to and from the device's layouts, in squares of
   BLK pixels times BLK channels. Included by kernels_impl.h. */

/* Squares that a thread takes at a time. */
#define SQUARES 64

/* EACH_SQUARE runs over the maps of dims d by squares: pixels `at` to at+px of
   span m, whose first `lanes` channels are real. */
#define EACH_SQUARE(d)                                                                                        \
    const size_t hw = (size_t)d.h * d.w, strips = ceil_div(hw, SQUARES * BLK), tasks = d.n * spans(d) * strips; \
    _Pragma("omp parallel for schedule(static) if (WORTH_THREADS(sn_count(d)))")                              \
    for (size_t task = 0; task < tasks; task++)                                                               \
        for (size_t m = task / strips, lanes = least(BLK, d.c - m % spans(d) * BLK), px,                      \
                    at = task % strips * SQUARES * BLK, end = least(hw, at + SQUARES * BLK);                  \
             at < end && (px = least(BLK, end - at), 1); at += BLK)

static void k_import(void *to, const float *src, sn_dims d) {
    act *dst = to;
    if (d.blk == 1) {
        memcpy(dst, src, sn_count(d) * sizeof *dst);
        return;
    }
    EACH_SQUARE(d) {
        const float *in = src + (m / spans(d) * d.c + m % spans(d) * BLK) * hw + at;
        act *out = dst + (m * hw + at) * BLK;
        vf v[BLK];
        if (px == BLK && lanes == BLK)
            for (size_t l = 0; l < BLK; l++) v[l] = load(in + l * hw);
        else
            for (size_t l = 0; l < BLK; l++) v[l] = l < lanes ? load_part(in + l * hw, px) : (vf){};
        transpose(v);
        for (size_t p = 0; p < px; p++) store_act(out + p * BLK, v[p]);
    }
}

static void k_export(float *dst, const void *from, sn_dims d) {
    const act *src = from;
    if (d.blk == 1) {
        memcpy(dst, src, sn_count(d) * sizeof *dst);
        return;
    }
    EACH_SQUARE(d) {
        float *out = dst + (m / spans(d) * d.c + m % spans(d) * BLK) * hw + at;
        const act *in = src + (m * hw + at) * BLK;
        vf v[BLK];
        for (size_t p = 0; p < BLK; p++) v[p] = p < px ? load_act(in + p * BLK) : (vf){};
        transpose(v);
        if (px == BLK && lanes == BLK)
            for (size_t l = 0; l < BLK; l++) store(out + l * hw, v[l]);
        else
            for (size_t l = 0; l < lanes; l++) store_part(out + l * hw, v[l], px);
    }
}
