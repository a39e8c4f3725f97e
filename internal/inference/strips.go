package inference

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"

	"stylenet/internal/kernels"
	"stylenet/internal/networks"
)

// Limits bound what a picture that is run by strips may take.
type Limits struct {
	// Bytes is the memory for feature maps on the device and off it.
	Bytes int64
	// Rows is the number of rows of the result in each strip. 0 is as many as
	// the memory allows.
	Rows int
}

// MemoryError says that a picture needs more memory than it may take.
type MemoryError struct{ Need, Limit int64 }

func (e *MemoryError) Error() string {
	return fmt.Sprintf("feature maps need %d MiB, and %d MiB are left for them", ceilMiB(e.Need), e.Limit>>20)
}

func ceilMiB(n int64) int64 { return (n + 1<<20 - 1) >> 20 }

// Strips runs a network on one picture by strips of rows, in memory that does
// not grow with the picture's height. Instance and group norm need statistics of the
// whole picture: each step that is normalised ends a pass over all strips. What
// later passes read is kept, in memory or in a temporary file, or computed
// again, whichever is cheaper. It is not safe for concurrent use.
type Strips struct {
	b      *binder
	steps  []Fused
	limits Limits
	stored map[int]bool // results that are kept
	passes []pass
	disk   int64     // the most bytes that temporary files take at once
	memory int64     // the most bytes that everything else takes at once
	pool   pool      // memory of results that are kept
	buffer []float32 // room for any strip off the device, while Run runs
}

// pass computes one step of the whole picture.
type pass struct {
	target int     // the step
	rows   int     // of its result in each strip
	cost   float64 // of the whole pass
	inFile bool    // where the result is kept, if it is
	free   []int   // results that no later pass reads
}

// NewStrips plans the strips of an h×w picture. A picture that does not fit
// into the limits gives a *MemoryError.
func NewStrips(dev kernels.Device, net *networks.Network, params Arrays, h, w int, limits Limits) (*Strips, error) {
	scope := dev.Scope()
	s := &Strips{steps: Fuse(net, len(net.Layers)-1), limits: limits}
	err := s.prepare(scope, net, params, h, w)
	if err != nil {
		return nil, errors.Join(err, scope.Close())
	}
	return s, nil
}

func (s *Strips) prepare(scope kernels.Device, net *networks.Network, params Arrays, h, w int) (err error) {
	if s.b, err = newBinder(scope, net, params, 1, h, w); err != nil {
		return err
	}
	for i := range s.steps {
		step := &s.steps[i]
		if err := wholeAlone(step); err != nil {
			return fmt.Errorf("layer %s: %w", step.Layer.Name, err)
		}
		if step.Stats != nil {
			stats, err := newStatistics(scope, kernels.Vector(s.b.size(step.Output).C))
			if err != nil {
				return err
			}
			s.b.stats[step.Stats] = stats
		}
	}
	// Memory is faster than a file: what is cheap to keep differs.
	for _, price := range []float64{memoryPrice, filePrice} {
		s.choose(price)
		if err := s.fit(); err != nil {
			return err
		}
		if s.disk == 0 {
			break
		}
	}
	return nil
}

// wholeAlone says why a step cannot be run by strips, or nil.
func wholeAlone(s *Fused) error {
	switch op := s.Layer.Op.(type) {
	case networks.Norm, networks.GroupNorm:
		return errors.New("a norm of the picture, or of a result that another one normalises, cannot be run by strips: the whole picture must fit into memory")
	case networks.WindowPool:
		if op.Global {
			return errors.New("a global pooling cannot be run by strips: the whole picture must fit into memory")
		}
	}
	return nil
}

// Prices of a byte, in multiplications of a convolution: measured at about
// 150·10⁹ of these, 10 GB of maps, 4 GB to or from the device and 1.5 GB to or
// from a file in a second.
const (
	mapPrice    = 15
	memoryPrice = 40
	filePrice   = 100
)

// choose decides which results are kept, beginning with those of all passes
// that statistics force.
func (s *Strips) choose(price float64) {
	s.stored = map[int]bool{}
	var candidates []int
	for i := range s.steps[:len(s.steps)-1] {
		candidates = append(candidates, s.steps[i].Output)
		s.stored[s.steps[i].Output] = s.steps[i].Stats != nil
	}
	best := s.cost(price)
	for changed := true; changed; {
		changed = false
		for _, v := range candidates {
			s.stored[v] = !s.stored[v]
			if c := s.cost(price); c < best {
				best, changed = c, true
			} else {
				s.stored[v] = !s.stored[v]
			}
		}
	}
	s.cost(price) // leaves the passes of the best choice
}

