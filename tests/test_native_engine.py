"""The native engine returns the reference's integers, whatever the shape, the kernels, the threads
and the chunks.
"""

from __future__ import annotations

import functools
import os
import pathlib
import subprocess
import sys
import threading

import numpy as np
import numpy.typing as npt
import pytest

from llmzip.engine import native_core, native_handle
from llmzip.engine.base import Engine, HeadInput, Session
from llmzip.engine.native_engine import (
    NativeEngine,
    kernel_names,
    native_is_available,
    why_not_available,
)
from llmzip.engine.torch_engine import TorchEngine
from llmzip.errors import LLMZipError
from llmzip.model.integer_model import IntegerModel
from tests.native_models import EXTREMES, SHAPES, extreme_model, random_model, random_tokens, run

if not native_is_available():
    pytest.skip(f"no native engine: {why_not_available()}", allow_module_level=True)

Ids = npt.NDArray[np.int32]
KERNELS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            name not in kernel_names(), reason=f"no {name} kernels on this processor or system"
        ),
    )
    for name in native_core.KERNELS
]


@pytest.fixture(autouse=True)
def all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many threads as asked for: models as small as these would be left with one."""
    monkeypatch.setattr(native_handle, "_WEIGHTS_PER_THREAD", 1)


def assert_same(actual: HeadInput, expected: HeadInput) -> None:
    np.testing.assert_array_equal(actual.vectors, expected.vectors)
    np.testing.assert_array_equal(actual.scales, expected.scales)


@functools.cache
def by_reference(shape: str) -> tuple[IntegerModel, Ids, HeadInput, npt.NDArray[np.int32]]:
    """A model, tokens, and what the reference computes, for all kernels."""
    model = random_model(shape)
    reference, tokens = TorchEngine(model), random_tokens(model, 3, 70)
    head = run(reference, tokens, 20, [1, 5, 9])
    vectors, scales = head.vectors.reshape(-1, model.spec.d_model), head.scales.ravel()
    return model, tokens, head, reference.token_weights(vectors, scales)


@pytest.mark.parametrize("cpu", KERNELS)
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_reference(shape: str, cpu: str) -> None:
    model, tokens, expected, weights = by_reference(shape)
    engine = NativeEngine(model, 2, cpu)
    assert_same(run(engine, tokens, 20, [1, 5, 9]), expected)
    vectors, scales = expected.vectors.reshape(-1, model.spec.d_model), expected.scales.ravel()
    np.testing.assert_array_equal(engine.token_weights(vectors, scales), weights, strict=True)


@functools.cache
def extreme_by_reference(kind: str) -> tuple[IntegerModel, Ids, HeadInput, npt.NDArray[np.int32]]:
    model = extreme_model(kind)
    reference, tokens = TorchEngine(model), random_tokens(model, 2, 60)
    head = run(reference, tokens, 100, [1, 7])
    return model, tokens, head, reference.token_weights(head.vectors[0], head.scales[0])


@pytest.mark.parametrize("cpu", KERNELS)
@pytest.mark.parametrize("kind", EXTREMES)
def test_extreme_values(kind: str, cpu: str) -> None:
    model, tokens, expected, weights = extreme_by_reference(kind)
    engine = NativeEngine(model, 1, cpu)
    assert_same(run(engine, tokens, 100, [1, 7]), expected)
    found = engine.token_weights(expected.vectors[0], expected.scales[0])
    np.testing.assert_array_equal(found, weights)


@pytest.mark.parametrize("cpu", KERNELS)
@pytest.mark.parametrize("shape", SHAPES)
def test_products_of_extreme_operands(shape: str, cpu: str) -> None:
    """All bytes that a weight and an input can be, and most of them at the ends, in every number of
    rows that a kernel may split differently.
    """
    model = random_model(shape)
    engine = NativeEngine(model, 2, cpu)
    rng = np.random.default_rng(3)
    stacks = {
        "q": [s for part in "qkv" for s in model.tensors[f"layers.1.{part}.scale"]],
        "down": model.tensors["layers.1.down.scale"],
        "head": model.tensors["head.scale"],
    }
    for tensor, name in (("q", "layers.1.q"), ("down", "layers.1.down"), ("head", "head")):
        columns, width = model.tensors[f"{name}.weight"].shape
        weight = rng.choice(np.array([-128, -128, -127, 0, 1, 127], np.int8), (columns, width))
        weight[:3] = np.array([[-128], [127], [0]])
        scale = rng.random(columns, np.float32)
        core, put = engine._handle.core, (native_core.TENSORS.index(tensor), 1)
        core.engine_put(engine._handle.pointer, *put, *map(native_core.address, (weight, scale)))
        for rows in (1, 2, 15, 16, 17, 31, 32, 33, 47, 64, 65, 97):
            x = rng.choice(np.array([0, 0, 1, 128, 254, 255, 255], np.uint8), (rows, width))
            x[0] = 0
            padded = np.zeros((rows, -(-width // 64) * 64), np.uint8)
            padded[:, :width] = x
            out = np.full((rows, 4096), np.nan, np.float32).ravel()[: rows * 2048]
            engine.product(tensor, 1, padded, out)
            stride = -(-len(stacks[tensor]) // 32) * 32
            sums = (x.astype(np.int64) - 128) @ weight.astype(np.int64).T
            expected = sums.astype(np.float32) * scale
            actual = out[: rows * stride].reshape(rows, stride)[:, :columns]
            np.testing.assert_array_equal(actual, expected)


REFUSE_TILES = """
import ctypes, sys
import numpy as np
libc = ctypes.CDLL(None, use_errno=True)
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
rules = [  # arch_prctl (158) with ARCH_REQ_XCOMP_PERM (0x1023) fails with EINVAL (22)
    (LOAD, 0, 0, 0), (EQUAL, 0, 3, 158), (LOAD, 0, 0, 16), (EQUAL, 0, 1, 0x1023),
    (RETURN, 0, 0, 0x50016), (RETURN, 0, 0, 0x7FFF0000),
]
class Rule(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8),
                ("value", ctypes.c_uint32)]
