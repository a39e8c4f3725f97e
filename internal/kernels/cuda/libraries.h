// The calls of NVIDIA's libraries that stylenet makes, found in the libraries
// when it runs: none of their headers is needed, and a binary starts without
// them. All int results are the library's status, 0 for success.
#pragma once

#include <stddef.h>

// What gorgonia.org/cu has not: recording launches as a graph, pinned memory.
// cuInit is here because cu makes that call before main, where a failure could
// only end the program.
#define NV_DRIVER(X) \
	X(int, cuInit, (unsigned flags)) \
	X(int, cuDriverGetVersion, (int *version)) \
	X(int, cuGetErrorName, (int status, const char **name)) \
	X(int, cuMemHostAlloc, (void **p, size_t bytes, unsigned flags)) \
	X(int, cuStreamBeginCapture_v2, (void *stream, int mode)) \
	X(int, cuStreamEndCapture, (void *stream, void **graph)) \
	X(int, cuGraphInstantiateWithFlags, (void **exec, void *graph, unsigned long long flags)) \
	X(int, cuGraphLaunch, (void *exec, void *stream)) \
	X(int, cuGraphExecDestroy, (void *exec)) \
	X(int, cuGraphDestroy, (void *graph))

// cuDNN 8 and 9. A candidate is its cudnnConvolution{Fwd,BwdData,BwdFilter}AlgoPerf_t.
typedef struct {
	int algorithm;
	int status;
	float time;
	size_t memory;
	int deterministic;
	int math;
	int reserved[3];
} nv_candidate;

#define NV_CUDNN(X) \
	X(size_t, cudnnGetVersion, (void)) \
	X(size_t, cudnnGetCudartVersion, (void)) \
	X(const char *, cudnnGetErrorString, (int status)) \
	X(int, cudnnCreate, (void **handle)) \
	X(int, cudnnDestroy, (void *handle)) \
	X(int, cudnnSetStream, (void *handle, void *stream)) \
	X(int, cudnnCreateTensorDescriptor, (void **d)) \
	X(int, cudnnDestroyTensorDescriptor, (void *d)) \
	X(int, cudnnSetTensor4dDescriptor, (void *d, int format, int type, int n, int c, int h, int w)) \
	X(int, cudnnCreateFilterDescriptor, (void **d)) \
	X(int, cudnnDestroyFilterDescriptor, (void *d)) \
	X(int, cudnnSetFilter4dDescriptor, (void *d, int type, int format, int k, int c, int r, int s)) \
	X(int, cudnnCreateConvolutionDescriptor, (void **d)) \
	X(int, cudnnDestroyConvolutionDescriptor, (void *d)) \
	X(int, cudnnSetConvolution2dDescriptor, \
		(void *d, int pad_h, int pad_w, int stride_h, int stride_w, int dilation_h, int dilation_w, int mode, int compute)) \
	X(int, cudnnSetConvolutionMathType, (void *d, int math)) \
	X(int, cudnnGetConvolutionForwardAlgorithm_v7, \
		(void *handle, void *x, void *w, void *conv, void *y, int max, int *count, nv_candidate *found)) \
	X(int, cudnnGetConvolutionBackwardDataAlgorithm_v7, \
		(void *handle, void *w, void *dy, void *conv, void *dx, int max, int *count, nv_candidate *found)) \
	X(int, cudnnGetConvolutionBackwardFilterAlgorithm_v7, \
		(void *handle, void *x, void *dy, void *conv, void *dw, int max, int *count, nv_candidate *found)) \
	X(int, cudnnGetConvolutionForwardWorkspaceSize, \
		(void *handle, void *x, void *w, void *conv, void *y, int algorithm, size_t *bytes)) \
	X(int, cudnnGetConvolutionBackwardDataWorkspaceSize, \
		(void *handle, void *w, void *dy, void *conv, void *dx, int algorithm, size_t *bytes)) \
	X(int, cudnnGetConvolutionBackwardFilterWorkspaceSize, \
		(void *handle, void *x, void *dy, void *conv, void *dw, int algorithm, size_t *bytes)) \
	X(int, cudnnConvolutionForward, \
		(void *handle, const void *alpha, void *xd, const void *x, void *wd, const void *w, void *conv, int algorithm, \
			void *workspace, size_t bytes, const void *beta, void *yd, void *y)) \
	X(int, cudnnConvolutionBackwardData, \
		(void *handle, const void *alpha, void *wd, const void *w, void *dyd, const void *dy, void *conv, int algorithm, \
			void *workspace, size_t bytes, const void *beta, void *dxd, void *dx)) \
	X(int, cudnnConvolutionBackwardFilter, \
		(void *handle, const void *alpha, void *xd, const void *x, void *dyd, const void *dy, void *conv, int algorithm, \
			void *workspace, size_t bytes, const void *beta, void *dwd, void *dw))

