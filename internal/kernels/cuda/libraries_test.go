//go:build cudnn

package cuda

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// compile runs a compiler of C or C++ on a file of testdata.
func compile(t *testing.T, compiler, source, to string, flags ...string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-shared", "-fPIC", "-I.", "-o", to, filepath.Join("testdata", source)}, flags...)
	if out, err := exec.Command(compiler, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", compiler, strings.Join(args, " "), err, out)
	}
}

func TestOpenLibraries(t *testing.T) {
	dir := t.TempDir()
	lib := func(name string, flags ...string) string {
		file := filepath.Join(dir, name)
		// The last of several definitions counts.
		compile(t, "cc", "library.c", file, append([]string{"-w", "-DINIT=0", "-DDRIVER=12040", "-DVERSION=90100", "-DCUDA=12"}, flags...)...)
		return file
	}
	good := lib("good.so")
	text := filepath.Join(dir, "text.so")
	if err := os.WriteFile(text, []byte("no library"), 0o644); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing.so")
	for _, c := range []struct {
		name, driver, cudnn, cublas string
		want                        []string // of the error, or the versions
	}{
		{"cuDNN 9", good, good, good, []string{"9.1.0", "12.1.2", "12.4.0"}},
		{"cuDNN 8", good, lib("dnn8.so", "-UVERSION", "-DVERSION=8907"), good, []string{"8.9.7"}},
		{"CUDA 11", lib("driver11.so", "-UDRIVER", "-DDRIVER=11080"), lib("cuda11.so", "-UCUDA", "-DCUDA=11"), lib("blas11.so", "-UCUDA", "-DCUDA=11"), []string{"11.8.0", "11.1.2"}},
		{"no driver", missing, good, good, []string{"libcuda: $STYLENET_LIBCUDA: ", "missing.so: no such file"}},
		{"no GPU", lib("init.so", "-UINIT", "-DINIT=100"), good, good, []string{"finds no GPU that works (cuInit: CUDA_ERROR_OF_A_TEST)"}},
		{"driver too old", lib("driver10.so", "-UDRIVER", "-DDRIVER=10020"), good, good, []string{"is for CUDA 10, too old"}},
		{"driver without graphs", lib("graphs.so", "-DcuGraphLaunch=other"), good, good, []string{"graphs.so lacks cuGraphLaunch: it is another library, or too old"}},
		{"cuDNN missing", good, missing, good, []string{"cuDNN 8 or 9: $STYLENET_CUDNN: ", "missing.so: no such file"}},
		{"cuDNN no library", good, text, good, []string{"text.so cannot be opened (", "too short"}},
		{"cuDNN another library", good, lib("nothing.so", "-DNOTHING"), good, []string{"nothing.so lacks cudnnGetVersion"}},
		{"cuDNN too old", good, lib("dnn7.so", "-UVERSION", "-DVERSION=7605"), good, []string{"dnn7.so is cuDNN 7.6.5, too old"}},
		{"cuDNN without a call", good, lib("call.so", "-DcudnnSetStream=other"), good, []string{"call.so (cuDNN 9.1.0) lacks cudnnSetStream"}},
		{"cuDNN too new", good, lib("dnn13.so", "-UCUDA", "-DCUDA=13"), good, []string{"dnn13.so is for CUDA 13, and the driver knows CUDA 12 at the most"}},
		{"cuBLAS missing", good, good, missing, []string{"cuBLAS 11, 12 or 13: $STYLENET_CUBLAS: ", "missing.so: no such file"}},
		{"cuBLAS too old", good, good, lib("blas10.so", "-UCUDA", "-DCUDA=10"), []string{"blas10.so is cuBLAS 10.1.2, too old"}},
		{"cuBLAS without a call", good, good, lib("gemm.so", "-DcublasGemmStridedBatchedEx=other"), []string{"gemm.so (cuBLAS 12.1.2) lacks cublasGemmStridedBatchedEx"}},
		{"cuBLAS too new", good, good, lib("blas13.so", "-UCUDA", "-DCUDA=13"), []string{"blas13.so is for CUDA 13, and the driver knows CUDA 12 at the most"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("STYLENET_LIBCUDA", c.driver)
			t.Setenv("STYLENET_CUDNN", c.cudnn)
			t.Setenv("STYLENET_CUBLAS", c.cublas)
			l, err := openLibraries()
			var got string
			if err != nil {
				got = err.Error()
			} else {
				got = strings.Join([]string{l.driverVersion.String(), l.cudnnVersion.String(), l.cublasVersion.String()}, " ")
			}
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("%s; want %q", got, want)
				}
			}
		})
	}
}

