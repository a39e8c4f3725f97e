//go:build cudnn || cudahost

package cuda

import (
	"errors"
	"fmt"
	"unsafe"

	"stylenet/internal/kernels"
)

var _ kernels.Fetcher = (*Device)(nil)

// Fetch binds a copy of parameters to the host: one launch collects them, one
// copy takes them to pinned memory.
func (d *Device) Fetch(srcs []kernels.Array) (start kernels.Kernel, take func([]float32) error, err error) {
	if len(srcs) == 0 {
		return nil, nil, errors.New("fetch: no arrays")
	}
	if err := d.check(nil, nil, srcs); err != nil {
		return nil, nil, fmt.Errorf("fetch: %w", err)
	}
	tensors, total := make([]tensor, len(srcs)), 0
	for i, s := range srcs {
		tensors[i] = tensor{g: arr(s).data, count: int64(s.Shape().Elements())}
		total += s.Shape().Elements()
	}
	b, err := d.keep(4 * total)
	if err != nil {
		return nil, nil, fmt.Errorf("fetch: %w", err)
	}
	to := b.data
	for i := range tensors {
		tensors[i].p = to
		to += ptr(4 * tensors[i].count)
	}
	args, grid, err := d.tables(tensors)
	if err != nil {
		return nil, nil, fmt.Errorf("fetch: %w", err)
	}
	p := d.plan()
	launch(p, "collect", float32Element, grid, args)
	collect, err := p.kernel()
	if err != nil {
		return nil, nil, err
	}
	blocks, err := d.driver.fetches(4 * total)
	if err != nil {
		return nil, nil, fmt.Errorf("fetch: %w", err)
	}
	d.cleanup = append(d.cleanup, blocks.close)

	started, taken := 0, 0
	start = func() {
		switch {
		case d.closed || d.engine.closed:
			d.fail(errClosed)
			return
		case d.recording != nil:
			d.fail(errors.New("fetch: launches are being recorded"))
			return
		case started-taken == kernels.Fetches:
			d.fail(fmt.Errorf("fetch: %d copies are under way, and none was taken", kernels.Fetches))
			return
		}
		collect()
		blocks.start(started%kernels.Fetches, b.data)
		started++
	}
	take = func(dst []float32) error {
		switch {
		case d.closed || d.engine.closed:
			return errClosed
		case len(dst) != total:
			return fmt.Errorf("fetch: %d values into room for %d", total, len(dst))
		case taken == started:
			return errors.Join(d.failed(), errors.New("fetch: no copy is under way"))
		}
		taken++
		return errors.Join(d.failed(), blocks.take((taken-1)%kernels.Fetches, unsafe.Pointer(&dst[0])))
	}
	return start, take, nil
}