// cost lists the passes, and returns what they cost in all. Strips are assumed
// to be of a size that is usual.
func (s *Strips) cost(price float64) float64 {
	const usual = 64
	total := 0.
	s.passes = s.passes[:0]
	for i := range s.steps {
		step := &s.steps[i]
		if step.Stats == nil && !s.stored[step.Output] && i < len(s.steps)-1 {
			continue
		}
		p := pass{target: i, rows: s.scaled(step, usual)}
		h := s.b.size(step.Output).H
		given, pieces := s.cut(p, rows{(h - p.rows) / 2, (h-p.rows)/2 + p.rows})
		for _, piece := range pieces {
			p.cost += s.b.work(piece)
		}
		for v, r := range given {
			p.cost += price * float64(4*s.b.shape(v, r).Elements())
		}
		if s.stored[step.Output] {
			p.cost += price * float64(4*s.b.shape(step.Output, rows{0, p.rows}).Elements())
		}
		p.cost *= float64(h) / float64(p.rows)
		total += p.cost
		s.passes = append(s.passes, p)
	}
	return total
}

func (s *Strips) cut(p pass, out rows) (given map[int]rows, pieces []piece) {
	return s.b.cut(s.steps, p.target, out, s.stored)
}

// scaled is the number of rows of a step's result that stand for n rows of the
// network's.
func (s *Strips) scaled(step *Fused, n int) int {
	h := s.b.size(step.Output).H
	last := s.b.sizes[len(s.b.sizes)-1].H
	return min(max(1, n*h/last), h)
}

// work is the arithmetic of a piece, in multiplications.
func (b *binder) work(p piece) float64 {
	out := b.shape(p.Output, p.out).Elements()
	moved := float64(4 * mapPrice * out * (1 + len(p.Reads)))
	switch op := p.Layer.Op.(type) {
	case networks.Conv:
		return moved + float64(out*op.In*op.Kernel*op.Kernel)
	case networks.ConvTranspose:
		return moved + float64(out*op.In*op.Kernel*op.Kernel)/float64(op.Stride*op.Stride)
	}
	return moved
}

// fit chooses how many rows each pass takes at once, and what is kept in files.
func (s *Strips) fit() error {
	s.memory, s.disk = 0, 0
	for i := range s.passes {
		need, err := s.fitPass(&s.passes[i])
		if err != nil {
			return err
		}
		s.memory = max(s.memory, need)
	}
	last := map[int]int{} // the last pass that reads a result
	for i, p := range s.passes {
		given, _ := s.cut(p, rows{0, s.height(p)})
		for v := range given {
			last[v] = i
		}
	}
	left := s.limits.Bytes - s.memory
	var kept, most, files int64
	inFile := map[int]bool{}
	for i := range s.passes {
		p := &s.passes[i]
		if v := s.result(*p); s.stored[v] {
			n := s.keptBytes(v)
			p.inFile = kept+n > left
			if inFile[v] = p.inFile; p.inFile {
				files += n
			} else {
				kept += n
			}
		}
		most, s.disk = max(most, kept), max(s.disk, files)
		p.free = nil
		for v := range s.b.sizes { // the map has no order of its own
			if at, read := last[v]; !read || at != i {
				continue
			}
			p.free = append(p.free, v)
			if inFile[v] {
				files -= s.keptBytes(v)
			} else {
				kept -= s.keptBytes(v)
			}
		}
	}
	s.memory += most
	return nil
}

// fitPass chooses the rows of a pass's strips, and returns the memory that it
// takes.
func (s *Strips) fitPass(p *pass) (int64, error) {
	h := s.height(*p)
	if s.limits.Rows > 0 {
		p.rows = s.scaled(&s.steps[p.target], s.limits.Rows)
		need := s.passBytes(*p)
		if need > s.limits.Bytes {
			return 0, &MemoryError{need, s.limits.Bytes}
		}
		return need, nil
	}
	// Larger strips than that save nothing, and leave less memory for what is
	// kept.
	enough := min(256<<20, s.limits.Bytes/2)
	// Strips of one size, and of a height that upsampling and strides divide,
	// share their kernels.
	const align = 16
	for strips := 1; ; strips += 1 + strips/8 {
		p.rows = (h + strips - 1) / strips
		if p.rows > align {
			p.rows = (p.rows + align - 1) / align * align
		}
		switch need := s.passBytes(*p); {
		case need <= enough, p.rows == 1 && need <= s.limits.Bytes:
			return need, nil
		case p.rows == 1:
			return 0, &MemoryError{need, s.limits.Bytes}
		}
	}
}

