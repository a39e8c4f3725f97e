package data

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"stylenet/internal/images"
)

// Options say which batches a Loader makes. Dir, Size and Batch are needed;
// zero stands for the default of every other field.
type Options struct {
	Dir   string
	Size  int    // side of the square crops, pixels
	Batch int    // crops in a batch
	Seed  uint64 // of the order, the crops, scales and flips

	// A picture's short side is resized to Size times a factor drawn evenly
	// from [ScaleMin, ScaleMax] before it is cropped; 1 and 1 by default.
	// Pictures larger than ScaleMax asks for are first reduced to that, and
	// rounded to 8 bits a sample.
	ScaleMin, ScaleMax float64
	// Flip mirrors every second crop, by chance.
	Flip bool

	// MinSide skips pictures whose short side, in pixels, is less. The default
	// is DefaultMinSide, or Size where that is less.
	MinSide int
	// MaxPixels skips larger pictures; images.DefaultMaxPixels by default.
	MaxPixels int64

	// Cache is a file of Prepare to take photos from in place of decoding them;
	// "" for none. It does not change what is in a batch.
	Cache string

	// Derive, unless nil, makes what batches hold in place of crops: Values floats
	// of each. Each worker calls it once, and what that returns for each of its
	// crops, (3, Size, Size), RGB 0 to 255. Its result may depend on the crop and
	// on random alone, whose numbers are those of the crop's place in the order.
	Derive func() (func(dst, crop []float32, random *rand.Rand) error, error)
	// Values is 3·Size² without Derive, and may be left 0 then.
	Values int

	// Workers decode at once and Prefetch batches wait ready; neither changes
	// what is in a batch. The defaults are DefaultWorkers() and 2.
	Workers, Prefetch int
}

// DefaultWorkers is how many decoders run at once unless told otherwise: half
// of the processors, for the other half has a network to train, and at most 8.
func DefaultWorkers() int { return min(max(runtime.GOMAXPROCS(0)/2, 1), 8) }

// OptionsError reports Options that make no sense, with every fault at once.
type OptionsError struct{ Err error }

func (e *OptionsError) Error() string { return e.Err.Error() }
func (e *OptionsError) Unwrap() error { return e.Err }

// withDefaults fills in the defaults. Its error is an *OptionsError.
func (o Options) withDefaults() (Options, error) {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if o.Size < 1 || o.Size > 8192 {
		fault("the crop size is %d, not 1 to 8192 pixels", o.Size)
	}
	if o.Batch < 1 {
		fault("the batch size is %d, not at least 1", o.Batch)
	}
	if o.ScaleMin == 0 {
		o.ScaleMin = 1
	}
	if o.ScaleMax == 0 {
		o.ScaleMax = o.ScaleMin
	}
	if !(o.ScaleMin >= 1 && o.ScaleMin <= o.ScaleMax && o.ScaleMax <= 100) {
		fault("the scales %v to %v do not rise within 1 to 100", o.ScaleMin, o.ScaleMax)
	}
	if o.MinSide < 0 || o.Workers < 0 || o.Prefetch < 0 || o.MaxPixels < 0 {
		fault("the smallest side (%d), the largest picture (%d), workers (%d) and prefetch (%d) must not be negative", o.MinSide, o.MaxPixels, o.Workers, o.Prefetch)
	}
	if o.MinSide == 0 {
		o.MinSide = min(DefaultMinSide, o.Size)
	}
	if o.MaxPixels == 0 {
		o.MaxPixels = images.DefaultMaxPixels
	}
	if o.Workers == 0 {
		o.Workers = DefaultWorkers()
	}
	if o.Prefetch == 0 {
		o.Prefetch = 2
	}
	if whole := 3 * o.Size * o.Size; o.Values == 0 && o.Derive == nil {
		o.Values = whole
	} else if o.Values < 1 || o.Derive == nil && o.Values != whole {
		fault("%d values of each crop of %d×%[2]d", o.Values, o.Size)
	}
	if len(faults) > 0 {
		return o, &OptionsError{errors.Join(faults...)}
	}
	return o, nil
}

