//go:build cudahost

#undef _FORTIFY_SOURCE /* its longjmp refuses to leave a stack for another */
#include "host.h"

#include <csetjmp>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <ucontext.h>
#include <vector>

#include "host_calls.h"

static const host_kernel *kernels; /* constant-initialised, before any constructor */

host_kernel::host_kernel(const char *name, size_t bytes, void (*run)(const void *))
    : name(name), bytes(bytes), run(run), next(kernels), plain(false) {
    kernels = this;
}

int host_thread, host_block, host_blocks;

namespace device { /* some kernels have names of the C library's functions */
#include "kernels.cu"
}

/* ---- threads ---- */

namespace {

/* fiber is one thread of every block. swapcontext enters it once; from then on it
   is left and entered by longjmp, which needs no system call. */
struct fiber {
    enum { NEW, WAITS, DONE } state;
    jmp_buf at;
    ucontext_t start;
    void *stack;
};

constexpr int threads = device::THREADS;
constexpr size_t stack_bytes = 64 << 10;

fiber fibers[threads];
jmp_buf scheduler;
std::mutex running; /* the state above and shared memory are one launch's at a time */
const host_kernel *kernel;
const void *parameter;
bool met; /* a barrier */

void leave(int state) {
    fiber &f = fibers[host_thread];
    f.state = (decltype(f.state))state;
    if (!_setjmp(f.at)) _longjmp(scheduler, 1);
}

void run_fiber() {
    for (;;) {
        kernel->run(parameter);
        leave(fiber::DONE);
    }
}

/* Runs thread i to its next barrier or its end. */
void resume(int i) {
    fiber &f = fibers[i];
    host_thread = i;
    if (_setjmp(scheduler)) return;
    if (f.stack) _longjmp(f.at, 1);
    f.stack = malloc(stack_bytes);
    getcontext(&f.start);
    f.start.uc_stack.ss_sp = f.stack;
    f.start.uc_stack.ss_size = stack_bytes;
    makecontext(&f.start, run_fiber, 0);
    setcontext(&f.start);
}

} // namespace

void host_barrier() {
    met = true;
    if (!kernel->plain) leave(fiber::WAITS);
}

extern "C" const void *host_find(const char *name, long bytes) {
    for (const host_kernel *k = kernels; k; k = k->next)
        if (!strcmp(k->name, name)) return (long)k->bytes == bytes ? k : nullptr;
    return nullptr;
}

extern "C" int host_launch(const void *k, int blocks, const void *p) {
    std::lock_guard<std::mutex> lock(running);
    kernel = (const host_kernel *)k, parameter = p, host_blocks = blocks, met = false;
    bool ok = true;
    for (host_block = 0; host_block < blocks; host_block++) {
        if (kernel->plain) {
            for (host_thread = 0; host_thread < threads; host_thread++) kernel->run(p);
            continue;
        }
        for (int waiting = threads, done = 0; waiting;) {
            waiting = 0;
            for (int i = 0; i < threads; i++) {
                if (done && fibers[i].state == fiber::DONE) continue;
                resume(i);
                waiting += fibers[i].state == fiber::WAITS;
            }
            ok &= waiting == 0 || waiting == threads - done;
            done = threads - waiting;
        }
    }
    ok &= !(kernel->plain && met);
    kernel->plain = !met;
    return ok;
}

/* ---- convolutions and products ---- */

