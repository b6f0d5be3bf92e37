"""Cut documents into examples: what a network sees, and what it should guess."""
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lmcore.tokenizers import END, SKIP, CharTokenizer

POOL = 16       # so many batches are drawn together, to put windows of like length into one


def windows(docs: Iterable[str], tok: CharTokenizer, T: int) -> tuple[Tensor, Tensor]:
    """Every token of every document, its end included (Y), and the T tokens before it (X).

    Before its first token a document has ends, T of them.

    Shapes: docs, tok, T -> (N, T), (N,)
    """
    padded = ([tok.end] * T + tok.encode(doc) + [tok.end] for doc in docs)
    rows = torch.cat([torch.tensor(ids).unfold(0, T + 1, 1) for ids in padded])     # (N, T + 1)
    return rows[:, :T], rows[:, T]


def flat(docs: Iterable[Sequence[int]]) -> np.ndarray:
    """Encoded documents as one row of ids, an end after each: what a token file holds."""
    rows = [np.array([*doc, END], dtype=np.uint32) for doc in docs]
    return np.concatenate(rows) if rows else np.empty(0, np.uint32)


def borders(ids: np.ndarray) -> np.ndarray:
    """Where each document ends; the row is read a piece at a time, for it may be larger than memory."""
    step = 1 << 24
    return np.concatenate([at + np.flatnonzero(ids[at:at + step] == END)
                           for at in range(0, len(ids), step)] or [np.empty(0, np.int64)])


class Batches:
    """Batch i of a row of ids is a function of the seed and of i alone, so a run can begin at any step.

    how="documents": each document from its own start. One that is longer than T is cut into windows of T,
                     `stride` apart. Windows of like length share a batch; behind a short one Y is SKIP.
    how="stream":    windows of T, `stride` apart, over the whole row, in which ends separate documents.
    All windows are seen, B at a time in random order, before any comes again.

    Raises: ValueError if there are fewer windows than B.
    """

    def __init__(self, ids: np.ndarray, B: int, T: int, how: Literal["documents", "stream"] = "documents",
                 stride: int | None = None, seed: int = 0):
        self.ids, self.B, self.seed = ids, B, seed
        self.ends = borders(ids)
        self.start, self.length = self.cut(T, stride or T, how)         # (N,) each: first target, how many
        if len(self.start) < B:
            kind = "documents" if how == "documents" and len(self.start) == len(self.ends) else "windows"
            raise ValueError(f"{len(self.start)} {kind} do not fill a batch of {B}: make the batch smaller")
        self.per_epoch = len(self.start) // B
        self.epoch, self.order, self.generator = -1, None, None

    def cut(self, T: int, stride: int, how: str) -> tuple[np.ndarray, np.ndarray]:
        """First target and number of targets of every window; the last of a document ends where it ends."""
        if how == "stream":
            pieces = [(0, len(self.ids))]
        else:
            pieces = zip(np.append(0, self.ends[:-1] + 1).tolist(), (self.ends + 1).tolist())
        found = []
        for first, end in pieces:
            if end - first <= T:
                found.append((first, end - first))
            else:
                found += [(start, T) for start in (*range(first, end - T, stride), end - T)]
        return tuple(np.array(found, dtype=np.int64).reshape(-1, 2).T)

    def chosen(self, i: int) -> np.ndarray:
        """The numbers of the windows in batch i."""
        epoch, at = divmod(i, self.per_epoch)
        if epoch < self.epoch or self.generator is None:
            self.epoch, self.generator = -1, torch.Generator().manual_seed(self.seed)
        while self.epoch < epoch:           # the draws of earlier epochs come before those of this one
            self.epoch += 1
            order = torch.randperm(len(self.start), generator=self.generator).numpy()
            pool = np.arange(len(order)) // (POOL * self.B)
            like = order[np.lexsort((self.length[order], pool))][:self.per_epoch * self.B]
            groups = like.reshape(-1, self.B)                           # (per_epoch, B)
            self.order = groups[torch.randperm(self.per_epoch, generator=self.generator).numpy()[::-1]]
        return self.order[at]

    def __call__(self, i: int) -> tuple[Tensor, Tensor]:
        """What the model sees, and what it should guess: for each token the one after it.

        Shapes: X (B, T), Y (B, T)
        """
        rows = self.chosen(i)
        T = int(self.length[rows].max())
        X, Y = torch.full((self.B, T), END), torch.full((self.B, T), SKIP)
        for x, y, row in zip(X, Y, rows):
            start, n = int(self.start[row]), int(self.length[row])
            ids = torch.from_numpy(self.ids[max(start - 1, 0):start + n].astype(np.int64))
            y[:n] = ids[-n:]
            x[n - len(ids[:-1]):n] = ids[:-1]           # the first of all follows an end that is not written
        return X, Y

    def documents(self, i: int) -> list[int]:
        """The numbers of the documents from which the windows of batch i begin, counted from 0."""
        return np.searchsorted(self.ends, self.start[self.chosen(i)]).tolist()


def batches(docs: Sequence[Sequence[int]], B: int, steps: int,
            seed: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of whole documents, one a row, in random order; all are seen before any comes again.

    Documents of like length share a batch, so that little is padding: T is the longest one's length, and
    behind a shorter one Y is SKIP.

    Shapes: X (B, T), Y (B, T)
    Raises: ValueError if there are fewer than B documents.
    """
    batch = Batches(flat(docs), B, T=1 + max(map(len, docs), default=0), seed=seed)
    yield from map(batch, range(steps))
