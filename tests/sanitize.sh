#!/bin/sh
# Run the native engine's tests with its C core built under AddressSanitizer and UndefinedBehaviorSanitizer.
#
#   tests/sanitize.sh [arguments of pytest]        PYTHON and CC choose the interpreter and the compiler
#
# Works on a copy, so that neither the working tree nor an installed llmzip changes. Needs gcc with its libasan.
set -eu
python=${PYTHON:-python3}
here=$(cd "$(dirname "$0")/.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r "$here/llmzip" "$here/codecs" "$here/cli" "$here/tests" "$here/setup.py" "$here/pyproject.toml" "$copy"
rm -f "$copy"/llmzip/engine/_native*.so
cd "$copy"
CC=${CC:-gcc} CFLAGS="-g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined" \
    LDFLAGS="-fsanitize=address,undefined" "$python" setup.py -q build_ext --inplace
# Python itself is not instrumented: its allocations at exit are no leaks of ours.
PYTHONPATH="$copy" LD_PRELOAD="$(${CC:-gcc} -print-file-name=libasan.so)" ASAN_OPTIONS=detect_leaks=0 \
    UBSAN_OPTIONS=print_stacktrace=1 "$python" -m pytest -q -p no:cacheprovider tests/test_native_engine.py \
    tests/test_native_frequencies.py tests/test_native_memory.py "$@"
