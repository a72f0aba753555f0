"""llmzip in other libraries: what the examples of docs/integrations.md do not show."""

from __future__ import annotations

import importlib
import io
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile

import pytest

import llmzip
from llmzip import engine_loader
from llmzip.integrations.files import opener
from llmzip.integrations.tarfile import TarFile
from tests.conftest import TESTS

LINES = b"".join(b"line %d of the file\n" % i for i in range(400))
PLAIN = {"codec": "zstd"}  # needs no model


@pytest.fixture(autouse=True)
def here(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "cache"))


def damaged_at_the_beginning(packed: bytes) -> bytes:
    """The same with a byte of the first block changed."""
    return packed[:40] + bytes([packed[40] ^ 1]) + packed[41:]


# ---- options -------------------------------------------------------------------------------------


def test_each_mode_takes_the_options_of_use() -> None:
    opened = opener(level=2, max_memory=1 << 30, model="of another name", **PLAIN)
    with opened("x.llmz", "w", model=None) as file:
        file.write(LINES)
    with opened("x.llmz") as file:
        assert file.read() == LINES
    with pytest.raises(llmzip.ModelNotFoundError), opened("y.llmz", "w"):
        pass
    assert not pathlib.Path("y.llmz").exists()


def test_what_is_no_option_is_refused_at_once() -> None:
    said = "llmzip has no option 'quality'; there are block_lines, block_size, codec"
    with pytest.raises(TypeError, match=said):
        opener(quality=3)
    with pytest.raises(TypeError, match=said):
        opener()("x.llmz", "w", quality=3)
    assert not pathlib.Path("x.llmz").exists()


def test_flushing_costs_nothing() -> None:
    with opener(**PLAIN)("x.llmz", "w") as file:
        for i in range(0, len(LINES), 100):
            file.write(LINES[i : i + 100])
            file.flush()
    assert pathlib.Path("x.llmz").read_bytes() == llmzip.compress(LINES, **PLAIN)
    with pytest.raises(ValueError, match="closed"):
        file.flush()


@pytest.mark.parametrize("name", ["fsspec", "smart_open", "datasets", "duckdb"])
def test_a_library_that_is_not_there_is_named(name: str) -> None:
    script = (
        f"import sys, llmzip; sys.modules[{name!r}] = None\n"
        f"try:\n    import llmzip.integrations.{name}\n"
        "except llmzip.LLMZipError as error:\n    print(error)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=TESTS.parent
    )
    extra = name.replace("_", "-")
    assert ran.stdout == (
        f"llmzip.integrations.{name} needs the package {name}, which is not installed: "
        f"pip install 'llmzip[{extra}]'\n"
    )


# ---- fsspec --------------------------------------------------------------------------------------


def test_fsspec_compression() -> None:
    fsspec = pytest.importorskip("fsspec")
    ours = importlib.import_module("llmzip.integrations.fsspec")
    ours.register("llmzip-test", None, block_size=1024, **PLAIN)
    with fsspec.open("x.llmz", "wt", compression="llmzip-test", newline="") as file:
        file.write(LINES.decode())
    packed = pathlib.Path("x.llmz").read_bytes()
    assert packed == llmzip.compress(LINES, block_size=1024, **PLAIN)
    pathlib.Path("x.llmz").write_bytes(damaged_at_the_beginning(packed))
    with fsspec.open("x.llmz", compression="infer") as file:
        file.seek(5000)
        assert file.read(100) == LINES[5000:5100]
        file.seek(0)
        with pytest.raises(llmzip.IntegrityError):
            file.read(1)
    with pytest.raises(TypeError, match="no option"):
        ours.register("llmzip-test-2", quality=3)
    assert "llmzip-test-2" not in fsspec.available_compressions()
    with fsspec.open("plain.txt", "wb", compression="infer") as file:
        file.write(LINES)
    assert pathlib.Path("plain.txt").read_bytes() == LINES


def test_fsspec_urls() -> None:
    fsspec = pytest.importorskip("fsspec")
    importlib.import_module("llmzip.integrations.fsspec")
    url = "llmzip://x.txt::file://x.txt.llmz"
    with fsspec.open(url, "wb", llmzip={"block_size": 1024, **PLAIN}) as file:
        file.write(LINES)
    assert pathlib.Path("x.txt.llmz").read_bytes() == llmzip.compress(
        LINES, block_size=1024, **PLAIN
    )
    fs, path = fsspec.core.url_to_fs(url)
    assert fs.ls("") == [{"name": "x.txt", "size": len(LINES), "type": "file"}]
    assert fs.info(path) == fs.ls("")[0]
    assert fs.glob("*.txt") == ["x.txt"]
    assert (fs.exists("x.txt"), fs.exists("y.txt")) == (True, False)
    assert fs.cat_file(path, start=5000, end=5100) == LINES[5000:5100]
    with pytest.raises(FileNotFoundError, match=r"has the content 'x\.txt'"):
        fs.open("y.txt")
    for missing in ("llmzip://y.txt::file://y.txt.llmz", "llmzip://y.txt::memory://y.txt.llmz"):
        with pytest.raises(FileNotFoundError), fsspec.open(missing):
            pass
    with pytest.raises(TypeError, match="no option 'quality'"):
        fsspec.open(url, llmzip={"quality": 3})


