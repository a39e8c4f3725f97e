/* All kernels of our own, in plain CUDA C without CUDA's headers: clang compiles
   them to PTX, and a C++ compiler, with host.h, to tests on the processor.

   A map is images of rows of pixels of channels, the channels padded to groups of
   eight. A thread takes one group at a time: 16 bytes of bf16, 32 of float. The
   neighbours of a thread take the neighbouring groups, and so whole pixels. The
   channels of padding hold zeros, and each kernel leaves zeros there.

   Sums are taken in float by each thread over the short run that it sees, and
   merged in an order that only the shape decides: no atomics, the same bits each
   time.

   Comparisons are written so that NaN survives ReLU and pooling.

   Each kernel takes one structure, which arguments.go has as well. Blocks have
   THREADS threads. */
#ifdef STYLENET_HOST
#include "host.h"
#else
#define __device__ __attribute__((device)) __attribute__((always_inline)) inline
#define SHARED(name, count) __attribute__((shared)) float name[count]
#define UNROLL _Pragma("unroll")
#define UNROLL4 _Pragma("unroll 4")
#define THREAD ((int)__nvvm_read_ptx_sreg_tid_x())
#define BLOCK ((int)__nvvm_read_ptx_sreg_ctaid_x())
#define BLOCKS ((int)__nvvm_read_ptx_sreg_nctaid_x())
#define KERNEL(name, arguments, ...)                                                               \
    extern "C" __attribute__((global)) __attribute__((launch_bounds(256))) void name(arguments a) { \
        __VA_ARGS__;                                                                               \
    }
