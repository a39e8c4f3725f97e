/* NVIDIA's driver, cuDNN and cuBLAS for a machine that has none of them, in one
   library: as much as package cuda calls. Kernels are those of kernels.cu, compiled
   for the processor, and convolutions and products are plain loops.

   What is launched waits in its stream until somebody has to wait for it, as late
   as the rules of streams and events allow: memory that is used again too early
   gives wrong results. Memory is NaN until it is written, and what is still held
   when the context is released fails the release. */
#define STYLENET_HOST
#include "../host.cc"

#include <array>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <thread>

typedef std::function<void()> op;

enum { INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, NOT_FOUND = 500, NOT_READY = 600, LAUNCH_FAILED = 719, CAPTURE = 900, UNKNOWN = 999 };

struct stream {
    std::deque<op> waiting;
    bool capturing = false;
    std::vector<op> captured;
};
struct event {
    unsigned flags;
    stream *in = nullptr;
    long recorded = 0, passed = 0;
    std::chrono::steady_clock::time_point at;
};
typedef std::vector<op> graph;

static std::set<stream *> streams;
static std::set<void *> held; /* everything that is to be given back */
static std::map<size_t, size_t> memory;
static size_t bytes_held;
static const size_t total = (size_t)2 << 30;
static int failed; /* what ran asynchronously; it stays */

static void step(stream *s) {
    op next = std::move(s->waiting.front());
    s->waiting.pop_front();
    next();
}
static void drain(stream *s) {
    while (!s->waiting.empty()) step(s);
}
static void push(stream *s, op o) {
    if (s->capturing)
        s->captured.push_back(std::move(o));
    else
        s->waiting.push_back(std::move(o));
}
static void await(event *e, long ticket) {
    while (e->passed < ticket) step(e->in);
}
/* Device memory that somebody has. */
static bool inside(size_t p, size_t bytes) {
    auto m = memory.upper_bound(p);
    return m != memory.begin() && (--m, p + bytes <= m->first + m->second);
}
static bool capturing() {
    for (stream *s : streams)
        if (s->capturing) return true;
    return false;
}
static int all() {
    for (stream *s : streams) drain(s);
    return failed;
}

