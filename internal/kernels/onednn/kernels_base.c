//go:build onednn && cgo

/* The kernels for every other processor. */
#define BLK 8
#define SN_NAME "base"
#define SN_TABLE sn_kernels_base
#include "kernels_impl.h"
