"""Rotary positions as a config.json describes them, in the older form (`rope_theta`,
`rope_scaling`) or the newer one (`rope_parameters`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmzip.errors import UnsupportedModelError
from llmzip.model.config import Config
from llmzip.model.family import Family
from llmzip.model.files import shown
from llmzip.model.rotary import (
    Divided,
    Linear,
    Llama3,
    Rotary,
    Yarn,
    longrope_factor,
    yarn_factor,
)

SCALINGS = ("default", "linear", "llama3", "yarn", "longrope")
"""The rotary scalings that are covered."""

_OF_LAYERS = ("full_attention", "sliding_attention")


def read_rotary(
    values: Mapping[str, Any], family: Family, head_dim: int
) -> tuple[tuple[Rotary, ...], int]:
    """The tables of a decoder, one, or two where layers with a window have one of their own; and
    the number of positions for which they hold.

    values: of config.json, with the family's defaults. Raises UnsupportedModelError for a scaling
    that is not covered.
    """
    published = _object(values, "rope_parameters")
    positions = Config(values).whole("max_position_embeddings")
    if not any(kind in published for kind in _OF_LAYERS):
        flat = {**_object(values, "rope_scaling"), **published}
        whole = _rotary(flat, values, head_dim)
        if not family.local_rope:
            return (whole[0],), min(positions, whole[1])
        local = {"rope_theta": values.get("rope_local_base_freq", whole[0].theta)}
        if "rope_local_base_freq" not in values and family.gain_offset:  # Gemma
            local["rope_theta"] = 1e4
        return (whole[0], _rotary(local, values, head_dim)[0]), min(positions, whole[1])
    tables = [_rotary(_object(published, kind), values, head_dim) for kind in _OF_LAYERS]
    return tuple(table for table, _ in tables), min(positions, *(most for _, most in tables))


def _object(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = values.get(key) or {}
    if not isinstance(value, dict):
        raise UnsupportedModelError(f"{key} is {shown(value)}: not understood")
    return value


def _rotary(own: dict[str, Any], values: Mapping[str, Any], head_dim: int) -> tuple[Rotary, int]:
    """A table, and for how many positions it holds; own: what is said of this table alone."""
    said = Config({**values, **{key: value for key, value in own.items() if value is not None}})
    kind = own.get("rope_type", own.get("type", "default"))
    theta = said.number("rope_theta", 10000.0)
    # Rounded first: a product of decimals may lie a little below a whole number.
    dims = int(round(head_dim * min(said.number("partial_rotary_factor", 1.0), 2.0), 6))
    positions = said.whole("max_position_embeddings")
    if kind == "default" or kind is None:
        return Rotary(theta, dims), positions
    if isinstance(kind, Divided):  # a GGUF file has the numbers themselves
        rotary = Rotary(theta, dims, kind, said.number("attention_factor", 1.0))
        return rotary, min(positions, said.whole("original_max_position_embeddings", positions))
    if kind not in SCALINGS and kind != "su":  # the older name of longrope
        raise UnsupportedModelError(
            f"scaled rotary positions ({shown(kind)}); supported: {', '.join(SCALINGS)}"
        )
    if kind == "linear":
        return Rotary(theta, dims, Linear(said.number("factor"))), positions
    original = said.whole("original_max_position_embeddings", positions)
    if kind == "llama3":
        scaling = Llama3(
            said.number("factor"),
            said.number("low_freq_factor"),
            said.number("high_freq_factor"),
            original,
        )
        return Rotary(theta, dims, scaling), positions
    if kind == "yarn":
        return _yarn(said, theta, dims, original), positions
    return _longrope(said, own, theta, dims, original, positions)


def _yarn(said: Config, theta: float, dims: int, original: int) -> Rotary:
    if not said.has("factor"):
        factor = said.whole("max_position_embeddings") / original
    else:
        factor = said.number("factor")
    if said.has("attention_factor"):
        multiplier = said.number("attention_factor")
    elif said.has("mscale") and said.has("mscale_all_dim"):
        of_scores = yarn_factor(factor, said.number("mscale"))
        multiplier = of_scores / yarn_factor(factor, said.number("mscale_all_dim"))
    else:
        multiplier = yarn_factor(factor)
    scaling = Yarn(
        factor,
        original,
        said.number("beta_fast", 32.0),
        said.number("beta_slow", 1.0),
        said.flag("truncate", True),
    )
    return Rotary(theta, dims, scaling, multiplier)


def _longrope(
    said: Config, own: dict[str, Any], theta: float, dims: int, original: int, positions: int
) -> tuple[Rotary, int]:
    """The short factors hold up to the original length, where the long ones begin: a decoder that
    reads token by token has one or the other, and these are what short texts are read with.
    """
    short = own.get("short_factor")
    if not isinstance(short, list) or not all(type(n) in (int, float) for n in short):
        raise UnsupportedModelError(f"short_factor is {shown(short)}: not understood")
    factor = said.number("factor", positions / original)
    multiplier = (
        said.number("attention_factor")
        if said.has("attention_factor")
        else longrope_factor(factor, original)
    )
    rotary = Rotary(theta, dims, Divided(tuple(map(float, short))), multiplier)
    return rotary, min(positions, original)
