//go:build onednn && cgo

#define _GNU_SOURCE
#include "shim.h"
#include <oneapi/dnnl/dnnl.h>
#include <omp.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#define TRY(call)                        \
    do {                                 \
        int status_ = (int)(call);       \
        if (status_ != 0) return status_; \
    } while (0)

enum { OUT_OF_MEMORY = -1 };

const char *sn_status(int s) {
    switch (s) {
    case 0: return "success";
    case OUT_OF_MEMORY:
    case dnnl_out_of_memory: return "out of memory";
    case dnnl_invalid_arguments: return "invalid arguments";
    case dnnl_unimplemented: return "not implemented by this oneDNN";
    default: return "run-time error in oneDNN";
    }
}

void sn_version(int *major, int *minor, int *patch) {
    const dnnl_version_t *v = dnnl_version();
    *major = v->major, *minor = v->minor, *patch = v->patch;
}

const char *sn_isa(void) {
    dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    if (isa >= dnnl_cpu_isa_avx512_core) return "AVX-512";
    if (isa >= dnnl_cpu_isa_avx2) return "AVX2";
    if (isa >= dnnl_cpu_isa_sse41) return "SSE4.1";
    return "portable";
}

void *sn_alloc(size_t bytes) {
    size_t align = bytes >= (2u << 20) ? (2u << 20) : 64;
    void *p = NULL;
    /* 64 readable bytes past the end: kernels read whole vectors. */
    if (posix_memalign(&p, align, bytes + 64)) return NULL;
#if defined(__linux__)
    if (align > 64) madvise(p, bytes, MADV_HUGEPAGE);
#endif
    return p;
}

struct sn_engine {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    const sn_kernels *k;
    char *scratch;
    size_t scratch_bytes;
};

int sn_engine_create(sn_engine **out, const sn_kernels *k, int threads) {
    omp_set_num_threads(threads);
    omp_set_dynamic(0);
#if defined(__GLIBC__)
    /* Else glibc, once it has freed a large block, takes the next ones from
       heaps that it hardly ever gives back. */
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
    sn_engine *e = calloc(1, sizeof *e);
    if (!e) return OUT_OF_MEMORY;
    e->k = k;
    int s = dnnl_engine_create(&e->engine, dnnl_cpu, 0);
    if (!s) s = dnnl_stream_create(&e->stream, e->engine, dnnl_stream_in_order);
    if (s) {
        sn_engine_destroy(e);
        return s;
    }
    *out = e;
    return 0;
}

void sn_engine_destroy(sn_engine *e) {
    if (!e) return;
    if (e->stream) dnnl_stream_destroy(e->stream);
    if (e->engine) dnnl_engine_destroy(e->engine);
    free(e->scratch);
    free(e);
}

size_t sn_engine_bytes(const sn_engine *e) { return e->scratch_bytes; }

static int grow(sn_engine *e, size_t bytes) {
    if (bytes <= e->scratch_bytes) return 0;
    char *p = sn_alloc(bytes);
    if (!p) return OUT_OF_MEMORY;
    free(e->scratch);
    e->scratch = p, e->scratch_bytes = bytes;
    return 0;
}

int sn_engine_scratch(sn_engine *e, size_t count, void **out) {
    TRY(grow(e, count * sizeof(float)));
    *out = e->scratch;
    return 0;
}

/* One tensor on its way between the caller's layout and the primitive's. */
typedef struct {
    dnnl_memory_t user, own; /* own is user where the layouts agree */
    dnnl_primitive_t reorder;
    dnnl_memory_t reorder_scratch; /* NULL where none is wanted */
    size_t offset, scratch_offset; /* of own's memory, and the reorder's, in the scratch buffer */
} tensor;

