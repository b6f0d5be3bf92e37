"""Cut documents into examples: what a network sees, and what it should guess."""
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lmcore.tokenizers import END, SKIP, CharTokenizer


def windows(docs: Iterable[str], tok: CharTokenizer, T: int) -> tuple[Tensor, Tensor]:
    """Every token of every document, its end included (Y), and the T tokens before it (X).

    Before its first token a document has ends, T of them.

    Shapes: docs, tok, T -> (N, T), (N,)
    """
    padded = ([tok.end] * T + tok.encode(doc) + [tok.end] for doc in docs)
    rows = torch.cat([torch.tensor(ids).unfold(0, T + 1, 1) for ids in padded])     # (N, T + 1)
    return rows[:, :T], rows[:, T]


def batches(docs: Sequence[Sequence[int]], B: int, steps: int,
            seed: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of whole documents, one a row, in random order; all are seen before any comes again.

    Documents of like length share a batch, so that little is padding: T is the longest one's length, and
    behind a shorter one Y is SKIP.

    Shapes: X (B, T), Y (B, T)
    Raises: ValueError if there are fewer than B documents.
    """
    if len(docs) < B:
        raise ValueError(f"{len(docs)} documents do not fill a batch of {B}")
    generator, todo, pool = torch.Generator().manual_seed(seed), [], 16 * B
    for _ in range(steps):
        if not todo:
            order = torch.randperm(len(docs), generator=generator).tolist()
            like = [sorted(order[i:i + pool], key=lambda d: len(docs[d])) for i in range(0, len(order), pool)]
            groups = [some[i:i + B] for some in like for i in range(0, len(some) - B + 1, B)]
            todo = [groups[i] for i in torch.randperm(len(groups), generator=generator)]
        rows = [docs[d] for d in todo.pop()]
        yield (pad_sequence([torch.tensor([END, *row]) for row in rows], True, END),
               pad_sequence([torch.tensor([*row, END]) for row in rows], True, SKIP))
