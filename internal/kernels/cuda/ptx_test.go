package cuda

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"
)

// The committed PTX is that of the committed source.
func TestPTX(t *testing.T) {
	source, err := os.ReadFile("kernels.cu")
	if err != nil {
		t.Fatal(err)
	}
	ptx, err := os.ReadFile("kernels.ptx")
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(ptx), "\n")
	if want := fmt.Sprintf("// kernels.cu SHA-256 %x", sha256.Sum256(source)); first != want {
		t.Errorf("kernels.ptx is of another kernels.cu: make it again with go generate -tags cudnn ./internal/kernels/cuda\nit begins %q, want %q", first, want)
	}
	for _, want := range []string{"\n.target sm_75\n", "\n.address_size 64\n"} {
		if !strings.Contains(string(ptx), want) {
			t.Errorf("kernels.ptx has no %q", want)
		}
	}
	kernels := 0
	for _, line := range strings.Split(string(source), "\n") {
		call, ok := strings.CutPrefix(line, "KERNEL(")
		if !ok {
			continue
		}
		kernels++
		name, _, _ := strings.Cut(call, ",")
		if !strings.Contains(string(ptx), ".entry "+name+"(") {
			t.Errorf("kernels.ptx has no kernel %s", name)
		}
	}
	if kernels == 0 {
		t.Error("no kernels were found in kernels.cu")
	}
}