struct sn_conv {
    sn_engine *e;
    sn_conv_spec spec;
    dnnl_primitive_t prim;
    tensor src, wei, dst;
    dnnl_memory_t bias, scratchpad;
    size_t scratchpad_offset, widen_offset, total;
    float *packed; /* frozen weights */
    size_t packed_bytes;
    int is_packed;
    int widened;        /* the primitive sees whole blocks of channels: */
    int wide_o, wide_i; /* these dimensions of the weights */
};

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t md_t; /* an opaque pointer */
typedef const_dnnl_memory_desc_t cmd_t;
static void md_free(md_t md) { if (md) dnnl_memory_desc_destroy(md); }
static int md_make(md_t *md, int nd, const dnnl_dims_t dims, dnnl_data_type_t type, dnnl_format_tag_t tag) {
    return dnnl_memory_desc_create_with_tag(md, nd, dims, type, tag);
}
static int md_equal(cmd_t a, cmd_t b) { return dnnl_memory_desc_equal(a, b); }
static size_t md_size(cmd_t a) { return dnnl_memory_desc_get_size(a); }
static cmd_t query_md(dnnl_primitive_desc_t pd, dnnl_query_t q) { return dnnl_primitive_desc_query_md(pd, q, 0); }
#else
typedef dnnl_memory_desc_t md_t; /* a struct */
typedef const dnnl_memory_desc_t *cmd_t;
static void md_free(md_t md) { (void)md; }
static int md_make(md_t *md, int nd, const dnnl_dims_t dims, dnnl_data_type_t type, dnnl_format_tag_t tag) {
    return dnnl_memory_desc_init_by_tag(md, nd, dims, type, tag);
}
static int md_equal(cmd_t a, cmd_t b) { return dnnl_memory_desc_equal(a, b); }
static size_t md_size(cmd_t a) { return dnnl_memory_desc_get_size(a); }
static cmd_t query_md(dnnl_primitive_desc_t pd, dnnl_query_t q) { return dnnl_primitive_desc_query_md(pd, q, 0); }
#endif
#if DNNL_VERSION_MAJOR >= 3
#define REF(md) (md)
#else
#define REF(md) (&(md))
#endif

static dnnl_format_tag_t tag_of(int blk) {
    return blk == 16 ? dnnl_nChw16c : blk == 8 ? dnnl_nChw8c : dnnl_nchw;
}

/* The element of a map of the caller's. */
static dnnl_data_type_t type_of(const sn_conv *c, int blk) {
    return blk != 1 && c->e->k->size == 2 ? dnnl_bf16 : dnnl_f32;
}

static size_t align_up(size_t n) { return (n + 4095) & ~(size_t)4095; }

/* Reserves room in the scratch buffer. */
static size_t reserve(sn_conv *c, size_t bytes) {
    size_t at = c->total;
    c->total += align_up(bytes);
    return at;
}

/* Binds a tensor: the caller's layout user, the primitive's own. to_own says
   which way the data flows. keep leaves own's memory to the caller. */
