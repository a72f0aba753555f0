"""Generation: exact, by seed, from the distribution that it says."""

from __future__ import annotations

import json
import pathlib
import shutil
from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

import llmzip
from llmzip.cli.main import llmzip as command
from llmzip.codecs.registry import get_codec
from llmzip.engine.base import Engine
from llmzip.engine.torch_engine import TorchEngine
from llmzip.engine_loader import EngineLoader
from llmzip.errors import LimitError, LLMZipError
from llmzip.generation import by_engine, generate_by_codec, generate_by_engine
from llmzip.generation.by_engine import Continuation, continue_all, prompt_ids
from llmzip.generation.chat import chat_format, chat_ids, rendered
from llmzip.generation.drawing import _raised
from llmzip.generation.randomness import Randomness
from llmzip.generation.stopping import Stops
from llmzip.model import chat
from llmzip.model.chat import ChatFormat
from llmzip.model.convert import convert
from llmzip.model.integer_model import IntegerModel
from llmzip.model.sources import read_source
from tests.conftest import TINY_DIRECTORY

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
    waiting, found = Stops(stops), []
    for piece in pieces:
        found.append(waiting.take(piece))
        if waiting.is_reached:
            break
    found.append(waiting.rest())
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


# ---- several prompts -----------------------------------------------------------------------------

PROMPTS = [PROMPT, b"", PROMPT + b" is the value of", b"x" * 40, PROMPT, b"The value"]


@pytest.mark.parametrize(
    "options",
    [{}, {"seed": 7, "temperature": 0.7, "stop": [b" the"]}, {"temperature": 0, "top_k": 3}],
)
def test_texts_side_by_side_are_those_that_each_has_alone(
    tiny_model: IntegerModel, options: dict[str, Any]
) -> None:
    alone = [
        b"".join(llmzip.generate(prompt, 12, model=tiny_model, **options)) for prompt in PROMPTS
    ]
    assert llmzip.generate(PROMPTS, 12, model=tiny_model, **options) == alone
    assert len(set(alone)) >= 4


def test_however_many_fit_side_by_side(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def texts() -> list[Continuation]:
        return [Continuation(engine, prompt_ids(engine, prompt), 5) for prompt in PROMPTS]

    whole = continue_all(engine, texts())
    for rows, memory in ((2, 1 << 30), (64, 1)):
        monkeypatch.setattr(by_engine, "ROWS", rows)
        monkeypatch.setattr(by_engine, "CACHE_BYTES", memory)
        assert continue_all(engine, texts()) == whole
    assert continue_all(engine, []) == []
    assert llmzip.generate([], model=engine.model) == []
    assert llmzip.generate([PROMPT, b""], 0, model=engine.model) == [b"", b""]


@pytest.mark.usefixtures("cache_with_tiny_model")
def test_the_command_with_several_prompts(tmp_path: pathlib.Path, engine: Engine) -> None:
    (tmp_path / "lines").write_bytes(b"two\n\xff\n")
    (tmp_path / "nulls").write_bytes(b"two\nlines\0")
    args = ["one", "-", "--prompts", str(tmp_path / "lines"), "--prompts0", str(tmp_path / "nulls")]
    result = CliRunner().invoke(
        command, ["generate", *args, "-n", "4"], input=b"given", prog_name="llmzip"
    )
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["prompt"] for row in found] == ["one", "given", "two", "\ufffd", "two\nlines"]
    assert found[3]["prompt_hex"] == "ff"
    for row in found:
        prompt = bytes.fromhex(row.get("prompt_hex", row["prompt"].encode().hex()))
        made = bytes.fromhex(row.get("text_hex", row["text"].encode().hex()))
        assert made == b"".join(generate_by_engine(engine, prompt, 4))
    refused = CliRunner().invoke(command, ["generate", "a", "b", "--codec", "zlib"])
    assert refused.exit_code == 2


# ---- conversations -------------------------------------------------------------------------------

TEMPLATE = (
    "{%- for message in messages %}\n"
    "    {%- if message.role not in ('system', 'user') %}\n"
    "        {{- raise_exception('no ' + message.role) }}\n"
    "    {%- endif %}\n"
    "    {%- if message.content == 'skip' %}{% continue %}{% endif %}\n"
    "    {{- bos_token + message.role + '\\n' + message.content | trim + eos_token }}\n"
    "{% endfor %}\n"
    "{%- if add_generation_prompt %}{{ bos_token }}assistant {{ [1] | tojson }}\n{% endif %}"
)


