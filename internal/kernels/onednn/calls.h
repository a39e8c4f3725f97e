/* cgo cannot call function pointers: one call for each entry of sn_kernels,
   and the frees. */
#include "shim.h"
#include <stdlib.h>
#include <string.h>

#define CALL(name, params, args) \
    static inline void call_##name params { k->name args; }

CALL(import, (const sn_kernels *k, float *dst, const float *src, sn_dims d), (dst, src, d))
CALL(export, (const sn_kernels *k, float *dst, const float *src, sn_dims d), (dst, src, d))
CALL(pad, (const sn_kernels *k, float *dst, const float *src, sn_dims d, int mode, sn_border b), (dst, src, d, mode, b))
CALL(pad_backward, (const sn_kernels *k, float *dsrc, const float *ddst, sn_dims d, int mode, sn_border b), (dsrc, ddst, d, mode, b))
CALL(norm, (const sn_kernels *k, float *dst, float *mean, float *invstd, const float *src, const float *gamma, const float *beta, sn_dims d, float eps, int batch, int relu),
     (dst, mean, invstd, src, gamma, beta, d, eps, batch, relu))
CALL(norm_backward, (const sn_kernels *k, float *dsrc, float *dgamma, float *dbeta, const float *ddst, const float *src, const float *gamma, const float *beta, const float *mean, const float *invstd, sn_dims d, int batch, int relu, float *scratch),
     (dsrc, dgamma, dbeta, ddst, src, gamma, beta, mean, invstd, d, batch, relu, scratch))
CALL(affine, (const sn_kernels *k, float *dst, const float *src, const float *scale, const float *shift, sn_dims d), (dst, src, scale, shift, d))
CALL(add_bias, (const sn_kernels *k, float *dst, const float *bias, sn_dims d), (dst, bias, d))
CALL(bias_backward, (const sn_kernels *k, float *db, const float *ddst, sn_dims d), (db, ddst, d))
CALL(relu, (const sn_kernels *k, float *dst, const float *src, size_t n), (dst, src, n))
CALL(relu_backward, (const sn_kernels *k, float *dsrc, const float *ddst, const float *dst, size_t n), (dsrc, ddst, dst, n))
CALL(tanh, (const sn_kernels *k, float *dst, const float *src, float scale, float offset, sn_dims d), (dst, src, scale, offset, d))
CALL(tanh_backward, (const sn_kernels *k, float *dsrc, const float *ddst, const float *dst, float scale, float offset, sn_dims d), (dsrc, ddst, dst, scale, offset, d))
CALL(sum, (const sn_kernels *k, float *dst, const float *const *srcs, const float *weights, int nsrcs, size_t n), (dst, srcs, weights, nsrcs, n))
CALL(upsample, (const sn_kernels *k, float *dst, const float *src, sn_dims d, int factor), (dst, src, d, factor))
CALL(upsample_backward, (const sn_kernels *k, float *dsrc, const float *ddst, sn_dims d, int factor), (dsrc, ddst, d, factor))
CALL(pool, (const sn_kernels *k, float *dst, const float *src, sn_dims d, int kind), (dst, src, d, kind))
CALL(pool_backward, (const sn_kernels *k, float *dsrc, const float *ddst, const float *src, sn_dims d, int kind), (dsrc, ddst, src, d, kind))
CALL(gram, (const sn_kernels *k, float *dst, const float *src, sn_dims d), (dst, src, d))
CALL(gram_backward, (const sn_kernels *k, float *dsrc, const float *dgram, const float *src, sn_dims d, float *scratch), (dsrc, dgram, src, d, scratch))
CALL(mse, (const sn_kernels *k, float *loss, const float *a, const float *b, int n, int b_images, size_t count, size_t elements), (loss, a, b, n, b_images, count, elements))
CALL(mse_backward, (const sn_kernels *k, float *da, const float *dloss, const float *a, const float *b, int n, int b_images, size_t count, size_t elements), (da, dloss, a, b, n, b_images, count, elements))
CALL(tv, (const sn_kernels *k, float *loss, const float *src, sn_dims d), (loss, src, d))
CALL(tv_backward, (const sn_kernels *k, float *dsrc, const float *dloss, const float *src, sn_dims d), (dsrc, dloss, src, d))
CALL(squared_norm, (const sn_kernels *k, float *dst, const float *const *srcs, const size_t *counts, int nsrcs), (dst, srcs, counts, nsrcs))
CALL(adam, (const sn_kernels *k, float *p, const float *g, float *m, float *v, size_t n, const float *squared_norm, const sn_adam_params *a), (p, g, m, v, n, squared_norm, a))
