/* cgo cannot call function pointers: one call for each entry of sn_kernels,
   with void pointers all over, and the frees. */
#include "shim.h"
#include "own.h"
#include <stdlib.h>
#include <string.h>

#define CALL(name, params, args) \
    static inline void call_##name params { k->name args; }

CALL(import, (const sn_kernels *k, void *dst, const void *src, sn_dims d), (dst, src, d))
CALL(export, (const sn_kernels *k, void *dst, const void *src, sn_dims d), (dst, src, d))
CALL(pad, (const sn_kernels *k, void *dst, const void *src, sn_dims d, int mode, sn_border b), (dst, src, d, mode, b))
CALL(pad_backward, (const sn_kernels *k, void *dsrc, const void *ddst, sn_dims d, int mode, sn_border b), (dsrc, ddst, d, mode, b))
CALL(norm, (const sn_kernels *k, void *dst, void *mean, void *invstd, const void *src, const void *gamma, const void *beta, sn_dims d, float eps, int batch, int relu),
     (dst, mean, invstd, src, gamma, beta, d, eps, batch, relu))
CALL(statistics, (const sn_kernels *k, void *mean, void *invstd, const void *src, sn_dims d, float eps), (mean, invstd, src, d, eps))
CALL(read_affine, (const sn_kernels *k, void *scale, void *shift, const void *mean, const void *invstd, const void *gamma, const void *beta, int n, int c, int stats_n), (scale, shift, mean, invstd, gamma, beta, n, c, stats_n))
CALL(norm_backward, (const sn_kernels *k, void *dsrc, void *dgamma, void *dbeta, const void *ddst, const void *src, const void *gamma, const void *beta, const void *mean, const void *invstd, sn_dims d, int batch, int relu, void *scratch),
     (dsrc, dgamma, dbeta, ddst, src, gamma, beta, mean, invstd, d, batch, relu, scratch))