class Program(ctypes.Structure):
    _fields_ = [("count", ctypes.c_uint16), ("rules", ctypes.POINTER(Rule))]
program = Program(len(rules), (Rule * len(rules))(*(Rule(*rule) for rule in rules)))
none = ctypes.c_ulong(0)
if libc.prctl(38, ctypes.c_ulong(1), none, none, none):  # no new privileges
    sys.exit(3)
if libc.prctl(22, ctypes.c_ulong(2), ctypes.byref(program), none, none):  # seccomp
    sys.exit(3)
from llmzip.engine.native_engine import NativeEngine, kernel_names
from tests.native_models import random_model
assert "amx" not in kernel_names(), kernel_names()
engine = NativeEngine(random_model(), 2)
assert engine.kernels == kernel_names()[0]
engine.session(2, 4, 1).advance(np.zeros((2, 1), np.int32))
"""


@pytest.mark.skipif("amx" not in kernel_names(), reason="no tiles here that could be refused")
def test_other_kernels_where_the_system_refuses_tiles() -> None:
    path = os.pathsep.join([str(pathlib.Path(__file__).parents[1]), *sys.path])
    ran = subprocess.run(
        [sys.executable, "-c", REFUSE_TILES],
        env={**os.environ, "PYTHONPATH": path, "LLMZIP_CPU": ""},
        capture_output=True,
        text=True,
    )
    if ran.returncode == 3:
        pytest.skip("this system takes no filter of system calls")
    assert ran.returncode == 0, ran.stderr


@functools.cache
def token_by_token(streams: int) -> tuple[IntegerModel, Ids, HeadInput]:
    """A model, tokens, and what the reference computes."""
    model = random_model()
    tokens = random_tokens(model, streams, 40)
    return model, tokens, run(TorchEngine(model), tokens, 11, [1])


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("streams", [1, 5, 40])
def test_threads_and_chunks_change_nothing(threads: int, streams: int) -> None:
    model, tokens, expected = token_by_token(streams)
    engine = NativeEngine(model, threads)
    for chunks in ([1], [2], [3, 1], [40], [7, 64]):
        assert_same(run(engine, tokens, 11, chunks), expected)


def test_groups_of_threads_change_nothing() -> None:
    model, tokens, expected = token_by_token(20)
    engine, found = NativeEngine(model, 5, jobs=2), {}

    def compute(number: int) -> None:
        with engine.lane(number, 2):
            found[number] = run(engine, tokens, 11, [3, 1])

    lanes = [threading.Thread(target=compute, args=(number,)) for number in (0, 1)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    for out in found[0], found[1], run(engine, tokens, 11, [2]):
        assert_same(out, expected)


@pytest.mark.parametrize("window", [1, 2, 5, 31, 32, 33, 64, 10_000, 2**40])
def test_windows(window: int) -> None:
    model = random_model("head size 16")
    tokens = random_tokens(model, 2, 80)
    assert_same(
        run(NativeEngine(model, 2), tokens, window, [1, 4]),
        run(TorchEngine(model), tokens, window, [1, 4]),
    )


def test_streams_that_end_are_left_behind() -> None:
    model = random_model()
    tokens = random_tokens(model, 5, 60)
    sessions = [engine.session(5, 16, 4) for engine in (NativeEngine(model, 2), TorchEngine(model))]
    for step, position in enumerate(range(0, 60, 4)):
        part = tokens[: max(1, 5 - step // 3), position : position + 4]
        ours, theirs = (session.advance(part) for session in sessions)
        assert_same(ours, theirs)
    with pytest.raises(ValueError, match="streams"):
        sessions[0].advance(tokens[:, :1])


def test_sessions_of_one_engine_are_independent() -> None:
    model = random_model()
    engine, tokens = NativeEngine(model, 2), random_tokens(model, 2, 20)
    expected = run(engine, tokens, 8, [1])
    first, second = engine.session(2, 8, 1), engine.session(2, 8, 1)
    second.advance(tokens[:, 7:8])
    outputs = []
    for t in range(20):
        outputs.append(first.advance(tokens[:, t : t + 1]))
        second.advance(tokens[:, :1])
    assert_same(
        HeadInput(
            np.concatenate([o.vectors for o in outputs], 1),
            np.concatenate([o.scales for o in outputs], 1),
        ),
        expected,
    )


def forked(engine: Engine, fed: int) -> list[HeadInput]:
    """What forks compute, and forks of forks of some of their streams, also when their windows move
    on over what they share, the origin's first.
    """
    tokens = random_tokens(engine.model, 6, 140)
    origin: Session = engine.session(1, 70, 10)
    heads = []
    for first in range(0, fed, 10):
        heads.append(origin.advance(tokens[:1, first : min(first + 10, fed)]))
    fork = origin.fork([0, 0, 0, 0], 76, 3)
    heads.append(fork.advance(tokens[:4, 70:73]))
    chosen = fork.fork([1, 3, 3], 90, 5)
    heads.append(chosen.advance(tokens[3:, 73:78]))
    heads += [origin.advance(tokens[:1, t : t + 10]) for t in range(0, 80, 10)]
    heads += [fork.advance(tokens[:4, t : t + 3]) for t in range(78, 138, 3)]
    again = chosen.fork([2], 90, 1)
    del origin, fork
    heads += [chosen.advance(tokens[3:, t : t + 5]) for t in range(78, 138, 5)]
    heads.append(again.advance(tokens[:1, 139:]))
    return heads


@functools.cache
def forked_by_reference(fed: int) -> list[HeadInput]:
    return forked(TorchEngine(random_model(positions=160)), fed)


@pytest.mark.parametrize("cpu", KERNELS)
@pytest.mark.parametrize("fed", [0, 1, 31, 32, 33, 70])
def test_forks_share_what_they_have_read(cpu: str, fed: int) -> None:
    engine = NativeEngine(random_model(positions=160), 2, cpu)
    for ours, theirs in zip(forked(engine, fed), forked_by_reference(fed), strict=True):
        assert_same(ours, theirs)


def test_forks_of_streams_that_are_not_there() -> None:
    session = NativeEngine(random_model(), 1).session(2, 16, 4)
    for streams in ([2], [0, -1], []):
        with pytest.raises(ValueError, match="stream"):
            session.fork(streams, 16, 4)


def test_bad_arguments() -> None:
    model = random_model()
    engine = NativeEngine(model, 1)
    session = engine.session(2, 16, 4)
    for tokens in (
        np.zeros((3, 1), np.int32),
        np.zeros((2, 5), np.int32),
        np.zeros((2, 0), np.int32),
        np.zeros(2, np.int32),
        np.full((2, 1), model.spec.vocab, np.int32),
        np.full((2, 1), -1, np.int32),
    ):
        with pytest.raises(ValueError, match="tokens of shape"):
            session.advance(tokens)
    for arguments in ((0, 1, 1), (1, 0, 1), (1, 1, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            engine.session(*arguments)
    for _ in range(model.spec.max_positions // 4):
        session.advance(np.zeros((2, 4), np.int32))
    with pytest.raises(ValueError, match="positions"):
        session.advance(np.zeros((2, 1), np.int32))
    with pytest.raises(ValueError, match="threads"):
        NativeEngine(model, -1)
    with pytest.raises(ValueError, match="kernels: this processor runs"):
        NativeEngine(model, 1, "sse9")
    with pytest.raises(ValueError, match="head inputs"):
        engine.distributions(np.zeros((2, 3), np.int8), np.zeros(2, np.float32))


@pytest.mark.parametrize("cpu", KERNELS)
def test_environment_selects_kernels(cpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMZIP_CPU", cpu)
    assert NativeEngine(random_model("smallest"), 1).kernels == cpu


def test_wrong_kernels_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMZIP_CPU", "sse9")
    with pytest.raises(
        LLMZipError, match="the environment variable LLMZIP_CPU is 'sse9': this processor runs"
    ):
        NativeEngine(random_model("smallest"), 1)


def test_no_threads_are_all_processors() -> None:
    model = random_model("smallest")
    assert NativeEngine(model, 0).threads == NativeEngine(model).threads >= 1


def test_needs_neither_torch_nor_transformers() -> None:
    program = (
        "import sys\n"
        "from tests.native_models import random_model\n"
        "from llmzip.engine.native_engine import NativeEngine\n"
        "import numpy as np\n"
        "NativeEngine(random_model(), 2).session(1, 4, 1).advance(np.zeros((1, 1), np.int32))\n"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'imported'\n"
    )
    path = os.pathsep.join([str(pathlib.Path(__file__).parents[1]), *sys.path])
    subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )


@pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="Python warns of forks in threaded processes"
)
def test_a_forked_process_can_compute() -> None:
    model = random_model()
    engine, tokens = NativeEngine(model, 2), random_tokens(model, 2, 8)
    expected = run(engine, tokens, 8, [1])
    child = os.fork()
    if child == 0:
        same = np.array_equal(run(engine, tokens, 8, [1]).vectors, expected.vectors)
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.slow
def test_default_model(default_model: IntegerModel) -> None:
    tokens = random_tokens(default_model, 3, 100)
    reference = TorchEngine(default_model)
    expected = run(reference, tokens, 48, [20])
    weights = reference.token_weights(expected.vectors[:, -1], expected.scales[:, -1])
    for cpu in kernel_names():
        engine = NativeEngine(default_model, 2, cpu)
        for chunks in ([20], [1, 13]):
            assert_same(run(engine, tokens, 48, chunks), expected)
        np.testing.assert_array_equal(
            engine.token_weights(expected.vectors[:, -1], expected.scales[:, -1]), weights
        )


@pytest.mark.parametrize("cpu", KERNELS)
def test_the_machines_ceilings_can_be_measured(cpu: str) -> None:
    engine = NativeEngine(random_model("smallest"), 2, cpu)
    once = engine.peak(1)
    assert once > 0 and engine.peak(1000) == 1000 * once
    engine.read(np.zeros(3 << 20, np.uint8))
