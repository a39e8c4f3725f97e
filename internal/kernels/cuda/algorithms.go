//go:build cudnn

package cuda

/*
#include "libraries.h"
*/
import "C"

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"gorgonia.org/cu"

	"stylenet/internal/atomicfile"
)

// The kinds of arithmetic of cudnnSetConvolutionMathType.
const (
	mathDefault    = 0 // float32 may be multiplied as TF32
	mathTensorCore = 1 // without rounding to another type
	mathFMA        = 3 // float32, plain
)

// The algorithms that compute something else than the sums of the definition,
// in the numbering of each of convWhat: FFT and Winograd.
var approximate = map[convWhat][]C.int{
	convForward:         {4, 5, 6, 7},
	convBackwardData:    {2, 3, 4, 5},
	convBackwardWeights: {2, 4, 5, 6},
}

const (
	maxCandidates = 16
	// maxConvWorkspace bounds what a faster algorithm may cost in memory.
	maxConvWorkspace = 512 << 20
	measuredRuns     = 3
)

// gpuConv is a convolution by cuDNN.
type gpuConv struct {
	*gpu
	spec convSpec
	c    C.nv_conv
	choice
	bytes C.size_t // of workspace
}

// choice is an algorithm of cuDNN and its arithmetic.
type choice struct {
	Algorithm C.int
	Math      C.int
}

