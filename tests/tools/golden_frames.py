"""Write the golden frames of the present format version anew; some ten seconds.

    python -m tests.tools.golden_frames [--families] [--default]

Only a change of a version number (docs/format.md, docs/arithmetic.md) or of the tiny model is a
reason to do so: a frame that changes for any other reason is a fault. Before a new version is
written, copy the old folder, as golden-5 is a copy of what version 5 wrote. --families: only the
frames of decoders with features. --default: also the frame of the default model, which must be
installed.
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile

import llmzip
from llmzip.model.convert import convert
from llmzip.model.registry import DEFAULT_MODEL
from llmzip.model.sources import read_source
from tests import golden, golden_records, tiny, tiny_families


def write_families() -> None:
    """The frames of decoders with features."""
    golden.OF_FAMILIES.mkdir(parents=True, exist_ok=True)
    for kind in tiny_families.CONFIGS:
        with tempfile.TemporaryDirectory() as folder:
            path = tiny.write_directory(pathlib.Path(folder), tiny_families.make(kind))
            model = convert(read_source(path))
        frame = llmzip.compress(golden.FAMILY_TEXT, model=model, **golden.FAMILY_OPTIONS)
        golden.frame_path(kind, golden.OF_FAMILIES).write_bytes(frame)


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m tests.tools.golden_frames",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--default", action="store_true", help="also the frame of the default model"
    )
    parser.add_argument("--families", action="store_true", help="only those with features")
    arguments = parser.parse_args()
    write_families()
    if arguments.families:
        return
    model = convert(read_source(golden.DATA / "tiny"))
    golden.FOLDER.mkdir(parents=True, exist_ok=True)
    for name, (data, options) in golden.CASES.items():
        golden.frame_path(name).write_bytes(llmzip.compress(data, model=model, **options))
    golden_records.FOLDER.mkdir(parents=True, exist_ok=True)
    for name in golden_records.CASES:
        golden_records.path(name).write_bytes(golden_records.make(name, model))
    if arguments.default:
        golden.OF_DEFAULT_MODEL.write_bytes(llmzip.compress(golden.TEXT, model=DEFAULT_MODEL))


if __name__ == "__main__":
    main()
