#!/bin/sh
# Builds the filter in JavaScript and Python: target/filter-js.wasm and target/filter-python.wasm.
#
# Needs npm, and Python with pip; both fetch their compilers. Not part of CI.
set -eu
cd "$(dirname "$0")"

# A project's folder as `edge new` lays it out: its world beside the packages that it names.
project() {
    mkdir -p "target/$1/wit/deps/edge-module"
    cp -R "$1/." "target/$1/"
    cp ../wit/*.wit "target/$1/wit/deps/edge-module/"
    cp -R ../wit/deps/config ../wit/deps/keyvalue ../wit/deps/logging "target/$1/wit/deps/"
}

project filter-js
(cd target/filter-js && npm install --no-audit --no-fund && npm run build)
cp target/filter-js/filter-js.wasm target/

project filter-python
target/filter-python/build.sh
cp target/filter-python/filter-python.wasm target/

ls -l target/filter-js.wasm target/filter-python.wasm
