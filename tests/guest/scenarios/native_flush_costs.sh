#!/usr/bin/env bash
# What native FLUSH costs: see native_flush.sh.
# Only when named: it builds most of the product once more.
exec "$(dirname "${BASH_SOURCE[0]}")/native_flush.sh" --costs
