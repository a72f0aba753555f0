"""Intrinsic dimension: points whose dimension is known, and what models make of texts."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
import skdim
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import llmzip
from llmzip.evaluation import dimension
from llmzip.evaluation.dimension import MIN_POINTS, estimate, measure_dimensions
from llmzip.evaluation.options import Text
from llmzip.metrics.windows import segments
from llmzip.scoring.base import Scorer
from llmzip.scoring.float_scorer import FloatScorer
from llmzip.scoring.hidden_states import sequence_states
from llmzip.scoring.integer_scorer import IntegerScorer
from llmzip.scoring.spans import score
from tests.command import run
from tests.conftest import TINY_DIRECTORY

Points = npt.NDArray[np.float64]


def turned(points: Points, size: int, seed: int) -> Points:
    """The points in a space of `size` dimensions, turned and shifted at random."""
    generator = np.random.Generator(np.random.PCG64(seed))
    basis = np.linalg.qr(generator.normal(size=(size, size)))[0][: points.shape[1]]
    return np.asarray(points @ basis + generator.normal(size=size))


def linear(generator: np.random.Generator) -> Points:
    return generator.uniform(size=(800, 5))


def swiss_roll(generator: np.random.Generator) -> Points:
    angle = 1.5 * np.pi * (1 + 2 * generator.uniform(size=800))
    height = 21 * generator.uniform(size=800)
    return np.stack([angle * np.cos(angle), height, angle * np.sin(angle)], axis=1)


def sphere(generator: np.random.Generator) -> Points:
    points = generator.normal(size=(800, 4))
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))


@pytest.mark.parametrize(("manifold", "known"), [(linear, 5), (swiss_roll, 2), (sphere, 3)])
def test_known_dimensions_are_found_in_a_larger_space(
    manifold: Callable[[np.random.Generator], Points], known: int
) -> None:
    points = turned(manifold(np.random.Generator(np.random.PCG64(1))), 40, seed=2)
    for name, found in estimate(points).items():
        assert found.dimension == pytest.approx(known, rel=0.2), name
        assert 0 < found.spread < 0.15 * known


@settings(max_examples=5)
@given(st.integers(0, 2**32), st.floats(0.01, 1000))
def test_turning_and_scaling_change_nothing(seed: int, scale: float) -> None:
    points = np.random.Generator(np.random.PCG64(seed)).uniform(size=(60, 3))
    before = estimate(points, subsamples=0)
    after = estimate(scale * turned(points, 30, seed), subsamples=0)
    for name, found in before.items():
        assert after[name].dimension == pytest.approx(found.dimension, rel=1e-6)


def test_equal_points_count_once() -> None:
    points = linear(np.random.Generator(np.random.PCG64(3)))
    assert estimate(np.concatenate([points, points[:200]])) == estimate(points)


def test_the_estimators_are_the_library_s() -> None:
    points = np.unique(swiss_roll(np.random.Generator(np.random.PCG64(4))), axis=0)
    found = estimate(points, subsamples=0)
    assert found["twonn"].dimension == pytest.approx(skdim.id.TwoNN().fit(points).dimension_)
    pointwise = skdim.id.MLE().fit(points, n_neighbors=20).dimension_pw_
    assert found["mle"].dimension == pytest.approx(scipy.stats.hmean(pointwise))
    assert found["mle"].spread == 0


@pytest.mark.parametrize("count", [0, 1, MIN_POINTS - 1])
def test_too_few_different_points_are_refused(count: int) -> None:
    points = np.arange(3.0 * count).reshape(count, 3)
    with pytest.raises(llmzip.LLMZipError, match=f"there are {count}"):
        estimate(np.concatenate([points, points]))


@pytest.mark.parametrize("kind", ["integer", "floating"])
def test_states_and_bits_are_the_model_s(
    kind: str, request: pytest.FixtureRequest, english: bytes
) -> None:
    scorer: Scorer = request.getfixturevalue(kind)
    tokens = scorer.tokenize(english[:3000])
    count = len(tokens.ids) // 16
    read = sequence_states(scorer, tokens.ids[: 16 * count].reshape(count, 16))
    assert read.states.shape == (2, count, 64)
    scored = score(scorer, tokens[: 16 * count], segments(16 * count, 16))
    np.testing.assert_allclose(read.bits.flatten(), scored.bits, rtol=1e-4, atol=1e-4)


def test_the_last_state_is_what_the_head_reads(
    integer: IntegerScorer, floating: FloatScorer, english: bytes
) -> None:
    ids = integer.tokenize(english[:1000]).ids[:96].reshape(8, 12)
    inputs = np.concatenate([np.zeros((8, 1), np.int32), ids], axis=1)
    inputs[:, 0] = integer.vocabulary.start_token
    head = integer.engine.session(8, 13, 13).advance(inputs)
    wanted = head.vectors[:, -1] * head.scales[:, -1, None]
    np.testing.assert_array_equal(sequence_states(integer, ids).states[-1], wanted)
    states = sequence_states(floating, ids).states[-1]
    with torch.inference_mode():
        logits = floating.model.get_output_embeddings()(torch.from_numpy(states))
        whole = floating.model(torch.from_numpy(inputs).long()).logits[:, -1]
    torch.testing.assert_close(logits, whole, rtol=1e-3, atol=1e-3)


def test_integer_and_float_states_lie_alike(
    integer: IntegerScorer, floating: FloatScorer, english: bytes
) -> None:
    """The residual stream is turned when a model is converted: distances stay."""
    ids = integer.tokenize(english[:4000]).ids[:600].reshape(50, 12)
    ours, theirs = (sequence_states(s, ids).states[0] for s in (integer, floating))
    distances = [
        np.linalg.norm(x[:, None] - x, axis=2)[np.triu_indices(50, 1)] for x in (ours, theirs)
    ]
    assert np.corrcoef(distances)[0, 1] > 0.99


def texts_of(english: bytes) -> list[Text]:
    generator = np.random.Generator(np.random.PCG64(5))
    letters = generator.integers(97, 123, 12_000).astype(np.uint8).tobytes()
    words = b" ".join(generator.choice(english.split()[:200], 4000).tolist())
    return [Text("english", english[:15_000]), Text("letters", letters), Text("words", words)]


def test_correlations_are_over_the_texts(integer: IntegerScorer, english: bytes) -> None:
    found = measure_dimensions(integer, texts_of(english), sequences=64, tokens=12, subsamples=2)
    assert [len(text.layers) for text in found.texts] == [2, 2, 2]
    assert len(found.correlations) == 4
    surprisal = [text.bits_per_token for text in found.texts]
    for correlation in found.correlations:
        dimensions = [
            getattr(text.layers[correlation.layer - 1], correlation.estimator).dimension
            for text in found.texts
        ]
        assert correlation.pearson == pytest.approx(np.corrcoef(dimensions, surprisal)[0, 1])
        assert correlation.spearman == pytest.approx(
            scipy.stats.spearmanr(dimensions, surprisal).statistic
        )
    for text in found.texts:
        assert text.bits_per_byte * text.sequence_bytes == pytest.approx(
            text.bits_per_token * 64 * 12
        )
    same = [texts_of(english)[0], Text("again", english[:15_000]), Text("more", english[:15_000])]
    constant = measure_dimensions(integer, same, sequences=64, tokens=12, subsamples=2)
    assert {c.pearson for c in constant.correlations} == {None}
    assert (
        measure_dimensions(integer, same[:2], sequences=64, tokens=12, subsamples=2).correlations
        == []
    )


def test_documents_are_represented_by_their_beginnings(
    integer: IntegerScorer, english: bytes
) -> None:
    documents = tuple(english[start : start + 150] for start in range(0, 15_000, 150))
    text = Text("set", b"".join(documents), documents)
    found = measure_dimensions(integer, [text], sequences=60, tokens=10, subsamples=2).texts[0]
    heads = [integer.tokenize(document)[:10] for document in documents]
    sizes = [int(head.sizes.sum()) for head in heads if len(head.ids) == 10]
    chosen = np.linspace(0, len(sizes) - 1, 60).astype(int)
    assert found.sequence_bytes == sum(sizes[i] for i in chosen)


@pytest.mark.parametrize("model", ["", "float:"])
@pytest.mark.usefixtures("cache_with_tiny_model")
def test_the_command(model: str, tmp_path: pathlib.Path, english: bytes) -> None:
    arguments = ["eval", "dimension", "-m", f"{model}{TINY_DIRECTORY}", "-q"]
    for text in texts_of(english):
        (tmp_path / text.name).write_bytes(text.data)
        arguments += ["-d", str(tmp_path / text.name)]
    size = ["--sequences", "64", "--tokens", "12", "--subsamples", "2"]
    out = tmp_path / "out" / "found.json"
    done = run(*arguments, *size, "--output", str(out))
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert json.loads(out.read_text()) == found
    assert [text["text"] for text in found["texts"]] == ["english", "letters", "words"]
    assert {path.name for path in out.parent.iterdir()} == {
        "found.json",
        "found.md",
        "found.svg",
        "found-surprisal.svg",
    }
    table = out.with_suffix(".md").read_text()
    layer = found["texts"][1]["layers"][1]
    for name in ("twonn", "mle"):
        shown = f"{layer[name]['dimension']:.2f} ± {layer[name]['spread']:.2f}"
        assert shown in table
    assert "Spearman" in table
    one = run(*arguments[:7], *size)
    assert json.loads(one.stdout)["correlations"] == []
    assert json.loads(one.stdout)["texts"][0] == found["texts"][0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sequences", "100000"], "take shorter ones (--tokens), or fewer"),
        (["--tokens", "100000"], "take shorter ones (--tokens), or fewer"),
        (["--tokens", "512", "--sequences", "1"], "more than the model's 512 positions"),
        (
            ["--sequences", "20", "--tokens", "4"],
            "layer 1: an intrinsic dimension needs 44 different points",
        ),
        (["--limit", "1"], "take shorter ones"),
    ],
)
@pytest.mark.usefixtures("cache_with_tiny_model")
def test_what_cannot_be_measured_is_one_error(
    options: list[str], message: str, tmp_path: pathlib.Path, english: bytes
) -> None:
    (tmp_path / "text").write_bytes(english[:20_000])
    out = tmp_path / "out.json"
    failed = run(
        *("eval", "dimension", "-m", str(TINY_DIRECTORY), "-d", str(tmp_path / "text"), "-q"),
        *("--output", str(out)),
        *options,
    )
    assert failed.exit_code == 1
    assert message in " ".join(failed.stderr.split())
    assert failed.stderr.count("\n") <= 2
    assert not out.exists()


@pytest.mark.usefixtures("cache_with_tiny_model")
def test_an_interrupted_run_goes_on(
    tmp_path: pathlib.Path, english: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["eval", "dimension", "-m", str(TINY_DIRECTORY), "-q", "--subsamples", "2"]
    arguments += ["--sequences", "64", "--tokens", "8", "--output", str(tmp_path / "out.json")]
    for text in texts_of(english)[:2]:
        (tmp_path / text.name).write_bytes(text.data)
        arguments += ["-d", str(tmp_path / text.name)]
    calls: list[object] = []

    def failing(*rest: object) -> object:
        calls.append(rest)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return sequence_states(*rest)

    monkeypatch.setattr(dimension, "sequence_states", failing)
    assert run(*arguments).exit_code != 0
    assert run(*arguments).exit_code == 0
    assert len(calls) == 3  # the first text is not measured again
    assert not (tmp_path / "out.json.partial").exists()
