package devices

import (
	"strings"
	"testing"

	"stylenet/internal/kernels"
)

func TestOpen(t *testing.T) {
	for _, name := range append(Names(), "auto", "cpu", "") {
		d, err := Open(name, Options{Threads: 1})
		_, gpu := gpuIndex(name)
		if err != nil && d != nil {
			t.Errorf("%q: a device beside the error %v: who closes it would find nothing there", name, err)
		}
		if err != nil && gpu { // of this machine, or none
			if !strings.HasPrefix(err.Error(), "cuda") {
				t.Errorf("%q: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		info := d.Info()
		gpu = info.Backend == "cuda"
		if want := name; want != "auto" && want != "cpu" && want != "" && !gpu && info.Backend != want {
			t.Errorf("%q opened %s", name, info.Backend)
		}
		if name == "cpu" && gpu {
			t.Error("cpu opened a GPU")
		}
		if info.Threads != 1 && !gpu || info.Description == "" || info.Precision != kernels.Float32 {
			t.Errorf("%q: %+v", name, info)
		}
		if err := d.Close(); err != nil {
			t.Errorf("%q: close: %v", name, err)
		}
	}
	if _, err := Open("reference", Options{Precision: kernels.BF16}); err == nil || err.Error() != "device reference computes in float32 alone, not in bf16" {
		t.Errorf("bf16 of the reference: %v", err)
	}
	for _, o := range []Options{{Precision: "fp8"}, {Precision: kernels.BF16, Exact: true}} {
		if d, err := Open("auto", o); err == nil || d != nil {
			t.Errorf("%+v: device %v, error %v", o, d, err)
		}
	}
	if d, err := Open("auto", Options{Precision: kernels.BF16}); err != nil {
		if !strings.Contains(err.Error(), "float32") {
			t.Errorf("bf16: %v does not say what to use", err)
		}
	} else if p := d.Info().Precision; p != kernels.BF16 || d.Close() != nil {
		t.Errorf("bf16 opened %s", p)
	}
	for _, name := range []string{"cuda:", "cuda:x", "cuda:-1", "cuda:99999999"} {
		if _, err := Open(name, Options{}); err == nil || !strings.Contains(err.Error(), "is not in this build") {
			t.Errorf("%q: %v", name, err)
		}
	}
	if len(cudaNames()) == 0 {
		for _, name := range []string{"cuda", "cuda:0"} {
			if _, err := Open(name, Options{}); err == nil || err.Error() != "device cuda:0: this build has no CUDA; make build CUDA=1 has it, on Linux (docs/cuda.md)" {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
	if _, err := Open("gpu", Options{}); err == nil || !strings.Contains(err.Error(), "it has auto, cpu, ") {
		t.Errorf("unknown device: %v", err)
	}
	if _, err := Open("auto", Options{Threads: -1}); err == nil || !strings.Contains(err.Error(), "-1 threads") {
		t.Errorf("negative threads: %v", err)
	}
}
