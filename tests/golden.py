"""The golden frames: inputs by formula, and where the frames of each format version are.

`python -m tests.tools.golden_frames` writes those of the present version.
"""

from __future__ import annotations

import pathlib
from typing import Any

DATA = pathlib.Path(__file__).parent / "data"
FOLDER = DATA / "golden"
OF_VERSIONS = {5: DATA / "golden-5", 4: DATA / "golden-4", 3: DATA / "golden-3"}
"""The same cases as earlier versions wrote them."""
OF_FAMILIES = DATA / "golden-families"
"""Frames of decoders with features, made with the models of `tiny_families`."""
OF_DEFAULT_MODEL = DATA / "golden-default" / "text.llmz"

TEXT = (
    b"The value of an expression is an object, and the type of that object determines which "
    b"operations it supports. When a\nfunction is called, the arguments are evaluated from left to "
    b"right; a new local scope is created, and the names of the\nparameters are bound to the "
    b"values in it. If the name is not found in the local scope, it is looked up in the "
    b"global\nscope of the module that contains the function. A class definition is an executable "
    b"statement: it first evaluates the\nlist of base classes, if there is one, and then executes "
    b"the body in a new namespace. The class name is bound to the\nclass object. Methods are "
    b"functions that are defined in the body of a class, and the first argument is the instance "
    b"on\nwhich the method is called. An exception is raised when an error occurs, for example "
    b"when a number is divided by zero\nor an index is out of range, and it can be handled by the "
    b"except clause of the statement that surrounds the call. Note\nthat the finally clause is "
    b"executed in any case, whether the exception was handled or not. The return statement "
    b"leaves\nthe current function with the value of the expression list, or None if there is no "
    b"expression list at all.\n"
)
BINARY = bytes(i * i * 7 % 251 ^ i * 13 % 256 for i in range(1024))

CASES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "empty": (b"", {}),
    "one-byte": (b"x", {}),
    "short": (TEXT[:120], {}),
    "text": (TEXT, {}),
    "streams": (TEXT, {"level": 1}),
    "blocks": (TEXT * 4, {"level": 1, "block_size": 1024}),
    "escapes": (TEXT[:300] + b"\x04 the caf\xe9 <|endoftext|>\r\n" + TEXT[300:500], {}),
    "repeats": (b"abcdefgh" * 400, {}),
    "binary": (BINARY[:700], {}),
    "stored": (BINARY + BINARY[:60], {"block_size": 1024}),
    "xz": (BINARY * 2, {"codec": "xz"}),
    "meta-token": (TEXT * 2 + b"\x04 caf\xe9", {"codec": "meta-token"}),
    "no-mixing": (TEXT, {"level": 1, "mixing": False}),
    "solid": (TEXT, {"level": 1, "block_size": 1024, "solid": True}),
    "dictionary": (TEXT[600:800], {"dictionary": TEXT[:600]}),
    "matches": (TEXT + BINARY[:30] + TEXT[:400] + b"--" + TEXT[402:900], {"level": 1}),
    "matches-solid": (TEXT * 3, {"level": 1, "block_size": 1024, "solid": True}),
    "matches-dictionary": (TEXT[600:700] + TEXT[:300], {"dictionary": TEXT[:600]}),
    "matches-binary": (BINARY[:700] * 4, {"block_size": 1024, "solid": True}),
    "mixed": (BINARY + TEXT, {"block_size": 1024}),
}


FAMILY_TEXT, FAMILY_OPTIONS = TEXT[:500], {"level": 1, "codec": "llm"}
"""What each frame in `OF_FAMILIES` holds, and how it was made."""


def frame_path(name: str, folder: pathlib.Path = FOLDER) -> pathlib.Path:
    return folder / f"{name}.llmz"


def needs(name: str) -> dict[str, Any]:
    """What decoding must be given beside the frame."""
    return {key: value for key, value in CASES[name][1].items() if key == "dictionary"}
