package vgg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"stylenet/internal/atomicfile"
	"stylenet/internal/formats/safetensors"
)

// TorchvisionURL is torchvision's file: 548 MB with its classifier, of which
// Fetch keeps the 80 MB of the convolutions.
const TorchvisionURL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"

// maxDownload bounds what a wrong server can make Fetch write.
const maxDownload = 1 << 30

// nameHash finds the checksum in a name such as vgg19-dcbb9e9d.pth, which
// torch.hub compares with the beginning of the file's SHA-256.
var nameHash = regexp.MustCompile(`-([0-9a-f]{8,64})\.[a-z]+$`)

// Fetch downloads weights from a URL whose file name carries the beginning of
// their SHA-256, checks them, and writes the convolutions to dest as Import
// does. progress, which may be nil, is told the bytes that are here and the
// bytes of the whole file, 0 where the server does not say.
//
// What a broken connection leaves is kept beside dest in a file ".part", and
// the next Fetch of the same URL goes on from there. A file whose checksum
// differs is removed.
func Fetch(ctx context.Context, client *http.Client, address, dest string, progress func(done, total int64)) error {
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("fetch VGG-19 weights: %w", err)
	}
	name := path.Base(u.Path)
	m := nameHash.FindStringSubmatch(name)
	if m == nil {
		return &advised{
			fmt.Errorf("fetch %s: the file name carries no checksum, as vgg19-dcbb9e9d.pth does", address),
			"download the file and run stylenet weights import FILE",
		}
	}
	if err := os.MkdirAll(filepath.Dir(dest), 0o755); err != nil {
		return fmt.Errorf("fetch VGG-19 weights: %w", err)
	}
	part := filepath.Join(filepath.Dir(dest), name+".part")
	if err := download(ctx, client, address, part, progress); err != nil {
		return &advised{
			fmt.Errorf("fetch %s: %w", address, err),
			"run the command again to go on, or stylenet weights import FILE with a file from elsewhere",
		}
	}
	sum, err := hash(part)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(sum, m[1]) {
		err := fmt.Errorf("fetch %s: the SHA-256 of what came is %s, but must begin with %s: the file was damaged or replaced on the way and is removed, fetch it again", address, sum, m[1])
		return errors.Join(err, os.Remove(part))
	}
	err = Import(part, dest, Auto)
	// A file with the right checksum that cannot be used will not get better.
	return errors.Join(err, os.Remove(part))
}

// download completes the file part.
func download(ctx context.Context, client *http.Client, address, part string, progress func(done, total int64)) error {
	f, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	err = errors.Join(receive(ctx, client, address, f, progress), f.Close())
	if info, statErr := os.Stat(part); err != nil && statErr == nil && info.Size() == 0 {
		err = errors.Join(err, os.Remove(part)) // nothing to go on from
	}
	return err
}

func receive(ctx context.Context, client *http.Client, address string, f *os.File, progress func(done, total int64)) error {
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	resp, err := request(ctx, client, address, have)
	if err == nil && resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		// The part is as long as the file or longer; start over.
		resp.Body.Close()
		resp, err = request(ctx, client, address, 0)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		if have, err = 0, f.Truncate(0); err == nil {
			_, err = f.Seek(0, io.SeekStart)
		}
		if err != nil {
			return err
		}
	case http.StatusPartialContent:
		if got := resp.Header.Get("Content-Range"); !strings.HasPrefix(got, fmt.Sprintf("bytes %d-", have)) {
			return fmt.Errorf("the server was asked for the bytes from %d on and sent %q", have, got)
		}
	default:
		return fmt.Errorf("the server answered %s", resp.Status)
	}
	w := &meter{w: f, done: have, progress: progress}
	if resp.ContentLength >= 0 {
		w.total = have + resp.ContentLength
	}
	if w.total > maxDownload {
		return fmt.Errorf("the file has %d bytes, the limit is %d", w.total, int64(maxDownload))
	}
	_, err = io.Copy(w, resp.Body)
	return err
}

func request(ctx context.Context, client *http.Client, address string, from int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	resp, err := client.Do(req)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // Fetch names the address
	}
	return resp, err
}

// meter counts what is written.
type meter struct {
	w           io.Writer
	done, total int64
	progress    func(done, total int64)
}

func (m *meter) Write(p []byte) (int, error) {
	if m.done+int64(len(p)) > maxDownload {
		return 0, fmt.Errorf("the file is larger than the limit of %d bytes", int64(maxDownload))
	}
	n, err := m.w.Write(p)
	m.done += int64(n)
	if m.progress != nil {
		m.progress(m.done, m.total)
	}
	return n, err
}

// Import takes the convolutions out of a file of weights, as Open reads it,
// and writes them to dest as float32 safetensors whose metadata tell the
// convention, so that Open needs no more help. It makes dest's folder. dest is
// replaced whole or not at all; errors name the file.
func Import(src, dest, convention string) error {
	f, err := read(src, convention)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dest), 0o755); err != nil {
		return fmt.Errorf("import VGG-19 weights: %w", err)
	}
	metadata := map[string]string{
		"format":        "pt",
		"architecture":  "vgg19",
		keyConvention:   string(f.Convention),
		"source":        strings.TrimSuffix(filepath.Base(src), ".part"),
		"source_sha256": f.sha256,
	}
	return atomicfile.Write(dest, 0o644, func(w io.Writer) error {
		return safetensors.Encode(w, f.Set, metadata, safetensors.F32)
	})
}
