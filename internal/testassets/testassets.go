// Package testassets finds the optional development assets (real VGG-19
// weights, photos, paintings, published models) for tests and benchmarks.
//
// It owns the one place that knows where they lie: STYLENET_ASSETS, or
// ../shared/assets beside the module. It refuses to be imported by anything
// but tests.
package testassets

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Path returns the path of an asset, such as
// "vgg19/vgg19-features.safetensors". A test whose asset is absent is skipped
// with a message that says how to provide it.
func Path(tb testing.TB, name string) string {
	tb.Helper()
	p := filepath.Join(dir(), filepath.FromSlash(name))
	if _, err := os.Stat(p); err != nil {
		tb.Skipf("needs the development asset %s: set STYLENET_ASSETS to the folder that holds it", name)
	}
	return p
}

func dir() string {
	if d := os.Getenv("STYLENET_ASSETS"); d != "" {
		return d
	}
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return filepath.Join("..", "shared", "assets")
	}
	return filepath.Join(filepath.Dir(file), "..", "..", "..", "shared", "assets")
}
