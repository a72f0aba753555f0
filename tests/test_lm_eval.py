"""lm-evaluation-harness: its numbers with our models are those of its own Hugging Face backend."""

from __future__ import annotations

import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from llmzip import engine_loader
from llmzip.errors import LLMZipError
from llmzip.generation import generate_by_engine
from llmzip.generation.drawing import Drawing
from llmzip.integrations.lm_eval import LLMZipLM
from llmzip.integrations.lm_eval_tasks import evaluate
from llmzip.model.integer_model import IntegerModel
from llmzip.model.spec import ARITHMETIC_VERSION
from llmzip.scoring import Scorer, load_scorer, score_text
from llmzip.scoring.continuations import Continuation, score_continuations
from llmzip.scoring.float_scorer import FloatScorer
from llmzip.scoring.integer_scorer import IntegerScorer
from llmzip.scoring.written import Prompt, write_texts
from tests.command import run
from tests.conftest import TINY_DIRECTORY

TEMPLATE = (
    "{% for m in messages %}<|endoftext|>{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|endoftext|>assistant:{% endif %}"
)
TASKS: dict[str, dict[str, Any]] = {
    "texts": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "bits_per_byte"}, {"metric": "word_perplexity"}],
    },
    "choices": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{text[:80]}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": 0,
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    },
    "answers": {
        "output_type": "generate_until",
        "doc_to_text": "{{text[:60]}}",
        "doc_to_target": "{{text[60:64]}}",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 12},
        "metric_list": [{"metric": "exact_match"}],
    },
}


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    """Without the list of all installed packages that the harness puts into each result."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.utils.collect_env.get_pretty_env_info", str)
        yield


@pytest.fixture(scope="module")
def texts(english: bytes) -> list[str]:
    """The longest takes several windows of the tiny model's 512 positions."""
    text = english.decode()
    return [text[:3000], text[5000:5700] + " caf\u00e9 \u2014 \U0001f600", text[9000:9010]]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> pathlib.Path:
    """A folder with tasks on a file that lies beside them."""
    folder = tmp_path_factory.mktemp("tasks")
    data = folder / "data.jsonl"
    lines = [{"text": text, "choices": [text[-9:], " the", " of", "?"]} for text in texts]
    data.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    for name, task in TASKS.items():
        whole = {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {
                "data_files": {"test": str(data)},
                "cache_dir": str(folder / "cache"),
            },
            "test_split": "test",
            **task,
        }
        (folder / f"{name}.yaml").write_text(json.dumps(whole), "utf-8")  # JSON is YAML
    missing = {"task": "far", "dataset_path": "nobody/nothing", "test_split": "test"}
    (folder / "far.yaml").write_text(json.dumps(missing | TASKS["texts"]), "utf-8")
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The tiny model as its maker would publish it, with a chat template."""
    folder = tmp_path_factory.mktemp("published")
    for path in TINY_DIRECTORY.iterdir():
        shutil.copy(path, folder)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "chat_template": TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that tests name are none of the user's, nor the same one with a chat template, whose
    fingerprint is the same.
    """
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(engine_loader, "_loaded", None)


@pytest.fixture(scope="module")
def hugging_face(published: pathlib.Path) -> HFLM:
    return HFLM(str(published), device="cpu", dtype="float32", batch_size=4)


@pytest.fixture(params=["integer", "floating"])
def scorer(request: pytest.FixtureRequest) -> Scorer:
    found: Scorer = request.getfixturevalue(request.param)
    return found


def requests(kind: str, arguments: list[tuple[Any, ...]]) -> list[Instance]:
    return [Instance(kind, {}, given, i) for i, given in enumerate(arguments)]


def bits_per_byte(results: dict[str, Any]) -> float:
    found: float = results["results"]["texts"]["bits_per_byte,none"]
    return found


# ---- agreement -----------------------------------------------------------------------------------


def test_bits_per_byte_are_the_hugging_face_backends(
    hugging_face: HFLM,
    integer: IntegerScorer,
    floating: FloatScorer,
    tasks: pathlib.Path,
    texts: list[str],
) -> None:
    """The golden check: within 0.5 %, for float models much nearer."""
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    theirs = simple_evaluate(hugging_face, tasks=["texts"], task_manager=manager)
    ours = {
        scorer.model_card.kind: evaluate(LLMZipLM(scorer), ["texts"], include_path=tasks)
        for scorer in (integer, floating)
    }
    expected = bits_per_byte(theirs)
    assert bits_per_byte(ours["float"]) == pytest.approx(expected, rel=1e-5)
    assert bits_per_byte(ours["integer"]) == pytest.approx(expected, rel=0.005)
    assert set(theirs["results"]["texts"]) == set(ours["integer"]["results"]["texts"])
    said = ours["integer"]["config"]["llmzip"]
    assert said["digest"] == integer.model_card.digest
    assert said["arithmetic"] == ARITHMETIC_VERSION
    assert said["rolling"] == "harness"


