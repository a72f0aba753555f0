"""What a call is going to read, write and remove, looked through before anything starts.

No input may be overwritten while it waits, and nothing that decompression needs (the dictionary,
the model, the store of the models) may be overwritten or removed. Files are compared by device and
inode, so that other names do not hide them.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from llmzip.cli import files, folders, paths
from llmzip.cli.arguments import Action, Arguments
from llmzip.cli.files import RefusalError
from llmzip.cli.inputs import Complain, Source, sources
from llmzip.cli.paths import Identity


def output_of(source: Source, arguments: Arguments) -> Path | None:
    """Where the output of an input goes; None: standard output. Raises RefusalError where no name
    can be given to it.
    """
    if arguments.output is not None:
        return Path(arguments.output)
    if source.path is None and arguments.output_dir:
        raise RefusalError("has no name for its output in a folder: name it with -o FILE")
    if source.path is None or arguments.stdout:
        return None
    target = (
        files.compressed_name(source.path, arguments.suffix)
        if arguments.action is Action.COMPRESS
        else files.restored_name(source.path, arguments.suffixes)
    )
    if arguments.output_dir_flat:
        return Path(arguments.output_dir_flat, target.name)
    if arguments.output_dir_mirror:
        return folders.mirrored(Path(arguments.output_dir_mirror), target)
    return target


def plan(arguments: Arguments, complain: Complain) -> list[Source]:
    """The inputs that can be worked on. Those that -r came across are left out where they are in
    the way of others, or others of them; where an input that the user has named is, there is
    nothing to work on at all.
    """
    found = list(sources(arguments, complain))
    if arguments.action not in (Action.COMPRESS, Action.DECOMPRESS):
        return found
    if arguments.writes_beside:
        found = list(_once(found))
    conflict = _conflicts(found, arguments)
    left, go = [], True
    for source in found:
        try:
            conflict(source)
            left.append(source)
        except RefusalError as error:
            go = go and not source.named
            complain(source.label, error)
        except OSError:
            left.append(source)  # the work will meet the same error and report it
    return left if go else []


def _once(found: list[Source]) -> Iterator[Source]:
    """The inputs without those that were named or come across again: their output would be the same
    file.
    """
    seen = set()
    place_of = _places()
    for source in found:
        if source.path is not None:
            if (place := place_of(source.path)) in seen:
                continue
            seen.add(place)
        yield source


def _places() -> Callable[[Path], tuple[str, str]]:
    """A function that gives names of files which are the same for all ways to their folders."""
    real = functools.cache(os.path.realpath)
    return lambda path: (real(path.parent), path.name)


def _conflicts(found: list[Source], arguments: Arguments) -> Callable[[Source], None]:
    """A function that raises RefusalError where an input is not to be removed, or its output not to
    be written.
    """
    needed = functools.cache(lambda: _Needed(arguments))
    inputs: dict[Identity, Source] = {}
    place_of = _places()
    outputs: dict[tuple[str, str], Source] = {}
    for source in found:
        if (identity := paths.identity_of(source.path_or_descriptor)) is not None:
            inputs.setdefault(identity, source)

    def check(source: Source) -> None:
        if arguments.remove and source.path is not None and (what := needed().name(source.path)):
            raise RefusalError(f"is {what}, which decompression needs: --rm does not remove it")
        try:
            target = output_of(source, arguments)
        except RefusalError:
            return  # of this input alone: the work will meet it
        file = 1 if target is None else target
        if arguments.output_dir and target is not None:
            first = outputs.setdefault(place_of(target), source)
            if first is not source:
                raise RefusalError(f"its output would be that of {first.label}, too: {target}")
        identity = paths.identity_of(file, regular=True)
        if identity is None or not (
            arguments.force or target is None or files.is_written_into(target)
        ):
            return  # nothing is overwritten
        if identity == paths.identity_of(source.path_or_descriptor):
            raise RefusalError("is also the output")
        other = inputs.get(identity)
        # Where neither holds, that one is left out, and this one can be worked on.
        if other and (other.named or target is not None):
            raise RefusalError(f"its output would overwrite {other.label}, which is an input, too")
        if what := needed().name(file):
            raise RefusalError(f"its output would overwrite {what}, which decompression needs")

    return check


class _Needed:
    """What decompression needs besides the compressed file."""

    def __init__(self, arguments: Arguments) -> None:
        from llmzip.model.store import MODEL_VARIABLE, ModelStore  # loads more than most calls need

        model = arguments.model or os.environ.get(MODEL_VARIABLE)
        store = ModelStore().cache.root
        names = {
            "the dictionary": arguments.dictionary,
            "the model": model,
            "part of the store of models": store,
        }
        self._names = {
            identity: what
            for what, path in names.items()
            if path and (identity := paths.identity_of(path)) is not None
        }

    def name(self, file: Path | int) -> str | None:
        """What a file is, or is part of; None if it is nothing that is needed."""
        known = [paths.identity_of(file)]
        if isinstance(file, Path):
            known += paths.folders_above(file)
        return next((self._names[identity] for identity in known if identity in self._names), None)
