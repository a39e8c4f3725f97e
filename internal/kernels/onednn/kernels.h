/* Kernels of our own beside oneDNN's convolutions. Built once per instruction
   set (avx512_bf16, avx512, avx2, base) from kernels_impl.h and chosen at run
   time through the table sn_kernels.

   Activations come in two layouts, told apart by blk:
     blk 1       plain N, C, H, W (maps with at most 4 channels: images)
     blk 8 or 16 N, ceil(C/blk), H, W, blk: oneDNN's nChw8c and nChw16c. The
                 lanes of the last block beyond C are zero, and every kernel
                 keeps them zero.
   The table of an instruction set handles blk 1 and its own blk: 16 for
   avx512, 8 for the others. The void pointers are activations: floats, or
   bfloat16 in a table for maps of that, which leaves blk 1 and parameters to
   the table `plain`. Parameters are flat, row-major, always float, and
   allocated with at least 16 readable floats past their end, which are zero.
   All arithmetic is in float.

   All kernels are deterministic for a given number of OpenMP threads. */
#ifndef STYLENET_KERNELS_H
#define STYLENET_KERNELS_H
#include <stddef.h>

typedef struct { int n, c, h, w, blk; } sn_dims;

/* Elements of memory that an activation takes, padding lanes included. */
static inline size_t sn_count(sn_dims d) {
    size_t c = d.blk == 1 ? (size_t)d.c : (size_t)((d.c + d.blk - 1) / d.blk) * d.blk;
    return (size_t)d.n * c * d.h * d.w;
}

typedef struct { int top, bottom, left, right; } sn_border;
enum { SN_PAD_ZERO = 0, SN_PAD_REFLECT = 1, SN_PAD_EDGE = 2 };
enum { SN_POOL_MAX = 0, SN_POOL_AVG = 1 };

/* A source and how it is read: see kernels.Read. */
typedef struct {
    const void *src;            /* a map of dims d */
    sn_dims d;
    const float *scale, *shift; /* as read_affine makes them, or NULL */
    int relu, up, mode;         /* up is 1 or more */
    sn_border pad;              /* of the upsampled map; negative amounts crop */
} sn_source;

/* kernels.Function, and what it takes. */
enum { SN_LEAKY_RELU, SN_PRELU, SN_SIGMOID, SN_CLIP, SN_ADD, SN_SUBTRACT, SN_MULTIPLY, SN_DIVIDE };
typedef struct {
    int what;
    float a, b;
} sn_function;

/* Where a channel of a map lies: its first pixel, and how many elements an image
   has. blk is that of the map. */
typedef struct {
    const void *map;
    size_t at, image;
    int blk;
} sn_channel;

/* (1 - w) of row or column a and w of b. */
typedef struct {
    int a, b;
    float w;
} sn_tap;

typedef struct {
    int kind, height, width, stride, top, left, count_pad; /* see kernels.Window */
} sn_window;

typedef struct {
    double lr, beta1, beta2, eps, clip_norm; /* clip_norm 0 is off */
    int step;                                /* from 1 */
} sn_adam_params;

