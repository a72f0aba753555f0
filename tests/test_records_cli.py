"""`llmzip records` and `llmzip dictionary`: files of records in, the same bytes out."""

from __future__ import annotations

import json
import pathlib
import random

import pytest
from click.testing import CliRunner, Result

from llmzip.cli.main import llmzip as command
from llmzip.errors import LLMZipError
from llmzip.records import RecordReader, split
from llmzip.records.training import train
from tests.conftest import TINY_DIRECTORY, tiny
from tests.golden_records import event

pytestmark = pytest.mark.usefixtures("folder")

LINES = b"".join(event(number) + b"\n" for number in range(12))


@pytest.fixture
def folder(
    cache_with_tiny_model: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> pathlib.Path:
    monkeypatch.chdir(tmp_path)
    pathlib.Path("log").write_bytes(LINES)
    pathlib.Path("samples").write_bytes(b"".join(event(n) + b"\n" for n in range(50, 54)))
    return tmp_path


def run(*args: str, given: bytes = b"") -> Result:
    return CliRunner().invoke(command, args, input=given, prog_name="llmzip")


def good(*args: str, given: bytes = b"") -> Result:
    result = run(*args, given=given)
    assert result.exit_code == 0, result.output
    return result


def test_a_file_of_lines_comes_back() -> None:
    packed = good("records", "pack", "log", "-D", "samples")
    assert "12 records" in packed.stderr
    good("records", "unpack", "log.llmr", "-o", "again")
    assert pathlib.Path("again").read_bytes() == LINES
    assert good("records", "get", "log.llmr", "3", "10-11").stdout_bytes == b"".join(
        event(n) + b"\n" for n in (3, 10, 11)
    )
    good("records", "test", "log.llmr")
    listed = json.loads(good("records", "list", "log.llmr", "--json").stdout)
    assert (listed["records"], listed["framing"], listed["damage"]) == (12, "lines", None)
    assert "records           12\n" in good("records", "list", "log.llmr").stdout


@pytest.mark.parametrize(
    ("framing", "data"),
    [
        ("--lines", b""),
        ("--lines", b"\n\n"),
        ("--lines", b"one\r\n\ntwo, without an end"),
        ("--null", b"one\0two\nlines\0"),
        ("--null", b"\0\0x"),
        ("--lengths", b"\3one\0\4a\nb\0"),
    ],
)
def test_any_file_comes_back(framing: str, data: bytes) -> None:
    packed = good("records", "pack", framing, "-q", given=data)
    assert packed.stderr == ""
    pathlib.Path("packed.llmr").write_bytes(packed.stdout_bytes)
    good("records", "unpack", "packed.llmr")
    assert pathlib.Path("packed").read_bytes() == data


def test_a_dictionary_that_stays_outside_is_asked_for() -> None:
    good("records", "pack", "log", "-D", "samples", "--no-embed", "-o", "out")
    missing = run("records", "get", "out", "0")
    assert missing.exit_code == 1
    assert "--dictionary" in missing.stderr
    assert good("records", "get", "out", "0", "-D", "samples").stdout_bytes == event(0) + b"\n"


def test_an_archive_is_no_damaged_file() -> None:
    good("records", "pack", "log", "-D", "samples")
    listed = run("-l", "log.llmr")
    assert (listed.exit_code, listed.stdout) == (1, "")
    assert "`llmzip records` reads it" in listed.stderr
    for arguments in (["repair", "log.llmr", "-o", "out"], ["-t", "--keep-going", "log.llmr"]):
        refused = run(*arguments)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert "records unpack --keep-going" in refused.stderr
        assert refused.stderr.count("\n") == 1
    assert not pathlib.Path("out").exists()


def test_what_is_sound_of_a_damaged_archive() -> None:
    good("records", "pack", "log", "-D", "samples", "--check", "2")
    path = pathlib.Path("log.llmr")
    data = bytearray(path.read_bytes())
    data[-60] ^= 4
    path.write_bytes(data)
    whole = run("records", "unpack", "log.llmr", "-o", "again")
    assert whole.exit_code == 1
    assert not pathlib.Path("again").exists()
    rest = run("records", "unpack", "log.llmr", "-o", "again", "--keep-going")
    assert rest.exit_code == 1
    kept = pathlib.Path("again").read_bytes().splitlines()
    assert len(kept) == 11
    assert {*kept} < {*LINES.splitlines()}
    assert run("records", "test", "log.llmr").exit_code == 1
    path.write_bytes(path.read_bytes()[:-20])
    assert "damage" in run("records", "list", "log.llmr").stdout


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("records", "pack", "log", "-o", "log"), 1, "is also the input"),
        (("records", "pack", "none"), 1, "No such file"),
        (("records", "pack", "log", "-o", "samples"), 1, "-f overwrites"),
        (("records", "unpack", "log"), 1, "unknown suffix"),
        (("records", "unpack", "log", "-o", "x"), 1, "not a records archive"),
        (("records", "list", "log"), 1, "not a records archive"),
        (("records", "get", "log", "x"), 1, "not a records archive"),
        (("dictionary", "train", "log", "-o", "log"), 1, "is also the input"),
        (("dictionary", "train", "log", "-o", "x", "--size", "0"), 2, "a dictionary of 0 bytes"),
        (("dictionary", "train", "log", "-o", "x", "--size", "20"), 1, "larger dictionary"),
        (("dictionary", "train", "few", "-o", "x"), 1, "ten or more"),
    ],
)
def test_mistakes_are_said(args: tuple[str, ...], code: int, said: str) -> None:
    pathlib.Path("few").write_bytes(b"a\nb\n")
    result = run(*args)
    assert result.exit_code == code
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_numbers_that_are_none() -> None:
    good("records", "pack", "log", "-q")
    for number, code in (("12", 1), ("90-", 1), ("3-1", 2), ("x", 2), ("-1", 2), ("1-", 0)):
        assert run("records", "get", "log.llmr", "--", number).exit_code == code