// open fills in the defaults and lists the pictures, of which there is one at
// least.
func (o Options) open() (Options, []string, error) {
	o, err := o.withDefaults()
	if err != nil {
		return o, nil, err
	}
	files, err := List(o.Dir)
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s holds no pictures (%v)", o.Dir, images.Formats())
	}
	return o, files, err
}

// shortSide is the short side of a photo from which crops are taken at a zoom.
func (o Options) shortSide(zoom float64) int { return max(o.Size, int(float64(o.Size)*zoom+.5)) }

// side is the longest short side that any crop needs.
func (o Options) side() int { return o.shortSide(o.ScaleMax) }

// reduced is the size at which a photo of w×h is kept, as 8-bit samples, before
// it is cropped: at that of the largest zoom, but never enlarged.
func (o Options) reduced(w, h int) (int, int) {
	if side := o.side(); min(w, h) > side {
		return images.ShortSide(w, h, side)
	}
	return w, h
}

// Cursor is a place in the sequence of crops: what comes next is a function of
// it, the options and the files. The zero value is the beginning. It marshals
// to JSON, for checkpoints.
type Cursor struct {
	Epoch    int `json:"epoch"`    // times that the folder was gone through
	Position int `json:"position"` // files of this epoch's order that are used up

	// Files and Fingerprint, a hash of the file names, tell a folder that has
	// changed.
	Files       int    `json:"files"`
	Fingerprint string `json:"fingerprint"`

	// Skipped lists the files found unusable so far, as they were met. They
	// stay skipped, even if they are repaired, so that a run that is resumed
	// sees what one that never stopped would.
	Skipped []Skipped `json:"skipped,omitempty"`
}

// Batch is what one training step sees.
type Batch struct {
	Pixels []float32 // (Batch, 3, Size, Size), RGB 0 to 255, or (Batch, Values) of Derive
	Paths  []string  // the files of the crops, relative to the folder
	Cursor Cursor    // where the next batch begins
}

// Loader makes batches ahead of their use. Batches depend on the files, the
// seed and the cursor alone: not on Workers, Prefetch or time.
//
// Epoch after epoch, the files are gone through in a new shuffled order; a
// batch may hold the end of one epoch and the start of the next. What happens
// to a file is a function of the seed, the epoch and its place in the order. A
// file that is broken, too small or gone is left out, and the next in the
// order takes its place.
//
// Next, Release and Close are for one goroutine; Files and Skipped are for any.
type Loader struct {
	opts  Options
	files []string
	cache *cache // nil where photos are decoded

	cancel context.CancelFunc
	wg     sync.WaitGroup
	ready  chan *Batch // closed at the end, after err is set
	free   chan *Batch
	err    error
	last   []Skipped    // all files, where none is usable any more; set before ready is closed
	busy   atomic.Int32 // samples that are being made
	ahead  atomic.Bool  // whether the next batch waits for room in ready
	once   sync.Once    // of Close

	mu      sync.Mutex
	skipped []Skipped
}

// ErrClosed is what Next returns after Close.
var ErrClosed = errors.New("the data loader is closed")

