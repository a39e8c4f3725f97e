package vgg

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stylenet/internal/networks"
)

// shop serves one file under a name with its checksum, and counts.
type shop struct {
	*httptest.Server
	content  []byte
	url      string
	requests []string // their Range headers
	serve    http.HandlerFunc
}

func open(t *testing.T) *shop {
	t.Helper()
	path := save(t, small(t), map[string]string{"stylenet.convention": "torchvision"})
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := hash(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{content: content}
	s.serve = func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.content))
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests = append(s.requests, r.Header.Get("Range"))
		s.serve(w, r)
	}))
	t.Cleanup(s.Close)
	s.url = s.URL + "/models/vgg19-" + sum[:8] + ".pth"
	return s
}

func (s *shop) fetch(dest string, progress func(done, total int64)) error {
	return Fetch(context.Background(), s.Client(), s.url, dest, progress)
}

// onlyFile fails unless dir holds that file alone.
func onlyFile(t *testing.T, dir, name string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != name {
			t.Errorf("%s is left behind", e.Name())
		}
	}
	if name != "" && len(entries) == 0 {
		t.Errorf("no %s", name)
	}
}

func TestFetch(t *testing.T) {
	s := open(t)
	dir := filepath.Join(t.TempDir(), "cache")
	dest := filepath.Join(dir, "vgg19.safetensors")
	var done, total int64
	if err := s.fetch(dest, func(d, n int64) { done, total = d, n }); err != nil {
		t.Fatal(err)
	}
	if size := int64(len(s.content)); done != size || total != size {
		t.Errorf("progress ended at %d of %d, want %d", done, total, size)
	}
	onlyFile(t, dir, "vgg19.safetensors")
	w, err := Open(dest, Auto)
	if err != nil {
		t.Fatal(err)
	}
	if w.Convention != networks.Torchvision || w.Set.Len() != 4 {
		t.Errorf("%s, %d tensors", w.Convention, w.Set.Len())
	}
}

// A connection that breaks is gone on with where it broke.
func TestFetchResumes(t *testing.T) {
	s := open(t)
	dir := t.TempDir()
	dest := filepath.Join(dir, "vgg19.safetensors")
	whole, half := s.serve, len(s.content)/2
	s.serve = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(s.content)))
		w.Write(s.content[:half])
	}
	wantError(t, s.fetch(dest, nil), s.url, "unexpected EOF", "run the command again", "weights import FILE")
	if _, err := os.Stat(dest); err == nil {
		t.Error("half a download became weights")
	}
	s.serve = whole
	if err := s.fetch(dest, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := s.requests[1], fmt.Sprintf("bytes=%d-", half); got != want {
		t.Errorf("asked for %q, want %q", got, want)
	}
	onlyFile(t, dir, "vgg19.safetensors")
}

func TestFetchStartsOver(t *testing.T) {
	for name, c := range map[string]struct {
		left  string // what an earlier download left
		serve func(s *shop) http.HandlerFunc
	}{
		"server without ranges": {"half", func(s *shop) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { w.Write(s.content) }
		}},
		"part too long": {strings.Repeat("x", 1<<20), func(s *shop) http.HandlerFunc { return s.serve }},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			s.serve = c.serve(s)
			dir := t.TempDir()
			part := filepath.Join(dir, filepath.Base(s.url)+".part")
			if err := os.WriteFile(part, []byte(c.left), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := s.fetch(filepath.Join(dir, "w"), nil); err != nil {
				t.Fatal(err)
			}
			onlyFile(t, dir, "w")
		})
	}
}

func TestFetchFails(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *shop)
		want   []string
	}{
		"wrong content": {func(s *shop) { s.content[len(s.content)-1]++ }, []string{"SHA-256", "must begin with", "removed"}},
		"not found":     {func(s *shop) { s.serve = http.NotFound }, []string{"404 Not Found"}},
		"no checksum":   {func(s *shop) { s.url = s.URL + "/vgg19.pth" }, []string{"carries no checksum", "weights import FILE"}},
		"no server":     {func(s *shop) { s.Close() }, []string{"dial tcp", "weights import FILE"}},
		"too large": {func(s *shop) {
			s.serve = func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Length", fmt.Sprint(int64(maxDownload)+1))
				w.WriteHeader(http.StatusOK)
			}
		}, []string{"the limit is 1073741824"}},
		"wrong range": {func(s *shop) {
			s.serve = func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Range", "bytes 7-9/10")
				w.WriteHeader(http.StatusPartialContent)
			}
		}, []string{"bytes 7-9/10"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			c.change(s)
			dir := t.TempDir()
			wantError(t, s.fetch(filepath.Join(dir, "w"), nil), append(c.want, s.url)...)
			if _, err := os.Stat(filepath.Join(dir, "w")); err == nil {
				t.Error("weights were written")
			}
			onlyFile(t, dir, "")
		})
	}
}

func TestFetchStops(t *testing.T) {
	s := open(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := Fetch(ctx, s.Client(), s.url, filepath.Join(t.TempDir(), "w"), nil)
	wantError(t, err, "context canceled")
}
