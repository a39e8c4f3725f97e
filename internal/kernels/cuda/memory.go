//go:build cudnn || cudahost

package cuda

import (
	"errors"
	"fmt"

	"stylenet/internal/kernels"
)

const (
	alignment = 256
	// cacheBytes is how much memory of closed scopes waits for the next ones: a
	// driver takes long to hand it out.
	cacheBytes = 1 << 30
)

func align(n, to int) int { return (n + to - 1) / to * to }

func roundUp(bytes int) int { return align(kernels.RoundUp(max(bytes, 1)), alignment) }

// block is memory that arrays with disjoint lifetimes share.
type block struct {
	data  ptr
	bytes int
}

// memory is what a device holds, that of its scopes included.
type memory struct {
	held, peak int64
	all        map[*block]bool
	cache      []*block // of closed scopes
	cached     int
	// scratch is what kernels need for as long as they run, and lies where the
	// last one that asked for more than there was has put it.
	scratch *block
}

// fit takes the smallest of the blocks that fits and is at most twice as large
// out of them, or returns nil.
func fit(blocks *[]*block, bytes int) *block {
	best := -1
	for i, b := range *blocks {
		if b.bytes >= bytes && b.bytes <= 2*bytes && (best < 0 || b.bytes < (*blocks)[best].bytes) {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	b := (*blocks)[best]
	*blocks = append((*blocks)[:best], (*blocks)[best+1:]...)
	return b
}

// take returns a block of the device or scope: one that was released in it, one
// of a closed scope, or a new one.
func (d *Device) take(bytes int) (*block, error) {
	if d.closed || d.engine.closed {
		return nil, errClosed
	}
	if b := fit(&d.free, roundUp(bytes)); b != nil {
		return b, nil
	}
	return d.keep(bytes)
}

// keep returns a block for what must last from step to step: not one that was
// released, which kernels that are bound already write to in every step.
func (d *Device) keep(bytes int) (*block, error) {
	if d.closed || d.engine.closed {
		return nil, errClosed
	}
	bytes = roundUp(bytes)
	b := fit(&d.cache, bytes)
	if b != nil {
		d.cached -= b.bytes
	} else {
		var err error
		if b, err = d.allocate(bytes); err != nil {
			return nil, err
		}
	}
	d.blocks = append(d.blocks, b)
	return b, nil
}

func (e *engine) allocate(bytes int) (*block, error) {
	if e.held+int64(bytes) > e.peak {
		e.flush() // what only waits never adds to the peak
	}
	p, err := e.driver.alloc(bytes)
	if full := (*memoryError)(nil); errors.As(err, &full) {
		e.flush()
		p, err = e.driver.alloc(bytes)
	}
	if err != nil {
		return nil, e.outOfMemory(bytes, err)
	}
	return e.hold(p, bytes), nil
}

func (e *engine) hold(p ptr, bytes int) *block {
	b := &block{p, bytes}
	e.all[b] = true
	e.held += int64(bytes)
	e.peak = max(e.peak, e.held)
	return b
}

func (e *engine) outOfMemory(bytes int, err error) error {
	if full := (*memoryError)(nil); !errors.As(err, &full) {
		return err
	}
	free, total := e.driver.memory()
	return fmt.Errorf("out of GPU memory: %d MiB were asked for, %d of %d MiB are free, %d MiB are held here; less is needed with a smaller train.batch or data.size, with --tile or --memory for pictures, or with precision bf16: %w",
		bytes>>20, free>>20, total>>20, e.held>>20, err)
}

// giveBack keeps a block of a closed scope for the next one, or frees it.
func (e *engine) giveBack(b *block) {
	if e.cached+b.bytes > cacheBytes {
		e.drop(b)
		return
	}
	e.cache = append(e.cache, b)
	e.cached += b.bytes
}

func (e *engine) drop(b *block) {
	e.driver.free(b.data)
	e.held -= int64(b.bytes)
	delete(e.all, b)
}

// flush frees what is cached, once no launch can use it any more.
func (e *engine) flush() {
	if len(e.cache) == 0 {
		return
	}
	if err := e.driver.sync(); err != nil {
		e.fail(err)
	}
	for _, b := range e.cache {
		e.drop(b)
	}
	e.cache, e.cached = nil, 0
}

// reserve makes the scratch memory at least that large.
func (e *engine) reserve(bytes int) error {
	if bytes <= e.scratch.bytes {
		return nil
	}
	if e.recording != nil {
		return errors.New("cuda: scratch memory is full while launches are recorded")
	}
	if err := e.driver.sync(); err != nil {
		e.fail(err)
	}
	if before := e.scratch; before.bytes > 0 {
		e.drop(before)
		e.scratch = &block{}
		defer func() {
			if e.scratch.bytes == 0 { // kernels that were bound before need no more than they had
				if p, err := e.driver.alloc(before.bytes); err == nil {
					e.scratch = e.hold(p, before.bytes)
				}
			}
		}()
	}
	b, err := e.allocate(roundUp(bytes))
	if err != nil {
		return err
	}
	e.scratch = b
	return nil
}