def test_fsspec_file_system_of_contents() -> None:
    fsspec = pytest.importorskip("fsspec")
    ours = importlib.import_module("llmzip.integrations.fsspec")
    memory = fsspec.filesystem("memory")
    fs = ours.ContentFileSystem(memory, **PLAIN)
    with fs.open("llmzip:///contents/a.llmz", "wb") as file:
        file.write(LINES)
    with fs.open("/contents/b.txt", "w") as file:
        file.write("plain")
    assert memory.cat("/contents/a.llmz") == llmzip.compress(LINES, **PLAIN)
    sizes = {info["name"]: info["size"] for info in fs.ls("/contents")}
    assert sizes == {"/contents/a.llmz": len(LINES), "/contents/b.txt": 5}
    assert sorted(fs.ls("/contents", detail=False)) == sorted(sizes)
    assert fs.glob("llmzip:///contents/*.llmz") == ["/contents/a.llmz"]
    assert fs.find("/contents") == sorted(sizes)
    assert fs.cat("/contents/a.llmz") == LINES
    assert fs.tail("/contents/a.llmz", 30) == LINES[-30:]
    assert fs.cat_file("/contents/a.llmz", -30, -10) == LINES[-30:-10]  # by the file's `size`
    assert fs.isdir("/contents")
    with pytest.raises(FileNotFoundError):
        fs.info("/contents/c.llmz")
    memory.pipe("/contents/d.llmz", b"no llmzip file")
    with pytest.raises(llmzip.FormatError):
        fs.cat("/contents/d.llmz")
    sizes["/contents/d.llmz"] = None
    assert {info["name"]: info["size"] for info in fs.ls("/contents")} == sizes
    memory.rm("/contents", recursive=True)


# ---- smart_open ----------------------------------------------------------------------------------


def test_smart_open() -> None:
    smart_open = pytest.importorskip("smart_open")
    ours = importlib.import_module("llmzip.integrations.smart_open")
    ours.register(".packed", block_size=1024, **PLAIN)
    with smart_open.open("x.packed", "wb") as file:
        file.write(LINES)
    packed = pathlib.Path("x.packed").read_bytes()
    assert packed == llmzip.compress(LINES, block_size=1024, **PLAIN)
    with smart_open.open("x.packed", "ab") as file:
        file.write(b"and a frame")
    with smart_open.open("x.packed", "rb", compression_kwargs={"max_output": 1 << 20}) as file:
        file.seek(-11, os.SEEK_END)
        assert file.read() == b"and a frame"


# ---- tarfile, shutil -----------------------------------------------------------------------------


def folder(name: str = "folder") -> pathlib.Path:
    path = pathlib.Path(name)
    path.mkdir()
    for member in ("a", "b", "c"):
        (path / member).write_bytes(member.encode() + LINES)
    return path


def test_tar_finds_out_what_it_reads() -> None:
    folder()
    for mode in ("", "gz", "xz", "llmz"):
        options = PLAIN if mode == "llmz" else {}
        with TarFile.open("x.tar", f"w:{mode}", **options) as archive:
            archive.add("folder")
        with TarFile.open("x.tar") as archive:
            assert archive.getnames() == ["folder", "folder/a", "folder/b", "folder/c"]
    pathlib.Path("x.tar").write_bytes(b"no archive at all")
    for mode in ("r", "r:llmz"):
        with pytest.raises(tarfile.ReadError):
            TarFile.open("x.tar", mode)
    with pytest.raises(FileExistsError):
        TarFile.open("x.tar", "x:llmz", **PLAIN)


def test_tar_members_are_read_alone() -> None:
    folder()
    sink = io.BytesIO()
    with TarFile.open(fileobj=sink, mode="w:llmz", block_size=1024, codec="raw") as archive:
        for name in ("a", "b", "c"):
            archive.add(f"folder/{name}")
    packed = sink.getvalue().replace(b"line 100", b"line 1oo", 1)  # where no header is
    with TarFile.open(fileobj=io.BytesIO(packed)) as archive:
        found = archive.extractfile("folder/c")
        assert found is not None
        assert found.read() == b"c" + LINES
        broken = archive.extractfile("folder/a")
        assert broken is not None
        with pytest.raises(llmzip.IntegrityError):
            broken.read()


