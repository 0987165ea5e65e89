# The everyday commands. `just` lists them; https://just.systems explains the syntax.

# Lists the recipes.
default:
    @just --list

# Builds the binary that packages contain, target/dist/mintage.
build:
    BUILD_COMMIT="$(git rev-parse --short=12 HEAD 2>/dev/null || true)" cargo build --locked --profile dist

# Builds what is to be installed, in dist/; arguments go to scripts/package.
package *ARGS:
    scripts/package {{ARGS}}

# Starts a development server with demo clients.
dev *ARGS:
    cargo run --locked -- serve --dev {{ARGS}}

# Installs what the tests need and runs them all; arguments go to scripts/test.
test *ARGS:
    scripts/test {{ARGS}}

# Runs one test binary, or only its tests whose names contain FILTER: `just test-one api token`.
test-one BINARY *FILTER:
    cargo test --locked --test {{BINARY}} {{FILTER}} -- --nocapture

# Checks format and lints.
lint:
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets -- -D warnings

# Formats the code.
fmt:
    cargo fmt --all

# Runs one benchmark: `just bench client_cache`.
bench NAME *ARGS:
    cargo bench --locked --bench {{NAME}} -- {{ARGS}}

# Compares the instructions of a warm request with benches/instructions.toml.
perf:
    scripts/perf-check

# Builds the API documentation; a warning is an error.
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --workspace

# Checks licenses, sources and banned crates of the dependencies.
deny:
    cargo deny --workspace check bans licenses sources
