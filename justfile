# What a developer does. `just` alone lists it.

default:
    @just --list

# Formatting, lints, licences and advisories.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo deny check

# Tests that need no engine.
test-fast:
    cargo test --workspace --lib --bins
    cargo test --test layering --test cli --test generated

# Everything, the real engine and a real Keystone included.
test:
    cargo test --workspace

# Schemas and reference pages.
generate:
    MASTIC_REGENERATE=1 cargo test --test generated --test mistakes

# The figures of docs/performance.md.
bench:
    cargo bench --bench cloud
    cargo bench --bench smoke

# A cloud on this machine.
up:
    cargo run --release -- up --yes
