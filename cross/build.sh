#!/bin/bash
# build.sh [TARGET...]: release build for ARM with the `cross` tool. It looks for its settings
# in the working directory, so this script goes to the top folder first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v cross >/dev/null || {
  echo "build.sh: the cross tool is not installed (see cross/Cross.toml); cross/arm.sh needs no containers" >&2
  exit 2
}
[ $# -gt 0 ] || set -- aarch64-unknown-linux-musl armv7-unknown-linux-musleabihf
export CROSS_CONFIG=cross/Cross.toml
for target; do
  cross build --release --locked --target "$target"
done
