package stylize

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFreeMemory(t *testing.T) {
	const machine = "MemTotal:       24000 kB\nMemFree:         1000 kB\nMemAvailable:    8000 kB\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		free  int64
		known bool
	}{
		{"another system", nil, 0, false},
		{"a machine", map[string]string{"proc/meminfo": machine}, 8000 << 10, true},
		{"groups without limits", map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/user.slice/a\n",
			"sys/fs/cgroup/user.slice/a/memory.max": "max\n", "sys/fs/cgroup/user.slice/a/memory.current": "5000\n",
		}, 8000 << 10, true},
		{"version 2", map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/user.slice/a\n",
			"sys/fs/cgroup/user.slice/a/memory.max": "70000\n", "sys/fs/cgroup/user.slice/a/memory.current": "50000\n",
			"sys/fs/cgroup/user.slice/a/memory.stat": "anon 40000\nactive_file 1000\ninactive_file 9000\n",
		}, 70000 - 41000, true},
		{"version 2, slowed down", map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/a\n",
			"sys/fs/cgroup/a/memory.max": "70000\n", "sys/fs/cgroup/a/memory.high": "60000\n", "sys/fs/cgroup/a/memory.current": "50000\n",
		}, 10000, true},
		{"a group around it", map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/user.slice/a\n",
			"sys/fs/cgroup/user.slice/a/memory.max": "70000\n", "sys/fs/cgroup/user.slice/a/memory.current": "1000\n",
			"sys/fs/cgroup/user.slice/memory.max": "90000\n", "sys/fs/cgroup/user.slice/memory.current": "80000\n",
		}, 10000, true},
		{"a container that sees its own group", map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/../pod\n",
			"sys/fs/cgroup/memory.max": "70000\n", "sys/fs/cgroup/memory.current": "1000\n",
		}, 69000, true},
		{"version 1", map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "5:cpu,cpuacct:/b\n4:memory:/docker/a\n0::/\n",
			"sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes": "70000\n", "sys/fs/cgroup/memory/docker/a/memory.usage_in_bytes": "50000\n",
			"sys/fs/cgroup/memory/docker/a/memory.stat":  "inactive_file 1\ntotal_inactive_file 5000\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "900000\n",
		}, 25000, true},
		{"version 1, under the container's own name", map[string]string{
			"proc/self/cgroup":                           "4:hugetlb,memory:/docker/a\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "70000\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "50000\n",
		}, 20000, true},
		{"a full group", map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "70000\n", "sys/fs/cgroup/memory.current": "70001\n",
		}, 0, true},
	} {
		dir := t.TempDir()
		for name, text := range c.files {
			file := filepath.Join(dir, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if free, known := freeMemory(os.DirFS(dir)); known != c.known || known && free != c.free {
			t.Errorf("%s: %d bytes are free, %v; want %d, %v", c.name, free, known, c.free, c.known)
		}
	}
}
