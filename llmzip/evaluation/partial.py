"""What an interrupted evaluation has measured so far, kept on disk so that the same command goes on from there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import pathlib
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Partial:
    """The cells that are done; a cell is any JSON value, found again by what decides it."""

    def __init__(self, path: pathlib.Path | None = None) -> None:
        """path: a file of JSON lines; None: nothing is kept beyond this object."""
        self.path = path
        self._cells: dict[str, Any] = {}
        if path and path.is_file():
            for line in path.read_text("utf-8").splitlines():
                with contextlib.suppress(ValueError):  # the last line of a run that was killed
                    cell = json.loads(line)
                    self._cells[cell["key"]] = cell["values"]

    def get(self, identity: object) -> Any:
        """The values of a cell that was measured before, else None. identity: JSON with all that decides them."""
        return self._cells.get(_key(identity))

    def put(self, identity: object, values: Any) -> None:
        """A cell is measured."""
        key = _key(identity)
        self._cells[key] = values
        if self.path:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "values": values}) + "\n")

    def cell(self, identity: object, measure: Callable[[], T]) -> T:
        """The values of a cell: those that are known, else by `measure`."""
        known: T | None = self.get(identity)
        if known is not None:
            return known
        values = measure()
        self.put(identity, values)
        return values

    def finish(self) -> None:
        """The run is complete: nothing is left to continue."""
        if self.path:
            self.path.unlink(missing_ok=True)


def _key(identity: object) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
