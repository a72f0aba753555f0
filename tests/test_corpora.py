"""Corpora: the built-in ones, and fetching over a server that the test runs."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import io
import pathlib
import tarfile
import threading
import zipfile
from collections.abc import Iterator

import click.testing
import pytest

from llmzip.cli.main import llmzip
from llmzip.corpora import library, registry
from llmzip.corpora.builtin import BUILTIN
from llmzip.corpora.download import download
from llmzip.corpora.registry import Corpus
from llmzip.errors import IntegrityError, LLMZipError


@pytest.fixture(autouse=True)
def cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "corpora"


class Server:
    """Serves `files`; breaks off after `limit` bytes of an answer; understands ranges where
    `ranges` is set.

    slip: by how many bytes it says that a part begins elsewhere.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.limit: int | None = None
        self.ranges = True
        self.slip = 0
        self.starts: list[int] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                data = outer.files.get(self.path)
                if data is None:
                    self.send_error(404)
                    return
                wanted = self.headers.get("Range")
                start = (
                    int(wanted.removeprefix("bytes=").removesuffix("-"))
                    if wanted and outer.ranges
                    else 0
                )
                outer.starts.append(start)
                if start >= len(data) > 0:
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(data)}")
                    self.end_headers()
                    return
                self.send_response(206 if start else 200)
                if start:
                    self.send_header(
                        "Content-Range", f"bytes {start + outer.slip}-{len(data) - 1}/{len(data)}"
                    )
                self.send_header("Content-Length", str(len(data) - start))
                self.end_headers()
                self.wfile.write(data[start:][: outer.limit])

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.server.shutdown()
    made.server.server_close()


def zipped(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def corpus(
    server: Server, data: bytes, sha256: str | None = None, name: str = "small.zip"
) -> Corpus:
    server.files[f"/{name}"] = data
    return Corpus("small", f"{server.url}/{name}", len(data), sha256, "none", "a test")


@pytest.mark.parametrize("name", BUILTIN)
def test_builtin_texts_are_the_same_each_time(name: str) -> None:
    data = library.texts(name)[name]
    assert len(data) > 100_000
    assert data == BUILTIN[name]()


def test_generated_texts_are_the_same_on_every_machine() -> None:
    digests = {
        n: hashlib.sha256(BUILTIN[n]()).hexdigest()[:16]
        for n in ("logs", "json", "csv", "random-bytes")
    }
    assert digests == GENERATED


GENERATED = {
    "logs": "c455c2db2f243da0",
    "json": "e17be2dd42c25cad",
    "csv": "4b2ed46256a78e68",
    "random-bytes": "221ca727dd1d742a",
}


def test_registry_entries_are_complete() -> None:
    names = [entry.name for entry in registry.CORPORA]
    assert len(set(names)) == len(names)
    assert not set(names) & set(BUILTIN)
    for entry in registry.CORPORA:
        assert entry.url.startswith(("http://", "https://"))
        assert entry.license
        assert entry.sha256 is None or len(bytes.fromhex(entry.sha256)) == 32


def test_an_interrupted_download_goes_on(server: Server, tmp_path: pathlib.Path) -> None:
    data = bytes(range(256)) * 4000
    server.files["/file"] = data
    server.limit = 300_000
    target = tmp_path / "file"
    with pytest.raises(LLMZipError, match="run the same again"):
        download(f"{server.url}/file", target)
    assert not target.exists()
    server.limit = None
    told: list[tuple[int, int | None]] = []
    download(f"{server.url}/file", target, lambda done, total: told.append((done, total)))
    assert target.read_bytes() == data
    assert server.starts == [0, 300_000]
    assert told[-1] == (len(data), len(data))
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["file"]


def test_servers_without_ranges_and_shrunken_files_start_again(
    server: Server, tmp_path: pathlib.Path
) -> None:
    target, part = tmp_path / "file", tmp_path / "file.part"
    server.files["/file"] = b"new content"
    server.ranges = False
    part.write_bytes(b"old")
    download(f"{server.url}/file", target)
    assert target.read_bytes() == b"new content"
    server.ranges = True
    part.write_bytes(b"much longer than the new content")
    download(f"{server.url}/file", target)
    assert target.read_bytes() == b"new content"


def test_a_download_that_was_complete_is_not_repeated(
    server: Server, tmp_path: pathlib.Path
) -> None:
    server.files["/file"] = b"all of it"
    (tmp_path / "file.part").write_bytes(b"all of it")
    download(f"{server.url}/file", tmp_path / "file")
    assert server.starts == [9]
    assert (tmp_path / "file").read_bytes() == b"all of it"


def test_another_part_than_was_asked_for_is_refused(server: Server, tmp_path: pathlib.Path) -> None:
    server.files["/file"] = b"all of it"
    server.slip = 1
    (tmp_path / "file.part").write_bytes(b"all")
    with pytest.raises(LLMZipError, match="another part"):
        download(f"{server.url}/file", tmp_path / "file")


def test_an_interrupted_corpus_goes_on_and_is_verified(server: Server, cache: pathlib.Path) -> None:
    data = zipped(a=bytes(range(256)) * 2000)
    pinned = corpus(server, data, hashlib.sha256(data).hexdigest())
    server.limit = 100_000
    with pytest.raises(LLMZipError, match="run the same again"):
        library.fetch(pinned, say=pytest.fail)
    server.limit = None
    assert (library.fetch(pinned, say=pytest.fail) / "a").read_bytes() == bytes(range(256)) * 2000
    assert server.starts == [0, 100_000]


def test_errors_of_the_network_are_one_line(server: Server, tmp_path: pathlib.Path) -> None:
    with pytest.raises(LLMZipError, match="404"):
        download(f"{server.url}/nothing", tmp_path / "x")
    with pytest.raises(LLMZipError, match="stopped"):
        download("http://127.0.0.1:1/x", tmp_path / "x")


def test_a_pinned_corpus_is_verified_and_unpacked_once(server: Server, cache: pathlib.Path) -> None:
    data = zipped(**{"a.txt": b"one", "b/c.txt": b"two"})
    pinned = corpus(server, data, hashlib.sha256(data).hexdigest())
    folder = library.fetch(pinned, say=pytest.fail)
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*.txt")} == {"a.txt", "b/c.txt"}
    assert sorted(p.name for p in cache.iterdir()) == ["small", "small.sha256"]
    library.fetch(pinned)
    assert server.starts == [0]


def test_another_file_than_the_registry_names_is_refused(
    server: Server, cache: pathlib.Path
) -> None:
    with pytest.raises(IntegrityError, match="expected 0000"):
        library.fetch(corpus(server, zipped(a=b"x"), "00" * 32))
    assert list(cache.iterdir()) == []


def test_trust_on_first_use(server: Server, cache: pathlib.Path) -> None:
    said: list[str] = []
    first = corpus(server, zipped(a=b"x"))
    folder = library.fetch(first, say=said.append)
    digest = hashlib.sha256(server.files["/small.zip"]).hexdigest()
    assert said == [f"small: no digest is known; trusted from now on: SHA-256 {digest}"]
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    with pytest.raises(IntegrityError, match="to trust the new one"):
        library.fetch(corpus(server, zipped(a=b"y")))


def test_a_text_is_joined_from_parts_and_goes_on_where_it_stopped(
    server: Server, cache: pathlib.Path
) -> None:
    parts = {"b.md": b"second ", "a folder/x@8.md": b"first ", "c.md": b"third"}
    names = ("a folder/x@8.md", "b.md", "c.md")
    text = b"".join(parts[name] for name in names)
    server.files = {"/at/a%20folder/x%408.md": parts[names[0]], "/at/b.md": parts["b.md"]}
    corpus = Corpus(
        "joined",
        f"{server.url}/at",
        len(text),
        hashlib.sha256(text).hexdigest(),
        "",
        "",
        ".md",
        parts=names,
    )
    with pytest.raises(LLMZipError, match="404"):
        library.fetch(corpus)
    assert not (cache / "joined").exists()
    server.files = {"/at/c.md": parts["c.md"]}  # the others are here already
    seen: list[tuple[int, int | None]] = []
    folder = library.fetch(corpus, lambda *done: seen.append(done))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"joined.md": text}
    assert seen[-1] == (len(text), len(text))
    assert sorted(path.name for path in cache.iterdir()) == ["joined", "joined.sha256"]


