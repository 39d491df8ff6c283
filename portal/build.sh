#!/bin/sh
# Builds the portal into src/seawall/portal_dist. Where Node.js is missing or too old for Vite, one line says so,
# what was built before stays, and Seawall is installed all the same: only the portal's pages are missing then.
set -eu
cd "$(dirname "$0")"

leave() {
  if [ -e ../src/seawall/portal_dist/index.html ]; then
    echo "portal: $1; the portal that was built before is used"
  else
    echo "portal: $1; Seawall runs without the portal (a wheel or bundle of a release has it)"
  fi
  exit 0
}

command -v node >/dev/null && command -v npm >/dev/null || leave "Node.js and npm are not installed"
# The versions that Vite 8 runs on.
version=$(node --version)
major=${version#v} && major=${major%%.*}
minor=${version#*.} && minor=${minor%%.*}
case $major in
  20) [ "$minor" -ge 19 ] ;;
  22) [ "$minor" -ge 12 ] ;;
  *) [ "$major" -gt 22 ] ;;
esac || leave "Node.js $version cannot build it (20.19, 22.12 or later can)"
installed=node_modules/.package-lock.json
if [ ! -e $installed ] || [ package-lock.json -nt $installed ]; then
  npm ci --no-audit --no-fund
  touch $installed
fi
npm run -s build