def test_choices_and_answers_are_the_hugging_face_backends(
    hugging_face: HFLM, floating: FloatScorer, tasks: pathlib.Path
) -> None:
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    names = ["choices", "answers"]
    options = {"tasks": names, "task_manager": manager, "num_fewshot": 0}
    theirs = simple_evaluate(hugging_face, **options)
    ours = simple_evaluate(LLMZipLM(floating), **options)
    assert ours["results"] == theirs["results"]
    for name in names:
        for one, other in zip(ours["samples"][name], theirs["samples"][name], strict=True):
            assert one["arguments"] == other["arguments"]
            if name == "answers":
                assert one["resps"] == other["resps"]
                continue
            for a, b in zip(one["filtered_resps"], other["filtered_resps"], strict=True):
                assert a[0] == pytest.approx(b[0], abs=1e-3)
                assert a[1] == b[1]


def test_contexts_that_do_not_fit_are_cut_as_the_hugging_face_backend_does(
    hugging_face: HFLM, floating: FloatScorer, texts: list[str]
) -> None:
    model = LLMZipLM(floating)
    pairs = [(texts[0], texts[1][:50]), ("", texts[2]), ("a  ", "b"), (texts[0], " the")]
    theirs = hugging_face.loglikelihood(requests("loglikelihood", pairs))
    ours = model.loglikelihood(requests("loglikelihood", pairs))
    assert [a for a, _ in ours] == pytest.approx([a for a, _ in theirs], abs=1e-3)
    assert [g for _, g in ours] == [g for _, g in theirs]
    asked = [(texts[0], {"until": ["\n\n"], "max_gen_toks": 20})]
    theirs = hugging_face.generate_until(requests("generate_until", asked))
    assert model.generate_until(requests("generate_until", asked)) == theirs


# ---- protocols of long texts ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rolling", "stride"), [("segments", None), ("sliding", 64), ("sliding", 10_000)]
)
def test_segments_and_windows_are_those_of_eval(
    scorer: Scorer, texts: list[str], rolling: Any, stride: int | None
) -> None:
    model = LLMZipLM(scorer, rolling=rolling, context=128, stride=stride or 1)
    found = model.loglikelihood_rolling(requests("loglikelihood_rolling", [(t,) for t in texts]))
    expected = [
        score_text(scorer, text.encode(), context=128, stride=stride).total_bits for text in texts
    ]
    tolerance = 1e-12 if scorer.model_card.kind == "integer" else 1e-5
    assert [-nats / math.log(2) for nats in found] == pytest.approx(expected, rel=tolerance)


def test_within_one_window_the_protocols_are_one(integer: IntegerScorer, texts: list[str]) -> None:
    """Bytes that the vocabulary cannot say are paid for in each."""
    asked = requests("loglikelihood_rolling", [(texts[1] + "\x04",), ("",), ("\x04" * 9,)])
    lengths = [
        LLMZipLM(integer, rolling=rolling).loglikelihood_rolling(asked)
        for rolling in ("harness", "segments", "sliding")
    ]
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-12) == lengths[2]
    assert lengths[0][1] == 0
    escaped = integer.tokenize(b"\x04" * 9).escaped.sum()
    assert escaped
    assert lengths[0][2] < -8 * escaped * math.log(2)


# ---- pairs and texts side by side ----------------------------------------------------------------

IDS = st.lists(st.integers(0, 599), min_size=1, max_size=6)
PAIRS = st.lists(st.tuples(st.lists(st.sampled_from([0, 5, 7]), min_size=1, max_size=4), IDS))


@given(pairs=PAIRS)
@settings(max_examples=20)
def test_pairs_cost_the_same_together_and_alone(
    integer: IntegerScorer, pairs: list[tuple[list[int], list[int]]]
) -> None:
    """Also where they share contexts, or are the same."""
    asked = [Continuation(context, ids) for context, ids in pairs]
    together = dict(score_continuations(integer, asked))
    assert sorted(together) == list(range(len(asked)))
    for i, one in enumerate(asked):
        assert dict(score_continuations(integer, [one])) == {0: together[i]}


