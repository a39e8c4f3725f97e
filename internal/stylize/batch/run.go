package batch

import (
	"context"
	"iter"
	"sync"
)

// Stages are what is done to each item: Read, Compute and Write, one after the
// other. Compute works on one item at a time, in order, while others are read
// and written.
type Stages[T any] struct {
	Read    func(T) error
	Compute func(T) error
	Write   func(T) error
	// Done is told of each item in order, with the error of the stage that
	// failed. An error of its own ends the run.
	Done func(T, error) error

	// Jobs is how many items are in work at a time, 1 or more: with 1 no stage
	// begins before the last has ended.
	Jobs int
	// Weigh, unless nil, says how many bytes an item takes. Of several in work
	// the sum stays within Limit; one that is heavier is in work alone.
	Weigh func(T) int64
	Limit int64
}

// work is an item on its way.
type work[T any] struct {
	item   T
	weight int64
	err    error
	read   chan struct{} // closed when it was read
	done   chan struct{} // closed when it was written, or has failed
}

// Run does the stages for all items. An item that fails stops no other. When ctx
// ends, no more items are begun, those that were computed are written, and Done
// does not hear of the rest. Run returns after all that, with the first error of
// items, of Done or of ctx.
func (s Stages[T]) Run(ctx context.Context, items iter.Seq2[T, error]) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	room := newRoom(s.Jobs, s.Limit)
	// Waiting for room that will not come must end with ctx.
	defer context.AfterFunc(ctx, room.close)()
	begun := make(chan *work[T], s.Jobs)
	computed := make(chan *work[T], s.Jobs)
	var all sync.WaitGroup
	all.Go(func() {
		defer close(begun)
		for item, err := range items {
			if err != nil {
				stop(err)
				return
			}
			w := &work[T]{item: item, read: make(chan struct{}), done: make(chan struct{})}
			if s.Weigh != nil {
				w.weight = s.Weigh(item)
			}
			if !room.take(w.weight) {
				return
			}
			begun <- w
			go func() {
				defer close(w.read)
				w.err = s.Read(item)
			}()
		}
	})
	all.Go(func() {
		defer close(computed)
		for w := range begun {
			s.compute(ctx, w)
			computed <- w
		}
	})
	for w := range computed {
		<-w.done
		if w.err == nil || ctx.Err() == nil {
			if err := s.Done(w.item, w.err); err != nil {
				stop(err)
			}
		}
		room.give(w.weight)
	}
	all.Wait()
	return context.Cause(ctx)
}

// compute computes an item that is read, and begins to write it.
func (s Stages[T]) compute(ctx context.Context, w *work[T]) {
	<-w.read
	if w.err == nil {
		w.err = context.Cause(ctx)
	}
	if w.err == nil {
		w.err = s.Compute(w.item)
	}
	if w.err != nil {
		close(w.done)
		return
	}
	go func() {
		defer close(w.done)
		w.err = s.Write(w.item)
	}()
}

// room lets so many items of a limited weight in at a time. One that is alone
// may weigh any.
type room struct {
	mu     sync.Mutex
	free   sync.Cond
	most   int
	limit  int64
	items  int
	weight int64
	closed bool
}

func newRoom(most int, limit int64) *room {
	r := &room{most: most, limit: limit}
	r.free.L = &r.mu
	return r
}

// take waits for room, and says whether there is any still.
func (r *room) take(weight int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.closed && r.items > 0 && (r.items >= r.most || r.weight+weight > r.limit) {
		r.free.Wait()
	}
	r.items++
	r.weight += weight
	return !r.closed
}

func (r *room) give(weight int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.items--
	r.weight -= weight
	r.free.Broadcast()
}

func (r *room) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.free.Broadcast()
}
