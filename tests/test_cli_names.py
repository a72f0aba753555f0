"""Which files the command line takes and makes: lists of names, suffixes, folders for the output;
and the names of its options and of the program itself.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from tests.command import NOISE, folder, process, run, run_with_output, tree  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("folder")


# ---- options by other names, and cut short -------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        "--fast a",
        "--best a",
        "--bes a",
        "--compress a",
        "--comp a",
        "--forc --verb --no-prog a",
        "--level=3 a",
        "--lev=3 a",
        "--lev 3 a",
        "--no-mix a",
    ],
)
def test_options_of_compression(arguments: str) -> None:
    assert run(*arguments.split()).exit_code == 0, arguments
    assert Path("a.llmz").exists()


@pytest.mark.parametrize(
    "arguments",
    ["--decompress --to-stdout", "--uncompress --stdout", "--unc --to-s", "--dec --std", "-d --to"],
)
def test_options_of_decompression(arguments: str) -> None:
    assert run_with_output(*arguments.split(), "packed/a.llmz").stdout == NOISE


@pytest.mark.parametrize(
    ("option", "candidates"),
    [
        ("--max", "--max-memory, --max-output"),
        ("--fi", "--filelist, --files, --files0"),
        ("--de", "--decompress, --device"),
        ("--no-", "--no-mixing, --no-progress, --no-sparse"),
    ],
)
def test_an_ambiguous_option_names_its_candidates(option: str, candidates: str) -> None:
    result = run(option, "a")
    assert result.exit_code == 2
    assert f"Option '{option}' is ambiguous: {candidates}." in result.stderr


def test_what_is_no_option_names_one_that_is() -> None:
    result = run("--decompres-", "a")
    assert result.exit_code == 2
    assert "--decompress" in result.stderr
    assert "-t" not in result.stderr.replace("-to", "").split("No such")[1]


def test_the_end_of_options_and_values_are_no_options() -> None:
    assert "--fas: No such file" in run("--", "--fas").stderr
    assert run("-o", "--fas", "a").exit_code == 0
    assert Path("--fas").exists()


# ---- lists of names ------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--files", "--filelist", "--files0"])
def test_a_list_names_files(option: str) -> None:
    end = "\0" if option.endswith("0") else "\n"
    Path("list").write_text(f"a{end}{end}sub/b")  # with an empty name, and an end that is missing
    assert run(option, "list", "sub/deep/c").exit_code == 0
    assert {"a.llmz", "sub/b.llmz", "sub/deep/c.llmz"} <= tree()


def test_a_list_comes_from_standard_input() -> None:
    for number, option in enumerate(("--files", "--files=-", "--filelist=-")):
        assert process(option, f"-S.{number}", input=b"a\nsub/b\n").returncode == 0
        assert {f"a.{number}", f"sub/b.{number}"} <= tree()
    assert process("--files0", input=b"a\0new\nline\0").returncode == 1
    assert "a.llmz" in tree()


def test_an_empty_list_is_nothing_to_do() -> None:
    before = tree()
    for action in ("-z", "-d", "-t", "-l"):
        result = process(action, "--files", input=b"")
        assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    assert tree() == before


def test_names_in_lists_are_bytes_and_a_dash_is_a_file() -> None:
    Path("-").write_bytes(NOISE)
    odd = os.fsdecode(b"\xff odd")
    Path(odd).write_bytes(NOISE)
    assert process("--files", "-k", input=b"-\n\xff odd\n").returncode == 0
    assert {"-.llmz", odd + ".llmz"} <= tree()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--files", "missing"], 1, "missing: No such file or directory"),
        (["--files", "list", "a"], 2, "--files0 reads names that end with NUL"),
        (["--files=-", "-"], 2, "standard input can be read once"),
        (["--files=-", "--files0=-"], 2, "standard input can be read once"),
        (["--files="], 1, "--files '': No such file or directory"),
    ],
)
def test_bad_lists(arguments: list[str], code: int, said: str) -> None:
    Path("list").write_bytes(b"a\0b")
    before = tree()
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert said in result.stderr
    assert tree() == before


# ---- suffixes ------------------------------------------------------------------------------------


def test_a_suffix_of_ones_own() -> None:
    assert run("-S", ".z", "a").exit_code == 0
    assert Path("a.z").read_bytes() == Path("packed/a.llmz").read_bytes()
    assert "already has the suffix .z" in run("--suffix=.z", "a.z").stderr
    assert "unknown suffix (.llmz expected)" in run("-d", "a.z").stderr
    Path("a").unlink()
    assert run("-d", "-S.z", "a.z").exit_code == 0
    assert Path("a").read_bytes() == NOISE
    # The usual one is known besides.
    assert run("-d", "-S.z", "packed/a.llmz").exit_code == 0
    assert "unknown suffix (.z or .llmz expected)" in run("-d", "-S.z", "sub/b").stderr


def test_a_suffix_decides_what_is_found_in_folders() -> None:
    assert run("-r", "-S-z", "sub").exit_code == 0
    assert {"sub/b-z", "sub/deep/c-z"} <= tree()
    assert run("-r", "-S-z", "sub").exit_code == 1  # b and c again; no b-z-z
    assert not any(name.endswith("-z-z") for name in tree())
    assert run("-trS-z", "sub").exit_code == 0


@pytest.mark.parametrize("suffix", ["", "/z", "a/b"])
def test_what_is_no_suffix(suffix: str) -> None:
    assert run("-S", suffix, "a").exit_code == 2


def test_the_suffix_may_be_left_out_where_there_is_no_such_file() -> None:
    before = tree()
    assert run("-t", "packed/a").exit_code == 0
    assert run("-l", "packed/a").stdout == run("-l", "packed/a.llmz").stdout
    assert process("cat", "packed/a").stdout == NOISE
    assert tree() == before
    assert run("-d", "packed/a").exit_code == 0
    assert Path("packed/a").read_bytes() == NOISE
    assert "unknown suffix" in run("-d", "packed/a").stderr  # now there is one
    assert "missing: No such file" in run("-d", "missing").stderr
    assert "x.llmz: No such file" in run("-d", "x.llmz").stderr
    assert run("missing").exit_code == 1


# ---- folders for the output ----------------------------------------------------------------------


def test_a_flat_folder() -> None:
    assert run("--output-dir-flat", "new/out", "-r", "sub", "a").exit_code == 0
    assert {"new/out/a.llmz", "new/out/b.llmz", "new/out/c.llmz"} <= tree()
    assert run("-d", "--output-dir-flat=back", "-r", "new").exit_code == 0
    assert all(Path("back", name).read_bytes() == NOISE for name in "abc")


def test_a_mirror_of_folders(tmp_path: Path) -> None:
    Path("sub/deep").chmod(0o500)
    Path("sub").chmod(0o750)
    try:
        assert run("--output-dir-mirror", "out", "-r", "sub", "./a").exit_code == 0
        assert {"out/a.llmz", "out/sub/b.llmz", "out/sub/deep/c.llmz"} <= tree()
        assert stat.S_IMODE(Path("out/sub/deep").stat().st_mode) == 0o700
        assert stat.S_IMODE(Path("out/sub").stat().st_mode) == 0o750
    finally:
        Path("sub/deep").chmod(0o700)
    assert run("--output-dir-mirror", "out", str(tmp_path / "a")).exit_code == 0
    assert Path("out", *tmp_path.parts[1:], "a.llmz").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("--output-dir-mirror out sub/../a", 1, "has .. in its path"),
        ("--output-dir-flat out -", 1, "stdin: has no name for its output in a folder"),
        ("--output-dir-flat a sub/b", 1, "its output would go into a, which is a file"),
        ("--output-dir-mirror a/x sub/b", 1, "Not a directory"),
        ("--output-dir-flat out -c a", 2, "exclude each other"),
        ("--output-dir-flat out -o x a", 2, "exclude each other"),
        ("--output-dir-flat out --output-dir-mirror out a", 2, "exclude each other"),
    ],
)
def test_no_place_in_a_folder(arguments: str, code: int, said: str) -> None:
    before = tree()
    result = run(*arguments.split())
    assert result.exit_code == code, result.output
    assert said in result.stderr
    assert tree() == before


def test_two_files_do_not_become_one() -> None:
    Path("x").mkdir()
    Path("x/a").write_bytes(b"another")
    before = tree()
    for force in ([], ["-f"]):
        result = run("--output-dir-flat", "out", *force, "a", "x/a")
        assert result.exit_code == 1
        assert result.stderr == "llmzip: x/a: its output would be that of a, too: out/a.llmz\n"
        assert tree() == before
    # What -r came across is left out alone.
    result = run("--output-dir-flat", "out", "-r", "a", "x")
    assert result.exit_code == 1
    assert tree() == before | {"out/a.llmz"}
    assert Path("out/a.llmz").read_bytes() == Path("packed/a.llmz").read_bytes()


def test_rm_with_a_folder() -> None:
    assert run("--rm", "--output-dir-flat", "out", "a").exit_code == 0
    assert not Path("a").exists()
    assert Path("out/a.llmz").read_bytes() == Path("packed/a.llmz").read_bytes()


# ---- the program by other names ------------------------------------------------------------------


def program(name: str) -> list[str]:
    """This program under a name, as a link to it would run."""
    script = Path(name)
    script.write_text("from llmzip.cli.main import main; main()\n")
    return [sys.executable, name]


def test_programs_by_name() -> None:
    import subprocess

    def ran(name: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*program(name), *arguments], capture_output=True, timeout=300)

    assert ran("llmzcat", "packed/a.llmz", "packed/a").stdout == NOISE * 2
    assert ran("unllmzip", "packed/a.llmz").returncode == 0
    assert Path("packed/a").read_bytes() == NOISE
    assert ran("llmzip", "a").returncode == 0
    assert Path("a.llmz").exists()


# ---- what is not compressed ----------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["-dcf"], ["cat", "-f"]])
def test_what_is_not_compressed_is_copied_by_force(arguments: list[str]) -> None:
    Path("short").write_bytes(b"\x8c")
    Path("empty").touch()
    names = ["a", "packed/a.llmz", "short", "empty", "link"]
    result = process(*arguments, *names)
    assert (result.stdout, result.stderr) == (NOISE + NOISE + b"\x8c" + NOISE, b"")
    for name in names:  # from a pipe, of which nothing can be read twice
        content = Path(name).read_bytes()
        expected = NOISE if name == "packed/a.llmz" else content
        assert process(*arguments, input=content).stdout == expected


def test_what_is_damaged_is_not_taken_for_something_else() -> None:
    Path("b").write_bytes(Path("packed/a.llmz").read_bytes()[:-1])
    assert process("-dcf", "b").returncode == 1
    assert process("-dc", "a").returncode == 1
    assert process("-df", "-o", "out", "a").returncode == 1
    assert "out" not in tree()


@pytest.mark.parametrize(
    "words", [("s3://a/b.txt",), ("-o", "memory://b", "a"), ("--ray=x", "file:///a")]
)
def test_urls_are_told_apart_from_files(words: tuple[str, ...]) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert "://" in result.stderr and "only files are named here" in result.stderr


def test_a_file_may_have_a_name_like_a_url() -> None:
    Path("s3:").mkdir()
    Path("s3:/b").write_bytes(NOISE)
    assert run("s3://b").exit_code == 0
    assert Path("s3:/b.llmz").exists()