// NewLoader lists the folder and starts to decode, from a cursor on. It fails
// with an *OptionsError on wrong options, on a folder without one usable
// picture, which it reads files to find out, on a cursor of another list of
// files, and with a *CacheError on a cache that is not of these files and
// options.
func NewLoader(opts Options, start Cursor) (*Loader, error) {
	opts, files, err := opts.open()
	if err != nil {
		return nil, err
	}
	names := fingerprint(files)
	switch {
	case start.Fingerprint == "":
		start.Files, start.Fingerprint = len(files), names
	case start.Fingerprint != names:
		return nil, fmt.Errorf("%s has changed since the run began: it had %d pictures and has %d, or others by name; an exact resume needs the same files", opts.Dir, start.Files, len(files))
	}
	if start.Epoch < 0 || start.Position < 0 || start.Position > len(files) {
		return nil, fmt.Errorf("the data cursor (epoch %d, position %d) lies outside the %d pictures of %s", start.Epoch, start.Position, len(files), opts.Dir)
	}
	l := &Loader{opts: opts, files: files, ready: make(chan *Batch, opts.Prefetch), free: make(chan *Batch, opts.Prefetch+2), skipped: start.Skipped}
	if opts.Cache != "" {
		if l.cache, err = openCache(opts, files); err != nil {
			return nil, err
		}
	}
	if err := l.probe(start.Skipped); err != nil {
		return nil, errors.Join(err, l.closeCache())
	}

	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	// One crop waits for each worker beside the one that it works on.
	window := 2 * opts.Workers
	jobs := make(chan *sample, window)
	for range opts.Workers {
		l.wg.Go(func() {
			w := newWorker(l)
			for s := range jobs {
				if ctx.Err() == nil {
					s.err = w.sample(s)
				}
				l.busy.Add(-1)
				s.done <- struct{}{}
			}
		})
	}
	l.wg.Go(func() {
		defer close(jobs)
		defer close(l.ready)
		l.err = l.assemble(ctx, start, jobs, window)
		l.ahead.Store(true) // there is no next batch
	})
	return l, nil
}

// probe looks for one usable picture.
func (l *Loader) probe(known []Skipped) error {
	skip := make(map[string]bool)
	for _, s := range known {
		skip[s.Path] = true
	}
	w := newWorker(l)
	first := ""
	for i, name := range l.files {
		if skip[name] {
			continue
		}
		why := ""
		if l.cache != nil {
			why = l.cache.entries[i].problem
		} else {
			_, why = w.open(name)
		}
		if why == "" {
			return nil
		}
		if first == "" {
			first = fmt.Sprintf("; %s: %s", name, why)
		}
	}
	return fmt.Errorf("%s holds no usable picture among %d files%s", l.opts.Dir, len(l.files), first)
}

// Files returns what List found when the loader was made. It is not to be
// changed.
func (l *Loader) Files() []string { return l.files }

// Next returns the next batch, waiting for it where it must. It fails when ctx
// ends, after Close, and when every file has turned out unusable.
func (l *Loader) Next(ctx context.Context) (*Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case b, ok := <-l.ready:
		if !ok {
			if l.last != nil {
				l.mu.Lock()
				l.skipped = l.last
				l.mu.Unlock()
			}
			return nil, l.err
		}
		l.mu.Lock()
		l.skipped = b.Cursor.Skipped
		l.mu.Unlock()
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Release gives a batch back for reuse. The caller keeps no part of it but the
// cursor. Batches that are not released cost memory, nothing else.
func (l *Loader) Release(b *Batch) {
	select {
	case l.free <- b:
	default:
	}
}

// Skipped returns the files found unusable up to the last batch of Next, those
// of the cursor that the loader began at among them.
func (l *Loader) Skipped() []Skipped {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.skipped)
}

// Close stops the loader and waits until its goroutines have ended.
func (l *Loader) Close() {
	l.once.Do(func() {
		l.cancel()
		for range l.ready { // what nobody will fetch
		}
		l.wg.Wait()
		_ = l.closeCache() // it was only read from
	})
}

func (l *Loader) closeCache() error {
	if l.cache == nil {
		return nil
	}
	return l.cache.pixels.Close()
}

// Idle reports whether the loader has made all that it makes ahead and waits
// for Next: what runs then has the processor for itself, which measurements
// need to know.
func (l *Loader) Idle() bool { return l.ahead.Load() && l.busy.Load() == 0 }

