#!/usr/bin/env bash
# Installs the programs that exported models are made for, and runs the tests that
# need them: ONNX Runtime, OpenCV (PyPI's and Debian's), PyTorch, Triton's client
# and Chromium with onnxruntime-web. They go into bench/.venv and bench/.web, and
# by apt-get. Does not install what is there.
#
# usage: scripts/serving.sh [go test's flags, such as -tags onednn]
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh serving
bench/peers/setup.sh
serving=$(cat bench/peers/serving.txt)
if [ "$(cat bench/.venv/serving 2>/dev/null)" != "$serving" ]; then
	bench/.venv/bin/pip install -q --disable-pip-version-check --no-cache-dir -r bench/peers/serving.txt
	echo "$serving" >bench/.venv/serving
fi
web=onnxruntime-web@1.30.0
if [ "$(cat bench/.web/installed 2>/dev/null)" != "$web" ]; then
	rm -rf bench/.web
	mkdir -p bench/.web
	(cd bench/.web && npm pack --silent "$web" >/dev/null && tar -xzf onnxruntime-web-*.tgz && rm onnxruntime-web-*.tgz)
	echo "$web" >bench/.web/installed
fi

STYLENET_PEERS_PYTHON=$PWD/bench/.venv/bin/python
STYLENET_PEERS_WEB=$PWD/bench/.web/package/dist
STYLENET_PEERS_BROWSER=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
export STYLENET_PEERS_PYTHON STYLENET_PEERS_WEB STYLENET_PEERS_BROWSER
scripts/gotest.sh -count=1 "$@" -run 'Agree|Peer|Variants|Triton|Serving|Example' ./export ./internal/formats/onnx ./cmd/stylenet
# Debian's OpenCV is that of its own Python.
STYLENET_PEERS_OPENCV=/usr/bin/python3 scripts/gotest.sh -count=1 "$@" -run OpenCV ./export
