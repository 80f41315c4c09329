#!/bin/sh
# Check a proof that an entry is in the log, with OpenSSL alone: sh check-proof.sh PROOF ENTRY [VKEY]
# The hashes are those of RFC 6962, the walk is RFC 9162 §2.1.3.2, the proof C2SP tlog-proof. With the log's key, the
# signature of the checkpoint is checked as well (docs/audit-log-format.md §4). Nothing that a proof says is evaluated,
# or becomes a part of a program: a number is one before it is counted with.
set -euf
proof=$1 entry=$2 vkey=${3-}
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
sha256() { openssl dgst -sha256 -binary; }
refuse() { echo "REFUSED: $1" >&2; exit 1; }
is_number() { case $1 in '' | *[!0-9]* | 0?* | ????????????????*) return 1 ;; esac; }

sed '1,/^$/d' "$proof" > "$work/checkpoint"
sed '/^$/,$d' "$work/checkpoint" > "$work/body"
index=$(sed -n '2s/^index //p' "$proof")
size=$(sed -n 2p "$work/body")
is_number "$index" && is_number "$size" && [ "$index" -lt "$size" ] || refuse "it names no entry of a log"
[ "$(wc -l < "$work/body")" -eq 3 ] || refuse "it has no checkpoint of three lines"
node=$index last=$((size - 1))
{ printf '\000'; cat "$entry"; } | sha256 > "$work/hash"
for line in $(sed '1,2d;/^$/,$d' "$proof"); do
  [ "$last" != 0 ] || refuse "it has more hashes than the log has levels"
  printf '%s' "$line" | openssl base64 -d -A > "$work/sibling"
  if [ $((node & 1)) = 1 ] || [ "$node" = "$last" ]; then
    { printf '\001'; cat "$work/sibling" "$work/hash"; } | sha256 > "$work/above"
    while [ $((node & 1)) = 0 ] && [ "$node" != 0 ]; do node=$((node >> 1)) last=$((last >> 1)); done
  else
    { printf '\001'; cat "$work/hash" "$work/sibling"; } | sha256 > "$work/above"
  fi
  node=$((node >> 1)) last=$((last >> 1))
  mv "$work/above" "$work/hash"
done
if [ "$last" != 0 ] || [ "$(openssl base64 -A < "$work/hash")" != "$(sed -n 3p "$work/body")" ]; then
  refuse "it is not entry $index under this checkpoint"
fi
if [ -n "$vkey" ]; then
  origin=$(cut -d+ -f1 "$vkey") id=$(cut -d+ -f2 "$vkey")
  [ "$(sed -n 1p "$work/body")" = "$origin" ] || refuse "it is of another log than the key"
  while IFS=' ' read -r dash name signature; do
    [ "$dash $name" = "— $origin" ] || continue
    printf '%s' "$signature" | openssl base64 -d -A > "$work/line"
    [ "$(head -c 4 "$work/line" | od -An -tx1 | tr -d ' \n')" != "$id" ] || tail -c +5 "$work/line" > "$work/signature"
  done < "$work/checkpoint"
  [ -e "$work/signature" ] || refuse "the log's key has not signed its checkpoint"
  { printf '\060\052\060\005\006\003\053\145\160\003\041\000'; cut -d+ -f3- "$vkey" | openssl base64 -d -A | tail -c 32; } > "$work/key"
  openssl pkeyutl -verify -pubin -inkey "$work/key" -keyform DER -rawin -in "$work/body" -sigfile "$work/signature" ||
    refuse "the signature of its checkpoint is not the key's"
fi
echo "OK entry $index of $size"
