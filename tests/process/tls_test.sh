#!/usr/bin/env bash
# A cluster with TLS and tokens (`whale dev --tls`): who has certificate and
# token gets in; who has a wrong or expired one, or none, is told so, and
# nothing changes.
#
#   tls_test.sh WHALE
set -uo pipefail
whale=$1
work=$(mktemp -d "${TMPDIR:-/tmp}/whale-tls-test.XXXXXX")
port=$((15000 + $$ % 150 * 32))
address=localhost:$port
failures=0
cases=0

"$whale" dev --tls --dir "$work/data" --port "$port" --shards 2 \
  --pool-bytes 256MiB --ready-file "$work/ready" >"$work/log" 2>&1 &
dev=$!
cleanup() {
  trap - EXIT
  kill -INT "$dev" 2>/dev/null
  wait "$dev"
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
until [[ -e $work/ready ]]; do
  if ! kill -0 "$dev" 2>/dev/null; then
    cat "$work/log" "$work"/data/log/*
    exit 1
  fi
  sleep 0.05
done

tls=$work/data/tls
good=(--tls-ca "$tls/ca.pem" --tls-cert "$tls/cert.pem" --tls-key "$tls/key.pem")
admin=("${good[@]}" --token-file "$tls/admin.token")

# expect NAME CODE REGEX COMMAND...
expect() {
  local name=$1 code=$2 regex=$3 output got
  shift 3
  output=$(timeout 60 "$whale" "$@" --cluster "$address" --timeout 3s 2>&1 </dev/null)
  got=$?
  cases=$((cases + 1))
  if [[ $got -ne $code ]] || ! grep -Eqi -- "$regex" <<<"$output"; then
    failures=$((failures + 1))
    printf 'FAILED %s\n  exit code %s, expected %s; output should match /%s/:\n%s\n' \
      "$name" "$got" "$code" "$regex" "${output:0:2000}"
  fi
}
epochs() {
  "$whale" status --json "${admin[@]}" --cluster "localhost:$port" |
    jq -c '[.shards[] | [.epoch, .policy]]'
}
before=$(epochs)

expect "a client with certificate and token" 0 . put key value "${admin[@]}"
expect "read-write is enough to write" 0 . put key value2 "${good[@]}" --token-file "$tls/read-write.token"
expect "read-only may look" 0 "cluster" status "${good[@]}" --token-file "$tls/read-only.token"
expect "read-only may not write" 2 "needs the role read-write" put key no "${good[@]}" --token-file "$tls/read-only.token"
expect "read-write is no admin" 2 "needs the role admin; the token's is read-write" \
  admin set-policy --mirrors 0 "${good[@]}" --token-file "$tls/read-write.token"
expect "no token" 2 "a token is needed" status "${good[@]}"
echo 0123456789abcdef0123456789abcdef >"$work/wrong.token"
expect "wrong token" 2 "token is not known" admin set-policy --mirrors 0 "${good[@]}" --token-file "$work/wrong.token"
expect "no TLS" 2 "gives no answer|closed|handshake" status
expect "half of TLS" 2 "all three" status --tls-ca "$tls/ca.pem"
expect "no such file" 2 "cannot read" status --tls-ca "$work/none" --tls-cert "$tls/cert.pem" --tls-key "$tls/key.pem"
expect "a key of another certificate" 2 "is not the key of" status --tls-ca "$tls/ca.pem" \
  --tls-cert "$tls/cert.pem" --tls-key "$tls/ca-key.pem"
address=192.0.2.1:1 expect "plaintext beyond loopback" 2 "allow-plaintext" status

# Of another authority.
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/other-key.pem" -out "$work/other.pem" \
  -days 2 -subj /CN=other -addext subjectAltName=DNS:localhost >/dev/null 2>&1
expect "another authority's certificate" 2 "gives no answer" status --tls-ca "$tls/ca.pem" \
  --tls-cert "$work/other.pem" --tls-key "$work/other-key.pem" --token-file "$tls/admin.token"
expect "a coordinator of another authority" 2 "gives no answer" status --tls-ca "$work/other.pem" \
  --tls-cert "$work/other.pem" --tls-key "$work/other-key.pem" --token-file "$tls/admin.token"

# Expired: signed for a day long ago.
mkdir -p "$work/ca" && : >"$work/ca/index" && echo 01 >"$work/ca/serial"
cat >"$work/ca/config" <<CONFIG
[ca]
default_ca = own
[own]
database = $work/ca/index
serial = $work/ca/serial
new_certs_dir = $work/ca
default_md = sha256
policy = any
[any]
commonName = supplied
CONFIG
openssl ca -batch -config "$work/ca/config" -in "$tls/request.pem" -out "$work/expired.pem" -notext \
  -cert "$tls/ca.pem" -keyfile "$tls/ca-key.pem" \
  -startdate 200101000000Z -enddate 200102000000Z >/dev/null 2>&1 || echo "openssl ca failed"
expect "expired certificate" 2 "has expired" status --tls-ca "$tls/ca.pem" \
  --tls-cert "$work/expired.pem" --tls-key "$tls/key.pem" --token-file "$tls/admin.token"

expect "what was written is there" 0 "value2" get key "${admin[@]}"
[[ $(epochs) == "$before" ]] || { echo "FAILED: something changed"; failures=$((failures + 1)); }
echo "$cases cases, $failures failed"
[[ $failures -eq 0 ]]
