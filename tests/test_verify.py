"""`llmzip eval verify`: honest scorers pass, and each classic mistake fails the claim it breaks."""

from __future__ import annotations

import json
import math
import pathlib
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import click.testing
import numpy as np
import pytest

from llmzip.cli.main import llmzip as command
from llmzip.errors import FormatError, IntegrityError, LLMZipError
from llmzip.evaluation import claim_coding
from llmzip.evaluation.subjects import CommandSubject, PythonSubject, Subject, load_subject
from llmzip.evaluation.verify import Sampling, Verification, verify
from llmzip.scoring import Claim, ModelClaims, Scorer, load_scorer
from tests import scorers
from tests.conftest import TINY_DIRECTORY

PROSE = (
    "A caf\u00e9 in the quiet quarter of the town sold equal quantities of tea and of cake; "
    "the queen, they said, had once quoted its menu in a speech about questions of taste. "
) * 3
TEXT = PROSE.encode()


def examined(subject: Subject, data: bytes = TEXT, **changes: Any) -> dict[str, Any]:
    """claim -> its check."""
    found = verify(subject, "text", data, Sampling(**{"seed": 1, **changes}))
    assert found.holds == all(check.holds is not False for check in found.checks)
    assert found.proven == all(check.holds for check in found.checks)
    return {check.claim: check for check in found.checks}


def of(scorer: type[scorers.Honest]) -> PythonSubject:
    return PythonSubject(scorer(), scorer.__name__)


def failing(checks: dict[str, Any]) -> set[str]:
    return {claim for claim, check in checks.items() if check.holds is False}


@pytest.mark.parametrize("seed", range(4))
def test_an_honest_scorer_proves_every_claim(seed: int) -> None:
    checks = examined(of(scorers.Honest), seed=seed)
    assert all(check.holds for check in checks.values()), checks


def test_an_unnormalized_mixture() -> None:
    checks = examined(of(scorers.Mixture))
    assert failing(checks) == {"normalized"}
    assert checks["normalized"].off_by == pytest.approx(0.6)


@pytest.mark.parametrize("mistake", [scorers.Characters, scorers.Spaces])
def test_something_else_counted_as_bytes(mistake: type[scorers.Honest]) -> None:
    checks = examined(of(mistake))
    assert failing(checks) == {"rate"}
    printed = PROSE.replace(" ", "\u2581").encode()
    counted = len(PROSE) if mistake is scorers.Characters else len(printed)
    assert checks["rate"].off_by == pytest.approx(len(TEXT) / counted - 1)
    cause = "characters were bytes" if mistake is scorers.Characters else "three bytes of \u2581"
    assert cause in checks["rate"].detail


def test_overlapping_windows_counted_many_times() -> None:
    checks = examined(of(scorers.Windows))
    assert "once" in failing(checks)
    begins = range(0, len(TEXT) - 32, 32)
    covered = np.zeros(len(TEXT))
    for begin in begins:
        covered[begin : begin + 64] += 1
    assert checks["once"].off_by == (covered > 1).sum()
    assert "up to 2 times" in checks["once"].detail


def test_natural_logarithms_taken_for_bits() -> None:
    checks = examined(of(scorers.Natural))
    assert failing(checks) == {"scores"}
    assert "a natural logarithm" in checks["scores"].detail
    # Where the steps are right and only the published number is not, that is said, too.
    claim = scorers.Honest().claim(TEXT)
    wrong = Claim(claim.bits, claim.spans, claim.bits_per_byte * math.log(2))
    subject = PythonSubject(_Says(wrong), "says")
    checks = examined(subject)
    assert "rate" in failing(checks)
    assert "natural logarithms were bits" in checks["rate"].detail


@pytest.mark.parametrize("mistake", [scorers.WholeText, scorers.NextByte])
@pytest.mark.parametrize("seed", range(3))
def test_a_look_ahead(mistake: type[scorers.Honest], seed: int) -> None:
    checks = examined(of(mistake), seed=seed, cuts=12)
    assert "causal" in failing(checks)
    assert checks["causal"].off_by > 0.01
    assert "it has seen what follows" in checks["causal"].detail


