"""Several threads at once, and forks while they compute: each job in a process of its own, which
may crash or hang.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from tests.conftest import TESTS

PREPARED = """
import io, os, sys, threading, time, traceback
import numpy as np
import llmzip
from llmzip.codecs.registry import FramedCodec, get_codec
from llmzip.engine.native_engine import NativeEngine
from tests.conftest import TINY_DIRECTORY, tiny

SENTENCE = b"The value of the expression number %d is the value of its last operand. "
TEXTS = [(SENTENCE % i) * 3 for i in range(8)]
failures = []

def everywhere(work, threads=6):
    def guarded(i):
        try:
            work(i)
        except BaseException:
            failures.append(traceback.format_exc())
    running = [threading.Thread(target=guarded, args=(i,)) for i in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert not failures, failures[0]

def child(work, seconds=60):
    '''Work in a forked process; how it ended.'''
    pid = os.fork()
    if not pid:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return "hangs"
"""


def run(job: str, **environment: str) -> str:
    """Run a job behind what is prepared; its output. It must end well."""
    result = subprocess.run(
        [
            sys.executable,
            "-X",
            "dev",
            "-W",
            "ignore::DeprecationWarning",
            "-c",
            PREPARED + textwrap.dedent(job),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(TESTS.parent), **environment},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_codecs_and_functions_shared_by_threads() -> None:
    run("""
        from llmzip.codecs.equal_info import EqualInfoCodec
        from llmzip.codecs.llm import LLMCodec
        from llmzip.codecs.rank import RankCodec
        engine = NativeEngine(tiny(), 2)
        coders = [LLMCodec(engine), RankCodec(engine), EqualInfoCodec(engine)]
        codecs = [FramedCodec(coder) for coder in coders]
        alone = [[codec.encode(text) for text in TEXTS] for codec in codecs]
        dictionary = llmzip.Dictionary(TEXTS[0])
        packed = [llmzip.compress(text, model=tiny(), dictionary=dictionary) for text in TEXTS]

        def work(i):
            for text in range(i, i + 5):
                text %= len(TEXTS)
                for codec, encoded in zip(codecs, alone):
                    assert codec.encode(TEXTS[text]) == encoded[text]
                    assert codec.decode(encoded[text]) == TEXTS[text]
                options = {"model": tiny(), "dictionary": dictionary}
                assert llmzip.compress(TEXTS[text], **options) == packed[text]
                assert llmzip.decompress(packed[text], **options) == TEXTS[text]
        everywhere(work)
    """)


def test_one_stream_called_by_several_threads() -> None:
    run("""
        from llmzip import levels
        levels.MIN_BLOCK_SIZE = 100
        compressor = llmzip.LLMZipCompressor(1, model=tiny(), block_size=200)
        sink = io.BytesIO()
        file = llmzip.open(sink, "wb", model=tiny(), level=1, block_size=200)

        def write(i):
            for text in TEXTS:
                file.write(text[:200])  # of one size, so that they can be told apart
                compressor.compress(text[:50])
        everywhere(write)
        file.close()
        compressor.flush()
        content = llmzip.decompress(sink.getvalue(), model=tiny())
        pieces = [content[i : i + 200] for i in range(0, len(content), 200)]
        assert sorted(pieces) == sorted(text[:200] for text in TEXTS * 6)

        packed = sink.getvalue()
        decompressor = llmzip.LLMZipDecompressor(model=tiny())
        decompressor.decompress(packed, 0)
        source = llmzip.open(io.BytesIO(packed), model=tiny())
        got, read = [], []

        def take(i):
            while not decompressor.eof:
                try:
                    got.append(decompressor.decompress(b"", 10))
                except EOFError:
                    pass
            while piece := source.read(10):
                read.append(piece)
        everywhere(take)
        assert sorted(b"".join(read)) == sorted(content)
        assert sorted(b"".join(got)) == sorted(content)
    """)


def test_engines_change_under_threads() -> None:
    """Each thread wants another engine, so that the one that is kept changes all the time."""
    run("""
        packed = llmzip.compress(TEXTS[0], model=tiny())

        def work(i):
            options = {"model": tiny(), "runtime": llmzip.Runtime(threads=1 + i % 3)}
            for _ in range(6):
                assert llmzip.compress(TEXTS[0], **options) == packed
                assert llmzip.decompress(packed, **options) == TEXTS[0]
        everywhere(work)
    """)


def test_a_session_and_a_mixer_shared_by_mistake_harm_only_their_text() -> None:
    run("""
        engine = NativeEngine(tiny(), 2)
        spec = engine.model.spec

        def work(session, mixer, i):
            generator = np.random.Generator(np.random.PCG64(i))
            for _ in range(300):
                streams = int(generator.integers(1, 20))
                vectors = generator.integers(-127, 128, (streams, spec.d_model)).astype(np.int8)
                top = generator.integers(0, spec.vocab, (streams, 8)).astype(np.int32)
                try:
                    mixer.start(streams, np.empty(0, np.int32))
                    tokens = mixer.recall(vectors, top)
                    mixer.mix(np.ones(tokens.shape, np.int32), np.full(streams, 1 << 20, np.int64))
                    mixer.learn(np.zeros(streams, np.int32), np.ones(streams, np.int32))
                    mixer.copy()
                except ValueError:
                    pass  # another thread has come between
                try:
                    session.advance(generator.integers(0, spec.vocab, (4, 1)).astype(np.int32))
                    session.fork([0] * 3, 300, 4)
                except ValueError:
                    pass
        for _ in range(5):
            session, mixer = engine.session(4, 300, 1), engine.mixer(10)
            everywhere(lambda i: work(session, mixer, i), 4)
    """)


FORKED = """
    from llmzip import levels
    levels.MIN_BLOCK_SIZE = 100
    runtime = llmzip.Runtime(threads=2, jobs={jobs}, engine={engine!r})
    in_blocks = dict(model=tiny(), runtime=runtime, block_size={block})
    packed = llmzip.compress(TEXTS[0] * 20, **in_blocks)
    dictionary = llmzip.Dictionary(TEXTS[1] * 20)
    stop = False

    def compute():
        while not stop:
            llmzip.compress(TEXTS[0] * 20, dictionary=dictionary, **in_blocks)

    def work():
        assert llmzip.decompress(packed, model=tiny(), runtime=runtime) == TEXTS[0] * 20
        options = dict(model=tiny(), runtime=runtime, dictionary=dictionary)
        with_dictionary = llmzip.compress(TEXTS[2], **options)
        assert llmzip.decompress(with_dictionary, **options) == TEXTS[2]

    running = [threading.Thread(target=compute) for _ in range(2)]
    for thread in running:
        thread.start()
    ends = []
    for _ in range({forks}):
        time.sleep(0.02)
        ends.append(child(work, 30))
    stop = True
    for thread in running:
        thread.join()
    assert set(ends) == {{0}}, ends
"""


def test_forks_while_other_threads_compute() -> None:
    run(FORKED.format(engine="native", forks=15, jobs=1, block=1 << 20))


def test_forks_while_lanes_compute() -> None:
    run(FORKED.format(engine="native", forks=10, jobs=2, block=500))


def test_forks_while_other_threads_compute_with_torch() -> None:
    run(FORKED.format(engine="torch", forks=4, jobs=1, block=1 << 20), OMP_NUM_THREADS="2")


def test_a_fork_while_an_engine_is_loaded() -> None:
    run("""
        from llmzip import engine_loader
        real = engine_loader._build
        begun, go_on = threading.Event(), threading.Event()

        def slow(*arguments):
            begun.set()
            go_on.wait()
            return real(*arguments)
        engine_loader._build = slow
        loading = threading.Thread(target=lambda: llmzip.compress(TEXTS[0], model=tiny()))
        loading.start()
        begun.wait()

        def work():
            engine_loader._build = real
            packed = llmzip.compress(TEXTS[0], model=tiny())
            assert llmzip.decompress(packed, model=tiny()) == TEXTS[0]
        assert child(work, 30) == 0
        go_on.set()
        loading.join()
    """)


@pytest.mark.parametrize("threads", [1, 3])
def test_objects_that_another_thread_was_using_fail_at_once_in_a_fork(threads: int) -> None:
    run(f"""
        inside, go_on = threading.Event(), threading.Event()

        def wait(done_bytes, done_tokens):
            inside.set()
            go_on.wait()
        compressor = llmzip.LLMZipCompressor(
            model=tiny(), progress=wait, runtime=llmzip.Runtime(threads={threads})
        )
        compressor.compress(TEXTS[0])
        decompressor = llmzip.LLMZipDecompressor(model=tiny())
        idle = llmzip.LLMZipCompressor(model=tiny())
        idle.compress(TEXTS[0])
        using = threading.Thread(target=compressor.flush)
        using.start()
        inside.wait()

        def work():
            try:
                compressor.flush()
            except ValueError as error:
                assert "interrupted" in str(error)
            else:
                raise AssertionError("it went on")
            assert decompressor.decompress(idle.flush()) == TEXTS[0]
        assert child(work, 30) == 0
        go_on.set()
        using.join()
    """)
