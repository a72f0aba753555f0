"""`llmzip repair`, `--keep-going`, and what is said of damaged files."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import pytest

import llmzip
from llmzip.container.seek_table import SeekTable
from tests.command import folder, process, run, tree

__all__ = ["folder"]
pytestmark = pytest.mark.usefixtures("folder")

BLOCK = 1024
CONTENT = random.Random(7).randbytes(10 * BLOCK)


def write(name: str = "x.llmz", destroyed: int | None = 4) -> bytes:
    """A file of ten blocks that need no model, one of them destroyed, and what is left of its
    content.
    """
    data = bytearray(llmzip.compress(CONTENT, block_size=BLOCK))
    left = bytearray(CONTENT)
    if destroyed is not None:
        place = SeekTable(io.BytesIO(data), 0).blocks[destroyed]
        data[place.offset + 99] ^= 1
        left[destroyed * BLOCK : (destroyed + 1) * BLOCK] = bytes(BLOCK)
    Path(name).write_bytes(data)
    return bytes(left)


@pytest.mark.parametrize(
    "arguments", ["repair x.llmz", "-d --keep-going x.llmz", "decompress --keep-going x.llmz"]
)
def test_nine_of_ten_blocks(arguments: str) -> None:
    left = write()
    before = tree()
    result = run(*arguments.split())
    assert result.exit_code == 1
    assert "content bytes 4,096 to 5,119 are missing" in result.output
    assert "9,216 bytes in 9 blocks were recovered, 1,024 bytes are missing" in result.output
    assert tree() - before == {"x"}
    assert Path("x").read_bytes() == left
    assert run(*arguments.split()).exit_code == 1  # nothing is overwritten
    assert Path("x").read_bytes() == left


def test_to_standard_output_and_joined() -> None:
    left = write()
    assert process("-dc", "--keep-going", "x.llmz").stdout == left
    result = process("repair", "-c", "--join", "x.llmz")
    assert result.stdout == CONTENT[: 4 * BLOCK] + CONTENT[5 * BLOCK :]
    assert result.returncode == 1
    with Path("x.llmz").open("rb") as file:
        assert process("repair", stdin=file).stdout == left
    assert process("repair", "-o", "other", "x.llmz").returncode == 1
    assert Path("other").read_bytes() == left


def test_a_sound_file_and_a_damaged_index() -> None:
    left = write(destroyed=None)
    assert run("repair", "x.llmz").exit_code == 0
    assert Path("x").read_bytes() == left
    data = Path("x.llmz").read_bytes()
    Path("y.llmz").write_bytes(data[:-20] + bytes(20))
    result = run("repair", "y.llmz")
    assert result.exit_code == 0 and "no content is missing" in result.output
    assert Path("y").read_bytes() == left


def test_what_is_beyond_repair_leaves_nothing() -> None:
    before = tree()
    result = run("repair", "junk.llmz", "-o", "out")
    assert result.exit_code == 1 and "0 blocks" in result.output
    Path("empty.llmz").write_bytes(b"")
    assert run("repair", "empty.llmz").exit_code == 1
    assert tree() - before == {"empty.llmz"}


def test_rm_keeps_what_is_damaged() -> None:
    write()
    assert run("-d", "--rm", "--keep-going", "x.llmz").exit_code == 1
    assert Path("x.llmz").exists()


def test_the_test_names_all_damages() -> None:
    write(destroyed=2)
    result = run("-t", "--keep-going", "x.llmz")
    assert result.exit_code == 1 and "2,048 to 3,071" in result.output


@pytest.mark.parametrize("arguments", ["-d x.llmz", "-t x.llmz", "-l x.llmz"])
def test_errors_name_the_remedy(arguments: str) -> None:
    write()
    result = run(*arguments.split())
    assert result.exit_code == 1 and "`llmzip repair`" in result.output
    assert "repair" not in run("-d", "junk.llmz").output


def test_a_list_shows_what_is_there() -> None:
    write()
    result = run("-lv", "x.llmz")
    assert result.exit_code == 1
    assert "x.llmz (damaged)" in result.output
    assert "9 raw, 1 missing" in result.output
    result = run("-l", "--json", "x.llmz")
    (record,) = json.loads(result.output[result.output.index("[") :])
    assert record["damaged"] and record["uncompressed_bytes"] == len(CONTENT)


def test_limits() -> None:
    write()
    result = run("repair", "--max-output", "5K", "x.llmz")
    assert result.exit_code == 1 and "exceeds the limit" in result.output
    assert not Path("x").exists()


def test_keep_going_is_for_reading() -> None:
    assert run("--keep-going", "a").exit_code == 2
