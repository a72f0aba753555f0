"""A file over HTTP that survives an interrupted download."""

from __future__ import annotations

import http.client
import pathlib
import urllib.error
import urllib.request

from llmzip.errors import LLMZipError
from llmzip.types import TransferProgress

_TIMEOUT_SECONDS = 60
_PART = 1 << 18


def download(url: str, target: pathlib.Path, progress: TransferProgress | None = None) -> None:
    """Fetch `url` to `target`; what an earlier attempt left in `target`.part is not fetched again.

    Raises LLMZipError when it does not succeed; calling again goes on where this one stopped.
    """
    part = target.with_name(target.name + ".part")
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            if response.status != http.client.PARTIAL_CONTENT:
                have = 0  # the server sends everything
            elif not response.headers.get("Content-Range", f"bytes {have}-").startswith(
                f"bytes {have}-"
            ):
                raise LLMZipError(
                    f"{url}: the server sends another part than was asked for; "
                    f"delete {part} and try again"
                )
            length = response.headers.get("Content-Length")
            total = have + int(length) if length else None
            with part.open("ab" if have else "wb") as file:
                while data := response.read(_PART):
                    file.write(data)
                    have += len(data)
                    if progress:
                        progress(have, total)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise LLMZipError(f"{url}: the server answers {error.code} {error.reason}") from error
        if error.headers.get("Content-Range") == f"bytes */{have}":  # all was there already
            part.replace(target)
            return
        part.unlink()  # longer than what the server has now
        download(url, target, progress)
        return
    except (OSError, http.client.HTTPException) as error:
        raise LLMZipError(
            f"{url}: the download stopped ({error}); run the same again to continue it"
        ) from error
    if total is not None and have < total:
        raise LLMZipError(
            f"{url}: the download stopped after {have} of {total} bytes; "
            "run the same again to continue it"
        )
    part.replace(target)
