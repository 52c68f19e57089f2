#!/usr/bin/env bash
# From a fresh Debian 12 to a running cluster: installs what is missing, builds
# the release, and does the main job with it (main_job.sh): three replicas on
# this machine, writes and reads through them, a short YCSB, the cluster's
# status, stop.
#
#   deploy/quickstart.sh
#
# Leaves nothing behind but build/release.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

deploy/install_packages.sh
echo "== Build (the first time takes some minutes) =="
cmake --preset release >/dev/null
cmake --build --preset release --target whale
whale=build/release/tools/whale

data=$(mktemp -d "${TMPDIR:-/tmp}/whale-quickstart.XXXXXX")
trap 'rm -rf "$data"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
deploy/main_job.sh "$whale" "$data"
echo "Try it yourself: $whale dev"
