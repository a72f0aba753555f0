"""What a command line meets: closed and full streams, names that are no text, bad variables, the
remains of killed runs.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from llmzip import drafts
from llmzip.cli.paths import shown
from tests.command import LLMZIP, NOISE, folder, process, run, shell, tree  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("folder")

# ---- standard streams ----------------------------------------------------------------------------

FULL = "llmzip: stdout: No space left on device"
CLOSED = "llmzip: stdout: Bad file descriptor"
STREAMS = [
    # a line of a shell, exit code, what is said
    ("llmzip <&-", 1, "llmzip: stdin: Bad file descriptor"),
    ("llmzip -d <&-", 1, "llmzip: stdin: Bad file descriptor"),
    ("llmzip repair <&-", 1, "llmzip: stdin: Bad file descriptor"),
    ("llmzip -dc --keep-going <&-", 1, "llmzip: stdin: Bad file descriptor"),
    ("llmzip tokens compress <&-", 1, "llmzip: stdin: Bad file descriptor"),
    ("llmzip a <&-", 0, ""),
    ("llmzip a >&-", 0, ""),
    ("llmzip a 2>&-", 0, ""),
    ("llmzip a <&- >&- 2>&-", 0, ""),
    ("llmzip -t packed/a.llmz >&-", 0, ""),
    ("llmzip -c a >&-", 1, CLOSED),
    ("llmzip -l packed/a.llmz >&-", 1, CLOSED),
    ("llmzip --help >&-", 1, CLOSED),
    ("llmzip models list >&-", 1, CLOSED),
    ("llmzip --help >/dev/full", 1, FULL),
    ("llmzip --version >/dev/full", 1, FULL),
    ("llmzip models --help >/dev/full", 1, FULL),
    ("llmzip models list >/dev/full", 1, FULL),
    ("llmzip corpora list >/dev/full", 1, FULL),
    ("llmzip missing 2>&-", 1, ""),
    ("llmzip --bad 2>&-", 2, ""),
    ("llmzip missing 2>/dev/full", 1, ""),
    ("llmzip -v a 2>/dev/full", 0, ""),
    ("llmzip --bad 2>/dev/full", 2, ""),
    ("llmzip --help | true; exit ${PIPESTATUS[0]}", 141, ""),
]


@pytest.mark.parametrize(("line", "code", "said"), STREAMS, ids=[case[0] for case in STREAMS])
def test_streams(line: str, code: int, said: str) -> None:
    result = shell(line)
    assert (result.returncode, result.stderr.decode().rstrip("\n"), result.stdout) == (
        code,
        said,
        b"",
    )
    if line.startswith("llmzip a"):
        assert Path("a.llmz").read_bytes() == Path("packed/a.llmz").read_bytes()


def test_messages_do_not_land_in_the_data() -> None:
    assert shell("llmzip -cv a 2>&-").stdout == Path("packed/a.llmz").read_bytes()
    assert shell("llmzip -c missing a 2>&-").stdout == Path("packed/a.llmz").read_bytes()
    assert (
        shell("llmzip -o out -v a <&- >&- 2>&-; cat out").stdout
        == Path("packed/a.llmz").read_bytes()
    )


# ---- names ---------------------------------------------------------------------------------------

LATIN = os.fsdecode(b"caf\xe9.llmz")
STEERING = "\x1b[31mred\n.llmz"


@pytest.fixture
def named() -> None:
    """Files whose names are not UTF-8, not in a locale, or steer a terminal."""
    for name in (LATIN, "€.llmz", STEERING):
        Path(name).write_bytes(Path("packed/a.llmz").read_bytes())


def test_shown() -> None:
    assert shown(LATIN + STEERING + " a\\b é€") == "caf\\xe9.llmz\\x1b[31mred\\n.llmz a\\b é€"


@pytest.mark.usefixtures("folder", "named")
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_every_name_can_be_listed_and_named_in_messages(encoding: str) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    names = [LATIN, "€.llmz", STEERING]
    listed = process("-l", *names, env=environment)
    assert (listed.returncode, listed.stderr) == (0, b"")
    rows = listed.stdout.decode("latin-1" if encoding == "latin-1" else "utf-8").splitlines()
    # Click writes UTF-8 where only ASCII is said to be understood.
    euro = "\\u20ac" if encoding == "latin-1" else "€"
    assert [row.split()[-1] for row in rows[1:4]] == [
        "caf\\xe9.llmz",
        f"{euro}.llmz",
        "\\x1b[31mred\\n.llmz",
    ]
    for code, lines, args in (
        (0, 3, ["-v", "-d", *names]),
        (1, 3, ["-d", *names]),
        (1, 3, ["-t", *(name + "x" for name in names)]),
        (1, 2, ["-m", "".join(names), "--codec", "llm", "--offline", "a", "sub/b"]),
        (1, 1, ["--dictionary", "".join(names), "a", "sub/b"]),  # which none can do without
    ):
        result = process(*args, env=environment)
        assert (result.returncode, result.stderr.count(b"\n"), b"\x1b" in result.stderr) == (
            code,
            lines,
            False,
        ), args


@pytest.mark.usefixtures("folder", "named")
def test_names_in_json_are_unicode_and_complete() -> None:
    listed = process(
        "-l", "--json", LATIN, "€.llmz", STEERING, env=os.environ | {"PYTHONIOENCODING": "ascii"}
    )
    first, second, third = json.loads(listed.stdout)
    assert (first["filename"], bytes.fromhex(first["filename_hex"])) == (
        "caf\ufffd.llmz",
        os.fsencode(LATIN),
    )
    assert [second["filename"], third["filename"]] == ["€.llmz", STEERING]
    assert "filename_hex" not in second


# ---- variables -----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["x", "0", "10", "-1", "1e1", "٣", "9" * 5000])
def test_a_bad_level_matters_only_to_compression(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("LLMZIP_LEVEL", value)
    for args in (
        ["-t", "packed/a.llmz"],
        ["-l", "packed/a.llmz"],
        ["-dc", "packed/a.llmz"],
        ["-3", "a"],
        ["--help"],
    ):
        assert run(*args).exit_code == 0, args
    result = run("-c", "a")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "the environment variable LLMZIP_LEVEL is " in result.stderr
    monkeypatch.setenv("LLMZIP_LEVEL", "")
    assert run("-c", "a").exit_code == 0


@pytest.mark.parametrize(("variable", "option"), [("NUM_THREADS", "-T"), ("JOBS", "-j")])
@pytest.mark.parametrize("value", ["x", "-1", "1.5", "9" * 20])
def test_a_bad_number_of_threads_matters_only_to_what_computes(
    monkeypatch: pytest.MonkeyPatch, value: str, variable: str, option: str
) -> None:
    monkeypatch.setenv(f"LLMZIP_{variable}", value)
    for args in (
        ["-l", "packed/a.llmz"],
        ["list", "packed/a.llmz"],
        [f"{option}1", "-f", "a"],
        [f"-dc{option[1]}", "0", "a.llmz"],
    ):
        assert run(*args).exit_code == 0, args
    computing = [["-c", "a"], ["-t", "packed/a.llmz"], ["-dc", "packed/a.llmz"]]
    for args in [*computing, *([["generate"]] if option == "-T" else [])]:
        result = run(*args)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert f"the environment variable LLMZIP_{variable} is " in result.stderr


# ---- folders that change or refuse ---------------------------------------------------------------


@pytest.mark.parametrize("code", [1, 2, 36])  # operation not permitted, no such file, name too long
def test_an_entry_that_cannot_be_examined_stops_no_others(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def lstat(self: Path) -> os.stat_result:
        if self.name == "b":
            raise OSError(code, os.strerror(code), str(self))
        return real(self)

    real = Path.lstat
    monkeypatch.setattr(Path, "lstat", lstat)
    result = run("-r", "sub")
    assert (result.exit_code, result.stderr) == (1, f"llmzip: sub/b: {os.strerror(code)}\n")
    assert "sub/deep/c.llmz" in tree()


def test_an_operand_that_cannot_be_examined_stops_no_others() -> None:
    for args in (["-r", "n" * 300, "a"], ["-rf", "a/b", "a"]):
        result = run(*args)
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "a.llmz" in tree()


def test_a_tree_deeper_than_paths_can_be() -> None:
    here = Path.cwd()
    os.chdir("sub")
    for _ in range(20):
        Path("n" * 240).mkdir()
        os.chdir("n" * 240)
    Path("bottom").touch()
    os.chdir(here)
    result = run("-r", "sub")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "File name too long" in result.stderr
    assert Path("sub/b.llmz").exists()
    assert Path("sub/deep/c.llmz").exists()


def test_a_tree_deeper_than_pythons_stack() -> None:
    here = Path.cwd()
    for _ in range(1100):
        Path("d").mkdir()
        os.chdir("d")
    Path("bottom").write_bytes(NOISE)
    os.chdir(here)
    assert run("-r", "d").output == ""
    assert Path("d/" * 1100 + "bottom.llmz").exists()
    for _ in range(1100):  # what removes temporary folders may recurse
        Path("d").rename("e")
        for path in Path("e").iterdir():
            path.rename(path.name)
        Path("e").rmdir()


# ---- streams that do not wait --------------------------------------------------------------------


def test_input_that_is_late_is_not_the_end() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with subprocess.Popen([*LLMZIP, "-o", "out"], stdin=reading):
        for part in (NOISE[:1000], NOISE[1000:]):
            os.write(writing, part)
            time.sleep(1)
        os.close(writing)
    os.close(reading)
    assert process("-dc", "out").stdout == NOISE


def test_output_that_is_not_taken_yet_is_no_error() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    Path("long").write_bytes(random.Random(1).randbytes(300_000))
    with subprocess.Popen([*LLMZIP, "-c", "long"], stdout=writing) as running:
        os.close(writing)
        time.sleep(1)
        with os.fdopen(reading, "rb") as packed:
            assert len(packed.read()) > 300_000
    assert running.returncode == 0


# ---- drafts --------------------------------------------------------------------------------------


def begun(*args: str) -> subprocess.Popen[bytes]:
    """A process that has begun a draft and waits for its input."""
    before = tree()
    running = subprocess.Popen([*LLMZIP, *args], stdin=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not any(drafts.is_draft(Path(name).name) for name in tree() - before):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return running


def left_over() -> list[str]:
    """The drafts that are there."""
    return [name for name in tree() if drafts.is_draft(Path(name).name)]


def test_the_next_run_removes_what_a_killed_one_has_left_and_no_other() -> None:
    with begun("-o", "sub/living") as living, begun("-o", "sub/killed") as killed:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert len(left_over()) == 2
        assert process("a").returncode == 0  # in another folder
        assert len(left_over()) == 2
        assert process("sub/b").returncode == 0
        assert len(left_over()) == 1
        living.communicate(NOISE, timeout=300)
        assert living.returncode == 0
    assert process("-dc", "sub/living").stdout == NOISE
    assert not left_over()


def test_the_draft_of_a_running_process_is_no_input() -> None:
    with begun("-o", "sub/out") as running:
        assert process("-r", "--rm", "sub").stderr == b""
        running.communicate(NOISE, timeout=300)
    assert {name for name in tree() if name.startswith("sub")} == {
        "sub/b.llmz",
        "sub/deep/c.llmz",
        "sub/out",
    }


def draft(machine: str) -> Path:
    """A file with the name of a draft that nobody has locked."""
    path = Path("sub", f".llmzip-{machine}-{'0' * 16}.tmp")
    path.write_bytes(b"begun")
    return path


def write() -> None:
    """Begin and end a draft in the same folder."""
    drafts._remove_abandoned.cache_clear()
    with drafts.draft_in(Path("sub"), 0o600) as made:
        assert stat.S_IMODE(os.fstat(made.fd).st_mode) == 0o600


def test_drafts_of_other_machines_go_when_they_are_old() -> None:
    path = draft("0" * 8)
    write()
    assert path.exists()
    os.utime(path, (0, 0))
    write()
    assert not path.exists()


def test_planted_names_are_neither_followed_nor_waited_for() -> None:
    machine = drafts._machine()
    Path(f"sub/.llmzip-{machine}-{'1' * 16}.tmp").symlink_to(Path("a").absolute())
    os.mkfifo(f"sub/.llmzip-{machine}-{'2' * 16}.tmp")
    Path(f"sub/.llmzip-{machine}-{'3' * 16}.tmp").mkdir()
    Path("sub/.llmzip-mine.tmp").touch()
    before = tree()
    write()
    assert tree() == before


def test_a_draft_that_was_taken_for_abandoned_is_begun_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def flock(fd: int, operation: int) -> None:
        if not taken:  # another process removes it between its making and its locking
            (path,) = left_over()
            taken.append(path)
            Path(path).unlink()
        real(fd, operation)

    real, taken = fcntl.flock, list[str]()
    monkeypatch.setattr(fcntl, "flock", flock)
    with drafts.draft_in(Path("sub"), 0o600) as made:
        assert taken
        assert str(made.path) not in taken
        assert left_over() == [str(made.path)]
    assert not left_over()


def test_a_file_system_without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*args: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", flock)
    path = draft(drafts._machine())
    drafts._remove_abandoned.cache_clear()
    assert run("sub/b").exit_code == 0
    assert path.exists()  # nobody can tell whether its writer lives
    assert left_over() == [str(path)]


def test_many_writers_in_one_folder_spare_each_other() -> None:
    program = """if True:
        import pathlib, sys
        from llmzip import drafts
        from llmzip.cli import files
        for i in range(40):
            drafts._remove_abandoned.cache_clear()
            path = pathlib.Path(f"sub/{sys.argv[1]}-{i}")
            with files.writing(path, force=False, like=None) as sink:
                sink.write(b"x")
    """
    running = [subprocess.Popen([sys.executable, "-c", program, str(i)]) for i in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    assert len(list(Path("sub").glob("?-*"))) == 160
    assert not left_over()
