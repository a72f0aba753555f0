"""A LoRA of the package peft merged into a model of transformers, as conversion merges it."""

from __future__ import annotations

from typing import Any

import torch

from llmzip.model.peft_folder import PeftAdapter


def merge(model: Any, adapter: PeftAdapter) -> None:
    """Change a model in place. Raises UnsupportedModelError where it lacks what is changed, or a
    shape does not fit.
    """
    changed = {f"{module}.weight" for module in (*adapter.products, *adapter.bases)}
    there = dict(model.named_parameters(remove_duplicate=False))
    adapter.refuse_unknown(there)
    for name in sorted({*changed, *adapter.replaced}):
        module_name, _, kind = name.rpartition(".")
        module = model.get_submodule(module_name)
        transposed = type(module).__name__ == "Conv1D"
        published = there[name].detach().float().numpy()
        merged = torch.from_numpy(adapter.changed([name], published, transposed).copy())
        # A parameter of its own: of a tied head and its embedding only the named one changes.
        setattr(module, kind, torch.nn.Parameter(merged.to(there[name].dtype), False))
