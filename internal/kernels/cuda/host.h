//go:build cudahost

/* What kernels.cu needs of CUDA, on the processor. Each thread of a block is a
   fiber with a stack of its own, which runs to the next barrier; blocks run one
   after another, so that shared memory is static. */
#ifndef STYLENET_HOST_H
#define STYLENET_HOST_H
#include <stddef.h>

#define __device__ inline
#define __shared__ static
#define UNROLL
#define UNROLL4
#define THREAD (host_thread)
#define BLOCK (host_block)
#define BLOCKS (host_blocks)
#define KERNEL(name, arguments, ...)                       \
    static void name(const arguments &a) { __VA_ARGS__; } \
    static const host_kernel host_##name(#name, sizeof(arguments), [](const void *p) { name(*(const arguments *)p); });

extern int host_thread, host_block, host_blocks;
void host_barrier();

static inline void barrier() { host_barrier(); }
static inline float root(float x) { return __builtin_sqrtf(x); }

/* A kernel enters the list of all before main. */
struct host_kernel {
    const char *name;
    size_t bytes; /* of its parameter */
    void (*run)(const void *);
    const host_kernel *next;
    mutable bool plain; /* has run, and passed no barrier: its threads need no fibers */
    host_kernel(const char *, size_t, void (*)(const void *));
};
#endif
