#!/usr/bin/env bash
# Makes what a build with CUDA needs where CUDA is not installed, in a folder:
# include/cuda.h, which gorgonia.org/cu compiles against, and lib/libcuda.a, which
# it links with (scripts/libcuda.c says why not the real one). The header is that
# of an installed CUDA 11.8 or 12, or comes from PyPI with pip: 1 MB. Does nothing
# where all is there.
#
# usage: scripts/cuda.sh FOLDER; $CUDA_HOME says where CUDA is installed.
set -euo pipefail

say() { echo "cuda: $*"; }
die() {
	say "$@" >&2
	exit 1
}

[ $# = 1 ] || die "usage: scripts/cuda.sh FOLDER"
mkdir -p "$1"
dir=$(cd "$1" && pwd)
cd "$(dirname "$0")"

# The wheels of NVIDIA's headers, by the kind of processor.
package=nvidia-cuda-runtime-cu11==11.8.89
case $(uname -m) in
x86_64)
	platform=manylinux2014_x86_64
	sha256=92d04069a987e1fbc9213f8376d265df0f7bb42617d44f5eda1f496acea7f2d1
	;;
aarch64)
	platform=manylinux2014_aarch64
	sha256=e53bf160b6b660819cb6e4a9da2cc89e6aa2329858299780a2459780a2b8d012
	;;
*) die "NVIDIA has no header package for $(uname -m)" ;;
esac

# usable tells whether cu compiles against a cuda.h: CUDA 13 removed calls.
usable() {
	local v
	v=$(sed -n 's/^#define CUDA_VERSION \([0-9]*\)$/\1/p' "$1" 2>/dev/null) && [ -n "$v" ] && [ "$v" -ge 11080 ] && [ "$v" -lt 13000 ]
}

header() {
	local home
	mkdir -p "$dir/include"
	for home in "${CUDA_HOME:-}" /usr/local/cuda /usr; do
		if usable "$home/include/cuda.h"; then
			say "cuda.h of $home"
			cp "$home/include/cuda.h" "$dir/include/cuda.h.new"
			# CUDA 12 dropped two names that cu names.
			grep -q CU_TARGET_COMPUTE_20 "$dir/include/cuda.h.new" ||
				printf '#define CU_TARGET_COMPUTE_%s\n' '20 20' '21 21' >>"$dir/include/cuda.h.new"
			mv "$dir/include/cuda.h.new" "$dir/include/cuda.h"
			return
		fi
	done
	say "cuda.h of $package, from PyPI"
	local wheel
	rm -rf "$dir/wheel"
	${PYTHON:-python3} -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: --platform "$platform" \
		-d "$dir/wheel" "$package" ||
		die "pip could not get $package: install CUDA 11.8 or 12 and set CUDA_HOME, or Debian's nvidia-cuda-dev"
	wheel=$(echo "$dir"/wheel/*.whl)
	echo "$sha256  $wheel" | sha256sum --quiet --check - || die "$wheel is not the file that is expected"
	${PYTHON:-python3} - "$wheel" "$dir/include" <<'PY'
import sys, zipfile
wheel, include = sys.argv[1:]
with zipfile.ZipFile(wheel) as z, open(include + "/cuda.h.new", "wb") as f:
    f.write(z.read("nvidia/cuda_runtime/include/cuda.h"))
PY
	rm -r "$dir/wheel"
	mv "$dir/include/cuda.h.new" "$dir/include/cuda.h"
}

usable "$dir/include/cuda.h" || header

lib=$dir/lib/libcuda.a
if [ "$lib" -nt libcuda.c ] && [ "$lib" -nt "$dir/include/cuda.h" ]; then
	exit
fi
say "libcuda.a"
mkdir -p "$dir/lib"
# Preprocessed, the header has the names of the functions, not those of the
# macros that choose their versions.
printf '#include <cuda.h>\n' | ${CC:-gcc} -E -I"$dir/include" - |
	tr '\n' ' ' | tr ';' '\n' |
	sed -n 's/.*CUresult *\(cu[A-Z][A-Za-z0-9_]*\) *(.*/FUNCTION(\1)/p' |
	grep -v '(cuInit)' | sort -u >"$dir/lib/names.h"
[ "$(wc -l <"$dir/lib/names.h")" -gt 300 ] || die "cuda.h has too few functions: $(wc -l <"$dir/lib/names.h")"
${CC:-gcc} -O2 -fPIC -DLIBCUDA_NAMES="\"$dir/lib/names.h\"" -c -o "$dir/lib/libcuda.o" libcuda.c
rm -f "$lib.new"
ar rcs "$lib.new" "$dir/lib/libcuda.o"
rm "$dir/lib/libcuda.o"
mv "$lib.new" "$lib"
