#!/bin/sh
# Run the native engine's tests with the kernels for AMX, AVX-512-VNNI and AVX-VNNI on a processor that has AVX2 only:
# their code, on the vectors and tiles of emulated/, which take AVX2 and plain C. So everything but the instructions
# themselves is tried: the order of tiles, partial rows, what is asked for beyond the end.
#
#   tests/tools/emulate.sh [arguments of pytest]        PYTHON and CC choose the interpreter and the compiler
#
# Without arguments the tests of kernels, then golden files with each of the three sets. Works on a copy. Some ten minutes.
set -eu
python=${PYTHON:-python3}
here=$(cd "$(dirname "$0")/../.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r "$here/llmzip" "$here/codecs" "$here/cli" "$here/corpora" "$here/tests" "$here/setup.py" "$here/pyproject.toml" \
    "$here/README.md" "$here/LICENSE" "$copy"
cd "$copy/llmzip/engine"
rm -f _native*.so
cp "$here"/tests/tools/emulated/*.h native
for set in amx avx512 avxvnni; do # compiled for AVX2, and taken without asking the processor
    sed -i -E 's/"avx(512f|2),[a-z0-9,=-]*"/"avx2,popcnt"/' "native/kernels_$set.c"
    sed -i "s/{&kernels_$set, has_$set}/{\&kernels_$set, always}/" native/dispatch.c
done
sed -i 's/#include "simd_avx2.h"/#include "dot.h"\n#define _mm256_dpbusd_avx_epi32 emulated_dot\n&/' native/kernels_avxvnni.c
sed -i 's/"+[vxw]"(x)/"+m"(x)/' native/kernels_ceiling.h # two halves are no register
cd "$copy"
CC=${CC:-gcc} CFLAGS="-Wno-unused-function" "$python" setup.py -q build_ext --inplace
export PYTHONPATH="$copy"
"$python" -c '
from llmzip.engine.native_core import kernel_names
missing = {"amx", "avx512vnni", "avxvnni", "avx2"} - set(kernel_names())
assert not missing, f"not built: {missing}"'
run() { # tiles that are only emulated cannot be refused
    "$python" -m pytest -q -p no:cacheprovider "$@" \
        --deselect tests/test_native_engine.py::test_other_kernels_where_the_system_refuses_tiles
}
if [ $# -gt 0 ]; then
    run "$@"
    exit
fi
run tests/test_native_engine.py tests/test_native_frequencies.py tests/test_native_mixer.py tests/test_features.py \
    tests/test_experts.py tests/test_bounds.py
for set in amx avx512vnni avxvnni; do
    echo "golden files, $set:"
    LLMZIP_CPU=$set run tests/test_golden.py
done
