// Package onednn is the CPU backend of package kernels: kernels in C of our own,
// and oneDNN (2.6 and newer) for the convolutions that those do not take, both
// on arrays in oneDNN's blocked layout. It needs cgo and the build tag onednn; without them
// the package is empty.
//
// It owns layouts, memory, algorithm choice and the one OS thread that all
// kernels run on. It refuses to know networks.
package onednn
