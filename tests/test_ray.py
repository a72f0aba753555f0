"""A Ray cluster on this machine: machines and workers that are killed while it codes a file change
no byte of it (test_pools.py has everything that needs no cluster).
"""

from __future__ import annotations

import logging
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import llmzip
from llmzip.errors import LLMZipError, ModelNotFoundError
from llmzip.integrations.ray import ATTEMPTS, RayPool
from llmzip.model.convert import convert
from llmzip.model.sources import read_source
from llmzip.model.store import ModelStore
from llmzip.runtime import Runtime
from tests import tiny
from tests.conftest import TINY_DIRECTORY
from tests.test_limits import words

ray = pytest.importorskip("ray", reason="ray is not installed (the extra ray)")
cluster_utils = pytest.importorskip("ray.cluster_utils")

pytestmark = [
    pytest.mark.slow,
    # Ray's own, of processes that it leaves to the operating system.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

TEXT = words(20_000)
OPTIONS = {"level": 1, "block_size": 1024, "codec": "llm"}
HERE = Runtime(threads=1, jobs=1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pathlib.Path]:
    """The store of models of all machines."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("store")
        patch.setenv("LLMZIP_CACHE", str(path))
        patch.setenv("LLMZIP_MODEL", str(TINY_DIRECTORY))
        ModelStore().pull(str(TINY_DIRECTORY))
        yield path


@pytest.fixture(scope="module")
def cluster(store: pathlib.Path) -> Iterator[Any]:
    """Three machines with a processor each."""
    made = cluster_utils.Cluster()
    try:
        for _ in range(3):
            made.add_node(num_cpus=1, include_dashboard=False, object_store_memory=80 << 20)
    except Exception as error:  # Ray gives a machine 30 seconds
        made.shutdown()
        if "timed out during startup" in str(error):
            pytest.skip("this machine is too busy for Ray to start in its 30 seconds")
        raise
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="module")
def file(store: pathlib.Path) -> bytes:
    """The file of one process alone."""
    return llmzip.compress(TEXT, runtime=HERE, **OPTIONS)


def at_the_second_report(act: Callable[[], object]) -> Callable[[int, int], None]:
    """A progress that acts in the middle of the work."""
    reports = 0

    def progress(size: int, tokens: int) -> None:
        nonlocal reports
        reports += 1
        if reports == 2:
            act()

    return progress


def test_killed_workers_and_machines_change_no_byte(
    cluster: Any, file: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with RayPool(cluster.address, HERE) as pool:
        runtime = Runtime(threads=1, jobs=1, pool=pool)
        assert llmzip.compress(TEXT, runtime=runtime, **OPTIONS) == file
        pids = [
            ray.get(hired.actor.__ray_call__.remote(lambda _: os.getpid()))
            for hired in pool._hired.values()
            if hired.ready
        ]
        kill_one = at_the_second_report(lambda: os.kill(pids[0], signal.SIGKILL))
        with caplog.at_level(logging.WARNING, "llmzip"):
            assert llmzip.compress(TEXT, runtime=runtime, progress=kill_one, **OPTIONS) == file
        assert "a worker is lost" in caplog.text
        machine = next(iter(cluster.worker_nodes))
        kill_machine = at_the_second_report(lambda: cluster.remove_node(machine, False))
        assert llmzip.decompress(file, runtime=runtime, progress=kill_machine) == TEXT
        deadline = time.monotonic() + 120
        while sum(node["Alive"] for node in ray.nodes()) > 2:  # tests to come have no part in it
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert not ray.is_initialized()


def test_a_worker_without_the_model_is_told(cluster: Any, tmp_path: pathlib.Path) -> None:
    source = tiny.write_directory(tmp_path / "other", tiny.make(seed=7))
    other = convert(read_source(source))
    with RayPool(cluster.address, HERE) as pool:
        runtime = Runtime(threads=1, pool=pool)
        with pytest.raises(ModelNotFoundError, match=r"on the machine .*llmzip models pull"):
            llmzip.compress(TEXT, model=other, runtime=runtime, **OPTIONS)


class Deadly:
    """A job that ends its process."""

    def __call__(self, pieces: list[bytes], runtime: Runtime) -> list[bytes]:
        os._exit(1)


def test_what_kills_each_worker_is_given_up(cluster: Any) -> None:
    with RayPool(cluster.address, HERE) as pool:
        future = pool.submit(Deadly(), b"")
        with pytest.raises(LLMZipError, match=f"begun {ATTEMPTS} times|no worker is left"):
            future.result(300)


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llmzip", *words], capture_output=True, text=True, timeout=300
    )


def test_on_the_command_line(cluster: Any, file: bytes, tmp_path: pathlib.Path) -> None:
    text, packed, back = tmp_path / "a", tmp_path / "a.llmz", tmp_path / "b"
    text.write_bytes(TEXT)
    how = ["-T1", "--ray", cluster.address]
    options = ["--level=1", "--block-size=1K", "--codec=llm"]
    run = command("compress", *how, *options, str(text))
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert packed.read_bytes() == file
    run = command("decompress", *how, "-o", str(back), str(packed))
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert back.read_bytes() == TEXT


def test_no_cluster(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").write_bytes(TEXT)
    run = command("compress", "--ray", "127.0.0.1:1", str(tmp_path / "a"))
    assert run.returncode == 1
    assert run.stderr.startswith("llmzip: no Ray cluster at 127.0.0.1:1: ")
    assert not (tmp_path / "a.llmz").exists()


def test_a_signal_ends_the_cluster_of_a_command(
    store: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "a").write_bytes(TEXT * 20)
    with tempfile.TemporaryDirectory(prefix="llmzip") as temporary:  # short: Ray has sockets there
        run = subprocess.Popen(
            [sys.executable, "-m", "llmzip", "compress", "--ray=local", "-T1", str(tmp_path / "a")],
            env={**os.environ, "RAY_TMPDIR": temporary},
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + 240
        while len(list(tmp_path.iterdir())) == 1 and run.poll() is None:  # no output is begun
            time.sleep(0.1)
        begun = processes_of(temporary)
        run.terminate()
        _, told = run.communicate(timeout=240)
        if b"timed out during startup" in told:
            pytest.skip("this machine is too busy for Ray to start in its 30 seconds")
        assert begun
        assert run.returncode == -signal.SIGTERM, told
        while (left := processes_of(temporary)) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert left == []
        assert [path.name for path in tmp_path.iterdir()] == ["a"]


def processes_of(name: str) -> list[str]:
    """The command lines of processes that have this in them."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if name in line and "--ray=local" not in line:
            found.append(line)
    return found
