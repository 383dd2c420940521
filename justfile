target := env('CARGO_TARGET_DIR', 'target')

# The list of recipes.
default:
    @just --list --unsorted

# The service, on http://127.0.0.1:8080.
run *arguments:
    cargo run --release -- serve {{arguments}}

# Every test; the datasets are read from ../shared/data.
test *arguments:
    cargo test {{arguments}}

# Lints, as errors.
lint:
    cargo clippy --all-targets -- -D warnings

# Formats the source.
fmt:
    cargo fmt

# What CI runs, exactly.
ci:
    .ci/run

# Writes openapi.yaml anew from the source.
openapi:
    cargo run --quiet -- openapi > target/openapi.yaml
    mv target/openapi.yaml openapi.yaml

# Writes .sqlx anew: the queries of the source, checked against migrations/.
sqlx:
    .ci/sqlx-prepare

# Makes the sample family and its detectors anew.
models:
    cargo run --release -- samples make --out models

# Compares the models with their counterparts in PyTorch: benches/peers/README.md.
bench-peers *arguments:
    #!/usr/bin/env bash
    set -euo pipefail
    if [ -z "${GRAPHKIN_PEERS_PYTHON:-}" ]; then
        venv=target/peers/venv
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet --requirement benches/peers/requirements.txt
    fi
    cargo bench --bench peers -- {{arguments}}

# The benchmarks but for the comparison with PyTorch, about 15 minutes; the figures are also written to target/bench/table.md.
bench:
    rm -rf {{target}}/bench
    cargo bench --bench import --bench score --bench growth --bench http --bench ready
    { echo '| bench | what | made of | figure | goal | |'; echo '|---|---|---|---|---|---|'; cat {{target}}/bench/rows/*.md; } > {{target}}/bench/table.md
    cat {{target}}/bench/table.md

# Builds the image `graphkin`.
docker:
    docker compose --file docker/compose.yaml build

# Builds the image `graphkin:cuda`.
docker-cuda:
    docker build --file docker/Dockerfile.cuda --tag graphkin:cuda .

# Builds for CUDA with its real compiler, and shows what happens without a device: .ci/cuda-build.
cuda-build *arguments:
    .ci/cuda-build {{arguments}}

# The tests that need a GPU.
test-gpu:
    cargo test --features cuda --lib -- --include-ignored on_a_gpu
