"""Mutants for so long; exit code 1 where one shows a fault.

python -m tests.tools.mutation --minutes 10 --seed 1
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import time

from tests.tools.mutation.run import run
from tests.tools.mutation.worker import make


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.mutation", description=__doc__)
    parser.add_argument("--minutes", type=float, help="how long; otherwise all of --count")
    parser.add_argument("--count", type=int, default=1 << 40, help="how many mutants at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--write", type=int, metavar="NUMBER", help="write this mutant to standard output instead"
    )
    parser.add_argument("--table", type=pathlib.Path, help="write the table to this file")
    given = parser.parse_args()
    if given.write is not None:
        data, kind, _ = make(given.seed, given.write)
        sys.stdout.buffer.write(data)
        print(kind.name, file=sys.stderr)
        return 0
    begun = time.monotonic()
    minutes = given.minutes if given.minutes is not None or given.count < 1 << 40 else 10.0
    results = run(
        given.seed,
        given.count,
        minutes=minutes,
        workers=given.workers,
        say=lambda text: print(text, flush=True),
    )
    print(results.table())
    print(
        f"{results.mutants} mutants, {len(results.faults)} faults, {time.monotonic() - begun:.0f} s"
    )
    if given.table:
        given.table.write_text(results.table() + "\n")
    return bool(results.faults)


if __name__ == "__main__":
    raise SystemExit(main())
