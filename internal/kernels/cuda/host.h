//go:build cudahost

/* What kernels.cu needs of CUDA, on the processor. Each thread of a block is a
   fiber with a stack of its own, which runs to the next barrier; blocks run one
   after another, so that shared memory is static. Which thread and which block
   comes first changes from launch to launch, and shared memory knows who has used
   it since the last barrier. */
#ifndef STYLENET_HOST_H
#define STYLENET_HOST_H
#include <stddef.h>

#define __device__ inline
#define SHARED(name, count) static host_shared name(#name, count)
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

/* An element of shared memory, and the threads that have used it. */
struct host_cell {
    float value;
    long block;             /* in which it was written last */
    long written, read;     /* in which phase, from barrier to barrier */
    int writer, reader;     /* reader: -1 where several have read it */
};
/* host_element is an element as one expression uses it: it fails the launch that
   leaves the array, reads what its block has not written, or meets another thread
   in an element without a barrier between them, one of them writing. */
class host_element {
    const char *name;
    int i;
    host_cell *cell; /* null where there is none */
public:
    host_element(const char *name, int i, host_cell *cell) : name(name), i(i), cell(cell) {}
    operator float() const;
    float operator=(float);
    float operator=(const host_element &other) { return *this = (float)other; }
    float operator+=(float x) { return *this = *this + x; }
};
class host_shared {
    const char *name;
    int count;
    host_cell *cells;
public:
    host_shared(const char *name, int count);
    host_element operator[](int i) const { return {name, i, i >= 0 && i < count ? cells + i : nullptr}; }
};
#endif
