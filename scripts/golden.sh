#!/usr/bin/env bash
# Makes the golden files again: runs each testdata/**/make*.py in its folder.
# They need PyTorch and Pillow (apt-get install python3-torch python3-pil), or
# PYTHON, a Python that has them. Look at the difference before committing it.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
"$python" -c 'import torch, PIL' || {
	echo "golden: needs PyTorch and Pillow: apt-get install python3-torch python3-pil, or set PYTHON" >&2
	exit 1
}
find . -name '.?*' -prune -o -path '*/testdata/*' -name 'make*.py' -print | sort | while read -r script; do
	echo "golden: $script"
	(cd "$(dirname "$script")" && "$python" "$(basename "$script")" </dev/null)
done
git status --short -- '*testdata*'
