"""Networks with a memory: they read one token at a time, and what they remember is a row of numbers."""
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmcore.layers import Embedding, Linear
from lmcore.tokenizers import END, SKIP, CharTokenizer


class Recurrent(nn.Module):
    """What networks with a memory share: the same step for every token, and an empty memory at each border.

    A network says how many `sums` of `hidden` numbers its step needs, how many `rows` its memory has, and
    what a `step` does. The first row of the memory is what the output sees.

    Shapes: X (B, T) -> (B, T, V)
    Source: Elman 1990, Finding structure in time. https://doi.org/10.1207/s15516709cog1402_1
    """

    sums, rows = 1, 1

    def __init__(self, V: int, C: int = 24, hidden: int = 128):
        super().__init__()
        self.hidden = hidden
        self.embedding = Embedding(V, C)
        self.read = Linear(C, self.sums * hidden)
        self.recall = Linear(hidden, self.sums * hidden)
        self.out = Linear(hidden, V)
        self.out.weight.data *= 0.1     # begin near the uniform guess

    def forward(self, X: Tensor) -> Tensor:
        memory = self.memories(self.embedding(X), X == END)             # (B, T, rows * hidden)
        return self.out(memory[..., :self.hidden])                      # (B, T, V)

    def memories(self, x: Tensor, border: Tensor) -> Tensor:
        """The memory after each token; it is emptied before a token that is a border.

        Shapes: x (B, T, C), border (B, T) -> (B, T, S)
        """
        memory, found = x.new_zeros(len(x), self.rows * self.hidden), []
        inside = (border == 0).to(x.dtype).unsqueeze(-1)                    # (B, T, 1)
        for new, keep in zip(self.read(x).unbind(1), inside.unbind(1)):
            memory = self.step(new, memory * keep)                      # (B, rows * hidden)
            found.append(memory)
        return torch.stack(found, 1)

    def step(self, new: Tensor, memory: Tensor) -> Tensor:
        """The memory after one token, from the sums of that token and the memory before it.

        Shapes: new (B, S), memory (B, S) -> (B, S), of an RNN
        """
        raise NotImplementedError("a network with a memory says what its step does")

    @torch.no_grad()
    def log_probs(self, ids: Sequence[int]) -> Tensor:
        """Log-probability of each token of a document given all those before it.

        Shapes: ids (T,) -> (T,)
        Units:  nats
        """
        logits = self(torch.tensor([[END, *ids[:-1]]]))[0]              # (T, V)
        return -F.cross_entropy(logits, torch.as_tensor(ids), reduction="none")

    @torch.no_grad()
    def probs(self, ids: Sequence[int]) -> Tensor:
        """Probability of each token after the tokens of a document so far.

        Shapes: ids (T,) -> (V,)
        """
        return self(torch.tensor([[END, *ids]]))[0, -1].softmax(-1)


class RNN(Recurrent):
    """The plain one: the new memory is a squashed sum of the new token and the old memory.

    Shapes: X (B, T) -> (B, T, V)
    Source: Elman 1990. https://doi.org/10.1207/s15516709cog1402_1
    """

    def step(self, new: Tensor, memory: Tensor) -> Tensor:
        """The memory after one token.

        Shapes: new (B, S), memory (B, S) -> (B, S)
        """
        return (new + self.recall(memory)).tanh()


class GRU(Recurrent):
    """Two gates, numbers from 0 to 1: one says how much to keep, one what of the old a proposal may see.

    Shapes: X (B, T) -> (B, T, V)
    Source: Cho et al. 2014, eq. 5-8, as in cuDNN and torch. https://arxiv.org/abs/1406.1078
    """

    sums = 3

    def step(self, new: Tensor, memory: Tensor) -> Tensor:
        """The memory after one token.

        Shapes: new (B, 3*S), memory (B, S) -> (B, S)
        """
        H, old = self.hidden, self.recall(memory)                       # (B, 3 * H)
        gates = (new[:, :2 * H] + old[:, :2 * H]).sigmoid()             # (B, 2 * H)
        see, keep = gates.chunk(2, 1)                                   # (B, H) each
        proposal = (new[:, 2 * H:] + see * old[:, 2 * H:]).tanh()       # (B, H)
        return keep * memory + (1 - keep) * proposal


class LSTM(Recurrent):
    """A second row of memory, the store, which changes only by a gated sum; three gates write, keep, show.

    The gate that keeps starts with a bias of 1, so that the store begins by holding what it has.

    Shapes: X (B, T) -> (B, T, V)
    Source: Hochreiter & Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735; the gate that
            keeps: Gers et al. 2000, its bias: Jozefowicz et al. 2015, sec. 2.2
    """

    sums, rows = 4, 2

    def __init__(self, V: int, C: int = 24, hidden: int = 128):
        super().__init__(V, C, hidden)
        self.read.bias.data[hidden:2 * hidden] = 1

    def step(self, new: Tensor, memory: Tensor) -> Tensor:
        """The memory after one token.

        Shapes: new (B, 4*S), memory (B, 2*S) -> (B, 2*S)
        """
        shown, store = memory.chunk(2, 1)                               # (B, hidden) each
        write, keep, proposal, show = (new + self.recall(shown)).chunk(4, 1)
        store = keep.sigmoid() * store + write.sigmoid() * proposal.tanh()
        return torch.cat([show.sigmoid() * store.tanh(), store], 1)     # (B, 2 * hidden)


def pack(docs: Iterable[str], tok: CharTokenizer, T: int) -> tuple[Tensor, Tensor]:
    """Rows of T tokens, each filled with whole documents (X), and the token after each (Y).

    A document begins with an end, which empties the memory. What is left of a row is skipped by the loss.

    Shapes: X and Y, (N, T) each
    Raises: ValueError if a document with its end is longer than T.
    """
    X, Y, x, y = [], [], [], []
    for doc in docs:
        ids = tok.encode(doc)
        if len(ids) >= T:
            raise ValueError(f"a document of {len(ids)} tokens and its end do not fit into rows of {T}")
        if len(x) + len(ids) >= T:
            X.append(x + [END] * (T - len(x)))
            Y.append(y + [SKIP] * (T - len(y)))
            x, y = [], []
        x, y = [*x, END, *ids], [*y, *ids, END]
    X.append(x + [END] * (T - len(x)))
    Y.append(y + [SKIP] * (T - len(y)))
    return torch.tensor(X), torch.tensor(Y)
