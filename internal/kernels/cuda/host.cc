//go:build cudahost

#undef _FORTIFY_SOURCE /* its longjmp refuses to leave a stack for another */
#include "host.h"

#include <csetjmp>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#include <vector>

#include "host_calls.h"

static const host_kernel *kernels; /* constant-initialised, before any constructor */

host_kernel::host_kernel(const char *name, size_t bytes, void (*run)(const void *))
    : name(name), bytes(bytes), run(run), next(kernels), plain(false) {
    kernels = this;
}

int host_thread, host_block, host_blocks;

/* What C++ leaves undefined ends the program: numbers that overflow, and addresses
   that are no multiples of what is read, which a GPU refuses. */
extern "C" const char *__ubsan_default_options() { return "halt_on_error=1"; }

namespace device { /* some kernels have names of the C library's functions */
#include "kernels.cu"

/* Kernels that are wrong, for the test that this is seen. */
struct wrong_args {
    float *out; /* THREADS elements, and one */
    int mistake;
};
static void wrong(const wrong_args &a) {
    SHARED(cells, THREADS);
    SHARED(later, THREADS);
    const int other = THREAD ^ 1;
    cells[THREAD] = 0;
    barrier();
    switch (a.mistake) {
    case 0: /* none */
        cells[THREAD] = THREAD;
        barrier();
        a.out[THREAD] = cells[other];
        break;
    case 1: cells[THREAD] = THREAD, a.out[THREAD] = cells[other]; break;
    case 2:
        cells[THREAD] = THREAD;
        barrier();
        cells[other] = cells[THREAD] + 1;
        break;
    case 3: cells[THREAD / 2] = THREAD; break;
    case 4:
        if (BLOCK == 0) later[THREAD] = THREAD;
        barrier();
        a.out[THREAD] = later[THREAD];
        break;
    case 5: cells[THREAD + 1] = THREAD; break;
    case 6: a.out[THREAD] = cells[THREAD - 1]; break;
    case 7:
        if (THREAD % 2) barrier();
        break;
    }
}
KERNEL(wrong_f32, wrong_args, wrong(a))
/* In which turn each thread was. */
static void turns(const wrong_args &a) { a.out[THREAD] = ++a.out[THREADS]; }
KERNEL(turns_f32, wrong_args, turns(a))
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
char wrong[256]; /* the first failure of the launch */

void fail(const char *format, ...) {
    if (*wrong) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(wrong, sizeof wrong, format, arguments);
    va_end(arguments);
}

/* Counted over all launches, so that what shared memory remembers of others is
   old. */
long launches, phase, block;

/* What runs first, i = 0, second and so on: forward in one launch, backward in the
   next, shuffled in the one after that. */
struct order {
    std::vector<int> of;
    uint64_t random;
    explicit order(int n) : of(n), random(launches * 2 + 1) {
        for (int i = 0; i < n; i++) of[i] = launches % 3 == 1 ? n - 1 - i : i;
        shuffle();
    }
    void shuffle() {
        if (launches % 3 != 2) return;
        for (int i = (int)of.size() - 1; i > 0; i--) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            std::swap(of[i], of[(random >> 33) % (i + 1)]);
        }
    }
};

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

host_shared::host_shared(const char *name, int count) : name(name), count(count), cells(new host_cell[count]()) {}

host_element::operator float() const {
    if (!cell)
        fail("thread %d reads %s[%d], which is outside of it", host_thread, name, i);
    else if (cell->block != block)
        fail("thread %d reads %s[%d], which its block has not written", host_thread, name, i);
    else if (cell->written == phase && cell->writer != host_thread)
        fail("thread %d reads %s[%d] and thread %d writes it, without a barrier between them", host_thread, name, i, cell->writer);
    if (!cell) return 0;
    cell->reader = cell->read == phase && cell->reader != host_thread ? -1 : host_thread;
    cell->read = phase;
    return cell->value;
}

float host_element::operator=(float x) {
    if (!cell)
        fail("thread %d writes %s[%d], which is outside of it", host_thread, name, i);
    else if (cell->written == phase && cell->writer != host_thread)
        fail("threads %d and %d write %s[%d], without a barrier between them", host_thread, cell->writer, name, i);
    else if (cell->read == phase && cell->reader != host_thread)
        fail("thread %d writes %s[%d] and another reads it, without a barrier between them", host_thread, name, i);
    if (!cell) return x;
    cell->writer = host_thread, cell->written = phase, cell->block = block;
    return cell->value = x;
}

void host_barrier() {
    met = true;
    if (!kernel->plain) leave(fiber::WAITS);
}

extern "C" const void *host_find(const char *name, long bytes) {
    for (const host_kernel *k = kernels; k; k = k->next)
        if (!strcmp(k->name, name)) return (long)k->bytes == bytes ? k : nullptr;
    return nullptr;
}

extern "C" const char *host_launch(const void *k, int blocks, int ends, const void *p) {
    std::lock_guard<std::mutex> lock(running);
    kernel = (const host_kernel *)k, parameter = p, host_blocks = blocks, met = false, *wrong = 0;
    launches++;
    const bool all = blocks <= 2 * (long)ends;
    order turns(threads), grid(all ? blocks : 2 * ends);
    for (int b : grid.of) {
        host_block = all || b < ends ? b : blocks - 2 * ends + b, block++;
        if (kernel->plain) {
            phase++;
            for (int i : turns.of) host_thread = i, kernel->run(p);
            continue;
        }
        for (int waiting = threads, done = 0; waiting;) {
            waiting = 0, phase++;
            turns.shuffle();
            for (int i : turns.of) {
                if (done && fibers[i].state == fiber::DONE) continue;
                resume(i);
                waiting += fibers[i].state == fiber::WAITS;
            }
            if (waiting && waiting != threads - done) fail("a barrier that not all threads reach");
            done = threads - waiting;
        }
    }
    if (kernel->plain && met) fail("a barrier that it did not have before");
    kernel->plain = !met;
    return *wrong ? wrong : nullptr;
}

/* ---- memory ---- */

namespace {

int fill_of(int sparse) { return sparse ? 0 : 0xff; } /* 0xff makes NaN */

/* The pages of a block, without the one behind it, and what of them lies before
   it. */
struct pages {
    size_t page, whole, before;
    explicit pages(size_t bytes) : page(sysconf(_SC_PAGESIZE)), whole((bytes + page - 1) / page * page), before(whole - bytes) {}
};

} // namespace

extern "C" void *host_alloc(size_t bytes, int sparse) {
    const pages of(bytes);
    void *p = mmap(nullptr, of.whole + of.page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | (sparse ? MAP_NORESERVE : 0), -1, 0);
    if (p == MAP_FAILED) return nullptr;
    mprotect((char *)p + of.whole, of.page, PROT_NONE);
    if (!sparse) memset(p, fill_of(sparse), of.whole);
    return (char *)p + of.before;
}

extern "C" int host_free(void *p, size_t bytes, int sparse) {
    const pages of(bytes);
    const unsigned char *first = (unsigned char *)p - of.before;
    bool intact = true;
    for (size_t i = 0; i < of.before; i++) intact &= first[i] == fill_of(sparse);
    munmap((void *)first, of.whole + of.page);
    return intact;
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