class _Says:
    """Says the same of every text."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim

    def claim(self, data: bytes) -> Claim:
        return self._claim


@pytest.mark.parametrize(
    ("bits", "spans", "claim"),
    [
        ([1.0, math.nan], [(0, 1), (1, 2)], "code_lengths"),
        ([1.0, math.inf], [(0, 1), (1, 2)], "code_lengths"),
        ([1.0, -3.0], [(0, 1), (1, 2)], "code_lengths"),
        ([1.0, 1.0], [(0, 1), (1, 3)], "once"),
        ([1.0, 1.0], [(-1, 1), (1, 2)], "once"),
        ([1.0, 1.0], [(1, 0), (1, 2)], "once"),
        ([1.0], [(0, 1)], "once"),
        ([0.0, 0.0], [(0, 1), (1, 2)], "rate"),
    ],
)
def test_nonsense_fails_and_is_valid_json(
    bits: list[float], spans: list[tuple[int, int]], claim: str
) -> None:
    found = verify(PythonSubject(_Says(Claim(bits, spans, 3.0)), "says"), "t", b"ab", Sampling())
    assert claim in {check.claim for check in found.checks if check.holds is False}
    assert all(c.off_by is None or math.isfinite(c.off_by) for c in found.checks)
    assert found.bits_per_byte is None or math.isfinite(found.bits_per_byte)


@pytest.mark.parametrize(
    "claim",
    [
        Claim([], []),
        Claim([1.0], [0, 1]),
        Claim([[1.0]], [(0, 1)]),
        Claim(["x"], [(0, 1)]),
        Claim([1.0, 1.0], [(0, 1.5), (1.5, 2)]),
        Claim([1.0], [(0, 1 << 70)]),
    ],
)
def test_what_is_no_claim_is_one_error(claim: Claim) -> None:
    with pytest.raises(LLMZipError, match="says: claim failed: ValueError"):
        verify(PythonSubject(_Says(claim), "says"), "t", b"ab", Sampling())


def test_a_text_without_information_may_be_published_as_such() -> None:
    free = PythonSubject(_Says(Claim([0.0, 0.0], [(0, 1), (1, 2)], 0.0)), "free")
    assert examined(free, b"ab")["rate"].holds


class _Impossible(scorers.Honest):
    """Claims little for what its distribution rules out."""

    def probabilities(self, history: Sequence[int]) -> np.ndarray:
        return np.where(np.arange(256) == 255, 1.0, 0.0)

    def bits(self, data: bytes) -> np.ndarray:
        return np.full(len(data), 0.5)


class _Negative(scorers.Honest):
    """Has symbols that no distribution has."""

    def symbols(self, data: bytes) -> list[int]:
        return [byte - 256 for byte in data]


class _Cheaper(scorers.Honest):
    """Claims half a percent less than its distributions give."""

    def bits(self, data: bytes) -> np.ndarray:
        return super().bits(data) * 0.995


@pytest.mark.parametrize("mistake", [_Impossible, _Negative, _Cheaper])
def test_a_distribution_that_does_not_give_what_is_claimed(mistake: type[scorers.Honest]) -> None:
    assert failing(examined(of(mistake))) == {"scores"}


class _Fractions(scorers.Honest):
    def symbols(self, data: bytes) -> list[Any]:
        return [float(byte) for byte in data]

    def bits(self, data: bytes) -> np.ndarray:
        return np.ones(len(data))


class _Batch(scorers.Honest):
    def probabilities(self, history: Sequence[int]) -> np.ndarray:
        return scorers.learned(history)[None]

    bits = _Fractions.bits


@pytest.mark.parametrize(
    ("mistake", "message"),
    [(_Fractions, "probabilities failed: TypeError"), (_Batch, r"shape \(1, 256\) where \[V\]")],
)
def test_what_is_no_distribution_is_one_error(mistake: type[scorers.Honest], message: str) -> None:
    with pytest.raises(LLMZipError, match=message):
        examined(of(mistake))


class _Unsteady(scorers.Honest):
    """Scores as the clock says."""

    calls = 0

    def bits(self, data: bytes) -> np.ndarray:
        self.calls += 1
        return super().bits(data) + self.calls


def test_what_is_not_repeatable() -> None:
    checks = examined(of(_Unsteady))
    assert "repeatable" in failing(checks)
    assert checks["repeatable"].off_by == pytest.approx(1)


def test_what_is_not_shown_is_not_proven() -> None:
    subject = load_subject("tests.scorers:function")
    found = verify(subject, "t", TEXT, Sampling(seed=1))
    assert found.holds
    assert not found.proven
    assert {c.claim for c in found.checks if c.holds is None} == {"normalized", "scores"}
    with pytest.raises(LLMZipError, match="can be coded with"):
        verify(subject, "t", TEXT, Sampling(), decoding=lambda file: b"")


class _OtherText(scorers.Honest):
    def text(self, symbols: Sequence[int]) -> bytes:
        return bytes(symbols[1:])


def test_what_cannot_be_coded_fails_that_claim_alone() -> None:
    found = verify(of(_OtherText), "t", TEXT, Sampling(seed=1), decoding=lambda file: file)
    assert [check.claim for check in found.checks if not check.holds] == ["coded"]
    assert "do not stand for the text" in found.checks[-1].detail
    assert found.coded_bytes is None


def test_texts_of_one_character_and_of_one_byte() -> None:
    for data in (b"a", b"aaaaaaaaaaaaaaaa", "\u00e9".encode() * 9, bytes(range(256))):
        checks = examined(of(scorers.Honest), data)
        assert failing(checks) == set()
        assert checks["causal"].holds or len(data) == 1  # nothing comes after a single byte


def test_a_file_is_as_small_as_the_claim_and_decodes() -> None:
    subject = of(scorers.Honest)
    assert subject.predictor is not None
    sent: list[bytes] = []

    def decoding(file: bytes) -> bytes:
        sent.append(file)
        return claim_coding.decode(scorers.Honest(), file)

    found = verify(subject, "t", TEXT, Sampling(seed=1), decoding=decoding)
    assert found.proven
    assert found.coded_bytes == len(sent[0])
    assert 8 * len(sent[0]) < found.bits_per_byte * len(TEXT) * 1.005 + 128
    with pytest.raises(IntegrityError):
        claim_coding.decode(scorers.Honest(), sent[0][: len(sent[0]) // 2] + b"\x00" * 9)
    with pytest.raises(FormatError, match="more than"):
        claim_coding.decode(scorers.Honest(), b"\x01\xff\xff\xff\x7f\x00")
    other = verify(subject, "t", TEXT, Sampling(seed=1), decoding=lambda file: TEXT[:9] + b"?")
    assert (other.checks[-1].holds, other.checks[-1].off_by) == (False, len(TEXT) - 9)


def test_a_mixture_that_is_none_costs_what_it_had_claimed_to_save() -> None:
    found = verify(
        of(scorers.Mixture),
        "t",
        TEXT,
        Sampling(seed=1),
        decoding=lambda file: claim_coding.decode(scorers.Mixture(), file),
    )
    coded = found.checks[-1]
    assert coded.claim == "coded"
    assert coded.holds is False
    claimed = found.bits_per_byte * len(TEXT)
    saved = math.log2(1.6) * len(TEXT)
    assert saved < coded.off_by * claimed < saved + 128  # and the head of a small file


def cli(*args: object) -> click.testing.Result:
    return click.testing.CliRunner().invoke(command, ["eval", "verify", "-q", *map(str, args)])


@pytest.fixture
def text_file(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT)
    return path


def test_the_command_says_which_claim_fails_and_by_how_much(
    text_file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "out.json"
    good = cli("--scorer", "tests.scorers:Honest", "-d", text_file, "--output", out)
    assert good.exit_code == 0, good.output
    said = json.loads(good.stdout)
    assert said == json.loads(out.read_text())
    assert (said["holds"], said["proven"], said["scorer"]) == (True, True, "tests.scorers:Honest")
    bad = cli("--scorer", "tests.scorers:Mixture", "-d", text_file)
    assert bad.exit_code == 1
    assert "normalized fails by 0.6 sum" in bad.stderr
    assert json.loads(bad.stdout)["holds"] is False
    published = cli("--scorer", "tests.scorers:Honest", "-d", text_file, "--claimed", 0.5)
    assert published.exit_code == 1
    assert "rate fails by" in published.stderr
    unproven = ("--scorer", "tests.scorers:function", "-d", text_file)
    assert cli(*unproven).exit_code == 1
    assert "scores is not proven" in cli(*unproven).stderr
    assert cli(*unproven, "--allow-unproven").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--scorer", "tests.scorers"), 1, "MODULE:ATTRIBUTE"),
        (("--scorer", "tests.nosuch:x"), 1, "ModuleNotFoundError"),
        (("--scorer", "tests.scorers:nosuch"), 1, "AttributeError"),
        (("--scorer", "tests.scorers:__name__"), 1, "can be called"),
        (("--scorer", "tests.scorers:Fails"), 1, "claim failed: RuntimeError: out of luck"),
        (("--scorer", "tests.scorers:Exits"), 1, "claim failed: SystemExit: 0"),
        (("--scorer", "tests.scorers:learned"), 1, "claim failed"),
        (("--command", "no-such-command-here"), 1, "cannot be run"),
        (("--command", "'"), 1, "no command line"),
        (("--command", ""), 1, "the command is empty"),
        (("--command", "false"), 1, "exit code 1"),
        (("--command", "echo no"), 1, "line 1 is no JSON"),
        (("--command", f"echo {'[' * 100_000}"), 1, "line 1 is no JSON"),
        (("--command", "echo []"), 1, "line 1 is neither a step"),
        (("--command", """echo '{"begin": 0, "end": 1}'"""), 1, "line 1 is neither a step"),
        (("--command", """echo '{"begin": 0, "bits": 1}'"""), 1, "line 1 is neither a step"),
        (
            ("--command", """echo '{"begin": 0, "end": 1, "bits": 1, "probabilities": [1]}'"""),
            1,
            "symbol beside probabilities",
        ),
        (("--command", "true"), 1, "spans of shape"),
        (("--scorer", "a:b", "--command", "c"), 2, "one of them"),
        (("--scorer", "tests.scorers:function", "--decode", "setup.py"), 1, "cannot decode"),
    ],
)
def test_what_cannot_be_examined_is_one_error(
    arguments: tuple[str, ...], code: int, message: str, text_file: pathlib.Path
) -> None:
    failed = cli("-d", text_file, *arguments)
    assert isinstance(failed.exception, SystemExit), failed.exception
    assert failed.exit_code == code
    assert failed.stdout == ""
    assert message in failed.stderr


def test_a_command_that_prints_log_probabilities(text_file: pathlib.Path) -> None:
    words = [sys.executable, "-m", "tests.scorers"]
    few = ("--cuts", 1, "--steps", 4)  # each scoring is a process
    honest = cli("--command", shlex.join([*words, "Honest"]), "-d", text_file, "--seed", 1, *few)
    assert honest.exit_code == 0, honest.output
    mistaken = verify(
        CommandSubject(shlex.join([*words, "Windows"])), "t", TEXT, Sampling(seed=1, cuts=1)
    )
    assert not mistaken.holds


def test_what_a_scorer_prints_is_no_result(text_file: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Neither in this process nor in that which decodes, whose standard output is the text."""
    scorer = ("--scorer", "tests.scorers:Prints", "-d", text_file)
    found = cli(*scorer, "--coded", tmp_path / "file")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["proven"]
    assert "working" in found.stderr
    decoded = cli(*scorer, "--decode", tmp_path / "file")
    assert (decoded.exit_code, decoded.stdout_bytes) == (0, TEXT)


