#!/usr/bin/env bash
# Makes the golden files again: runs each testdata/**/make*.py in its folder.
# PYTHON is a Python that has what they need: PyTorch, Pillow, ONNX (with Script), ONNX Runtime
# and TensorFlow. Look at the difference before committing it.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
"$python" -c 'import torch, PIL, onnx, onnxruntime, onnxscript, tensorflow' || {
	echo "golden: needs torch, pillow, onnx, onnxruntime, onnxscript and tensorflow-cpu: pip install them, and set PYTHON" >&2
	exit 1
}
find . -name '.?*' -prune -o -path '*/testdata/*' -name 'make*.py' -print | sort | while read -r script; do
	echo "golden: $script"
	(cd "$(dirname "$script")" && "$python" "$(basename "$script")" </dev/null)
done
git status --short -- '*testdata*'