static int bind(sn_conv *c, tensor *t, cmd_t user, cmd_t own, int to_own, int keep) {
    dnnl_engine_t eng = c->e->engine;
    TRY(dnnl_memory_create(&t->user, user, eng, DNNL_MEMORY_NONE));
    if (md_equal(user, own)) {
        t->own = t->user;
        return 0;
    }
    TRY(dnnl_memory_create(&t->own, own, eng, DNNL_MEMORY_NONE));
    if (!keep) t->offset = reserve(c, md_size(own));
    dnnl_primitive_attr_t attr = NULL;
    TRY(dnnl_primitive_attr_create(&attr));
    TRY(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
    dnnl_primitive_desc_t pd = NULL;
    int s = to_own ? dnnl_reorder_primitive_desc_create(&pd, user, eng, own, eng, attr)
                   : dnnl_reorder_primitive_desc_create(&pd, own, eng, user, eng, attr);
    dnnl_primitive_attr_destroy(attr);
    TRY(s);
    cmd_t pad = query_md(pd, dnnl_query_scratchpad_md);
    if (pad && md_size(pad) > 0) {
        s = dnnl_memory_create(&t->reorder_scratch, pad, eng, DNNL_MEMORY_NONE);
        t->scratch_offset = reserve(c, md_size(pad));
    }
    if (!s) s = dnnl_primitive_create(&t->reorder, pd);
    dnnl_primitive_desc_destroy(pd);
    return s;
}

static void unbind(tensor *t) {
    if (t->own && t->own != t->user) dnnl_memory_destroy(t->own);
    if (t->user) dnnl_memory_destroy(t->user);
    if (t->reorder_scratch) dnnl_memory_destroy(t->reorder_scratch);
    if (t->reorder) dnnl_primitive_destroy(t->reorder);
}

/* The primitive's shape of a convolution. */
typedef struct {
    dnnl_dims_t src, wei, dst, bias, strides, dilates, pad_l, pad_r;
    dnnl_format_tag_t src_tag, dst_tag;
    dnnl_data_type_t src_type, wei_type, dst_type;
} geometry;

static int make_pd(dnnl_primitive_desc_t *pd, sn_conv *c, int what, const geometry *g, int bias, int relu, int winograd) {
    dnnl_engine_t eng = c->e->engine;
    md_t src = {0}, wei = {0}, dst = {0}, b = {0};
    TRY(md_make(&src, 4, g->src, g->src_type, g->src_tag));
    TRY(md_make(&wei, 4, g->wei, g->wei_type, dnnl_format_tag_any));
    TRY(md_make(&dst, 4, g->dst, g->dst_type, g->dst_tag));
    TRY(md_make(&b, 1, g->bias, dnnl_f32, dnnl_x));
    dnnl_primitive_attr_t attr = NULL;
    TRY(dnnl_primitive_attr_create(&attr));
    int s = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (!s && relu) {
        dnnl_post_ops_t ops = NULL;
        s = dnnl_post_ops_create(&ops);
#if DNNL_VERSION_MAJOR >= 3
        if (!s) s = dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_relu, 0.f, 0.f);
#else
        if (!s) s = dnnl_post_ops_append_eltwise(ops, 1.f, dnnl_eltwise_relu, 0.f, 0.f);
#endif
        if (!s) s = dnnl_primitive_attr_set_post_ops(attr, ops);
        if (ops) dnnl_post_ops_destroy(ops);
    }
    dnnl_alg_kind_t alg = winograd ? dnnl_convolution_winograd : dnnl_convolution_direct;
    /* Only frozen weights may live in Winograd's transformed layout. */
    dnnl_prop_kind_t prop = c->spec.frozen ? dnnl_forward_inference : dnnl_forward_training;
#if DNNL_VERSION_MAJOR >= 3
    if (!s) switch (what) {
        case SN_CONV_FORWARD:
            s = dnnl_convolution_forward_primitive_desc_create(pd, eng, prop, alg, src, wei, bias ? b : NULL, dst, g->strides, g->dilates, g->pad_l, g->pad_r, attr);
            break;
        case SN_CONV_BACKWARD_DATA:
            s = dnnl_convolution_backward_data_primitive_desc_create(pd, eng, alg, src, wei, dst, g->strides, g->dilates, g->pad_l, g->pad_r, NULL, attr);
            break;
        default:
            s = dnnl_convolution_backward_weights_primitive_desc_create(pd, eng, alg, src, wei, bias ? b : NULL, dst, g->strides, g->dilates, g->pad_l, g->pad_r, NULL, attr);
        }
#else
    dnnl_convolution_desc_t d;
    if (!s) switch (what) {
        case SN_CONV_FORWARD:
            s = dnnl_dilated_convolution_forward_desc_init(&d, prop, alg, &src, &wei, bias ? &b : NULL, &dst, g->strides, g->dilates, g->pad_l, g->pad_r);
            break;
        case SN_CONV_BACKWARD_DATA:
            s = dnnl_dilated_convolution_backward_data_desc_init(&d, alg, &src, &wei, &dst, g->strides, g->dilates, g->pad_l, g->pad_r);
            break;
        default:
            s = dnnl_dilated_convolution_backward_weights_desc_init(&d, alg, &src, &wei, bias ? &b : NULL, &dst, g->strides, g->dilates, g->pad_l, g->pad_r);
        }
    if (!s) s = dnnl_primitive_desc_create(pd, &d, attr, eng, NULL);
#endif
    dnnl_primitive_attr_destroy(attr);
    md_free(src), md_free(wei), md_free(dst), md_free(b);
    return s;
}

