# Front door. Everything real is in CMakePresets.json and tools/.
#   make bench   install what is missing, build, run the main job on the embedded engine
#   make test    install what is missing, pass every test and check
#   make build   build/tokmark          make dist    self-contained archive under dist/
#   make check   format, style, lint    make wheel   the same program for `pip install`, under dist/
#   make mutants which faults would the tests not notice? (docs/testing.md)
#   make simulate 10,000 sweeps with faults, in simulated time (docs/testing.md)
#   make failing-calls every allocation and system call fails once, in turn (docs/testing.md)
#   make races    data races of the engine's threads and of serve's (docs/testing.md)
#   make coverage lines and branches that the tests reach, by room (docs/testing.md)
#   make clean   remove what was built
MAKEFLAGS += --no-print-directory
.PHONY: bench test build dist wheel dist-check check mutants simulate failing-calls races coverage clean

bench: build
	@tools/bench.sh

build:
	@tools/setup.sh build
	@tools/build.sh release

test:
	@tools/setup.sh programs
	@tools/test.sh

check:
	@tools/setup.sh test
	@tools/check.sh

dist:
	@tools/setup.sh build
	@tools/dist.sh

wheel:
	@tools/setup.sh build
	@tools/wheel.sh

dist-check: dist
	@tools/dist_check.sh

mutants:
	@tools/setup.sh test
	@tools/mutants.py

simulate: build
	@cmake --build build --target simulate
	@build/tests/simulate/simulate 10000

failing-calls: build
	@tools/setup.sh test
	@TOKMARK_FAILING_CALLS=all build/venv/bin/python -m pytest -q -p no:cacheprovider tests/fault/test_failing_calls.py

races:
	@tools/setup.sh test
	@tools/races.sh

coverage:
	@tools/setup.sh test
	@tools/coverage.py

clean:
	rm -rf build build-asan build-clang build-coverage build-dist build-mutants build-races dist
