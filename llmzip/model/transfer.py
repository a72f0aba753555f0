"""Integer models as single files, to carry to machines that cannot fetch or convert them."""

from __future__ import annotations

import pathlib
import tempfile

import safetensors

from llmzip.errors import IntegrityError, ModelError
from llmzip.model.cache import CachedModel
from llmzip.model.files import digest_of
from llmzip.model.integer_model import IntegerModel
from llmzip.model.store import ModelStore


def export_model(store: ModelStore, name: str, path: pathlib.Path, overwrite: bool = False) -> None:
    """Write an installed model, verified, to a file, whole or not at all.

    Raises FileExistsError where the file is there and may not be overwritten, and what
    `ModelStore.resolve` raises.
    """
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path}: exists already")
    model = store.resolve(name)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        draft = pathlib.Path(folder) / path.name
        try:
            model.save(draft)
        except safetensors.SafetensorError as error:
            raise ModelError(f"{path}: cannot write the model: {error}") from error
        draft.replace(path)


def import_model(store: ModelStore, path: pathlib.Path, label: str | None = None) -> CachedModel:
    """Install a model from a file that `export_model` wrote; what it says of itself is verified.

    label: what the model is called; by default as the file is, without its suffix.

    Raises IntegrityError where the file is damaged or something else, ModelMismatchError for a
    model of another arithmetic version.
    """
    try:
        model = IntegerModel.load(path)
    except IntegrityError as error:
        raise IntegrityError(
            f"{path}: damaged, or not a file that `llmzip models export` wrote"
        ) from error
    return store.cache.add(model, label or path.stem, f"file {path.name}", digest_of(path).hex())