CALL(affine, (const sn_kernels *k, void *dst, const void *src, const void *scale, const void *shift, sn_dims d), (dst, src, scale, shift, d))
CALL(add_bias, (const sn_kernels *k, void *dst, const void *bias, sn_dims d), (dst, bias, d))
CALL(bias_backward, (const sn_kernels *k, void *db, const void *ddst, sn_dims d), (db, ddst, d))
CALL(relu, (const sn_kernels *k, void *dst, const void *src, size_t n), (dst, src, n))
CALL(relu_backward, (const sn_kernels *k, void *dsrc, const void *ddst, const void *dst, size_t n), (dsrc, ddst, dst, n))
CALL(tanh, (const sn_kernels *k, void *dst, const void *src, float scale, float offset, sn_dims d), (dst, src, scale, offset, d))
CALL(tanh_backward, (const sn_kernels *k, void *dsrc, const void *ddst, const void *dst, float scale, float offset, sn_dims d), (dsrc, ddst, dst, scale, offset, d))
CALL(sum, (const sn_kernels *k, void *dst, const void *const *srcs, const void *weights, int nsrcs, size_t n), (dst, srcs, weights, nsrcs, n))
CALL(fused_sum, (const sn_kernels *k, void *dst, sn_dims d, const sn_source *s, int sources), (dst, d, s, sources))
CALL(upsample, (const sn_kernels *k, void *dst, const void *src, sn_dims d, int factor), (dst, src, d, factor))
CALL(upsample_backward, (const sn_kernels *k, void *dsrc, const void *ddst, sn_dims d, int factor), (dsrc, ddst, d, factor))
CALL(pool, (const sn_kernels *k, void *dst, const void *src, sn_dims d, int kind), (dst, src, d, kind))
CALL(pool_backward, (const sn_kernels *k, void *dsrc, const void *ddst, const void *src, sn_dims d, int kind), (dsrc, ddst, src, d, kind))
CALL(pointwise, (const sn_kernels *k, void *dst, const void *a, sn_dims d, const sn_function *f, const void *b, sn_dims bd), (dst, a, d, f, b, bd))
CALL(arrange, (const sn_kernels *k, void *dst, sn_dims d, const sn_channel *from, int block, int top), (dst, d, from, block, top))
CALL(resample, (const sn_kernels *k, void *dst, sn_dims d, const void *src, sn_dims s, const sn_tap *rows, const sn_tap *cols), (dst, d, src, s, rows, cols))
CALL(warp, (const sn_kernels *k, void *dst, const void *src, const void *flow, sn_dims d, int pairs), (dst, src, flow, d, pairs))
CALL(window_pool, (const sn_kernels *k, void *dst, sn_dims d, const void *src, sn_dims s, const sn_window *w), (dst, d, src, s, w))
CALL(gram, (const sn_kernels *k, void *dst, const void *src, sn_dims d), (dst, src, d))
CALL(gram_backward, (const sn_kernels *k, void *dsrc, const void *dgram, const void *src, sn_dims d, void *scratch), (dsrc, dgram, src, d, scratch))
CALL(mse, (const sn_kernels *k, void *loss, const void *a, const void *b, int n, int b_images, size_t count, size_t elements), (loss, a, b, n, b_images, count, elements))
CALL(mse_backward, (const sn_kernels *k, void *da, const void *dloss, const void *a, const void *b, int n, int b_images, size_t count, size_t elements), (da, dloss, a, b, n, b_images, count, elements))
CALL(tv, (const sn_kernels *k, void *loss, const void *src, sn_dims d), (loss, src, d))
CALL(tv_backward, (const sn_kernels *k, void *dsrc, const void *dloss, const void *src, sn_dims d), (dsrc, dloss, src, d))
CALL(dots, (const sn_kernels *k, void *dst, const void *a, const void *const *bs, int nbs, size_t n), (dst, a, bs, nbs, n))
CALL(squared_norm, (const sn_kernels *k, void *dst, const void *const *srcs, const size_t *counts, int nsrcs), (dst, (const float *const *)srcs, counts, nsrcs))
CALL(adam, (const sn_kernels *k, void *p, const void *g, void *m, void *v, size_t n, const void *squared_norm, const sn_adam_params *a), (p, g, m, v, n, squared_norm, a))

/* The first convolution of our own that takes s, or -1. */
static inline int own_find(const sn_kernels *k, const sn_own_spec *s, int exact) {
    for (int i = 0; i < k->owns; i++)
        if (!(exact && k->own[i]->approximate) && k->own[i]->takes(s)) return i;
    return -1;
}
static inline const char *own_name(const sn_kernels *k, int i) { return k->own[i]->name; }
static inline size_t own_packed_bytes(const sn_kernels *k, int i, const sn_own_spec *s) { return k->own[i]->packed_bytes(s); }
static inline size_t own_scratch_bytes(const sn_kernels *k, int i, const sn_own_spec *s, int threads) { return k->own[i]->scratch_bytes(s, threads); }
static inline void own_pack(const sn_kernels *k, int i, const sn_own_spec *s, void *packed, const void *w) { k->own[i]->pack(s, packed, w); }
static inline void own_run(const sn_kernels *k, int i, const sn_own_spec *s, const sn_own_args *a) { k->own[i]->run(s, a); }
/* The first gradient for weights that takes s, or -1. */
static inline int own_wgrad_find(const sn_kernels *k, const sn_own_spec *s, int exact) {
    for (int i = 0; i < k->own_wgrads; i++)
        if (!(exact && k->own_wgrad[i]->approximate) && k->own_wgrad[i]->takes(s)) return i;
    return -1;
}
static inline size_t own_wgrad_scratch_bytes(const sn_kernels *k, int i, const sn_own_spec *s, int threads) { return k->own_wgrad[i]->scratch_bytes(s, threads); }
static inline void own_wgrad_run(const sn_kernels *k, int i, const sn_own_spec *s, const sn_own_args *a, const void *ddst, float *dw) { k->own_wgrad[i]->run(s, a, ddst, dw); }
