# Nebula: the two commands are `make run` and `make test`. `make` alone lists all of them.
#
# Both work on a fresh Debian 12 with Rust: packaging/prepare installs what is missing, and only that.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
MAKEFLAGS += --no-print-directory

PREPARE := packaging/prepare
CARGO ?= cargo

.PHONY: help run build console test test-only fuzz conformance check bench fmt lint ci

help: ## list these commands
	@printf '\nNebula: make COMMAND\n\n'
	sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) |
	while IFS=$$'\t' read -r name words; do printf '  \033[32m%-11s\033[0m %s\n' "$$name" "$$words"; done
	printf '\n'

run: ## install what is missing, build, and start the appliance on its defaults
	@$(PREPARE) run
	$(MAKE) build
	exec target/release/nebulad serve $(ARGS)

build: console ## build the programs, optimised
	@$(CARGO) build --release --locked --workspace --bins

console:
	@$(PREPARE) console

test: ## install what is missing, build, and run every test
	@$(PREPARE) test
	$(MAKE) console
	packaging/run-tests

test-only: ## run every test, installing nothing
	@packaging/run-tests

# Every test that throws noise at a parser or a decision, in the words of its name.
NOISE := noise:: guard:: policy:: ranges:: condition no_ conditions_are conditions:: post::form metadata model::
CASES ?= 20000

fuzz: ## throw noise at everything that reads what strangers send (CASES=20000 of each)
	@PROPTEST_CASES=$(CASES) $(CARGO) test --locked --package nebula-daemon --lib -- $(NOISE)

conformance: ## fetch the public S3 suite and run it (make test runs it too, once it is there)
	@$(PREPARE) suite
	$(CARGO) build --locked --package nebula-daemon --bin nebulad
	$(CARGO) test --locked --package nebula-tests --test it -- s3::conformance --nocapture

check: ## look at formatting, lints and scripts, as CI does
	@$(PREPARE) build
	$(MAKE) console lint

lint:
	@$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path tests/peers/tus-async-client/Cargo.toml --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	for script in git-hooks/* packaging/nebula-activate packaging/prepare packaging/run-tests .ci/run; do
		bash -n "$$script"
		if command -v shellcheck >/dev/null; then shellcheck "$$script"; fi
	done

ci:
	@status=0
	$(MAKE) check || status=1
	$(MAKE) test || status=1
	# The sum is the last line, whatever happened before.
	if [ "$$status" != 0 ]; then echo "CI failed: see above"; fi
	cat target/tests.sum 2>/dev/null || { echo "0 passed, 1 failed, 0 skipped"; status=1; }
	exit "$$status"

# The newest that this compiler takes; they stay below target/. Garage takes a quarter of an hour to build, once.
S3S_FS := s3s-fs@0.14.1
GARAGE := garage@2.5.0

bench: ## measure ours beside the peers, in one run (ARGS=--quick: in two minutes; ARGS=objects, ranges, segments, tus, ladder: one part; ARGS=growth: up to a million objects)
	@$(PREPARE) test
	$(MAKE) build
	peer() {
		if [ ! -x "target/peers/bin/$$1" ]; then
			$(CARGO) install --locked --quiet --root target/peers --target-dir target "$${@:2}" ||
				echo "$$1 cannot be built here; the bench goes on without it" >&2
		fi
	}
	peer s3s-fs --features binary $(S3S_FS)
	peer garage $(GARAGE)
	$(CARGO) bench --locked --package nebula-tests --bench peers -- $(ARGS)

fmt: ## format the sources
	@$(CARGO) fmt --all
