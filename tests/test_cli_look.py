"""To look into files: spans of lines and bytes, grep, diff and less on decompressed text."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import llmzip
from llmzip.blocks.decoder import BlockDecoder
from tests.command import LLMZIP, folder, process, run, run_with_output, tree  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("folder")

LINES = [f"line {number}, of a log with some words\n".encode() for number in range(1, 2501)]
LOG = b"".join(LINES)


@pytest.fixture
def log(request: pytest.FixtureRequest) -> None:
    """A text in blocks of 100 lines, one in blocks of bytes, and one that is not compressed."""
    request.getfixturevalue("folder")
    Path("log").write_bytes(LOG)
    assert run("--codec", "zstd", "--block-lines", "100", "log").exit_code == 0
    assert run("--codec", "zstd", "--block-size", "3000", "-o", "cut.llmz", "log").exit_code == 0


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the blocks that get decoded."""
    sizes: list[int] = []
    attempt = BlockDecoder.attempt

    def noted(self: BlockDecoder, block: llmzip.container.block.Block) -> bytes:
        sizes.append(block.size)
        return attempt(self, block)

    monkeypatch.setattr(BlockDecoder, "attempt", noted)
    return sizes


# ---- spans ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize("name", ["log.llmz", "cut.llmz", "log"])
def test_spans_of_bytes(name: str) -> None:
    for first, last in ((0, 0), (0, 10), (2990, 3010), (50_000, 10**9), (10**9, 10**9 + 1)):
        expected = LOG[first : last + 1]
        span = f"--bytes={first}-{last}"
        assert run_with_output("cat", "-f", span, name).stdout == expected
        assert process("cat", "-f", span, input=Path(name).read_bytes()).stdout == expected
    assert run_with_output("cat", "-f", "--bytes", "70000-", name).stdout == LOG[70_000:]
    assert run_with_output("cat", "-f", "--bytes=7", name, name).stdout == LOG[7:8] * 2


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize("options", [[], ["--block-lines=100"]])
@pytest.mark.parametrize("name", ["log.llmz", "log"])
def test_spans_of_lines(name: str, options: list[str]) -> None:
    for first, last in ((1, 1), (100, 101), (99, 301), (2500, 2500), (2401, 9999), (2501, 2502)):
        found = run_with_output("cat", "-f", f"--lines={first}-{last}", *options, name)
        assert found.stdout == b"".join(LINES[first - 1 : last])
    assert run_with_output("cat", "-f", "--lines=2450-", *options, name).stdout == b"".join(
        LINES[2449:]
    )
    assert run_with_output("cat", "-f", "--lines=12", *options, name).stdout == LINES[11]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    text=st.lists(st.sampled_from([b"", b"a", b"bc" * 40]), max_size=40).map(b"\n".join),
    block_lines=st.integers(1, 9),
    first=st.integers(1, 45),
    count=st.integers(1, 20),
)
def test_spans_of_any_lines(text: bytes, block_lines: int, first: int, count: int) -> None:
    packed = llmzip.compress(text, codec="raw", block_lines=block_lines)
    Path("any.llmz").write_bytes(packed)
    assert llmzip.decompress(packed) == text
    expected = b"".join(text.splitlines(keepends=True)[first - 1 : first - 1 + count])
    span = f"--lines={first}-{first + count - 1}"
    for options in ([], ["--block-lines", str(block_lines)]):
        assert run_with_output("cat", span, *options, "any.llmz").stdout == expected


@pytest.mark.usefixtures("log")
def test_only_the_blocks_of_a_span_are_decoded(decoded: list[int]) -> None:
    blocks = [sum(map(len, LINES[first : first + 100])) for first in range(0, 2500, 100)]
    for arguments, expected in (
        (["--lines=901-1000", "--block-lines=100"], blocks[9:10]),
        (["--lines=950-1001", "--block-lines=100"], blocks[9:11]),
        (["--lines=150-160"], blocks[:2]),
        (["--bytes=0-9"], blocks[:1]),
        ([f"--bytes={sum(blocks[:20])}-{sum(blocks[:21]) - 1}"], blocks[20:21]),
    ):
        decoded.clear()
        assert run("cat", *arguments, "log.llmz").exit_code == 0
        assert decoded == expected


