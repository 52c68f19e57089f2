#!/usr/bin/env bash
# Power fails under load over soft-RoCE: see power_loss.sh.
exec "$(dirname "${BASH_SOURCE[0]}")/power_loss.sh" verbs
