"""What the package says of itself is true: every public name has a docstring of the house's form, and its
`Shapes:` line is run on tensors of those shapes.

Each letter has a size of its own, and any other name in a shape gets one too. What else it takes to call a
function, or a class's methods, stands in EXAMPLES by name.
"""
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

import lmcore as lm
from lmcore import blankfile, minigpt
from lmcore.attention import Attention, Cache
from lmcore.generate import Reader
from lmcore.parallel import BatchLoss, Parallel
from lmcore.train import Trainer

FIELDS = ["Shapes", "Units", "Raises", "Source"]
DOCS, TOK = ["abcde", "fghij"], lm.CharTokenizer.train(["abcdefghij"])      # N = 12 tokens, V = 11
CONFIG = lm.GPTConfig(vocab_size=11, block_size=12, n_embd=24, n_layer=2, n_head=3, n_kv_head=1)
READER = Reader(lm.GPT(CONFIG))
CACHE = Cache(CONFIG, 2, torch.zeros(0))
CACHE.length = 4                                                            # 4 of S = 9 tokens are there
TRAINER = Trainer(lm.GPT(CONFIG), {"train": DOCS}, TOK, lm.TrainConfig(batch_size=2), Path("nowhere"))
BIGRAM = lm.NGram(2, 0.1).fit(DOCS, TOK)
EXAMPLES = {"docs": DOCS, "tok": TOK, "Model": BIGRAM, "NGram": BIGRAM,
            "KneserNey": lm.KneserNey(3).fit(DOCS, TOK), "FixedContext": lm.MLP(TOK.vocab_size),
            "WaveNet": lm.WaveNet(TOK.vocab_size), "Recurrent": lm.RNN(11, 24, 9), "RNN": lm.RNN(11, 24, 9),
            "GRU": lm.GRU(11, 24, 9), "LSTM": lm.LSTM(11, 24, 9), "config": CONFIG, "layer": 0,
            "Reader": READER, "rows": [[0, 1, 2], [0, 3]], "windows": [[0, 1, 2, 3, 4], [0]], "p": 0.9,
            "Learner": TRAINER, "Trainer": TRAINER,
            "Cache": CACHE, "attention.Attention": Attention(CONFIG),
            "minigpt.Attention": minigpt.Attention(24, 3), "minigpt.Block": minigpt.Block(24, 3),
            "minigpt.GPT": minigpt.GPT(11, 12, 24, 2, 3),
            "BatchLoss": BatchLoss(lm.GPT(CONFIG)), "Parallel": Parallel,     # which needs a job
            "Candidate": blankfile.Candidate(lambda: minigpt.GPT(11, 16, 24, 2, 3), 11, 16)}
IDS = {"ids", "context", "X", "Y", "targets"}                                          # tensors of tokens


class Sizes(dict):
    """The size of each letter; another name in a shape gets the next odd number."""

    def __missing__(self, name: str) -> int:
        self[name] = 17 + 2 * len(self)
        return self[name]


SIZES = Sizes(B=2, H=3, T=5, D=8, C=24, V=11, N=12, S=9, K=1, n_layer=2)


def modules() -> list[ModuleType]:
    names = [found.name for found in pkgutil.walk_packages(lm.__path__, "lmcore.")]
    return [lm, *map(importlib.import_module, names)]


def public() -> Iterator[tuple[str, Callable]]:
    """Every function, class and method that a file of the package defines and does not hide."""
    for module in modules():
        for name, thing in vars(module).items():
            mine = getattr(thing, "__module__", "") == module.__name__ and not name.startswith("_")
            if mine and (inspect.isfunction(thing) or inspect.isclass(thing)):
                yield f"{module.__name__}.{name}", thing
            if mine and inspect.isclass(thing):
                yield from ((f"{module.__name__}.{name}.{key}", value) for key, value in vars(thing).items()
                            if inspect.isfunction(value) and not key.startswith("_"))


PUBLIC = dict(public())
CLASS_OF = {name: PUBLIC[owner] for name in PUBLIC if (owner := name.rpartition(".")[0]) in PUBLIC}


def form(doc: str) -> list[str]:
    """What is not as it should be in a docstring."""
    lines, fields = doc.splitlines(), re.findall(r"^(Shapes|Units|Raises|Source):( *)", doc, re.M)
    known = [name for name, _ in fields]
    return [wrong for wrong, found in {
        "the first line is no sentence": lines[0][-1] not in ".:?" or lines[0].startswith(tuple(FIELDS)),
        "no blank line after the first": len(lines) > 1 and lines[1],
        "more than 8 lines": len(lines) > 8,
        f"the fields are {', '.join(FIELDS)}, in this order": known != sorted(known, key=FIELDS.index),
        "fields start in one column: 'Units:  nats'": any(len(name + gap) != 7 for name, gap in fields),
        "no list of arguments": re.search(r"^(Args|Arguments|Parameters|Returns):?$", doc, re.M),
    }.items() if found]