extern "C" {

/* ---- driver ---- */

int cuInit(unsigned) { return getenv("FAKE_INIT") ? atoi(getenv("FAKE_INIT")) : 0; }
int cuDriverGetVersion(int *v) { return *v = getenv("FAKE_DRIVER") ? atoi(getenv("FAKE_DRIVER")) : 12040, 0; }
int cuGetErrorName(int code, const char **name) { return *name = code == NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" : "CUDA_ERROR", 0; }
int cuDeviceGetCount(int *n) { return *n = 1, 0; }
int cuDeviceGet(int *d, int i) { return *d = i, i == 0 ? 0 : INVALID_VALUE; }
int cuDeviceGetName(char *name, int n, int) { return strncpy(name, "Fake GPU", n), 0; }
int cuDeviceGetAttribute(int *v, int attribute, int) {
    switch (attribute) {
    case 16: *v = 2; return 0; /* multiprocessors */
    case 9999: *v = (int)(held.size() + memory.size()); return 0; /* for tests: what is to be given back */
    case 75: *v = getenv("FAKE_MAJOR") ? atoi(getenv("FAKE_MAJOR")) : 9; return 0;
    case 76: *v = getenv("FAKE_MINOR") ? atoi(getenv("FAKE_MINOR")) : 0; return 0;
    }
    return INVALID_VALUE;
}
static int contexts;
int cuDevicePrimaryCtxRetain(void **c, int) { return *c = &streams, contexts++, 0; }
int cuDevicePrimaryCtxRelease_v2(int) { return --contexts || (held.empty() && memory.empty()) ? failed : UNKNOWN; }
static thread_local void *current;
int cuCtxSetCurrent(void *c) { return current = c, 0; }
int cuCtxSynchronize(void) { return capturing() ? CAPTURE : all(); }

int cuModuleLoadData(void **m, const void *image) { return held.insert(*m = strdup((const char *)image)), 0; }
int cuModuleUnload(void *m) { return held.erase(m) ? free(m), 0 : INVALID_VALUE; }
int cuModuleGetFunction(void **f, void *m, const char *name) {
    if (!strstr((const char *)m, (std::string(".entry ") + name + "(").c_str())) return NOT_FOUND;
    for (const host_kernel *k = kernels; k; k = k->next)
        if (!strcmp(k->name, name)) return *f = (void *)k, 0;
    return NOT_FOUND;
}
int cuLaunchKernel(const host_kernel *k, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, stream *s, void **parameters, void **) {
    if (!current || gx < 1 || gy != 1 || gz != 1 || bx != 256 || by != 1 || bz != 1 || shared) return INVALID_VALUE;
    struct alignas(16) word {
        char bytes[16];
    };
    std::vector<word> words(k->bytes / sizeof(word) + 1);
    memcpy(words.data(), parameters[0], k->bytes);
    push(s, [=] { if (host_launch(k, gx, gx, words.data())) failed = LAUNCH_FAILED; });
    return 0;
}

int cuStreamCreate(stream **s, unsigned) { return held.insert(*s = new stream), streams.insert(*s), 0; }
int cuStreamDestroy_v2(stream *s) { return held.erase(s) ? drain(s), streams.erase(s), delete s, 0 : INVALID_VALUE; }
int cuStreamSynchronize(stream *s) { return s->capturing ? CAPTURE : (drain(s), failed); }
int cuStreamWaitEvent(stream *s, event *e, unsigned) {
    if (s->capturing) return CAPTURE; /* what was recorded outside is not of the graph */
    long ticket = e->recorded;
    push(s, [=] { await(e, ticket); });
    return 0;
}
int cuEventCreate(event **e, unsigned flags) { return held.insert(*e = new event{flags}), current ? 0 : INVALID_VALUE; }
int cuEventDestroy_v2(event *e) { return held.erase(e) ? delete e, 0 : INVALID_VALUE; }
int cuEventRecord(event *e, stream *s) {
    if (s->capturing) return CAPTURE;
    e->in = s;
    long ticket = ++e->recorded;
    push(s, [=] { e->passed = ticket, e->at = std::chrono::steady_clock::now(); });
    return 0;
}
int cuEventSynchronize(event *e) { return await(e, e->recorded), failed; }
int cuEventElapsedTime(float *ms, event *a, event *b) {
    if ((a->flags | b->flags) & 2 || !a->recorded || !b->recorded) return INVALID_VALUE; /* without timing */
    if (a->passed < a->recorded || b->passed < b->recorded) return NOT_READY;
    *ms = std::chrono::duration<float, std::milli>(b->at - a->at).count();
    return 0;
}

int cuMemAlloc_v2(size_t *p, size_t bytes) {
    if (!current || !bytes) return INVALID_VALUE;
    if (bytes > total - bytes_held) return OUT_OF_MEMORY;
    memory[*p = (size_t)host_alloc((bytes + 255) / 256 * 256, false)] = bytes;
    bytes_held += bytes;
    return 0;
}
int cuMemFree_v2(size_t p) {
    if (!memory.count(p)) return INVALID_VALUE;
    all();
    bytes_held -= memory[p];
    if (!host_free((void *)p, (memory[p] + 255) / 256 * 256, false)) failed = LAUNCH_FAILED;
    memory.erase(p);
    return failed;
}
int cuMemGetInfo_v2(size_t *free, size_t *all) { return *free = total - bytes_held, *all = total, 0; }
int cuMemHostAlloc(void **p, size_t bytes, unsigned flags) {
    if (!current || !bytes || flags > 7) return INVALID_VALUE;
    return held.insert(*p = malloc(bytes)), 0;
}
int cuMemFreeHost(void *p) { return held.erase(p) ? all(), free(p), 0 : INVALID_VALUE; }
static int move(bool valid, void *dst, const void *src, size_t bytes, stream *s) {
    if (!current || !valid) return INVALID_VALUE;
    return push(s, [=] { memcpy(dst, src, bytes); }), failed;
}
int cuMemcpyHtoDAsync_v2(size_t dst, const void *src, size_t n, stream *s) { return move(inside(dst, n), (void *)dst, src, n, s); }
int cuMemcpyDtoHAsync_v2(void *dst, size_t src, size_t n, stream *s) { return move(inside(src, n), dst, (void *)src, n, s); }
int cuMemcpyDtoDAsync_v2(size_t dst, size_t src, size_t n, stream *s) {
    return move(inside(dst, n) && inside(src, n), (void *)dst, (void *)src, n, s);
}
int cuMemsetD8Async(size_t dst, unsigned char v, size_t n, stream *s) {
    if (!current || !inside(dst, n)) return INVALID_VALUE;
    return push(s, [=] { memset((void *)dst, v, n); }), failed;
}

int cuStreamBeginCapture_v2(stream *s, int mode) { return s->capturing || mode != 2 ? INVALID_VALUE : (s->capturing = true, 0); }
int cuStreamEndCapture(stream *s, graph **g) {
    if (!s->capturing) return CAPTURE;
    s->capturing = false;
    held.insert(*g = new graph(std::move(s->captured)));
    s->captured.clear();
    return 0;
}
int cuGraphInstantiateWithFlags(graph **exec, graph *g, unsigned long long) { return held.insert(*exec = new graph(*g)), 0; }
int cuGraphLaunch(graph *exec, stream *s) {
    if (s->capturing) return CAPTURE;
    push(s, [=] { for (op &o : *exec) o(); });
    return failed;
}
int cuGraphDestroy(graph *g) { return held.erase(g) ? delete g, 0 : INVALID_VALUE; }
int cuGraphExecDestroy(graph *g) { return all(), cuGraphDestroy(g); }

/* ---- cuDNN ---- */

enum { BAD_PARAM = 3, NOT_SUPPORTED = 9 };

struct handle {
    stream *s;
};
/* descriptor of each kind */
struct descriptor {
    int type = -1, n = 0, c = 0, h = 0, w = 0; /* of weights: k, c, r, s */
    int pad_h, pad_w, stride, math = 0;
};
struct candidate {
    int algorithm, status;
    float time;
    size_t memory;
    int deterministic, math, reserved[3];
};

size_t cudnnGetVersion(void) { return 90100; }
size_t cudnnGetCudartVersion(void) { return 12040; }
const char *cudnnGetErrorString(int) { return "CUDNN_STATUS"; }
static int open_handle(void **h) { return current ? held.insert(*h = new handle), 0 : 1; }
static int close_handle(void *h) { return held.erase(h) ? delete (handle *)h, 0 : BAD_PARAM; }
int cudnnCreate(void **h) { return open_handle(h); }
int cudnnDestroy(void *h) { return close_handle(h); }
int cudnnSetStream(handle *h, stream *s) { return h->s = s, 0; }
static int make(descriptor **d) { return held.insert(*d = new descriptor), 0; }
static int unmake(descriptor *d) { return held.erase(d) ? delete d, 0 : BAD_PARAM; }
int cudnnCreateTensorDescriptor(descriptor **d) { return make(d); }
int cudnnCreateFilterDescriptor(descriptor **d) { return make(d); }
int cudnnCreateConvolutionDescriptor(descriptor **d) { return make(d); }
int cudnnDestroyTensorDescriptor(descriptor *d) { return unmake(d); }
int cudnnDestroyFilterDescriptor(descriptor *d) { return unmake(d); }
int cudnnDestroyConvolutionDescriptor(descriptor *d) { return unmake(d); }
int cudnnSetTensor4dDescriptor(descriptor *d, int format, int type, int n, int c, int h, int w) {
    d->type = type, d->n = n, d->c = c, d->h = h, d->w = w;
    return format == 1 && (type == 0 || type == 9) && c % 8 == 0 ? 0 : BAD_PARAM;
}
int cudnnSetFilter4dDescriptor(descriptor *d, int type, int format, int k, int c, int r, int s) {
    return cudnnSetTensor4dDescriptor(d, format, type, k, c, r, s);
}
int cudnnSetConvolution2dDescriptor(descriptor *d, int pad_h, int pad_w, int sh, int sw, int dh, int dw, int mode, int compute) {
    d->pad_h = pad_h, d->pad_w = pad_w, d->stride = sh;
    return sh == sw && dh == 1 && dw == 1 && mode == 1 && compute == 0 ? 0 : BAD_PARAM;
}
int cudnnSetConvolutionMathType(descriptor *d, int math) { return d->math = math, math >= 0 && math <= 3 ? 0 : BAD_PARAM; }

static bool fits(const descriptor *x, const descriptor *w, const descriptor *c, const descriptor *y) {
    return x->type == w->type && w->type == y->type && x->n == y->n && x->c == w->c && y->c == w->n &&
           y->h == (x->h + 2 * c->pad_h - w->h) / c->stride + 1 && y->w == (x->w + 2 * c->pad_w - w->w) / c->stride + 1;
}
/* The first one listed is slow, the second sums in any order, the third is the
   best, the fourth fails. A deterministic or an exact convolution has to skip some. */
static const candidate listed[] = {{7, 0, 1, 3000, 1, 0, {}}, {0, 0, 2, 0, 0, 0, {}}, {1, 0, 3, 4096, 1, 0, {}}, {3, NOT_SUPPORTED, -1, 0, 1, 0, {}}};
static int list(const descriptor *x, const descriptor *w, const descriptor *c, const descriptor *y, int max, int *n, candidate *found) {
    if (!fits(x, w, c, y)) return BAD_PARAM;
    for (*n = 0; *n < 4 && *n < max; ++*n) {
        found[*n] = listed[*n];
        found[*n].math = c->math == 3 ? 0 : c->math; /* without tensor cores there is nothing to tell apart */
    }
    return 0;
}
int cudnnGetConvolutionForwardAlgorithm_v7(handle *, descriptor *x, descriptor *w, descriptor *c, descriptor *y, int max, int *n, candidate *f) {
    return list(x, w, c, y, max, n, f);
}
int cudnnGetConvolutionBackwardDataAlgorithm_v7(handle *, descriptor *w, descriptor *y, descriptor *c, descriptor *x, int max, int *n, candidate *f) {
    return list(x, w, c, y, max, n, f);
}
int cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle *, descriptor *x, descriptor *y, descriptor *c, descriptor *w, int max, int *n, candidate *f) {
    return list(x, w, c, y, max, n, f);
}
static int need(const descriptor *x, const descriptor *w, const descriptor *c, const descriptor *y, int algorithm, size_t *bytes) {
    if (!fits(x, w, c, y)) return BAD_PARAM;
    for (const candidate &l : listed)
        if (l.algorithm == algorithm) return *bytes = l.memory, l.status;
    return BAD_PARAM;
}
int cudnnGetConvolutionForwardWorkspaceSize(handle *, descriptor *x, descriptor *w, descriptor *c, descriptor *y, int a, size_t *bytes) {
    return need(x, w, c, y, a, bytes);
}
int cudnnGetConvolutionBackwardDataWorkspaceSize(handle *, descriptor *w, descriptor *y, descriptor *c, descriptor *x, int a, size_t *bytes) {
    return need(x, w, c, y, a, bytes);
}
int cudnnGetConvolutionBackwardFilterWorkspaceSize(handle *, descriptor *x, descriptor *y, descriptor *c, descriptor *w, int a, size_t *bytes) {
    return need(x, w, c, y, a, bytes);
}

static int convolve(handle *h, const float *alpha, const float *beta, const descriptor *x, const descriptor *w, const descriptor *c,
                    const descriptor *y, int algorithm, void *workspace, size_t bytes, std::array<const void *, 3> data,
                    std::function<void(const host_conv *)> run) {
    size_t needed;
    const size_t element = x->type == 9 ? 2 : 4;
    const descriptor *of[] = {x, w, y};
    for (int i = 0; i < 3; i++) /* tensor cores take 16 bytes at a time */
        if ((size_t)data[i] % 16 || !inside((size_t)data[i], element * of[i]->n * of[i]->c * of[i]->h * of[i]->w)) return BAD_PARAM;
    if (bytes && ((size_t)workspace % 16 || !inside((size_t)workspace, bytes))) return BAD_PARAM;
    if (int status = need(x, w, c, y, algorithm, &needed)) return status;
    if (*alpha != 1 || *beta != 0 || bytes < needed || (needed && !workspace)) return BAD_PARAM;
    const host_conv d = {x->type == 9, x->n, x->h, x->w, x->c, y->h, y->w, y->c, w->h, w->w, c->stride, c->pad_h, c->pad_w};
    push(h->s, [=] {
        if (algorithm != 1) std::this_thread::sleep_for(std::chrono::microseconds(300));
        memset(workspace, 0xff, needed);
        run(&d);
    });
    return 0;
}
int cudnnConvolutionForward(handle *h, const float *alpha, descriptor *xd, const void *x, descriptor *wd, const void *w, descriptor *c,
                            int a, void *ws, size_t n, const float *beta, descriptor *yd, void *y) {
    return convolve(h, alpha, beta, xd, wd, c, yd, a, ws, n, {x, w, y}, [=](const host_conv *d) { host_conv_forward(d, x, w, y); });
}
int cudnnConvolutionBackwardData(handle *h, const float *alpha, descriptor *wd, const void *w, descriptor *yd, const void *y, descriptor *c,
                                 int a, void *ws, size_t n, const float *beta, descriptor *xd, void *x) {
    return convolve(h, alpha, beta, xd, wd, c, yd, a, ws, n, {x, w, y}, [=](const host_conv *d) { host_conv_backward_data(d, x, w, y); });
}
int cudnnConvolutionBackwardFilter(handle *h, const float *alpha, descriptor *xd, const void *x, descriptor *yd, const void *y, descriptor *c,
                                   int a, void *ws, size_t n, const float *beta, descriptor *wd, void *w) {
    return convolve(h, alpha, beta, xd, wd, c, yd, a, ws, n, {x, w, y}, [=](const host_conv *d) { host_conv_backward_weights(d, x, w, y); });
}

/* ---- cuBLAS ---- */

int cublasGetProperty(int what, int *v) { return *v = what == 0 ? 12 : what, 0; }
int cublasCreate_v2(void **h) { return open_handle(h); }
int cublasDestroy_v2(void *h) { return close_handle(h); }
int cublasSetStream_v2(handle *h, stream *s) { return h->s = s, 0; }
int cublasSetWorkspace_v2(handle *, void *p, size_t) { return (size_t)p % 256 ? INVALID_VALUE : 0; }

/* As cuBLAS has it: matrices of columns, op 1 transposes. */
int cublasGemmStridedBatchedEx(handle *h, int op_a, int op_b, int m, int n, int k, const float *alpha, const void *a, int type_a, int lda,
                               long long stride_a, const void *b, int type_b, int ldb, long long stride_b, const float *beta, void *c,
                               int type_c, int ldc, long long stride_c, int batch, int compute, int) {
    if (*beta != 0 || type_a != type_b || (compute != 68 && (compute != 77 || type_a)) || lda < (op_a ? k : m) || ldb < (op_b ? n : k) || ldc < m)
        return INVALID_VALUE;
    const float f = *alpha;
    push(h->s, [=] {
        auto at = [](const void *p, int type, size_t i) { return type ? device::value((const device::bf16 *)p + i) : ((const float *)p)[i]; };
        for (int i = 0; i < batch; i++)
            for (int col = 0; col < n; col++)
                for (int row = 0; row < m; row++) {
                    double sum = 0;
                    for (int j = 0; j < k; j++)
                        sum += (double)at(a, type_a, i * stride_a + (op_a ? j + (size_t)row * lda : row + (size_t)j * lda)) *
                               at(b, type_b, i * stride_b + (op_b ? col + (size_t)j * ldb : j + (size_t)col * ldb));
                    const size_t to = i * stride_c + row + (size_t)col * ldc;
                    if (type_c)
                        ((device::bf16 *)c)[to].bits = (unsigned short)device::rounded((float)(f * sum));
                    else
                        ((float *)c)[to] = (float)(f * sum);
                }
    });
    return 0;
}
}