def test_llmzip_says_what_reads_archives() -> None:
    good("records", "pack", "log", "-q")
    result = run("-t", "log.llmr")
    assert result.exit_code == 1
    assert "llmzip records" in result.stderr


# ---- standard input, appending, errors -----------------------------------------------------------


def test_archives_come_from_standard_input_too() -> None:
    good("records", "pack", "log", "-D", "samples")
    data = pathlib.Path("log.llmr").read_bytes()
    third = good("records", "get", "-", "3", given=data).stdout_bytes
    assert third == event(3) + b"\n"
    assert json.loads(good("records", "list", "-", "--json", given=data).stdout)["records"] == 12
    assert good("records", "unpack", "-", "-q", given=data).stdout_bytes == LINES
    good("records", "test", "-", given=data)
    wrong = run("records", "get", "-", "0", given=b"text")
    assert (wrong.exit_code, wrong.stderr[:14]) == (1, "llmzip: stdin:")


def test_records_are_appended() -> None:
    good("records", "pack", "log", "-D", "samples", "--check", "1")
    assert "2 records, 99 B ->" in good("records", "append", "log.llmr", given=LINES[:99]).stderr
    assert "1 record, " in good("records", "append", "log.llmr", given=event(7)).stderr
    pathlib.Path("empty").touch()
    good("records", "append", "log.llmr", "empty", "-q")
    good("records", "unpack", "log.llmr", "-o", "again")
    assert pathlib.Path("again").read_bytes() == LINES + LINES[:99] + b"\n" + event(7)
    good("records", "pack", "log", "-D", "samples", "--no-embed", "-o", "out")
    assert "--dictionary" in run("records", "append", "out", "log").stderr
    good("records", "append", "out", "log", "-D", "samples")
    assert len(split(good("records", "get", "out", "0-", "-D", "samples").stdout_bytes)) == 24


def test_what_cannot_be_appended() -> None:
    good("records", "pack", "log", "-q")
    before = pathlib.Path("log.llmr").read_bytes()
    for args, said in (
        (("-",), "has to be a file"),
        (("none",), "none: No such file"),
        (("log", "samples"), "log: byte 0: not a records archive"),
        (("log.llmr", "none"), "none: No such file"),
        (("log.llmr", "log.llmr"), "is also the input"),
    ):
        result = run("records", "append", *args)
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
        assert said in result.stderr
    pathlib.Path("log.llmr").write_bytes(before[:-1])
    assert "log.llmr: no index" in run("records", "append", "log.llmr", "log").stderr
    assert sorted(map(str, pathlib.Path().glob(".*"))) == []


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("get", "log.llmr", "99"), "log.llmr: 99: it has 12 records, and the first is 0"),
        (("list", "log"), "log: byte 0: not a records archive"),
        (("test", "cut.llmr"), "cut.llmr: no index ends at byte"),
        (("pack", "lengths", "--lengths"), "lengths: "),
        (("pack", "log", "-D", "lengths", "--lengths", "-o", "x"), "lengths: "),
        (("get", "log.llmr", "0", "-M", "1K"), "log.llmr: a record and its dictionary may need"),
    ],
)
def test_errors_name_their_file(args: tuple[str, ...], said: str) -> None:
    good("records", "pack", "log", "-q")
    pathlib.Path("cut.llmr").write_bytes(pathlib.Path("log.llmr").read_bytes()[:-9])
    pathlib.Path("lengths").write_bytes(b"\x09abc")
    result = run("records", *args)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"llmzip: {said}")