def test_tar_after_an_exception_is_not_complete() -> None:
    folder()
    with (
        pytest.raises(ZeroDivisionError),
        TarFile.open("x.tar.llmz", "w:llmz", block_size=1024, **PLAIN) as archive,
    ):
        archive.add("folder")
        print(1 / 0)
    with pytest.raises(llmzip.TruncatedError), llmzip.open("x.tar.llmz") as file:
        file.read()


@pytest.mark.usefixtures("cache_with_tiny_model")
def test_tar_without_its_model_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    folder()
    with TarFile.open("x.tar.llmz", "w:llmz", codec="llm", level=1) as archive:
        archive.add("folder/a")
    monkeypatch.setenv("LLMZIP_CACHE", "empty")
    monkeypatch.setattr(engine_loader, "_loaded", None)
    with pytest.raises(llmzip.ModelNotFoundError):
        TarFile.open("x.tar.llmz")


def test_shutil() -> None:
    ours = importlib.import_module("llmzip.integrations.shutil")
    root = folder("root")
    ours.register("llmztar-test", block_size=1024, **PLAIN)
    name = shutil.make_archive("new/x", "llmztar-test", root, "a", owner="root", group="root")
    assert pathlib.Path(name).resolve() == pathlib.Path("new/x.tar.llmz").resolve()
    with TarFile.open(name) as archive:
        (member,) = archive.getmembers()
        assert (member.name, member.uid, member.uname, member.gname) == ("a", 0, "root", "root")
    shutil.unpack_archive(name, "out")
    assert pathlib.Path("out/a").read_bytes() == b"a" + LINES
    shutil.make_archive("dry", "llmztar-test", root, dry_run=True)
    assert not pathlib.Path("dry.tar.llmz").exists()
    ours.register("llmztar-test", level=42)
    with pytest.raises(ValueError, match="level 42"):
        shutil.make_archive("bad", "llmztar-test", root)
    assert not pathlib.Path("bad.tar.llmz").exists()
    shutil.unregister_archive_format("llmztar-test")


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="a first release of this Python")
def test_shutil_leaves_no_folder() -> None:
    importlib.import_module("llmzip.integrations.shutil")
    with TarFile.open("evil.tar.llmz", "w:llmz", **PLAIN) as archive:
        archive.addfile(tarfile.TarInfo("../outside"), io.BytesIO())
    with pytest.raises(tarfile.OutsideDestinationError):
        shutil.unpack_archive("evil.tar.llmz", "out")
    assert not pathlib.Path("outside").exists()


# ---- datasets, DuckDB ----------------------------------------------------------------------------


def test_datasets_reads_what_it_unpacks_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """CSV is decompressed into the cache; folders and globs find their builder by the suffix."""
    datasets = pytest.importorskip("datasets")
    importlib.import_module("llmzip.integrations.datasets")
    pathlib.Path("rows").mkdir()
    for i in range(2):
        with llmzip.open(f"rows/{i}.csv.llmz", "wt", **PLAIN) as file:
            file.write(f"number,text\n{i},of the file {i}\n")
    cache = str(pathlib.Path("hf").resolve())
    for place in ("rows", "rows/*.csv.llmz"):
        found = (
            datasets.load_dataset("rows", split="train", cache_dir=cache)
            if place == "rows"
            else datasets.load_dataset("csv", data_files=place, split="train", cache_dir=cache)
        )
        assert found["number"][:] == [0, 1]
    pathlib.Path("bad.csv.llmz").write_bytes(b"\x8cLZ and nothing more")
    with pytest.raises(datasets.exceptions.DatasetGenerationError) as caught:
        datasets.load_dataset("csv", data_files="bad.csv.llmz", cache_dir=cache)
    assert isinstance(caught.value.__cause__, llmzip.FormatError)


def test_duckdb() -> None:
    duckdb = pytest.importorskip("duckdb")
    ours = importlib.import_module("llmzip.integrations.duckdb")
    with pytest.raises(TypeError, match="no option 'quality'"), duckdb.connect() as connection:
        ours.register(connection, quality=3)
    with duckdb.connect() as connection:
        ours.register(connection, **PLAIN)
        text = LINES.decode() + "ÄÖÜ"
        packed, again, nothing = connection.execute(
            "SELECT llmzip($1) AS packed, unllmzip(packed), unllmzip(llmzip(NULL))", [text]
        ).fetchone()
        assert (packed, again, nothing) == (llmzip.compress(text.encode(), **PLAIN), text, None)
        with pytest.raises(duckdb.Error, match="not an llmzip file"):
            connection.execute("SELECT unllmzip('no packed text'::BLOB)").fetchall()
        numbers = "(SELECT range AS n FROM range(5000))"
        connection.execute(f"COPY {numbers} TO 'llmzip://n.csv.llmz' (FORMAT csv)")
        assert pathlib.Path("n.csv.llmz").stat().st_size < 10_000
        count = "SELECT count(*), sum(n) FROM read_csv('llmzip://n.csv.llmz')"
        assert connection.execute(count).fetchone() == (5000, 12497500)