static __device__ void barrier() { asm volatile("bar.sync 0;" ::: "memory"); }
static __device__ float root(float x) {
    float r;
    asm("sqrt.rn.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}
#endif

enum { THREADS = 256 };
typedef long long i64;

/* ---- elements ---- */

struct bf16 {
    unsigned short bits;
};
struct v8 {
    float f[8];
};
typedef unsigned u4 __attribute__((vector_size(16), may_alias));
typedef float f4 __attribute__((vector_size(16), may_alias));

#define EACH8(j) UNROLL for (int j = 0; j < 8; j++)

/* Eight elements as they lie in memory. A thread that fetches several before it
   opens the first waits for memory once: with one at a time a multiprocessor has
   too few bytes under way to fill its share of the bandwidth. */
template <class T> struct raw8;
template <> struct raw8<float> {
    f4 low, high;
};
template <> struct raw8<bf16> {
    u4 pairs;
};
static __device__ raw8<float> fetch8(const float *p) { return {((const f4 *)p)[0], ((const f4 *)p)[1]}; }
static __device__ raw8<bf16> fetch8(const bf16 *p) { return {*(const u4 *)p}; }
static __device__ v8 open8(const raw8<float> &r) {
    v8 v;
    UNROLL for (int j = 0; j < 4; j++) v.f[j] = r.low[j], v.f[j + 4] = r.high[j];
    return v;
}
static __device__ v8 open8(const raw8<bf16> &r) {
    v8 v;
    UNROLL for (int j = 0; j < 4; j++) {
        v.f[2 * j] = __builtin_bit_cast(float, r.pairs[j] << 16);
        v.f[2 * j + 1] = __builtin_bit_cast(float, r.pairs[j] & 0xffff0000u);
    }
    return v;
}
template <class T> static __device__ v8 load8(const T *p) { return open8(fetch8(p)); }
static __device__ void store8(float *p, const v8 &v) {
    ((f4 *)p)[0] = (f4){v.f[0], v.f[1], v.f[2], v.f[3]};
    ((f4 *)p)[1] = (f4){v.f[4], v.f[5], v.f[6], v.f[7]};
}
/* The upper half of a float, ties to even; NaN stays NaN. */
static __device__ unsigned rounded(float x) {
    const unsigned u = __builtin_bit_cast(unsigned, x);
    return x != x ? (u >> 16) | 0x40 : (u + 0x7fff + ((u >> 16) & 1)) >> 16;
}
static __device__ void store8(bf16 *p, const v8 &v) {
    u4 pairs;
    UNROLL for (int j = 0; j < 4; j++) pairs[j] = rounded(v.f[2 * j]) | rounded(v.f[2 * j + 1]) << 16;
    *(u4 *)p = pairs;
}
static __device__ float value(const float *p) { return *p; }
static __device__ float value(const bf16 *p) { return __builtin_bit_cast(float, (unsigned)p->bits << 16); }

static __device__ v8 all8(float x) {
    v8 v;
    EACH8(j) v.f[j] = x;
    return v;
}
static __device__ float positive(float x) { return x < 0 ? 0 : x; }

/* Channels c to c+7 of a vector over channels; 0 from channel `channels` on, and
   `missing` in all channels where there is no vector. */
static __device__ v8 channels8(const float *p, int c, int channels, float missing) {
    v8 v;
    EACH8(j) v.f[j] = c + j >= channels ? 0 : p ? p[c + j] : missing;
    return v;
}

/* ---- who takes what ---- */

/* dims is what a kernel runs over: each image's pixels in that many chunks. */
struct dims {
    int n, h, w, c; /* c without padding */
    int groups, chunks;
};

/* share is one thread's share of a map: one group of one image, and every
   step-th pixel of a chunk. Blocks are (image, chunk, 32 groups); their threads
   are rows of adjacent groups. */
struct share {
    bool any; /* the last threads of a block may have none */
    int n, g, first, end, step;
    int lanes, row, part; /* part: the chunk, counted over all images */
};
/* The first of the pixels of a chunk: the first chunks have one more than the last. */
static __device__ int chunk_start(int pixels, int chunks, int chunk) {
    const int more = pixels % chunks;
    return pixels / chunks * chunk + (chunk < more ? chunk : more);
}
static __device__ share share_of(const dims &d) {
    share s;
    const int blocks = (d.groups + 31) / 32, pixels = d.h * d.w;
    s.lanes = d.groups < 32 ? d.groups : 32;
    s.step = THREADS / s.lanes;
    s.row = THREAD / s.lanes;
    s.g = BLOCK % blocks * 32 + THREAD % s.lanes;
    s.part = BLOCK / blocks;
    s.n = s.part / d.chunks;
    const int chunk = s.part % d.chunks;
    s.first = chunk_start(pixels, d.chunks, chunk) + s.row;
    s.end = chunk_start(pixels, d.chunks, chunk + 1);
    s.any = s.row < s.step && s.g < d.groups;
    return s;
}

/* at is where group g of a pixel of image n lies in a map. */
template <class T> static __device__ T *at(T *map, int groups, i64 pixels, int n, i64 pixel, int g) {
    return map + (((n * pixels) + pixel) * groups + g) * 8;
}

/* walk goes over the pixels of a share without a division for each. */
struct walk {
    int p, y, x;
    int dp, dy, dx, w;
};
static __device__ walk walk_of(const share &s, int w) {
    return {s.first, s.first / w, s.first % w, s.step, s.step / w, s.step % w, w};
}
static __device__ void next(walk &at) {
    at.p += at.dp, at.y += at.dy, at.x += at.dx;
    if (at.x >= at.w) at.x -= at.w, at.y++;
}

/* each_pixel calls f with every pixel of a thread's share. */
template <class F> static __device__ void each_pixel(const dims &d, F f) {
    const share s = share_of(d);
    if (s.any)
        for (walk i = walk_of(s, d.w); i.p < s.end; next(i)) f(s.n, s.g, i.y, i.x, i.p);
}

/* each calls f with every one of `count` numbers that is a thread's. */
template <class F> static __device__ void each(i64 count, F f) {
    for (i64 i = (i64)BLOCK * THREADS + THREAD; i < count; i += (i64)BLOCKS * THREADS) f(i);
}

/* The sum over all threads of a block, in thread 0. */
static __device__ float block_sum(float x) {
    SHARED(of, THREADS);
    SHARED(of16, 16);
    of[THREAD] = x;
    barrier();
    if (THREAD < 16) {
        float sum = 0;
        UNROLL for (int i = 0; i < 16; i++) sum += of[i * 16 + THREAD];
        of16[THREAD] = sum;
    }
    barrier();
    float sum = 0;
    if (THREAD == 0) {
        UNROLL for (int i = 0; i < 16; i++) sum += of16[i];
    }
    return sum;
}

#define BOTH(name, arguments)                        \
    KERNEL(name##_f32, arguments, name<float>(a)) \
    KERNEL(name##_bf16, arguments, name<bf16>(a))

/* ---- between the host's order and ours ---- */

struct layout_args {
    void *map;
    float *flat; /* row-major N, C, H, W */
    dims d;
};
template <class T> static __device__ void import_map(const layout_args &a) {
    const i64 pixels = (i64)a.d.h * a.d.w;
    each_pixel(a.d, [&](int n, int g, int, int, int p) {
        v8 v;
        EACH8(j) v.f[j] = g * 8 + j < a.d.c ? a.flat[((i64)n * a.d.c + g * 8 + j) * pixels + p] : 0;
        store8(at((T *)a.map, a.d.groups, pixels, n, p, g), v);
    });
}
BOTH(import_map, layout_args)

template <class T> static __device__ void export_map(const layout_args &a) {
    const i64 pixels = (i64)a.d.h * a.d.w;
    each_pixel(a.d, [&](int n, int g, int, int, int p) {
        const v8 v = load8(at((const T *)a.map, a.d.groups, pixels, n, p, g));
        EACH8(j) {
            if (g * 8 + j < a.d.c) a.flat[((i64)n * a.d.c + g * 8 + j) * pixels + p] = v.f[j];
        }
    });
}
BOTH(export_map, layout_args)

/* Weights (K, C, R, S) to K, R, S, C with both channels padded, and the gradient of
   such ones back. */
struct weights_args {
    void *packed;
    float *flat;
    int k, c, taps, groups; /* taps: R·S */
};
template <class T> static __device__ void pack_weights(const weights_args &a) {
    each((i64)(a.k + 7) / 8 * 8 * a.taps * a.groups, [&](i64 i) {
        const int g = (int)(i % a.groups), tap = (int)(i / a.groups % a.taps), k = (int)(i / a.groups / a.taps);
        v8 v;
        EACH8(j) {
            const int c = g * 8 + j;
            v.f[j] = k < a.k && c < a.c ? a.flat[((i64)k * a.c + c) * a.taps + tap] : 0;
        }
        store8((T *)a.packed + i * 8, v);
    });
}
BOTH(pack_weights, weights_args)

template <class T> static __device__ void unpack_weights(const weights_args &a) {
    each((i64)a.k * a.c * a.taps, [&](i64 i) {
        const int tap = (int)(i % a.taps), c = (int)(i / a.taps % a.c), k = (int)(i / a.taps / a.c);
        a.flat[i] = value((const T *)a.packed + ((i64)k * a.taps + tap) * a.groups * 8 + c);
    });
}
BOTH(unpack_weights, weights_args)

/* ---- reading ---- */

enum { PAD_ZERO, PAD_REFLECT, PAD_EDGE };

/* The source of index i, counted from the first of n pixels; -1 for a zero. */
static __device__ int inside(int i, int n, int mode) {
    if (i >= 0 && i < n) return i;
    if (mode == PAD_ZERO) return -1;
    if (mode == PAD_EDGE) return i < 0 ? 0 : n - 1;
    return i < 0 ? -i : 2 * (n - 1) - i;
}

/* affine is (x - centre)·scale + shift, for eight channels. */
struct affine {
    v8 centre, scale, shift;
};
static __device__ float apply(const affine &f, int j, float x) {
    return (x - f.centre.f[j]) * f.scale.f[j] + f.shift.f[j];
}
/* What is missing is a mean or a shift of 0 and a deviation or a scale of 1. */
static __device__ affine affine_of(const float *mean, const float *invstd, const float *gamma, const float *beta, int n, int c, int channels) {
    affine f;
    f.centre = channels8(mean ? mean + (i64)n * channels : mean, c, channels, 0);
    f.scale = channels8(invstd ? invstd + (i64)n * channels : invstd, c, channels, 1);
    f.shift = channels8(beta, c, channels, 0);
    const v8 by = channels8(gamma, c, channels, 1);
    EACH8(j) f.scale.f[j] *= by.f[j];
    return f;
}

/* source is a map and how it is read: normalised, rectified, enlarged, bordered. */
struct source {
    const void *map;
    const float *mean, *invstd, *gamma, *beta;
    int h, w, up, mode, top, left, relu;
    int shared; /* one image's statistics for all */
};
struct read_args {
    source s[2];
    void *dst;
    dims d; /* of dst */
    int sources;
};
/* A division by the factors that there are. */
static __device__ int shrunk(int i, int up) { return up == 1 ? i : up == 2 ? i >> 1 : i / up; }

template <int SOURCES, class From, class To> static __device__ void read_of(const read_args &a) {
    enum { AHEAD = 4 / SOURCES }; /* pixels that are fetched at once */
    const share t = share_of(a.d);
    if (!t.any) return;
    affine f[SOURCES];
    UNROLL for (int k = 0; k < SOURCES; k++) {
        const source &s = a.s[k];
        f[k] = affine_of(s.mean, s.invstd, s.gamma, s.beta, s.shared ? 0 : t.n, t.g * 8, a.d.c);
    }
    To *const to = at((To *)a.dst, a.d.groups, (i64)a.d.h * a.d.w, t.n, 0, t.g);
    for (walk i = walk_of(t, a.d.w); i.p < t.end;) {
        raw8<From> ahead[AHEAD][SOURCES];
        bool any[AHEAD][SOURCES]; /* not in a border of zeros, nor behind the end */
        const int p = i.p;
        UNROLL for (int l = 0; l < AHEAD; l++) {
            UNROLL for (int k = 0; k < SOURCES; k++) {
                const source &s = a.s[k];
                const int iy = inside(i.y - s.top, s.h * s.up, s.mode), ix = inside(i.x - s.left, s.w * s.up, s.mode);
                any[l][k] = i.p < t.end && iy >= 0 && ix >= 0;
                const i64 from = any[l][k] ? (i64)shrunk(iy, s.up) * s.w + shrunk(ix, s.up) : 0;
                ahead[l][k] = fetch8(at((const From *)s.map, a.d.groups, (i64)s.h * s.w, t.n, from, t.g));
            }
            next(i);
        }
        UNROLL for (int l = 0; l < AHEAD; l++) {
            if (p + l * t.step >= t.end) continue;
            v8 sum = all8(0);
            UNROLL for (int k = 0; k < SOURCES; k++) if (any[l][k]) {
                const v8 v = open8(ahead[l][k]);
                EACH8(j) {
                    const float r = apply(f[k], j, v.f[j]);
                    sum.f[j] += a.s[k].relu ? positive(r) : r;
                }
            }
            store8(to + (i64)(p + l * t.step) * a.d.groups * 8, sum);
        }
    }
}
template <class From, class To> static __device__ void read(const read_args &a) {
    if (a.sources == 1)
        read_of<1, From, To>(a);
    else
        read_of<2, From, To>(a);
}
KERNEL(read_f32, read_args, read<float, float>(a))
KERNEL(read_bf16, read_args, read<bf16, bf16>(a))
KERNEL(read_f32_bf16, read_args, read<float, bf16>(a))
KERNEL(read_bf16_f32, read_args, read<bf16, float>(a))

/* The gradient of a border: each pixel of the inside gathers from at most three
   stretches of rows and of columns that show it. */
struct pad_backward_args {
    void *dsrc;
    const void *ddst;
    dims d; /* of dsrc */
    int h, w, mode, top, left; /* of ddst */
};
struct stretches {
    int from[3], to[3];
};
static __device__ stretches shown(int i, int n, int before, int padded, int mode) {
    const bool low = mode == PAD_EDGE ? i == 0 : mode == PAD_REFLECT && i >= 1;
    const bool high = mode == PAD_EDGE ? i == n - 1 : mode == PAD_REFLECT && i <= n - 2;
    const int mirrored_low = before - i, mirrored_high = before + 2 * (n - 1) - i;
    stretches s;
    s.from[0] = i + before, s.to[0] = i + before + 1;
    s.from[1] = !low ? 0 : mode == PAD_EDGE ? 0 : mirrored_low;
    s.to[1] = !low ? 0 : mode == PAD_EDGE ? before : mirrored_low + 1;
    s.from[2] = !high ? 0 : mode == PAD_EDGE ? before + n : mirrored_high;
    s.to[2] = !high ? 0 : mode == PAD_EDGE ? padded : mirrored_high + 1;
    UNROLL for (int k = 0; k < 3; k++) {
        if (s.from[k] < 0) s.from[k] = 0;
        if (s.to[k] > padded) s.to[k] = padded;
    }
    return s;
}
template <class T> static __device__ void pad_backward(const pad_backward_args &a) {
    each_pixel(a.d, [&](int n, int g, int y, int x, int p) {
        const stretches rows = shown(y, a.d.h, a.top, a.h, a.mode), cols = shown(x, a.d.w, a.left, a.w, a.mode);
        v8 sum = all8(0);
        UNROLL for (int ky = 0; ky < 3; ky++)
            for (int py = rows.from[ky]; py < rows.to[ky]; py++)
                UNROLL for (int kx = 0; kx < 3; kx++)
                    for (int px = cols.from[kx]; px < cols.to[kx]; px++) {
                        const v8 v = load8(at((const T *)a.ddst, a.d.groups, (i64)a.h * a.w, n, (i64)py * a.w + px, g));
                        EACH8(j) sum.f[j] += v.f[j];
                    }
        store8(at((T *)a.dsrc, a.d.groups, (i64)a.d.h * a.d.w, n, p, g), sum);
    });
}
BOTH(pad_backward, pad_backward_args)

struct resample_args {
    void *dst;        /* what is written */
    const void *grad; /* the gradient of the small map */
    const void *src;
    dims d; /* what is run over */
    int h, w, k; /* of the large map; factor or kind */
};

/* The sum of each factor×factor square. */
template <class T> static __device__ void upsample_backward(const resample_args &a) {
    each_pixel(a.d, [&](int n, int g, int y, int x, int p) {
        v8 sum = all8(0);
        for (int ly = y * a.k; ly < (y + 1) * a.k; ly++)
            for (int lx = x * a.k; lx < (x + 1) * a.k; lx++) {
                const v8 v = load8(at((const T *)a.src, a.d.groups, (i64)a.h * a.w, n, (i64)ly * a.w + lx, g));
                EACH8(j) sum.f[j] += v.f[j];
            }
        store8(at((T *)a.dst, a.d.groups, (i64)a.d.h * a.d.w, n, p, g), sum);
    });
}
BOTH(upsample_backward, resample_args)

/* The pixels of 2×2 squares: maximum, or with k the average. */
template <class T> static __device__ void square_of(v8 s[4], const resample_args &a, int n, int g, int y, int x) {
    UNROLL for (int i = 0; i < 4; i++)
        s[i] = load8(at((const T *)a.src, a.d.groups, (i64)a.h * a.w, n, (i64)(2 * y + i / 2) * a.w + 2 * x + i % 2, g));
}
template <class T> static __device__ void pool(const resample_args &a) {
    each_pixel(a.d, [&](int n, int g, int y, int x, int p) {
        v8 s[4], out;
        square_of<T>(s, a, n, g, y, x);
        EACH8(j) {
            float most = s[0].f[j], sum = most;
            UNROLL for (int i = 1; i < 4; i++) {
                sum += s[i].f[j];
                most = most < s[i].f[j] || s[i].f[j] != s[i].f[j] ? s[i].f[j] : most;
            }
            out.f[j] = a.k ? sum / 4 : most;
        }
        store8(at((T *)a.dst, a.d.groups, (i64)a.d.h * a.d.w, n, p, g), out);
    });
}
BOTH(pool, resample_args)

/* Runs over squares, those that an odd last row or column leaves incomplete
   included. */
template <class T> static __device__ void pool_backward(const resample_args &a) {
    const int h = a.h / 2, w = a.w / 2; /* of the small map */
    each_pixel(a.d, [&](int n, int g, int y, int x, int) {
        v8 out[4] = {all8(0), all8(0), all8(0), all8(0)};
        if (y < h && x < w) {
            const v8 grad = load8(at((const T *)a.grad, a.d.groups, (i64)h * w, n, (i64)y * w + x, g));
            v8 s[4];
            if (!a.k) square_of<T>(s, a, n, g, y, x);
            EACH8(j) {
                int first = 0;
                float most = s[0].f[j];
                if (!a.k) {
                    UNROLL for (int i = 1; i < 4; i++)
                        if (s[i].f[j] > most) most = s[i].f[j], first = i;
                }
                UNROLL for (int i = 0; i < 4; i++) out[i].f[j] = a.k ? grad.f[j] / 4 : i == first ? grad.f[j] : 0;
            }
        }
        UNROLL for (int i = 0; i < 4; i++) {
            const int ly = 2 * y + i / 2, lx = 2 * x + i % 2;
            if (ly < a.h && lx < a.w) store8(at((T *)a.dst, a.d.groups, (i64)a.h * a.w, n, (i64)ly * a.w + lx, g), out[i]);
        }
    });
}
BOTH(pool_backward, resample_args)

/* ---- statistics ---- */

/* moments are the number of values, their mean, and the sum of the squares of
   their distances from it. */
static __device__ void merge(float &count, float &mean, float &squares, float count2, float mean2, float squares2) {
    if (count2 == 0) return;
    const float both = count + count2, by = mean2 - mean, part = count2 / both;
    squares += squares2 + by * by * count * part;
    mean += by * part;
    count = both;
}

/* One pass over a map after a convolution, in place: adds a bias and rectifies. */
struct finish_args {
    void *map;
    const float *bias; /* or null */
    float *moments;    /* finish: of each part first pixels, means, squares, of all channels */
    dims d;
    int relu; /* bias */
};
template <class T> static __device__ void bias(const finish_args &a) {
    const share s = share_of(a.d);
    if (!s.any) return;
    const i64 pixel = (i64)a.d.groups * 8;
    T *const map = at((T *)a.map, a.d.groups, (i64)a.d.h * a.d.w, s.n, 0, s.g);
    const v8 by = channels8(a.bias, s.g * 8, a.d.c, 0);
    enum { AHEAD = 4 }; /* pixels that are fetched at once */
    for (int p = s.first; p < s.end; p += AHEAD * s.step) {
        raw8<T> ahead[AHEAD];
        UNROLL for (int l = 0; l < AHEAD; l++) ahead[l] = fetch8(map + (p + l * s.step < s.end ? p + l * s.step : p) * pixel);
        UNROLL for (int l = 0; l < AHEAD; l++) if (p + l * s.step < s.end) {
            v8 v = open8(ahead[l]);
            EACH8(j) {
                v.f[j] += by.f[j];
                if (a.relu) v.f[j] = positive(v.f[j]);
            }
            store8(map + (p + l * s.step) * pixel, v);
        }
    }
}
BOTH(bias, finish_args)

/* One pass over a map after a convolution, or before a normalisation: adds a bias
   in place, and takes the moments of each part. Means are kept as what they are
   above the part's first pixel, so that maps with a mean far above their deviation
   lose nothing to rounding. */
template <class T> static __device__ void finish(const finish_args &a) {
    SHARED(means, 8 * THREADS);
    SHARED(squares, 8 * THREADS);
    SHARED(counts, THREADS);
    const share s = share_of(a.d);
    const i64 pixel = (i64)a.d.groups * 8;
    T *const map = at((T *)a.map, a.d.groups, (i64)a.d.h * a.d.w, s.n, 0, s.g);
    const v8 bias = channels8(a.bias, s.g * 8, a.d.c, 0);
    const auto open = [&](const raw8<T> &r) {
        v8 v = open8(r);
        EACH8(j) v.f[j] += bias.f[j];
        return v;
    };
    const v8 pivot = s.any ? open(fetch8(map + (i64)(s.first - s.row) * pixel)) : all8(0);
    barrier(); /* before it is written */
    float count = 0;
    v8 mean = all8(0), m2 = all8(0);
    enum { RUN = 32, AHEAD = 4 }; /* pixels whose squares are taken around one value, and that are fetched at once */
    if (s.any)
        for (int p = s.first; p < s.end;) {
            v8 around = mean, sum = all8(0), sq = all8(0);
            float run = 0;
            while (run < RUN && p < s.end) {
                raw8<T> ahead[AHEAD];
                UNROLL for (int l = 0; l < AHEAD; l++) ahead[l] = fetch8(map + (p + l * s.step < s.end ? p + l * s.step : p) * pixel);
                UNROLL for (int l = 0; l < AHEAD; l++) if (p + l * s.step < s.end) {
                    v8 v = open(ahead[l]);
                    if (a.bias) store8(map + (p + l * s.step) * pixel, v);
                    EACH8(j) {
                        v.f[j] -= pivot.f[j];
                        if (count == 0 && run == 0) around.f[j] = v.f[j];
                        const float off = v.f[j] - around.f[j];
                        sum.f[j] += off, sq.f[j] += off * off;
                    }
                    run++;
                }
                p += AHEAD * s.step;
            }
            EACH8(j) {
                const float shift = sum.f[j] / run, left = sq.f[j] - sum.f[j] * shift;
                float total = count;
                merge(total, mean.f[j], m2.f[j], run, around.f[j] + shift, left < 0 ? 0 : left);
            }
            count += run;
        }
    EACH8(j) means[j * THREADS + THREAD] = mean.f[j], squares[j * THREADS + THREAD] = m2.f[j];
    counts[THREAD] = count;
    for (int apart = 1; apart < s.step; apart *= 2) {
        barrier();
        const int other = THREAD + apart * s.lanes;
        if (!s.any || s.row % (2 * apart) || s.row + apart >= s.step) continue;
        float total = 0;
        EACH8(j) {
            const int mine = j * THREADS + THREAD, theirs = j * THREADS + other;
            float centre = means[mine], spread = squares[mine];
            total = counts[THREAD];
            merge(total, centre, spread, counts[other], means[theirs], squares[theirs]);
            means[mine] = centre, squares[mine] = spread;
        }
        counts[THREAD] = total;
    }
    if (s.any && s.row == 0) {
        float *to = a.moments + s.part * 3 * pixel + s.g * 8;
        store8(to, pivot);
        EACH8(j) {
            to[pixel + j] = means[j * THREADS + THREAD];
            to[2 * pixel + j] = squares[j * THREADS + THREAD];
        }
    }
}
BOTH(finish, finish_args)

/* Merges the parts of each image, or with batch of all: a block has eight channels
   and 32 rows, each of which takes every 32nd part. */
enum { ROWS = THREADS / 8 };
struct statistics_args {
    const float *moments;
    float *mean, *invstd;
    dims d;
    int batch;
    float eps;
};
static __device__ void statistics(const statistics_args &a) {
    SHARED(means, THREADS);
    SHARED(squares, THREADS);
    SHARED(counts, THREADS);
    enum { AHEAD = 4 }; /* parts that are fetched at once */
    const int wide = a.d.groups * 8, n = BLOCK / a.d.groups, row = THREAD / 8, c = BLOCK % a.d.groups * 8 + THREAD % 8;
    const int pixels = a.d.h * a.d.w, parts = a.batch ? a.d.n * a.d.chunks : a.d.chunks;
    const float *first = a.moments + (i64)n * a.d.chunks * 3 * wide + c;
    float count = 0, mean = 0, m2 = 0; /* mean: above the first part's first pixel */
    for (int i = row; i < parts; i += AHEAD * ROWS) {
        float pivots[AHEAD], above[AHEAD], of[AHEAD];
        UNROLL for (int l = 0; l < AHEAD; l++) {
            const float *part = first + (i64)(i + l * ROWS < parts ? i + l * ROWS : i) * 3 * wide;
            pivots[l] = part[0], above[l] = part[wide], of[l] = part[2 * wide];
        }
        UNROLL for (int l = 0; l < AHEAD; l++) {
            if (i + l * ROWS >= parts) continue;
            const int chunk = (i + l * ROWS) % a.d.chunks;
            const int size = chunk_start(pixels, a.d.chunks, chunk + 1) - chunk_start(pixels, a.d.chunks, chunk);
            merge(count, mean, m2, (float)size, pivots[l] - *first + above[l], of[l]);
        }
    }
    for (int apart = 1; apart < ROWS; apart *= 2) {
        means[THREAD] = mean, squares[THREAD] = m2, counts[THREAD] = count;
        barrier();
        const int other = THREAD + 8 * apart;
        if (row % (2 * apart) == 0) merge(count, mean, m2, counts[other], means[other], squares[other]);
        barrier(); /* before it is written again */
    }
    if (row || c >= a.d.c) return;
    a.mean[(i64)n * a.d.c + c] = *first + mean;
    a.invstd[(i64)n * a.d.c + c] = 1 / root(m2 / count + a.eps);
}
KERNEL(statistics_f32, statistics_args, statistics(a))

/* The sums over each part of a gradient, and of the gradient times the normalised
   value where there is a source: through the ReLU where relu is set. */
struct norm_args {
    void *dsrc;
    const void *ddst, *src; /* src: or null */
    const float *mean, *invstd, *gamma, *beta;
    float *sums;   /* of each part, as moments of finish are */
    float *groups; /* of each image, or with batch of all, the means of the two */
    dims d;
    int relu, batch;
};
struct normed {
    v8 centre, invstd, gamma, beta;
};
static __device__ normed normed_of(const norm_args &a, int n, int c) {
    const i64 row = a.batch ? 0 : (i64)n * a.d.c;
    normed f;
    f.centre = channels8(a.mean + row, c, a.d.c, 0), f.invstd = channels8(a.invstd + row, c, a.d.c, 0);
    f.gamma = channels8(a.gamma, c, a.d.c, 0), f.beta = channels8(a.beta, c, a.d.c, 0);
    return f;
}
template <class T> static __device__ void norm_sums(const norm_args &a) {
    SHARED(sums, 8 * THREADS);
    SHARED(products, 8 * THREADS);
    const share s = share_of(a.d);
    v8 sum = all8(0), product = all8(0);
    if (s.any) {
        normed f = {};
        if (a.src) f = normed_of(a, s.n, s.g * 8);
        const i64 pixel = (i64)a.d.groups * 8;
        const T *const grads = at((const T *)a.ddst, a.d.groups, (i64)a.d.h * a.d.w, s.n, 0, s.g);
        const T *const values = a.src ? at((const T *)a.src, a.d.groups, (i64)a.d.h * a.d.w, s.n, 0, s.g) : grads;
        enum { AHEAD = 2 }; /* pixels that are fetched at once */
        for (int p = s.first; p < s.end; p += AHEAD * s.step) {
            raw8<T> ahead[AHEAD][2];
            UNROLL for (int l = 0; l < AHEAD; l++) {
                const i64 from = (p + l * s.step < s.end ? p + l * s.step : p) * pixel;
                ahead[l][0] = fetch8(grads + from);
                if (a.src) ahead[l][1] = fetch8(values + from);
            }
            UNROLL for (int l = 0; l < AHEAD; l++) {
                if (p + l * s.step >= s.end) continue;
                const v8 grad = open8(ahead[l][0]);
                if (!a.src) {
                    EACH8(j) sum.f[j] += grad.f[j];
                    continue;
                }
                const v8 v = open8(ahead[l][1]);
                EACH8(j) {
                    const float x = (v.f[j] - f.centre.f[j]) * f.invstd.f[j];
                    const float through = a.relu && !(f.gamma.f[j] * x + f.beta.f[j] > 0) ? 0 : grad.f[j];
                    sum.f[j] += through, product.f[j] += through * x;
                }
            }
        }
    }
    EACH8(j) sums[j * THREADS + THREAD] = sum.f[j], products[j * THREADS + THREAD] = product.f[j];
    for (int apart = 1; apart < s.step; apart *= 2) {
        barrier();
        if (!s.any || s.row % (2 * apart) || s.row + apart >= s.step) continue;
        EACH8(j) {
            const int mine = j * THREADS + THREAD, theirs = mine + apart * s.lanes;
            sums[mine] += sums[theirs], products[mine] += products[theirs];
        }
    }
    if (s.any && s.row == 0) {
        float *to = a.sums + ((i64)s.part * 2 * a.d.groups + s.g) * 8;
        EACH8(j) {
            to[j] = sums[j * THREADS + THREAD];
            to[a.d.groups * 8 + j] = products[j * THREADS + THREAD];
        }
    }
}
BOTH(norm_sums, norm_args)

/* Adds up the parts, in blocks as statistics has them, whose rows are spread over
   as many images as they can be. */
struct norm_totals_args {
    const float *sums;
    float *groups, *dgamma, *dbeta; /* groups and dgamma: or null */
    dims d;
    int batch;
};
static __device__ void norm_totals(const norm_totals_args &a) {
    SHARED(sums, THREADS);
    SHARED(products, THREADS);
    const int wide = a.d.groups * 8, row = THREAD / 8, c = BLOCK * 8 + THREAD % 8;
    const int images = a.d.n < ROWS ? a.d.n : ROWS, rows = ROWS / images, r = row % rows; /* images: at a time */
    const float pixels = (float)((i64)a.d.h * a.d.w);
    float beta = 0, gamma = 0;
    for (int from = 0; from < a.d.n; from += images) {
        const int n = from + row / rows;
        const bool any = row < rows * images && n < a.d.n;
        float sum = 0, product = 0;
        if (any) {
            const float *const first = a.sums + (i64)n * a.d.chunks * 2 * wide + c;
            UNROLL4 for (int i = r; i < a.d.chunks; i += rows) {
                const float *of = first + (i64)i * 2 * wide;
                sum += of[0], product += of[wide];
            }
        }
        sums[THREAD] = sum, products[THREAD] = product;
        barrier();
        if (any && r == 0) {
            for (int k = 1; k < rows; k++) sum += sums[THREAD + 8 * k], product += products[THREAD + 8 * k];
            sums[THREAD] = sum, products[THREAD] = product; /* which no other row adds */
            if (a.groups && !a.batch) {
                a.groups[(i64)n * 2 * wide + c] = sum / pixels;
                a.groups[((i64)n * 2 + 1) * wide + c] = product / pixels;
            }
        }
        barrier();
        for (int k = 0; row == 0 && k < images && from + k < a.d.n; k++) beta += sums[THREAD + 8 * k * rows], gamma += products[THREAD + 8 * k * rows];
        barrier(); /* before they are written again */
    }
    if (row) return;
    if (a.groups && a.batch) {
        a.groups[c] = beta / (pixels * a.d.n);
        a.groups[wide + c] = gamma / (pixels * a.d.n);
    }
    if (c >= a.d.c) return;
    a.dbeta[c] = beta;
    if (a.dgamma) a.dgamma[c] = gamma;
}
KERNEL(norm_totals_f32, norm_totals_args, norm_totals(a))

template <class T> static __device__ void norm_backward(const norm_args &a) {
    const share s = share_of(a.d);
    if (!s.any) return;
    const normed f = normed_of(a, s.n, s.g * 8);
    const float *of = a.groups + ((a.batch ? 0 : (i64)s.n * 2) * a.d.groups + s.g) * 8;
    const v8 mean = load8(of), slope = load8(of + a.d.groups * 8);
    const i64 pixel = (i64)a.d.groups * 8, first = ((i64)s.n * a.d.h * a.d.w * a.d.groups + s.g) * 8;
    enum { AHEAD = 2 }; /* pixels that are fetched at once */
    for (int p = s.first; p < s.end; p += AHEAD * s.step) {
        raw8<T> ahead[AHEAD][2];
        UNROLL for (int l = 0; l < AHEAD; l++) {
            const i64 from = first + (p + l * s.step < s.end ? p + l * s.step : p) * pixel;
            ahead[l][0] = fetch8((const T *)a.ddst + from), ahead[l][1] = fetch8((const T *)a.src + from);
        }
        UNROLL for (int l = 0; l < AHEAD; l++) {
            if (p + l * s.step >= s.end) continue;
            const v8 grad = open8(ahead[l][0]);
            v8 v = open8(ahead[l][1]);
            EACH8(j) {
                const float x = (v.f[j] - f.centre.f[j]) * f.invstd.f[j];
                const float through = a.relu && !(f.gamma.f[j] * x + f.beta.f[j] > 0) ? 0 : grad.f[j];
                v.f[j] = f.gamma.f[j] * f.invstd.f[j] * (through - mean.f[j] - x * slope.f[j]);
            }
            store8((T *)a.dsrc + first + (p + l * s.step) * pixel, v);
        }
    }
}
BOTH(norm_backward, norm_args)

/* ---- element by element ---- */

struct relu_args {
    void *dst;
    const void *src, *result; /* result: null forward */
    i64 groups;
};
template <class T> static __device__ void relu(const relu_args &a) {
    each(a.groups, [&](i64 i) {
        v8 v = load8((const T *)a.src + i * 8);
        if (a.result) {
            const v8 y = load8((const T *)a.result + i * 8);
            EACH8(j) v.f[j] = y.f[j] > 0 ? v.f[j] : 0;
        } else
            EACH8(j) v.f[j] = positive(v.f[j]);
        store8((T *)a.dst + i * 8, v);
    });
}
BOTH(relu, relu_args)

/* e to the power of x, after Moshier's Cephes. */
static __device__ float exponential(float x) {
    const float magic = 12582912; /* rounds what is added to it to a whole number */
    const float n = x * 1.44269504f + magic - magic;
    const float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float y = 1.9875691500e-4f;
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1;
    return y * __builtin_bit_cast(float, (unsigned)((int)n + 127) << 23);
}
static __device__ float tanh_of(float x) {
    const float z = x < 0 ? -x : x;
    if (z > 9.1f) return x < 0 ? -1 : 1; /* to the last bit */
    if (z > 0.625f) {
        const float t = 1 - 2 / (exponential(2 * z) + 1);
        return x < 0 ? -t : t;
    }
    const float s = x * x;
    float y = -5.70498872745e-3f;
    y = y * s + 2.06390887954e-2f;
    y = y * s - 5.37397155531e-2f;
    y = y * s + 1.33314422036e-1f;
    y = y * s - 3.33332819422e-1f;
    return y * s * x + x;
}

struct tanh_args {
    void *dst;
    const void *src, *result; /* result: null forward */
    i64 pixels;               /* of all images */
    int c, groups;
    float scale, offset;
};
template <class T> static __device__ void tanh(const tanh_args &a) {
    each(a.pixels * a.groups, [&](i64 i) {
        const int c = (int)(i % a.groups) * 8;
        v8 v = load8((const T *)a.src + i * 8);
        if (a.result) {
            const v8 y = load8((const T *)a.result + i * 8);
            EACH8(j) {
                const float t = (y.f[j] - a.offset) / a.scale;
                v.f[j] *= a.scale * (1 - t * t);
            }
        } else
            EACH8(j) v.f[j] = c + j < a.c ? a.scale * tanh_of(v.f[j]) + a.offset : 0;
        store8((T *)a.dst + i * 8, v);
    });
}
BOTH(tanh, tanh_args)

/* ---- forward alone ---- */

enum { LEAKY_RELU, PRELU, SIGMOID, CLIP, ADD, SUBTRACT, MULTIPLY, DIVIDE };

/* A function of a, or of a and b: slopes over the channels, or a map that is
   repeated along its sides of length 1. A map with one channel is float. */
struct pointwise_args {
    void *dst;
    const void *a, *b; /* b: or null */
    dims d;
    int function, channels, h, w; /* the sides of b */
    float low, high;
};
static __device__ float function_of(const pointwise_args &a, float x, float y) {
    switch (a.function) {
    case LEAKY_RELU: return x < 0 ? x * a.low : x;
    case PRELU: return x < 0 ? x * y : x;
    case SIGMOID: return tanh_of(x * 0.5f) * 0.5f + 0.5f;
    case CLIP: x = x < a.low ? a.low : x; return x > a.high ? a.high : x;
    case ADD: return x + y;
    case SUBTRACT: return x - y;
    case MULTIPLY: return x * y;
    default: return x / y;
    }
}
template <class T> static __device__ void pointwise(const pointwise_args &a) {
    each_pixel(a.d, [&](int n, int g, int y, int x, int p) {
        const i64 pixels = (i64)a.d.h * a.d.w, of = (i64)a.h * a.w, q = (i64)(a.h == 1 ? 0 : y) * a.w + (a.w == 1 ? 0 : x);
        v8 v = load8(at((const T *)a.a, a.d.groups, pixels, n, p, g)), u = all8(0);
        if (a.function == PRELU)
            u = channels8((const float *)a.b, g * 8, a.d.c, 0);
        else if (a.b && a.channels == 1)
            u = all8(value(at((const float *)a.b, 1, of, n, q, 0)));
        else if (a.b)
            u = load8(at((const T *)a.b, a.d.groups, of, n, q, g));
        EACH8(j) v.f[j] = g * 8 + j < a.d.c ? function_of(a, v.f[j], u.f[j]) : 0;
        store8(at((T *)a.dst, a.d.groups, pixels, n, p, g), v);
    });
}
BOTH(pointwise, pointwise_args)

/* Where a channel lies. plain maps are float. whole: those of the group of dst
   that begins here are a group of one map of the element of dst. */
struct channel {
    const void *map;
    int groups, c, plain, whole;
};
struct arrange_args {
    void *dst;
    const channel *from; /* of the pixels of a square, for each all channels of dst */
    dims d;
    int h, w, block, top; /* h, w: of the sources */
};
template <class T> static __device__ void arrange(const arrange_args &a) {
    each_pixel(a.d, [&](int n, int g, int y, int x, int p) {
        const int row = y + a.top;
        const channel *of = a.from + (i64)(row % a.block * a.block + x % a.block) * a.d.c + g * 8;
        const i64 pixels = (i64)a.h * a.w, pixel = (i64)(row / a.block) * a.w + x / a.block;
        v8 v = all8(0);
        if (of->whole)
            v = load8(at((const T *)of->map, of->groups, pixels, n, pixel, of->c / 8));
        EACH8(j) {
            if (g * 8 + j >= a.d.c)
                v.f[j] = 0;
            else if (!of->whole) {
                const i64 i = (n * pixels + pixel) * of[j].groups * 8 + of[j].c;
                v.f[j] = of[j].plain ? value((const float *)of[j].map + i) : value((const bf16 *)of[j].map + i);
            }
        }
        store8(at((T *)a.dst, a.d.groups, (i64)a.d.h * a.d.w, n, p, g), v);
    });
}
BOTH(arrange, arrange_args)

/* (1 - w) of row or column a and w of b. */
struct tap {
    int a, b;
    float w;
};
struct between_args {
    void *dst;
    const void *src;
    const tap *rows, *cols;
    dims d;
    int h, w; /* of src */
};
template <class T> static __device__ void between(const between_args &a) {
    each_pixel(a.d, [&](int n, int g, int y, int x, int p) {
        const tap r = a.rows[y], c = a.cols[x];
        v8 sum = all8(0);
        UNROLL for (int k = 0; k < 4; k++) {
            const float w = (k & 2 ? r.w : 1 - r.w) * (k & 1 ? c.w : 1 - c.w);
            if (w == 0) continue;
            const v8 v = load8(at((const T *)a.src, a.d.groups, (i64)a.h * a.w, n, (i64)(k & 2 ? r.b : r.a) * a.w + (k & 1 ? c.b : c.a), g));
            EACH8(j) sum.f[j] += w * v.f[j];
        }
        store8(at((T *)a.dst, a.d.groups, (i64)a.d.h * a.d.w, n, p, g), sum);
    });
}
BOTH(between, between_args)

/* Pixels moved by a flow, a map of two channels of floats. pairs: image n is made
   of image n ^ 1. */
struct warp_args {
    void *dst;
    const void *src;
    const float *flow;
    dims d;
    int pairs;
};
/* The pixel of n before the place that a flow leads to from pixel p, and in *rest
   how far behind it that lies. What is no number leads to the first. The flow
   alone is split: the sum would lose its last digits. */
static __device__ int place(int p, float flow, int n, float *rest) {
    flow = flow > (float)-n ? flow : (float)-n;
    flow = flow < (float)n ? flow : (float)n;
    int whole = (int)flow;
    if (flow < (float)whole) whole--;
    const int i = p + whole;
    *rest = i < 0 || n == 1 ? 0 : i >= n - 1 ? 1 : flow - (float)whole;
    return i < 0 || n == 1 ? 0 : i >= n - 1 ? n - 2 : i;
}
template <class T> static __device__ void warp(const warp_args &a) {
    each_pixel(a.d, [&](int n, int g, int y, int x, int p) {
        const i64 pixels = (i64)a.d.h * a.d.w;
        const v8 flow = load8(at(a.flow, 1, pixels, n, p, 0));
        float u, v;
        const int x0 = place(x, flow.f[0], a.d.w, &u), y0 = place(y, flow.f[1], a.d.h, &v);
        const int right = a.d.w > 1 ? 1 : 0, down = a.d.h > 1 ? a.d.w : 0;
        v8 sum = all8(0);
        UNROLL for (int k = 0; k < 4; k++) {
            const float w = (k & 2 ? v : 1 - v) * (k & 1 ? u : 1 - u);
            const i64 q = (i64)y0 * a.d.w + x0 + (k & 2 ? down : 0) + (k & 1 ? right : 0);
            const v8 c = load8(at((const T *)a.src, a.d.groups, pixels, a.pairs ? n ^ 1 : n, q, g));
            EACH8(j) sum.f[j] += w * c.f[j];
        }
        store8(at((T *)a.dst, a.d.groups, pixels, n, p, g), sum);
    });
}
BOTH(warp, warp_args)

/* The maximum or the average of each window, of the pixels that are there. */
struct window_args {
    void *dst;
    const void *src;
    dims d;
    int h, w; /* of src */
    int height, width, stride, top, left, average, count_pad;
};
template <class T> static __device__ void window(const window_args &a) {
    each_pixel(a.d, [&](int n, int g, int y, int x, int p) {
        const int above = y * a.stride - a.top, before = x * a.stride - a.left;
        const int y0 = above < 0 ? 0 : above, y1 = above + a.height < a.h ? above + a.height : a.h;
        const int x0 = before < 0 ? 0 : before, x1 = before + a.width < a.w ? before + a.width : a.w;
        v8 most = load8(at((const T *)a.src, a.d.groups, (i64)a.h * a.w, n, (i64)y0 * a.w + x0, g)), sum = all8(0);
        for (int iy = y0; iy < y1; iy++) {
            v8 line = all8(0);
            for (int ix = x0; ix < x1; ix++) {
                const v8 v = load8(at((const T *)a.src, a.d.groups, (i64)a.h * a.w, n, (i64)iy * a.w + ix, g));
                EACH8(j) {
                    line.f[j] += v.f[j];
                    most.f[j] = most.f[j] < v.f[j] || v.f[j] != v.f[j] ? v.f[j] : most.f[j];
                }
            }
            EACH8(j) sum.f[j] += line.f[j];
        }
        const float count = (float)(a.count_pad ? a.height * a.width : (y1 - y0) * (x1 - x0));
        EACH8(j) most.f[j] = a.average ? sum.f[j] / count : most.f[j];
        store8(at((T *)a.dst, a.d.groups, (i64)a.d.h * a.d.w, n, p, g), most);
    });
}
BOTH(window, window_args)

/* The statistics of `count` groups of `size` channels, around the first one's
   mean: those of the channels, and of their means. */
struct groups_args {
    float *mean, *invstd;
    i64 count;
    int size;
};
static __device__ void groups(const groups_args &a) {
    each(a.count, [&](i64 i) {
        float *mean = a.mean + i * a.size, *invstd = a.invstd + i * a.size;
        const float first = mean[0];
        float centre = 0, variance = 0; /* variance: with epsilon */
        for (int c = 0; c < a.size; c++) centre += mean[c] - first;
        centre /= a.size;
        for (int c = 0; c < a.size; c++) {
            const float apart = mean[c] - first - centre;
            variance += 1 / (invstd[c] * invstd[c]) + apart * apart;
        }
        const float inverse = 1 / root(variance / a.size);
        for (int c = 0; c < a.size; c++) mean[c] = first + centre, invstd[c] = inverse;
    });
}
KERNEL(groups_f32, groups_args, groups(a))

enum { TERMS = 8 };
struct sum_args {
    void *dst;
    const void *src[TERMS];
    float weight[TERMS]; /* of the first `fixed` terms */
    const float *by;     /* of the others: in memory, for they change from run to run */
    i64 groups;
    int terms, fixed;
};
template <class T> static __device__ void sum(const sum_args &a) {
    float weight[TERMS];
    UNROLL for (int k = 0; k < TERMS; k++) if (k < a.terms) weight[k] = k < a.fixed ? a.weight[k] : a.by[k - a.fixed];
    each(a.groups, [&](i64 i) {
        v8 total = all8(0);
        UNROLL for (int k = 0; k < TERMS; k++) if (k < a.terms) {
            const v8 v = load8((const T *)a.src[k] + i * 8);
            EACH8(j) total.f[j] += weight[k] * v.f[j];
        }
        store8((T *)a.dst + i * 8, total);
    });
}
BOTH(sum, sum_args)

/* ---- losses ---- */

/* The last stage of a sum: one block. */
struct total_args {
    const float *parts;
    float *out;
    int count;
    float scale;
};
static __device__ void total(const total_args &a) {
    float sum = 0;
    for (int i = THREAD; i < a.count; i += THREADS) sum += a.parts[i];
    sum = block_sum(sum);
    if (THREAD == 0) *a.out = sum * a.scale;
}
KERNEL(total_f32, total_args, total(a))

/* Multiplies count elements of a with as many of each b. Parameters have more in
   memory than they have elements. */
struct dots_args {
    const void *a, *b[TERMS];
    float *parts; /* one for each block, b after b */
    i64 count;
    int terms;
};
template <class T> static __device__ void dots(const dots_args &a) {
    float sums[TERMS] = {};
    each((a.count + 7) / 8, [&](i64 i) {
        const v8 x = load8((const T *)a.a + i * 8);
        const int some = a.count - i * 8 < 8 ? (int)(a.count - i * 8) : 8;
        UNROLL for (int k = 0; k < TERMS; k++) if (k < a.terms) {
            const v8 y = load8((const T *)a.b[k] + i * 8);
            float of = 0;
            EACH8(j) of += j < some ? x.f[j] * y.f[j] : 0;
            sums[k] += of;
        }
    });
    UNROLL for (int k = 0; k < TERMS; k++) if (k < a.terms) {
        const float sum = block_sum(sums[k]);
        if (THREAD == 0) a.parts[(i64)k * BLOCKS + BLOCK] = sum;
    }
}
BOTH(dots, dots_args)

/* The last stage: a block for each b. */
struct dots_total_args {
    const float *parts;
    float *out;
    int count;
};
static __device__ void dots_total(const dots_total_args &a) {
    float sum = 0;
    for (int i = THREAD; i < a.count; i += THREADS) sum += a.parts[(i64)BLOCK * a.count + i];
    sum = block_sum(sum);
    if (THREAD == 0) a.out[BLOCK] = sum;
}
KERNEL(dots_total_f32, dots_total_args, dots_total(a))

/* Compares count elements of a with as many of b, which repeat after `period`. */
struct mse_args {
    const void *a, *b;
    float *parts;       /* forward: one for each block */
    void *da;           /* backward */
    const float *dloss;
    i64 count, period;
    float scale;
};
template <class T> static __device__ void mse(const mse_args &a) {
    float sum = 0;
    if (a.period % 8 == 0) {
        each(a.count / 8, [&](i64 i) {
            const v8 x = load8((const T *)a.a + i * 8);
            const v8 y = load8((const T *)a.b + (a.period == a.count ? i : i % (a.period / 8)) * 8);
            float of = 0;
            EACH8(j) of += (x.f[j] - y.f[j]) * (x.f[j] - y.f[j]);
            sum += of;
        });
    } else
        each(a.count, [&](i64 i) {
            const float by = value((const T *)a.a + i) - value((const T *)a.b + i % a.period);
            sum += by * by;
        });
    sum = block_sum(sum);
    if (THREAD == 0) a.parts[BLOCK] = sum;
}
BOTH(mse, mse_args)

template <class T> static __device__ void mse_backward(const mse_args &a) {
    const float scale = a.scale * *a.dloss;
    if (a.period % 8 == 0) {
        each(a.count / 8, [&](i64 i) {
            v8 x = load8((const T *)a.a + i * 8);
            const v8 y = load8((const T *)a.b + (a.period == a.count ? i : i % (a.period / 8)) * 8);
            EACH8(j) x.f[j] = scale * (x.f[j] - y.f[j]);
            store8((T *)a.da + i * 8, x);
        });
        return;
    }
    each(a.count, [&](i64 i) { /* parameters alone */
        ((float *)a.da)[i] = scale * (value((const T *)a.a + i) - value((const T *)a.b + i % a.period));
    });
}
BOTH(mse_backward, mse_args)

struct variation_args {
    const void *src;
    float *parts; /* forward: one for each block */
    void *dsrc;   /* backward */
    const float *dloss;
    dims d;
};
template <class T> static __device__ void variation(const variation_args &a) {
    float sum = 0;
    each_pixel(a.d, [&](int n, int g, int y, int x, int p) {
        const T *here = at((const T *)a.src, a.d.groups, (i64)a.d.h * a.d.w, n, p, g);
        const i64 pixel = (i64)a.d.groups * 8;
        const v8 v = load8(here), left = x ? load8(here - pixel) : v, above = y ? load8(here - a.d.w * pixel) : v;
        float of = 0;
        EACH8(j) of += (v.f[j] - left.f[j]) * (v.f[j] - left.f[j]) + (v.f[j] - above.f[j]) * (v.f[j] - above.f[j]);
        sum += of;
    });
    sum = block_sum(sum);
    if (THREAD == 0) a.parts[BLOCK] = sum;
}
BOTH(variation, variation_args)

template <class T> static __device__ void variation_backward(const variation_args &a) {
    const float scale = 2 * *a.dloss;
    each_pixel(a.d, [&](int n, int g, int y, int x, int p) {
        const T *here = at((const T *)a.src, a.d.groups, (i64)a.d.h * a.d.w, n, p, g);
        const i64 pixel = (i64)a.d.groups * 8, row = a.d.w * pixel;
        v8 v = load8(here);
        const v8 left = x ? load8(here - pixel) : v, right = x + 1 < a.d.w ? load8(here + pixel) : v;
        const v8 above = y ? load8(here - row) : v, below = y + 1 < a.d.h ? load8(here + row) : v;
        EACH8(j) {
            const float x = v.f[j];
            v.f[j] = scale * ((x - left.f[j]) + (x - right.f[j]) + (x - above.f[j]) + (x - below.f[j]));
        }
        store8(at((T *)a.dsrc, a.d.groups, (i64)a.d.h * a.d.w, n, p, g), v);
    });
}
BOTH(variation_backward, variation_args)

/* ---- Gram matrices ---- */

struct gram_args {
    void *packed; /* N matrices of padded channels */
    float *flat;  /* N matrices of channels */
    int n, c, groups;
};
/* G + Gᵀ, which multiplies the features in the gradient. */
template <class T> static __device__ void gram_pack(const gram_args &a) {
    const int wide = a.groups * 8;
    each((i64)a.n * wide * a.groups, [&](i64 i) {
        const int g = (int)(i % a.groups), r = (int)(i / a.groups % wide);
        const float *m = a.flat + i / a.groups / wide * a.c * a.c;
        v8 v;
        EACH8(j) {
            const int c = g * 8 + j;
            v.f[j] = r < a.c && c < a.c ? m[(i64)r * a.c + c] + m[(i64)c * a.c + r] : 0;
        }
        store8((T *)a.packed + i * 8, v);
    });
}
BOTH(gram_pack, gram_args)

static __device__ void gram_unpack(const gram_args &a) {
    const i64 wide = a.groups * 8;
    each((i64)a.n * a.c * a.c, [&](i64 i) {
        const i64 c = i % a.c, r = i / a.c % a.c, n = i / a.c / a.c;
        a.flat[i] = ((const float *)a.packed)[(n * wide + r) * wide + c];
    });
}
KERNEL(gram_unpack_f32, gram_args, gram_unpack(a))

/* ---- the optimiser ---- */

/* All parameters in one launch: a block takes PIECE elements of one of them. Of a
   tensor, kernels use the arrays that they need. */
enum { PIECE = 8 * THREADS };
struct tensor {
    float *p, *m, *v;
    const float *g;
    i64 count;
};
struct piece {
    int tensor, from; /* from: in pieces */
};
struct adam_settings {
    float rate, root, beta1, rest1, beta2, rest2, eps, clip; /* rest: 1 - beta; clip: 0 is off */
};
struct adam_args {
    const tensor *tensors;
    const piece *pieces;
    const adam_settings *settings; /* Adam's: in memory, for they change from step to step */
    const float *norm;             /* squared, of all gradients; or null */
    float *parts;                  /* SquaredNorm's: one for each block */
};
static __device__ void squared_norm(const adam_args &a) {
    const piece at = a.pieces[BLOCK];
    const tensor &t = a.tensors[at.tensor];
    const i64 i = (i64)at.from * PIECE + THREAD * 4;
    float sum = 0;
    UNROLL for (int k = 0; k < PIECE; k += 4 * THREADS) {
        float of = 0;
        if (i + k + 4 <= t.count) {
            const f4 g = *(const f4 *)(t.g + i + k);
            UNROLL for (int j = 0; j < 4; j++) of += g[j] * g[j];
        } else
            for (i64 j = i + k; j < t.count; j++) of += t.g[j] * t.g[j];
        sum += of;
    }
    sum = block_sum(sum);
    if (THREAD == 0) a.parts[BLOCK] = sum;
}
KERNEL(squared_norm_f32, adam_args, squared_norm(a))

/* Collects parameters in one place: g into p. */
static __device__ void collect(const adam_args &a) {
    const piece at = a.pieces[BLOCK];
    const tensor &t = a.tensors[at.tensor];
    const i64 first = (i64)at.from * PIECE + THREAD;
    UNROLL for (int k = 0; k < PIECE; k += THREADS)
        if (first + k < t.count) t.p[first + k] = t.g[first + k];
}
KERNEL(collect_f32, adam_args, collect(a))

/* Memory of parameters ends on whole vectors, so what lies behind the last
   element may be written. */
static __device__ void adam(const adam_args &a) {
    const adam_settings s = *a.settings;
    float clip = 1;
    if (s.clip > 0) {
        clip = s.clip / (root(*a.norm) + 1e-6f);
        clip = clip > 1 ? 1 : clip;
    }
    const piece at = a.pieces[BLOCK];
    const tensor &t = a.tensors[at.tensor];
    UNROLL for (int k = 0; k < PIECE; k += 4 * THREADS) {
        const i64 i = (i64)at.from * PIECE + k + THREAD * 4;
        if (i >= t.count) break;
        const f4 g = *(const f4 *)(t.g + i);
        f4 p = *(f4 *)(t.p + i), m = *(f4 *)(t.m + i), v = *(f4 *)(t.v + i);
        UNROLL for (int j = 0; j < 4; j++) {
            const float grad = clip * g[j];
            m[j] = s.beta1 * m[j] + s.rest1 * grad;
            v[j] = s.beta2 * v[j] + s.rest2 * grad * grad;
            p[j] -= s.rate * m[j] / (root(v[j]) / s.root + s.eps);
        }
        *(f4 *)(t.p + i) = p, *(f4 *)(t.m + i) = m, *(f4 *)(t.v + i) = v;
    }
}
KERNEL(adam_f32, adam_args, adam(a))
