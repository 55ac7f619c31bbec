#!/bin/sh
# Makes filter-python.wasm. The compiler is kept in .venv.
set -eu
cd "$(dirname "$0")"

if ! [ -x .venv/bin/componentize-py ]; then
    python3 -m venv .venv
    .venv/bin/pip install --quiet --requirement requirements.txt
fi
.venv/bin/componentize-py --wit-path wit --world module componentize --python-path src app --output filter-python.wasm
