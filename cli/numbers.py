"""Numbers that the command line takes."""

from __future__ import annotations

import math
from typing import Any

import click

_SHOWN = 40


class WholeNumber(click.IntRange):
    """`click.IntRange` with one plain message for everything else."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            bounds = (
                f" from {self.min} to {self.max}"
                if self.max is not None
                else f", {self.min} or more"
            )
            self.fail(f"{str(value)[:_SHOWN]!r} is not a whole number{bounds}.", param, ctx)


class FiniteNumber(click.FloatRange):
    """`click.FloatRange` without nan and infinities, which pass through every comparison."""

    name = "NUMBER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{str(value)[:_SHOWN]!r} is not a finite number.", param, ctx)
        return number
