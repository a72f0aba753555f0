#!/bin/sh
# Build the native engine for ARM64 and let it compute under emulation: on a processor with I8MM and the dot product
# and on one without, its numbers must be those of the reference here, and all golden files must decode and be made again.
#
#   tests/tools/cross.sh [FOLDER]     keeps what it downloads in FOLDER, for the next time
#
# Debian or Ubuntu: apt-get install gcc-aarch64-linux-gnu qemu-user mmdebstrap. PYTHON names an interpreter that has
# llmzip's dependencies and test extra; SUITE and MIRROR say where ARM64's Python comes from, CC what compiles, CPUS the
# processors. Downloads some 100 MB of Debian packages and wheels, installs nothing.
set -eu
python=${PYTHON:-python3}
compiler=${CC:-aarch64-linux-gnu-gcc}
here=$(cd "$(dirname "$0")/../.." && pwd)
work=${1:-$(mktemp -d)}
[ $# -gt 0 ] || trap 'rm -rf "$work"' EXIT
mkdir -p "$work"
work=$(cd "$work" && pwd)
root=$work/root wheels=$work/wheels tree=$work/tree vectors=$work/vectors

for tool in qemu-aarch64 mmdebstrap "${compiler%% *}" aarch64-linux-gnu-objdump; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: see the head of $0" >&2; exit 2; }
done

if [ ! -e "$root/usr/bin/python3" ]; then
    mmdebstrap --quiet --variant=extract --architectures=arm64 --include=python3,libstdc++6 "${SUITE:-bookworm}" "$root" \
        "${MIRROR:-http://deb.debian.org/debian}"
fi
arm() { # an interpreter of ARM64 on the processor $1
    cpu=$1
    shift
    PYTHONHOME="$root/usr" PYTHONPATH="$tree:$wheels" PYTHONDONTWRITEBYTECODE=1 \
        qemu-aarch64 -cpu "$cpu" -L "$root" "$root/usr/bin/python3" "$@"
}
if [ ! -e "$wheels/numpy" ]; then
    version=$(arm max -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$python" -m pip install -qq --no-deps --target "$wheels" --only-binary=:all: --python-version "$version" \
        --platform manylinux2014_aarch64 --platform manylinux_2_28_aarch64 \
        numpy platformdirs safetensors tokenizers xxhash zstandard # what neither trains nor converts needs
fi

rm -rf "$tree" "$vectors"
mkdir "$tree" "$vectors"
cp -r "$here/llmzip" "$here/codecs" "$here/cli" "$here/corpora" "$here/tests" "$here/setup.py" "$here/pyproject.toml" \
    "$here/README.md" "$here/LICENSE" "$tree"
PYTHONPATH="$here" "$python" -m tests.tools.cross write "$vectors"
cd "$tree"
rm -f llmzip/engine/_native*.so
CC=$compiler "$python" setup.py -q build_ext --inplace
if aarch64-linux-gnu-objdump -d llmzip/engine/_native*.so | grep -E '\bfn?m(add|sub)\b|\bfml[as]\b|\bfr(ecp|sqrt)[es]\b'; then
    echo "fused or estimated float arithmetic: see -ffp-contract in setup.py" >&2
    exit 1
fi
for cpu in ${CPUS:-max cortex-a53}; do
    echo "$cpu:"
    arm "$cpu" -m tests.tools.cross check "$vectors"
done
