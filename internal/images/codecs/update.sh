#!/bin/sh
# Fetches the codecs again from the modules that they are from. To take newer
# ones, change the versions, run this with NEW=1, which writes SHA256SUMS, and
# change README.md.
set -eu
cd "$(dirname "$0")"

dir() { go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p'; }

webp=$(dir github.com/gen2brain/webp@v0.5.5)
avif=$(dir github.com/gen2brain/avif@v0.4.4)
install -m 644 "$webp/lib/webp.wasm.gz" webp.wasm.gz
install -m 644 "$avif/lib/encode.wasm.gz" avif-encode.wasm.gz
install -m 644 "$avif/lib/decode.wasm.gz" avif-decode.wasm.gz
[ -z "${NEW:-}" ] || sha256sum -- *.wasm.gz >SHA256SUMS
sha256sum -c SHA256SUMS
