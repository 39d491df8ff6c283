#!/bin/sh
# Installs the Debian packages that tests and benchmarks talk to. Does nothing when all are there.
set -eu
cd "$(dirname "$0")"
wanted=$(grep -v '^#' packages.txt | tr '\n' ' ')
missing=""
for package in $wanted; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
echo "The tests talk to real servers and clients (PostgreSQL, Redis, HAProxy, skopeo, a browser, ...)."
echo "These Debian packages of .ci/packages.txt are missing and are installed now, for which apt needs root:"
echo " $missing"
echo "Nothing of them is started as a service. Tests with network namespaces and other users' files need root too."
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
# Services must not start by themselves: the tests run their own, on free loopback ports.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
  $sudo chmod +x $policy
  trap '$sudo rm -f $policy' EXIT
fi
$sudo apt-get update -q
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -q --no-install-recommends $missing
