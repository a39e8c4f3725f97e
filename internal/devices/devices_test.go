package devices

import (
	"strings"
	"testing"
)

func TestOpen(t *testing.T) {
	for _, name := range append(Names(), "auto", "cpu", "") {
		d, err := Open(name, Options{Threads: 1})
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		info := d.Info()
		if want := name; want != "auto" && want != "cpu" && want != "" && info.Backend != want {
			t.Errorf("%q opened %s", name, info.Backend)
		}
		if info.Threads != 1 || info.Description == "" {
			t.Errorf("%q: %+v", name, info)
		}
		if err := d.Close(); err != nil {
			t.Errorf("%q: close: %v", name, err)
		}
	}
	if _, err := Open("gpu", Options{}); err == nil || !strings.Contains(err.Error(), "it has auto, cpu, ") {
		t.Errorf("unknown device: %v", err)
	}
	if _, err := Open("auto", Options{Threads: -1}); err == nil || !strings.Contains(err.Error(), "-1 threads") {
		t.Errorf("negative threads: %v", err)
	}
}