@pytest.mark.usefixtures("log")
def test_the_lines_of_blocks_are_checked() -> None:
    for name, number in (("log.llmz", 99), ("log.llmz", 50), ("log.llmz", 200), ("cut.llmz", 100)):
        result = run("cat", "--lines=500-510", f"--block-lines={number}", name)
        assert result.exit_code == 1
        assert "line ends, not" in result.stderr
        assert result.stdout == ""
    # Where files are joined, a block may have fewer: that would move all lines behind it.
    part = llmzip.compress(b"".join(LINES[:150]), codec="raw", block_lines=100)
    whole = llmzip.compress(b"".join(LINES[:200]), codec="raw", block_lines=100)
    Path("part.llmz").write_bytes(part + whole)
    Path("whole.llmz").write_bytes(whole + part)
    assert (
        "block 2 holds 50 line ends"
        in run("cat", "--lines=301", "--block-lines=100", "part.llmz").stderr
    )
    assert (
        run_with_output("cat", "--lines=301", "--block-lines=100", "whole.llmz").stdout
        == LINES[100]
    )


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("--lines=0-1", 2, "the first line is 1"),
        ("--lines=5-4", 2, "ends before it begins"),
        ("--lines=x", 2, "is no span"),
        ("--bytes=-5", 2, "is no span"),
        ("--lines=1 --bytes=1", 2, "exclude each other"),
        ("--block-lines=5", 2, "--block-lines finds --lines"),
        ("--lines=1 --keep-going", 2, "for whole files"),
    ],
)
def test_what_is_no_span(arguments: str, code: int, said: str) -> None:
    result = run("cat", *arguments.split(), "log.llmz")
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr


def test_lines_of_blocks_in_a_pipe_and_in_a_damaged_file() -> None:
    packed = llmzip.compress(LOG, codec="raw", block_lines=100)
    result = process("cat", "--lines=1", "--block-lines=100", input=packed)
    assert result.returncode == 1
    assert b"can be read anywhere" in result.stderr
    Path("bad.llmz").write_bytes(packed[:-200])
    assert run_with_output("cat", "--bytes=0-5", "bad.llmz").stdout == LOG[:6]
    damaged = run("cat", "--bytes=99000-", "bad.llmz")
    assert damaged.exit_code == 1
    assert "`llmzip repair`" in damaged.stderr


# ---- blocks of lines -----------------------------------------------------------------------------


def test_blocks_of_lines() -> None:
    mixed = b"".join(LINES[:120]) + bytes(range(256)) * 40 + b"".join(LINES[120:])
    for text in (LOG, mixed):
        for mode in ("whole", "pieces"):
            compressor = llmzip.LLMZipCompressor(codec="zstd", block_lines=100)
            step = len(text) if mode == "whole" else 777
            packed = b"".join(
                compressor.compress(text[at : at + step]) for at in range(0, len(text), step)
            )
            packed += compressor.flush()
            assert llmzip.decompress(packed) == text
            Path("x.llmz").write_bytes(packed)
            for first in (1, 101, 1234):
                expected = text.split(b"\n")[first - 1] + b"\n"
                found = run_with_output("cat", f"--lines={first}", "--block-lines=100", "x.llmz")
                assert found.stdout == expected


def test_lines_that_do_not_fit_into_a_block() -> None:
    with pytest.raises(llmzip.LLMZipError, match="100 lines do not fit into a block of 1,024"):
        llmzip.compress(LOG, codec="raw", block_lines=100, block_size=1024)
    Path("log").write_bytes(LOG)
    before = tree()
    assert run("--block-lines=100", "--block-size=1K", "log").exit_code == 1
    assert tree() == before
    # What is left at the end may be any number.
    llmzip.compress(LOG[:1024], codec="raw", block_lines=100, block_size=1024)
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="it has 1 or more"):
            llmzip.compress(b"", block_lines=wrong)


# ---- grep ----------------------------------------------------------------------------------------


