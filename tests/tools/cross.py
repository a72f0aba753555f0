"""Another machine computes what this one does: `tests/tools/cross.sh` runs `write` here and `check`
there.

python -m tests.tools.cross write FOLDER    needs torch: the reference's numbers, and the models by
which golden files decode python -m tests.tools.cross check FOLDER    needs neither torch nor
pytest: compares the native engine, on all its kernels
"""

from __future__ import annotations

import os
import pathlib
import platform
import sys
import time
from collections.abc import Iterator

import numpy as np

import llmzip
from llmzip.engine import native_handle
from llmzip.engine.native_engine import CPU_VARIABLE, NativeEngine, kernel_names
from llmzip.errors import ModelNotFoundError
from llmzip.model.integer_model import IntegerModel
from llmzip.model.registry import DEFAULT_MODEL
from llmzip.model.store import ModelStore
from tests import golden
from tests.native_models import EXTREMES, SHAPES, extreme_model, random_model, random_tokens, run

WINDOW, CHUNKS = 20, (1, 5, 9)


def models() -> Iterator[tuple[str, IntegerModel]]:
    yield from ((shape, random_model(shape)) for shape in SHAPES)
    yield from ((kind, extreme_model(kind)) for kind in EXTREMES)


def write(folder: pathlib.Path) -> None:
    from llmzip.engine.torch_engine import TorchEngine
    from tests.conftest import tiny

    tiny().save(folder / "tiny.safetensors")
    for i, (_, model) in enumerate(models()):
        engine = TorchEngine(model)
        out = run(engine, random_tokens(model, 3, 70), WINDOW, CHUNKS)
        weights = engine.token_weights(out.vectors[:, -1], out.scales[:, -1])
        fingerprint = np.frombuffer(model.fingerprint, np.uint8)
        np.savez(
            folder / f"{i}.npz",
            vectors=out.vectors,
            scales=out.scales,
            weights=weights,
            fingerprint=fingerprint,
        )
    try:
        ModelStore(offline=True).resolve(DEFAULT_MODEL).save(folder / "default.safetensors")
    except ModelNotFoundError as error:
        print(f"without the default model: {error}")


def check(folder: pathlib.Path) -> None:
    print(
        f"{platform.machine()}, Python {platform.python_version()}, "
        f"kernels {', '.join(kernel_names())}",
        flush=True,
    )
    native_handle._WEIGHTS_PER_THREAD = 1  # small models are to be shared among threads too
    for cpu in kernel_names():
        check_numbers(folder, cpu)
        os.environ[CPU_VARIABLE] = cpu
        check_golden_files(folder, cpu)
    os.environ.pop(CPU_VARIABLE)
    check_default_model(folder)


def check_numbers(folder: pathlib.Path, cpu: str) -> None:
    start, count = time.perf_counter(), 0
    for i, (name, model) in enumerate(models()):
        expected = np.load(folder / f"{i}.npz")
        same(
            f"{name}: fingerprint",
            np.frombuffer(model.fingerprint, np.uint8),
            expected["fingerprint"],
        )
        for threads in (1, 3):
            engine = NativeEngine(model, threads, cpu)
            out = run(engine, random_tokens(model, 3, 70), WINDOW, CHUNKS)
            same(f"{name}: vectors", out.vectors, expected["vectors"])
            same(f"{name}: scales", out.scales, expected["scales"])
            weights = engine.token_weights(out.vectors[:, -1], out.scales[:, -1])
            same(f"{name}: weights", weights, expected["weights"])
            count += 1
    print(
        f"  {cpu}: {count} runs equal the reference ({time.perf_counter() - start:.0f} s)",
        flush=True,
    )


def check_golden_files(folder: pathlib.Path, cpu: str) -> None:
    start = time.perf_counter()
    tiny = IntegerModel.load(folder / "tiny.safetensors")
    for name, (data, options) in golden.CASES.items():
        frame = golden.frame_path(name).read_bytes()
        assert (
            llmzip.decompress(
                frame, model=tiny, runtime=llmzip.Runtime(threads=2), **golden.needs(name)
            )
            == data
        ), name
        assert (
            llmzip.compress(data, model=tiny, runtime=llmzip.Runtime(threads=2), **options) == frame
        ), name
    print(
        f"  {cpu}: {len(golden.CASES)} golden files decode and are made again "
        f"({time.perf_counter() - start:.0f} s)",
        flush=True,
    )


def check_default_model(folder: pathlib.Path) -> None:
    """On the best kernels only: emulated, it takes minutes."""
    if not (folder / "default.safetensors").exists():
        return
    start = time.perf_counter()
    model, frame = (
        IntegerModel.load(folder / "default.safetensors"),
        golden.OF_DEFAULT_MODEL.read_bytes(),
    )
    assert llmzip.decompress(frame, model=model) == golden.TEXT
    assert llmzip.compress(golden.TEXT, model=model) == frame
    print(
        "  the default model's golden file decodes and is made again "
        f"({time.perf_counter() - start:.0f} s)",
        flush=True,
    )


def same(what: str, actual: np.ndarray, expected: np.ndarray) -> None:
    if actual.dtype != expected.dtype or not np.array_equal(actual, expected):
        sys.exit(f"{what} differ from the reference")


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](pathlib.Path(sys.argv[2]))
