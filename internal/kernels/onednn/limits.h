/* What the processor does at the most: see kernels.Limits. */
#ifndef STYLENET_LIMITS_H
#define STYLENET_LIMITS_H
#include <stddef.h>

/* Operations a second of multiply-adds between registers, on that many
   threads; isa is the name of a table of kernels. */
double sn_peak_flops(const char *isa, int threads);
/* Bytes a second, read and written ones added up, of copying memory; the
   source and the destination are bytes/2 long each. 0 without memory. */
double sn_bandwidth(size_t bytes, int threads);
#endif