// passBytes is the memory that a pass takes, without what is kept.
func (s *Strips) passBytes(p pass) int64 {
	need := int64(0)
	s.kinds(p, func(given map[int]rows, pieces []piece) {
		need = max(need, s.b.bytes(given, pieces, s.result(p)))
	})
	return need + 4*int64(s.room(p))
}

// room is the number of values of a pass's largest strip off the device.
func (s *Strips) room(p pass) int {
	values := s.b.shape(s.result(p), rows{0, p.rows}).Elements()
	s.kinds(p, func(given map[int]rows, _ []piece) {
		for v, r := range given {
			values = max(values, s.b.shape(v, r).Elements())
		}
	})
	return values
}

// kinds calls do with a strip of each kind of a pass: at the top, inside and at
// the bottom.
func (s *Strips) kinds(p pass, do func(given map[int]rows, pieces []piece)) {
	h := s.height(p)
	for _, from := range []int{0, h / 2 / p.rows * p.rows, (h - 1) / p.rows * p.rows} {
		given, pieces := s.cut(p, rows{from, min(from+p.rows, h)})
		if s.steps[p.target].Stats != nil {
			pieces[len(pieces)-1].stats = &statistics{}
		}
		do(given, pieces)
	}
}

// result is the result that a pass computes, and height its rows.
func (s *Strips) result(p pass) int { return s.steps[p.target].Output }
func (s *Strips) height(p pass) int { return s.b.size(s.result(p)).H }

func (s *Strips) keptBytes(value int) int64 {
	size := s.b.size(value)
	return roundToPages(4 * int64(size.C) * int64(size.H) * int64(size.W))
}

// Close frees the memory on the device.
func (s *Strips) Close() error { return s.b.dev.Close() }

// Rows moves rows of a picture, (3, to−from, width).
type Rows func(values []float32, from, to int) error

// Run runs the network. read provides rows of the picture, some of them more
// than once, and write takes each row of the result once, from the first to the
// last. progress is told the share that is done, 0 to 1. When ctx ends, Run
// ends after the strip at hand.
func (s *Strips) Run(ctx context.Context, read, write Rows, progress func(float64)) (err error) {
	if free := freeSpace(os.TempDir()); s.disk > 0 && free >= 0 && free < s.disk {
		return fmt.Errorf("%d MiB of temporary files are needed in %s, where %d MiB are free: make room, or name another folder in the environment variable TMPDIR",
			ceilMiB(s.disk), os.TempDir(), free>>20)
	}
	r := &stripsRun{Strips: s, ctx: ctx, read: read, write: write, progress: progress, stores: map[int]*store{}}
	room := 0
	for _, p := range s.passes {
		r.total += p.cost
		room = max(room, s.room(p))
	}
	s.buffer = make([]float32, room)
	defer func() {
		for _, st := range r.stores {
			st.giveBack()
		}
		err = errors.Join(err, s.pool.close())
		s.buffer, s.pool = nil, pool{}
	}()
	for _, p := range s.passes {
		if err := r.pass(p); err != nil {
			return fmt.Errorf("layer %s: %w", s.steps[p.target].Layer.Name, err)
		}
	}
	return nil
}

// stripsRun is what lasts as long as one run.
type stripsRun struct {
	*Strips
	ctx         context.Context
	read, write Rows
	progress    func(float64)
	done, total float64
	stores      map[int]*store
}

func (r *stripsRun) pass(p pass) (err error) {
	step, h := &r.steps[p.target], r.height(p)
	size := r.b.size(step.Output)
	var keep *store
	if r.stored[step.Output] {
		if keep, err = r.pool.newStore(size, p.inFile); err != nil {
			return err
		}
		r.stores[step.Output] = keep
	}
	var whole *merger
	if step.Stats != nil {
		if whole, err = newMerger(r.b.dev, r.b.stats[step.Stats], size.C); err != nil {
			return err
		}
	}
	var bound strip
	defer func() { err = errors.Join(err, bound.close()) }()
	for from := 0; from < h; from += p.rows {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		out := rows{from, min(from+p.rows, h)}
		if err := r.bind(&bound, p, out, whole); err != nil {
			return err
		}
		if err := r.strip(&bound, step.Output, out, keep); err != nil {
			return err
		}
		if whole != nil {
			if err := whole.add(bound.scope, out.count()*size.W); err != nil {
				return err
			}
		}
		r.done += p.cost * float64(out.count()) / float64(h)
		r.progress(r.done / r.total)
	}
	if whole != nil {
		if err := whole.finish(r.b.dev); err != nil {
			return err
		}
	}
	for _, v := range p.free {
		r.stores[v].giveBack()
		delete(r.stores, v)
	}
	return nil
}

