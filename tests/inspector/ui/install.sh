#!/bin/sh
# Install what judges the page: playwright and schemathesis into .venv, axe-core into the folder that is named.
set -eu
folder=$1
here=$(dirname "$0")
for needed in node npm; do
  command -v "$needed" >/dev/null || {
    echo "make test-ui needs $needed: install Node.js (on Debian, apt install npm)." >&2
    exit 1
  }
done
if ! command -v chromium >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y chromium >/dev/null || true
fi
command -v chromium >/dev/null || {
  echo "make test-ui needs Chromium: install it (on Debian, apt install chromium)." >&2
  exit 1
}
wanted=$(cat "$here/requirements.txt" "$here/package-lock.json" | cksum)
if [ "$(cat "$folder/.installed" 2>/dev/null)" = "$wanted" ] && .venv/bin/python -c 'import playwright, schemathesis' 2>/dev/null; then
  exit 0
fi
mkdir -p "$folder"
cp "$here/package.json" "$here/package-lock.json" "$folder"
npm ci --prefix "$folder" --no-audit --no-fund --loglevel=error >/dev/null || {
  echo "make test-ui needs the npm registry, and could not install from it." >&2
  exit 1
}
.venv/bin/python -m pip --disable-pip-version-check --quiet install -r "$here/requirements.txt"
echo "$wanted" >"$folder/.installed"
