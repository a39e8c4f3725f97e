//go:build cudahost

/* What host_driver.go calls. */
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif

/* The kernel of that name, or NULL where there is none or its parameter has
   another size. */
const void *host_find(const char *name, long bytes);
/* Runs it on blocks of 256 threads, forward, backward and shuffled by turns.
   Returns NULL, or what a GPU's threads would have got wrong: a barrier that not
   all of a block reach, or what host.h says of shared memory. Where there are more
   blocks than 2·ends, only so many at each end run. */
const char *host_launch(const void *kernel, int blocks, int ends, const void *parameter);

/* Memory full of NaN, that ends where a page without access begins, so that what
   reads or writes behind it ends the program, as it would on a GPU; NULL where
   there is none. With sparse it is full of zeros, and takes no memory of the machine
   before it is written. host_free returns 0 where something has written before it. */
void *host_alloc(size_t bytes, int sparse);
int host_free(void *p, size_t bytes, int sparse);

/* Maps are NHWC and weights KRSC, in float or, with half, in bf16. Sums are float. */
typedef struct {
    int half;
    int n, h, w, c, oh, ow, k, r, s, stride, pad_h, pad_w;
} host_conv;
void host_conv_forward(const host_conv *d, const void *x, const void *w, void *y);
void host_conv_backward_data(const host_conv *d, void *x, const void *w, const void *y);
void host_conv_backward_weights(const host_conv *d, const void *x, void *w, const void *y);

/* C = alpha·op(A)·B, row-major. */
typedef struct {
    int half, half_out, transpose_a, m, n, k, batch;
    float alpha;
    long stride_a, stride_b, stride_c; /* in elements */
} host_gemm;
void host_multiply(const host_gemm *g, const void *a, const void *b, void *c);

#ifdef __cplusplus
}
#endif