def chatty(folder: pathlib.Path, template: str = TEMPLATE, where: str = "config") -> pathlib.Path:
    """The tiny model's folder, with a chat template."""
    pytest.importorskip("jinja2")
    shutil.copytree(TINY_DIRECTORY, folder)
    settings: dict[str, Any] = {"eos_token": {"content": "<|endoftext|>"}}
    if where == "config":
        settings["chat_template"] = template
    elif where == "list":
        settings["chat_template"] = [
            {"name": "tool_use", "template": "x"},
            {"name": "default", "template": template},
        ]
    else:
        settings["chat_template"] = "{{ 1 / 0 }}"
        (folder / "chat_template.jinja").write_text(template)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    described = json.loads((folder / "tokenizer.json").read_text())
    number = max(described["model"]["vocab"].values())
    name = next(text for text, i in described["model"]["vocab"].items() if i == number)
    described["added_tokens"].append(
        {**described["added_tokens"][0], "id": number, "content": name, "rstrip": True}
    )
    (folder / "tokenizer.json").write_text(json.dumps(described))
    return folder


@pytest.mark.parametrize("where", ["config", "list", "file"])
def test_a_conversation_is_what_transformers_makes_of_it(
    where: str, tmp_path: pathlib.Path
) -> None:
    transformers = pytest.importorskip("transformers")
    model = convert(read_source(chatty(tmp_path / "model", where=where)))
    again = tmp_path / "saved"
    model.save(again)
    assert IntegerModel.load(again).vocabulary == model.vocabulary
    assert model.fingerprint != b""
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "model" / "tokenizer.json"),
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        chat_template=TEMPLATE,
    )
    for messages in (
        [{"role": "user", "content": " What is a <|endoftext|> value? "}],
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "skip"}],
        [{"role": "user", "content": "<|endoftext|>\n  caf\u00e9"}],
    ):
        format = chat_format(model)
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert rendered(format, messages) == text
        expected = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert chat_ids(model, messages) == list(expected)


def test_answers_end_where_the_model_ends_them(tmp_path: pathlib.Path) -> None:
    model = convert(read_source(chatty(tmp_path / "model")))
    options: dict[str, Any] = {"chat": True, "model": model}
    ends = chat_format(model).ends
    assert ends
    answers = llmzip.generate([b"hello", b"what?"], 8, system="Be brief.", **options)
    one = b"".join(llmzip.generate(b"what?", 8, system="Be brief.", **options))
    assert answers[1] == one != b"".join(llmzip.generate(b"what?", 8, **options))
    engine = EngineLoader(model).for_compression()
    ids = chat_ids(model, [{"role": "user", "content": "what?"}])
    last = Continuation(engine, ids, 8, ends=ends)
    certain = np.zeros(model.spec.vocab, np.int32)
    certain[ends[0]] = 1
    assert last.take(certain) == b""
    assert last.has_ended
    with pytest.raises(ValueError, match="system is for"):
        llmzip.generate(b"a", system="b", model=model)
    with pytest.raises(LLMZipError, match="UTF-8"):
        llmzip.generate(b"\xff", **options)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('not so') }}", "fails: not so"),
        ("{{ 1 / 0 }}", "fails: division"),
        ("{{ messages.append(1) }}", "fails"),
        ("{{ ''.__class__.__mro__ }}", "fails"),
        ("{{ strftime_now('%Y') }}", "fails: 'strftime_now' is undefined"),
        ("{% if %}", "fails"),
        ("{# nothing #}", "makes no text"),
    ],
)
def test_templates_that_do_no_good(template: str, said: str, tmp_path: pathlib.Path) -> None:
    model = convert(read_source(chatty(tmp_path / "model", template)))
    with pytest.raises(LLMZipError, match=said):
        llmzip.generate(b"a", chat=True, model=model)


@pytest.mark.usefixtures("cache_with_tiny_model")
def test_the_command_answers(tmp_path: pathlib.Path) -> None:
    def run(*args: str) -> Result:
        return CliRunner().invoke(command, ["generate", *args], prog_name="llmzip")

    missing = run("hello", "--chat")
    assert (missing.exit_code, "no chat template" in missing.stderr) == (1, True)
    model = str(chatty(tmp_path / "model"))
    answer = run("hello", "--chat", "--system", "Be brief.", "-n", "4", "-m", model)
    expected = llmzip.generate(b"hello", 4, chat=True, system="Be brief.", model=model)
    assert answer.stdout_bytes == b"".join(expected)
    alone = run("hello", "--system", "Be brief.")
    assert alone.exit_code == 2
    assert "--system is for --chat" in alone.stderr
    assert run("hello", "--chat", "--codec", "zlib").exit_code == 2


def test_templates_in_gguf_files() -> None:
    fields = {
        "tokenizer.chat_template": TEMPLATE,
        "tokenizer.ggml.tokens": ["<s>", "</s>", "a", "<turn>"],
        "tokenizer.ggml.token_type": [3, 3, 1, 4],
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.eot_token_id": 3,
    }
    found = chat.from_gguf(lambda key, *default: fields.get(key, *default))
    assert found
    assert (found.begin, found.end, found.ends) == ("<s>", "</s>", (1, 3))
    assert [token.id for token in found.tokens] == [0, 1, 3]
    assert ChatFormat.from_json(found.to_json()) == found
    del fields["tokenizer.chat_template"]
    assert chat.from_gguf(lambda key, *default: fields.get(key, *default)) is None
