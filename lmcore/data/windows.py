"""Cut documents into examples: the few tokens that a network sees, and the one it should guess."""
from collections.abc import Iterable

import torch
from torch import Tensor

from lmcore.tokenizers import CharTokenizer


def windows(docs: Iterable[str], tok: CharTokenizer, T: int) -> tuple[Tensor, Tensor]:
    """Every token of every document, its end included (Y), and the T tokens before it (X).

    Before its first token a document has ends, T of them.

    Shapes: docs, tok, T -> (N, T), (N,)
    """
    padded = ([tok.end] * T + tok.encode(doc) + [tok.end] for doc in docs)
    rows = torch.cat([torch.tensor(ids).unfold(0, T + 1, 1) for ids in padded])     # (N, T + 1)
    return rows[:, :T], rows[:, T]
