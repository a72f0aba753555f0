"""The public corpora that llmzip fetches on demand, as data.

Digests of archives are of the downloaded file, each found in several independent public sources.
Where there is none, what is first downloaded is recorded and held to from then on ("trust on first
use"). Digests of joined texts are of the text, made from the repositories themselves. None of the
downloads has been tried by the project's tests, which run without a network: an address may have
moved. A wrong digest refuses a file; it never lets one through.
"""

from __future__ import annotations

import dataclasses

from llmzip.corpora.recent import EIPS_2026, EIPS_COMMIT, RUST_BLOG_2026, RUST_BLOG_COMMIT


@dataclasses.dataclass(frozen=True)
class Corpus:
    """One corpus: an archive that is downloaded, or files that are joined to one text."""

    name: str
    url: str
    """Of the archive, or of the folder of `parts`."""
    download_bytes: int | None
    """Of the archive or of all parts; None where it grows."""
    sha256: str | None
    """Of the archive, or of the joined text, in hex; None: trust on first use."""
    license: str
    description: str
    suffix: str = ""
    """Only the archive's files whose names end so; of a joined text, how its name ends."""
    parts: tuple[str, ...] = ()
    """Files below `url` that are downloaded and joined in this order, instead of an archive."""
    dated: bool = False
    """Whether the files carry dates (`library.month_of`)."""


_WIKIPEDIA = "CC BY-SA 3.0 and GFDL (Wikipedia)"
_UNSTATED = "no license stated; published for compression research"

CORPORA: tuple[Corpus, ...] = (
    Corpus(
        "eips2026a",
        f"https://raw.githubusercontent.com/ethereum/EIPs/{EIPS_COMMIT}/EIPS",
        550_170,
        "799baa3013297f0eb7594f2ed934df3dd47cd2df13999e96f6db3bc9c299f624",
        "CC0-1.0",
        "proposals for Ethereum of 2026: technical prose that is newer than the model",
        suffix=".md",
        parts=tuple(f"eip-{number}.md" for number in EIPS_2026),
    ),
    Corpus(
        "rustblog2026a",
        f"https://raw.githubusercontent.com/rust-lang/blog.rust-lang.org/{RUST_BLOG_COMMIT}/content",
        698_496,
        "b5416a5ddf8f879c5fff5c12068125c29a0d435ec510924e162627cc574d2ce7",
        "MIT or Apache-2.0",
        "posts of the Rust blog of 2025 and 2026: prose that is newer than the model",
        suffix=".md",
        parts=RUST_BLOG_2026,
    ),
    Corpus(
        "enwik8",
        "http://mattmahoney.net/dc/enwik8.zip",
        36_445_475,
        "547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc",
        _WIKIPEDIA,
        "first 10^8 bytes of English Wikipedia of March 2006, as XML",
    ),
    Corpus(
        "enwik9",
        "http://mattmahoney.net/dc/enwik9.zip",
        322_592_222,
        "99cdb5ac84392252d3f0912ccedd195bc95bd80cbef3b0cdf2eee4ad9a3b7a51",
        _WIKIPEDIA,
        "first 10^9 bytes of the same",
    ),
    Corpus(
        "text8",
        "http://mattmahoney.net/dc/text8.zip",
        None,
        "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232",
        _WIKIPEDIA,
        "10^8 letters of the same, cleaned: a to z and spaces",
    ),
    Corpus(
        "canterbury",
        "https://corpus.canterbury.ac.nz/resources/cantrbry.tar.gz",
        739_071,
        "f140e8a5b73d3f53198555a63bfb827889394a42f20825df33c810c3d5e3f8fb",
        _UNSTATED,
        "eleven small files of 1997; old: models know them by heart",
    ),
    Corpus(
        "calgary",
        "https://corpus.canterbury.ac.nz/resources/calgary.tar.gz",
        1_070_276,
        "e109eebdc19c5cee533c58bd6a49a4be3a77cc52f84ba234a089148a4f2093b7",
        _UNSTATED,
        "eighteen small files of 1987; old: models know them by heart",
    ),
    Corpus(
        "silesia",
        "https://sun.aei.polsl.pl/~sdeor/corpus/silesia.zip",
        68_182_744,
        "0626e25f45c0ffb5dc801f13b7c82a3b75743ba07e3a71835a41e3d9f63c77af",
        _UNSTATED,
        "twelve larger files of 2003: text, XML, programs, images, databases",
    ),
    Corpus(
        "rust-blog",
        "https://github.com/rust-lang/blog.rust-lang.org/archive/refs/heads/main.zip",
        None,
        None,
        "MIT or Apache-2.0",
        "posts of the Rust blog, each with its date: text that is newer than the model",
        suffix=".md",
        dated=True,
    ),
)


def by_name(name: str) -> Corpus | None:
    """The corpus of that name, if there is one."""
    return next((corpus for corpus in CORPORA if corpus.name == name), None)
