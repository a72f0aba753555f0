"""shutil: archives .tar.llmz by `make_archive` and `unpack_archive`.

Importing this module registers the format "llmztar".
"""

from __future__ import annotations

import pathlib
import shutil
import tarfile
from typing import Any

from llmzip.integrations.files import EXTENSION, opener
from llmzip.integrations.tarfile import TarFile

NAME = "llmztar"
SUFFIX = f".tar.{EXTENSION}"


def register(name: str = NAME, **options: Any) -> None:
    """Give shutil an archive format of this name with options of `LLMZipFile`; those of no use in a
    mode are left out.

    The format "llmztar" unpacks, too; others make archives that it unpacks. Raises TypeError for an
    option that there is not.
    """
    opener(**options)
    given = list(options.items())
    shutil.register_archive_format(name, make_archive, given, f"tar in an llmzip file ({SUFFIX})")
    if name == NAME:
        if name in {known for known, *_ in shutil.get_unpack_formats()}:
            shutil.unregister_unpack_format(name)
        shutil.register_unpack_format(name, [SUFFIX], unpack_archive, given)


def make_archive(
    base_name: str,
    base_dir: str,
    *,
    root_dir: str | None = None,
    owner: str | None = None,
    group: str | None = None,
    dry_run: bool = False,
    logger: Any = None,
    **options: Any,
) -> str:
    """What `shutil.make_archive` calls; the name of the archive."""
    path = pathlib.Path(base_name + SUFFIX)
    if logger is not None:
        logger.info("creating %s", path)
    if dry_run:
        return str(path)

    def owned(member: tarfile.TarInfo) -> tarfile.TarInfo:
        if owner is not None:
            member.uid, member.uname = _user(owner), owner
        if group is not None:
            member.gid, member.gname = _group(group), group
        return member

    path.parent.mkdir(parents=True, exist_ok=True)
    with TarFile.open(path, "w:llmz", **options) as archive:
        archive.add(pathlib.Path(root_dir or "", base_dir), base_dir, filter=owned)
    return str(path)


make_archive.supports_root_dir = True  # type: ignore[attr-defined]  # or shutil changes the folder


def unpack_archive(
    filename: str, extract_dir: str, *, filter: Any = "data", **options: Any
) -> None:
    """What `shutil.unpack_archive` calls."""
    # The first releases of Python 3.10 and 3.11 have no filters.
    filters = {"filter": filter} if hasattr(tarfile, "data_filter") else {}
    with TarFile.open(filename, "r:llmz", **options) as archive:
        archive.extractall(extract_dir, **filters)


def _user(name: str) -> int:
    import pwd

    return pwd.getpwnam(name).pw_uid


def _group(name: str) -> int:
    import grp

    return grp.getgrnam(name).gr_gid


register()
