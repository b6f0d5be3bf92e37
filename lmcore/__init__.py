"""Language models, measured: the package that the course's notebooks build, one idea a file.

Letters: B batch, T tokens of this call, C channels of the stream, V vocabulary, H heads,
         D channels per head, N examples or characters in a file, S tokens in the cache.
"""
import os
import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

# Waiting OpenMP threads spin, which on a busy machine costs a factor of ten; torch reads this when imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from lmcore.check import expect, same
from lmcore.evaluate import Score, evaluate
from lmcore.tokenizers import CharTokenizer, SentencePieceTokenizer, WordTokenizer

__version__ = "0.1.0"
__all__ = ["GPT", "GRU", "LSTM", "MLP", "RNN", "BPETokenizer", "CharTokenizer", "GPTConfig", "Grammar",
           "KneserNey", "NGram", "Score", "SentencePieceTokenizer", "TrainConfig", "WaveNet", "WordTokenizer",
           "__version__", "cost", "data", "evaluate", "expect", "fit", "generate", "plan", "plots",
           "preset", "resume", "same", "stream"]

# Imported at the first use, so that `import lmcore` stays quick; so are the files that have no name here.
LATER = {"BPETokenizer": "bpe", "GPT": "gpt", "GPTConfig": "config", "GRU": "recurrent", "Grammar": "grammar",
         "KneserNey": "ngrams", "LSTM": "recurrent", "MLP": "models", "NGram": "ngrams", "RNN": "recurrent",
         "TrainConfig": "config", "WaveNet": "models", "cost": "cost", "fit": "train", "generate": "generate",
         "plan": "plan", "preset": "config", "resume": "train", "stream": "generate"}


class Package(ModuleType):
    """A module in which `lmcore.generate` is the function, also once the file of that name was imported."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in LATER and isinstance(value, ModuleType):     # Python sets the name of a file it imported
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = Package


def __getattr__(name: str) -> object:
    if name in LATER:
        return getattr(import_module(f"lmcore.{LATER[name]}"), name)
    if find_spec(f"lmcore.{name}"):
        return import_module(f"lmcore.{name}")
    raise AttributeError(f"lmcore has no {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
