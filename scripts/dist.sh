#!/bin/sh
# Builds source archive and wheel, and tries the wheel as a person gets it: in a fresh environment, away from the sources.
# Usage: scripts/dist.sh [FOLDER]; PYTHON names the Python, which has the packages `build` and `setuptools`.
set -eu
cd "$(dirname "$0")/.."
sources=$(pwd)
python=${PYTHON:-python3}
place=${1:-dist}

rm -rf "$place"
"$python" -m build --no-isolation --outdir "$place" "$sources"
"$python" -m venv "$place/env"
cd "$place"
fresh=$(pwd)/env/bin
"$fresh/python" -m pip install --quiet --constraint "$sources/constraints.txt" "$(ls "$PWD"/augury-*.whl)[dev]"

"$fresh/python" -c "import augury, sys; sys.exit('not the wheel: ' + augury.__file__ if '$sources/src' in augury.__file__ else 0)"
"$fresh/augury" doctor
"$fresh/augury" demo --out demo
OMP_NUM_THREADS=1 "$fresh/python" -m pytest --config-file "$sources/pyproject.toml" --rootdir "$sources" \
    --numprocesses auto --dist loadfile -m "not cluster" "$sources/tests"
