#!/usr/bin/env bash
# Makes the Debian package of a build and checks it: what is in it, that the
# program runs from it, that its units and example configurations make sense.
#
#   deploy/test_package.sh BUILD_DIR            unpacks it beside
#   deploy/test_package.sh BUILD_DIR --install  installs and purges it (root)
set -euo pipefail
build=$(realpath "$1")
work=$(mktemp -d "${TMPDIR:-/tmp}/whale-package.XXXXXX")
trap 'rm -rf "$work"' EXIT
fail() { echo "deploy/test_package.sh: $*" >&2; exit 1; }

(cd "$work" && cpack --config "$build/CPackConfig.cmake" -G DEB >"$work/cpack.log" 2>&1) ||
  { cat "$work/cpack.log" >&2; fail "cpack failed"; }
package=$(ls "$work"/whale_*.deb)
dpkg-deb --info "$package" >"$work/info"
grep -q '^ Depends: .*libgrpc' "$work/info" || fail "no dependency on gRPC: $(cat "$work/info")"
grep -q 'postinst' "$work/info" || fail "no postinst"

root=$work/root
dpkg-deb -x "$package" "$root"
for file in usr/bin/whale usr/lib/systemd/system/whale-server.service \
    usr/lib/systemd/system/whale-coordinator.service usr/lib/sysusers.d/whale.conf \
    usr/share/doc/whale/operations.md usr/share/doc/whale/example/host1.toml \
    usr/share/whale/whale.json usr/share/whale/alerts.yaml; do
  [[ -s $root/$file ]] || fail "$file is not in the package"
done
grep -q '^LimitMEMLOCK=infinity$' "$root/usr/lib/systemd/system/whale-server.service" ||
  fail "the server's unit limits locked memory"
if find "$root" -type f -perm /022 | grep -q .; then fail "files that others may write"; fi
"$root/usr/bin/whale" --version

# Every key is one of the command's; it stops at what this machine lacks.
for config in "$root"/usr/share/doc/whale/example/host*.toml; do
  for command in coordinator serve; do
    said=$("$root/usr/bin/whale" "$command" --config "$config" 2>&1) && fail "$command started"
    grep -q '/etc/whale/' <<<"$said" || fail "$command --config $config: $said"
  done
done

if [[ ${2-} == --install ]]; then
  dpkg-query -W whale >/dev/null 2>&1 && fail "whale is installed already"
  dpkg -i "$package" >/dev/null
  getent passwd whale >/dev/null || fail "no user whale"
  /usr/bin/whale --version
  if command -v systemd-analyze >/dev/null; then
    systemd-analyze verify whale-server.service whale-coordinator.service
  fi
  dpkg --purge whale >/dev/null 2>&1
fi
echo "the package is good"