// A sample is one crop on its way.
type sample struct {
	epoch, position int
	file            int
	pixels          []float32 // (3, Size, Size), or what is derived from it
	problem         string    // why there is none
	err             error     // why there can be no more batches
	done            chan struct{}
}

// assemble hands samples out in order, takes them back in the same order and
// fills batches. All that a batch depends on happens here, one after another.
func (l *Loader) assemble(ctx context.Context, start Cursor, jobs chan<- *sample, window int) error {
	n := len(l.files)
	index := make(map[string]int, n)
	for i, name := range l.files {
		index[name] = i
	}
	bad := make([]bool, n)
	good := n
	skipped := slices.Clone(start.Skipped)
	for _, s := range skipped {
		if i, ok := index[s.Path]; ok && !bad[i] {
			bad[i] = true
			good--
		}
	}

	epoch, position := start.Epoch, start.Position
	order := l.order(epoch)
	// next sets s to the next file that is not known to be bad. One exists
	// while good > 0.
	next := func(s *sample) {
		for {
			if position == n {
				epoch, position = epoch+1, 0
				order = l.order(epoch)
			}
			s.epoch, s.position, s.file = epoch, position, order[position]
			position++
			if !bad[s.file] {
				return
			}
		}
	}

	size := l.opts.Values
	queue := make([]*sample, 0, window) // in order
	var idle []*sample
	for range window {
		idle = append(idle, &sample{pixels: make([]float32, size), done: make(chan struct{}, 1)})
	}
	batch, filled := l.batch(), 0
	for {
		for len(idle) > 0 {
			s := idle[len(idle)-1]
			idle = idle[:len(idle)-1]
			next(s)
			queue = append(queue, s)
			l.busy.Add(1)
			jobs <- s // never waits: it holds the whole window
		}
		s := queue[0]
		queue = append(queue[:0], queue[1:]...)
		select {
		case <-s.done:
		case <-ctx.Done():
			return ErrClosed
		}
		idle = append(idle, s)

		// A file may have been found bad after this sample of it was handed
		// out, or may have changed since.
		if bad[s.file] {
			continue
		}
		if s.err != nil {
			return s.err
		}
		if s.problem != "" {
			bad[s.file] = true
			good--
			skipped = append(skipped, Skipped{l.files[s.file], s.problem})
			if good == 0 {
				l.last = skipped // batches made before are still to be taken
				return fmt.Errorf("all %d pictures of %s have turned out unusable; the last is %s: %s", n, l.opts.Dir, l.files[s.file], s.problem)
			}
			continue
		}
		copy(batch.Pixels[filled*size:], s.pixels)
		batch.Paths[filled] = l.files[s.file]
		if filled++; filled < l.opts.Batch {
			continue
		}
		batch.Cursor = Cursor{
			Epoch: s.epoch, Position: s.position + 1,
			Files: n, Fingerprint: start.Fingerprint,
			Skipped: slices.Clip(skipped), // appending leaves it alone
		}
		l.ahead.Store(true)
		select {
		case l.ready <- batch:
		case <-ctx.Done():
			return ErrClosed
		}
		l.ahead.Store(false)
		batch, filled = l.batch(), 0
	}
}

// batch returns a batch to fill, a used one where there is one.
func (l *Loader) batch() *Batch {
	select {
	case b := <-l.free:
		return b
	default:
		return &Batch{Pixels: make([]float32, l.opts.Batch*l.opts.Values), Paths: make([]string, l.opts.Batch)}
	}
}

// order returns the order of the files in an epoch.
func (l *Loader) order(epoch int) []int {
	return rand.New(rand.NewChaCha8(l.key("order", epoch, 0))).Perm(len(l.files))
}

// key makes the seed of one decision's random numbers. ChaCha8 is a
// cryptographic generator: neighbouring keys give unrelated numbers.
func (l *Loader) key(what string, epoch, position int) (key [32]byte) {
	binary.LittleEndian.PutUint64(key[0:], l.opts.Seed)
	binary.LittleEndian.PutUint64(key[8:], uint64(epoch))
	binary.LittleEndian.PutUint64(key[16:], uint64(position))
	copy(key[24:], what)
	return key
}

