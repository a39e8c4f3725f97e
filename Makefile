# GNU make. `make` alone lists the targets.
#
# CGO=0 builds and tests the portable version: pure Go, no C compiler, slower.
# CUDA=1 builds and tests with NVIDIA GPUs besides (docs/cuda.md).
CGO      ?= 1
CUDA     ?= 0
FUZZTIME ?= 10s
GO       ?= go
PYTHON   ?= python3

# Versions of tools are exact: the same commit gives the same findings.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# Packages with goroutines of their own. The race detector needs cgo, and makes
# kernels so slow that the others are left out.
RACE := ./data ./export ./train ./internal/checkpoint ./internal/images ./internal/stylize ./internal/video

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# gorgonia.org/cu finds cuda.h and libcuda there.
CUDAENV := CGO_CFLAGS='-O2 -g -Wno-deprecated-declarations -Wno-implicit-function-declaration -I$(CURDIR)/bin/cuda/include' CGO_LDFLAGS='-O2 -g -L$(CURDIR)/bin/cuda/lib'

ifeq ($(CGO),0)
TAGS   :=
CGOENV := CGO_ENABLED=0
LINT   := lint-portable
TESTS  := test-portable
else ifeq ($(CUDA),1)
CUDADIR := $(CURDIR)/bin/cuda
TAGS   := -tags onednn,cudnn
CGOENV := CGO_ENABLED=1 $(CUDAENV)
LINT   := lint-portable lint-tags lint-cudahost
TESTS  := test-portable test-tags test-cudahost
RACED  := race
else
TAGS   := -tags onednn
CGOENV := CGO_ENABLED=1
LINT   := lint-portable lint-tags lint-cudahost
TESTS  := test-portable test-tags test-cudahost
RACED  := race
endif

export GO CGO CUDADIR FUZZTIME

.DEFAULT_GOAL := help
.NOTPARALLEL: # the targets of a test share two cores, and their order is the cheapest fault first
.PHONY: help setup build demo test lint lint-tags lint-cudahost lint-portable test-tags test-cudahost test-portable race \
	fuzz-short fuzz cross e2e test-serving golden bench bench-compare bench-roofline bench-plots bench-regress gpu-pack clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile

setup: ## install what the build needs (Debian, Ubuntu)
	@scripts/setup.sh

build: setup ## build bin/stylenet (CGO=0: pure Go, slower; CUDA=1: with NVIDIA GPUs)
	$(CGOENV) $(GO) build $(TAGS) -trimpath -buildvcs=false -ldflags '-X main.version=$(VERSION)' -o bin/stylenet ./cmd/stylenet

demo: build ## train a small style and show it in demo/ (under 5 minutes on 2 cores)
	bin/stylenet demo -o demo

test: build lint cross $(RACED) fuzz-short e2e $(TESTS) ## run every check (under 20 minutes on 2 cores)
	@echo 'all checks passed'

lint: setup $(LINT) ## gofmt, go vet, staticcheck

lint-portable:
	@scripts/gofmt.sh
	CGO_ENABLED=0 $(GO) vet ./...
	CGO_ENABLED=0 $(GO) run $(STATICCHECK) ./...

lint-tags:
	$(CGOENV) $(GO) vet $(TAGS) ./...
	$(CGOENV) $(GO) run $(STATICCHECK) $(TAGS) ./...

# The CUDA backend as it runs on the processor, for tests.
lint-cudahost:
	CGO_ENABLED=1 $(GO) vet -tags cudahost ./internal/kernels/cuda
	CGO_ENABLED=1 $(GO) run $(STATICCHECK) -tags cudahost ./internal/kernels/cuda

test-portable:
	CGO_ENABLED=0 scripts/gotest.sh ./...

test-tags:
	$(CGOENV) scripts/gotest.sh $(TAGS) ./...

test-cudahost:
	CGO_ENABLED=1 scripts/gotest.sh -tags cudahost ./internal/kernels/cuda

race:
	$(CGOENV) scripts/gotest.sh -race $(TAGS) $(RACE)

fuzz-short:
	$(CGOENV) scripts/fuzz.sh $(TAGS)

fuzz: FUZZTIME = 5m
fuzz: setup fuzz-short ## fuzz each target for 5 minutes (FUZZTIME=1h: longer)

# Vet type-checks tests too, which a build does not.
cross:
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 $(GO) vet ./...
	GOOS=windows GOARCH=amd64 CGO_ENABLED=0 $(GO) vet ./...

e2e:
	scripts/e2e.sh bin/stylenet

test-serving: build ## run exported models with the programs they are for (installs those, 6 GB)
	$(CGOENV) scripts/serving.sh $(TAGS)

golden: ## make the golden files again, by the scripts beside them
	@PYTHON=$(PYTHON) scripts/golden.sh

bench: build ## run the benchmarks of this machine
	$(CGOENV) $(GO) test $(TAGS) -run '^$$' -bench . -benchtime 3x ./...
	bin/stylenet bench train
	bin/stylenet bench stylize
	bin/stylenet bench data

# COMPARE='--only train,start --pairs 3' measures less, --big the largest picture, too.
bench-compare: build ## measure beside PyTorch and ONNX Runtime (installs them)
	@scripts/setup.sh peers
	$(PYTHON) bench/compare.py $(COMPARE)
	$(PYTHON) bench/update_docs.py

bench-roofline: build ## measure each kernel against what the machine can do
	@mkdir -p bench/results
	bin/stylenet bench roofline stylize --size 1920x1080 > bench/results/roofline-stylize.md
	bin/stylenet bench roofline stylize --size 1920x1080 --precision bf16 > bench/results/roofline-stylize-bf16.md
	bin/stylenet bench roofline train > bench/results/roofline-train.md
	bin/stylenet bench roofline train --precision bf16 > bench/results/roofline-train-bf16.md
	$(PYTHON) bench/update_docs.py

bench-plots: build ## plot how cost grows, into docs/plots
	@mkdir -p docs/plots
	bin/stylenet bench scaling -o docs/plots/scaling.png

bench-regress: ## count instructions beside an older commit: REF=COMMIT
	@[ -n "$(REF)" ] || { echo 'give the older commit: make bench-regress REF=HEAD~1' >&2; exit 2; }
	@scripts/setup.sh regress
	GO=$(GO) $(PYTHON) bench/regress.py $(REF)

# PACK=tiny packs work for the fake of a GPU.
gpu-pack: build ## pack bin/gpu-check.tar.gz, which checks and measures a GPU elsewhere
	scripts/cuda.sh bin/cuda
	CGO_ENABLED=1 $(CUDAENV) VERSION=$(VERSION) scripts/gpu-pack.sh $(PACK)

clean: ## remove what was built, not what was trained
	rm -rf bin demo coverage.out