// cuBLAS 11 to 13.
#define NV_CUBLAS(X) \
	X(int, cublasGetProperty, (int property, int *value)) \
	X(int, cublasCreate_v2, (void **handle)) \
	X(int, cublasDestroy_v2, (void *handle)) \
	X(int, cublasSetStream_v2, (void *handle, void *stream)) \
	X(int, cublasSetWorkspace_v2, (void *handle, void *workspace, size_t bytes)) \
	X(int, cublasGemmStridedBatchedEx, \
		(void *handle, int op_a, int op_b, int m, int n, int k, const void *alpha, const void *a, int type_a, int lda, \
			long long stride_a, const void *b, int type_b, int ldb, long long stride_b, const void *beta, void *c, int type_c, \
			int ldc, long long stride_c, int batch, int compute, int algorithm))

#define NV_FIELD(result, name, arguments) result(*name) arguments;
typedef struct {
	NV_DRIVER(NV_FIELD)
} nv_driver;
typedef struct {
	NV_CUDNN(NV_FIELD)
} nv_cudnn;
typedef struct {
	NV_CUBLAS(NV_FIELD)
} nv_cublas;
#undef NV_FIELD

// nv_open opens a shared library; its failure is a text that lasts until the
// next call. nv_bind_* finds all calls in it, and returns the name of one that
// is missing, or NULL.
void *nv_open(const char *file, const char **failure);
void nv_close(void *library);
const char *nv_bind_driver(void *library, nv_driver *t);
const char *nv_bind_cudnn(void *library, nv_cudnn *t);
const char *nv_bind_cublas(void *library, nv_cublas *t);

// Driver.
int nv_init(const nv_driver *t);
int nv_driver_version(const nv_driver *t, int *version);
const char *nv_driver_error(const nv_driver *t, int status);
int nv_pinned(const nv_driver *t, void **p, size_t bytes);
int nv_record(const nv_driver *t, void *stream);
int nv_recorded(const nv_driver *t, void *stream, void **exec);
int nv_replay(const nv_driver *t, void *exec, void *stream);
int nv_forget(const nv_driver *t, void *exec);

// cuDNN.
size_t nv_cudnn_version(const nv_cudnn *t);
size_t nv_cudnn_cudart(const nv_cudnn *t);
const char *nv_cudnn_error(const nv_cudnn *t, int status);
int nv_cudnn_create(const nv_cudnn *t, void *stream, void **handle);
void nv_cudnn_destroy(const nv_cudnn *t, void *handle);

enum { nv_forward, nv_backward_data, nv_backward_weights };

// A convolution of maps in NHWC with weights in KRSC.
typedef struct {
	int what;
	int bf16; // or float32
	int n, h, w, c, oh, ow, k, r, s, stride, pad_h, pad_w;
} nv_conv_spec;

typedef struct {
	int what;
	void *x, *w, *y, *conv; // descriptors
} nv_conv;

// On failure there is nothing to destroy.
int nv_conv_create(const nv_cudnn *t, const nv_conv_spec *s, nv_conv *c);
void nv_conv_destroy(const nv_cudnn *t, nv_conv *c);
int nv_conv_math(const nv_cudnn *t, nv_conv *c, int math);
// nv_conv_candidates lists algorithms, in cuDNN's guess the fastest first.
int nv_conv_candidates(const nv_cudnn *t, void *handle, const nv_conv *c, int max, int *count, nv_candidate *found);
int nv_conv_workspace(const nv_cudnn *t, void *handle, const nv_conv *c, int algorithm, size_t *bytes);
int nv_conv_run(const nv_cudnn *t, void *handle, const nv_conv *c, int algorithm, size_t x, size_t w, size_t y, size_t workspace, size_t bytes);

// cuBLAS.
int nv_cublas_version(const nv_cublas *t, int version[3]);
int nv_cublas_create(const nv_cublas *t, void *stream, size_t workspace, size_t bytes, void **handle);
void nv_cublas_destroy(const nv_cublas *t, void *handle);

// Row-major C = alpha·op(A)·B for each of batch: op(A) is m×k, B k×n, C m×n.
typedef struct {
	int transpose_a, m, n, k, bf16, bf16_out, batch, exact;
	float alpha;
	long long stride_a, stride_b, stride_c;
} nv_gemm_spec;
int nv_gemm(const nv_cublas *t, void *handle, const nv_gemm_spec *s, size_t a, size_t b, size_t c);