// A worker turns files into crops, one at a time, in buffers of its own.
type worker struct {
	*Loader
	decoder   images.Decoder
	file      bytes.Buffer
	resampler images.Resampler
	planes    images.Planes // of a photo that was decoded
	buf       []byte        // of one that comes from the cache
	source    *rand.ChaCha8
	random    *rand.Rand
	derive    func(dst, crop []float32, random *rand.Rand) error // of the first sample on
	crop      []float32                                          // that it is given
}

func newWorker(l *Loader) *worker {
	source := rand.NewChaCha8([32]byte{})
	return &worker{Loader: l, decoder: images.Decoder{MaxPixels: l.opts.MaxPixels}, source: source, random: rand.New(source)}
}

// open decodes a file, or says why it cannot be used.
func (w *worker) open(name string) (*images.Source, string) {
	full := filepath.Join(w.opts.Dir, filepath.FromSlash(name))
	src, err := w.decoder.OpenSource(full, &w.file)
	if err != nil {
		return nil, reason(full, err)
	}
	width, height := src.Size()
	if why := tooSmall(width, height, w.opts.MinSide); why != "" {
		return nil, why
	}
	return src, ""
}

// sample fills in the sample's pixels or its problem. It fails where the cache
// does, or what derives them.
func (w *worker) sample(s *sample) error {
	if w.opts.Derive == nil {
		return w.make(s, s.pixels)
	}
	if w.derive == nil {
		var err error
		if w.derive, err = w.opts.Derive(); err != nil {
			return err
		}
		w.crop = make([]float32, 3*w.opts.Size*w.opts.Size)
	}
	if err := w.make(s, w.crop); err != nil || s.problem != "" {
		return err
	}
	w.source.Seed(w.key("derive", s.epoch, s.position))
	return w.derive(s.pixels, w.crop, w.random)
}

// make fills in the sample's crop or its problem. It fails where the cache
// does.
func (w *worker) make(s *sample, pixels []float32) error {
	if w.cache != nil {
		e := &w.cache.entries[s.file]
		if s.problem = e.problem; s.problem != "" {
			return nil
		}
		c := w.draw(s, e.width, e.height)
		return w.cache.use(s.file, &w.buf, func(p *images.Planes) error {
			return w.resampler.CropPlanes(pixels, p, c.w, c.h, c.rect, c.flip)
		})
	}
	var src *images.Source
	if src, s.problem = w.open(w.files[s.file]); s.problem != "" {
		return nil
	}
	width, height := src.Size()
	c := w.draw(s, width, height)
	p := &w.planes
	p.W, p.H = w.opts.reduced(width, height)
	p.Rect = w.resampler.Reach(p.W, p.H, c.w, c.h, c.rect)
	err := w.resampler.Planes(p, src)
	if err == nil {
		err = w.resampler.CropPlanes(pixels, p, c.w, c.h, c.rect, c.flip)
	}
	return err
}

// A crop is what is cut from a photo.
type crop struct {
	w, h int // the photo's size at the zoom
	rect image.Rectangle
	flip bool
}

// draw chooses the crop of a photo of that size.
func (w *worker) draw(s *sample, width, height int) crop {
	w.source.Seed(w.key("crop", s.epoch, s.position))
	zoom := w.opts.ScaleMin + (w.opts.ScaleMax-w.opts.ScaleMin)*w.random.Float64()
	size := w.opts.Size
	width, height = images.ShortSide(width, height, w.opts.shortSide(zoom))
	x, y := w.random.IntN(width-size+1), w.random.IntN(height-size+1)
	return crop{width, height, image.Rect(x, y, x+size, y+size), w.random.IntN(2) == 1 && w.opts.Flip}
}
