"""Language models that count: how often does each token follow the few tokens before it?"""
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor, nn

from lmcore.tokenizers import CharTokenizer


def count_pairs(docs: Iterable[str], tok: CharTokenizer) -> Tensor:
    """How often each token (column) follows each other token (row), the borders of documents included.

    Shapes: docs, tok -> (V, V)
    """
    counts = [[0.0] * tok.vocab_size for _ in range(tok.vocab_size)]
    for doc in docs:
        ids = [tok.end, *tok.encode(doc), tok.end]
        for now, following in zip(ids, ids[1:]):
            counts[now][following] += 1
    return torch.tensor(counts)


def smooth(counts: Tensor, add: float = 0.0) -> Tensor:
    """Probabilities from counts: add the same to every count, then make each row sum to 1.

    A row that was never seen is uniform, which is what any small `add` makes of it.

    Shapes: counts (B, V) -> (B, V)
    """
    V = counts.shape[-1]
    total = counts.sum(-1, keepdim=True) + add * V              # (B, 1)
    return torch.where(total > 0, (counts + add) / total, 1 / V)


class CountingModel:
    """What the models here share: they count lists of documents, and they write.

    Raises: ValueError if fit gets no documents, or one text instead of a list of them.
    """

    def fit(self, docs: Sequence[str], tok: CharTokenizer) -> Self:
        if isinstance(docs, str) or not docs:
            raise ValueError(f"fit wants a list of documents with at least one, got {docs!r:.40}")
        self.tok = tok
        self.count([[*tok.encode(doc), tok.end] for doc in docs])
        return self

    def sample(self, n: int = 1, seed: int = 0, max_tokens: int = 1000) -> list[str]:
        """Write n texts, each until its end is drawn or it is max_tokens long."""
        return sample(self, self.tok, n, seed, max_tokens)


def sample(model: CountingModel | nn.Module, tok: CharTokenizer, n: int = 1, seed: int = 0,
           max_tokens: int = 1000) -> list[str]:
    """Write n texts by drawing each next token from `model.probs` of those so far, until the end is drawn."""
    generator, texts = torch.Generator().manual_seed(seed), []
    for _ in range(n):
        ids = []
        while len(ids) < max_tokens and tok.end not in ids[-1:]:
            ids.append(int(torch.multinomial(model.probs(ids), 1, generator=generator)))
        texts.append(tok.decode(ids))
    return texts


class NGram(CountingModel):
    """Guess the next token from the order - 1 tokens before it, by counting what followed them.

    Before its first token a document has ends, as many as are asked for. `order=2` is the bigram.

    Raises: ValueError if order is below 1 or add is negative.
    """

    def __init__(self, order: int, add: float = 0.0):
        if order < 1 or add < 0:
            raise ValueError(f"order must be at least 1 and add at least 0, got {order} and {add}")
        self.order, self.add = order, add

    def count(self, docs: Sequence[list[int]]) -> None:
        self.counts: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        for ids in docs:
            for context, token in zip(self.contexts(ids), ids):
                self.counts[context][token] += 1

    def contexts(self, ids: Sequence[int]) -> list[tuple[int, ...]]:
        """The order - 1 tokens before each token of a document, and before the one that comes next."""
        n = self.order - 1
        padded = (self.tok.end,) * n + tuple(map(int, ids))
        return [padded[i:i + n] for i in range(len(ids) + 1)]

    def probs(self, context: Sequence[int]) -> Tensor:
        """Probability of each token after the tokens of a document so far.

        Shapes: context (T,) -> (V,)
        """
        row = torch.zeros(self.tok.vocab_size, dtype=torch.float64)
        for token, count in self.counts.get(self.contexts(context)[-1], {}).items():
            row[token] = count
        return smooth(row, self.add)

    def log_probs(self, ids: Sequence[int]) -> Tensor:
        """Log-probability of each token of a document given those before it.

        Shapes: ids (T,) -> (T,)
        Units:  nats
        """
        V, probs = self.tok.vocab_size, []
        for context, token in zip(self.contexts(ids), ids):
            row = self.counts.get(context, Counter())
            total = row.total() + self.add * V
            probs.append((row[int(token)] + self.add) / total if total else 1 / V)
        return torch.tensor(probs, dtype=torch.float64).log()


class Level(NamedTuple):
    """What follows the contexts of one length.

    A context's id is its place in `contexts`, or -1, which finds the 0 at the end of the last three arrays.
    """

    contexts: np.ndarray    # sorted: id of the context without its first token * V + that first token
    pairs: np.ndarray       # sorted: id of a context * V + a token that follows it
    count: np.ndarray       # of each pair
    total: np.ndarray       # of each context, the sum of its counts
    kinds: np.ndarray       # of each context, how many different tokens follow it


