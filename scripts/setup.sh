#!/usr/bin/env bash
# Installs what building and testing need and this machine lacks: compilers of C
# and C++, oneDNN, and ffmpeg for videos; with the argument "peers" also the Python
# that bench/compare.py starts with, with "regress" that of bench/regress.py and
# valgrind, with "serving" what scripts/serving.sh does not install by itself. Does
# nothing where all is there.
#
# usage: scripts/setup.sh [peers|regress|serving]; CGO=0 asks for no C compiler and no oneDNN,
# CUDADIR=FOLDER for what a build with CUDA needs, in that folder.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "setup: $*"; }
die() {
	say "$@" >&2
	exit 1
}

portable='without it, "make CGO=0 build" makes a portable stylenet on every system that Go knows, slower'

check_go() {
	local go=${GO:-go} need have
	command -v "$go" >/dev/null || die "Go is not installed: get Go 1.26 or newer from https://go.dev/dl"
	need=$(awk '$1 == "go" { print $2 }' go.mod)
	# Outside the module, so that an old Go says what it is instead of looking
	# for a newer one.
	have=$(cd / && "$go" env GOVERSION)
	have=${have#go}
	have=${have%% *}
	if [ "$(printf '%s\n%s\n' "$need" "$have" | sort -V | head -n 1)" = "$need" ]; then
		return
	fi
	# Go 1.21 and newer fetch the version that go.mod asks for.
	"$go" version >/dev/null 2>&1 || die "this is Go $have, and Go $need or newer is needed: get it from https://go.dev/dl"
}

has_compiler() { echo 'int main(void) { return 0; }' | compile -fopenmp; }

# Tests compile the kernels for NVIDIA GPUs as C++.
has_cxx() { echo 'int main() { return 0; }' | ${CXX:-g++} -x c++ -o /dev/null - >/dev/null 2>&1; }

has_onednn() {
	printf '#include <dnnl.h>\nint main(void) { return !dnnl_version(); }\n' | compile -ldnnl
}

# compile links a C program from stdin, the only proof that compiler, headers
# and libraries fit together.
compile() { ${CC:-gcc} -x c -o /dev/null - "$@" >/dev/null 2>&1; }

root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "needs root for: $*. Run it as root, or install sudo"
	fi
}

install() {
	command -v apt-get >/dev/null || die "$* is missing, and this script knows apt-get only. Install it; $portable"
	say "apt-get install $*"
	# Fails quietly where the package lists are missing or old.
	root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" </dev/null >/dev/null 2>&1 && return
	say "apt-get update"
	root apt-get update -q </dev/null >/dev/null || die "apt-get update failed"
	root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" </dev/null >/dev/null ||
		return 1
}

install_onednn() {
	local package
	# Debian and Ubuntu have named it both ways.
	for package in libdnnl-dev libonednn-dev; do
		if install "$package" && has_onednn; then
			return
		fi
	done
	die "oneDNN could not be installed; $portable"
}

check_go
if [ "${CGO:-1}" != 0 ]; then
	has_compiler || { install gcc libc6-dev && has_compiler; } || die "no C compiler that knows OpenMP (${CC:-gcc}); $portable"
	has_cxx || { install g++ && has_cxx; } || die "no C++ compiler (${CXX:-g++})"
	has_onednn || install_onednn
	if [ -n "${CUDADIR-}" ]; then
		scripts/cuda.sh "$CUDADIR"
	fi
fi
# Without it stylenet does all but videos, whose tests are skipped then; so a
# failure, in a shell of its own, ends nothing.
if ! { command -v ffmpeg && command -v ffprobe; } >/dev/null; then
	(install ffmpeg) 2>/dev/null || say "ffmpeg could not be installed: videos, and tests of them, need it on PATH"
fi
case ${1-} in
peers) python3 -c 'import venv, ensurepip' 2>/dev/null || install python3 python3-venv ;;
serving)
	python3 -c 'import venv, ensurepip' 2>/dev/null || install python3 python3-venv
	command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || install chromium
	command -v npm >/dev/null || install npm
	/usr/bin/python3 -c 'import cv2' 2>/dev/null || install python3-opencv
	;;
regress)
	command -v valgrind >/dev/null || install valgrind || die "valgrind could not be installed, and it counts the instructions"
	command -v python3 >/dev/null || install python3
	;;
esac
