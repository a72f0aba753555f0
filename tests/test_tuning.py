"""Tuning: the network is the exact model, training helps, is repeatable and can be resumed."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import llmzip
from llmzip.cli.main import llmzip as command
from llmzip.engine.torch_engine import TorchEngine
from llmzip.errors import LLMZipError
from llmzip.model.adapter import Adapter
from llmzip.model.convert import convert
from llmzip.model.sources import read_source, source_digest
from llmzip.model.tokenizer import Tokenizer
from llmzip.tuning import data, tune
from llmzip.tuning.network import Network
from llmzip.tuning.training import State, TrainingOptions
from tests.conftest import TINY_DIRECTORY

QUICK = TrainingOptions(
    rank=4, steps=12, batch=4, micro_batch=2, length=64, rate=3e-3, evaluate_seconds=1e9
)


def exact_bits(engine: TorchEngine, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    head = engine.session(len(inputs), 512, inputs.shape[1]).advance(inputs)
    vectors, scales = head.vectors.reshape(-1, head.vectors.shape[-1]), head.scales.ravel()
    weights = engine.token_weights(vectors, scales).astype(np.float64)
    chosen = weights[np.arange(len(weights)), targets.ravel()]
    return np.log2(weights.sum(axis=1) / np.maximum(chosen, 1)).reshape(targets.shape)


@pytest.mark.parametrize("rank", [4, None])
def test_the_network_is_the_exact_model(rank: int | None, english: bytes) -> None:
    """Also after what it has learned went through a file's integers and conversion."""
    source = read_source(TINY_DIRECTORY)
    torch.manual_seed(0)
    network = Network(source, rank, 512)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
    learned = network.adapter(source_digest(TINY_DIRECTORY))
    engine = TorchEngine(convert(learned.merged(source, learned.base)))
    tokens = Tokenizer(source.vocabulary).encode(english[:4000]).ids[:800].reshape(4, 200)
    inputs = np.concatenate((np.zeros((4, 1), np.int32), tokens[:, :-1]), axis=1)
    with torch.no_grad():
        bits = network(torch.from_numpy(inputs).long(), torch.from_numpy(tokens).long()).numpy()
    bits, exact = np.minimum(bits, 20), np.minimum(exact_bits(engine, inputs, tokens), 20)
    assert abs(bits.mean() - exact.mean()) < 0.02
    assert np.abs(bits - exact).mean() < 0.1


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("text") / "text"
    lines = [f"{i} of the {i * 7 % 50} and in an {i * 13 % 90} on the" for i in range(400)]
    path.write_bytes(
        data.DOCUMENT_END.join("\n".join(lines[i : i + 40]).encode() for i in range(0, 400, 40))
    )
    return path


def run(folder: pathlib.Path, text: pathlib.Path, options: TrainingOptions = QUICK) -> State:
    if not (folder / tune.TOKENS_FILE).exists():
        tune.prepare(folder, read_source(TINY_DIRECTORY), [text], share=0.2)
    return tune.train(folder, TINY_DIRECTORY, options)


def test_training_helps_and_is_repeatable(tmp_path: pathlib.Path, text: pathlib.Path) -> None:
    states = [run(tmp_path / name, text) for name in "ab"]
    assert states[0].best < 0.9 * states[0].curve[0]["mean"]
    assert states[0].curve[-1]["mean"] == states[1].curve[-1]["mean"]
    adapters = [(tmp_path / name / tune.ADAPTER_FILE).read_bytes() for name in "ab"]
    assert adapters[0] == adapters[1]


def test_a_run_goes_on_where_it_was(tmp_path: pathlib.Path, text: pathlib.Path) -> None:
    run(tmp_path / "whole", text)

    class Stopped(Exception):  # noqa: N818
        pass

    def stop(state: State, done: float, loss: float) -> None:
        if state.step == 5:
            raise Stopped

    tune.prepare(tmp_path / "parts", read_source(TINY_DIRECTORY), [text], share=0.2)
    often = dataclasses.replace(QUICK, evaluate_seconds=0.0)  # a checkpoint after each step
    with pytest.raises(Stopped):
        tune.train(tmp_path / "parts", TINY_DIRECTORY, often, progress=stop)
    state = run(tmp_path / "parts", text, often)
    assert state.step == 12
    whole, parts = (
        Adapter.load(tmp_path / name / tune.ADAPTER_FILE) for name in ("whole", "parts")
    )
    for name, sides in whole.products.items():
        for one, other in zip(sides, parts.products[name], strict=True):
            assert np.array_equal(one.integers, other.integers)


