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
	mixed, styled, err := concerned(cmd, o.models, len(o.mixing.mixes) > 0 || len(o.style.styles) > 0)
	if err != nil {
		return nil, err
	}
	var all []brush
	for i, name := range brushNames(o.models) {
		path, styled := o.models[i], styled[i]
		o.mixing.of(mixed[i]).each(name, func(name, mix string) {
			all = append(all, brush{name, func(cmd *cobra.Command) (loaded, error) { return o.loadModelBrush(cmd, path, mix, styled) }})
		})
	}
	return all, nil
}

// concerned says which models --style-mix is for, those of many styles, and which
// --style, those of any. Where none is, a flag is for all, so that it is refused.
// Of several models the kinds are read where one of the flags is given.
func concerned(cmd *cobra.Command, paths []string, given bool) (mixed, styled []bool, err error) {
	mixed, styled = make([]bool, len(paths)), make([]bool, len(paths))
	if given && len(paths) > 1 {
		for i, path := range paths {
			m, err := loadModel(cmd, path)
			if err != nil {
				return nil, nil, err
			}
			mixed[i] = len(m.Styles()) > 0
			_, styled[i] = m.AnyStyle()
		}
	}
	for _, models := range [][]bool{mixed, styled} {
		if none := !slices.Contains(models, true); none {
			for i := range models {
				models[i] = true
			}
		}
	}
	return mixed, styled, nil
}

// loadModelBrush reads a model file or a run, for a mix of its styles. styled says
// that --style is for it.
func (o *stylizeOptions) loadModelBrush(cmd *cobra.Command, path, mix string, styled bool) (loaded, error) {
	m, err := loadModel(cmd, path)
	if err != nil {
		return loaded{}, err
	}
	if _, ok := m.AnyStyle(); ok {
		if mix != "" {
			return loaded{}, noMix(path)
		}
		return o.style.load(path, m, o.strength)
	}
	switch {
	case styled && len(o.style.styles) > 0:
		return loaded{}, ownStyle(path)
	case len(o.style.regions) > 0:
		return loaded{}, fmt.Errorf("%s has a style of its own: --region is for models of kind adain alone", path)
	}
	if m, err = mixOf(m, path, mix); err != nil {
		return loaded{}, err
	}
	return ownStyleBrush(path, m), nil
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
