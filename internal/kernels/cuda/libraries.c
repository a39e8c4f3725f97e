//go:build cudnn

#include "libraries.h"

#include <dlfcn.h>
#include <string.h>

// Constants of NVIDIA's interfaces.
enum {
	format_nhwc = 1,
	cross_correlation = 1,
	dnn_float32 = 0,
	dnn_bf16 = 9,
	blas_float32 = 0,
	blas_bf16 = 14,
	op_n = 0,
	op_t = 1,
	compute_float32 = 68,
	compute_tf32 = 77,
	default_algorithm = -1,
	capture_relaxed = 2, // the goroutine may change its thread while it records
	pinned_portable = 1, // for all contexts
};

void *nv_open(const char *file, const char **failure) {
	// Not global: the versions of two libraries may not mix. Lazy: they are large.
	void *library = dlopen(file, RTLD_LAZY | RTLD_LOCAL);
	*failure = library ? NULL : dlerror();
	return library;
}

void nv_close(void *library) { dlclose(library); }

static const char *bind(void *library, const char *const *names, size_t count, void *table) {
	for (size_t i = 0; i < count; i++) {
		void *f = dlsym(library, names[i]);
		if (!f) {
			return names[i];
		}
		memcpy((char *)table + i * sizeof f, &f, sizeof f); // C has no cast from a pointer to a function pointer
	}
	return NULL;
}

#define NAME(result, name, arguments) #name,
#define BIND(function, list, type) \
	const char *function(void *library, type *t) { \
		static const char *const names[] = {list(NAME)}; \
		_Static_assert(sizeof names == sizeof *t, "a name for each field"); \
		return bind(library, names, sizeof names / sizeof *names, t); \
	}
BIND(nv_bind_driver, NV_DRIVER, nv_driver)
BIND(nv_bind_cudnn, NV_CUDNN, nv_cudnn)
BIND(nv_bind_cublas, NV_CUBLAS, nv_cublas)

int nv_init(const nv_driver *t) { return t->cuInit(0); }

int nv_driver_version(const nv_driver *t, int *version) { return t->cuDriverGetVersion(version); }

const char *nv_driver_error(const nv_driver *t, int status) {
	const char *name = NULL;
	return t->cuGetErrorName(status, &name) == 0 && name ? name : "unknown error";
}

int nv_pinned(const nv_driver *t, void **p, size_t bytes) { return t->cuMemHostAlloc(p, bytes, pinned_portable); }

int nv_record(const nv_driver *t, void *stream) { return t->cuStreamBeginCapture_v2(stream, capture_relaxed); }

int nv_recorded(const nv_driver *t, void *stream, void **exec) {
	void *graph = NULL;
	int status = t->cuStreamEndCapture(stream, &graph);
	if (status == 0) {
		status = t->cuGraphInstantiateWithFlags(exec, graph, 0);
	}
	if (graph) {
		t->cuGraphDestroy(graph);
	}
	return status;
}

int nv_replay(const nv_driver *t, void *exec, void *stream) { return t->cuGraphLaunch(exec, stream); }

int nv_forget(const nv_driver *t, void *exec) { return t->cuGraphExecDestroy(exec); }

size_t nv_cudnn_version(const nv_cudnn *t) { return t->cudnnGetVersion(); }

size_t nv_cudnn_cudart(const nv_cudnn *t) { return t->cudnnGetCudartVersion(); }

const char *nv_cudnn_error(const nv_cudnn *t, int status) { return t->cudnnGetErrorString(status); }

int nv_cudnn_create(const nv_cudnn *t, void *stream, void **handle) {
	*handle = NULL;
	int status = t->cudnnCreate(handle);
	return status ? status : t->cudnnSetStream(*handle, stream);
}

void nv_cudnn_destroy(const nv_cudnn *t, void *handle) { t->cudnnDestroy(handle); }

int nv_conv_create(const nv_cudnn *t, const nv_conv_spec *s, nv_conv *c) {
	int type = s->bf16 ? dnn_bf16 : dnn_float32, status;
	*c = (nv_conv){.what = s->what};
	if ((status = t->cudnnCreateTensorDescriptor(&c->x)) || (status = t->cudnnCreateTensorDescriptor(&c->y)) ||
		(status = t->cudnnCreateFilterDescriptor(&c->w)) || (status = t->cudnnCreateConvolutionDescriptor(&c->conv)) ||
		(status = t->cudnnSetTensor4dDescriptor(c->x, format_nhwc, type, s->n, s->c, s->h, s->w)) ||
		(status = t->cudnnSetTensor4dDescriptor(c->y, format_nhwc, type, s->n, s->k, s->oh, s->ow)) ||
		(status = t->cudnnSetFilter4dDescriptor(c->w, type, format_nhwc, s->k, s->c, s->r, s->s)) ||
		(status = t->cudnnSetConvolution2dDescriptor(
			 c->conv, s->pad_h, s->pad_w, s->stride, s->stride, 1, 1, cross_correlation, dnn_float32))) {
		nv_conv_destroy(t, c);
	}
	return status;
}

