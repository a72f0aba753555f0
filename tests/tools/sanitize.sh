#!/bin/sh
# Run the native engine's tests with its C core built under AddressSanitizer and UndefinedBehaviorSanitizer.
#
#   tests/tools/sanitize.sh [arguments of pytest]        PYTHON and CC choose the interpreter and the compiler
#   SANITIZERS=thread tests/tools/sanitize.sh -k threads  the same under ThreadSanitizer: what one thread writes and another
#                                                   reads must be ordered, whatever this processor orders by itself
#
# Works on a copy, so that neither the working tree nor an installed llmzip changes. Needs gcc or clang with its libraries.
set -eu
python=${PYTHON:-python3}
compiler=${CC:-gcc}
sanitizers=${SANITIZERS:-address,undefined}
here=$(cd "$(dirname "$0")/../.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r "$here/llmzip" "$here/codecs" "$here/cli" "$here/corpora" "$here/tests" "$here/setup.py" "$here/pyproject.toml" \
    "$here/README.md" "$here/LICENSE" "$copy"
rm -f "$copy"/llmzip/engine/_native*.so
cd "$copy"
case $sanitizers in
    thread) short=tsan ;;
    *) short=asan ;;
esac
link=-fsanitize=$sanitizers
library=lib$short.so
if $compiler --version | grep -q clang; then
    link="$link -shared-libsan"
    library=libclang_rt.$short-$(uname -m).so
fi
CC=$compiler CFLAGS="-g -fno-omit-frame-pointer -fsanitize=$sanitizers -fno-sanitize-recover=all" LDFLAGS=$link \
    "$python" setup.py -q build_ext --inplace
# Python itself is not instrumented: its allocations at exit are no leaks of ours.
PYTHONPATH="$copy" LD_PRELOAD="$($compiler -print-file-name="$library")" ASAN_OPTIONS=detect_leaks=0 \
    TSAN_OPTIONS=halt_on_error=1 UBSAN_OPTIONS=print_stacktrace=1 "$python" -m pytest -q -p no:cacheprovider \
    tests/test_native_engine.py tests/test_native_frequencies.py tests/test_native_mixer.py tests/test_features.py \
    tests/test_bounds.py "$@"
