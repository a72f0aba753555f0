"""The command line: as a process where signals, pipes and terminals matter, else in this one."""

from __future__ import annotations

import dataclasses
import json
import os
import pty
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import click.testing
import pytest

import llmzip.streams
from llmzip.blocks import decoder as block_decoder
from llmzip.blocks import options as block_options
from llmzip.blocks.options import CompressionOptions
from llmzip.cli import files, options
from llmzip.cli.command import Command
from llmzip.cli.execute import execute
from llmzip.cli.sizes import format_size, parse_size
from llmzip.engine_loader import EngineLoader
from tests import tiny
from tests.command import LLMZIP, MTIME_NS, NOISE, folder, process, run, tree  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("folder")


# ---- what each command line does -----------------------------------------------------------------

CASES = [
    # arguments, exit code, a part of what is said, new files
    ("a", 0, "", {"a.llmz"}),
    ("compress a", 0, "", {"a.llmz"}),
    ("-z -k -9 -T4 -q a", 0, "", {"a.llmz"}),
    ("--codec xz a", 0, "", {"a.llmz"}),
    ("-v a", 0, "llmzip: a: 3,000 -> ", {"a.llmz"}),
    ("-vq a", 0, "", {"a.llmz"}),
    ("-o out a", 0, "", {"out"}),
    ("-r sub", 0, "", {"sub/b.llmz", "sub/deep/c.llmz"}),
    ("-d packed/a.llmz", 0, "", {"packed/a"}),
    ("decompress packed/a.llmz", 0, "", {"packed/a"}),
    ("-dr packed", 0, "", {"packed/a"}),
    ("-do out packed/a.llmz", 0, "", {"out"}),
    ("-t packed/a.llmz", 0, "", set()),
    ("test -v packed/a.llmz", 0, "OK, ", set()),
    ("-f link", 0, "", {"link.llmz"}),
    ("-f packed/a.llmz", 0, "", {"packed/a.llmz.llmz"}),
    # Not done: said in one line, and the exit code is 1.
    ("missing", 1, "llmzip: missing: No such file or directory", set()),
    ("missing a", 1, "llmzip: missing: ", {"a.llmz"}),
    ("-- -d", 1, "llmzip: -d: No such file", set()),
    ("packed/a.llmz", 1, "llmzip: packed/a.llmz: already has the suffix .llmz: skipped", set()),
    ("-d a", 1, "llmzip: a: unknown suffix (.llmz expected); name the output with -o", set()),
    ("link", 1, "llmzip: link: is a symbolic link: skipped", set()),
    ("sub", 1, "llmzip: sub: is a directory: skipped (-r ", set()),
    ("-o sub a", 1, "llmzip: sub: Is a directory", set()),
    ("pipe", 1, "llmzip: pipe: is not a regular file: skipped", set()),
    ("--rm -o out pipe", 1, "llmzip: pipe: is not a regular file: skipped", set()),
    ("-fo a a", 1, "llmzip: a: is also the output", set()),
    ("-o junk.llmz a", 1, "llmzip: junk.llmz: already exists; -f overwrites it", set()),
    ("-o missing/out a", 1, "llmzip: missing/out: No such file or directory", set()),
    ("-d junk.llmz", 1, "llmzip: junk.llmz: ", set()),
    ("-t junk.llmz packed/a.llmz", 1, "llmzip: junk.llmz: ", set()),
    ("-l junk.llmz", 1, "llmzip: junk.llmz: ", set()),
    ("--max-output 1KiB -d packed/a.llmz", 1, "llmzip: packed/a.llmz: ", set()),
    ("-o /dev/full a", 1, "llmzip: /dev/full: No space left on device", set()),
    ("--rm -o /dev/null a", 1, "llmzip: a: --rm needs an output that can be read back", set()),
    # Usage errors.
    ("--unknown a", 2, "--unknown", set()),
    ("--level 10 a", 2, "'10' is not a whole number from 1 to 9.", set()),
    ("-T x a", 2, "'x' is not a whole number, 0 or more.", set()),
    ("--codec brotli a", 2, "'brotli' is not one of", set()),
    ("--block-size 64KB a", 2, "'64KB' is not a size", set()),
    ("--block-size 1 a", 2, "block size", set()),
    ("-co out a", 2, "exclude each other", set()),
    ("-o out a sub/b", 2, "one input", set()),
    ("-ro out sub", 2, "one input", set()),
    ("--rm -c a", 2, "--rm needs", set()),
    ("list --level 3 a", 2, "--level", set()),
]