def test_a_greedy_continuation_is_known(integer: IntegerScorer, scorer: Scorer) -> None:
    start = scorer.vocabulary.start_token
    context = [start, *scorer.tokenize(b"The value of").ids.tolist()]
    ((_, text),) = write_texts(scorer, [Prompt(context, 5, Drawing.of(0, None))])
    whole = scorer.tokenize(b"The value of" + text).ids.tolist()
    asked = [Continuation(context, ids) for ids in (whole[len(context) - 1 :], [300])]
    found = dict(score_continuations(scorer, asked))
    assert found[0].greedy
    assert not found[1].greedy
    assert found[0].bits < found[1].bits


def test_texts_are_those_of_generate(integer: IntegerScorer, texts: list[str]) -> None:
    """Prompts of all lengths in one batch, each as if it were alone."""
    starts = [text[:size] for text in texts for size in (1, 10, 200, 333)]
    model = LLMZipLM(integer, add_bos_token=True)
    given = {"until": ["\n\n", "("], "max_gen_toks": 25}
    found = model.generate_until(requests("generate_until", [(s, given) for s in starts]))
    for prompt, text in zip(starts, found, strict=True):
        pieces = generate_by_engine(
            integer.engine, prompt.encode(), 25, temperature=0, stop=[b"\n\n", b"("]
        )
        assert text == b"".join(pieces).decode("utf-8", "replace")
    assert len(set(map(len, found))) > 1


def test_draws_repeat_and_depend_on_nothing_beside_them(scorer: Scorer, texts: list[str]) -> None:
    given = {"do_sample": True, "temperature": 0.8, "top_k": 20, "max_gen_toks": 15}
    asked = [(texts[0][:50], given), (texts[0][:50], given), (texts[1][:99], given)]
    model = LLMZipLM(scorer, seed=4)
    found = model.generate_until(requests("generate_until", asked))
    assert found == model.generate_until(requests("generate_until", asked))
    assert found[0] != found[1]  # of one prompt several draws
    alone = LLMZipLM(scorer, seed=5).generate_until(requests("generate_until", asked[1:2]))
    assert alone == found[1:2]


def test_a_control_token_ends_a_text(integer: IntegerScorer) -> None:
    class OnlyTheEnd(Drawing):
        def draw(self, weights: Any, random: Any) -> int:
            return integer.vocabulary.start_token

    assert dict(write_texts(integer, [Prompt([0], 9, OnlyTheEnd(None, None))])) == {0: b""}


# ---- chat templates ------------------------------------------------------------------------------


def test_chat_templates_and_control_tokens(
    hugging_face: HFLM, published: pathlib.Path, tiny_model: IntegerModel
) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    for model in (LLMZipLM(f"float:{published}"), LLMZipLM(str(published))):
        assert model.chat_template(True) == TEMPLATE
        written = model.apply_chat_template(messages)
        assert written == hugging_face.apply_chat_template(messages)
        assert model.tok_encode(written) == hugging_face.tok_encode(written)
        assert model.tok_encode(written).count(0) == 3
        assert model.tok_encode("<|endoftext|>x", False)[0] == 0
    assert LLMZipLM(str(TINY_DIRECTORY)).tokenizer_name != ""


def test_an_installed_model_keeps_its_chat_template(
    hugging_face: HFLM, published: pathlib.Path
) -> None:
    model = LLMZipLM(load_scorer(str(published)))  # a scorer, which is no folder
    assert model.tokenizer is None
    assert model.chat_template(True) == TEMPLATE
    messages = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Since "}]
    for asked in (messages[:1], messages):
        prompts = len(asked) == 1
        written = model.apply_chat_template(asked, add_generation_prompt=prompts)
        assert written == hugging_face.apply_chat_template(asked, add_generation_prompt=prompts)
        assert model.tok_encode(written) == hugging_face.tok_encode(written)


def test_the_start_token_stands_once(published: pathlib.Path) -> None:
    model = LLMZipLM(str(published), add_bos_token=True)
    assert model.tok_encode("so") == [0, *model.tok_encode("so", False)]
    assert model.tok_encode("<|endoftext|>so") == model.tok_encode("so")


def test_without_a_chat_template(integer: IntegerScorer) -> None:
    with pytest.raises(LLMZipError, match="tokenizer=FOLDER"):
        LLMZipLM(integer).apply_chat_template([{"role": "user", "content": "Why?"}])


