package batch

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"stylenet/internal/images"
)

// Plan says where the results go.
type Plan struct {
	Inputs *Inputs
	// Output is the file of the only result, or the folder of all.
	Output string
	// Folder says that Output is a folder, whether it exists or not.
	Folder  bool
	Pattern Pattern
	Models  []string // their names; each has a result of each picture
	// Read are files and folders of files that are read beside the pictures, and
	// are kept as they are: masks, styles, models. What is not there is ignored.
	Read []string
	// Format is that of the results, one of images.EncodeFormats; "" takes it
	// from their names.
	Format string
}

// CollisionError reports results that would have the same name.
type CollisionError struct {
	A, B   string // inputs, or models
	Output string
}

func (e *CollisionError) Error() string {
	return fmt.Sprintf("%s and %s would both be written to %s", e.A, e.B, e.Output)
}

// InputError reports a result that would be written over an input, or among the
// inputs, where it would be taken for one.
type InputError struct {
	Output string
	Folder string // of inputs; "" where the output itself is an input
}

func (e *InputError) Error() string {
	if e.Folder == "" {
		return fmt.Sprintf("%s is an input, and inputs are never overwritten", e.Output)
	}
	return fmt.Sprintf("%s would lie among the inputs in %s, which are never overwritten or added to", e.Output, e.Folder)
}

// Outputs returns the files of a picture's results, one for each model.
func (p *Plan) Outputs(pic Picture) []string {
	if !p.Folder {
		return []string{p.Output}
	}
	ext := p.extension(pic.Name)
	outputs := make([]string, len(p.Models))
	for i, m := range p.Models {
		outputs[i] = filepath.Join(p.Output, filepath.FromSlash(p.Pattern.name(pic.Name, ext, m)))
	}
	return outputs
}

// OutputFormat is the format of a result, one of images.EncodeFormats.
func (p *Plan) OutputFormat(output string) (string, error) {
	if p.Format != "" {
		return p.Format, nil
	}
	return images.FormatOf(output)
}

// extension is that of a result, without its dot: that of the picture where it
// is one of the format, or of any that can be written where none is set.
func (p *Plan) extension(name string) string {
	ext := strings.TrimPrefix(path.Ext(name), ".")
	if format, err := images.FormatNamed(ext); err == nil && ext != "" && cmp.Or(p.Format, format) == format {
		return ext
	}
	return Extension(cmp.Or(p.Format, "PNG"))
}

// Extension is the usual extension of a format of images.EncodeFormats, without
// its dot.
func Extension(format string) string {
	for _, ext := range images.EncodeExtensions() {
		if f, err := images.FormatNamed(ext[1:]); err == nil && f == format {
			return ext[1:]
		}
	}
	return strings.ToLower(format)
}

// Pictures yields the pictures. Those in the folder of results are not among
// those of a folder around it, so that a command can be repeated.
func (p *Plan) Pictures() (seq func(func(Picture, error) bool), err error) {
	except, err := p.except()
	if err != nil {
		return nil, err
	}
	return p.Inputs.Pictures(except), nil
}

// except is the folder of results, where that lies in one of pictures.
func (p *Plan) except() (string, error) {
	if !p.Folder {
		return "", nil
	}
	real, err := RealPath(p.Output)
	if err != nil {
		return "", err
	}
	for _, a := range p.Inputs.args {
		if a.kind == folder && a.real == real {
			return "", &InputError{p.Output, a.dir}
		}
	}
	return real, nil
}

