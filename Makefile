# The scripts under other names; `make help` lists them.
.PHONY: help setup build demo test test-all readme bench fuzz format tidy clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'
setup: ## install missing packages and create .venv
	scripts/setup.sh
build: ## build build/release/outliers
	scripts/setup.sh && scripts/build.sh
demo: ## the main job on a real model
	scripts/demo.sh
test: ## the default tests
	scripts/test.sh
test-all: ## every test, slow ones too
	scripts/test.sh --all
readme: ## README's example and the docs' pictures, from the demo's model
	scripts/readme.py
bench: ## the benchmarks, beside their peers
	scripts/bench.sh
fuzz: ## the fuzz targets, 20 minutes each
	scripts/fuzz.sh
format: ## clang-format every C++ file
	git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' | xargs clang-format -i
tidy: ## clang-tidy
	scripts/tidy.sh
clean: ## remove the build folder
	rm -rf build