void nv_conv_destroy(const nv_cudnn *t, nv_conv *c) {
	if (c->x) {
		t->cudnnDestroyTensorDescriptor(c->x);
	}
	if (c->y) {
		t->cudnnDestroyTensorDescriptor(c->y);
	}
	if (c->w) {
		t->cudnnDestroyFilterDescriptor(c->w);
	}
	if (c->conv) {
		t->cudnnDestroyConvolutionDescriptor(c->conv);
	}
	*c = (nv_conv){0};
}

int nv_conv_math(const nv_cudnn *t, nv_conv *c, int math) { return t->cudnnSetConvolutionMathType(c->conv, math); }

int nv_conv_candidates(const nv_cudnn *t, void *handle, const nv_conv *c, int max, int *count, nv_candidate *found) {
	switch (c->what) {
	case nv_forward:
		return t->cudnnGetConvolutionForwardAlgorithm_v7(handle, c->x, c->w, c->conv, c->y, max, count, found);
	case nv_backward_data:
		return t->cudnnGetConvolutionBackwardDataAlgorithm_v7(handle, c->w, c->y, c->conv, c->x, max, count, found);
	default:
		return t->cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle, c->x, c->y, c->conv, c->w, max, count, found);
	}
}

int nv_conv_workspace(const nv_cudnn *t, void *handle, const nv_conv *c, int algorithm, size_t *bytes) {
	switch (c->what) {
	case nv_forward:
		return t->cudnnGetConvolutionForwardWorkspaceSize(handle, c->x, c->w, c->conv, c->y, algorithm, bytes);
	case nv_backward_data:
		return t->cudnnGetConvolutionBackwardDataWorkspaceSize(handle, c->w, c->y, c->conv, c->x, algorithm, bytes);
	default:
		return t->cudnnGetConvolutionBackwardFilterWorkspaceSize(handle, c->x, c->y, c->conv, c->w, algorithm, bytes);
	}
}

int nv_conv_run(const nv_cudnn *t, void *handle, const nv_conv *c, int algorithm, size_t x, size_t w, size_t y, size_t workspace, size_t bytes) {
	const float one = 1, zero = 0;
	void *px = (void *)x, *pw = (void *)w, *py = (void *)y, *ps = (void *)workspace;
	switch (c->what) {
	case nv_forward:
		return t->cudnnConvolutionForward(handle, &one, c->x, px, c->w, pw, c->conv, algorithm, ps, bytes, &zero, c->y, py);
	case nv_backward_data:
		return t->cudnnConvolutionBackwardData(handle, &one, c->w, pw, c->y, py, c->conv, algorithm, ps, bytes, &zero, c->x, px);
	default:
		return t->cudnnConvolutionBackwardFilter(handle, &one, c->x, px, c->y, py, c->conv, algorithm, ps, bytes, &zero, c->w, pw);
	}
}

int nv_cublas_version(const nv_cublas *t, int version[3]) {
	int status = 0;
	for (int i = 0; i < 3 && status == 0; i++) {
		status = t->cublasGetProperty(i, &version[i]);
	}
	return status;
}

int nv_cublas_create(const nv_cublas *t, void *stream, size_t workspace, size_t bytes, void **handle) {
	*handle = NULL;
	int status = t->cublasCreate_v2(handle);
	if (status == 0) {
		status = t->cublasSetStream_v2(*handle, stream);
	}
	// After the stream, which takes the workspace away. One of our own does not
	// change between runs, and so neither do results, and needs no memory while
	// launches are recorded.
	return status ? status : t->cublasSetWorkspace_v2(*handle, (void *)workspace, bytes);
}

void nv_cublas_destroy(const nv_cublas *t, void *handle) { t->cublasDestroy_v2(handle); }

int nv_gemm(const nv_cublas *t, void *handle, const nv_gemm_spec *s, size_t a, size_t b, size_t c) {
	const float zero = 0;
	int type = s->bf16 ? blas_bf16 : blas_float32;
	// cuBLAS has columns in sequence, so that our matrices are their transposes to
	// it: Cᵀ = Bᵀ·op(A)ᵀ.
	return t->cublasGemmStridedBatchedEx(handle, op_n, s->transpose_a ? op_t : op_n, s->n, s->m, s->k, &s->alpha,
		(void *)b, type, s->n, s->stride_b, (void *)a, type, s->transpose_a ? s->m : s->k, s->stride_a,
		&zero, (void *)c, s->bf16_out ? blas_bf16 : blas_float32, s->n, s->stride_c, s->batch,
		s->bf16 || s->exact ? compute_float32 : compute_tf32, default_algorithm);
}
