"""How the files of a source become plain documents; each reader takes a path, a text and a
generator of chances, and gives the documents in the text.
"""

from __future__ import annotations

import random
import re
import textwrap
from collections.abc import Callable, Iterator
from xml.etree import ElementTree

Reader = Callable[[str, str, random.Random], Iterator[str]]

_PLAIN = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "—": "--", "…": "...", "*": "_"})
_LONGEST_LINE = 2000  # longer ones are data, not text
_BOOK_PART = 150_000


def wrapped(text: str, width: int) -> str:
    """Paragraphs in lines, as old plain-text editions have them."""
    return "\n\n".join(
        textwrap.fill(p, width, break_long_words=False, break_on_hyphens=False)
        for p in text.split("\n\n")
    )


def plain(_path: str, text: str, _chance: random.Random) -> Iterator[str]:
    if max(map(len, text.split("\n"))) <= _LONGEST_LINE:
        yield text


def markdown(_path: str, text: str, _chance: random.Random) -> Iterator[str]:
    """Without YAML at the head and comments; what embeds data or pictures in a line is left out."""
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
    if "base64," not in text and max(map(len, text.split("\n"))) <= 4 * _LONGEST_LINE:
        yield text.strip("\n")


def article(path: str, text: str, chance: random.Random) -> Iterator[str]:
    """An encyclopedia's article: running text and headings, without notes, categories, pictures;
    one in six wrapped.
    """
    text = re.split(r"\n(?:References|Notes|External links|See also|Further reading)\n", text)[0]
    text = re.sub(r"\[\d+\]|\[(?:note|nb|a|b|c) ?\d*\]", "", text)
    title = path.rsplit("/", 1)[-1].removesuffix(".md").replace("_", " ")
    name = re.sub(r" \(.*\)$", "", title)
    if text.startswith(name.upper()):  # bold print came as capitals
        text = name + text[len(name) :]
    elif re.match(r"[A-Z]{3,}[ ,][A-Z]{3,}", text):
        return
    text = re.sub(r"\( *[;,] *", "(", text).replace("()", "")
    paragraphs = []
    for paragraph in re.split(r"\n{2,}", text):
        lines = [
            line
            for line in paragraph.split("\n")
            if not re.search(
                r"\bCategory:|\.(?:jpe?g|png|svg|gif|JPE?G|PNG)\b|\|\w+=|\{\{|\}\}", line
            )
            and len(line) <= 2 * _LONGEST_LINE
        ]
        joined = "\n".join(lines).replace("_", "").strip()
        if joined:
            paragraphs.append(joined)
    while paragraphs and len(paragraphs[-1]) < 60:  # a heading without a text
        paragraphs.pop()
    running = sum(len(p) for p in paragraphs if len(p) > 200)
    whole = "\n\n".join(paragraphs)
    if (
        running < 1200
        or running < 0.8 * len(whole)
        or re.search(r"[^\x00-\u024f\u2000-\u20ff]{9}", whole)
    ):
        return
    whole = f"{title}\n\n{whole}"
    yield wrapped(whole, chance.randint(68, 79)) if chance.random() < 1 / 6 else whole


def book(path: str, text: str, chance: random.Random) -> Iterator[str]:
    """A part of a book in Markdown, half of them as old plain-text editions look."""
    head = re.match(r"# Title: (.*)\n+## Author: (.*)\n+## Year: (.*)\n+-+\n", text)
    body = text[head.end() :] if head else text
    if len(body) > _BOOK_PART:
        first = body.find("\n\n", chance.randrange(len(body) - _BOOK_PART))
        body = body[first : first + _BOOK_PART]
        body = body[: body.rfind("\n\n")]
    body = re.sub(r"\n{3,}", "\n\n", body.replace("\u00a0", " ")).strip("\n")
    if chance.random() < 0.5:
        yield body
        return
    body = re.sub(r"(?m)^#+ *(.*)$", lambda m: m[1].upper(), body)
    yield wrapped(body.translate(_PLAIN), chance.randint(64, 76))


def cnxml(_path: str, text: str, chance: random.Random) -> Iterator[str]:
    """A textbook's module: paragraphs, titles, captions; formulas as their letters."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return
    blocks: list[str] = []

    def name(element: ElementTree.Element) -> str:
        return element.tag.rsplit("}", 1)[-1]

    def inline(element: ElementTree.Element) -> Iterator[str]:
        yield element.text or ""
        for child in element:
            if name(child) not in {
                "metadata",
                "media",
                "list",
                "table",
                "figure",
                "footnote",
                "note",
            }:
                yield from inline(child)
            yield child.tail or ""

    def walk(element: ElementTree.Element) -> None:
        for child in element:
            tag = name(child)
            if tag in {"metadata", "media", "glossary"}:
                continue
            if tag in {"para", "title", "item", "caption", "entry"}:
                words = " ".join("".join(inline(child)).split())
                if words:
                    blocks.append(f"- {words}" if tag == "item" else words)
            walk(child)

    walk(root)
    whole = "\n\n".join(blocks)
    whole = re.sub(r"(?m)^(- .*)\n\n(?=- )", r"\1\n", whole)
    yield wrapped(whole, 78) if chance.random() < 1 / 6 else whole


READERS: dict[str, Reader] = {
    "plain": plain, "markdown": markdown, "article": article, "book": book, "cnxml": cnxml,
}  # fmt: skip
