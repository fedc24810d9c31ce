#!/bin/sh
# Opens the everlearn studio. The first start makes .venv beside this folder and installs into it; later starts take seconds.
set -eu
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-python3}"
if ! [ -x .venv/bin/everlearn ] || ! .venv/bin/python -c 'import gradio' 2>/dev/null; then
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "everlearn needs Python 3.11 or newer; set PYTHON to one.")'
  [ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
  echo "Installing (some minutes, once) ..."
  .venv/bin/python -m pip install --quiet --constraint constraints.txt "${TORCH:-torch==2.13.0}"
  .venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[studio]'
fi
exec .venv/bin/everlearn studio "$@"
