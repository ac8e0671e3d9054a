.DEFAULT_GOAL := help
.PHONY: help test fix demo bench-failover setup clean

with_engine := UNDERSTUDY_TEST_ENGINE=$$(scripts/engine) && export UNDERSTUDY_TEST_ENGINE &&
# The agent and the sample miner that the story runs.
with_examples := cargo build --release --bins --examples &&

help: ## this list
	@sed -n 's/^\([a-z-]*\): ## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

test: ## install what is missing, then everything that must hold: format, lints, docs, dependencies, tests
	@scripts/test

fix: ## format, and mend what clippy can mend
	cargo fmt
	cargo clippy --fix --allow-dirty --allow-staged --all-targets

demo: ## the story in the terminal: a real Redis, two agents, two miners, out of memory
	@$(with_engine) $(with_examples) cargo run --release --quiet --example demo

bench-failover: ## how long a failover takes, on this machine
	@$(with_engine) $(with_examples) cargo bench --bench failover

setup: ## install what the tests need: a Redis server, cargo-deny
	@scripts/setup

clean: ## remove everything that was built
	cargo clean
