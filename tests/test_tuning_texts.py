"""Training text: what is shared with texts that are measured stays out, and readers clean up."""

from __future__ import annotations

import pathlib
import random
import subprocess

import pytest

from benchmarks import tuning_texts
from benchmarks.tuning_readers import READERS

SENTENCE = (
    "the quick brown fox number {n} jumped over lazy dogs while {n} owls watched from a tree "
)
GIT = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]


def prose(first: int, count: int) -> str:
    return "\n\n".join(SENTENCE.format(n=n) * 2 for n in range(first, first + count))


@pytest.fixture
def repositories(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "all" / "owner+texts"
    folder.mkdir(parents=True)
    (folder / "own.md").write_text("---\ntitle: t\n---\n" + prose(0, 80), "utf-8")
    (folder / "partly.md").write_text(prose(100, 99) + "\n\n" + prose(900, 1), "utf-8")
    (folder / "copied.md").write_text(prose(900, 10), "utf-8")
    (folder / "known.md").write_text(prose(500, 80), "utf-8")
    (folder / "other.py").write_text("x = 1\n" * 200, "utf-8")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "texts"]):
        subprocess.run([*GIT, "-C", str(folder), *arguments], check=True)
    return folder.parent


def drawn(repositories: pathlib.Path, tmp_path: pathlib.Path, output: str) -> str:
    sources, measured, known = (tmp_path / name for name in ("sources.csv", "measured", "known"))
    sources.write_text(
        "kind,name,commit,paths,reader,bytes,longest,license\n"
        r"docs.md,owner/texts,HEAD,\.md$,markdown,1000000,60000,CC0" + "\n",
        "utf-8",
    )
    measured.write_text(prose(900, 10).upper().replace(" ", ",\n"), "utf-8")
    known.write_text(prose(500, 80), "utf-8")
    folder = tmp_path / output
    arguments = [repositories, folder, "--sources", sources, "--without", measured]
    assert tuning_texts.main([*map(str, arguments), "--known", str(known)]) == 0
    assert "owner/texts @ HEAD: CC0" in (folder / "sources.md").read_text("utf-8")
    return (folder / "docs.md").read_text("utf-8")


def test_paragraphs_and_documents_that_share_text_are_left_out(
    repositories: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    text = drawn(repositories, tmp_path, "first")
    assert len(text.split(tuning_texts.DOCUMENT_END)) == 2
    assert "number 0 " in text and "number 197 " in text  # one document whole, one in part
    assert "number 900 " not in text  # measured, whatever its case and punctuation
    assert "number 500 " not in text  # known before
    assert "title: t" not in text and "x = 1" not in text
    assert drawn(repositories, tmp_path, "second") == text


def test_an_article_is_running_text() -> None:
    first = "PARIS is the capital of France.[1] " + "It lies on the Seine. " * 60
    second = "History\n\n" + "It is _old_ (; born early). " * 30
    text = "\n\n".join((first, "tower.jpg The tower", second, "References", "[1] A book"))
    (article,) = READERS["article"]("Page/Paris.md", text, random.Random(1))
    assert article.startswith("Paris\n\nParis is the capital of France. It lies")
    assert "It is old (born early)." in " ".join(article.split())
    assert not any(word in article for word in ("jpg", "References", "A book", "_"))
    assert not list(READERS["article"]("Page/Paris.md", "PARIS is short.", random.Random(1)))


def test_a_textbooks_module_is_its_paragraphs() -> None:
    text = (
        '<document xmlns="http://cnx.rice.edu/cnxml"><title>Stars</title>'
        "<metadata><x>m1</x></metadata><content><para>A <term>star</term>\n shines.</para>"
        "<list><item>one</item><item>two</item></list></content></document>"
    )
    (module,) = READERS["cnxml"]("index.cnxml", text, random.Random(3))
    assert module == "Stars\n\nA star shines.\n\n- one\n- two"
    assert not list(READERS["cnxml"]("index.cnxml", "<broken", random.Random(3)))


def test_books_come_in_both_looks() -> None:
    text = (
        "# Title: T\n\n## Author: A\n\n## Year: 1900\n\n-------\n\n## I\n\n"
        + "“Yes,” he said. " * 40
    )
    looks = {next(READERS["book"]("b.md", text, random.Random(n))) for n in range(20)}
    assert any(look.startswith("## I\n\n“Yes,”") for look in looks)
    plain = [look for look in looks if look.startswith('I\n\n"Yes," he said.')]
    assert plain and all(max(map(len, look.split("\n"))) <= 76 for look in plain)
