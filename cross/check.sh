#!/bin/bash
# check.sh [TARGET...]: run what arm.sh built under qemu-user. The binary must start with a
# config of its own, answer a SIP OPTIONS over UDP and GET /health over HTTP, and stop at
# SIGTERM with status 0. Ends with `N passed, N failed`.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CROSS_CACHE:-$HOME/.cache/cross-arm}
[ $# -gt 0 ] || set -- aarch64-unknown-linux-musl armv7-unknown-linux-musleabihf
passed=0 failed=0
for target; do
  binary=$cache/target/$target/release/branchline
  case $target in
    aarch64-*) qemu=qemu-aarch64-static ;;
    arm*) qemu=qemu-arm-static ;;
    *) echo "check.sh: no emulator for $target" >&2; exit 2 ;;
  esac
  if [ ! -x "$binary" ]; then
    echo "FAILED $target: $binary is not there"
    failed=$((failed + 1))
    continue
  fi
  echo "$target: $(stat -c %s "$binary") bytes, $(file -b "$binary" | cut -c1-140)"
  if python3 "$here/check.py" "$qemu" "$binary"; then
    echo "ok     $target"
    passed=$((passed + 1))
  else
    echo "FAILED $target"
    failed=$((failed + 1))
  fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
