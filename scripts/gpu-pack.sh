#!/usr/bin/env bash
# Makes bin/gpu-check.tar.gz: all that scripts/gpu-check.sh needs on a machine with
# an NVIDIA GPU and nothing but its driver, cuDNN and cuBLAS: programs and tests
# that link with the C library alone, drawn photos, the losses that this machine's
# processor got from them, and PyTorch's side of the comparison.
#
# usage: make gpu-pack [PACK=tiny], which calls it with flags for cgo. "tiny" packs
# so little work that a fake of a GPU does it in minutes (docs/cuda.md).
# The processor's losses are kept in bin/gpu-check.cpu; its training goes on where
# it was stopped.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "gpu-pack: $*"; }
die() {
	say "$@" >&2
	exit 1
}
kind=${1:-full}
case $kind in
full | tiny) ;;
*) die 'usage: make gpu-pack [PACK=tiny]' ;;
esac
go=${GO:-go}
out=bin/gpu-check
mib=60
rm -rf "$out" "$out.tar.gz"
mkdir -p "$out/train/testdata"

say 'programs and tests'
# oneDNN is not where they run: the processor's losses are carried instead.
flags=(-tags cudnn -trimpath)
"$go" build "${flags[@]}" -buildvcs=false -ldflags "-s -w -X main.version=${VERSION:-unknown}" -o "$out/stylenet" ./cmd/stylenet
"$go" test -c "${flags[@]}" -ldflags '-s -w' -o "$out/cuda.test" ./internal/kernels/cuda
"$go" test -c "${flags[@]}" -ldflags '-s -w' -o "$out/train.test" ./train
cp -r train/testdata/parity "$out/train/testdata/parity"
mkdir "$out/bench"
cp bench/common.py bench/torch_train.py bench/torch_stylize.py "$out/bench"
cp scripts/gpu-check.sh "$out"
for f in stylenet cuda.test train.test; do
	# Whatever else they were linked with may lack there.
	others=$(ldd "$out/$f" | awk '{ print $1 }' | grep -vE '^(linux-vdso|libc|libm|libdl|libpthread|librt)\.so|ld-linux' || true)
	[ -z "$others" ] || die "$f needs $others"
done

say 'photos'
"$out/stylenet" demo --data-only -o "$out/data" >/dev/null 2>&1
mkdir "$out/data/holdout"
mv "$out"/data/photos/08?.jpg "$out/data/holdout"
[ "$kind" = full ] || rm "$out"/data/holdout/08[1-9].jpg # evaluations are of 256²

# What gpu-check.sh measures, and how much of it.
cat >"$out/work" <<'WORK'
data=(--set data.dir=data/photos --set style.image=data/style.png --set vgg.random=true --set train.preview_every=0)
WORK
if [ "$kind" = full ]; then
	cat >>"$out/work" <<-'WORK'
		RUN=(parity "${data[@]}" --set data.size=64 --set style.size=128 --set train.checkpoint_every=0)
		RUN_STEPS=200
		TRAIN_SIZE=256 TRAIN_STEPS=100 BATCHES=(4 16)
		STYLIZE_SIZE=1920x1080 STYLIZE_RUNS=200
		CLASSIC=(johnson "${data[@]}" --set train.checkpoint_every=1000) # each run has one at its end
		CLASSIC_SHORT=100 CLASSIC_LONG=1100
		LOSSES=(parity "${data[@]}" --set data.holdout=data/holdout --set data.size=128)
		LOSSES_STEPS=2000 LOSSES_EVERY=300 SEEDS=3
		CHECKS=100 PARITY='^cuda' PEER=cuda
	WORK
else
	cat >>"$out/work" <<-'WORK'
		tiny=("${data[@]}" --set network.architecture=c9s1-8,d16,R16,u8,c9s1-3 --set 'loss.content.layers={relu1_2: 1}'
			--set 'loss.style.layers={relu1_2: 1}' --set data.size=32 --set style.size=48 --set train.batch=2)
		RUN=(parity "${tiny[@]}" --set train.checkpoint_every=0)
		RUN_STEPS=20
		TRAIN_SIZE=32 TRAIN_STEPS=1 BATCHES=(1)
		STYLIZE_SIZE=64x32 STYLIZE_RUNS=2
		CLASSIC=(johnson "${tiny[@]}" --set train.checkpoint_every=4)
		CLASSIC_SHORT=2 CLASSIC_LONG=6
		LOSSES=(parity "${tiny[@]}" --set data.holdout=data/holdout)
		LOSSES_STEPS=2 LOSSES_EVERY=2 SEEDS=2
		CHECKS=1 PARITY='^cuda,_exact$' PEER=cpu
	WORK
fi
# shellcheck source=/dev/null
. "$out/work"

# The same settings and the same steps give the same losses: trained once.
cpu=bin/gpu-check.cpu/$(echo "${RUN[*]} $RUN_STEPS" | cksum | tr ' ' -)
lines() { if [ -f "$1" ]; then wc -l <"$1"; else echo 0; fi; }
if [ "$(lines "$cpu/metrics.jsonl")" -lt "$RUN_STEPS" ]; then
	say "the processor trains $RUN_STEPS steps"
	[ -x bin/stylenet ] || die 'no bin/stylenet: run make build'
	here=$PWD
	cd "$out" # the paths of the settings are relative to it
	if [ -f "$here/$cpu/config.yaml" ]; then
		"$here/bin/stylenet" train --resume "$here/$cpu" >/dev/null
	else
		"$here/bin/stylenet" train "${RUN[@]}" --device cpu --set train.steps="$RUN_STEPS" --set train.exact=true --out "$here/$cpu" >/dev/null
	fi
	cd "$here"
fi
cp "$cpu/metrics.jsonl" "$out/cpu.jsonl"
echo "${VERSION:-unknown}" >"$out/version"

tar -C bin -czf "$out.tar.gz" gpu-check
bytes=$(wc -c <"$out.tar.gz")
[ "$bytes" -le $((mib << 20)) ] || die "$out.tar.gz has $bytes bytes, more than $mib MiB"
say "$out.tar.gz, $((bytes >> 20)) MiB; on the machine with the GPU: tar xzf gpu-check.tar.gz && gpu-check/gpu-check.sh"
