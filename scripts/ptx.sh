#!/usr/bin/env bash
# Compiles CUDA C without CUDA, with clang alone, to PTX for compute capability
# 7.5, which the drivers compile for newer GPUs, too. The first line of the PTX
# names its source and the source's SHA-256, which a test compares.
#
# usage: scripts/ptx.sh SOURCE.cu RESULT.ptx; $CLANG is the compiler.
set -euo pipefail

clang=${CLANG:-clang}
if [ $# != 2 ]; then
	echo "usage: scripts/ptx.sh SOURCE.cu RESULT.ptx" >&2
	exit 2
fi
command -v "$clang" >/dev/null || {
	echo "ptx: $clang is not installed (Debian: apt-get install clang), and \$CLANG names no other" >&2
	exit 1
}
new=$(mktemp "$2.XXXXXX")
trap 'rm -f "$new"' EXIT
{
	echo "// $(basename "$1") SHA-256 $(sha256sum <"$1" | cut -d ' ' -f 1)"
	"$clang" -x cuda --cuda-device-only --cuda-gpu-arch=sm_75 -nocudainc -nocudalib \
		-std=c++17 -O3 -ffp-contract=fast -Wall -S -o - "$1"
} >"$new"
chmod 644 "$new"
mv "$new" "$2"
