//go:build cudahost

/* What host_driver.go calls. */
#ifdef __cplusplus
extern "C" {
#endif

/* The kernel of that name, or NULL where there is none or its parameter has
   another size. */
const void *host_find(const char *name, long bytes);
/* Runs it on blocks of 256 threads, which end without having passed a barrier that
   others wait at, or 0 is returned. */
int host_launch(const void *kernel, int blocks, const void *parameter);

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