def both(*arguments: str) -> tuple[subprocess.CompletedProcess[bytes], ...]:
    """What grep does on the files, and what we do on them when they are compressed."""
    plain = subprocess.run(["grep", *arguments], capture_output=True, timeout=300)
    packed = [word + ".llmz" if word in ("x", "y", "sub/z") else word for word in arguments]
    return plain, run_with_output("grep", *packed)


@pytest.fixture
def texts(request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("folder")
    for name, text in {
        "x": b"To be, or not to be\nthat is the question:\nWhether 'tis nobler -e x\n",
        "y": b"nothing here\n",
        "sub/z": b"be a.b\nBE axb\n\xff\xfe no text\n",
    }.items():
        Path(name).write_bytes(text)
        assert run("--codec", "raw", name).exit_code == 0


@pytest.mark.usefixtures("texts")
@pytest.mark.parametrize(
    "arguments",
    [
        "be x",
        "be x y sub/z",
        "-i -n be x y",
        "-in be x y",
        "-c be x y",
        "-l be x y",
        "-L be x y",
        "-h be x y",
        "-H be x",
        "-v be x",
        "-o [bt]e x",
        "-F a.b -a sub/z",
        "-a a.b sub/z",
        "-aE (a.b|xx)+ sub/z",
        "-w not x",
        "-m1 e x y",
        "-m 1 e x y",
        "--max-count 1 e x y",
        "--max-c=1 e x y",
        "-A1 To x",
        "-1 that x y",
        "-e be -e here x y",
        "-ebe x",
        "-nf patterns x y",
        "--file=patterns x",
        "-q be x",
        "-q be y",
        "-e -e x",
        "--regexp=-e x",
        "be -- x",
        "-- -e x",
        "x -n -e be",
        "--color=always be x",
        "-Z -l be x",
        "be sub/z",
        "missing x y",
    ],
)
def test_grep_is_grep(arguments: str) -> None:
    Path("patterns").write_text("nobler\nhere\n")
    plain, packed = both(*arguments.split())
    assert packed.returncode == plain.returncode
    for name in (b"x", b"y", b"z"):
        plain.stdout = plain.stdout.replace(b"sub/z" if name == b"z" else name, b"?")
    out = packed.stdout.replace(b".llmz", b"")
    for name in (b"x", b"y", b"z"):
        out = out.replace(b"sub/z" if name == b"z" else name, b"?")
    assert out == plain.stdout
    assert packed.stderr == b""


@pytest.mark.usefixtures("texts")
def test_grep_of_standard_input_and_of_plain_files() -> None:
    packed = Path("x.llmz").read_bytes()
    assert process("grep", "-c", "be", input=packed).stdout == b"1\n"
    assert process("grep", "-H", "be", "-", input=packed).stdout.startswith(b"(standard input):To")
    assert process("grep", "be", "x", "y.llmz", "x.llmz").stdout.count(b"To be") == 2
    assert process("grep", "-f", "-", "x.llmz", "x", input=b"nobler\n").stdout.count(b"\n") == 2
    named = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -m llmzip grep -hf <(echo nobler) x.llmz x'],
        capture_output=True,
        timeout=300,
    )
    assert named.stdout.count(b"nobler") == 2
    assert process("grep", "-vcf", "/dev/null", "x.llmz").stdout == b"3\n"


@pytest.mark.usefixtures("texts")
def test_trouble_of_grep() -> None:
    for arguments, said in (
        (["be", "missing", "x.llmz"], b"llmzip: missing: No such file"),
        (["be", "sub", "x.llmz"], b"llmzip: sub: is a directory: skipped (find FOLDER -name"),
        (["-r", "be", "sub"], b"-r is not there"),
        (["[", "x.llmz", "y.llmz"], b"grep: "),
        ([], b"which PATTERN?"),
        (["-e"], b"option -e needs a value"),
        (["--threads=x", "be", "x.llmz"], b"'x' is not a whole number"),
    ):
        result = run_with_output("grep", *arguments)
        assert result.returncode == 2
        assert said in result.stderr
        assert result.stderr.count(b"grep: ") <= 1
        assert (b"To be" in result.stdout) is (arguments[:1] == ["be"])
    assert run_with_output("grep", "junk", "junk.llmz").stdout.count(b"junk") == 10
    damaged = Path("x.llmz").read_bytes()
    Path("x.llmz").write_bytes(damaged[:-1])
    assert run_with_output("grep", "-q", "nowhere", "x.llmz").returncode == 2
    assert run_with_output("grep", "-s", "be", "missing").stderr == b""
    assert run_with_output("grep", "-q", "be", "y.llmz", "missing", "x").returncode == 0


