"""What an interrupted evaluation has measured so far, kept on disk so that the same command goes on
from there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import pathlib
from collections.abc import Callable
from typing import Any, TypeVar

from llmzip.evaluation.json_values import from_json, to_json

T = TypeVar("T")


class Partial:
    """The cells that are measured. A cell is any value that `json_values` knows, found again by
    what decides it.
    """

    def __init__(self, path: pathlib.Path | None = None) -> None:
        """path: a file of JSON lines; None: cells are kept only as long as this object lives."""
        self.path = path
        self._cells: dict[str, Any] = {}
        self._is_cut = False
        if path and path.is_file():
            text = path.read_text("utf-8", "replace")
            self._is_cut = bool(text) and not text.endswith("\n")
            for line in text.splitlines():
                # The last line of a run that was killed, or what a crash of the machine has left.
                with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
                    cell = json.loads(line)
                    self._cells[cell["key"]] = cell["values"]

    def get(self, kind: type[T], identity: object) -> T | None:
        """The value of a cell that was measured before, else None. identity: all that decides
        it.
        """
        known = self._cells.get(_key(identity))
        try:
            return None if known is None else from_json(kind, known)
        except ValueError:  # no such value: it is measured again
            return None

    def put(self, identity: object, value: object) -> None:
        """Keep the value of a cell."""
        key, values = _key(identity), to_json(value)
        self._cells[key] = values
        if self.path:
            with self.path.open("a", encoding="utf-8") as file:
                file.write("\n" * self._is_cut + json.dumps({"key": key, "values": values}) + "\n")
            self._is_cut = False

    def cell(self, kind: type[T], identity: object, measure: Callable[[], T]) -> T:
        """The value of a cell: the one that is known, else what `measure` returns."""
        known = self.get(kind, identity)
        if known is not None:
            return known
        value = measure()
        self.put(identity, value)
        return value

    def finish(self) -> None:
        """The run is complete: nothing is left to continue."""
        if self.path:
            self.path.unlink(missing_ok=True)


def _key(identity: object) -> str:
    return hashlib.sha256(json.dumps(to_json(identity), sort_keys=True).encode()).hexdigest()
