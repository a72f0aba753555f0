"""What a repair reports."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Damage:
    """A part of the file that is damaged or missing."""

    offset: int
    end: int
    """Bytes offset … end − 1 of the file; an empty range where something is absent."""
    start: int
    """Its position in the content; missing parts of unknown length count as 0 bytes."""
    size: int | None
    """How many bytes of content are missing; 0: none, None: unknown."""
    reason: str


@dataclasses.dataclass(frozen=True)
class RepairReport:
    """The result of a repair."""

    frames: int
    blocks: int
    """How many blocks were recovered."""
    recovered_bytes: int
    compressed_bytes: int
    """The size of the whole file."""
    tokens: int
    damages: tuple[Damage, ...]
    """All damages, in the order of the file."""
    verified: bool
    """Whether all frames have a content check and it holds."""

    @property
    def holes(self) -> tuple[Damage, ...]:
        """The damages by which content is missing."""
        return tuple(damage for damage in self.damages if damage.size != 0)

    @property
    def is_complete(self) -> bool:
        """Whether all content is there, and its checks say so."""
        return self.verified and not self.holes

    @property
    def is_sound(self) -> bool:
        """Whether nothing at all is damaged."""
        return self.is_complete and not self.damages
