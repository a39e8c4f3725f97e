package main

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"stylenet/internal/images"
	"stylenet/internal/stylize/batch"
)

// maskExtensions are those that a mask in a folder may have.
func maskExtensions() []string {
	return []string{".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".avif", ".bmp", ".gif"}
}

// maskOf is the file of a picture's mask: --mask, or the one in that folder whose
// name is the picture's but for the extension.
func (o *stylizeOptions) maskOf(pic batch.Picture) (string, error) {
	if !isFolder(o.mask) {
		return o.mask, nil
	}
	stem := filepath.Join(o.mask, filepath.FromSlash(strings.TrimSuffix(pic.Name, path.Ext(pic.Name))))
	var found []string
	for _, ext := range maskExtensions() {
		if info, err := os.Stat(stem + ext); err == nil && info.Mode().IsRegular() {
			found = append(found, stem+ext)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%s has no mask: there is no %s with one of the extensions %s", pic.Path, stem, strings.Join(maskExtensions(), ", "))
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%s has more than one mask: %s; remove all but one", pic.Path, strings.Join(found, " and "))
}

// maskSettings adds to a digest of settings which mask a picture has, as it is on
// the disk.
func (o *stylizeOptions) maskSettings(settings string, pic batch.Picture) (string, error) {
	if o.mask == "" {
		return settings, nil
	}
	file, err := o.maskOf(pic)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s mask %s %d %d", settings, file, info.Size(), info.ModTime().UnixNano()), nil
}

// openMask makes the mask of a picture of w×h pixels.
func (o *stylizeOptions) openMask(pic batch.Picture, w, h int) (*images.Mask, error) {
	file, err := o.maskOf(pic)
	if err != nil {
		return nil, err
	}
	src, err := images.Decoder{}.OpenSource(file, new(bytes.Buffer))
	if err != nil {
		return nil, fmt.Errorf("mask: %w", err)
	}
	m, err := images.NewMask(src, w, h, o.feather)
	if err != nil {
		return nil, fmt.Errorf("mask %s of %s: %w", file, pic.Path, err)
	}
	return m, nil
}