static void set4(dnnl_dims_t d, int n, int c, int h, int w) { d[0] = n, d[1] = c, d[2] = h, d[3] = w; }

static int build(sn_conv *c) {
    const sn_conv_spec *s = &c->spec;
    int blk = c->e->k->blk;
    sn_dims src = s->src, dst = s->dst;
    const int what = s->what;
    /* oneDNN has no fast kernels for maps of less than a block of channels in
       blocked layout. Their padding lanes are zero, so it may take them for
       channels, with weights of zero. */
    c->wide_o = dst.c, c->wide_i = src.c;
    if (src.blk != 1 && src.c < blk) src.c = c->wide_i = blk, c->widened = 1;
    if (dst.blk != 1 && dst.c < blk) dst.c = c->wide_o = blk, c->widened = 1;

    geometry g = {0};
    set4(g.src, src.n, src.c, src.h, src.w);
    set4(g.dst, dst.n, dst.c, dst.h, dst.w);
    set4(g.wei, dst.c, src.c, s->kh, s->kw);
    g.bias[0] = dst.c;
    g.strides[0] = g.strides[1] = s->stride;
    g.pad_l[0] = s->pad.top, g.pad_l[1] = s->pad.left, g.pad_r[0] = s->pad.bottom, g.pad_r[1] = s->pad.right;
    md_t user_src = {0}, user_wei = {0}, user_dst = {0};
    /* With maps in bfloat16 the primitive reads nothing else. Its result is
       float where it is not such a map: weights' gradients and plain maps. */
    dnnl_data_type_t half = c->e->k->size == 2 ? dnnl_bf16 : dnnl_f32;
    /* Kernel columns that see nothing but the border get numbers at random from
       oneDNN 2.6's bfloat16. */
    if (what == SN_CONV_BACKWARD_WEIGHTS && src.w < s->kw) half = dnnl_f32;
    dnnl_data_type_t out_type = type_of(c, dst.blk);
    g.src_type = what == SN_CONV_BACKWARD_DATA ? type_of(c, src.blk) : half;
    g.wei_type = what == SN_CONV_BACKWARD_WEIGHTS ? dnnl_f32 : half;
    g.dst_type = what == SN_CONV_FORWARD ? out_type : half;
    TRY(md_make(&user_src, 4, g.src, type_of(c, src.blk), tag_of(src.blk)));
    TRY(md_make(&user_wei, 4, g.wei, dnnl_f32, dnnl_oihw));
    TRY(md_make(&user_dst, 4, g.dst, out_type, tag_of(dst.blk)));

    dnnl_primitive_desc_t pd = NULL;
    int status = dnnl_unimplemented;
    /* First the caller's layouts, Winograd before direct; then any layout for
       plain maps, which oneDNN's fast kernels do not all take. */
    for (int any = 0; any < 2 && status; any++)
        for (int winograd = !s->exact && half == dnnl_f32 && s->kh == 3 && s->kw == 3 && s->stride == 1 && !any; winograd >= 0 && status; winograd--) {
            g.src_tag = any && src.blk == 1 ? dnnl_format_tag_any : tag_of(src.blk);
            g.dst_tag = any && dst.blk == 1 ? dnnl_format_tag_any : tag_of(dst.blk);
            if (!any && !winograd && dst.blk == 1) g.dst_tag = dnnl_format_tag_any;
            status = make_pd(&pd, c, what, &g, s->bias, s->relu, winograd);
        }
    TRY(status);

    int weights_out = what == SN_CONV_BACKWARD_WEIGHTS;
    cmd_t own_src = query_md(pd, what == SN_CONV_BACKWARD_DATA ? dnnl_query_diff_src_md : dnnl_query_src_md);
    cmd_t own_wei = query_md(pd, weights_out ? dnnl_query_diff_weights_md : dnnl_query_weights_md);
    cmd_t own_dst = query_md(pd, what == SN_CONV_FORWARD ? dnnl_query_dst_md : dnnl_query_diff_dst_md);
    int keep = s->frozen && !weights_out;
    status = bind(c, &c->src, REF(user_src), own_src, what != SN_CONV_BACKWARD_DATA, 0);
    if (!status) status = bind(c, &c->wei, REF(user_wei), own_wei, !weights_out, keep);
    if (!status) status = bind(c, &c->dst, REF(user_dst), own_dst, what != SN_CONV_FORWARD, 0);
    if (!status && keep && (c->wei.reorder || c->widened)) {
        c->packed_bytes = md_size(own_wei);
        c->packed = sn_alloc(c->packed_bytes);
        if (!c->packed) status = OUT_OF_MEMORY;
    }
    if (!status && s->bias) {
        md_t b = {0};
        status = md_make(&b, 1, g.bias, dnnl_f32, dnnl_x);
        if (!status) status = dnnl_memory_create(&c->bias, REF(b), c->e->engine, DNNL_MEMORY_NONE);
        md_free(b);
    }
    if (!status) {
        cmd_t padmd = query_md(pd, dnnl_query_scratchpad_md);
        if (padmd && md_size(padmd) > 0) {
            status = dnnl_memory_create(&c->scratchpad, padmd, c->e->engine, DNNL_MEMORY_NONE);
            c->scratchpad_offset = reserve(c, md_size(padmd));
        }
    }
    if (!status) status = dnnl_primitive_create(&c->prim, pd);
    dnnl_primitive_desc_destroy(pd);
    md_free(user_src), md_free(user_wei), md_free(user_dst);
    TRY(status);

    if (c->widened) c->widen_offset = reserve(c, (size_t)dst.c * src.c * s->kh * s->kw * sizeof(float));
    return grow(c->e, c->total);
}

