# The commands of the project. `make help` lists them; what is longer than a line lies in scripts/.

ARGS ?=
# How the binary of an image is built, and what benches measure.
PROFILE = dist
# The documentation shows private items too, so public ones may link to them.
RUSTDOC_LINTS = -D warnings -A rustdoc::private_intra_doc_links

.PHONY: help setup build plugin dev check test test-long test-sanitized test-kubernetes docs gen manifests image-root bench bench-graph bench-laptop

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 17

setup: ## install what building and testing need, or say what is missing
	@scripts/setup

build: ## build the optimized binary that everything here uses
	@scripts/setup build
	cargo build --release

plugin: build ## link the binary as kubectl-vectorsphere into DIR (/usr/local/bin)
	ln -sf $(abspath $(or $(CARGO_TARGET_DIR),target))/release/vectorsphere $(or $(DIR),/usr/local/bin)/kubectl-vectorsphere

dev: build ## run a whole cluster on this machine; ARGS="-f FILE ..." are passed on
	@scripts/dev $(ARGS)

check: setup ## formatting and lints
	cargo fmt --check
	cargo clippy --release --all-targets -- -D warnings
	cargo clippy --release --test operator -- -D warnings

test: setup ## every test that CI runs but those on a real Kubernetes
	@scripts/test

test-long: setup ## the long fault suites; they print their figures
	@scripts/test-long

test-sanitized: setup ## the unsafe code under AddressSanitizer; takes a nightly toolchain
	@scripts/test-sanitized

test-kubernetes: setup build ## the operator on a real Kubernetes, started here as root; NODES=n nodes
	@scripts/test-kubernetes $(ARGS)

docs: setup ## the documentation of the code
	RUSTDOCFLAGS="$(RUSTDOC_LINTS)" cargo doc --no-deps --document-private-items

bench: setup ## index and store against their baselines, the graph beside hnswlib, faiss, usearch; DATA=FOLDER of real embeddings
	$(if $(DATA),,$(error say DATA=FOLDER: a folder of real embeddings, docs/performance.md))
	VECTORSPHERE_DATA=$(DATA) cargo bench --profile $(PROFILE) --bench index
	cargo bench --profile $(PROFILE) --bench store -- layout
	cargo bench --profile $(PROFILE) --bench store -- ingest
	@$(MAKE) bench-graph ARGS="--with faiss,usearch,arroy --plot docs/performance/recall.svg $(ARGS)"

bench-graph: setup ## the graph index beside hnswlib, in turns; DATA=FOLDER of real embeddings
	$(if $(DATA),,$(error say DATA=FOLDER: a folder of real embeddings, docs/performance.md))
	@python=$$(scripts/demo-env benches) && "$$python" benches/graph.py --profile $(PROFILE) --data $(DATA) $(ARGS)

bench-laptop: setup ## a laptop cluster measured whole; DATA=FOLDER takes real embeddings
	@scripts/setup build
	cargo build --profile $(PROFILE)
	@python=$$(scripts/demo-env) && "$$python" benches/laptop.py --binary $(or $(CARGO_TARGET_DIR),target)/$(PROFILE)/vectorsphere \
	    $(if $(DATA),--data $(DATA)) $(ARGS)

gen: build ## write the generated files anew
	UPDATE_GENERATED=1 cargo test --release --test it generated
	UPDATE_GENERATED=1 cargo test --release --lib operator::render

manifests: ## render the charts into manifests/; HELM=PROGRAM, else that of the test Kubernetes
	@scripts/render-manifests

image-root: ## lay out the container image in target/image; PROFILE=release builds sooner what runs slower
	@scripts/setup build
	cargo build --profile $(PROFILE)
	scripts/image-root target/image $(PROFILE)
