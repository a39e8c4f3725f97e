// Package cuda is the backend of package kernels for NVIDIA GPUs: kernels in
// CUDA C of our own, and cuDNN and cuBLAS for the convolutions and the matrix
// products. Without a build tag the package is empty.
//
// The tag cudnn builds it for GPUs. The tag cudahost builds it for tests on
// machines without one: the same device and the same kernels, compiled as C++
// and run on the processor.
//
// It owns layouts, memory and what is launched. It refuses to know networks.
//
// Feature maps are held as images of rows of pixels of channels (NHWC), the
// channels padded with zeros, which stay zeros, to groups of eight: 16 bytes in
// bf16. Maps of up to 4 channels are float32 in either precision. Parameters are
// row-major float32.
package cuda