def test_grep_reads_no_more_than_it_needs() -> None:
    Path("log").write_bytes(LOG * 40)
    assert run("--codec", "raw", "--block-size", "20000", "log").exit_code == 0
    packed = bytearray(Path("log.llmz").read_bytes())
    packed[-70_000] ^= 1  # never reached
    Path("log.llmz").write_bytes(packed)
    for arguments in (["-q", "line"], ["-l", "line"], ["-m1", "line"]):
        result = run_with_output("grep", *arguments, "log.llmz")
        assert (result.returncode, result.stderr) == (0, b"")
    assert run_with_output("grep", "-c", "line", "log.llmz").returncode == 2


# ---- diff and less -------------------------------------------------------------------------------


@pytest.mark.usefixtures("texts")
def test_diff() -> None:
    def expected(*arguments: str) -> tuple[int, bytes]:
        done = subprocess.run(["diff", *arguments], capture_output=True)
        return done.returncode, done.stdout

    def found(*arguments: str) -> tuple[int, bytes]:
        done = run_with_output("diff", *arguments)
        assert done.stderr == b""
        return done.returncode, done.stdout

    assert found("x.llmz", "y.llmz") == expected("x", "y")
    assert found("-q", "x.llmz", "x") == (0, b"")
    assert found("x.llmz") == (0, b"")
    assert found("-u", "-L", "one", "--label=two", "x.llmz", "y") == expected(
        "-u", "-L", "one", "--label=two", "x", "y"
    )
    code, text = found("-U", "1", "x.llmz", "y.llmz")
    assert code == 1
    assert text.startswith(b"--- x.llmz\n+++ y.llmz\n@@")
    Path("x").write_bytes(b"changed\n")
    assert found("x.llmz")[0] == 1
    assert process("diff", "x.llmz", "-", input=Path("y.llmz").read_bytes()).returncode == 1
    for arguments in (["missing", "x"], ["sub", "x"], ["x"], [], ["x", "y", "y"], ["-", "-"]):
        assert run_with_output("diff", *arguments).returncode == 2, arguments


@pytest.mark.skipif(not shutil.which("less"), reason="needs less")
@pytest.mark.usefixtures("texts")
def test_less() -> None:
    result = subprocess.run(
        [*LLMZIP, "less", "--threads=1", "x.llmz", "y"], capture_output=True, timeout=300
    )
    assert result.stdout == Path("x").read_bytes() + Path("y").read_bytes()
    piped = subprocess.run(
        [*LLMZIP, "less"], input=Path("x.llmz").read_bytes(), capture_output=True, timeout=300
    )
    assert piped.stdout == Path("x").read_bytes()


@pytest.mark.usefixtures("texts")
def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    for arguments, code in ((["grep", "x"], 2), (["diff", "x.llmz"], 2), (["less", "x.llmz"], 2)):
        result = process(*arguments, input=b"")
        assert result.returncode == code
        assert f"needs the program {arguments[0]}".encode() in result.stderr


def test_help_of_the_wrapping_commands() -> None:
    for name in ("grep", "diff", "less"):
        result = run(name, "--help")
        assert result.exit_code == 0
        assert f"Usage: llmzip {name} [OPTION OF" in result.stdout


def test_a_wrong_number_of_lines_is_noticed_at_the_end(log: None) -> None:
    for first in (12_050, 50_000):
        result = run("cat", f"--lines={first}-", "--block-lines=500", "log.llmz")
        assert (result.exit_code, result.stdout) == (1, ""), first
        assert "holds 100 line ends, not 500" in result.stderr


def test_diff_names_the_file_that_it_cannot_read() -> None:
    result = run("diff", ".", "missing")
    assert result.exit_code == 2
    assert result.stderr.startswith("llmzip: .: is a directory")