# ---- what is wrong is said -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"top_p": 0.9, "do_sample": True}, "top_p=0.9 is not supported"),
        ({"num_beams": 4}, "num_beams=4 is not supported"),
        ({"do_sample": True, "temperature": 0.75}, "multiples of 0.1"),
        ({"max_gen_toks": 512}, "leaves no room"),
    ],
)
def test_generation_that_cannot_be(integer: IntegerScorer, given: Any, said: str) -> None:
    with pytest.raises(LLMZipError, match=said):
        LLMZipLM(integer).generate_until(requests("generate_until", [("a", given)]))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rolling": "round"}, "harness, segments, sliding"),
        ({"context": 0}, "at least 1 token"),
        ({"engine": "steam"}, "engines are"),
        ({"tokenizer": "/nowhere"}, "no tokenizer"),
    ],
)
def test_options_that_cannot_be(options: Any, said: str) -> None:
    with pytest.raises(LLMZipError, match=said):
        LLMZipLM(str(TINY_DIRECTORY), **options)


def test_a_continuation_that_fits_no_window(integer: IntegerScorer, texts: list[str]) -> None:
    with pytest.raises(LLMZipError, match="longer than max_length 512"):
        LLMZipLM(integer).loglikelihood(requests("loglikelihood", [("a", texts[0])]))


# ---- through the registry and the command line ---------------------------------------------------


def test_the_harness_finds_the_model_by_name(tasks: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """And keeps what it has answered."""
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    arguments = f"model={TINY_DIRECTORY},rolling=segments,context=100,threads=1"
    options = {
        "model": "llmzip",
        "model_args": arguments,
        "tasks": list(TASKS),
        "task_manager": manager,
        "batch_size": 1,
        "use_cache": str(tmp_path / "answers"),
    }
    first = simple_evaluate(**options)
    assert first["config"]["llmzip"]["context"] == 100
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IntegerScorer, "predict", None)  # nothing is scored again
        patch.setattr(IntegerScorer, "reader", None)
        assert simple_evaluate(**options)["results"] == first["results"]


def harness(*arguments: object) -> Result:
    return run("eval", "harness", *map(str, arguments))


@pytest.mark.usefixtures("cache_with_tiny_model")
def test_the_command_prints_a_table_and_writes_results(
    tasks: pathlib.Path,
    tmp_path: pathlib.Path,
    texts: list[str],
    integer: IntegerScorer,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)  # no repository: git would say so
    out = tmp_path / "out" / "results.json"
    given = ["--tasks", "texts,choices", "--include-path", tasks, "--rolling", "segments"]
    done = harness(*given, "--limit", 1, "--output", out, "--log-samples", "--context", 200)
    assert done.exit_code == 0, done.output
    assert "bits_per_byte" in done.stdout
    assert done.stdout.startswith("|")
    found = json.loads(out.read_text("utf-8"))
    size = len(texts[0].encode())
    bits = score_text(integer, texts[0].encode(), context=200).total_bits
    assert bits_per_byte(found) == pytest.approx(bits / size, rel=1e-12)
    assert found["config"]["llmzip"]["digest"] == integer.model_card.digest
    assert set(found["samples"]) == {"texts", "choices"}
    assert found["n-samples"]["texts"]["effective"] == 1
    quiet = harness("--tasks", tasks / "texts.yaml", "--limit", 0.3, "-q")
    assert quiet.exit_code == 0
    assert quiet.stderr == ""
    assert "fatal" not in capfd.readouterr().err


@pytest.mark.usefixtures("cache_with_tiny_model")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param(  # which reads all of the harness's tasks
            ["--tasks", "textz"], "no task 'textz'; there are texts", marks=pytest.mark.slow
        ),
        (["--tasks", "far"], "far: the data of a task cannot be had"),
        (["--tasks", "texts", "-m", "nowhere"], "nowhere"),
        (["--tasks", "answers", "--apply-chat-template"], "no chat template"),
    ],
)
def test_errors_are_one_line(options: list[str], said: str, tasks: pathlib.Path) -> None:
    done = harness(*options, "--include-path", tasks, "-q")
    assert done.exit_code == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert said in line


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("llmzip.integrations.lm_eval")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "lm_eval"]:
        monkeypatch.setitem(sys.modules, name, None)
    done = harness("--tasks", "texts")
    assert done.exit_code == 1
    assert done.stderr.endswith("not installed: pip install 'llmzip[harness]'\n")


@pytest.mark.slow
def test_the_harnesss_own_command_line(tasks: pathlib.Path, tmp_path: pathlib.Path) -> None:
    command = [
        *(sys.executable, "-m", "llmzip.integrations.lm_eval", "run", "--model", "llmzip"),
        *("--model_args", f"model={TINY_DIRECTORY}", "--include_path", str(tasks)),
        *("--tasks", "texts", "--output_path", str(tmp_path / "out.json")),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr
    assert "bits_per_byte" in done.stdout
    (out,) = tmp_path.glob("out*.json")
    assert json.loads(out.read_text("utf-8"))["config"]["llmzip"]["kind"] == "integer"
