"""Language models that count: how often does each token follow the few tokens before it?"""
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Self

import torch
from torch import Tensor

from lmcore.tokenizers import CharTokenizer


def count_pairs(docs: Iterable[str], tok: CharTokenizer) -> Tensor:
    """How often each token (column) follows each other token (row), the borders of documents included.

    Shapes: docs, tok -> (V, V)
    """
    counts = torch.zeros(tok.vocab_size, tok.vocab_size)
    for doc in docs:
        ids = [tok.end, *tok.encode(doc), tok.end]
        for now, following in zip(ids, ids[1:]):
            counts[now, following] += 1
    return counts


def smooth(counts: Tensor, add: float = 0.0) -> Tensor:
    """Probabilities from counts: add the same to every count, then make each row sum to 1.

    A row that was never seen is uniform, which is what any small `add` makes of it.

    Shapes: counts (B, V) -> (B, V)
    """
    V = counts.shape[-1]
    total = counts.sum(-1, keepdim=True) + add * V              # (B, 1)
    return torch.where(total > 0, (counts + add) / total, 1 / V)


class NGram:
    """Guess the next token from the order - 1 tokens before it, by counting what followed them.

    Before its first token a document has ends, as many as are asked for. `order=2` is the bigram.

    Raises: ValueError if order is below 1 or add is negative.
    """

    def __init__(self, order: int, add: float = 0.0):
        if order < 1 or add < 0:
            raise ValueError(f"order must be at least 1 and add at least 0, got {order} and {add}")
        self.order, self.add = order, add
        self.counts: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)

    def fit(self, docs: Iterable[str], tok: CharTokenizer) -> Self:
        self.tok = tok
        for doc in docs:
            ids = [*tok.encode(doc), tok.end]
            for context, token in zip(self.contexts(ids), ids):
                self.counts[context][token] += 1
        return self

    def contexts(self, ids: Sequence[int]) -> list[tuple[int, ...]]:
        """The order - 1 tokens before each token of a document, and before the one that comes next."""
        n = self.order - 1
        padded = (self.tok.end,) * n + tuple(ids)
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
            probs.append((row[token] + self.add) / total if total else 1 / V)
        return torch.tensor(probs, dtype=torch.float64).log()

    def sample(self, n: int = 1, seed: int = 0, max_tokens: int = 1000) -> list[str]:
        """Write n texts, token by token, each until its end is drawn."""
        return sample(self, self.tok, n, seed, max_tokens)


def sample(model: NGram, tok: CharTokenizer, n: int, seed: int, max_tokens: int) -> list[str]:
    """Draw each next token from the model's probabilities until it draws the end."""
    generator = torch.Generator().manual_seed(seed)
    texts = []
    for _ in range(n):
        ids = []
        while len(ids) < max_tokens and tok.end not in ids[-1:]:
            ids.append(int(torch.multinomial(model.probs(ids), 1, generator=generator)))
        texts.append(tok.decode(ids))
    return texts