def test_a_run_may_begin_with_an_adapter(tmp_path: pathlib.Path, text: pathlib.Path) -> None:
    best = run(tmp_path / "first", text).best
    first = Adapter.load(tmp_path / "first" / tune.ADAPTER_FILE)
    tune.prepare(tmp_path / "second", read_source(TINY_DIRECTORY), [text], share=0.2)
    state = tune.train(
        tmp_path / "second",
        TINY_DIRECTORY,
        dataclasses.replace(QUICK, steps=1, rate=1e-9),
        initial=first,
    )
    assert state.curve[0]["mean"] == pytest.approx(best, rel=0.01)  # 4 bits are rounded again
    tune.prepare(tmp_path / "third", read_source(TINY_DIRECTORY), [text], share=0.2)
    state = tune.train(
        tmp_path / "third",
        TINY_DIRECTORY,
        dataclasses.replace(QUICK, rank=None, steps=1, rate=1e-9),
        initial=first,
    )
    assert state.curve[0]["mean"] == pytest.approx(best, rel=0.01)
    with pytest.raises(LLMZipError, match="choose rank 4 or more"):
        tune.train(
            tmp_path / "third", TINY_DIRECTORY, dataclasses.replace(QUICK, rank=2), initial=first
        )


def test_time_ends_a_run(tmp_path: pathlib.Path, text: pathlib.Path) -> None:
    state = run(tmp_path, text, dataclasses.replace(QUICK, steps=10**6, minutes=0.03))
    assert 0 < state.step < 10**6
    assert state.seconds < 30


def test_patience_ends_a_run(tmp_path: pathlib.Path, text: pathlib.Path) -> None:
    impatient = dataclasses.replace(
        QUICK, steps=10**6, minutes=1.0, rate=1e-12, evaluate_seconds=0.0, patience=2
    )
    assert run(tmp_path, text, impatient).step <= 4


def corpus(*documents: list[int]) -> data.Corpus:
    return data.Corpus.of(
        [bytes(d) for d in documents], lambda t: np.frombuffer(t, np.uint8).astype(np.int32), 0
    )


def test_sequences() -> None:
    made = corpus([5, 6, 7], [8, 9])
    assert made.ids.tolist() == [0, 5, 6, 7, 0, 8, 9]
    inputs, targets = data.sequence(made.ids, 1, 8, 0)
    assert inputs.tolist() == [0, 5, 6, 7, 0, 8, 0, 0]
    assert targets.tolist() == [5, 6, 7, data.NOT_SCORED, 8, 9, data.NOT_SCORED, data.NOT_SCORED]


def test_every_token_is_trained_on() -> None:
    made = corpus(list(range(1, 200)), list(range(1, 100)))
    draws = data.batches(made, 2, 10, 0, 0.0, seed=3)
    seen = np.concatenate([next(draws).targets.ravel() for _ in range(15)])
    assert set(range(20, 190)) <= set(seen.tolist())  # all but what the first offset cuts off


def test_batches_can_be_skipped() -> None:
    made = corpus(list(range(1, 200)), list(range(1, 100)))
    whole = data.batches(made, 2, 10, 0, 0.3, seed=3)
    for _ in range(4):
        next(whole)
    assert np.array_equal(
        next(whole).inputs, next(data.batches(made, 2, 10, 0, 0.3, seed=3, skip=4)).inputs
    )


def test_held_out_text_is_measured_once() -> None:
    made = corpus(list(range(1, 26)), [7], list(range(30, 40)))
    found = np.concatenate([b.targets.ravel() for b in data.held_out_batches(made, 4, 10, 0)])
    assert sorted(found[found >= 0].tolist()) == sorted([*range(1, 26), 7, *range(30, 40)])


def test_documents_held_out_are_not_trained_on() -> None:
    texts = [bytes([i]) * (i + 1) for i in range(20)]
    trained, held = data.split(texts, 0.2, 0)
    assert sorted(trained + held) == sorted(texts) and held and trained
    assert data.split([b"x" * 100], 0.05, 0) == ([b"x" * 95], [b"x" * 5])


@pytest.mark.usefixtures("cache_with_tiny_model")
def test_the_command(
    tmp_path: pathlib.Path, text: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [
        str(text),
        "-m",
        str(TINY_DIRECTORY),
        "-o",
        "mine",
        "--rank",
        "4",
        "--steps",
        "6",
        "--length",
        "64",
    ]
    result = CliRunner().invoke(command, ["tune", *arguments, "--batch", "4", "--rate", "3e-3"])
    assert result.exit_code == 0, result.output
    assert "mine" in result.stderr and "bits/byte before" in result.stderr
    content = text.read_bytes()[:2000]
    packed = llmzip.compress(content, model="mine")
    assert llmzip.decompress(packed) == content
    assert len(packed) < len(llmzip.compress(content, model=str(TINY_DIRECTORY)))


@pytest.mark.usefixtures("cache_with_tiny_model")
def test_the_command_without_text(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(command, ["tune", "-o", "mine"]).exit_code == 2
    empty = tmp_path / "empty"
    empty.write_bytes(b"\n")
    result = CliRunner().invoke(
        command, ["tune", "-o", "mine", "-m", str(TINY_DIRECTORY), str(empty)]
    )
    assert result.exit_code == 1 and "no text" in result.stderr
