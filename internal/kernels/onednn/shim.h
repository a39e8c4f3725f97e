/* oneDNN behind a small C interface: convolutions that choose their own
   algorithm, layouts and weight packing, and one growing scratch buffer.
   The differences between oneDNN 2 and 3 stay inside shim.c. */
#ifndef STYLENET_SHIM_H
#define STYLENET_SHIM_H
#include "kernels.h"

typedef struct sn_engine sn_engine;
typedef struct sn_conv sn_conv;

/* What a convolution computes. */
enum { SN_CONV_FORWARD, SN_CONV_BACKWARD_DATA, SN_CONV_BACKWARD_WEIGHTS };

typedef struct {
    int what;
    sn_dims src, dst;         /* of the forward convolution */
    int kh, kw, stride;
    sn_border pad;
    int relu;                 /* forward only */
    int bias;                 /* a bias follows (forward) or its gradient is wanted (backward weights) */
    int frozen;               /* weights are packed once, at the first run */
    int exact;                /* no Winograd */
} sn_conv_spec;

/* All functions return 0 or an error: a dnnl_status_t, or -1 for out of memory. */
const char *sn_status(int status);
/* "2.6.3" and so on: the library at run time. */
void sn_version(int *major, int *minor, int *patch);

int sn_engine_create(sn_engine **e, const sn_kernels *k, int threads);
void sn_engine_destroy(sn_engine *e);
size_t sn_engine_bytes(const sn_engine *e); /* scratch memory held */
/* a scratch buffer of at least count floats, valid until the next call */
int sn_engine_scratch(sn_engine *e, size_t count, void **out);
const char *sn_isa(void);

int sn_conv_create(sn_conv **out, sn_engine *e, const sn_conv_spec *s);
/* forward: src, w, b -> dst; backward data: dst, w -> src;
   backward weights: src, dst -> w, b */
int sn_conv_run(sn_conv *c, void *src, void *w, void *b, void *dst);
void sn_conv_destroy(sn_conv *c);
size_t sn_conv_bytes(const sn_conv *c); /* packed weights held */

void *sn_alloc(size_t bytes); /* aligned, huge pages where they help; NULL when out of memory */
#endif
