#!/bin/bash
# build.sh BINARY ARCH [OUT]: a Debian package around a built binary, with dpkg-deb alone.
# ARCH is Debian's name: arm64, armhf, amd64. OUT is the folder of the .deb (default: here).
set -euo pipefail
[ $# -ge 2 ] || {
  echo "usage: build.sh BINARY arm64|armhf|amd64 [OUT]" >&2
  exit 2
}
binary=$(realpath "$1") arch=$2 out=$(realpath "${3:-.}")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"

install -D -m 755 "$binary" "$root/usr/bin/branchline"
install -D -m 644 cross/deb/branchline.service "$root/lib/systemd/system/branchline.service"
install -D -m 640 config.toml "$root/etc/branchline/config.toml"
# Where the package keeps things; the sample's own paths are relative to the file.
sed -i 's|^data_dir = .*|data_dir = "/var/lib/branchline"|
        s|^scenarios_dir = .*|scenarios_dir = "/usr/share/branchline/scenarios"|' \
  "$root/etc/branchline/config.toml"
mkdir -p "$root/usr/share/branchline"
cp -r scenarios "$root/usr/share/branchline/scenarios"
for file in README.md LICENSE*; do
  [ -e "$file" ] && install -D -m 644 "$file" "$root/usr/share/doc/branchline/$file"
done

mkdir "$root/DEBIAN"
size=$(du -sk --exclude=DEBIAN "$root" | cut -f1)
sed "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@SIZE@/$size/" cross/deb/control.in >"$root/DEBIAN/control"
install -m 644 cross/deb/conffiles "$root/DEBIAN/conffiles"
install -m 755 cross/deb/postinst cross/deb/prerm cross/deb/postrm "$root/DEBIAN/"
package=$out/branchline_${version}_$arch.deb
dpkg-deb --build --root-owner-group "$root" "$package"
stat -c '%s bytes' "$package"
