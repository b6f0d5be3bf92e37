"""The code of the chapters is the code of the package: one syntax tree, docstrings and annotations aside.

A cell that defines something names its twin in the package, {"lmcore": "ngrams.NGram"}; a first, simpler
try is tagged draft, and then the chapter shows by `lm.same` that its output equals the package's.
"""
import ast
import inspect
import textwrap
from collections.abc import Iterator
from importlib import import_module

import chapter as ch
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbformat.v4 import new_code_cell

DEFINITION = (ast.FunctionDef, ast.ClassDef)
BUILT_IN = {"train": 14, "log": 14, "machine": 14, "learner": 14, "plan": 14, "cost": 17,
            "parallel": 17, "cli": 20}
# The chapter that builds a file: one before it cannot copy it, only happen on the same name.


class Bare(ast.NodeTransformer):
    """Takes docstrings and annotations out of a tree."""

    def visit(self, node: ast.AST) -> ast.AST:
        node = self.generic_visit(node)
        if isinstance(node, DEFINITION) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
            node = ast.Assign([node.target], node.value, lineno=0) if node.value else node
        return node


def bare(tree: ast.AST) -> str:
    return ast.unparse(Bare().visit(tree))


def definitions(cell) -> dict[str, ast.AST]:
    """The functions and classes at the top level of a cell, by name."""
    tree = ast.parse(TransformerManager().transform_cell(cell.source))
    return {node.name: node for node in tree.body if isinstance(node, DEFINITION)}


def in_package(twin: str) -> ast.AST | None:
    """The definition that "ngrams.NGram" or "ngrams.NGram.probs" names."""
    module, *names = twin.split(".")
    try:
        found = import_module(f"lmcore.{module}")
        for name in names:
            found = getattr(found, name)
        return ast.parse(textwrap.dedent(inspect.getsource(found))).body[0]
    except (ImportError, AttributeError, TypeError):
        return None


def public_names(number: int) -> set[str]:
    """Every function and class at the top level of the files that are built by chapter `number`."""
    package = ch.ROOT / "lmcore"
    trees = [ast.parse(p.read_text(encoding="utf-8")) for p in package.rglob("*.py")
             if BUILT_IN.get(p.relative_to(package).parts[0].removesuffix(".py"), 0) <= number]
    return {n.name for t in trees for n in t.body if isinstance(n, DEFINITION) and n.name[0] != "_"}


def differing(chapter: ch.Chapter) -> Iterator[str]:
    public = public_names(int(chapter.number))
    for cell in ch.code_cells(chapter.nb):
        defined, twin = definitions(cell), cell.metadata.get("lmcore")
        twins = [twin] if isinstance(twin, str) else twin or []
        yield from (wrong for twin in twins if (wrong := unlike(defined, twin)))
        named = {twin.rpartition(".")[2] for twin in twins}
        if "draft" not in ch.tags(cell):
            yield from (f"{name} is also in lmcore: name its twin in the cell's metadata, or tag it draft"
                        for name in defined if name in public - named)


def unlike(defined: dict[str, ast.AST], twin: str) -> str:
    """What is wrong with a cell's definition and its twin, "" if they are the same."""
    name, package = twin.rpartition(".")[2], in_package(twin)
    if package is None or name not in defined:
        return f"{twin}: the cell has no {name}" if package is not None else f"lmcore has no {twin}"
    ours, theirs = bare(defined[name]), bare(package)
    return "" if ours == theirs else f"{name} is not lmcore.{twin}:\n{ours}\n--- and in the package\n{theirs}"


def unproved_draft(chapter: ch.Chapter) -> Iterator[str]:
    """A chapter with a draft but no `lm.same`."""
    cells = ch.code_cells(chapter.nb)
    calls = [ast.unparse(node.func) for cell in cells
             for node in ast.walk(ast.parse(TransformerManager().transform_cell(cell.source)))
             if isinstance(node, ast.Call)]
    if any("draft" in ch.tags(cell) for cell in cells) and not {"lm.same", "same"} & set(calls):
        yield "a draft, and no lm.same that shows it equal to the package in output"


def test_chapter_and_package_have_the_same_code(chapter: ch.Chapter):
    found = list(differing(chapter))
    assert not found, "\n".join(found)


def test_a_draft_is_shown_equal_to_the_package(chapter: ch.Chapter):
    assert list(unproved_draft(chapter)) == []



def written(chapter: ch.Chapter, source: str, **metadata) -> ch.Chapter:
    chapter.nb.cells.append(new_code_cell(source, metadata=metadata))
    return chapter


def package_source(twin: str) -> str:
    return bare(in_package(twin))


def test_the_package_s_own_code_passes(sample: ch.Chapter):
    source = "%time 1\n" + package_source("check.expect")
    assert not list(differing(written(sample, source, lmcore="check.expect")))


@pytest.mark.parametrize("change, metadata", [
    (("abs(value - book)", "abs(book - value)"), {"lmcore": "check.expect"}),   # another body
    (("unit=''", "unit='nats'"), {"lmcore": "check.expect"}),                   # another default
    (("value, book", "book, value"), {"lmcore": "check.expect"}),               # another order
    (("def expect", "def expected"), {"lmcore": "check.expect"}),               # the cell has no expect
    (("", ""), {"lmcore": "check.expectation"}),                                # the package has none
    (("", ""), {}),                                                             # the twin is not named
    (("", ""), {"lmcore": "check.same"}),                                       # another's twin is named
], ids=str)
def test_code_that_drifts_from_the_package_is_found(sample: ch.Chapter, change: tuple, metadata: dict):
    source = package_source("check.expect")
    assert change[0] in source
    assert list(differing(written(sample, source.replace(*change, 1), **metadata)))


def test_docstrings_and_annotations_do_not_count():
    ours = ast.parse("class A:\n    n = 1\n    def f(self, x):\n        return x")
    theirs = ast.parse('class A:\n    "D"\n    n: int = 1\n    def f(self, x: int) -> int:\n        return x')
    assert bare(ours) == bare(theirs)
    assert bare(ours) != bare(ast.parse("class A:\n    n = 2\n    def f(self, x):\n        return x"))


def test_a_draft_without_proof_is_found(sample: ch.Chapter):
    written(sample, "def expect(value):\n    print(value)", tags=["draft"])
    assert not list(differing(sample))
    assert list(unproved_draft(sample))
    assert not list(unproved_draft(written(sample, 'lm.same("expect", 1, 1)')))
