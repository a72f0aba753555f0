"""A decoder as a config.json describes it: its shape, features and recipe, and where its tensors
are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from llmzip.errors import UnsupportedModelError
from llmzip.model.config import ACTIVATIONS, Config
from llmzip.model.families import FAMILIES
from llmzip.model.family import Family, layer_features
from llmzip.model.features import Features
from llmzip.model.files import shown
from llmzip.model.float_model import FloatModel, Recipe, layer_name
from llmzip.model.published_names import LLAMA, Place, split_halves, taken
from llmzip.model.rotary_config import read_rotary
from llmzip.model.spec import MAX_LAYERS, MAX_VOCAB, ModelSpec, usable_positions
from llmzip.model.vocabulary import Vocabulary
from llmzip.types import Float32Array

Load = Callable[[Sequence[str]], Float32Array]
"""Names of which the first that is there is wanted -> the tensor."""
Change = Callable[[Sequence[str], Float32Array, bool], npt.NDArray[np.floating]]
"""What a tensor may be called, the tensor, and whether it is [inputs, outputs] -> the tensor that
is meant in its place: the same, or that of an adapter.
"""


@dataclasses.dataclass(frozen=True)
class PublishedDecoder:
    """See the module."""

    family: Family
    shape: Mapping[str, Any]
    """Fields of `ModelSpec` but for the vocabulary's."""
    recipe: Recipe
    places: Mapping[str, Place]
    tied: bool
    vocab: int
    rope_theta: float

    def float_model(
        self, words: Vocabulary, load: Load, change: Change | None = None
    ) -> FloatModel:
        """The model with this vocabulary, whose tensors `load` reads and `change` changes."""
        spec = ModelSpec(
            **self.shape,
            vocab=self.vocab,
            start_token=words.start_token,
            escape_token=words.escape_token,
        )

        stacked: dict[str, npt.NDArray[np.floating]] = {}

        def changed(name: str) -> npt.NDArray[np.floating]:
            place, meant = self.places[_part(name)], self.meant(name)
            shared = place.by_expert or (place.stack and change is not None)
            if shared and meant[0] in stacked:
                return stacked[meant[0]]
            array: npt.NDArray[np.floating] = load(self.stored(name))
            if change is not None:
                array = change(meant, array, place.transposed)
            if shared:  # kept for the parts that are asked for next: it is dear
                stacked.clear()
                stacked[meant[0]] = array
            return array

        def tensor(name: str) -> npt.NDArray[np.floating]:
            return self._tensor(name, spec, changed(name))

        return FloatModel(spec, self.rope_theta, words, tensor, self.recipe)

    def meant(self, name: str) -> list[str]:
        """What a tensor is called in the program that computes it: as it is stored, but a tied head
        by a name of its own.
        """
        if name == "head":
            return [f"{self.places[name].name}.weight"]
        return self.stored(name)

    def stored(self, name: str) -> list[str]:
        """Under which names a tensor may be published, by its canonical name."""
        kind, part = "bias" if name.endswith(".bias") else "weight", _part(name)
        if part == "head" and self.tied and kind == "weight":
            part = "embedding"
        if part == "head":
            return [f"{self.places[part].name}.{kind}"]
        within = (
            f"{self.family.layers}.{layer_name(name)[0]}." if name.startswith("layers.") else ""
        )
        place = self.places[part].name.format(_number(name))
        return [f"{prefix}{within}{place}.{kind}" for prefix in self.family.prefixes]

    def without_meaning(self, layers: int) -> set[str]:
        """Names of tensors that old programs published beside the weights and that say nothing
        which config.json does not say.
        """
        family = self.family
        return {
            *(f"{prefix}rotary_emb.inv_freq" for prefix in family.prefixes),
            *(
                f"{prefix}{family.layers}.{layer}.{buffer}"
                for prefix in family.prefixes
                for layer in range(layers)
                for buffer in family.buffers
            ),
        }

    def tied_heads(self) -> tuple[str, ...]:
        """Under which names a tied head may be published again."""
        if not self.tied:
            return ()
        head = f"{self.places['head'].name}.weight"
        return head, *(prefix.removesuffix("model.") + head for prefix in self.family.prefixes)

    def _tensor(
        self, name: str, spec: ModelSpec, array: npt.NDArray[np.floating]
    ) -> npt.NDArray[np.floating]:
        """A tensor by its canonical name, of the published one. One that is no matrix or vector
        comes back as it is: whoever asked refuses its shape.
        """
        part = _part(name)
        if part != "head" and self.places[part].by_expert:
            if array.ndim != 3 or len(array) != spec.features.experts:
                return array
            array = array[_number(name)]
        if not array.size or array.ndim > 2 or array.ndim < 1:
            return array
        if part == "shared_router":
            return array.reshape(-1, array.shape[-1])  # may be a vector
        kind = "bias" if name.endswith(".bias") else "weight"
        if part == "head":
            return array
        place, size = self.places[part], spec.head_dim
        if part == "positions":
            return array[: spec.max_positions]
        sizes = {
            "q": spec.heads * size,
            **dict.fromkeys("kv", spec.kv_heads * size),
            **dict.fromkeys(("gate", "up"), spec.d_ff),
            **dict.fromkeys(("experts_gate", "experts_up"), spec.features.expert_ff),
            **dict.fromkeys(("shared_gate", "shared_up"), spec.features.shared_ff),
        }
        array = taken(array, place, part, sizes, size)
        if part in ("q", "k") and self.family.interleaved:
            array = split_halves(array, size)
        if part.endswith("norm") and kind == "weight" and self.family.gain_offset:
            return array + array.dtype.type(self.family.gain_offset)
        return array