def test_joined_parts_of_another_digest_are_refused(server: Server, cache: pathlib.Path) -> None:
    server.files = {"/at/a.md": b"changed"}
    corpus = Corpus("joined", f"{server.url}/at", 7, "0" * 64, "", "", ".md", parts=("a.md",))
    with pytest.raises(IntegrityError, match="expected 0000"):
        library.fetch(corpus)
    assert not list(cache.iterdir())


def test_tar_archives_and_selected_files(server: Server) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name in ("keep.md", "drop.png"):
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    folder = library.fetch(
        dataclasses.replace(corpus(server, out.getvalue(), name="s.tar.gz"), suffix=".md"), say=str
    )
    assert [p.name for p in folder.iterdir()] == ["keep.md"]


def test_a_broken_archive_leaves_nothing(server: Server, cache: pathlib.Path) -> None:
    with pytest.raises(IntegrityError, match="does not unpack"):
        library.fetch(corpus(server, b"no archive"), say=str)
    assert not (cache / "small").exists()


def test_texts_by_path_and_unknown_names(tmp_path: pathlib.Path) -> None:
    (tmp_path / "two.txt").write_bytes(b"2")
    (tmp_path / "one.txt").write_bytes(b"1")
    assert list(library.texts(str(tmp_path)).items()) == [("one.txt", b"1"), ("two.txt", b"2")]
    assert library.texts(str(tmp_path / "one.txt")) == {"one.txt": b"1"}
    with pytest.raises(LLMZipError, match="corpora fetch enwik8"):
        library.texts("enwik8")
    with pytest.raises(LLMZipError, match="no such file"):
        library.texts("nonsense")


def test_months_of_texts() -> None:
    assert library.month_of("posts/2026-03-14-name.md", b"") == "2026-03"
    assert library.month_of("202511.txt", b"") == "2025-11"
    assert library.month_of("post.md", b'+++\npath = "2025/07/01/x"\n') == "2025-07"
    assert library.month_of("post.md", b"---\ndate: 2024-12-31\n") == "2024-12"
    assert library.month_of("4-Years-Of-Rust.md", b"no date") is None


def run(*args: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(llmzip, ["corpora", *args])


def test_the_command_line(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "CORPORA", (corpus(server, zipped(a=b"x")),))
    assert "small           not fetched" in run("list").stdout
    result = run("fetch", "small")
    assert result.exit_code == 0, result.output
    assert "trusted from now on" in result.stderr
    assert run("path", "small").stdout == result.stdout
    assert '"state": "fetched"' in run("list", "--json").stdout
    failed = run("fetch", "logs")
    assert failed.exit_code == 1
    assert "is built in" in failed.stderr