@pytest.mark.parametrize(
    ("arguments", "code", "said", "new"), CASES, ids=[case[0] for case in CASES]
)
def test_case(arguments: str, code: int, said: str, new: set[str]) -> None:
    before = tree()
    result = run(*arguments.split())
    assert result.exit_code == code, result.output
    assert said in result.stderr
    if code == 0 and not said:
        assert result.output == ""
    if code == 1:
        assert result.stderr.count("\n") == 1
    assert tree() == before | new
    for name in new:
        path = Path(name)
        assert (path.read_bytes() == NOISE) is (
            ".llmz" not in name and "-d" in arguments.replace("decompress", "-d")
        )


def test_what_is_decompressed_is_what_was_compressed() -> None:
    assert run("a").exit_code == 0
    Path("a").unlink()
    assert run("-d", "a.llmz").exit_code == 0
    assert Path("a").read_bytes() == NOISE


def test_mode_and_time_are_kept_and_a_pipe_follows_the_umask() -> None:
    run("a")
    status = Path("a.llmz").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o640, MTIME_NS)
    process("-o", "piped", input=NOISE, umask=0o026)
    assert stat.S_IMODE(Path("piped").stat().st_mode) == 0o640


@pytest.mark.parametrize(("mode", "copied"), [(0o640, 0o600), (0o664, 0o644), (0o604, 0o600)])
def test_a_foreign_group_gets_no_more_than_everybody(
    monkeypatch: pytest.MonkeyPatch, mode: int, copied: int
) -> None:
    def refuse(*args: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "chown", refuse)
    Path("a").chmod(mode)
    run("a")
    assert stat.S_IMODE(Path("a.llmz").stat().st_mode) == copied


def test_an_existing_file_is_overwritten_only_by_force() -> None:
    Path("a.llmz").write_bytes(b"precious")
    assert run("a").exit_code == 1
    assert Path("a.llmz").read_bytes() == b"precious"
    assert run("-f", "a").exit_code == 0
    assert Path("a.llmz").read_bytes() == Path("packed/a.llmz").read_bytes()


def test_a_dangling_link_is_an_existing_file() -> None:
    Path("a.llmz").symlink_to("nowhere")
    assert run("a").exit_code == 1
    assert "nowhere" not in tree()


def test_a_file_that_appears_meanwhile_is_not_overwritten() -> None:
    with pytest.raises(FileExistsError), files.writing(Path("out"), force=False, like=None) as sink:
        sink.write(b"new")
        Path("out").write_bytes(b"precious")
    assert Path("out").read_bytes() == b"precious"
    assert not [name for name in tree() if name.endswith(".tmp")]


def test_a_file_system_without_hard_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert run("a").exit_code == 0
    assert "a.llmz" in tree()


def test_a_folder_that_cannot_be_entered_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def scandir(path: os.PathLike[str]) -> Any:
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    real = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    result = run("-r", "sub")
    assert (result.exit_code, result.stderr) == (1, "llmzip: sub/deep: Permission denied\n")
    assert Path("sub/b.llmz").exists()


# ---- --rm ----------------------------------------------------------------------------------------


def test_rm_removes_what_was_verified() -> None:
    assert run("--rm", "a").exit_code == 0
    assert not Path("a").exists()
    assert run("--rm", "-d", "a.llmz").exit_code == 0
    assert Path("a").read_bytes() == NOISE
    assert not Path("a.llmz").exists()


