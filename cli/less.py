"""`llmzip less`: the system's less on decompressed text, which it gets while blocks are decoded."""

from __future__ import annotations

import os
import shlex
import sys

from llmzip.cli.wrapping import WrappingCommand, program, split


def _run(words: list[str]) -> None:
    # Options of less are not told from FILEs here; only our own are taken out.
    own = split([word for word in words if "=" in word], "", ()).own
    cat = [sys.executable, "-m", "llmzip", "cat", "-fq", *own]
    preprocessor = " ".join(shlex.quote(word).replace("%", "%%") for word in cat)
    os.environ["LESSOPEN"] = f"|-{preprocessor} -- %s"
    os.environ.pop("LESSCLOSE", None)
    path = program("less")
    sys.stdout.flush()
    os.execv(path, ["less", *(word for word in words if word not in own)])


less = WrappingCommand(
    "less",
    _run,
    help="Page through the text of files, compressed or not, with the options of less.",
    options_metavar="[OPTION OF LESS]... [FILE]...",
)