def count_levels(docs: Sequence[list[int]], order: int, V: int, end: int = 0) -> list[Level]:
    """Count what follows contexts of 0, 1, ... order - 1 tokens; the shorter count each longer one once."""
    pad = [end] * (order - 1)
    stream = np.fromiter(chain.from_iterable(pad + ids for ids in docs), np.int64)
    real = np.fromiter(chain.from_iterable([0] * len(pad) + [1] * len(ids) for ids in docs), np.int8)
    at = np.flatnonzero(real)                                       # (N,) where the tokens to predict are
    context = np.zeros_like(at)                                     # (N,) id of the context of each
    contexts = [context[:1]]
    for k in range(1, order):                                       # grow by the token k places back
        keys, context = rank(context * V + stream[at - k], len(contexts[-1]) * V)
        contexts.append(keys)
    pairs, count = np.unique(context * V + stream[at], return_counts=True)
    levels = []
    for keys in reversed(contexts):
        row = pairs // V
        numbers = count, np.bincount(row, count), np.bincount(row)
        levels.append(Level(keys, pairs, *(np.append(x, 0) for x in numbers)))
        pairs, count = np.unique(keys[row] // V * V + pairs % V, return_counts=True)
    return levels[::-1]


def rank(keys: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """The different keys, sorted, and the place of each key among them. All keys are below limit."""
    if limit > 4 * len(keys):
        return np.unique(keys, return_inverse=True)
    seen = np.zeros(limit, bool)                                    # a table is quicker than sorting
    seen[keys] = True
    return np.flatnonzero(seen), (np.cumsum(seen) - 1)[keys]


def find(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The place of each wanted key among the sorted keys, -1 where it is not there."""
    place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)


def interpolate(levels: list[Level], windows: np.ndarray, V: int, discount: float | np.ndarray) -> np.ndarray:
    """Kneser-Ney probability of the last token of each window given the others; a row for each discount."""
    context, p = np.zeros(len(windows), np.int64), 1 / V
    for k, level in enumerate(levels):
        if k:
            context = find(level.contexts, context * V + windows[:, -1 - k])
        count = level.count[find(level.pairs, context * V + windows[:, -1])]
        total = level.total[context]
        shared = np.maximum(count - discount, 0) + discount * level.kinds[context] * p
        p = np.where(total > 0, shared / np.maximum(total, 1), p)
    return p


class KneserNey(CountingModel):
    """Interpolated Kneser-Ney: believe a long context as far as it was seen, a shorter one for the rest.

    Each count gives up `discount`, which is shared out as the context one token shorter would, down to 1/V.
    Shorter contexts count not how often a token followed them, but in how many longer contexts it did.
    Without `discount`, `fit` takes the one of 0.1 ... 0.9 that does best on a held-out tenth of documents.

    Raises: ValueError if order is below 1 or discount is outside (0, 1].
    Source: Kneser and Ney 1995; interpolated as in Chen and Goodman 1998, TR-10-98, sec. 2.7.
    """

    def __init__(self, order: int, discount: float | None = None):
        if order < 1 or not (discount is None or 0 < discount <= 1):
            raise ValueError(f"order must be at least 1 and discount in (0, 1], got {order} and {discount}")
        self.order, self.discount = order, discount

    def count(self, docs: Sequence[list[int]]) -> None:
        if self.discount is None:
            self.discount = self._best_discount(docs)
        self.levels = count_levels(docs, self.order, self.tok.vocab_size, self.tok.end)

    def windows(self, ids: Sequence[int]) -> np.ndarray:
        """Each token of a document, and an end for the one to come, after the order - 1 tokens before it."""
        end = self.tok.end
        return sliding_window_view(np.array([end] * (self.order - 1) + [*ids, end]), self.order)

    def probs(self, context: Sequence[int]) -> Tensor:
        """Probability of each token after the tokens of a document so far.

        Shapes: context (T,) -> (V,)
        """
        V = self.tok.vocab_size
        windows = np.repeat(self.windows(context)[-1:], V, axis=0)  # (V, order)
        windows[:, -1] = np.arange(V)
        return torch.from_numpy(interpolate(self.levels, windows, V, self.discount))

    def log_probs(self, ids: Sequence[int]) -> Tensor:
        """Log-probability of each token of a document given those before it.

        Shapes: ids (T,) -> (T,)
        Units:  nats
        """
        probs = interpolate(self.levels, self.windows(ids)[:-1], self.tok.vocab_size, self.discount)
        return torch.from_numpy(probs).log()

    def _best_discount(self, docs: Sequence[list[int]]) -> float:
        if len(docs) < 10:                                          # cut each into tenths
            steps = [(doc, len(doc) // 10 + 1) for doc in docs]
            docs = [doc[i:i + step] for doc, step in steps for i in range(0, len(doc), step)]
        V, held = self.tok.vocab_size, np.concatenate([self.windows(doc)[:-1] for doc in docs[::10]])
        held = held[::len(held) // 200_000 + 1]                     # these are enough to choose by
        learn = [doc for i, doc in enumerate(docs) if i % 10] or docs
        choices = np.arange(1, 10)[:, None] / 10                    # (9, 1)
        probs = interpolate(count_levels(learn, self.order, V, self.tok.end), held, V, choices)
        return float(choices[np.log(probs).mean(1).argmax(), 0])
