"""A few of the mutants of tests/tools/mutation, and that faults do not escape it."""

from __future__ import annotations

import random
import signal

import pytest

from tests.tools.compare_decoders import compare
from tests.tools.mutation import worker
from tests.tools.mutation.kinds import kinds
from tests.tools.mutation.readers import FaultError, examine
from tests.tools.mutation.run import Results, _note, _Worker, run
from tests.tools.mutation.worker import make


def test_there_are_enough_kinds() -> None:
    assert len({kind.name for kind in kinds()}) >= 40
    assert len({make(0, number)[1].name for number in range(400)}) >= 40


def test_mutants_are_the_same_each_time() -> None:
    assert [make(3, number)[0] for number in range(50)] == [
        make(3, number)[0] for number in range(50)
    ]


def test_some_hundred_mutants_show_no_fault() -> None:
    results = run(seed=2026, count=200)
    assert results.mutants == 200
    assert not results.faults


def test_both_decoders_say_the_same_of_mutants() -> None:
    frames = [made for made in (make(7, number) for number in range(60)) if made[1].codec is None]
    said = {compare(data, kind) for data, kind, _ in frames}
    assert said <= {"same bytes", "both refuse", "left out"}


def test_wrong_bytes_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = next(kind for kind in kinds() if kind.name == "stored")
    monkeypatch.setattr("llmzip.decompress", lambda *_, **__: b"wrong" * 217)
    with pytest.raises(FaultError):
        examine(kind.data, kind, random.Random(0))


@pytest.mark.parametrize(
    ("raised", "message"),
    [(MemoryError(), "MemoryError"), (RecursionError("deep"), "deep"), (ValueError("x"), "x")],
)
def test_other_exceptions_are_faults(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, message: str
) -> None:
    def fail(*_: object, **__: object) -> bytes:
        raise raised

    monkeypatch.setattr("llmzip.decompress", fail)
    verdict, said = worker._verdict(kinds()[0].data, kinds()[0], random.Random(0))
    assert verdict == "FAULT" and message in said


def test_dead_processes_are_faults() -> None:
    results = Results(1)
    silent = object.__new__(_Worker)
    _note(silent, f"died 17 text {int(signal.SIGSEGV)}", results, lambda _: None)
    _note(silent, f"died 18 text {int(signal.SIGKILL)}", results, lambda _: None)
    assert [fault.message for fault in results.faults] == [
        "ends the process by SIGSEGV",
        "takes too long",
    ]
    assert "| text | 2 |" in results.table()
