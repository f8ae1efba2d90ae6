#!/bin/sh
# Runs the tests with the lowest version of each package that pyproject.toml allows. That torch brings its CUDA libraries: 7 GB in all.
# Usage: scripts/lowest.sh [FOLDER]; PYTHON names the Python, python3.11 if not set: the oldest that Augury supports.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3.11}
place=${1:-build/lowest}

rm -rf "$place"
"$python" -m venv "$place"
"$place/bin/python" -m pip install --quiet uv
"$place/bin/python" -m uv pip install --python "$place/bin/python" --resolution lowest-direct --compile-bytecode --editable '.[dev]'
OMP_NUM_THREADS=1 "$place/bin/python" -m pytest --numprocesses auto --dist loadfile -m "not cluster"
