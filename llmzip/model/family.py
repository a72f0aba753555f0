"""What a family of decoders is: how it differs from Llama, and what that says of each layer
(docs/arithmetic.md, section 3.9).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from llmzip.errors import UnsupportedModelError
from llmzip.model.config import Config
from llmzip.model.features import NO_ROPE
from llmzip.model.files import shown
from llmzip.model.published_names import Place


def _no_biases(config: Config) -> tuple[str, ...]:
    return ()


def _nothing(config: Config) -> dict[str, Any]:
    return {}


def _never(config: Config, layer: int) -> bool:
    return False


@dataclasses.dataclass(frozen=True)
class Family:
    """How one model_type differs from Llama."""

    keys: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What it calls a key of Llama's config.json."""
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What holds where config.json does not say it."""
    places: Mapping[str, Place] = dataclasses.field(default_factory=dict)
    """Which tensor holds a part that is not where Llama has it."""
    prefixes: tuple[str, ...] = ("model.",)
    """What may stand before the names of tensors other than the head's."""
    layers: str = "layers"
    """What stands before a layer's number in the names of its tensors."""
    text_config: bool = False
    """Whether the decoder may be described by `text_config`."""
    layer_norm: bool = False
    """Whether norms subtract the mean."""
    gain_offset: float = 0.0
    """What is added to the gains of norms."""
    interleaved: bool = False
    """Whether the neighbors of a head turn together, rather than its halves."""
    activation: str | None = None
    """The only activation, whatever config.json says."""
    must_be: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Keys that have this value or are missing; another is a feature that is not covered."""
    biases: Callable[[Config], tuple[str, ...]] = _no_biases
    """The matrices and norms that have a bias, as in `Recipe`."""
    features: Callable[[Config], dict[str, Any]] = _nothing
    """Changes of `Features`."""
    recipe: Callable[[Config], dict[str, Any]] = _nothing
    """Changes of `Recipe`."""
    has_window: Callable[[Config, int], bool] = _never
    """Whether a layer has the window `sliding_window`, where there is no `layer_types`."""
    has_rope: Callable[[Config, int, bool], bool] = lambda config, layer, has_window: True
    """Whether a layer has rotary positions; has_window: whether it has a window."""
    one_norm: Callable[[Config], bool] = lambda config: False
    """Whether attention and the MLP share a norm."""
    inner_factor: int | None = None
    """The MLP's width in model widths, where config.json does not say it."""
    local_rope: bool = False
    """Whether layers with a window have a rotary table of their own."""
    buffers: tuple[str, ...] = ("self_attn.rotary_emb.inv_freq",)
    """What older programs published of a layer beside its weights: it follows from config.json."""
    other_parts: tuple[str, ...] = ()
    """How the names of tensors begin that belong to another part than the decoder of text."""


def layer_features(
    family: Family, config: Config, layers: int, positions: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of each layer the rotary table, 0 or with a table of their own 1 for layers with a window, or
    NO_ROPE; and the window in tokens, 0 where it hides nothing. Raises UnsupportedModelError for
    layers of another kind.
    """
    kinds = config.list_of("layer_types", (str,), layers)
    window = config.count("sliding_window", 0)
    ropes, windows = [], []
    for layer in range(layers):
        if kinds is None:
            has_window = bool(window) and family.has_window(config, layer)
        elif kinds[layer] in ("sliding_attention", "full_attention"):
            has_window = kinds[layer] == "sliding_attention"
        else:
            raise UnsupportedModelError(f"layers of the type {shown(kinds[layer])}")
        if has_window and not window:
            raise UnsupportedModelError("layers with a window, but no sliding_window")
        has_rope = family.has_rope(config, layer, has_window)
        ropes.append((int(has_window and family.local_rope)) if has_rope else NO_ROPE)
        windows.append(window if has_window and window < positions else 0)
    return tuple(ropes), tuple(windows)
