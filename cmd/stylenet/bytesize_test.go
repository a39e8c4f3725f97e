package main

import "testing"

func TestByteSize(t *testing.T) {
	for s, want := range map[string]int64{
		"2GiB": 2 << 30, "300MiB": 300 << 20, "1.5g": 3 << 29, "500 MB": 5e8, "1kb": 1000, "17": 17, "17B": 17, "0": 0, "1TiB": 1 << 40,
	} {
		var b byteSize
		if err := b.Set(s); err != nil || int64(b) != want {
			t.Errorf("%s is %d (%v), want %d", s, b, err, want)
		}
		var again byteSize
		if err := again.Set(b.String()); err != nil || again != b {
			t.Errorf("%s is printed as %s, which is %d (%v)", s, b, again, err)
		}
	}
	for _, s := range []string{"", "GiB", "-1MiB", "1QiB", "nan", "1e30GiB", "two"} {
		var b byteSize
		if err := b.Set(s); err == nil {
			t.Errorf("%q is %d", s, b)
		}
	}
	if got := byteSize(2 << 30).String(); got != "2GiB" {
		t.Errorf("2 GiB is printed as %s", got)
	}
}
