package stylize

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"stylenet/internal/images"
)

// SizeError reports a picture that is too large for the memory that may be
// taken, even by strips.
type SizeError struct {
	W, H int  // pixels
	Rows int  // of each strip, where Options chose them
	Full bool // no more memory is free, whatever Options allow
	Err  error
}

func (e *SizeError) Error() string {
	free := ""
	if e.Full {
		free = " that is free"
	}
	return fmt.Sprintf("a picture of %d×%d pixels is too large for the memory%s: %v", e.W, e.H, free, e.Err)
}

func (e *SizeError) Unwrap() error { return e.Err }

// processBytes is what a process takes without pictures, maps and weights: its
// code, the libraries, the runtime's garbage and the kernels' scratch memory.
const processBytes = 64 << 20

// packedWeights is how many times the weights are held: as they are, and in the
// layouts of the kernels, of which Winograd's is four times as large.
const packedWeights = 6

// limit is the memory that the process may take.
func (o Options) limit() int64 {
	if o.Memory == 0 {
		return DefaultMemory
	}
	return o.Memory
}

// memory is what is left for feature maps and plans, those that there are
// included, of what the process may take in all, in bytes, and of what is free.
// full says that the latter is less.
func (s *Stylizer) memory(src images.Reader, dst images.Writer, o Options) (left int64, full bool) {
	all := append([]*Stylizer{s}, o.beside...)
	limit := o.limit() - processBytes - src.Bytes() - dst.Bytes()
	for _, holder := range all {
		limit -= packedWeights * holder.weights
	}
	if free, known := s.free(); known {
		// The operating system would promise more, and then kill the process
		// for using it. The result's memory is promised but not used yet; that
		// of plans can be had back.
		for _, holder := range all {
			for _, p := range holder.plans {
				free += p.bytes
			}
		}
		free -= dst.Bytes()
		limit, full = min(limit, free), free < limit
	}
	return max(limit, 0), full
}

// RefusedMemory is how many times the free memory work must take to be refused:
// what is short by less may still be found, by swapping or from other processes.
const RefusedMemory = 4

// FreeMemory is what the system can give to this process without swapping, in
// bytes, within the limits of the control groups that it is in; known is false
// where the system is not Linux.
func FreeMemory() (free int64, known bool) { return freeMemory(os.DirFS("/")) }

// freeMemory is what Linux can give to this process without swapping, in bytes:
// of what is free on the machine, as much as the control groups allow that the
// process is in, as in a container. known is false on other systems. root is
// the root of the file system.
func freeMemory(root fs.FS) (free int64, known bool) {
	free = math.MaxInt64
	if kib, ok := number(root, "proc/meminfo", "MemAvailable:"); ok {
		free, known = kib<<10, true
	}
	for _, g := range controlGroups(root) {
		limit, ok := number(root, g.limit, "")
		if !ok {
			continue // there is none
		}
		used, ok := number(root, g.usage, "")
		if !ok {
			continue
		}
		// Files that were read are counted, and dropped where memory is needed.
		cached, _ := number(root, g.stat, g.cached)
		free, known = min(free, limit-max(used-cached, 0)), true
	}
	return max(free, 0), known
}

// controlGroup names the files of a group's memory.
type controlGroup struct{ limit, usage, stat, cached string }

// controlGroups lists the groups that limit the memory of this process, with
// those that they are in. A container may see its own group alone, as the
// outermost one, under whatever name that has outside.
func controlGroups(root fs.FS) []controlGroup {
	list, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return nil
	}
	var groups []controlGroup
	for line := range strings.Lines(string(list)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3) // number, controllers, path
		if len(fields) < 3 {
			continue
		}
		for at := path.Clean("/" + fields[2]); ; at = path.Dir(at) {
			if fields[1] == "" { // version 2, which has one tree for all controllers
				dir := path.Join("sys/fs/cgroup", at)
				for _, limit := range []string{"memory.max", "memory.high"} {
					groups = append(groups, controlGroup{path.Join(dir, limit), path.Join(dir, "memory.current"), path.Join(dir, "memory.stat"), "inactive_file"})
				}
			} else if slices.Contains(strings.Split(fields[1], ","), "memory") {
				dir := path.Join("sys/fs/cgroup/memory", at)
				groups = append(groups, controlGroup{path.Join(dir, "memory.limit_in_bytes"), path.Join(dir, "memory.usage_in_bytes"), path.Join(dir, "memory.stat"), "total_inactive_file"})
			}
			if at == "/" {
				break
			}
		}
	}
	return groups
}

// number reads a number from a file: the one that stands behind a word, or the
// only one.
func number(root fs.FS, file, word string) (int64, bool) {
	text, err := fs.ReadFile(root, file)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if word != "" {
			if len(fields) < 2 || fields[0] != word {
				continue
			}
			fields = fields[1:]
		}
		if len(fields) > 0 {
			n, err := strconv.ParseInt(fields[0], 10, 64)
			return n, err == nil // "max" is no limit
		}
	}
	return 0, false
}
