"""Which module of the package imports which, and which header of the C core includes which, read
from the sources.
"""

from __future__ import annotations

import ast
import pathlib
import re
from collections.abc import Iterator, Mapping

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = "llmzip"

Graph = Mapping[str, frozenset[str]]

RUNTIME, TYPING, NAMED = "runtime", "typing", "named"
"""Kinds of imports: those that happen when the program runs, at a module's top or in a function;
those under `if TYPE_CHECKING`, which only readers and type checkers see; and strings "module" or
"module:name", as tables of plug-ins hold them, whose modules are imported when they are asked for.
"""


def modules(root: pathlib.Path = ROOT) -> dict[str, pathlib.Path]:
    """Every module of the package by name, those behind folder links included."""
    found = {}
    folders = [root / PACKAGE]
    while folders:
        folder = folders.pop()
        folders += [
            path for path in folder.iterdir() if path.is_dir() and (path / "__init__.py").exists()
        ]
        for path in folder.glob("*.py"):
            name = ".".join(path.relative_to(root).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
        folders += [
            path
            for path in folder.iterdir()
            if path.is_symlink() and not (path / "__init__.py").exists()
        ]
    return found


def _imports(tree: ast.AST, kind: str = RUNTIME) -> Iterator[tuple[list[str], str]]:
    """What a syntax tree imports, and the kind of each: the modules that may be meant, likeliest
    first.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (([alias.name], kind) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used here"
            module = str(node.module)
            yield from (([f"{module}.{alias.name}", module], kind) for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield [node.value.partition(":")[0]], NAMED
        elif isinstance(node, ast.If) and re.fullmatch(
            r"(typing\.)?TYPE_CHECKING", ast.unparse(node.test)
        ):
            yield from _imports(ast.Module(node.body, []), TYPING)
            yield from _imports(ast.Module(node.orelse, []), kind)
        else:
            yield from _imports(node, kind)


def imports(sources: Mapping[str, str]) -> set[tuple[str, str, str]]:
    """Sources by module name -> (importing module, imported module, kind), of these modules
    only.
    """
    found = set()
    for name, source in sources.items():
        for candidates, kind in _imports(ast.parse(source)):
            target = next((module for module in candidates if module in sources), name)
            if target != name and "." in target + candidates[0]:
                found.add((name, target, kind))
    return found


def package_imports() -> set[tuple[str, str, str]]:
    """`imports` of the whole package."""
    return imports({name: path.read_text() for name, path in modules().items()})


def graph(edges: set[tuple[str, str]]) -> Graph:
    nodes = {node for edge in edges for node in edge}
    return {node: frozenset(target for source, target in edges if source == node) for node in nodes}


def circles(edges: Graph) -> list[list[str]]:
    """A circle through each node that is on one, each circle once: empty for an acyclic graph."""
    found: dict[frozenset[str], list[str]] = {}
    for start in sorted(edges):
        circle = _way(edges, start, start)
        if circle:
            found.setdefault(frozenset(circle), circle)
    return list(found.values())


def _way(edges: Graph, start: str, end: str) -> list[str]:
    """The shortest way from a node to another over at least one edge, without its end; empty where
    there is none.
    """
    ways, seen = [[start]], set()
    for way in ways:
        for target in sorted(edges[way[-1]]):
            if target == end:
                return way
            if target not in seen:
                seen.add(target)
                ways.append([*way, target])
    return []


def unit(module: str) -> str:
    """The sub-package of a module, or the module where it lies at the top; `api`: the package
    itself.
    """
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "api"


def includes(folder: pathlib.Path) -> set[tuple[str, str]]:
    """(file, header that it includes) of a folder's C files and headers."""
    paths = [*folder.glob("*.c"), *folder.glob("*.h")]
    return {
        (path.name, name)
        for path in paths
        for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.MULTILINE)
    }
