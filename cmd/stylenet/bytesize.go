package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// byteSize is a flag of a size such as 2GiB, 500MB or 1.5G.
type byteSize int64

// sizeUnit is a unit of a byteSize.
type sizeUnit struct {
	name  string
	bytes float64
}

// sizeUnits lists the units, those first whose names end in others'.
func sizeUnits() []sizeUnit {
	return []sizeUnit{
		{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
		{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3},
		{"T", 1 << 40}, {"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10},
		{"B", 1}, {"", 1},
	}
}

// Set reads a number and a unit: KiB, MiB, GiB, TiB or K, M, G, T (powers of
// 1024), KB, MB, GB, TB (of 1000), or B. Case does not matter.
func (b *byteSize) Set(s string) error {
	for _, unit := range sizeUnits() {
		number, ok := cutSuffixFold(strings.TrimSpace(s), unit.name)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(v >= 0 && v*unit.bytes < math.MaxInt64) {
			break
		}
		*b = byteSize(v * unit.bytes)
		return nil
	}
	return errors.New("give a size such as 2GiB or 500MB")
}

func cutSuffixFold(s, suffix string) (string, bool) {
	at := len(s) - len(suffix)
	if at < 0 || !strings.EqualFold(s[at:], suffix) {
		return s, false
	}
	return s[:at], true
}

// String gives the size in the largest unit that divides it.
func (b byteSize) String() string {
	for _, unit := range sizeUnits()[:4] {
		if n := float64(b) / unit.bytes; n >= 1 && n == math.Trunc(n) {
			return fmt.Sprintf("%.0f%s", n, unit.name)
		}
	}
	return fmt.Sprintf("%dB", int64(b))
}

// Type is what help calls the value.
func (b byteSize) Type() string { return "size" }