@pytest.mark.parametrize("wrong", [NOISE[:-1], NOISE + b"x", NOISE[:-1] + b"x"])
def test_rm_keeps_both_when_the_output_is_wrong(
    monkeypatch: pytest.MonkeyPatch, wrong: bytes
) -> None:
    monkeypatch.setattr(
        llmzip.streams, "decompress_with", lambda decoder, source, sink: sink.write(wrong)
    )
    before = tree()
    result = run("--rm", "a")
    assert result.exit_code == 1
    assert (
        result.stderr.startswith("llmzip: a: what was written decodes to")
        or "does not decode" in result.stderr
    )
    assert tree() == before


def test_rm_leaves_a_pipe_alone() -> None:
    assert process("--rm", "-o", "out", input=NOISE).returncode == 0
    assert process("-dc", "out").stdout == NOISE


# ---- with a model --------------------------------------------------------------------------------

TEXT = b" the and the and on a the in the and"


def compress_text() -> None:
    """Compress TEXT with a tiny model."""
    tiny.write_directory(Path("tiny"), tiny.make())
    Path("text").write_bytes(TEXT)
    assert run("-q", "-m", "tiny", "--offline", "text").exit_code == 0


def test_a_file_knows_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    compress_text()
    assert process("-dc", "text.llmz").stdout == TEXT
    # The choice for compression, which decompression does not look at.
    monkeypatch.setenv("LLMZIP_MODEL", "no/such")
    assert run("-t", "text.llmz").exit_code == 0
    assert run("-o", "out", "text").exit_code == 1
    monkeypatch.setenv("LLMZIP_MODEL", "tiny")
    assert run("-o", "out", "text").exit_code == 0
    assert Path("out").read_bytes() == Path("text.llmz").read_bytes()


def test_list_shows_the_model() -> None:
    compress_text()
    (record,) = json.loads(run("-l", "--json", "text.llmz").stdout)
    (name,) = record["models"]
    assert record["frames"][0]["codecs"] == ["llm"]
    listed = run("-lv", "text.llmz").stdout
    assert name[:12] in listed.splitlines()[1]
    assert f"model: {name}" in listed.splitlines()[2]


def test_limits() -> None:
    compress_text()
    for limit in ("--max-memory=1KiB", "--max-output=20"):
        result = run(limit, "-d", "-o", "out", "text.llmz")
        assert result.exit_code == 1
        assert "raise the limit" in result.stderr
    assert "out" not in tree()


def test_a_missing_model_is_named_and_not_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    compress_text()
    monkeypatch.setenv("LLMZIP_CACHE", "elsewhere")
    for args in (["-d", "-o", "out", "text.llmz"], ["--offline", "-o", "out", "text"]):
        result = process(*args)
        assert result.returncode == 1
        assert b"`llmzip models pull " in result.stderr
        assert result.stderr.count(b"\n") == 1
    assert "out" not in tree()


# ---- options that the library gets ---------------------------------------------------------------


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The options of the library's last call, which does nothing but announce a download."""
    found: dict[str, Any] = {}

    def with_options(options: CompressionOptions, **given: Any) -> None:
        found.update(given, **dataclasses.asdict(options))

    def decoder(loader: EngineLoader, **given: Any) -> None:
        found.update(given, runtime=loader.runtime)

    def stream(*files: Any, **given: Any) -> llmzip.streams.Totals:
        found.update(given)
        if download := found["runtime"].download_progress:
            for done in (0, 50, 100):
                download("download", done, 100)
        return llmzip.streams.Totals(0, 0, 0, 1)

    monkeypatch.setattr(llmzip.LLMZipCompressor, "with_options", with_options)
    monkeypatch.setattr(llmzip.streams, "compress_with", stream)
    monkeypatch.setattr(block_decoder, "BlockDecoder", decoder)
    monkeypatch.setattr(llmzip.streams, "decompress_with", stream)
    return found


def test_the_table_of_compression_has_the_fields_of_its_options() -> None:
    defaults = (
        click.Command("llmzip", params=[*options.COMPRESSION]).make_context("llmzip", []).params
    )
    assert {**defaults, "level": llmzip.DEFAULT_LEVEL} == dataclasses.asdict(CompressionOptions())