def shapes_line(name: str) -> str:
    """The text after `Shapes:`, of the function or, for `forward`, of its class."""
    doc = PUBLIC[name].__doc__ or (CLASS_OF[name].__doc__ if name.endswith(".forward") else "")
    found = re.search(r"Shapes: (.*)", doc or "")
    return found[1] if found else ""


def with_tensors() -> list[str]:
    """The names of the functions that take or give a Tensor."""
    return [name for name, thing in PUBLIC.items() if inspect.isfunction(thing)
            and any("Tensor" in str(hint) for hint in thing.__annotations__.values())]


def shape(text: str) -> tuple[int, ...]:
    names = text.replace("...", "B, H").replace("/", "//").split(",")
    return tuple(eval(name, {}, SIZES) for name in names if name.strip())


def argument(name: str, said: dict[str, str]) -> object:
    if name in said:
        size = shape(said[name])
        return torch.randint(1, SIZES["V"], size) if name in IDS else torch.randn(size)
    return EXAMPLES[name] if name in EXAMPLES else SIZES[name]


def arguments(function: Callable, said: dict[str, str]) -> dict[str, object]:
    """Tensors where the line says a shape, sizes for letters, examples for the rest that has no default."""
    taken = inspect.signature(function).parameters.values()
    return {p.name: argument(p.name, said) for p in taken if p.kind is p.POSITIONAL_OR_KEYWORD
            and (p.default is p.empty or p.name in said or p.name in SIZES)}


def check_shapes(line: str, call: Callable) -> None:
    """Run a function on the shapes left of the arrow; what it returns must have those on the right."""
    before, after = line.split("->")
    result = call(**arguments(call, dict(re.findall(r"(\w+) \(([^)]*)\)", before))))
    results = result if isinstance(result, tuple) else (result,)
    found = [tuple(r.shape) for r in results]
    assert found == [shape(s) for s in re.findall(r"\(([^)]*)\)", after)], f"{line!r} gave {found}"


@pytest.mark.parametrize("name", [m.__name__ for m in modules()])
def test_every_file_says_what_it_does(name):
    doc = importlib.import_module(name).__doc__ or ""
    assert re.match(r"[A-Z].{20,}", doc), f"{name} opens with a line that says what it does"


@pytest.mark.parametrize("name", PUBLIC)
def test_docstrings_have_the_form_of_the_house(name):
    doc = inspect.getdoc(PUBLIC[name]) if PUBLIC[name].__doc__ else ""
    short = len(inspect.getsource(PUBLIC[name]).splitlines()) <= 4
    assert doc or short or name in CLASS_OF, "a public function or class has a docstring"
    assert not doc or not form(doc), form(doc)


@pytest.mark.parametrize("name", with_tensors())
def test_the_shapes_line_is_true(name):
    line, function = shapes_line(name), PUBLIC[name]
    assert line, "a function that takes or gives a Tensor has a Shapes line"
    if owner := CLASS_OF.get(name):
        full = name.removeprefix("lmcore.").rpartition(".")[0]
        thing = EXAMPLES.get(full) or EXAMPLES.get(owner.__name__) or owner(**arguments(owner, {}))
        function = getattr(thing, function.__name__)
    if "->" in line:
        check_shapes(line, function)


def last(x):
    return x.sum(-1)


@pytest.mark.parametrize("line, call", [
    ("x (B, T) -> (T, B)", lambda x: x),                                    # swapped axes
    ("T, D -> (T, D/2)", lambda T, D: torch.zeros(T, D)),                   # wrong width
    ("x (B, T, C) -> (B, 2*T, C)", lambda x: torch.cat([x, x], -1)),        # wrong axis
    ("x (B, T) -> (B, 1)", last), ("x (B, T) -> (B,), (B,)", last),         # lost keepdim, a result less
    ("x (B, T) -> (B, T, 1)", lambda x: x),                                 # wrong rank
    ("x (n_in, n_out) -> (n_out,)", last),
])
def test_a_wrong_shapes_line_is_caught(line, call):
    with pytest.raises(AssertionError, match="gave"):
        check_shapes(line, call)


@pytest.mark.parametrize("line, call", [
    ("x (B, T) -> (B,)", last), ("T, D -> (T, D/2)", lambda T, D, base=10: torch.zeros(T, D // 2)),
    ("x (..., n_in) -> (...)", last), ("x (B, T) -> (B,), ()", lambda x: (last(x), x.sum()))])
def test_a_right_shapes_line_passes(line, call):
    check_shapes(line, call)


@pytest.mark.parametrize("doc", [
    "no full stop", "Shapes: x (B,) -> (B,).", "One.\nTwo.", "One.\n\nUnits:  nats\nShapes: x (B,) -> (B,)",
    "One.\n\nUnits: nats", "One.\n\nArgs:\n    x: a tensor", "One.\n" + 8 * "\nMore."])
def test_a_docstring_out_of_form_is_caught(doc):
    assert form(doc)