func (d *gpu) conv(s convSpec) (convolution, error) {
	if d.recording {
		return nil, errors.New("cuda: a convolution cannot be prepared while launches are recorded")
	}
	d.enter()
	defer runtime.UnlockOSThread()
	v := &gpuConv{gpu: d, spec: s}
	spec := C.nv_conv_spec{
		what: map[convWhat]C.int{convForward: C.nv_forward, convBackwardData: C.nv_backward_data, convBackwardWeights: C.nv_backward_weights}[s.what],
		n:    C.int(s.n), h: C.int(s.h), w: C.int(s.w), c: C.int(s.c), oh: C.int(s.oh), ow: C.int(s.ow), k: C.int(s.k),
		r: C.int(s.r), s: C.int(s.s), stride: C.int(s.stride), pad_h: C.int(s.padH), pad_w: C.int(s.padW),
	}
	if s.elem == bfloat16Element {
		spec.bf16 = 1
	}
	err := d.dnnError("describe a convolution", C.nv_conv_create(&d.libs.cudnn, &spec, &v.c))
	if err == nil {
		if err = v.choose(); err != nil {
			v.close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cuda: convolution %+v: %w", s, err)
	}
	return v, nil
}

// choose takes the algorithm that was the fastest for such a convolution
// before, or measures. Deterministic ones are cuDNN's guess, which is the same
// each time: two that measure alike may differ in the last bit.
func (v *gpuConv) choose() error {
	key := fmt.Sprintf("%s: %+v", v.key, v.spec)
	if c, ok := v.choices.get(key); ok && !v.spec.deterministic && v.use(c) == nil {
		return nil
	}
	candidates, err := v.candidates()
	if err != nil {
		return err
	}
	if !v.spec.deterministic && len(candidates) > 1 {
		best, measured, err := v.fastest(candidates)
		if err != nil {
			return err
		}
		if measured {
			v.choices.put(key, best)
			return v.use(best)
		}
	}
	for _, c := range candidates {
		if err = v.use(c); err == nil {
			return nil
		}
	}
	return err
}

// use sets the algorithm and asks for its workspace.
func (v *gpuConv) use(c choice) error {
	v.choice = c
	if err := v.dnnError("choose arithmetic", C.nv_conv_math(&v.libs.cudnn, &v.c, c.Math)); err != nil {
		return err
	}
	return v.dnnError("ask for workspace", C.nv_conv_workspace(&v.libs.cudnn, v.dnn, &v.c, c.Algorithm, &v.bytes))
}

// candidates lists the algorithms that may be used, in cuDNN's guess the
// fastest first.
func (v *gpuConv) candidates() ([]choice, error) {
	s := v.spec
	math := C.int(mathDefault)
	switch {
	case s.elem == bfloat16Element:
		math = mathTensorCore
	case s.exact:
		math = mathFMA
	}
	if err := v.dnnError("choose arithmetic", C.nv_conv_math(&v.libs.cudnn, &v.c, math)); err != nil {
		return nil, err
	}
	var found [maxCandidates]C.nv_candidate
	var n C.int
	if err := v.dnnError("list algorithms", C.nv_conv_candidates(&v.libs.cudnn, v.dnn, &v.c, maxCandidates, &n, &found[0])); err != nil {
		return nil, err
	}
	var usable []choice
	for _, f := range found[:n] {
		switch {
		case f.status != 0 || f.memory > maxConvWorkspace:
		case s.deterministic && f.deterministic == 0:
		case s.exact && isApproximate(s.what, f.algorithm):
		case s.exact && (f.math == mathDefault || f.math == mathFMA):
			// An algorithm without tensor cores may be listed under either name, and
			// is told to leave them alone.
			usable = append(usable, choice{f.algorithm, mathFMA})
		case s.exact:
		case s.elem == float32Element && f.math == 2: // would round to half precision
		default:
			usable = append(usable, choice{f.algorithm, f.math})
		}
	}
	if len(usable) == 0 {
		return nil, fmt.Errorf("cuDNN %s has no algorithm for it in %d MiB of workspace", v.libs.cudnnVersion, maxConvWorkspace>>20)
	}
	return usable, nil
}

func isApproximate(what convWhat, algorithm C.int) bool {
	for _, a := range approximate[what] {
		if a == algorithm {
			return true
		}
	}
	return false
}

// fastest measures, in memory of its own. Where there is not enough, nothing is
// measured, and cuDNN's guess is for this time alone.
func (v *gpuConv) fastest(candidates []choice) (best choice, measured bool, err error) {
	s := v.spec
	size := s.elem.bytes()
	var memory [4]ptr // x, w, y, workspace
	sizes := [4]int{s.n * s.h * s.w * s.c * size, s.k * s.r * s.s * s.c * size, s.n * s.oh * s.ow * s.k * size}
	for _, c := range candidates {
		if v.use(c) == nil {
			sizes[3] = max(sizes[3], int(v.bytes))
		}
	}
	for i := range memory {
		if memory[i], err = v.alloc(sizes[i]); err != nil {
			return best, false, nil
		}
		defer v.free(memory[i])
		// Random bits of floats would be NaN here and there, and zeros are faster
		// than numbers. These bytes are small numbers in either element.
		v.fail("measure a convolution", cu.MemsetD8Async(cu.DevicePtr(memory[i]), 0x3c, int64(sizes[i]), v.stream))
	}
	var start, end cu.Event
	for _, e := range []*cu.Event{&start, &end} {
		if *e, err = cu.MakeEvent(cu.DefaultEvent); err != nil {
			return best, false, err
		}
		defer cu.DestroyEvent(e)
	}
	least := 0.0
	var last error
	for _, c := range candidates {
		if last = v.use(c); last != nil {
			continue
		}
		run := func() { last = errors.Join(last, v.once(memory[0], memory[1], memory[2], memory[3])) }
		run() // the first one loads the kernel
		for range measuredRuns {
			v.fail("measure a convolution", start.Record(v.stream))
			run()
			v.fail("measure a convolution", end.Record(v.stream))
			v.fail("measure a convolution", end.Synchronize())
			took, err := start.Elapsed(end)
			v.fail("measure a convolution", err)
			if last == nil && v.err == nil && (least == 0 || took < least) {
				best, least = c, took
			}
		}
		if v.err != nil { // what ran asynchronously; nothing runs after it
			return best, false, v.take(nil)
		}
	}
	if least == 0 {
		return best, false, fmt.Errorf("no algorithm runs: %w", last)
	}
	return best, true, nil
}

func (v *gpuConv) once(x, w, y, workspace ptr) error {
	return v.dnnError("convolve", C.nv_conv_run(&v.libs.cudnn, v.dnn, &v.c, v.Algorithm, C.size_t(x), C.size_t(w), C.size_t(y), C.size_t(workspace), v.bytes))
}

func (v *gpuConv) workspace() int { return int(v.bytes) }

// gradient: cuDNN sums in float32 and rounds once, to the element of the maps.
func (v *gpuConv) gradient() element { return v.spec.elem }

func (v *gpuConv) run(x, w, y, workspace ptr) {
	v.enter()
	defer runtime.UnlockOSThread()
	if err := v.once(x, w, y, workspace); err != nil {
		v.fail("convolution", fmt.Errorf("%w, for %+v by algorithm %d", err, v.spec, v.Algorithm))
	}
}

func (v *gpuConv) close() { C.nv_conv_destroy(&v.libs.cudnn, &v.c) }

// choices are the algorithms that were measured, kept in a file of the user's
// cache for the next start. Without a cache they are measured again.
type choices struct {
	file  string // "" for none
	known map[string]choice
}

func openChoices() *choices {
	c := &choices{known: map[string]choice{}}
	if dir, err := os.UserCacheDir(); err == nil {
		c.file = filepath.Join(dir, "stylenet", "convolutions.json")
		c.known = c.read()
	}
	return c
}

// read returns what the file has; one that is damaged has nothing.
func (c *choices) read() map[string]choice {
	known := map[string]choice{}
	if data, err := os.ReadFile(c.file); err != nil || json.Unmarshal(data, &known) != nil {
		return map[string]choice{}
	}
	return known
}

func (c *choices) get(key string) (choice, bool) {
	found, ok := c.known[key]
	return found, ok
}

// put adds a choice to the file, to what other programs have added meanwhile.
func (c *choices) put(key string, chosen choice) {
	c.known[key] = chosen
	if c.file == "" {
		return
	}
	all := c.read()
	for k, v := range c.known {
		all[k] = v
	}
	c.known = all
	// A cache that cannot be written costs time at the next start, no more.
	_ = c.write(all)
}

// write replaces the file, so that a reader sees the old one or the new one.
func (c *choices) write(all map[string]choice) error {
	if err := os.MkdirAll(filepath.Dir(c.file), 0o755); err != nil {
		return err
	}
	return atomicfile.Write(c.file, 0o644, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "\t")
		return e.Encode(all)
	})
}