def test_a_line_says_which_records_are_lost_and_nothing_is_left_of_nothing() -> None:
    good("records", "pack", "log", "-q")
    path = pathlib.Path("log.llmr")
    data = bytearray(path.read_bytes())
    data[-60] ^= 4
    path.write_bytes(data)
    result = run("records", "unpack", "log.llmr", "-o", "again", "--keep-going")
    assert result.exit_code == 1
    assert "log.llmr: records 0 to 11 (12 records): " in result.stderr
    assert "log.llmr: no record of it could be saved" in result.stderr
    assert result.stderr.count("\n") == 2
    assert not pathlib.Path("again").exists()


def test_one_is_no_plural() -> None:
    packed = good("records", "pack", given=b"one\n")
    assert packed.stderr.startswith("llmzip: 1 record, 4 B -> ")
    pathlib.Path("one.llmr").write_bytes(packed.stdout_bytes)
    assert good("records", "unpack", "one.llmr").stderr == "llmzip: 1 record\n"
    assert "it has 1 record," in run("records", "get", "one.llmr", "1").stderr


# ---- dictionaries --------------------------------------------------------------------------------


def test_a_dictionary_is_trained_and_used() -> None:
    pathlib.Path("old").write_bytes(b"".join(event(n) + b"\n" for n in range(60, 100)))
    trained = good("dictionary", "train", "old", "-o", "best", "--size", "400")
    assert "8 held-out records" in trained.stderr
    best = split(pathlib.Path("best").read_bytes())
    assert {*best} <= {event(n) for n in range(60, 100)}
    assert 0 < sum(map(len, best)) + len(best) <= 400
    assert run("dictionary", "train", "old", "-o", "best").exit_code == 1
    good("records", "pack", "log", "-q")
    plain = pathlib.Path("log.llmr").stat().st_size
    good("records", "pack", "log", "-q", "-f", "-D", "best", "--no-embed")
    assert pathlib.Path("log.llmr").stat().st_size < 0.8 * plain
    good("-D", "best", "log")


def test_training_finds_what_others_share() -> None:
    """Most samples are noise, but those that are held out: an even choice mostly gets noise."""
    draw = random.Random(3)
    samples = [
        event(n) if n % 5 == 0 or n % 7 == 3 else draw.randbytes(12).hex().encode()
        for n in range(60)
    ]
    trained = train(samples, 150, model=tiny())
    assert trained.with_bytes <= min(trained.even_bytes, trained.without_bytes)
    assert trained.chosen == "covering"
    assert b"function" in trained.dictionary.samples[-1]
    again = train(samples, 150, model=tiny())
    assert again.dictionary.samples == trained.dictionary.samples
    with pytest.raises(LLMZipError, match="too few"):
        train(samples[:9], model=tiny())
    with pytest.raises(ValueError, match="a dictionary of"):
        train(samples, 1 << 21, model=tiny())


def test_a_dictionary_that_helps_nobody_is_not_written() -> None:
    draw = random.Random(3)
    pathlib.Path("noise").write_bytes(b"".join(b"\x10" + draw.randbytes(16) for _ in range(40)))
    result = run("dictionary", "train", "noise", "-o", "best", "--size", "60", "-q", "--lengths")
    assert result.exit_code == 1
    assert "noise: no dictionary of these samples helps, so none is written" in result.stderr
    assert not pathlib.Path("best").exists()


def test_archives_of_the_command_line_are_those_of_python() -> None:
    good("records", "pack", "log", "-q", "-m", str(TINY_DIRECTORY))
    with RecordReader("log.llmr", model=tiny()) as reader:
        assert list(reader) == LINES.splitlines()


def test_spans_of_records_are_as_those_of_bytes() -> None:
    good("records", "pack", "log", "-q")
    ends = b"".join(event(n) + b"\n" for n in (10, 11))
    assert good("records", "get", "log.llmr", "10-").stdout_bytes == ends
    backwards = run("records", "get", "log.llmr", "5-3")
    assert backwards.exit_code == 2
    assert "ends before it begins" in backwards.stderr


def test_training_writes_to_standard_output_and_refuses_before_the_work() -> None:
    assert good("dictionary", "train", "log", "-o", "-", "-q").stdout_bytes.startswith(b"{")
    assert not pathlib.Path("-").exists()
    taken = run("dictionary", "train", "log", "-o", "samples")
    assert taken.exit_code == 1
    assert "measuring" not in taken.stderr
