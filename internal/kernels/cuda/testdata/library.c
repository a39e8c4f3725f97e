// A library with all calls of libraries.h, which do nothing. VERSION is cuDNN's,
// CUDA what cuDNN and cuBLAS are for, DRIVER the driver's version, INIT what cuInit
// returns. With -DcudnnCreate=other it lacks that call, with -DNOTHING all.
#include "libraries.h"

#ifndef NOTHING
#define cuInit unused_1
#define cuDriverGetVersion unused_2
#define cuGetErrorName unused_3
#define cudnnGetVersion unused_4
#define cudnnGetCudartVersion unused_5
#define cublasGetProperty unused_6
#define DEFINE(result, name, arguments) \
	result name(void) { return 0; }
NV_DRIVER(DEFINE)
NV_CUDNN(DEFINE)
NV_CUBLAS(DEFINE)
#undef cuInit
#undef cuDriverGetVersion
#undef cuGetErrorName
#undef cudnnGetVersion
#undef cudnnGetCudartVersion
#undef cublasGetProperty

int cuInit(unsigned flags) { return INIT; }
int cuDriverGetVersion(int *version) { return *version = DRIVER, 0; }
int cuGetErrorName(int status, const char **name) { return *name = "CUDA_ERROR_OF_A_TEST", 0; }
size_t cudnnGetVersion(void) { return VERSION; }
size_t cudnnGetCudartVersion(void) { return CUDA * 1000; }
int cublasGetProperty(int property, int *value) { return *value = property == 0 ? CUDA : property, 0; }
#endif
