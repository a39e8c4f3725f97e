package stylize

import (
	"bufio"
	"fmt"
	"os"

	"stylenet/internal/images"
)

// SizeError reports a picture that is too large for the memory that may be
// taken, even by strips.
type SizeError struct {
	W, H int // pixels
	Rows int // of each strip, where Options chose them
	Err  error
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("a picture of %d×%d pixels is too large for the memory: %v", e.W, e.H, e.Err)
}

func (e *SizeError) Unwrap() error { return e.Err }

// processBytes is what a process takes without pictures, maps and weights: its
// code, the libraries, the runtime's garbage and the kernels' scratch memory.
const processBytes = 64 << 20

// packedWeights is how many times the weights are held: as they are, and in the
// layouts of the kernels, of which Winograd's is four times as large.
const packedWeights = 6

// memory is what is left for feature maps of what the process may take in all,
// in bytes, 0 being DefaultMemory, and of what the machine has.
func (s *Stylizer) memory(src images.Reader, dst images.Writer, limit int64) int64 {
	if limit == 0 {
		limit = DefaultMemory
	}
	limit -= processBytes + packedWeights*s.weights + src.Bytes() + dst.Bytes()
	if free := freeMemory(); free > 0 {
		// The operating system would promise more, and then kill the process
		// for using it. The result's memory is promised but not used yet; that
		// of plans can be had back.
		for _, p := range s.plans {
			free += p.bytes
		}
		limit = min(limit, free-dst.Bytes())
	}
	return max(limit, 0)
}

// freeMemory is what Linux can give to a process without swapping, in bytes,
// or 0 where that is not known.
func freeMemory() int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var kib int64
		if _, err := fmt.Sscanf(lines.Text(), "MemAvailable: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	return 0
}
