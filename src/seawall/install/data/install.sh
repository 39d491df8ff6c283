#!/bin/sh
# Installs Seawall from this bundle; needs Python (see bundle.json), and no network. Run it as root, in the
# unpacked bundle. Run it again after a change of harbor.yml, and for an upgrade from a newer bundle.
#
#   ./install.sh [--prefix DIR] [--user NAME] [--no-start]
#
# Harbor's flags --with-trivy, --with-clair, --with-notary and --with-chartmuseum are taken and explained.
set -eu
cd "$(dirname "$0")"
here=$(pwd)
prefix=/opt/seawall
user=seawall
start=yes
with=""
while [ $# -gt 0 ]; do
  case $1 in
    --prefix) prefix=$2; shift 2 ;;
    --user) user=$2; shift 2 ;;
    --no-start) start=no; shift ;;
    --with-trivy | --with-clair | --with-notary | --with-chartmuseum) with="$with $1"; shift ;;
    -h | --help) echo "usage: install.sh [--prefix DIR] [--user NAME] [--no-start]"; exit 0 ;;
    *) echo "usage: install.sh [--prefix DIR] [--user NAME] [--no-start]" >&2; exit 2 ;;
  esac
done
fail() { echo "install.sh: $1" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail "must be run as root"
sha256sum --quiet --check SHA256SUMS || fail "the bundle is damaged or was changed"
version=$(cat VERSION)
wanted=$(cat PYTHON)
python=""
seen=""
for candidate in $(for version in $wanted; do echo "python$version"; done) python3; do
  if command -v "$candidate" >/dev/null 2>&1; then
    found=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    case " $wanted " in *" $found "*) python=$candidate; break ;; esac
    seen=$found
  fi
done
[ -n "$python" ] || fail "this bundle's wheels are for Python $(echo "$wanted" | sed 's/ / or /g'); this host has ${seen:-none}"

if ! getent passwd "$user" >/dev/null; then
  useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$user"
fi

# Each version has a folder of its own and `venv` points to the one in use: an upgrade that fails half way
# leaves the old one as it was, and going back is a change of the link.
release=$prefix/releases/$version
if [ ! -e "$release/.complete" ] || ! cmp -s SHA256SUMS "$release/.complete"; then
  rm -rf "$release"
  mkdir -p "$release"
  "$python" -m venv --without-pip "$release/venv"
  pip=$(echo wheels/pip-*.whl)
  # --no-index: nothing but what is in the bundle, whatever pip is configured to do on this host.
  "$release/venv/bin/python" "$pip/pip" --isolated --disable-pip-version-check install --quiet --no-index \
    --no-compile --find-links wheels --require-hashes --requirement requirements.txt
  "$release/venv/bin/python" -m compileall -q "$release/venv/lib" || true
  cp SHA256SUMS "$release/.complete"
fi
ln -sfn "releases/$version/venv" "$prefix/venv.new"
mv -T "$prefix/venv.new" "$prefix/venv"
mkdir -p /usr/local/bin
ln -sfn "$prefix/venv/bin/seawall" /usr/local/bin/seawall
echo "Seawall $version is installed in $prefix"

if [ ! -e harbor.yml ]; then
  echo "Next: cp harbor.yml.tmpl harbor.yml, edit it, and run install.sh again"
  exit 0
fi
"$prefix/venv/bin/seawall" prepare --harbor-yml "$here/harbor.yml" --prefix "$prefix" --user "$user" $with

if [ -d /etc/logrotate.d ] && [ -e common/config/logrotate.conf ]; then
  install -m 644 common/config/logrotate.conf /etc/logrotate.d/seawall
fi
if [ -d /etc/rsyslog.d ] && [ -e common/config/rsyslog.conf ]; then
  install -m 644 common/config/rsyslog.conf /etc/rsyslog.d/60-seawall.conf
fi
mkdir -p /etc/systemd/system
install -m 644 systemd/seawall.service systemd/seawall-jobservice.service /etc/systemd/system/
if [ "$start" = yes ] && [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  systemctl enable seawall.service seawall-jobservice.service
  systemctl restart seawall.service seawall-jobservice.service
  echo "Seawall is started; see: systemctl status seawall"
else
  echo "Next: systemctl daemon-reload && systemctl enable --now seawall seawall-jobservice"
fi
