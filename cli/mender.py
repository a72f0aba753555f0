"""What mends a model with outliers, chosen at its installation, for `llmzip models`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmzip.model.float_model import FloatModel
    from llmzip.model.integer_model import IntegerModel
    from llmzip.types import DownloadProgress


class Mender:
    """Chooses what a model needs, and keeps what it was before."""

    def __init__(self, progress: DownloadProgress | None) -> None:
        self._progress = progress
        self.before = ""
        """The fingerprint of the model as it was."""
        self.changes: dict[str, Any] = {}
        """What its features have in addition."""

    @property
    def is_other(self) -> bool:
        """Whether another model came of it."""
        return bool(self.changes)

    def __call__(self, source: FloatModel, model: IntegerModel) -> IntegerModel:
        """See `ModelStore.pull`."""
        from llmzip.scoring.mending import mended

        told = functools.partial(self._progress, "convert") if self._progress else None
        found = mended(source, model, told)
        self.before = model.fingerprint.hex()
        had, has = (one.spec.features.changes() for one in (model, found))
        self.changes = {key: value for key, value in has.items() if had.get(key) != value}
        return found

    @property
    def described(self) -> str:
        """The changes in words."""
        parts = []
        for name, value in self.changes.items():
            listed = ", ".join(value) if isinstance(value, list) else value
            parts.append(name if value is True else f"{name} {listed}")
        return "; ".join(parts)