def test_a_field_and_a_row_of_the_table_are_an_option(
    received: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclasses.dataclass(frozen=True)
    class Extended(CompressionOptions):
        new: int = 0

    monkeypatch.setattr(block_options, "CompressionOptions", Extended)
    monkeypatch.setattr(
        options, "COMPRESSION", [*options.COMPRESSION, click.Option(["--new"], type=int)]
    )
    command = Command("compress", {"Compression": options.COMPRESSION}, callback=execute)
    click.testing.CliRunner().invoke(command, ["--new", "5", "a"])
    assert received["new"] == 5


def test_defaults(received: dict[str, Any]) -> None:
    result = run("a")
    assert result.stderr == "llmzip: downloading the language model (100 B, once)\n"
    received["runtime"] = dataclasses.replace(received["runtime"], download_progress=None)
    assert received == {
        **dataclasses.asdict(CompressionOptions()),
        "model": None,
        "dictionary": None,
        "runtime": llmzip.Runtime(download=True),
        "progress": None,
        "known": {},
    }


def test_decompression_ignores_what_is_for_compression_only(received: dict[str, Any]) -> None:
    """As gzip does; the command `decompress` does not have such options."""
    for arguments in (("--no-mixing",), ("--solid",), ("-9",), ("--codec", "raw")):
        assert run("-df", *arguments, "packed/a.llmz").exit_code == 0
        assert received.keys().isdisjoint(dataclasses.asdict(CompressionOptions()))
        assert run("decompress", *arguments, "packed/a.llmz").exit_code == 2


def test_clusters_and_values(received: dict[str, Any]) -> None:
    assert (
        run(
            "-3qkcf",
            "-9kcfT4",
            "-j3",
            "-mtiny",
            "--offline",
            "--block-size=1.5MiB",
            "--engine=torch",
            "a",
        ).output
        == ""
    )
    assert (received["level"], received["model"], received["block_size"]) == (9, "tiny", 3 << 19)
    assert received["runtime"] == llmzip.Runtime(engine="torch", threads=4, jobs=3, offline=True)


def test_decompression_never_downloads(received: dict[str, Any]) -> None:
    assert (
        run("-d", "-M", "64M", "--max-output=1G", "--device=cuda", "packed/a.llmz").exit_code == 0
    )
    assert (received["max_memory"], received["max_output"]) == (64 << 20, 1 << 30)
    assert received["runtime"] == llmzip.Runtime(device="cuda")


def test_environment(received: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMZIP_LEVEL", "2")
    monkeypatch.setenv("LLMZIP_NUM_THREADS", "3")
    run("a")
    assert (received["level"], received["runtime"].threads) == (2, 3)
    run("-4", "-T1", "-f", "a")
    assert (received["level"], received["runtime"].threads) == (4, 1)
    monkeypatch.setenv("LLMZIP_JOBS", "5")
    run("-f", "a")
    assert received["runtime"].jobs == 5
    run("--jobs=0", "-f", "a")
    assert received["runtime"].jobs is None
    monkeypatch.setenv("LLMZIP_LEVEL", "12")
    assert run("-f", "a").exit_code == 2


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("4096", 4096), ("7B", 7), ("64K", 65536), ("64kib", 65536), ("1.5 GiB", 3 << 29)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "K", "-1", "1KB", "1e3", "1 000", "٣"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(click.BadParameter):
        parse_size(text)


def test_formatted_sizes() -> None:
    written = [format_size(size) for size in (0, 999, 1000, 1024, 10 << 10, 1023 << 10, 3 << 50)]
    assert written == ["0 B", "999 B", "0.98 KiB", "1.00 KiB", "10.0 KiB", "1.00 MiB", "3072 TiB"]


# ---- -l ------------------------------------------------------------------------------------------


def test_list() -> None:
    result = run("-l", "packed/a.llmz", "packed/a.llmz")
    title, first, _, last = result.stdout.splitlines()
    assert title.split() == [
        "Frames",
        "Compressed",
        "Uncompressed",
        "Ratio",
        "bits/byte",
        "Model",
        "Check",
        "Filename",
    ]
    assert first.split()[0] == "1"
    assert first.endswith("packed/a.llmz")
    assert last.split()[0] == "2"
    assert last.endswith("2 files")
    assert "frame 1: version " in run("-lv", "packed/a.llmz").stdout
    assert run("list", "packed/a.llmz").stdout == f"{title}\n{first}\n"


def test_list_as_json_goes_on_after_an_error() -> None:
    result = run("list", "--json", "junk.llmz", "packed/a.llmz")
    assert result.exit_code == 1
    (record,) = json.loads(result.stdout)
    assert record["filename"] == "packed/a.llmz"
    assert record["uncompressed_bytes"] == 3000
    assert record["compressed_bytes"] == Path("packed/a.llmz").stat().st_size
    assert record["bits_per_byte"] == pytest.approx(8 / record["ratio"])
    assert record["models"] == []
    assert sum(frame["uncompressed_size"] for frame in record["frames"]) == 3000


def test_list_reads_a_pipe() -> None:
    piped = subprocess.Popen(["cat", "packed/a.llmz"], stdout=subprocess.PIPE)
    with piped:
        assert process("-l", stdin=piped.stdout).stdout.endswith(b"stdin\n")


# ---- help, version, completion -------------------------------------------------------------------


def test_help_names_everything() -> None:
    text = run("--help").stdout
    for word in ("-z", "-1", "-9", "--rm", "--max-memory", "compress", "models", "-V"):
        assert word in text
    assert "--max-output" not in run("compress", "-h").stdout


def test_version() -> None:
    assert run("-V").stdout.startswith("llmzip")


def test_completion(monkeypatch: pytest.MonkeyPatch) -> None:
    def complete(words: str) -> list[str]:
        environment = {
            "_LLMZIP_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
        return process(env=os.environ | environment).stdout.decode().split()

    assert "plain,decompress" in complete("llmzip dec")
    assert "plain,--max-output" in complete("llmzip decompress --max")


def test_a_list_starts_without_the_engines() -> None:
    script = (
        "import sys; from llmzip.cli.main import llmzip; "
        "llmzip(['-l', 'packed/a.llmz'], standalone_mode=False)\n"
    )
    script += "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


# ---- pipes, full disks, terminals, signals -------------------------------------------------------


def test_filter() -> None:
    packed = process(input=NOISE)
    assert (packed.returncode, packed.stderr) == (0, b"")
    for args in (["-d"], ["decompress"], ["-dc", "-"], ["-d", "-o", "-"]):
        assert process(*args, input=packed.stdout).stdout == NOISE


def test_several_files_to_standard_output_are_one_stream() -> None:
    packed = process("-c", "a", "link", "-", input=b"").stdout
    assert process("-d", input=packed).stdout == NOISE * 2


@pytest.mark.skipif(not shutil.which("tar"), reason="needs tar")
def test_tar() -> None:
    program = " ".join(LLMZIP)
    subprocess.run(["tar", "-I", program, "-cf", "sub.tar.llmz", "sub"], check=True, timeout=300)
    Path("elsewhere").mkdir()
    subprocess.run(
        ["tar", "-I", program, "-xf", "sub.tar.llmz", "-C", "elsewhere"], check=True, timeout=300
    )
    assert Path("elsewhere/sub/deep/c").read_bytes() == NOISE


def test_a_full_disk() -> None:
    with Path("/dev/full").open("wb") as full:
        for args in (["-c", "a"], ["-l", "packed/a.llmz"], ["-l", "--json", "packed/a.llmz"]):
            result = process(*args, stdout=full, stderr=subprocess.PIPE)
            assert (result.returncode, result.stderr) == (
                1,
                b"llmzip: stdout: No space left on device\n",
            )


def test_a_file_that_may_not_grow_leaves_nothing() -> None:
    before = tree()
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # noqa: E731
    result = process("a", "-o", "out", preexec_fn=limit)
    assert (result.returncode, result.stderr) == (1, b"llmzip: out: File too large\n")
    assert tree() == before


def test_nobody_reads_the_output() -> None:
    for args in (["-dc", "packed/a.llmz"], ["-l", "packed/a.llmz"]):
        reading, writing = os.pipe()
        os.close(reading)
        result = process(*args, stdout=writing, stderr=subprocess.PIPE)
        os.close(writing)
        assert (result.returncode, result.stderr) == (-signal.SIGPIPE, b"")  # a shell says 141


@pytest.fixture
def terminal() -> Iterator[tuple[int, Callable[[], bytes]]]:
    """A terminal, and what was shown on it."""
    master, slave = pty.openpty()

    def shown() -> bytes:
        os.set_blocking(master, False)
        try:
            return os.read(master, 1 << 20)
        except BlockingIOError:
            return b""

    yield slave, shown
    os.close(slave)
    os.close(master)


def test_compressed_data_and_terminals(terminal: tuple[int, Callable[[], bytes]]) -> None:
    slave, shown = terminal
    for args in ([], ["-c", "a"]):
        result = process(*args, stdin=slave, stdout=slave, stderr=subprocess.PIPE)
        assert result.returncode == 1
        assert b"not written to a terminal" in result.stderr
        assert shown() == b""
    assert process("-cf", "a", stdout=slave).returncode == 0
    assert len(shown()) > len(NOISE)
    for args in (["-d"], ["-t"], ["-l"]):
        result = process(*args, stdin=slave)
        assert result.returncode == 1
        assert b"not read from a terminal" in result.stderr


def test_progress_is_for_terminals(
    terminal: tuple[int, Callable[[], bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    slave, shown = terminal
    process("-o", "one", "a", stdout=subprocess.DEVNULL, stderr=slave)
    assert b"\x1b[" in (text := shown())
    assert b"llmzip: a: 3,000 -> " in text
    process("-o", "two", "a", "--no-progress", stdout=subprocess.DEVNULL, stderr=slave)
    assert (text := shown()).startswith(b"llmzip: a: 3,000 -> ")
    assert b"\x1b[" not in text
    process("-o", "three", "a", "-q", stdout=subprocess.DEVNULL, stderr=slave)
    assert shown() == b""


@pytest.fixture
def heard_interrupts() -> Iterator[None]:
    """A shell has what it starts in the background ignore SIGINT, nohup SIGHUP, and what that
    starts inherits it.
    """
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGHUP, hangup)


@pytest.mark.usefixtures("heard_interrupts")
def test_an_interruption_while_modules_are_imported() -> None:
    """Ctrl-C right after the start: no traceback."""
    code = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "llmzip.cli.options":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.argv = ["llmzip", "--version"]
from llmzip.__main__ import main
main()
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (-signal.SIGINT, b"", b"")


@pytest.mark.usefixtures("heard_interrupts")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing(number: signal.Signals) -> None:
    before = tree()
    with subprocess.Popen(
        [*LLMZIP, "-o", "out"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        deadline = time.monotonic() + 60
        while tree() == before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert tree() > before  # the unfinished file
        running.send_signal(number)
        assert running.wait(60) == -number  # a shell says 130 for SIGINT, 143 for SIGTERM
        assert running.stderr is not None
        assert running.stderr.read() == b""
    assert tree() == before


@pytest.mark.usefixtures("heard_interrupts")
def test_a_second_signal_does_not_wait() -> None:
    script = """if True:
        import signal, time
        from llmzip.cli import signals
        signals.install(lambda: print("clean", flush=True))
        try:
            print("ready", flush=True)
            time.sleep(60)
        finally:
            print("slow", flush=True)
            time.sleep(60)
    """
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        running.send_signal(signal.SIGINT)
        assert running.stdout.readline() == b"slow\n"
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == -signal.SIGTERM
        assert running.stdout.read() == b"clean\n"


def test_an_ignored_signal_stays_ignored() -> None:
    script = (
        "from llmzip.cli import signals; signals.install(print); "
        "import signal; signal.raise_signal(1)"
    )
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    subprocess.run([sys.executable, "-c", script], check=True, preexec_fn=ignore)
