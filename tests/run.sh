#!/usr/bin/env bash
# Installs what is missing, builds the release and runs every test.
#
#   tests/run.sh                all tests
#   tests/run.sh -L process     arguments go to ctest
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

deploy/install_packages.sh
cmake --preset release >/dev/null
cmake --build --preset release
jobs=$(nproc)
ctest --preset release -j "$jobs" "$@"
