"""Generation: exact, by seed, from the distribution that it says."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import llmzip
from llmzip.cli.main import llmzip as command
from llmzip.codecs.registry import get_codec
from llmzip.engine.base import Engine
from llmzip.engine.torch_engine import TorchEngine
from llmzip.engine_loader import EngineLoader
from llmzip.errors import LimitError
from llmzip.generation import Randomness, _raised, _until, generate_by_codec, generate_by_engine
from llmzip.model.integer_model import IntegerModel

PROMPT = b"The value of an expression"


@pytest.fixture(scope="module")
def engine(tiny_model: IntegerModel) -> Engine:
    return EngineLoader(tiny_model).for_compression()


GOLDEN_NUMBERS = [313, 38, 284, 498]
GOLDEN_TEXTS: list[tuple[dict[str, object], bytes]] = [
    ({}, b"s of the current pattern pattern names.  Mapping\nparameters also be pro"),
    (
        {"seed": 7, "temperature": 0.7},
        b" *a* that name is\naugmended to a string is a default value to the following po",
    ),
    ({"seed": 7, "top_k": 5}, b'\nay totm, the line in the following copying.  The\n"except"'),
    (
        {"temperature": 0},
        b' (if the same namespace.\n\nThe "except" clause is executed, the "from" cla',
    ),
    (
        {"seed": 7, "temperature": 1.5, "top_k": 20},
        b"s\nas *__self__soldepes on an approzed iterator., in the function,\n  or",
    ),
]


def text(engine: Engine, count: int = 30, **options: object) -> bytes:
    return b"".join(generate_by_engine(engine, PROMPT, count, **options))  # type: ignore[arg-type]


def test_golden_numbers() -> None:
    """SHA-256 of `llmzip generate`, seed 0, counters 0 to 3."""
    random = Randomness(0)
    assert [random.below(1000) for _ in range(4)] == GOLDEN_NUMBERS


def test_the_public_function_finds_the_model(tiny_model: IntegerModel) -> None:
    options, golden = GOLDEN_TEXTS[1]
    for prompt in (PROMPT, bytearray(PROMPT), np.frombuffer(PROMPT, np.uint8)):
        made = llmzip.generate(
            prompt, 30, model=tiny_model, runtime=llmzip.Runtime(threads=1), **options
        )  # type: ignore[arg-type]
        assert b"".join(made) == golden
    with pytest.raises(TypeError):
        llmzip.generate("text", model=tiny_model)  # type: ignore[arg-type]
    # At once, not when the first token is asked for.
    with pytest.raises(ValueError, match="temperature"):
        llmzip.generate(PROMPT, model=tiny_model, temperature=9)


def test_golden_texts(engine: Engine, tiny_engine: TorchEngine) -> None:
    for options, golden in GOLDEN_TEXTS:
        assert text(engine, **options) == golden
        assert text(tiny_engine, **options) == golden


def test_seeds_differ_and_repeat(engine: Engine) -> None:
    made = [text(engine, seed=seed) for seed in (1, 2, 1)]
    assert made[0] == made[2] != made[1]
    assert text(engine, 0) == b""


def test_temperature_0_and_the_best_of_1_are_the_likeliest_tokens(engine: Engine) -> None:
    greedy = text(engine, temperature=0)
    assert (
        greedy
        == text(engine, temperature=0, seed=9)
        == text(engine, top_k=1)
        == text(engine, top_k=1, temperature=2)
    )


def test_draws_follow_the_weights(engine: Engine) -> None:
    ids = [engine.model.spec.start_token, *engine.model.tokenizer.encode(PROMPT).ids.tolist()]
    head = engine.session(1, 64, len(ids)).advance(np.array([ids], np.int32))
    weights = engine.token_weights(head.vectors[:, -1], head.scales[:, -1])[0].astype(np.float64)
    pieces = engine.model.vocabulary.token_bytes
    weights[[not piece for piece in pieces]] = 0
    best = int(weights.argmax())
    for temperature in (1, 0.5):
        shares = weights ** (1 / temperature)
        expected = 400 * shares[best] / shares.sum()
        drawn = Counter(text(engine, 1, seed=seed, temperature=temperature) for seed in range(400))
        assert abs(drawn[pieces[best]] - expected) < 5 * expected**0.5


@given(weight=st.integers(1, 1 << 23), units=st.integers(1, 50))
def test_powers_are_exact(weight: int, units: int) -> None:
    power = 1 / Fraction(units, 10)
    raised = _raised(weight, power)
    scaled = weight**power.numerator << 16 * power.denominator
    assert raised**power.denominator <= scaled < (raised + 1) ** power.denominator


@given(st.lists(st.integers(0, 1 << 200), min_size=1, max_size=20).filter(any), st.integers(0, 99))
def test_what_has_no_weight_is_never_drawn(weights: list[int], seed: int) -> None:
    assert weights[Randomness(seed).choose(weights)] > 0


@pytest.mark.parametrize("codec", ["zlib", "ppmd"])
def test_any_codec_generates(codec: str) -> None:
    if codec == "ppmd":
        pytest.importorskip("pyppmd")
    coder = get_codec(codec).payload_codec
    made = [b"".join(generate_by_codec(coder, b"abcabcabc" * 9, 12, seed=3)) for _ in range(2)]
    assert made[0] == made[1]
    assert len(made[0]) == 12
    assert made[0] != b"".join(generate_by_codec(coder, b"abcabcabc" * 9, 12, seed=4))


def test_a_codec_that_knows_nothing_draws_all_bytes_alike() -> None:
    drawn = [
        b"".join(generate_by_codec(get_codec("raw").payload_codec, b"", 40, seed=seed))
        for seed in range(3)
    ]
    assert len(set(b"".join(drawn))) > 60


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.75},
        {"temperature": -1},
        {"temperature": 6},
        {"top_k": 0},
        {"seed": -1},
        {"count": -1},
    ],
)
def test_bad_parameters(engine: Engine, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"multiples|at least \d token|seeds"):
        text(engine, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"count": "3"}, {"count": 1.5}, {"top_k": 1.5}, {"seed": "a"}])
def test_parameters_of_wrong_kinds(engine: Engine, options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="integer"):
        text(engine, **options)


def test_more_than_the_models_positions(engine: Engine) -> None:
    with pytest.raises(LimitError, match="positions"):
        text(engine, engine.model.spec.max_positions)


@pytest.mark.usefixtures("cache_with_tiny_model")
def test_the_command(engine: Engine) -> None:
    def run(*args: str, given: bytes = b"") -> tuple[int, bytes]:
        result = CliRunner().invoke(command, ["generate", *args], input=given, prog_name="llmzip")
        return result.exit_code, result.stdout_bytes

    assert run(PROMPT.decode(), "-n", "9", "--seed", "5") == (0, text(engine, 9, seed=5))
    assert run("-", "-n", "9", "--top-k", "3", given=PROMPT) == (0, text(engine, 9, top_k=3))
    stopped = text(engine).partition(b"Mapping")[0]
    assert run(PROMPT.decode(), "-n", "30", "--stop", "Mapping", "--stop", "zzz") == (0, stopped)
    assert run("aaaa", "-n", "4", "--codec", "zlib")[0] == 0
    assert run("a", "--temperature", "0.75")[0] == 2
    assert run("a", "--codec", "zlib", "--top-k", "3")[0] == 2
    assert run("a", "--codec", "zlib", "--stop", "b")[0] == 2
    assert run("a", "--stop", "")[0] == 2
    assert run("a", "-n", "600")[0] == 1


@given(st.binary(max_size=30), st.lists(st.binary(min_size=1, max_size=4), max_size=3), st.data())
def test_it_stops_before_a_text_wherever_tokens_end(
    drawn: bytes, stops: list[bytes], data: st.DataObject
) -> None:
    few = bytes(b % 3 for b in drawn)  # of few bytes, so that stops appear and nearly appear
    stops = [bytes(b % 3 for b in stop) for stop in stops]
    ends = sorted(data.draw(st.sets(st.integers(1, max(1, len(few) - 1)))))
    pieces = [few[a:b] for a, b in zip([0, *ends], [*ends, len(few)], strict=True)]
    found = list(_until(stops, iter([piece for piece in pieces if piece])))
    assert all(found)
    first = min((at for stop in stops if (at := few.find(stop)) >= 0), default=len(few))
    assert b"".join(found) == few[:first]
    for end in range(len(found)):  # what has been given out is never taken back
        assert few.startswith(b"".join(found[:end]))


def test_stop_texts(engine: Engine) -> None:
    plain = text(engine)
    assert text(engine, stop=[b"  "]) == plain[: plain.index(b"  ")]
    assert text(engine, stop=[b"Mapping\npara", b"zzz"]) == plain[: plain.index(b"Mapping")]
    assert text(engine, stop=[b"never there"]) == plain
    for wrong, kind in ((["text"], TypeError), (b"text", TypeError), ([b""], ValueError)):
        with pytest.raises(kind):
            text(engine, stop=wrong)
