//go:build cudnn

package cuda

/*
#cgo LDFLAGS: -ldl
#include <stdlib.h>
#include "libraries.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"
)

// libraries are NVIDIA's, opened when the first device asks for them. They stay
// open: unloading them is not safe while their threads run.
type libraries struct {
	driver C.nv_driver
	cudnn  C.nv_cudnn
	cublas C.nv_cublas

	driverVersion, cudnnVersion, cublasVersion version
}

// version counts major, minor and patch level.
type version [3]int

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

// cudaVersion reads the number that CUDA gives itself, such as 12040.
func cudaVersion(n int) version { return version{n / 1000, n % 1000 / 10, n % 10} }

// cudnnVersion reads 8907 as 8.9.7 and 90100 as 9.1.0.
func cudnnVersion(n int) version {
	if n < 90000 {
		return version{n / 1000, n % 1000 / 100, n % 100}
	}
	return version{n / 10000, n % 10000 / 100, n % 100}
}

// status turns a status of libcuda into an error.
func (l *libraries) status(what string, code C.int) error {
	if code == 0 {
		return nil
	}
	return fmt.Errorf("%s: %s", what, C.GoString(C.nv_driver_error(&l.driver, code)))
}

// library says how to find one of the libraries.
type library struct {
	title    string   // for people
	variable string   // of the environment, which names a file
	files    []string // the best first
	folders  []string // where files may lie that the system's loader does not find
	get      string   // how to get it
}

const driverSource = "NVIDIA's driver for the GPU (https://www.nvidia.com/drivers, in a container --gpus all)"

// openLibraries finds all of them. The driver is the first: what it is decides
// which of the others it can run.
func openLibraries() (*libraries, error) {
	l := &libraries{}
	driver := library{
		title: "libcuda", variable: "STYLENET_LIBCUDA", files: []string{"libcuda.so.1"},
		folders: []string{"/usr/lib/wsl/lib", "/usr/local/nvidia/lib64"},
		get:     "install " + driverSource,
	}
	if err := driver.open(l.bindDriver); err != nil {
		return nil, err
	}
	major := l.driverVersion[0]
	site := sitePackages()
	pip := func(names ...string) (folders []string) {
		folders = []string{"/usr/local/cuda/lib64"}
		if home := os.Getenv("CUDA_HOME"); home != "" {
			folders = append([]string{filepath.Join(home, "lib64")}, folders...)
		}
		for _, s := range site {
			for _, n := range names {
				folders = append(folders, filepath.Join(s, "nvidia", n, "lib"))
			}
		}
		return folders
	}
	cudnn := library{
		title: "cuDNN 8 or 9", variable: "STYLENET_CUDNN", files: []string{"libcudnn.so.9", "libcudnn.so.8", "libcudnn.so"},
		folders: pip("cudnn"),
		get:     fmt.Sprintf("get it with pip install nvidia-cudnn-cu%d, or from https://developer.nvidia.com/cudnn", major),
	}
	cudart := 0 // the CUDA that cuDNN is for
	err := cudnn.open(func(file string, lib unsafe.Pointer) (err error) {
		cudart, err = l.bindCUDNN(file, lib)
		return err
	})
	if err != nil {
		return nil, err
	}
	cublas := library{
		title: "cuBLAS 11, 12 or 13", variable: "STYLENET_CUBLAS",
		files:   []string{"libcublas.so.13", "libcublas.so.12", "libcublas.so.11", "libcublas.so"},
		folders: pip("cublas", fmt.Sprintf("cu%d", cudart), fmt.Sprintf("cu%d", major)),
		get:     fmt.Sprintf("get it with pip install %s, or with CUDA from https://developer.nvidia.com/cuda-downloads", cublasPackage(major)),
	}
	// cuDNN opens a cuBLAS, too: the one that is open already, when it fits.
	slices.SortStableFunc(cublas.files, func(a, b string) int {
		fits := fmt.Sprintf("libcublas.so.%d", cudart)
		switch {
		case a == fits && b != fits:
			return -1
		case b == fits && a != fits:
			return 1
		}
		return 0
	})
	if err := cublas.open(l.bindCUBLAS); err != nil {
		return nil, err
	}
	return l, nil
}

func cublasPackage(major int) string {
	if major >= 13 {
		return "nvidia-cublas"
	}
	return fmt.Sprintf("nvidia-cublas-cu%d", major)
}

// sitePackages lists the folders of Python packages in the usual places, those
// of an active environment first.
func sitePackages() []string {
	var roots, found []string
	for _, name := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		if root := os.Getenv(name); root != "" {
			roots = append(roots, root)
		}
	}
	if python, err := exec.LookPath("python3"); err == nil { // of an environment that is not active
		roots = append(roots, filepath.Dir(filepath.Dir(python)))
	}
	if home, err := os.UserHomeDir(); err == nil {
		roots = append(roots, filepath.Join(home, ".local"))
	}
	roots = append(roots, "/usr/local", "/usr", "/opt/conda")
	for _, root := range roots {
		for _, packages := range []string{"lib/python3*/site-packages", "lib/python3*/dist-packages", "lib64/python3*/site-packages"} {
			// The pattern is well formed; roots with a star in them find nothing.
			names, _ := filepath.Glob(filepath.Join(root, packages))
			for _, name := range names {
				if real, err := filepath.EvalSymlinks(name); err == nil && !slices.Contains(found, real) {
					found = append(found, real)
				}
			}
		}
	}
	return found
}

