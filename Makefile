.DEFAULT_GOAL := help
.PHONY: help test check fix demo bench bench-scripts bench-scale bench-alternatives bench-failover bench-rollout bench-page bench-memory bench-oom compare chaos simulate explore fuzz dist pictures incident setup clean

RUN_BENCH = UNDERSTUDY_TEST_ENGINE=$$(scripts/engine) cargo run --locked --release --quiet -p benches --bin

help: ## this list
	@sed -n 's/^\([a-z-]*\): ## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

test: ## install what is missing, then check everything: format, lints, docs, dependencies, tests
	@scripts/test

check: ## before a commit, in two minutes from warm: format, lints, unit tests, a thousand seeds
	@cargo fmt --all --check
	@cargo clippy --locked --workspace --all-targets --quiet -- -D warnings
	@cargo test --locked --quiet --lib --bins --test architecture
	@SEEDS=1000 cargo test --locked --quiet --test simulation no_seed

fix: ## format, and apply clippy's fixes
	cargo fmt --all
	cargo clippy --fix --allow-dirty --allow-staged --workspace --all-targets

demo: ## play the incident in the terminal: a real Redis, two agents, two miners, out of memory: MINER=rust
	@MINER=$(MINER) exec scripts/demo

bench: ## what an agent costs, compared with a Go sidecar and bare HTTP/2: ROUNDS=5 CALLS=200000
	@scripts/peers >/dev/null
	@UNDERSTUDY_BIN=$$(scripts/static) $(RUN_BENCH) bench

bench-scripts: ## what a script costs each engine, part by part: ROUNDS=80
	@UNDERSTUDY_TEST_ENGINES=$$(scripts/engines 2>/dev/null | paste -sd:) $(RUN_BENCH) scripts

bench-scale: ## what many agents cost one Redis: AGENTS=1000
	@$(RUN_BENCH) scale

bench-alternatives: ## failover with other libraries, etcd, today's elector and understudy: RUNS=5
	@cargo build --locked --release --quiet --bin understudy --example miner --example incumbent
	@scripts/peers >/dev/null
	@$(RUN_BENCH) alternatives

bench-failover: ## how long a failover takes, on this machine: RUNS=100 ROWS=calm,oom,exec,crowd,idle
	@cargo build --locked --release --quiet --bin understudy --example miner --example worker
	@$(RUN_BENCH) failover

bench-rollout: ## what a planned change costs: RUNS=50 rolling updates, RESIGNATIONS=100
	@cargo build --locked --release --quiet --bin understudy --example miner
	@$(RUN_BENCH) rollout

bench-page: ## what 16 open pages cost an agent: MINUTES=60
	@cargo build --locked --release --quiet --bin understudy --example miner
	@$(RUN_BENCH) page

bench-memory: ## how much memory an agent keeps: MINUTES=60
	@cargo build --locked --release --quiet --bin understudy --example miner
	@$(RUN_BENCH) memory

bench-oom: ## an hour out of memory, today's elector and understudy side by side: MINUTES=60
	@cargo build --locked --release --quiet --bin understudy --example miner --example incumbent
	@$(RUN_BENCH) oom

compare: ## today's elector and understudy side by side, fault by fault: RUNS=8 FAULT=…
	@cargo build --locked --release --quiet --bin understudy --example miner --example incumbent
	@$(RUN_BENCH) compare

chaos: ## real processes under every fault, many at once: MINUTES=2 ENGINE=… SEED=… SUBJECT=incumbent
	@cargo build --locked --quiet --all-targets
	@UNDERSTUDY_TEST_ENGINE=$$(scripts/engine) UNDERSTUDY_TEST_ENGINES=$$(scripts/engines 2>/dev/null | paste -sd:) \
	    UNDERSTUDY_PREVIOUS_BIN=$$(scripts/previous) \
	    cargo test --locked --quiet --test chaos -- --nocapture

simulate: ## try to find a second leader: SEEDS=100000, or replay one SEED=… and print what happens
	@cargo test --locked --release --quiet --test simulation no_seed -- --nocapture

explore: ## every interleaving of a small world: AGENTS=2 FAULTS=2 MINUTES=10 MEMORY=4000 LIVENESS=… EVENTS=… WITHOUT=… STEPS=…
	@cargo test --locked --release --quiet --test explore explores -- --ignored --nocapture

fuzz: ## feed bytes to every parser of foreign input, with a nightly toolchain: EACH=60 seconds per target
	@scripts/fuzz $(or $(EACH),60)

dist: ## build a release into target/dist: program, image, chart, completions, manual pages, SBOM, checksums
	@scripts/dist

pictures: ## take the two pictures of the page in docs/pictures, from a real run in a real browser
	@UNDERSTUDY_TEST_ENGINE=$$(scripts/engine) UNDERSTUDY_TEST_BROWSER=$$(scripts/browser) \
	    cargo test --locked --quiet --test page pictures -- --ignored

incident: ## write docs/incident.md, from a real run of four minutes
	@cargo build --locked --release --quiet --bin understudy --example miner --example incident
	@UNDERSTUDY_TEST_ENGINE=$$(scripts/engine) target/release/examples/incident > target/incident.md
	@mv target/incident.md docs/incident.md

setup: ## install what the tests need: Redis and Valkey servers, faketime
	@scripts/setup

clean: ## remove everything that was built
	cargo clean
