"""Meta-tokens without a dictionary in front: each stands in brackets where it is first used, and is
a number from then on.

That is a symbol less for each than the layout of the paper. The k-th bracket to close defines
meta-token k; `(` and `)` are the ids that elsewhere begin and end the dictionary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmzip.errors import IntegrityError
from llmzip.ltsc.transform import MARKERS, MetaTokens


def to_symbols(made: MetaTokens) -> list[int]:
    """The sequence with brackets."""
    base = made.vocabulary + MARKERS
    numbers: dict[int, int] = {}
    symbols: list[int] = []
    stack: list[tuple[int | None, Iterator[int]]] = [(None, iter(made.body))]
    while stack:
        meta, rest = stack[-1]
        for token in rest:
            if token < base or token in numbers:
                symbols.append(numbers.get(token, token))
                continue
            symbols.append(made.vocabulary)
            stack.append((token, iter(made.entries[token - base])))
            break
        else:
            stack.pop()
            if meta is not None:
                symbols.append(made.vocabulary + 1)
                numbers[meta] = base + len(numbers)
    return symbols


def from_symbols(symbols: Iterable[int], vocabulary: int, metas: int) -> MetaTokens:
    """The inverse, up to the numbers of the `metas` meta-tokens. Raises IntegrityError for what
    `to_symbols` does not write.
    """
    base = vocabulary + MARKERS
    entries: list[list[int]] = []
    stack: list[list[int]] = [[]]
    for symbol in symbols:
        if symbol == vocabulary:
            if len(entries) + len(stack) > metas:
                raise IntegrityError(
                    f"there are more than {metas} meta-tokens: the data is damaged"
                )
            stack.append([])
        elif symbol == vocabulary + 1:
            entry = stack.pop()
            if not stack or len(entry) < 2:
                raise IntegrityError(
                    "the brackets of the meta-tokens do not match: the data is damaged"
                )
            stack[-1].append(base + len(entries))
            entries.append(entry)
        elif symbol < base + len(entries):
            stack[-1].append(symbol)
        else:
            raise IntegrityError("a meta-token is used before it is defined: the data is damaged")
    if len(stack) > 1:
        raise IntegrityError("the brackets of the meta-tokens do not match: the data is damaged")
    return MetaTokens(stack[0], entries, vocabulary)