def test_only_a_decoded_file_shows_that_a_scorer_remembers(
    text_file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """It knows each text that it was shown, a changed one too: all other claims hold."""
    scorer = ("--scorer", "tests.scorers:Remembers", "-d", text_file, "--seed", 1)
    assert cli(*scorer).exit_code == 0
    coded = cli(*scorer, "--coded", tmp_path / "file")
    assert coded.exit_code == 1
    assert "coded fails by" in coded.stderr
    honest = cli("--scorer", "tests.scorers:Honest", "-d", text_file, "--coded", tmp_path / "file")
    assert honest.exit_code == 0, honest.output
    assert (
        json.loads(honest.stdout)["texts"][0]["coded_bytes"] == (tmp_path / "file").stat().st_size
    )


@pytest.mark.parametrize("name", [str(TINY_DIRECTORY), f"float:{TINY_DIRECTORY}"])
@pytest.mark.usefixtures("cache_with_tiny_model")
def test_models_of_ours_prove_every_claim(name: str, english: bytes) -> None:
    if name.startswith("float:"):
        pytest.importorskip("transformers")
    scorer = load_scorer(name)
    data = english[:1500] + b"\x04\xff caf\xc3\xa9"
    found = verified(scorer, data, 200)
    assert found.proven, found.checks
    claims = ModelClaims(scorer, 200)
    symbols = claims.symbols(data)
    assert claims.text(symbols) == data
    assert min(symbols) < 256 < max(symbols)  # bytes that the vocabulary cannot say, too
    assert found.steps == len(symbols)


def verified(scorer: Scorer, data: bytes, context: int) -> Verification:
    return verify(
        PythonSubject(ModelClaims(scorer, context), "ours"), "t", data, Sampling(seed=1, steps=8)
    )


@pytest.mark.usefixtures("cache_with_tiny_model")
def test_a_model_of_ours_is_coded_and_decoded(english: bytes, tmp_path: pathlib.Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(english[:300] + b"\xff")
    done = cli("-d", text, "--context", 32, "--coded", tmp_path / "file", "--steps", 4)
    assert done.exit_code == 0, done.output
    (found,) = json.loads(done.stdout)["texts"]
    assert found["checks"][-1]["claim"] == "coded"
    assert found["coded_bytes"] == (tmp_path / "file").stat().st_size < 200