def _part(name: str) -> str:
    """A canonical name's part: `layers.3.q.bias` -> `q`, `layers.3.experts_up.7` ->
    `experts_up`.
    """
    name = name.removesuffix(".bias")
    return layer_name(name)[1].partition(".")[0] if name.startswith("layers.") else name


def _number(name: str) -> int | None:
    """The number of the expert that a canonical name is about: `layers.3.experts_up.7` -> 7."""
    number = name.rpartition(".")[2]
    return int(number) if number.isdecimal() else None


def read_decoder(config: Mapping[str, Any], family: Family | None = None) -> PublishedDecoder:
    """What a config.json describes; family: instead of the row of its model_type.

    Raises UnsupportedModelError for what is not covered, and what `Metadata` raises.
    """
    kind = config.get("model_type")
    if family is None and isinstance(kind, str):
        family = FAMILIES.get(kind)
    if family is None:
        raise UnsupportedModelError(
            f"config.json: not supported: model_type {shown(kind)} (only {', '.join(FAMILIES)})"
        )
    if family.text_config and isinstance(config.get("text_config"), dict):
        config = {**config, **config["text_config"]}
    values = _in_llamas_words(config, family)
    said = Config(values)
    _check(config, said, family)
    layers, d_model = said.whole("num_hidden_layers"), said.whole("hidden_size")
    heads, vocab = said.whole("num_attention_heads"), said.whole("vocab_size")
    if layers > MAX_LAYERS:  # before there are lists of so many
        raise UnsupportedModelError(
            f"num_hidden_layers is {layers}, layers are at most {MAX_LAYERS}"
        )
    if vocab > MAX_VOCAB:
        raise UnsupportedModelError(f"vocab_size is {vocab:,}, more than {MAX_VOCAB:,}")
    head_dim = said.whole("head_dim", d_model // heads)
    changes = family.features(said)
    rotary, positions = read_rotary(values, family, head_dim)
    positions = usable_positions(positions, head_dim)
    if changes.get("rope_tables") == 0:
        rotary = ()
    if family.interleaved and any(table.dims != head_dim for table in rotary):
        raise UnsupportedModelError("rotary positions on a part of heads whose neighbors turn")
    ropes, windows = layer_features(family, said, layers, positions)
    if len(rotary) == 2 and (rotary[0] == rotary[1] or not any(ropes)):
        rotary, ropes = rotary[:1], (0,) * layers
    biases = {*family.biases(said)}
    if family.one_norm(said) and "attention_norm" in biases:
        biases.add("mlp_norm")
    recipe = Recipe(
        layer_norm=family.layer_norm,
        biases=frozenset(biases),
        **family.recipe(said),
        rotary=rotary,
    )
    gated, expert_ff = changes.get("gated", True), changes.get("expert_ff")
    no_mlp = expert_ff and all(changes.get("layer_experts", ()))
    features = Features(
        activation=family.activation or ACTIVATIONS[values.get("hidden_act", "silu")],
        biases=recipe.folded_biases(gated),
        **{"rope_tables": len(rotary), **changes},
        layer_rope=ropes if any(ropes) else (),
        layer_window=windows if any(windows) else (),
    )
    shape = {
        "layers": layers,
        "d_model": d_model,
        "heads": heads,
        "kv_heads": said.whole("num_key_value_heads", heads),
        "head_dim": head_dim,
        "d_ff": expert_ff
        if no_mlp
        else said.whole("intermediate_size", family.inner_factor and family.inner_factor * d_model),
        "max_positions": positions,
        "norm_eps": said.narrow("rms_norm_eps"),
        "features": features,
    }
    places = {**LLAMA, "head": Place("lm_head"), **family.places}
    if family.one_norm(said):
        places["mlp_norm"] = places["attention_norm"]
    tied = said.flag("tie_word_embeddings", False)
    theta = rotary[0].theta if rotary else said.number("rope_theta", 10000.0)
    return PublishedDecoder(family, shape, recipe, places, tied, vocab, theta)


def _in_llamas_words(config: Mapping[str, Any], family: Family) -> dict[str, Any]:
    """The values under Llama's keys, with the family's defaults."""
    values = {**family.defaults, **config}
    for ours, theirs in family.keys.items():
        if config.get(theirs) is not None:
            values[ours] = config[theirs]
        elif values.get(ours) is None and ours in family.defaults:
            values[ours] = family.defaults[ours]
    return values


def _check(config: Mapping[str, Any], said: Config, family: Family) -> None:
    """Refuse what the arithmetic does not cover, all of it at once."""
    problems = []
    activation = config.get(family.keys.get("hidden_act", "hidden_act"))
    is_known = activation is None or (isinstance(activation, str) and activation in ACTIVATIONS)
    if family.activation is None and not is_known:
        problems.append(f"hidden_act {shown(activation)} (only {', '.join(ACTIVATIONS)})")
    problems += [
        f"{key} {shown(config[key])} (only {value!r})"
        for key, value in family.must_be.items()
        if config.get(key) is not None and config[key] != value
    ]
    if config.get("quantization_config"):
        problems.append("quantized weights (use the original weights, or a GGUF file)")
    if problems:
        raise UnsupportedModelError(f"config.json: not supported: {', '.join(problems)}")
