#!/bin/bash
# arm.sh [TARGET...]: build the release binary for ARM, without containers and without rustup.
#
# Debian's own newer rustc (rustc-web) comes with the source of its library, so std is built
# from that once per target; zig, from PyPI, is the C compiler and the linker. The result is
# one fully static musl binary per target, whose path is the last line printed for it.
#
# Exit: 0 built, 77 skipped (the reason is printed; only where the packages can't be had),
# else failed. CROSS_CACHE moves the cache, which is outside the clone so that it lasts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

zig=0.15.2 zigbuild=0.24.0 # pinned together: cargo-zigbuild translates rustc's arguments for this zig
cache=${CROSS_CACHE:-$HOME/.cache/cross-arm}
packages="file python3-venv rustc-web cargo-web rust-web-src qemu-user-static libclang1-14"
[ $# -gt 0 ] || set -- aarch64-unknown-linux-musl armv7-unknown-linux-musleabihf
mkdir -p "$cache"
say() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }
skip() {
  printf 'skipped: %s\n' "$*"
  exit 77
}

# 1. Packages. A warm machine has them; a half broken index is no reason to stop.
missing=
for package in $packages; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
    missing+=" $package"
done
if [ -n "$missing" ]; then
  command -v apt-get >/dev/null || skip "no apt-get here to install$missing"
  as_root=
  if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || skip "neither root nor sudo to install$missing"
    as_root="sudo -n"
  fi
  say "installing$missing"
  for try in 1 2 3; do
    $as_root apt-get -qq -o Acquire::Retries=3 update >"$cache/apt.log" 2>&1 ||
      say "apt-get update failed in part (try $try)"
    # Unquoted on purpose: words.
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 \
      -o Acquire::Retries=3 install -y --no-install-recommends $missing >>"$cache/apt.log" 2>&1 &&
      break
    if [ "$try" = 3 ]; then
      tail -5 "$cache/apt.log"
      skip "apt-get could not install$missing (log: $cache/apt.log)"
    fi
    sleep $((try * 20))
  done
fi
export PATH=/usr/bin:$PATH RUSTC=/usr/bin/rustc # Debian's pair, not rustup's
unset RUSTUP_TOOLCHAIN
need=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
have=$(rustc --version | cut -d' ' -f2)
printf '%s\n%s\n' "$need" "$have" | sort -VC || skip "rustc-web $have is older than $need"
say "rustc $have"

# 2. zig and cargo-zigbuild, in an environment of their own.
venv=$cache/zig-$zig-$zigbuild
if [ ! -e "$venv/ok" ]; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" -q --disable-pip-version-check install --retries 5 \
    "ziglang==$zig" "cargo-zigbuild==$zigbuild" >"$cache/pip.log" 2>&1 || {
    tail -5 "$cache/pip.log"
    skip "pip could not install ziglang and cargo-zigbuild (log: $cache/pip.log)"
  }
  touch "$venv/ok"
fi
PATH=$venv/bin:$PATH
say "zig $zig, cargo-zigbuild $zigbuild"

# 3. std for each target, once per compiler. The folder's name holds a hash of all that went
# in: cargo does not see what is inside a sysroot change, a new path it sees (RUSTFLAGS).
export RUST_LIBC_UNSTABLE_MUSL_V1_2_3=1 # 64-bit time_t on 32-bit musl, in std and in crates
recipe=3                                # raise it when build_std changes
key=$( (
  rustc -vV
  echo $recipe
) | sha256sum | cut -c1-12)
sysroot=$cache/sysroot-$key
build_std() {
  local target=$1 work out=$sysroot/lib/rustlib/$1
  [ -d "$out" ] && return
  say "std for $target"
  work=$(mktemp -d "$cache/std.XXXXXX")
  mkdir "$work/src"
  : >"$work/src/lib.rs"
  cat >"$work/Cargo.toml" <<'T'
[package]
name = "stdbuild"
version = "0.0.0"
edition = "2021"
[profile.release]
opt-level = "s"
panic = "unwind"
[workspace]
T
  # panic_abort must be compiled with panic=abort, as rust's own bootstrap does; the bitcode is
  # for the program's link-time optimisation.
  cat >"$work/wrap" <<'T'
#!/bin/bash
rustc=$1; shift
case " $* " in
  *" --crate-name panic_abort "*) exec "$rustc" "$@" -C embed-bitcode=yes -C panic=abort ;;
  *" --crate-name "*) exec "$rustc" "$@" -C embed-bitcode=yes ;;
esac
exec "$rustc" "$@"
T
  chmod +x "$work/wrap"
  RUSTC_WRAPPER=$work/wrap RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$work/t \
    cargo -q build --manifest-path "$work/Cargo.toml" --release --target "$target" \
    -Zbuild-std=std,panic_unwind,panic_abort,test
  mkdir -p "$work/out/lib" "${out%/*}"
  cp "$work/t/$target/release/deps/"lib*.rlib "$work/out/lib/"
  rm -f "$work/out/lib/"libstdbuild-*
  mv "$work/out" "$out"
  rm -rf "$work"
}
pids=()
for target; do
  build_std "$target" &
  pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done
say "std ready"

# 4. The program. link-self-contained=no: else rustc looks for rustup's crt1.o in the sysroot.
export CARGO_TARGET_DIR=$cache/target
for target; do
  name=CARGO_TARGET_$(tr a-z- A-Z_ <<<"$target")_RUSTFLAGS
  export "$name=--sysroot=$sysroot -C link-self-contained=no"
  cargo zigbuild -q --locked --release --bin branchline --target "$target"
  binary=$CARGO_TARGET_DIR/$target/release/branchline
  say "built $target: $(stat -c %s "$binary") bytes, $(file -b "$binary" | cut -d, -f1-2,4)"
  printf '%s\n' "$binary"
done
