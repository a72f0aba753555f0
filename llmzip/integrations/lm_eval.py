"""Models for lm-evaluation-harness: `llmzip`, registered when this module is imported.

    llmzip eval harness --tasks TASK            # the harness, called by us (llmzip.cli)
    python -m llmzip.integrations.lm_eval run --model llmzip --model_args model=NAME --tasks TASK

The second is the harness's own command line: `lm_eval` itself looks for models in no other package.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args

from lm_eval.__main__ import cli_evaluate
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tqdm import tqdm

from llmzip.errors import LLMZipError
from llmzip.evaluation.environment import environment
from llmzip.generation.drawing import Drawing
from llmzip.integrations.chat_tokens import ChatTokens
from llmzip.model.spec import ARITHMETIC_VERSION
from llmzip.runtime import EngineName, Runtime
from llmzip.scoring import Scorer, load_scorer, segments, sliding
from llmzip.scoring.continuations import Continuation, score_continuations
from llmzip.scoring.written import Prompt, write_texts

Rolling = Literal["harness", "segments", "sliding"]
"""How texts that are longer than the model's window are cut.

harness: as the harness's own models do: windows of `max_length` tokens, each behind the token
before it, the last one reaching back as far as it can. segments: as `llmzip eval` does for
`bits_per_byte`: independent segments of `context` tokens, each behind the start token. sliding:
windows of `context` tokens behind the start token that move by `stride`.
"""

ROLLING: tuple[Rolling, ...] = get_args(Rolling)

_NO_EFFECT = {"top_p": 1, "min_p": 0, "typical_p": 1, "num_beams": 1, "repetition_penalty": 1}
"""Options of generation that we lack -> the value that asks for nothing."""
_FOR_DRAWS = ("top_p", "min_p", "typical_p")


@register_model("llmzip")
class LLMZipLM(TemplateLM):  # type: ignore[misc]
    """An exact integer model, or a float model through the same byte accounting.

    Every byte of a text costs something once: bytes that the vocabulary cannot say cost an escape
    token and 8 bits. What is scored or written does not depend on batches, threads or machines
    (integer models).
    """

    def __init__(
        self,
        model: str | Scorer | None = None,
        *,
        rolling: Rolling = "harness",
        context: int = 1024,
        stride: int = 512,
        max_length: int | None = None,
        max_gen_toks: int = 256,
        add_bos_token: bool | None = None,
        tokenizer: str | None = None,
        seed: int = 0,
        dtype: str = "float32",
        device: str = "cpu",
        engine: EngineName = "auto",
        threads: int | None = None,
        download: bool = False,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        """model: as `llmzip.scoring.load_scorer` takes it, with dtype, device, engine, threads and
        download, or a scorer. Where there is no CUDA, a device of it is the CPU.

        rolling, context, stride: see `Rolling`. max_length: tokens that are read together, at most;
        None: the model's positions. max_gen_toks: tokens that are written where a task does not
        say. add_bos_token: whether contexts begin with the start token; None: as the tokenizer
        has it, without one no. tokenizer: folder or hub id with the chat template and the names of
        control tokens; None: the model's own. seed: for drawn tokens; request i
        draws with seed + i. batch_size, max_batch_size: ignored: batches are as large as a cache
        may be.

        Raises ModelError, and LLMZipError for options out of range or an extra that is missing.
        """
        super().__init__()
        if rolling not in ROLLING:
            raise LLMZipError(f"rolling {rolling!r}: there are {', '.join(ROLLING)}")
        if min(context, stride) < 1:
            raise LLMZipError(f"context {context}, stride {stride}: at least 1 token")
        try:
            runtime = Runtime(engine, _available(device), threads, download=download)
        except ValueError as error:
            raise LLMZipError(str(error)) from error
        self._scorer = (
            load_scorer(model, dtype=dtype, runtime=runtime)
            if model is None or isinstance(model, str)
            else model
        )
        named = model if isinstance(model, str) else None
        self._chat = ChatTokens.of(self._scorer.vocabulary, named, tokenizer, download)
        self.add_bos_token = self._chat.add_bos_token if add_bos_token is None else add_bos_token
        positions = self._scorer.max_positions
        self.max_length = positions if max_length is None else min(max_length, positions)
        self.max_gen_toks = max_gen_toks
        self.tokenizer = self._chat.tokenizer
        self._rolling, self._context, self._stride = rolling, context, stride
        self._seed = seed

    # ---- tokens ----------------------------------------------------------------------------------

    @property
    def eot_token_id(self) -> int:
        """The model's end token, where it is known, else its start token."""
        end = self._scorer.end_token
        return self.prefix_token_id if end is None else end

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text without context: the start token."""
        return self._scorer.vocabulary.start_token

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """Tokens of a context, control tokens that it spells out among them."""
        begins = add_special_tokens
        if begins is None:
            begins = self.add_bos_token and not self._chat.begins(string)
        ids = [self.prefix_token_id] if begins else []
        for part in self._chat.split(string):
            ids += [part] if isinstance(part, int) else self._text_ids(part)
        return ids

    def _text_ids(self, string: str) -> list[int]:
        """The tokens of a text and nothing else."""
        ids: list[int] = self._scorer.tokenize(string.encode("utf-8", "surrogatepass")).ids.tolist()
        return ids

    # ---- scores ----------------------------------------------------------------------------------

    def _loglikelihood_tokens(
        self,
        requests: Sequence[tuple[tuple[str, str], list[int], list[int]]],
        disable_tqdm: bool = False,
        **_: Any,
    ) -> list[tuple[float, bool]]:
        """For each (strings, context, continuation): log probability [nats], and whether no token
        was more probable. Contexts are cut on the left to what fits.
        """
        found = [(0.0, True)] * len(requests)
        pairs = [self._fitting(context, ids) for _, context, ids in requests]
        for i, score in self._bar(score_continuations(self._scorer, pairs), pairs, disable_tqdm):
            found[i] = -score.bits * math.log(2), score.greedy
            self.cache_hook.add_partial("loglikelihood", requests[i][0], found[i])
        return found

    def _fitting(self, context: Sequence[int], ids: Sequence[int]) -> Continuation:
        if len(ids) > self.max_length:
            raise LLMZipError(
                f"a continuation of {len(ids)} tokens is longer than max_length {self.max_length}"
            )
        return Continuation(context[-(self.max_length + 1 - len(ids)) :], ids)

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Log probabilities [nats] of whole texts, each by itself, cut as `rolling` says."""
        pairs: list[Continuation] = []
        texts, left = [], []  # the text of each window, the windows of each text
        for text, request in enumerate(requests):
            windows = list(self._windows(*request.args))
            pairs += windows
            texts += [text] * len(windows)
            left.append(len(windows))
        found = [0.0] * len(requests)
        for i, score in self._bar(score_continuations(self._scorer, pairs), pairs, disable_tqdm):
            text = texts[i]
            found[text] -= score.bits * math.log(2)
            left[text] -= 1
            if not left[text]:
                self.cache_hook.add_partial(
                    "loglikelihood_rolling", requests[text].args, found[text]
                )
        return found

    def _windows(self, string: str) -> Iterator[Continuation]:
        if self._rolling == "harness":
            cut = get_rolling_token_windows(
                token_list=self.tok_encode(string),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            yield from (Continuation(*make_disjoint_window(window)) for window in cut)
            return
        ids = self._text_ids(string)
        length = min(self._context, self.max_length)
        spans = (
            segments(len(ids), length)
            if self._rolling == "segments"
            else sliding(len(ids), length, min(self._stride, length))
        )
        for span in spans:
            yield Continuation(
                [self.prefix_token_id, *ids[span.begin : span.scored]],
                ids[span.scored : span.end],
            )

    # ---- generation ------------------------------------------------------------------------------

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Texts that follow contexts: greedy unless the task asks for draws, up to a stop string,
        max_gen_toks or a control token.
        """
        found = [""] * len(requests)
        prompts = [self._prompt(i, *request.args) for i, request in enumerate(requests)]
        for i, text in self._bar(write_texts(self._scorer, prompts), prompts, disable_tqdm):
            found[i] = text.decode("utf-8", "replace")
            self.cache_hook.add_partial("generate_until", requests[i].args, found[i])
        return found

    def _prompt(self, number: int, context: str, given: dict[str, Any]) -> Prompt:
        options = dict(normalize_gen_kwargs(given, self.max_gen_toks))
        count, stops = options.pop("max_gen_toks"), options.pop("until")
        draws = options.pop("do_sample")
        temperature = options.pop("temperature", 1.0) if draws else 0
        top_k = options.pop("top_k", None) or None
        for name, value in options.items():
            ignored = name == "temperature" or (not draws and name in _FOR_DRAWS)
            if not ignored and value not in (None, _NO_EFFECT.get(name)):
                raise LLMZipError(
                    f"generation with {name}={value!r} is not supported: there are until, "
                    "max_gen_toks, do_sample, temperature and top_k"
                )
        room = self.max_length - count
        if room < 1:
            raise LLMZipError(
                f"max_gen_toks {count} leaves no room for a context in {self.max_length} tokens"
            )
        try:
            drawing = Drawing.of(temperature, top_k if draws else None)
        except (ValueError, TypeError) as error:
            raise LLMZipError(f"generation with {given}: {error}") from error
        ids = self.tok_encode(context)[-room:] or [self.prefix_token_id]
        return Prompt(
            ids, count, drawing, self._seed + number, [stop.encode() for stop in stops if stop]
        )

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """A conversation as the model's chat template writes it. Raises LLMZipError without one."""
        return self._chat.apply_template(chat_history, add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The template by which prompts are written, for the harness's results."""
        if self.tokenizer is None and chat_template:
            return self._chat.template or ""
        found: str | None = super().chat_template(chat_template)
        return found

    # ---- what results name -----------------------------------------------------------------------

    @property
    def tokenizer_name(self) -> str:
        """What the harness keeps rendered requests under."""
        return f"{self._scorer.model_card.name}-{self._scorer.model_card.digest}".replace("/", "__")

    def get_model_info(self) -> dict[str, Any]:
        """What the harness's results say of the model; `llmzip` has what decides the numbers."""
        card, here = self._scorer.model_card, environment()
        return {
            "model_num_parameters": card.parameters,
            "model_dtype": card.settings.get("dtype", "int8"),
            "model_revision": "",
            "model_sha": card.digest,
            "llmzip": {
                "version": here.packages["llmzip"],
                "commit": here.git,
                "arithmetic": ARITHMETIC_VERSION if card.kind == "integer" else None,
                "name": card.name,
                "kind": card.kind,
                "digest": card.digest,
                "settings": card.settings,
                "rolling": self._rolling,
                "context": None if self._rolling == "harness" else self._context,
                "stride": self._stride if self._rolling == "sliding" else None,
                "max_length": self.max_length,
                "add_bos_token": self.add_bos_token,
                "seed": self._seed,
            },
        }

    def _bar(self, results: Iterator[Any], of: Sequence[Any], hidden: bool) -> Iterator[Any]:
        return iter(tqdm(results, total=len(of), desc=self._scorer.model_card.name, disable=hidden))


def _available(device: str) -> str:
    """The device; the CPU for one of CUDA where there is none, as with the harness's own models:
    its command line says cuda:0 where nobody has said anything.
    """
    if not device.startswith("cuda"):
        return device
    try:
        import torch
    except ImportError:
        return "cpu"
    return device if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    cli_evaluate()
