#!/usr/bin/env bash
# Unpack a real S3 server for the tests, Debian's radosgw, below DIR; about 70 MB to fetch, nothing is installed.
#   tools/ceph.sh DIR && SYNCD_TEST_CEPH=DIR make test-s3
set -euo pipefail
place=$(mkdir -p "${1:?a directory}" && cd "$1" && pwd)
[ ! -x "$place/usr/bin/radosgw" ] || exit 0

packages=$(mktemp -d)
trap 'rm -rf "$packages"' EXIT
mkdir "$packages/partial"
chmod 755 "$packages"
apt-get -qq update || echo "apt-get update failed; going on with the lists that are there" >&2
# What is installed already is fetched again all the same: its files must lie beside the others.
apt-get -qq -y --reinstall --no-install-recommends --download-only -o Dir::Cache::archives="$packages" \
    -o APT::Sandbox::User=root -o Debug::NoLocking=1 install ceph-mon ceph-osd radosgw ceph-common >/dev/null
for package in "$packages"/*.deb; do
    dpkg --extract "$package" "$place"
done
test -x "$place/usr/bin/radosgw"