typedef struct sn_kernels {
    const char *name; /* "avx512", "avx512_bf16", "avx2", "base" */
    int blk;
    int size;                       /* bytes of an element of an activation: 4, or 2 */
    const struct sn_kernels *plain; /* the table for blk 1 and parameters: itself with size 4 */

    /* between row-major N, C, H, W on the host and a device layout */
    void (*import)(void *dst, const float *src, sn_dims d);
    void (*export)(float *dst, const void *src, sn_dims d);

    /* d is the plain (unpadded) map everywhere */
    void (*pad)(void *dst, const void *src, sn_dims d, int mode, sn_border b);
    void (*pad_backward)(void *dsrc, const void *ddst, sn_dims d, int mode, sn_border b);

    /* mean and invstd: n*c values, or c with batch. */
    void (*norm)(void *dst, float *mean, float *invstd, const void *src, const float *gamma,
                 const float *beta, sn_dims d, float eps, int batch, int relu);
    /* what norm without batch leaves in mean and invstd */
    void (*statistics)(float *mean, float *invstd, const void *src, sn_dims d, float eps);
    /* Norm as scale*x + shift: for each of n images c values, and zeros up to a
       multiple of 16. stats_n is the number of images in mean and invstd, 1 or n. */
    void (*read_affine)(float *scale, float *shift, const float *mean, const float *invstd, const float *gamma,
                        const float *beta, int n, int c, int stats_n);
    /* scratch: 2*n*ceil16(c) + 64 floats */
    void (*norm_backward)(void *dsrc, float *dgamma, float *dbeta, const void *ddst, const void *src,
                          const float *gamma, const float *beta, const float *mean, const float *invstd,
                          sn_dims d, int batch, int relu, float *scratch);

    void (*affine)(void *dst, const void *src, const float *scale, const float *shift /* or NULL */, sn_dims d);
    void (*add_bias)(void *dst, const float *bias, sn_dims d); /* in place */
    void (*bias_backward)(float *db, const void *ddst, sn_dims d);

    /* flat: element by element over count elements, padding lanes included; all
       may work in place. tanh keeps padding lanes zero, so it takes dims. */
    void (*relu)(void *dst, const void *src, size_t count);
    void (*relu_backward)(void *dsrc, const void *ddst, const void *dst, size_t count);
    void (*tanh)(void *dst, const void *src, float scale, float offset, sn_dims d);
    void (*tanh_backward)(void *dsrc, const void *ddst, const void *dst, float scale, float offset, sn_dims d);
    void (*sum)(void *dst, const void *const *srcs, const float *weights, int nsrcs, size_t count);
    /* dst, a map of dims d, is what is read of one source or the sum of two */
    void (*fused_sum)(void *dst, sn_dims d, const sn_source *s, int sources);

    /* d is the small map */
    void (*upsample)(void *dst, const void *src, sn_dims d, int factor);
    void (*upsample_backward)(void *dsrc, const void *ddst, sn_dims d, int factor);
    /* d is the large map */
    void (*pool)(void *dst, const void *src, sn_dims d, int kind);
    void (*pool_backward)(void *dsrc, const void *ddst, const void *src, sn_dims d, int kind);

    /* b: a map of dims bd, the slopes of prelu, or NULL. bd differs from d where
       b is repeated; one with one channel may have blk 1 alone. */
    void (*pointwise)(void *dst, const void *a, sn_dims d, const sn_function *f, const void *b, sn_dims bd);
    /* from: for the pixels of a square of block*block, row by row, the channels
       of dst, which begins `top` rows down. Maps of either layout go together. */
    void (*arrange)(void *dst, sn_dims d, const sn_channel *from, int block, int top);
    /* d is dst, s is src */
    void (*resample)(void *dst, sn_dims d, const void *src, sn_dims s, const sn_tap *rows, const sn_tap *cols);
    /* d is dst and src; flow is plain, 2 channels of floats; pairs: image n is made of image n^1 */
    void (*warp)(void *dst, const void *src, const float *flow, sn_dims d, int pairs);
    void (*window_pool)(void *dst, sn_dims d, const void *src, sn_dims s, const sn_window *w);

    /* gram: n matrices of c*c, divided by c*h*w. */
    void (*gram)(float *dst, const void *src, sn_dims d);
    /* dsrc = (G + G^T) F / (c*h*w); dgram need not be symmetric.
       scratch: ceil16(c)*ceil16(c) + 64 floats */
    void (*gram_backward)(void *dsrc, const float *dgram, const void *src, sn_dims d, float *scratch);

    /* count: elements of one image of a, padding lanes (zero in a and b)
       included; b_images is 1 or n; elements: real elements of a. */
    void (*mse)(float *loss, const void *a, const void *b, int n, int b_images, size_t count, size_t elements);
    void (*mse_backward)(void *da, const float *dloss, const void *a, const void *b, int n, int b_images,
                         size_t count, size_t elements);
    void (*tv)(float *loss, const void *src, sn_dims d);
    void (*tv_backward)(void *dsrc, const float *dloss, const void *src, sn_dims d);

    /* dst[i] is the sum of a times bs[i], over count elements of each */
    void (*dots)(float *dst, const void *a, const void *const *bs, int nbs, size_t count);
    void (*squared_norm)(float *dst, const float *const *srcs, const size_t *counts, int nsrcs);
    /* squared_norm may be NULL when clip_norm is 0. PyTorch's Adam:
       denom = sqrt(v)/sqrt(1-beta2^t) + eps; p -= lr/(1-beta1^t) * m/denom;
       gradients are first multiplied by min(1, clip_norm/(sqrt(squared_norm)+1e-6)). */
    void (*adam)(float *p, const float *g, float *m, float *v, size_t count, const float *squared_norm,
                 const sn_adam_params *a);

    const struct sn_own_conv *const *own; /* convolutions of our own, the best first: own.h */
    int owns;
    const struct sn_own_wgrad *const *own_wgrad; /* gradients for the weights of such */
    int own_wgrads;
} sn_kernels;

/* The best table that this processor can run. */
const sn_kernels *sn_kernels_best(void);
/* The table of that name, or NULL where the processor or the build lacks it. */
const sn_kernels *sn_kernels_named(const char *name);
#endif