int sn_conv_create(sn_conv **out, sn_engine *e, const sn_conv_spec *s) {
    sn_conv *c = calloc(1, sizeof *c);
    if (!c) return OUT_OF_MEMORY;
    c->e = e, c->spec = *s;
    int status = build(c);
    if (status) {
        sn_conv_destroy(c);
        return status;
    }
    *out = c;
    return 0;
}

void sn_conv_destroy(sn_conv *c) {
    if (!c) return;
    if (c->prim) dnnl_primitive_destroy(c->prim);
    unbind(&c->src), unbind(&c->wei), unbind(&c->dst);
    if (c->bias) dnnl_memory_destroy(c->bias);
    if (c->scratchpad) dnnl_memory_destroy(c->scratchpad);
    free(c->packed);
    free(c);
}

size_t sn_conv_bytes(const sn_conv *c) { return c->packed_bytes; }

static int reorder(sn_conv *c, tensor *t, int to_own) {
    dnnl_exec_arg_t args[3] = {{DNNL_ARG_FROM, to_own ? t->user : t->own}, {DNNL_ARG_TO, to_own ? t->own : t->user}};
    int n = 2;
    if (t->reorder_scratch) {
        TRY(dnnl_memory_set_data_handle(t->reorder_scratch, c->e->scratch + t->scratch_offset));
        args[n++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, t->reorder_scratch};
    }
    return dnnl_primitive_execute(t->reorder, c->e->stream, n, args);
}

/* Points a tensor at the caller's data, and brings it into the primitive's
   layout where the primitive reads it. */
