"""Write the golden frames of the present format version anew; some ten seconds.

    python -m tests.tools.golden_frames [--default]

Only a change of a version number (docs/format.md, docs/arithmetic.md) or of the tiny model is a
reason to do so: a frame that changes for any other reason is a fault. Before a new version is
written, copy the old folder, as golden-3 is a copy of what version 3 wrote. --default: also the
frame of the default model, which must be installed.
"""

from __future__ import annotations

import argparse

import llmzip
from llmzip.model.convert import convert
from llmzip.model.registry import DEFAULT_MODEL
from llmzip.model.sources import read_source
from tests import golden


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m tests.tools.golden_frames",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--default", action="store_true", help="also the frame of the default model"
    )
    arguments = parser.parse_args()
    model = convert(read_source(golden.DATA / "tiny"))
    golden.FOLDER.mkdir(parents=True, exist_ok=True)
    for name, (data, options) in golden.CASES.items():
        golden.frame_path(name).write_bytes(llmzip.compress(data, model=model, **options))
    if arguments.default:
        golden.OF_DEFAULT_MODEL.write_bytes(llmzip.compress(golden.TEXT, model=DEFAULT_MODEL))


if __name__ == "__main__":
    main()
