"""Long options by any beginning that only one of them has, as GNU programs take them."""

from __future__ import annotations

import copy
import difflib
from typing import Any

import click

_Meaning = tuple[int, bool]
"""The number of a parameter of the command, and whether it is turned off."""


class AbbreviatingCommand(click.Command):
    """A command whose long options can be cut short."""

    def make_parser(self, ctx: click.Context) -> Any:
        """Add the beginnings to the parser."""
        parser = super().make_parser(ctx)
        names = self._long_names(ctx)
        beginnings = {name[:end] for name in names for end in range(len("--x"), len(name))}
        found: dict[_Meaning, list[str]] = {}
        for beginning in sorted(beginnings - names.keys()):
            meanings = {names[name] for name in names if name.startswith(beginning)}
            if len(meanings) == 1:
                found.setdefault(meanings.pop(), []).append(beginning)
        params = self.get_params(ctx)
        for number in {number for number, _ in found}:
            alias = copy.copy(params[number])
            alias.opts = [*alias.opts, *found.get((number, False), ())]
            alias.secondary_opts = [*alias.secondary_opts, *found.get((number, True), ())]
            alias.add_to_parser(parser, ctx)
        return parser

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse. Raises UsageError for what several options begin with, with their names."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name, names = error.option_name, sorted(self._long_names(ctx))
            candidates = [known for known in names if known.startswith(name)]
            if candidates and name.startswith("--"):
                raise click.UsageError(
                    f"Option {name!r} is ambiguous: {', '.join(candidates)}.", ctx
                ) from None
            close = difflib.get_close_matches(name, names)
            raise click.NoSuchOption(name, possibilities=close, ctx=ctx) from None

    def _long_names(self, ctx: click.Context) -> dict[str, _Meaning]:
        """Every long option, and what it means."""
        return {
            name: (number, off)
            for number, param in enumerate(self.get_params(ctx))
            if isinstance(param, click.Option)
            for off, names in ((False, param.opts), (True, param.secondary_opts))
            for name in names
            if name.startswith("--")
        }
