"""Base models of the Hugging Face hub that llmzip knows by name: which repository each is.

Their files have no digests here. What a name's first download brings is trusted and written down;
from then on the name stands for it (trust on first use). Files that llmzip writes name a model by
its fingerprint, whatever it is called.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re

from llmzip.errors import LLMZipError, ModelError
from llmzip.model.files import parse_object, read_whole

_MAX_RECORD = 1 << 12
_HEX = re.compile("[0-9a-f]+")


@dataclasses.dataclass(frozen=True)
class HubModel:
    """One model, trained on text alone and not for instructions."""

    name: str
    repository: str
    license: str


HUB_MODELS = (
    HubModel("smollm2-135m-base", "HuggingFaceTB/SmolLM2-135M", "Apache-2.0"),
    HubModel("smollm2-360m-base", "HuggingFaceTB/SmolLM2-360M", "Apache-2.0"),
    HubModel("smollm2-1.7b-base", "HuggingFaceTB/SmolLM2-1.7B", "Apache-2.0"),
    HubModel("smollm3-3b-base", "HuggingFaceTB/SmolLM3-3B-Base", "Apache-2.0"),
    HubModel("qwen3-0.6b-base", "Qwen/Qwen3-0.6B-Base", "Apache-2.0"),
    HubModel("qwen3-1.7b-base", "Qwen/Qwen3-1.7B-Base", "Apache-2.0"),
    HubModel("gemma-3-270m-base", "google/gemma-3-270m", "Gemma"),
    HubModel("gemma-3-1b-base", "google/gemma-3-1b-pt", "Gemma"),
    HubModel("llama-3.2-1b-base", "meta-llama/Llama-3.2-1B", "Llama 3.2"),
    HubModel("pythia-70m-base", "EleutherAI/pythia-70m-deduped", "Apache-2.0"),
    HubModel("pythia-160m-base", "EleutherAI/pythia-160m-deduped", "Apache-2.0"),
    HubModel("pythia-410m-base", "EleutherAI/pythia-410m-deduped", "Apache-2.0"),
    HubModel("gpt2-base", "openai-community/gpt2", "MIT"),
)


def by_name(name: str) -> HubModel | None:
    """The model with this name, if there is one."""
    return next((model for model in HUB_MODELS if model.name == name), None)


@dataclasses.dataclass(frozen=True)
class Trusted:
    """What the first download of a name has brought."""

    commit: str
    """The hub's, in hex."""
    sha256: str
    """Of the files (`source_digest`), in hex."""


class TrustRecords:
    """What names stand for on this machine: a file each, `<root>/<name>.json`."""

    def __init__(self, root: pathlib.Path) -> None:
        self._root = root

    def path(self, name: str) -> pathlib.Path:
        """Of a name's record, which may be deleted to trust what comes next."""
        return self._root / f"{name}.json"

    def get(self, name: str) -> Trusted | None:
        """What a name stands for, or None where nothing has been trusted yet. Raises ModelError for
        a record that cannot be read.
        """
        path = self.path(name)
        try:
            said = parse_object(read_whole(path, _MAX_RECORD, follow=False), path)
        except FileNotFoundError:
            return None
        except (LLMZipError, OSError) as error:
            raise ModelError(f"{path}: not readable ({error}); delete it to trust anew") from error
        found = [said.get(key) for key in ("commit", "sha256")]
        if not all(isinstance(one, str) and _HEX.fullmatch(one) for one in found):
            raise ModelError(f"{path}: no record of a download; delete it to trust anew")
        return Trusted(*map(str, found))

    def put(self, name: str, trusted: Trusted, scratch: pathlib.Path) -> None:
        """Write down what a name stands for, in one step; scratch: a folder on the same disk."""
        self._root.mkdir(parents=True, exist_ok=True)
        staged = scratch / "trusted"
        staged.write_text(json.dumps(dataclasses.asdict(trusted), indent=2) + "\n", "ascii")
        staged.replace(self.path(name))