// strip is a program bound for some rows.
type strip struct {
	geometry string
	scope    kernels.Device
	given    map[int]rows
	values   map[int]source
	launches []kernels.Kernel
}

func (s *strip) close() error {
	if s.scope == nil {
		return nil
	}
	return s.scope.Close()
}

// bind makes bound a program for the rows out, unless it is one already.
func (r *stripsRun) bind(bound *strip, p pass, out rows, whole *merger) error {
	given, pieces := r.cut(p, out)
	if whole != nil {
		pieces[len(pieces)-1].stats = &whole.part
	}
	if g := r.b.geometry(given, pieces); bound.geometry != g {
		err := bound.close()
		*bound = strip{geometry: g, scope: r.b.dev.Scope()}
		if err != nil {
			return err
		}
		if bound.values, bound.launches, err = r.b.program(bound.scope, given, pieces, r.result(p)); err != nil {
			return err
		}
	}
	bound.given = given
	return nil
}

// strip runs one strip, up to its result's way off the device.
func (r *stripsRun) strip(bound *strip, result int, out rows, keep *store) error {
	for v := networks.Input; v < len(r.b.sizes); v++ { // the map has no order of its own
		from, ok := bound.given[v]
		if !ok {
			continue
		}
		a := bound.values[v].array
		values := r.values(a)
		var err error
		if v == networks.Input {
			err = r.read(values, from.from, from.to)
		} else {
			err = r.stores[v].read(values, from)
		}
		if err == nil {
			err = bound.scope.Upload(a, values)
		}
		if err != nil {
			return err
		}
	}
	for _, k := range bound.launches {
		k()
	}
	last := result == r.steps[len(r.steps)-1].Output
	if keep == nil && !last {
		return nil // its statistics are all that is wanted
	}
	a := bound.values[result].array
	values := r.values(a)
	if err := bound.scope.Download(values, a); err != nil {
		return err
	}
	if last {
		return r.write(values, out.from, out.to)
	}
	return keep.write(values, out)
}

// values is memory off the device for an array's values. Strips of odd heights
// may need some more than those that were looked at.
func (r *stripsRun) values(a kernels.Array) []float32 {
	n := a.Shape().Elements()
	if len(r.buffer) < n {
		r.buffer = make([]float32, n)
	}
	return r.buffer[:n]
}

// merger joins the statistics of strips to those of the whole picture (Chan,
// Golub and LeVeque 1979).
type merger struct {
	whole, part statistics
	pixels      float64
	mean        []float64
	variance    []float64 // with epsilon
	values      []float32
}

func newMerger(dev kernels.Device, whole statistics, channels int) (*merger, error) {
	part, err := newStatistics(dev, whole.mean.Shape())
	return &merger{whole: whole, part: part, mean: make([]float64, channels), variance: make([]float64, channels), values: make([]float32, channels)}, err
}

// add takes in the statistics of a strip of n pixels.
func (m *merger) add(dev kernels.Device, n int) error {
	part := float64(n)
	sum := m.pixels + part
	if err := dev.Download(m.values, m.part.invstd); err != nil {
		return err
	}
	for c, v := range m.values {
		// The means of variance+ε are what they would be without ε, plus ε.
		m.variance[c] += (1/(float64(v)*float64(v)) - m.variance[c]) * part / sum
	}
	if err := dev.Download(m.values, m.part.mean); err != nil {
		return err
	}
	for c, v := range m.values {
		apart := float64(v) - m.mean[c]
		m.variance[c] += apart * apart * m.pixels / sum * part / sum
		m.mean[c] += apart * part / sum
	}
	m.pixels = sum
	return nil
}

// finish puts the statistics of the whole picture on the device.
func (m *merger) finish(dev kernels.Device) error {
	for c, v := range m.mean {
		m.values[c] = float32(v)
	}
	if err := dev.Upload(m.whole.mean, m.values); err != nil {
		return err
	}
	for c, v := range m.variance {
		m.values[c] = float32(1 / math.Sqrt(v))
	}
	return dev.Upload(m.whole.invstd, m.values)
}
