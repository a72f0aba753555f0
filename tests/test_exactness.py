"""The promise: one input, one file, whatever computes it. Settings that are a process's own have
one of their own.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest

from llmzip.model.registry import DEFAULT_MODEL
from tests.conftest import TESTS, TINY_DIRECTORY, corpus
from tests.golden import TEXT

pytest.importorskip(
    "torch", reason="torch, the reference that all others are compared with, is not installed"
)

REPOSITORY = TESTS.parent

# Runs in each process, for each job with an engine of its own: compress, and decompress what
# another process made, of all the text or of its first bytes: a step for each token takes long.
SCRIPT = """
import hashlib, json, pathlib, sys
import llmzip
from llmzip import engine_loader
from llmzip.engine.base import Batches
for job in json.loads(sys.argv[1]):
    engine_loader._loaded = None
    data = pathlib.Path(job["input"]).read_bytes()
    runtime = llmzip.Runtime(engine=job["engine"], threads=job["threads"])
    options = {"model": job["model"], "runtime": runtime}
    engine = engine_loader.EngineLoader(**options).for_compression()
    if job["batch"]:  # other chunks, other groups of tables
        engine.batches = Batches(encode=job["batch"], tables=job["batch"])
    if job["replays"]:
        engine.replays = True
    packed = llmzip.compress(data, job["level"], **options)
    start = data[:job["decoded"]]
    short = packed if start == data else llmzip.compress(start, job["level"], **options)
    if job["given"]:
        assert llmzip.decompress(pathlib.Path(job["given"]).read_bytes(), **options) == start
    pathlib.Path(job["output"]).write_bytes(packed)
    pathlib.Path(job["output"] + ".short").write_bytes(short)
"""

DEFAULT = {
    "engine": "torch",
    "threads": None,
    "batch": None,
    "replays": False,
    "decoded": None,  # how many bytes; all
}

SWITCHES: dict[str, tuple[dict[str, object], dict[str, str]]] = {
    "plain": ({}, {"OMP_NUM_THREADS": "2"}),
    "one thread": ({"threads": 1}, {"OMP_NUM_THREADS": "1"}),
    "five threads": ({"threads": 5}, {}),
    "narrow batches": ({"batch": 1}, {}),
    "wide batches": ({"batch": 4096}, {}),
    "steps of fixed shapes": ({"replays": True}, {}),
    "torch without vectors": ({}, {"ATEN_CPU_CAPABILITY": "default"}),
    "numpy without vectors": (
        {},
        {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR AVX2 FMA3 AVX512F"},
    ),
    "torch with AVX2": ({}, {"ATEN_CPU_CAPABILITY": "avx2"}),
    "oneDNN with SSE4.1": ({}, {"ONEDNN_MAX_CPU_ISA": "SSE41"}),
    "oneDNN with AVX2": ({}, {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}),
    "oneDNN with AVX-512 without VNNI": ({}, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}),
    "MKL with AVX2": ({}, {"MKL_ENABLE_INSTRUCTIONS": "AVX2"}),
    "MKL with SSE4.2": ({}, {"MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "MKL_DEBUG_CPU_TYPE": "0"}),
    "native": ({"engine": "native"}, {}),
    "native, one thread": ({"engine": "native", "threads": 1}, {}),
    "native, five threads": ({"engine": "native", "threads": 5, "batch": 64}, {}),
    "native AVX-512-VNNI": ({"engine": "native"}, {"LLMZIP_CPU": "avx512vnni"}),
    "native AVX2": ({"engine": "native"}, {"LLMZIP_CPU": "avx2"}),
    "native AVX-VNNI": ({"engine": "native"}, {"LLMZIP_CPU": "avxvnni"}),
    "native portable": ({"engine": "native"}, {"LLMZIP_CPU": "portable"}),
}


def process_of(name: str) -> str:
    """What must be alike for two switches to share a process: starting one takes longer than the
    job.
    """
    changes, environment = SWITCHES[name]
    job = {**DEFAULT, **changes}
    # Torch's threads are the process's, not the engine's.
    threads = job["threads"] if job["engine"] == "torch" else None
    return repr((job["engine"], threads, environment))


PROCESSES: dict[str, list[str]] = {}
"""The switches that share each process; "plain" is the first, and alone."""
for _name in SWITCHES:
    PROCESSES.setdefault(process_of(_name), []).append(_name)


def run(
    folder: pathlib.Path, names: Sequence[str], given: pathlib.Path | None, job: dict[str, object]
) -> dict[str, bytes]:
    """Compress in a process with each of these switches, which can share it, and decompress `given`
    there; the frames, of the whole text and of what is decoded.
    """
    outputs = {name: folder / f"{name}.llmz" for name in names}
    jobs = [
        {
            **DEFAULT,
            **SWITCHES[name][0],
            **job,
            "given": given and str(given),
            "output": str(output),
        }
        for name, output in outputs.items()
    ]
    environment = SWITCHES[names[0]][1]
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(jobs)],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if "this processor runs" in ran.stderr or "no native engine" in ran.stderr:
        pytest.skip(ran.stderr.strip().splitlines()[-1])
    assert ran.returncode == 0, ran.stderr
    return {
        name: output.read_bytes() + output.with_name(f"{name}.llmz.short").read_bytes()
        for name, output in outputs.items()
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("frames")
    (folder / "tiny.txt").write_bytes(TEXT)
    return folder


def tiny_job(folder: pathlib.Path) -> dict[str, object]:
    return {"model": str(TINY_DIRECTORY), "level": 1, "input": str(folder / "tiny.txt")}


@pytest.fixture(scope="module")
def tiny_frame(folder: pathlib.Path) -> pathlib.Path:
    run(folder, ["plain"], None, tiny_job(folder))
    return folder / "plain.llmz.short"


@pytest.fixture(scope="module")
def frame_of(folder: pathlib.Path, tiny_frame: pathlib.Path) -> Callable[[str], bytes]:
    """What a switch gives."""
    made: dict[str, bytes] = {}

    def frame(name: str) -> bytes:
        if name not in made:
            together = PROCESSES[process_of(name)]
            made.update(run(folder, together, tiny_frame, tiny_job(folder)))
        return made[name]

    return frame


@pytest.mark.parametrize("name", [name for name in SWITCHES if name != "plain"])
def test_every_switch_gives_the_same_file(
    frame_of: Callable[[str], bytes], tiny_frame: pathlib.Path, name: str
) -> None:
    assert frame_of(name) == 2 * tiny_frame.read_bytes()


@pytest.mark.slow
def test_every_switch_gives_the_same_file_with_the_default_model(
    tmp_path: pathlib.Path, default_model: object, english: bytes
) -> None:
    """All switches, and each decodes the beginning of a text that another one has made."""
    try:
        data = corpus("eips2026a.md", 96)
    except pytest.skip.Exception:
        data = english[:96]
    (tmp_path / "text").write_bytes(data)
    job: dict[str, object] = {
        "model": DEFAULT_MODEL,
        "level": 1,
        "input": str(tmp_path / "text"),
        "decoded": 24,
    }
    digests = {}
    given = None
    for names in PROCESSES.values():
        try:
            frames = run(tmp_path, names, given, job)
        except pytest.skip.Exception:
            continue
        given = tmp_path / f"{names[-1]}.llmz.short"
        digests.update((name, hashlib.sha256(frame).hexdigest()) for name, frame in frames.items())
    assert len(digests) >= 12
    assert len(set(digests.values())) == 1, digests
