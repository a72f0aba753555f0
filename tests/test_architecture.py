"""The architecture as a rule: no circle among modules and C headers, and every import points down.

`LAYERS` is the order of the package. A unit (a sub-package, or a module at the top) imports only
units of lower layers; whoever adds a unit gives it a layer here. All imports that happen when the
program runs are counted, those in functions too: an import that is put off is one all the same.
Imports under `if TYPE_CHECKING` are held to the same rules. Strings that name modules (the table of
codecs, of which one finds its inner codec in that table) must point down, but a circle of such
names within a unit is none of modules: whichever is imported first works.
"""

from __future__ import annotations

import pytest

from tests import import_graph
from tests.import_graph import NAMED, PACKAGE, RUNTIME, TYPING
from tests.native_sources import NATIVE

LAYERS: tuple[tuple[str, set[str]], ...] = (
    (
        "what everyone may use",
        {"errors", "types", "buffers", "cache_folder", "drafts", "exclusive"},
    ),
    (
        "exact arithmetic; the bytes of a file; figures",
        {"arithmetic", "container", "extras", "metrics", "runtime", "progress", "control_groups"},
    ),
    ("models and their tokenizers; levels", {"model", "levels"}),
    (
        "context mixing, what is made of models",
        {"mixing", "ltsc", "corpora", "tuning"},
    ),
    ("what decoding takes", {"accounting"}),
    ("engines: token ids in, exact distributions out", {"engine", "limits"}),
    ("range coding", {"coding"}),
    ("prediction: streams in lockstep, dictionaries", {"predictor"}),
    ("which model on which engine", {"engine_loader"}),
    ("codecs: bytes in, payloads out", {"codecs"}),
    ("one block at a time", {"blocks", "generation"}),
    ("whole frames", {"choosing", "compressor", "frame_stream", "salvage"}),
    (
        "streams of frames; code lengths",
        {"decompressor", "streams", "block_reader", "file_options", "file_writer", "scoring"},
    ),
    (
        "files; one call for all; evaluation; views",
        {"file", "many", "one_shot", "evaluation", "view"},
    ),
    ("opening files; records; forecasts", {"bench", "open_file", "records"}),
    ("other libraries' interfaces", {"integrations"}),
    ("the API", {"api"}),
    ("the command line", {"cli"}),
    ("python -m llmzip", {"__main__"}),
)
HEIGHT = {unit: height for height, (_, units) in enumerate(LAYERS) for unit in units}

IMPORTS = import_graph.package_imports()


@pytest.mark.parametrize("kinds", [(RUNTIME,), (RUNTIME, TYPING)], ids=["runtime", "with typing"])
def test_modules_import_in_no_circle(kinds: tuple[str, ...]) -> None:
    edges = {(source, target) for source, target, kind in IMPORTS if kind in kinds}
    assert import_graph.circles(import_graph.graph(edges)) == []


def upward(kinds: tuple[str, ...]) -> list[str]:
    """The imports that do not point down."""
    return sorted(
        f"{source} imports {target}"
        for source, target, kind in IMPORTS
        for above, below in [(import_graph.unit(source), import_graph.unit(target))]
        if kind in kinds and above != below and HEIGHT.get(above, -1) <= HEIGHT.get(below, -1)
    )


@pytest.mark.parametrize("kind", [RUNTIME, TYPING, NAMED])
def test_every_import_points_to_a_lower_layer(kind: str) -> None:
    assert upward((kind,)) == []


def test_every_unit_has_a_layer() -> None:
    units = {import_graph.unit(name) for name in import_graph.modules()}
    assert units - HEIGHT.keys() == set()  # new: give it a layer above, where it belongs
    assert HEIGHT.keys() - units == set()  # gone
    assert sum(len(units) for _, units in LAYERS) == len(HEIGHT)  # and no unit has two


def test_the_folder_links_are_looked_into() -> None:
    names = import_graph.modules()
    for linked in ("cli", "codecs", "corpora"):
        assert f"{PACKAGE}.{linked}" in names or any(
            name.startswith(f"{PACKAGE}.{linked}.") for name in names
        )
    assert {source for source, _, _ in IMPORTS} >= {f"{PACKAGE}.cli.main", f"{PACKAGE}.codecs.llm"}


def test_headers_include_in_no_circle() -> None:
    edges = import_graph.includes(NATIVE)
    assert import_graph.circles(import_graph.graph(edges)) == []
    assert {target for _, target in edges} <= {path.name for path in NATIVE.glob("*.h")}
    sources = {path.stem for path in NATIVE.glob("*.c")}
    headers = {path.stem for path in NATIVE.glob("*.h")}
    own = {(f"{name}.c", f"{name}.h") for name in sources & headers}
    assert own <= edges  # a file includes the header that declares it


EXPERTS = ("matches", "neighbors", "biases", "calibration")


def test_experts_know_nothing_of_each_other() -> None:
    """In C as in Python: only the mixer that runs them sees all."""
    c = import_graph.includes(NATIVE)
    python = {(source, target) for source, target, _ in IMPORTS}
    for one in EXPERTS:
        for other in (*EXPERTS, "mixer"):
            assert other == one or (f"mixing_{one}.c", f"mixing_{other}.h") not in c
            assert other == one or (f"mixing_{one}.h", f"mixing_{other}.h") not in c
            assert (f"{PACKAGE}.mixing.{one}", f"{PACKAGE}.mixing.{other}") not in python
        assert ("context_mixer.c", f"mixing_{one}.h") in c
        assert (f"{PACKAGE}.mixing.reference", f"{PACKAGE}.mixing.{one}") in python


# ---- what would be found -------------------------------------------------------------------------

CIRCLES = {
    "at the top": ("import p.b", "from p import a"),
    "in a function": ("from p import b", "def f():\n    from p.a import x"),
    "in a class of a try": (
        "from p.b import y",
        "try:\n    class C:\n        import p.a\nexcept ImportError:\n    pass",
    ),
}


@pytest.mark.parametrize("case", CIRCLES)
def test_a_circle_is_found(case: str) -> None:
    a, b = CIRCLES[case]
    edges = {
        edge[:2] for edge in import_graph.imports({"p.a": a, "p.b": b, "p.c": "import p.a, os"})
    }
    assert edges == {("p.a", "p.b"), ("p.b", "p.a"), ("p.c", "p.a")}
    assert import_graph.circles(import_graph.graph(edges)) == [["p.a", "p.b"]]


def test_an_import_for_types_is_told_apart() -> None:
    source = (
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from p import b\nelse:\n    from p import c"
    )
    found = import_graph.imports({"p.a": source, "p.b": "", "p.c": ""})
    assert found == {("p.a", "p.b", TYPING), ("p.a", "p.c", RUNTIME)}


def test_a_name_in_a_table_is_told_apart() -> None:
    found = import_graph.imports(
        {"p.a": "TABLE = {'x': 'p.b:X', 'y': 'p.c', 'z': 'p.d:Z'}", "p.b": "", "p.c": ""}
    )
    assert found == {("p.a", "p.b", NAMED), ("p.a", "p.c", NAMED)}
