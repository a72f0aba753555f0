"""The check of large files: it comes through, and says what is not as it should be."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import pytest

from benchmarks import large_files
from benchmarks.watched import Look, Reading, Watched
from tests.golden import TEXT

ROOT = pathlib.Path(__file__).parents[1]


def watched(status: int, seconds: float = 1.0, readings: Sequence[Reading] = ()) -> Watched:
    looks = [Look(0.9 * seconds, 1 << 20, 1 << 21)]
    return Watched(status, seconds, seconds / 2, [*readings], looks, "")


class Pretended:
    """Commands of a program with one fault, or none."""

    def __init__(self, fault: str) -> None:
        self._fault = fault

    def __call__(
        self,
        arguments: Sequence[str],
        stdout: pathlib.Path | None = None,
        kill_at_share: float | None = None,
        kill_at_seconds: float | None = None,
    ) -> Watched:
        source = pathlib.Path(arguments[-1])
        content = source.read_bytes()
        if stdout is not None:
            begin, _, end = arguments[arguments.index("--bytes") + 1].partition("-")
            content = content[int(begin) : int(end) + (self._fault != "other bytes")]
        elif arguments[0] == "-d":
            stdout = source.with_name("back")
            content += b"!" * (self._fault == "another text")
        elif arguments[0] == "--resume":
            stdout = source.with_name("text.llmz")
            content += b"!" * (self._fault == "another file")
        else:
            stdout = source.with_name("whole.llmz")
        killed = kill_at_share or kill_at_seconds
        decompresses = arguments[0] == "-d"
        if not killed or (decompresses and self._fault == "a killed decompression has written"):
            stdout.write_bytes(content)
        draft = source.with_name(".llmzip-x.tmp" if decompresses else "text.llmz.partial")
        left = "a temporary file is left" if decompresses else "something is left"
        if killed:
            draft.touch()
        elif self._fault != left:
            draft.unlink(missing_ok=True)
        return watched(-9 if killed else 0)


FAULTS = (
    "another file",
    "another text",
    "other bytes",
    "something is left",
    "a temporary file is left",
    "a killed decompression has written",
)


@pytest.mark.parametrize("fault", ["", *FAULTS])
def test_faults_are_told(
    fault: str,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "text").write_bytes(TEXT * 3)
    monkeypatch.setattr(large_files, "watch", Pretended(fault))
    command = [str(tmp_path / "text"), "--sizes", "2000", "3000", "--model", "none", "--kills", "2"]
    if not fault:
        large_files.main(command)
        told = capsys.readouterr().out
        assert "killed 2 times at random moments: the same file" in told
        assert told.count("killed 2 times, at thirds: the same file") == 2
        assert told.count("decompression killed: no file") == 2
        return
    with pytest.raises(SystemExit, match=f"failed: {fault}"):
        large_files.main(command)


def test_the_time_left_is_judged() -> None:
    readings = [
        Reading(10, 4, 0.05, 190),  # the bar begins
        Reading(60, 24, 0.3, 168),
        Reading(110, 44, 0.55, 90),
        Reading(190, 94, 0.95, 1),
    ]
    found = watched(0, 200, readings)
    # At a minute 140 s are left, of the processor 76; it has had 0.4 of each second until then.
    assert large_files.time_left(found) == ("1 min +20% (-12%), 50 % +0% (-36%), 90 % -90% (-92%)")
    assert large_files.time_left(watched(0, 50, [Reading(20, 9, 0.5, 30)])) == ""


@pytest.mark.slow
def test_a_small_text_comes_through(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "cache"))
    (tmp_path / "text").write_bytes(TEXT * 3)
    large_files.main([str(tmp_path / "text"), "--sizes", "3000", "--kills", "1", "--threads", "1"])
    told = capsys.readouterr().out
    assert "at random moments: the same file" in told
    peaks = [
        int(line.partition(" MiB at most")[0].split()[-1])
        for line in told.splitlines()
        if "MiB at most" in line
    ]
    assert min(peaks) > 10
