/* Convolutions of our own. Each one reads its source as kernels.Read says
   (own_fetch.h), so that norm, ReLU, upsampling and padding cost no pass over
   memory of their own, and can take the statistics of its result while that is
   in the caches. Each table of kernels.h has a list of them, the best first. */
#ifndef STYLENET_OWN_H
#define STYLENET_OWN_H
#include "kernels.h"

typedef struct {
    sn_dims src, dst;     /* the arrays: src before upsampling and padding */
    int kh, kw, stride;
    int up;               /* nearest neighbour upsampling of src: 1 or more */
    int mode;             /* SN_PAD_ of the border, which follows upsampling; */
    sn_border pad;        /* negative amounts crop */
    int normalise;        /* src is first scaled and shifted: args.scale, args.shift */
    int read_relu;        /* then goes through ReLU */
    int bias, relu;       /* of the result */
    int stats;            /* mean and invstd of the result are wanted */
    float eps;
    /* The weights belong to the convolution whose gradient for its source this
       is: they are (src.c, dst.c, kh, kw), and are used with the channels
       swapped and both kernel axes reversed. Stride 1 only. */
    int flipped;
} sn_own_spec;

typedef struct {
    const void *src;            /* float with blk 1, else act */
    const float *scale, *shift; /* for each image, src.c values rounded up to 16, zero past src.c */
    const void *packed;
    const float *bias;          /* dst.c values */
    void *dst;
    float *mean, *invstd;       /* dst.n * dst.c values */
    void *scratch;              /* aligned to 64 bytes */
} sn_own_args;

typedef struct sn_own_conv {
    const char *name;
    int approximate; /* not for --exact */
    int (*takes)(const sn_own_spec *s);
    /* Weights (dst.c, src.c, kh, kw), or flipped ones, in the layout that run
       wants. pack uses all threads. */
    size_t (*packed_bytes)(const sn_own_spec *s);
    void (*pack)(const sn_own_spec *s, void *packed, const float *w);
    size_t (*scratch_bytes)(const sn_own_spec *s, int threads);
    void (*run)(const sn_own_spec *s, const sn_own_args *a);
} sn_own_conv;

/* Gradients for the weights of a convolution, which read its source in the same
   way. Sums are taken over parts that the shapes alone decide. */
typedef struct sn_own_wgrad {
    const char *name;
    int approximate; /* not for --exact */
    int (*takes)(const sn_own_spec *s); /* that of the convolution */
    size_t (*scratch_bytes)(const sn_own_spec *s, int threads);
    /* Of a the source, scale, shift and scratch are used. ddst has the dims of
       s->dst; dw is (dst.c, src.c, kh, kw). */
    void (*run)(const sn_own_spec *s, const sn_own_args *a, const void *ddst, float *dw);
} sn_own_wgrad;
#endif
