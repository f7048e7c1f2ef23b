#!/bin/sh
# Install what judges kando-mcp from the npm registry into the folder that is named.
set -eu
folder=$1
inspector=2.12.0 conformance=0.2.0-alpha.12 node=22.23.3 servers=2026.8.31
for needed in node npm; do
  command -v "$needed" >/dev/null || {
    echo "make test-mcp-external needs $needed: install Node.js (on Debian, apt install npm)." >&2
    exit 1
  }
done
wanted="inspector $inspector conformance $conformance node $node servers $servers"
[ "$(cat "$folder/.installed" 2>/dev/null)" = "$wanted" ] && exit 0
mkdir -p "$folder"
cd "$folder"
echo '{"private": true}' >package.json
# The inspector needs Node 22.19, which many systems do not have yet.
platform=$(node -p 'process.platform + "-" + process.arch')
npm install --no-audit --no-fund --loglevel=error \
  "node-$platform@$node" \
  "@modelcontextprotocol/inspector@$inspector" \
  "@modelcontextprotocol/conformance@$conformance" \
  "@modelcontextprotocol/server-filesystem@$servers" \
  "@modelcontextprotocol/server-everything@$servers" || {
  echo "make test-mcp-external needs the npm registry, and could not install from it." >&2
  exit 1
}
ln -sf "../node-$platform/bin/node" node_modules/.bin/node
echo "$wanted" >.installed