// open tries each file in turn, until use accepts one. The error lists what was
// looked for and where, and why what was found will not do.
func (l library) open(use func(file string, lib unsafe.Pointer) error) error {
	if file := os.Getenv(l.variable); file != "" {
		if err := open(file, use); err != nil {
			return fmt.Errorf("%s: $%s: %w", l.title, l.variable, err)
		}
		return nil
	}
	var refused []string
	try := func(file string) bool {
		err := open(file, use)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			refused = append(refused, err.Error())
		}
		return err == nil
	}
	if slices.ContainsFunc(l.files, try) {
		return nil
	}
	var looked []string
	for _, folder := range l.folders {
		if _, err := os.Stat(folder); err != nil {
			continue
		}
		looked = append(looked, folder)
		for _, name := range l.files {
			if try(filepath.Join(folder, name)) {
				return nil
			}
		}
	}
	msg := fmt.Sprintf("%s was not found: looked for %s where the system's loader looks ($LD_LIBRARY_PATH, ldconfig)", l.title, strings.Join(l.files, ", "))
	if len(looked) > 0 {
		msg += " and in " + strings.Join(looked, ", ")
	}
	if len(refused) > 0 {
		msg += "; " + strings.Join(refused, "; ")
	}
	return fmt.Errorf("%s; %s; $%s may name the file", msg, l.get, l.variable)
}

// open opens one file, a path or a name that the system's loader looks for.
func open(file string, use func(file string, lib unsafe.Pointer) error) error {
	if strings.Contains(file, "/") {
		if _, err := os.Stat(file); err != nil {
			return err
		}
	}
	name := C.CString(file)
	defer C.free(unsafe.Pointer(name))
	var failure *C.char
	lib := C.nv_open(name, &failure)
	if lib == nil {
		why := C.GoString(failure)
		if strings.HasPrefix(why, file+": cannot open shared object file: No such file") {
			return os.ErrNotExist // and not: a library that it needs
		}
		return fmt.Errorf("%s cannot be opened (%s)", file, why)
	}
	if err := use(file, lib); err != nil {
		C.nv_close(lib)
		return err
	}
	return nil
}

func lacks(file string, missing *C.char) error {
	return fmt.Errorf("%s lacks %s: it is another library, or too old", file, C.GoString(missing))
}

func (l *libraries) bindDriver(file string, lib unsafe.Pointer) error {
	l.driver = C.nv_driver{}
	if missing := C.nv_bind_driver(lib, &l.driver); missing != nil {
		return lacks(file, missing)
	}
	if err := l.status("cuInit", C.nv_init(&l.driver)); err != nil {
		return fmt.Errorf("%s finds no GPU that works (%w)", file, err)
	}
	var n C.int
	if err := l.status("cuDriverGetVersion", C.nv_driver_version(&l.driver, &n)); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if l.driverVersion = cudaVersion(int(n)); l.driverVersion[0] < 11 {
		return fmt.Errorf("%s is for CUDA %d, too old: 11 is the least", file, l.driverVersion[0])
	}
	return nil
}

// newer reports a library for a CUDA that the driver does not know.
func (l *libraries) newer(file string, cuda int) error {
	if cuda <= l.driverVersion[0] {
		return nil
	}
	return fmt.Errorf("%s is for CUDA %d, and the driver knows CUDA %d at the most", file, cuda, l.driverVersion[0])
}

func (l *libraries) bindCUDNN(file string, lib unsafe.Pointer) (cudart int, err error) {
	// An old library lacks calls, and its version says it better.
	l.cudnn = C.nv_cudnn{}
	missing := C.nv_bind_cudnn(lib, &l.cudnn)
	if l.cudnn.cudnnGetVersion == nil {
		return 0, lacks(file, missing)
	}
	l.cudnnVersion = cudnnVersion(int(C.nv_cudnn_version(&l.cudnn)))
	switch {
	case l.cudnnVersion[0] < 8:
		return 0, fmt.Errorf("%s is cuDNN %s, too old", file, l.cudnnVersion)
	case missing != nil:
		return 0, lacks(fmt.Sprintf("%s (cuDNN %s)", file, l.cudnnVersion), missing)
	}
	cudart = int(C.nv_cudnn_cudart(&l.cudnn)) / 1000
	return cudart, l.newer(file, cudart)
}

func (l *libraries) bindCUBLAS(file string, lib unsafe.Pointer) error {
	l.cublas = C.nv_cublas{}
	missing := C.nv_bind_cublas(lib, &l.cublas)
	if l.cublas.cublasGetProperty == nil {
		return lacks(file, missing)
	}
	var v [3]C.int
	if code := C.nv_cublas_version(&l.cublas, &v[0]); code != 0 {
		return fmt.Errorf("%s does not tell its version (status %d)", file, code)
	}
	l.cublasVersion = version{int(v[0]), int(v[1]), int(v[2])}
	switch {
	case v[0] < 11:
		return fmt.Errorf("%s is cuBLAS %s, too old", file, l.cublasVersion)
	case missing != nil:
		return lacks(fmt.Sprintf("%s (cuBLAS %s)", file, l.cublasVersion), missing)
	}
	return l.newer(file, l.cublasVersion[0])
}