// Check goes through all pictures, whose number it returns, and refuses results
// that would have the same name (*CollisionError), or be written over inputs or
// among them (*InputError). Nothing is written.
func (p *Plan) Check(ctx context.Context) (pictures int, err error) {
	c, err := p.newCheck()
	if err != nil {
		return 0, err
	}
	total := 0
	err = c.each(ctx, func(pic Picture, outputs []string) error {
		pictures++
		total += len(outputs)
		for _, output := range outputs {
			if err := c.apart(output); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || total < 2 {
		return pictures, err
	}
	return pictures, c.unique(ctx, total)
}

// Apart refuses another file that is to be written, as Check does results: an
// input, or what would lie among inputs.
func (p *Plan) Apart(path string) error {
	c, err := p.newCheck()
	if err != nil {
		return err
	}
	return c.apart(path)
}

// check is the state of Check.
type check struct {
	plan   *Plan
	except string
	seed   maphash.Seed
	window int // hashes that are held at a time

	files     []fileInfo
	read      map[string]string // folders of Plan.Read without links, and as they are named
	last, dir string            // the folder of the last result, as it is named and without links
}

type fileInfo struct {
	os.FileInfo
	path string
}

// hashWindow is how many names of results are compared at a time, 8 bytes each.
const hashWindow = 1 << 20

func (p *Plan) newCheck() (*check, error) {
	except, err := p.except()
	if err != nil {
		return nil, err
	}
	c := &check{plan: p, except: except, seed: maphash.MakeSeed(), window: hashWindow, read: map[string]string{}}
	for _, path := range p.Read {
		info, err := os.Stat(path)
		switch {
		case err != nil:
		case info.IsDir():
			real, err := RealPath(path)
			if err != nil {
				return nil, err
			}
			c.read[real] = path
		default:
			c.files = append(c.files, fileInfo{info, path})
		}
	}
	for _, a := range p.Inputs.args {
		if a.kind != file || a.text == Stdin {
			continue
		}
		if info, err := os.Stat(a.text); err == nil {
			c.files = append(c.files, fileInfo{info, a.text})
		}
	}
	return c, nil
}

// each visits the pictures with the files of their results.
func (c *check) each(ctx context.Context, visit func(Picture, []string) error) error {
	for pic, err := range c.plan.Inputs.Pictures(c.except) {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := visit(pic, c.plan.Outputs(pic)); err != nil {
			return err
		}
	}
	return nil
}

// apart refuses a result that is an input, or among inputs.
func (c *check) apart(output string) error {
	link := false
	if info, err := os.Lstat(output); err == nil {
		link = info.Mode()&os.ModeSymlink != 0
		if link {
			info, err = os.Stat(output)
		}
		if err == nil && slices.ContainsFunc(c.files, func(f fileInfo) bool { return os.SameFile(f.FileInfo, info) }) {
			return &InputError{Output: output}
		}
	}
	real, err := c.real(output, link)
	if err != nil {
		return err
	}
	for a := range c.plan.Inputs.folders() {
		// The folder of results is not read where it is in one of pictures.
		if Inside(a.real, real) && !(c.except != "" && Inside(a.real, c.except) && Inside(c.except, real)) {
			return &InputError{output, a.dir}
		}
	}
	for dir, path := range c.read {
		if Inside(dir, real) && !(c.except != "" && c.except != dir && Inside(dir, c.except) && Inside(c.except, real)) {
			return &InputError{output, path}
		}
	}
	for _, a := range c.plan.Inputs.args {
		if a.kind == match && filepath.Dir(real) == a.real {
			if ok, err := filepath.Match(a.match, filepath.Base(real)); ok && err == nil {
				return &InputError{output, a.text}
			}
		}
	}
	return nil
}

// real is a result's path without links.
func (c *check) real(output string, link bool) (string, error) {
	if link {
		return RealPath(output)
	}
	dir := filepath.Dir(output)
	if dir != c.last || c.dir == "" {
		real, err := RealPath(dir)
		if err != nil {
			return "", err
		}
		c.last, c.dir = dir, real
	}
	return filepath.Join(c.dir, filepath.Base(output)), nil
}

// unique refuses results of the same name. The names are compared by their
// hashes, one part of them after the other, so that the number of names does
// not decide how much memory is taken.
func (c *check) unique(ctx context.Context, total int) error {
	parts := uint64((total + c.window - 1) / c.window)
	hashes := make([]uint64, 0, min(total, c.window+c.window/4))
	for part := range parts {
		hashes = hashes[:0]
		err := c.each(ctx, func(_ Picture, outputs []string) error {
			for _, output := range outputs {
				if h := maphash.String(c.seed, SameName(output)); h%parts == part {
					hashes = append(hashes, h)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		slices.Sort(hashes)
		for i := 1; i < len(hashes); i++ {
			if hashes[i] != hashes[i-1] || i > 1 && hashes[i] == hashes[i-2] {
				continue
			}
			if err := c.find(ctx, hashes[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// find tells which results have the same name, of those with a hash.
func (c *check) find(ctx context.Context, hash uint64) error {
	from := map[string]string{} // of the names with that hash: one but for an accident
	return c.each(ctx, func(pic Picture, outputs []string) error {
		for i, output := range outputs {
			name := SameName(output)
			if maphash.String(c.seed, name) != hash {
				continue
			}
			source := pic.Path
			if len(outputs) > 1 {
				source = fmt.Sprintf("%s in the style of %s", source, c.plan.Models[i])
			}
			if other, ok := from[name]; ok {
				return &CollisionError{other, source, output}
			}
			from[name] = source
		}
		return nil
	})
}

// SameName is equal for names that a file system takes for one.
func SameName(path string) string {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		return strings.ToLower(path)
	}
	return path
}