static int feed(sn_conv *c, tensor *t, void *data, int to_own) {
    TRY(dnnl_memory_set_data_handle(t->user, data));
    if (!t->reorder) return 0;
    TRY(dnnl_memory_set_data_handle(t->own, c->e->scratch + t->offset));
    return to_own ? reorder(c, t, 1) : 0;
}

/* Copies o x i kernels between weights of dst_i and src_i input channels. */
static void copy_weights(float *dst, int dst_i, const float *src, int src_i, int o, int i, int kernel) {
    for (int k = 0; k < o; k++)
        memcpy(dst + (size_t)k * dst_i * kernel, src + (size_t)k * src_i * kernel, (size_t)i * kernel * sizeof(float));
}

static int feed_weights(sn_conv *c, float *w) {
    if (c->is_packed) return 0;
    const sn_conv_spec *s = &c->spec;
    if (c->widened) {
        const int kernel = s->kh * s->kw;
        float *x = (float *)(c->e->scratch + c->widen_offset);
        memset(x, 0, (size_t)c->wide_o * c->wide_i * kernel * sizeof(float));
        copy_weights(x, c->wide_i, w, s->src.c, s->dst.c, s->src.c, kernel);
        w = x;
    }
    if (!c->packed) return feed(c, &c->wei, w, 1);
    if (c->wei.reorder) {
        TRY(dnnl_memory_set_data_handle(c->wei.user, w));
        TRY(dnnl_memory_set_data_handle(c->wei.own, c->packed));
        TRY(reorder(c, &c->wei, 1));
    } else {
        memcpy(c->packed, w, c->packed_bytes);
        TRY(dnnl_memory_set_data_handle(c->wei.own, c->packed));
    }
    c->is_packed = 1;
    return 0;
}

int sn_conv_run(sn_conv *c, void *src, void *w, void *b, void *dst) {
    const sn_conv_spec *s = &c->spec;
    const int what = s->what;

    TRY(feed(c, &c->src, src, what != SN_CONV_BACKWARD_DATA));
    TRY(feed(c, &c->dst, dst, what != SN_CONV_FORWARD));
    float *dw = c->widened ? (float *)(c->e->scratch + c->widen_offset) : w;
    if (what == SN_CONV_BACKWARD_WEIGHTS)
        TRY(feed(c, &c->wei, dw, 0));
    else
        TRY(feed_weights(c, w));
    if (c->bias) TRY(dnnl_memory_set_data_handle(c->bias, b));

    dnnl_exec_arg_t args[5];
    int n = 0;
    args[n++] = (dnnl_exec_arg_t){what == SN_CONV_BACKWARD_DATA ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, c->src.own};
    args[n++] = (dnnl_exec_arg_t){what == SN_CONV_BACKWARD_WEIGHTS ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS, c->wei.own};
    args[n++] = (dnnl_exec_arg_t){what == SN_CONV_FORWARD ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST, c->dst.own};
    if (c->bias) args[n++] = (dnnl_exec_arg_t){what == SN_CONV_FORWARD ? DNNL_ARG_BIAS : DNNL_ARG_DIFF_BIAS, c->bias};
    if (c->scratchpad) {
        TRY(dnnl_memory_set_data_handle(c->scratchpad, c->e->scratch + c->scratchpad_offset));
        args[n++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, c->scratchpad};
    }
    TRY(dnnl_primitive_execute(c->prim, c->e->stream, n, args));

    if (what == SN_CONV_BACKWARD_WEIGHTS && c->wei.reorder) TRY(reorder(c, &c->wei, 0));
    if (what == SN_CONV_BACKWARD_WEIGHTS && c->widened)
        copy_weights(w, s->src.c, dw, c->wide_i, s->dst.c, s->src.c, s->kh * s->kw);
    if (what == SN_CONV_BACKWARD_DATA && c->src.reorder) TRY(reorder(c, &c->src, 0));
    if (what == SN_CONV_FORWARD && c->dst.reorder) TRY(reorder(c, &c->dst, 0));
    return dnnl_stream_wait(c->e->stream);
}
