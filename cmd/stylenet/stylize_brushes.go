package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"stylenet/internal/images"
	"stylenet/internal/kernels"
	"stylenet/internal/model"
	"stylenet/internal/stylize"
)

// painter paints pictures, as *stylize.Stylizer does.
type painter interface {
	Paint(ctx context.Context, src images.Reader, dst images.Writer, o stylize.Options) error
	Close() error
}

// brush is something that pictures are painted with. Each has a result of every
// picture, and only the one that is at work takes memory.
type brush struct {
	name string // in the names of results; no two have the same
	load func(*cobra.Command) (loaded, error)
}

// loaded is a brush whose files are read.
type loaded struct {
	// digest is the same for brushes that paint the same.
	digest func() (string, error)
	open   func(kernels.Device) (painter, error)
}

// brushes are those that the flags name.
func (o *stylizeOptions) brushes(cmd *cobra.Command) ([]brush, error) {
	styled := false
	all, err := openBrushes(cmd, o.models, o.mixing, false, func(path string, m *model.Model, mix string) (loaded, error) {
		if _, ok := m.AnyStyle(); ok {
			styled = true
			return o.style.load(path, m, o.strength)
		}
		if len(o.style.regions) > 0 {
			return loaded{}, usagef(cmd, "%s has a style of its own: --region is for models of kind adain alone", path)
		}
		return mixBrush(cmd, path, m, mix)
	})
	if err == nil && len(o.style.styles) > 0 && !styled {
		return nil, usagef(cmd, "%w", ownStyle(o.models[0]))
	}
	return all, err
}

// openBrushes reads every model once, so that what is wrong with the last one is
// said before the first has worked for hours, and makes brushes of all with open: a
// model of many styles is one for each mix of the flag, and any other one alone. The
// flag is refused where no model is of many styles. Of several brushes no more than
// the names are kept unless keep says so: each may take much memory.
func openBrushes(cmd *cobra.Command, paths []string, mixing mixing, keep bool, open func(path string, m *model.Model, mix string) (loaded, error)) ([]brush, error) {
	var all []brush
	var misfit error
	mixed := len(mixing.mixes) == 0
	for i, name := range brushNames(paths) {
		path := paths[i]
		m, err := loadModel(cmd, path)
		if err != nil {
			return nil, err
		}
		many := len(m.Styles()) > 0
		mixed = mixed || many
		if !mixed && misfit == nil {
			misfit = noMix(path)
			if _, ok := m.AnyStyle(); !ok {
				_, misfit = mixOf(m, path, mixing.first())
			}
		}
		mixing.of(many).each(name, func(name, mix string) {
			if err != nil {
				return
			}
			var l loaded
			if l, err = open(path, m, mix); err != nil {
				return
			}
			if !keep && (len(paths) > 1 || len(mixing.mixes) > 1) {
				l = loaded{}
			}
			all = append(all, brush{name, func(cmd *cobra.Command) (loaded, error) {
				if first := l; first.open != nil {
					l = loaded{} // it is handed out, and not kept beside
					return first, nil
				}
				m, err := loadModel(cmd, path)
				if err != nil {
					return loaded{}, err
				}
				return open(path, m, mix)
			}})
		})
		if err != nil {
			return nil, err
		}
	}
	if !mixed {
		return nil, usagef(cmd, "%w", misfit)
	}
	return all, nil
}

// mixBrush is a model that takes no style from a picture, for a mix of its styles.
func mixBrush(cmd *cobra.Command, path string, m *model.Model, mix string) (loaded, error) {
	mixed, err := mixOf(m, path, mix)
	switch {
	case err != nil && mix != "":
		return loaded{}, usagef(cmd, "%w", err)
	case err != nil:
		return loaded{}, err
	}
	return ownStyleBrush(path, mixed), nil
}

// ownStyleBrush is a model with a style of its own.
func ownStyleBrush(path string, m *model.Model) loaded {
	digest := func() (string, error) {
		h := sha256.New()
		err := model.Write(h, m)
		return hex.EncodeToString(h.Sum(nil)), err
	}
	open := func(dev kernels.Device) (painter, error) {
		s, err := stylize.Open(dev, m)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return s, nil
	}
	return loaded{digest, open}
}

// modelFiles are those of the models that are files: runs may hold results.
func modelFiles(models []string) []string {
	var files []string
	for _, path := range models {
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			files = append(files, path)
		}
	}
	return files
}

// brushNames are the files' names without their extensions, with those of
// folders around them as far as it takes to tell them apart.
func brushNames(paths []string) []string {
	parts := make([][]string, len(paths)) // of the path, the last first
	for i, path := range paths {
		if abs, err := filepath.Abs(path); err == nil {
			path = abs
		}
		for dir := path; ; dir = filepath.Dir(dir) {
			base := filepath.Base(dir)
			if base == dir || base == "." || base == string(filepath.Separator) {
				break
			}
			parts[i] = append(parts[i], base)
		}
		if len(parts[i]) > 0 {
			parts[i][0] = strings.TrimSuffix(parts[i][0], filepath.Ext(parts[i][0]))
		}
	}
	names, depth := make([]string, len(paths)), make([]int, len(paths))
	for {
		count := map[string]int{}
		for i, p := range parts {
			name := slices.Clone(p[:min(depth[i]+1, len(p))])
			slices.Reverse(name)
			names[i] = strings.Join(name, "-")
			count[names[i]]++
		}
		longer := false
		for i, name := range names {
			if count[name] > 1 && depth[i]+1 < len(parts[i]) {
				depth[i]++
				longer = true
			}
		}
		if !longer {
			return names
		}
	}
}