// The libraries of pip are found, and among several that for the same CUDA.
func TestPip(t *testing.T) {
	root := t.TempDir()
	site := filepath.Join(root, "lib", "python3.12", "site-packages", "nvidia")
	for file, cuda := range map[string]string{"cudnn/lib/libcudnn.so.9": "11", "cublas/lib/libcublas.so.11": "11", "cublas/lib/libcublas.so.12": "12", "libcuda.so.1": "0"} {
		compile(t, "cc", "library.c", filepath.Join(site, file), "-w", "-DINIT=0", "-DDRIVER=12040", "-DVERSION=90100", "-DCUDA="+cuda)
	}
	for name, value := range map[string]string{
		"STYLENET_LIBCUDA": filepath.Join(site, "libcuda.so.1"), "STYLENET_CUDNN": "", "STYLENET_CUBLAS": "", "VIRTUAL_ENV": root, "CUDA_HOME": "",
	} {
		t.Setenv(name, value)
	}
	l, err := openLibraries()
	if err != nil {
		t.Fatal(err)
	}
	if l.cudnnVersion != (version{9, 1, 0}) && l.cublasVersion[0] != 11 {
		t.Skipf("cuDNN %s of this machine comes before that of the test", l.cudnnVersion)
	}
	if l.cublasVersion != (version{11, 1, 2}) {
		t.Errorf("cuBLAS %s was opened with a cuDNN for CUDA 11", l.cublasVersion)
	}
}

// Packages are found of a python3 that $PATH alone knows, where Red Hat puts them,
// and once where lib64 is lib.
func TestSitePackages(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	active, other := filepath.Join(root, "active"), filepath.Join(root, "other")
	want := []string{filepath.Join(active, "lib", "python3.12", "site-packages"), filepath.Join(other, "lib64", "python3.9", "site-packages")}
	for _, dir := range append(want, filepath.Join(other, "bin")) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("lib", filepath.Join(active, "lib64")), os.WriteFile(filepath.Join(other, "bin", "python3"), nil, 0o755)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("VIRTUAL_ENV", active)
	t.Setenv("CONDA_PREFIX", "")
	t.Setenv("PATH", filepath.Join(other, "bin"))
	if got := sitePackages(); len(got) < 2 || !slices.Equal(got[:2], want) || len(got) > 2 && strings.HasPrefix(got[2], root) {
		t.Errorf("%q, want %q first", got, want)
	}
}

// The error of a library that is nowhere says where it was looked for, what else
// was found, and how to get it.
func TestLibraryNotFound(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "libstylenettest.so")
	if err := os.WriteFile(old, []byte("no library"), 0o644); err != nil {
		t.Fatal(err)
	}
	l := library{
		title: "Test 8 or 9", variable: "STYLENET_TEST", files: []string{"libstylenettest.so.9", "libstylenettest.so"},
		folders: []string{filepath.Join(dir, "none"), dir}, get: "make it",
	}
	err := l.open(func(string, unsafe.Pointer) error { return nil })
	if err == nil {
		t.Fatal("a text was opened as a library")
	}
	want := "Test 8 or 9 was not found: looked for libstylenettest.so.9, libstylenettest.so where the system's loader looks ($LD_LIBRARY_PATH, ldconfig) and in " +
		dir + "; " + old + " cannot be opened ("
	if got := err.Error(); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "; make it; $STYLENET_TEST may name the file") {
		t.Errorf("%s; want %s…", got, want)
	}
}
