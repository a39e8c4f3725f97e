#!/usr/bin/env bash
# Installs the peers of requirements.txt into bench/.venv: about 3 GB to
# download and 6 GB on disk, nearly all of it CUDA libraries without which
# PyPI's PyTorch does not load. PEERS_TORCH=debian takes Debian's python3-torch
# (1.13) instead, as does a failure to install PyPI's. Does nothing where all
# is there. Needs Python 3.11 or newer, or the PYTHON given.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "peers: $*" >&2; }
works() { .venv/bin/python -c 'import numpy, onnx, onnxruntime, PIL, torch' 2>/dev/null; }
wanted=$(cat peers/requirements.txt; echo "${PEERS_TORCH:-pypi}")

[ "$(cat .venv/installed 2>/dev/null)" = "$wanted" ] && works && exit

pypi() {
	say "installing PyTorch and ONNX Runtime from PyPI into bench/.venv (6 GB)"
	rm -rf .venv
	"${PYTHON:-python3}" -m venv .venv
	.venv/bin/pip install -q --disable-pip-version-check --no-cache-dir -r peers/requirements.txt && works
}

# Debian's packages belong to Debian's Python.
debian() {
	say "installing Debian's python3-torch, and ONNX Runtime from PyPI"
	local root=()
	[ "$(id -u)" = 0 ] || root=(sudo)
	"${root[@]}" apt-get update -q >&2
	"${root[@]}" apt-get install -y -q --no-install-recommends python3-torch python3-venv python3-numpy python3-pil >&2
	rm -rf .venv
	/usr/bin/python3 -m venv --system-site-packages .venv
	# onnxruntime works with Debian's numpy 1.24, which python3-torch needs.
	.venv/bin/pip install -q --disable-pip-version-check --no-cache-dir 'numpy<2' onnx==1.17.0 onnxruntime==1.20.1 && works
}

if [ "${PEERS_TORCH:-pypi}" = debian ] || ! pypi; then
	debian || {
		say "neither PyPI's nor Debian's PyTorch could be installed"
		exit 1
	}
fi
echo "$wanted" >.venv/installed