namespace {

/* array is one in double, so that no sum below rounds on its way. */
struct array {
    std::vector<double> f;
    array(const void *p, size_t n, bool half) : f(n) {
        for (size_t i = 0; i < n; i++) f[i] = half ? device::value((const device::bf16 *)p + i) : ((const float *)p)[i];
    }
    explicit array(size_t n) : f(n) {}
    double &operator[](size_t i) { return f[i]; }
    void put(void *p, bool half) const {
        for (size_t i = 0; i < f.size(); i++)
            if (half)
                ((device::bf16 *)p)[i].bits = (unsigned short)device::rounded((float)f[i]);
            else
                ((float *)p)[i] = (float)f[i];
    }
};

/* each_tap calls f with the offsets of the pixels and weights that meet: of x, of
   filter k and of y. */
template <class F> void each_tap(const host_conv &d, F f) {
    for (int n = 0; n < d.n; n++)
        for (int oy = 0; oy < d.oh; oy++)
            for (int ox = 0; ox < d.ow; ox++)
                for (int r = 0; r < d.r; r++)
                    for (int s = 0; s < d.s; s++) {
                        const int iy = oy * d.stride + r - d.pad_h, ix = ox * d.stride + s - d.pad_w;
                        if (iy < 0 || iy >= d.h || ix < 0 || ix >= d.w) continue;
                        f((((size_t)n * d.h + iy) * d.w + ix) * d.c, ((size_t)r * d.s + s) * d.c, (((size_t)n * d.oh + oy) * d.ow + ox) * d.k);
                    }
}

size_t x_size(const host_conv &d) { return (size_t)d.n * d.h * d.w * d.c; }
size_t w_size(const host_conv &d) { return (size_t)d.k * d.r * d.s * d.c; }
size_t y_size(const host_conv &d) { return (size_t)d.n * d.oh * d.ow * d.k; }

} // namespace

extern "C" void host_conv_forward(const host_conv *d, const void *xp, const void *wp, void *yp) {
    array x(xp, x_size(*d), d->half), w(wp, w_size(*d), d->half), y(y_size(*d));
    each_tap(*d, [&](size_t xi, size_t wi, size_t yi) {
        for (int k = 0; k < d->k; k++) {
            const double *a = &x[xi], *b = &w[(size_t)k * d->r * d->s * d->c + wi];
            double sum[8] = {};
            for (int c = 0; c < d->c; c += 8)
                for (int j = 0; j < 8; j++) sum[j] += a[c + j] * b[c + j];
            y[yi + k] += ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
        }
    });
    y.put(yp, d->half);
}

extern "C" void host_conv_backward_data(const host_conv *d, void *xp, const void *wp, const void *yp) {
    array x(x_size(*d)), w(wp, w_size(*d), d->half), y(yp, y_size(*d), d->half);
    each_tap(*d, [&](size_t xi, size_t wi, size_t yi) {
        for (int k = 0; k < d->k; k++) {
            const double g = y[yi + k], *b = &w[(size_t)k * d->r * d->s * d->c + wi];
            double *a = &x[xi];
            for (int c = 0; c < d->c; c++) a[c] += g * b[c];
        }
    });
    x.put(xp, d->half);
}

extern "C" void host_conv_backward_weights(const host_conv *d, const void *xp, void *wp, const void *yp) {
    array x(xp, x_size(*d), d->half), w(w_size(*d)), y(yp, y_size(*d), d->half);
    each_tap(*d, [&](size_t xi, size_t wi, size_t yi) {
        for (int k = 0; k < d->k; k++) {
            const double g = y[yi + k], *a = &x[xi];
            double *b = &w[(size_t)k * d->r * d->s * d->c + wi];
            for (int c = 0; c < d->c; c++) b[c] += g * a[c];
        }
    });
    w.put(wp, d->half);
}

extern "C" void host_multiply(const host_gemm *g, const void *ap, const void *bp, void *cp) {
    const size_t size = g->half ? 2 : 4, out = g->half_out ? 2 : 4;
    for (int i = 0; i < g->batch; i++) {
        array a((const char *)ap + i * g->stride_a * size, (size_t)g->m * g->k, g->half);
        array b((const char *)bp + i * g->stride_b * size, (size_t)g->k * g->n, g->half);
        array c((size_t)g->m * g->n);
        for (int m = 0; m < g->m; m++) {
            double *row = &c[(size_t)m * g->n];
            for (int k = 0; k < g->k; k++) {
                const double f = g->alpha * (g->transpose_a ? a[(size_t)k * g->m + m] : a[(size_t)m * g->k + k]);
                for (int n = 0; n < g->n; n++) row[n] += f * b[(size_t)k * g->n + n];
            }
        }
        c.put((char *)cp + i * g->stride_c * out, g->half_out);
    }
}
