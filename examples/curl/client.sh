#!/bin/sh
# Gets an access token (RFC 6749 section 4.4) and calls an API with it (RFC 6750), twice.
set -eu

: "${MINTAGE_URL:=http://127.0.0.1:8080}" "${API_URL:=http://127.0.0.1:9090}"
: "${CLIENT_ID:?set CLIENT_ID}" "${CLIENT_SECRET:?set CLIENT_SECRET}"

# The credentials go through standard input: arguments can be read by every user of the machine.
answer=$(printf 'user = "%s:%s"\n' "$CLIENT_ID" "$CLIENT_SECRET" |
  curl -sS --fail-with-body --max-time 10 -K - \
    -d grant_type=client_credentials -d scope=orders:read "$MINTAGE_URL/token") || {
  echo "no token: $answer" >&2
  exit 1
}
token=$(printf '%s' "$answer" | sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p')

for _ in 1 2; do
  printf 'header = "Authorization: Bearer %s"\n' "$token" |
    curl -sS --fail-with-body --max-time 10 -K - "$API_URL/orders/1"
  echo
done
