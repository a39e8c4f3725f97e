package batch

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"sync"
	"time"
)

// JournalName is the file, in a folder of results, that tells which are done.
const JournalName = ".stylenet-journal"

// Entry is a line of a journal: a result that is on the disk, and what it was
// made of.
type Entry struct {
	Output      string    `json:"output"`       // in the folder of results, slash-separated
	OutputBytes int64     `json:"output_bytes"` // its size
	Input       string    `json:"input"`        // its absolute path
	InputBytes  int64     `json:"input_bytes"`
	Modified    time.Time `json:"input_modified"`
	Settings    string    `json:"settings"` // a digest of all that decides the result beside the input
}

// line is the entry as it stands in the file.
func (e Entry) line() ([]byte, error) {
	e.Modified = e.Modified.UTC()
	b, err := json.Marshal(e)
	return append(b, '\n'), err
}

// Describe begins the entry of a result of an input, as that is on the disk. It is
// to be called before the input is read: a result of what was there before is not
// taken for one of what came meanwhile.
func Describe(input, settings string) (Entry, error) {
	e := Entry{Settings: settings}
	in, err := os.Stat(input)
	if err != nil {
		return e, err
	}
	e.InputBytes, e.Modified = in.Size(), in.ModTime()
	e.Input, err = filepath.Abs(input)
	return e, err
}

// Of is the entry of a result in the folder dir, as it is on the disk.
func (e Entry) Of(dir, output string) (Entry, error) {
	out, err := os.Stat(output)
	if err != nil {
		return e, err
	}
	rel, err := filepath.Rel(dir, output)
	e.Output, e.OutputBytes = filepath.ToSlash(rel), out.Size()
	return e, err
}

// Journal remembers which results are done. A line is added to its file, by one
// write, after the result is on the disk, so that a process that is killed
// leaves at most one result undone that it has made. Of the lines there is an
// index of hashes, sorted in runs, of which one is held in memory: a journal of
// any length takes the same. Several processes may add to one journal. It is
// safe for concurrent use.
type Journal struct {
	path  string
	seed  maphash.Seed
	runs  []int // entries of each run before the last, which are in spill
	spill *os.File
	named bool // spill has a name still
	last  []place

	mu   sync.Mutex
	file *os.File
}

// place is where a line with a hash is in the file.
type place struct {
	hash uint64
	at   int64
}

// placeBytes is what a place takes in a file.
const placeBytes = 16

// runPlaces is how many lines a run of the index has.
const runPlaces = 1 << 19

// maxLine bounds what is read of a line, in bytes: two paths and numbers.
const maxLine = 1 << 18

// OpenJournal opens the journal of a folder of results, which it makes.
func OpenJournal(dir string) (*Journal, error) { return openJournal(dir, runPlaces) }

func openJournal(dir string, run int) (_ *Journal, err error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	j := &Journal{path: filepath.Join(dir, JournalName), seed: maphash.MakeSeed()}
	if j.file, err = os.OpenFile(j.path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o666); err != nil {
		return nil, err
	}
	if err = j.index(run); err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s: %w", j.path, err), j.Close())
	}
	return j, nil
}

// index reads the file. A line that was cut off, as by a power cut, is equal to
// no entry; its end is made up for, so that the next one stands alone.
func (j *Journal) index(run int) error {
	r := bufio.NewReaderSize(j.file, maxLine)
	at := int64(0)
	for {
		line, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			if len(line) > 0 {
				if _, err := j.file.Write([]byte{'\n'}); err != nil {
					return err
				}
			}
			j.sortLast()
			return nil
		case errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("a line has more than %d bytes: it is no journal of stylenet; move it away to start anew", maxLine)
		case err != nil:
			return err
		}
		if len(j.last) == run {
			if err := j.endRun(); err != nil {
				return err
			}
		}
		j.last = append(j.last, place{maphash.Bytes(j.seed, line), at})
		at += int64(len(line))
	}
}

func (j *Journal) sortLast() {
	slices.SortFunc(j.last, func(a, b place) int { return cmp.Compare(a.hash, b.hash) })
}

// endRun moves the run at hand to the temporary file.
func (j *Journal) endRun() error {
	if j.spill == nil {
		f, err := os.CreateTemp("", "stylenet-*.index")
		if err != nil {
			return err
		}
		// Windows removes no open file; elsewhere not even a process that is
		// killed leaves it behind.
		j.spill, j.named = f, os.Remove(f.Name()) != nil
	}
	j.sortLast()
	w := bufio.NewWriter(j.spill)
	var b [placeBytes]byte
	for _, p := range j.last {
		binary.LittleEndian.PutUint64(b[:], p.hash)
		binary.LittleEndian.PutUint64(b[8:], uint64(p.at))
		if _, err := w.Write(b[:]); err != nil {
			return err
		}
	}
	j.runs = append(j.runs, len(j.last))
	j.last = j.last[:0]
	return w.Flush()
}

// Has says that an entry was in the journal when it was opened.
func (j *Journal) Has(e Entry) (bool, error) {
	line, err := e.line()
	if err != nil {
		return false, err
	}
	hash := maphash.Bytes(j.seed, line)
	in := func(i int) (place, error) { return j.last[i], nil }
	if found, err := j.search(line, hash, len(j.last), in); found || err != nil {
		return found, err
	}
	first := 0
	for _, n := range j.runs {
		in := func(i int) (place, error) { return j.spilled(first + i) }
		if found, err := j.search(line, hash, n, in); found || err != nil {
			return found, err
		}
		first += n
	}
	return false, nil
}

// spilled reads a place from the temporary file.
func (j *Journal) spilled(i int) (place, error) {
	var b [placeBytes]byte
	_, err := j.spill.ReadAt(b[:], placeBytes*int64(i))
	return place{binary.LittleEndian.Uint64(b[:]), int64(binary.LittleEndian.Uint64(b[8:]))}, err
}

// search looks for a line in a run of n places.
func (j *Journal) search(line []byte, hash uint64, n int, run func(int) (place, error)) (bool, error) {
	var failed error
	first := sort.Search(n, func(i int) bool {
		p, err := run(i)
		failed = cmp.Or(failed, err)
		return p.hash >= hash
	})
	for i := first; i < n && failed == nil; i++ {
		p, err := run(i)
		if err != nil || p.hash != hash {
			return false, err
		}
		there := make([]byte, len(line))
		if n, err := j.file.ReadAt(there, p.at); n < len(there) {
			if errors.Is(err, io.EOF) {
				continue
			}
			return false, err
		}
		if bytes.Equal(there, line) {
			return true, nil
		}
	}
	return false, failed
}

// Add adds an entry, which Has does not know before the journal is opened again.
func (j *Journal) Add(e Entry) error {
	line, err := e.line()
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.file.Write(line); err != nil {
		return fmt.Errorf("journal %s: %w", j.path, err)
	}
	return nil
}

// Close closes the file.
func (j *Journal) Close() error {
	err := j.file.Close()
	if j.spill != nil {
		err = errors.Join(err, j.spill.Close())
		if j.named {
			err = errors.Join(err, os.Remove(j.spill.Name()))
		}
	}
	return err
}
