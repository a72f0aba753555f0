"""What the command line must not lose: inputs that wait, what decompression needs, files that took
another's name, devices.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import llmzip.streams
from llmzip.cli import files
from tests.command import NOISE, folder, process, run, shell, tree  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("folder")

TEXT = b"to be, or not to be, that is the question" * 30


def contents() -> dict[str, bytes]:
    """Every regular file."""
    return {
        name: Path(name).read_bytes() for name in tree() if stat.S_ISREG(Path(name).lstat().st_mode)
    }


def refused(*args: str) -> str:
    """Run what must change nothing; the lines that it says."""
    before = contents()
    result = run(*args)
    assert result.exit_code == 1, result.output
    assert contents() == before
    return result.stderr


# ---- what decompression needs --------------------------------------------------------------------


def test_rm_keeps_the_dictionary() -> None:
    os.link("a", "other name")
    for name in ("a", "other name", "./sub/../a"):
        said = refused("--rm", "--dictionary", "a", name)
        assert said == (
            f"llmzip: {Path(name)}: is the dictionary, which decompression needs: "
            "--rm does not remove it\n"
        )
    # Nothing else is begun either.
    assert refused("--rm", "--dictionary", "a", "sub/b", "a").count("\n") == 1


def test_rm_in_a_folder_keeps_the_dictionary_and_packs_the_rest() -> None:
    Path("sub/b").write_bytes(TEXT)
    result = run("--rm", "-r", "--dictionary", "sub/b", "sub")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "llmzip: sub/b: is the dictionary" in result.stderr
    assert {name for name in tree() if name.startswith("sub")} == {"sub/b", "sub/deep/c.llmz"}
    assert run("-d", "--dictionary", "sub/b", "sub/deep/c.llmz").exit_code == 0


def test_the_dictionary_is_not_overwritten() -> None:
    overwritten = "its output would overwrite the dictionary, which decompression needs"
    assert overwritten in refused("--dictionary", "sub/b", "-f", "-o", "sub/b", "a")
    Path("a.llmz").write_bytes(TEXT)
    assert overwritten in refused("--dictionary", "a.llmz", "-f", "a")
    assert overwritten in refused(
        "-d", "--dictionary", "sub/b", "-f", "-o", "sub/b", "packed/a.llmz"
    )
    before = contents()
    assert overwritten in shell("llmzip --dictionary sub/b -c a >> sub/b").stderr.decode()
    assert contents() == before


def test_the_store_and_the_model_are_not_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMZIP_CACHE", "cache")
    model = Path("cache/models/0123/model.safetensors")
    model.parent.mkdir(parents=True)
    model.write_bytes(NOISE)
    assert "part of the store of models" in refused("--rm", "-r", "cache")
    assert "part of the store of models" in refused("--rm", str(model))
    assert "part of the store of models" in refused("-f", "-o", str(model), "a")
    assert "is the model" in refused("--rm", "-m", "sub", "sub/b")
    assert run(str(model)).exit_code == 0  # without --rm nothing is lost


# ---- inputs that are outputs of the same call ----------------------------------------------------


def test_an_input_is_not_overwritten_while_it_waits() -> None:
    Path("a.llmz").write_bytes(TEXT)
    said = refused("-f", "a", "a.llmz")
    assert said == "llmzip: a: its output would overwrite a.llmz, which is an input, too\n"
    os.link("a.llmz", "hard")
    assert "would overwrite hard" in refused("-f", "hard", "a")
    Path("soft").symlink_to("a.llmz")
    assert "would overwrite soft" in refused("-f", "sub/b", "a", "soft")
    shutil.copy("packed/a.llmz", "packed/a")
    assert "would overwrite packed/a," in refused("-d", "-f", "packed/a.llmz", "packed/a")


def test_a_folder_with_twice_compressed_files_loses_none() -> None:
    run("-f", "-o", "packed/a.llmz.llmz", "packed/a.llmz")
    before = contents()
    result = run("-d", "-r", "-f", "packed")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "packed/a.llmz.llmz: its output would overwrite packed/a.llmz" in result.stderr
    assert contents() == before | {"packed/a": NOISE}


def test_standard_output_is_not_an_input() -> None:
    before = contents()
    for line in (
        "llmzip -c sub/b a >> a",
        "llmzip -c < a >> a",
        "llmzip -dc packed/a.llmz >> packed/a.llmz",
        "llmzip -o /dev/stdout a >> a",
    ):
        result = shell(line)
        assert result.returncode == 1, line
        assert b"is also the output" in result.stderr
        assert contents() == before
    result = shell("llmzip -rc sub > sub/z")  # as tar leaves out its own archive
    assert result.stderr == b"llmzip: sub/z: is also the output\n"
    assert process("-dc", "sub/z").stdout == NOISE * 2


def test_what_is_named_twice_is_done_once() -> None:
    assert run("a", "./a", "packed/../a").output == ""
    assert run("-d", "-r", "--rm", "packed", "packed/a.llmz").output == ""
    assert Path("packed/a").read_bytes() == NOISE


# ---- --rm and what happens meanwhile -------------------------------------------------------------

Meanwhile = Callable[[Path], Any]


def rotate(path: Path) -> None:
    path.rename("rotated")
    path.write_bytes(b"new lines")


def replace_by_its_like(path: Path) -> None:
    status = path.stat()
    path.rename("rotated")
    path.write_bytes(NOISE if path.name == "a" else Path("rotated").read_bytes())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")


def move(path: Path) -> None:
    path.rename("rotated")


@pytest.mark.parametrize("meanwhile", [rotate, replace_by_its_like, append, overwrite, move])
@pytest.mark.parametrize(
    ("function", "source"), [("compress_with", "a"), ("decompress_with", "packed/a.llmz")]
)
def test_rm_removes_only_what_was_read(
    monkeypatch: pytest.MonkeyPatch, function: str, source: str, meanwhile: Meanwhile
) -> None:
    def stream(*args: Any, **options: Any) -> llmzip.streams.Totals:
        monkeypatch.undo()
        monkeypatch.chdir(here)
        totals = real(*args, **options)
        meanwhile(path)
        after.update(contents())
        return totals

    here, path, after = Path.cwd(), Path(source), dict[str, bytes]()
    real = getattr(llmzip.streams, function)
    monkeypatch.setattr(llmzip.streams, function, stream)
    result = run("--rm", *(["-d"] if source.endswith("llmz") else []), source)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"llmzip: {source}: ")
    assert result.stderr.count("\n") == 1
    kept = {name: data for name, data in after.items() if ".tmp" not in name}
    assert contents() | kept == contents()
    if meanwhile not in (append, overwrite) or function == "decompress_with":
        target = "a.llmz" if source == "a" else "packed/a"
        assert target in contents()
        assert "was changed, moved or replaced while it was read" in result.stderr


def test_rm_of_a_link_removes_the_link() -> None:
    assert run("--rm", "-f", "link").exit_code == 0
    assert Path("a").read_bytes() == NOISE
    assert not os.path.lexists("link")


# ---- names that are empty ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "label"),
    [
        (["--rm", "-r", ""], ""),
        ([""], ""),
        (["-t", ""], ""),
        (["-l", ""], ""),
        (["-c", ""], ""),
        (["-o", "", "a"], "-o "),
        (["--dictionary", "", "a"], "--dictionary "),
        (["-m", "", "a"], "-m "),
        (["generate", "-m", ""], "-m "),
        (["models", "pull", ""], ""),
        (["models", "remove", ""], ""),
        (["corpora", "fetch", ""], ""),
        (["tokens", "compress", "-t", "", "a"], "-t "),
        (["tokens", "compress", "-o", "", "a"], "-o "),
        (["tokens", "compress", ""], ""),
        (["eval", "-d", ""], "-d "),
        (["eval", "--output", ""], "--output "),
        (["eval", "compare", "--to", ""], "--to "),
    ],
)
def test_an_empty_name_names_nothing(arguments: list[str], label: str) -> None:
    said = refused(*arguments)
    assert (
        said
        == f"llmzip: {label}'': No such file or directory (an empty name: is a variable unset?)\n"
    )


def test_beside_an_empty_name_the_others_are_done() -> None:
    assert run("", "a").exit_code == 1
    assert "a.llmz" in tree()


# ---- outputs that are not regular files ----------------------------------------------------------


def test_a_device_is_written_into() -> None:
    Path("null").symlink_to(os.devnull)
    assert run("-fo", "null", "a").exit_code == 0
    assert Path("null").readlink() == Path(os.devnull)
    full = run("-fo", "/dev/full", "a")
    assert (full.exit_code, full.stderr) == (1, "llmzip: /dev/full: No space left on device\n")


@pytest.mark.parametrize(
    "name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/proc/thread-self/fd/1", "out-link"]
)
@pytest.mark.parametrize("options", ["", "-f"])
def test_a_descriptor_is_written_into(name: str, options: str) -> None:
    Path("out-link").symlink_to("/dev/stdout")
    packed = Path("packed/a.llmz").read_bytes()
    before = os.lstat(name) if name == "/dev/stdout" else None
    assert shell(f"llmzip {options} -o {name} a").stdout == packed  # a pipe
    # A regular file.
    assert shell(f"(printf x; llmzip {options} -o {name} a; printf y) > made").stderr == b""
    assert Path("made").read_bytes() == b"x" + packed + b"y"
    assert before is None or os.path.samestat(before, os.lstat(name))
    assert Path("out-link").is_symlink()
    assert b"is not a regular file" in shell(f"llmzip --rm -o {name} a").stderr
    assert Path("a").exists()


def test_a_pipe_is_written_into() -> None:
    assert shell("llmzip -fo pipe a & cat pipe; wait").stdout == Path("packed/a.llmz").read_bytes()
    assert stat.S_ISFIFO(Path("pipe").stat().st_mode)


def test_another_process_s_file_needs_force() -> None:
    line = (
        "printf before > made; sleep 60 >> made & llmzip {} -o /proc/$!/fd/1 a; "
        "code=$?; kill $!; exit $code"
    )
    result = shell(line.format(""))
    assert (result.returncode, Path("made").read_bytes()) == (1, b"before")
    assert b"already exists; -f overwrites it" in result.stderr
    assert shell(line.format("-f")).returncode == 0
    assert Path("made").read_bytes() == Path("packed/a.llmz").read_bytes()


def test_force_replaces_a_link_to_a_file_and_keeps_the_file() -> None:
    Path("out").symlink_to("junk.llmz")
    assert "already exists" in refused("-o", "out", "a")
    assert run("-fo", "out", "a").exit_code == 0
    assert Path("junk.llmz").read_bytes() == b"junk" * 10
    assert not Path("out").is_symlink()


def test_a_name_that_is_too_long_is_found_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(llmzip.streams, "compress_with")
    name = "n" * 252
    shutil.copy("a", name)
    assert "File name too long" in refused(name)


def test_without_hard_links_nothing_is_overwritten_either(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        Path("out").write_bytes(b"precious")
        raise PermissionError

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with pytest.raises(FileExistsError), files.writing(Path("out"), force=False, like=None) as sink:
        sink.write(b"new")
    assert Path("out").read_bytes() == b"precious"
