"""Word vectors from tales, and a bag of vectors that sorts tales by plot: how sure are chapter 13's numbers?

    python tests/studies/embeddings.py          writes data/runs/embeddings_tales.json

Each vector is asked for its nearest neighbour among the words whose kind the grammar knows; the score is the
share of neighbours of the same kind. Skip-gram has five seeds; counting has no seed. `by tales` varies the
amount of text, `variants` one setting at a time on 300 tales. `plots` trains the classifier of plots, five
seeds each, on 1,000 tales and on all; the loss is in nats, the error of calibration a share.
"""
import json
import platform
import re
import tomllib
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lmcore as lm
from lmcore.optim import AdamW

RECORD = Path(__file__).resolve().parents[2] / "data/runs/embeddings_tales.json"
SEEDS, FIRST, SHAPE = range(5), 20, re.compile(r"(?:the (?:\w+ )?)?(\w+)(?: and (\w+))?")
BASE = {"reach": 2, "C": 48, "k": 5, "power": 0.75, "often": None}
VARIANTS = {"as in the chapter": {}, "reach 5": {"reach": 5}, "reach 10": {"reach": 10},
            "frequent words dropped": {"often": 1e-3}, "noise as frequent as words": {"power": 1.0},
            "noise all alike": {"power": 0.0}, "1 noise word": {"k": 1}, "15 noise words": {"k": 15},
            "16 channels": {"C": 16}}
WORDS, C_BAG, HIDDEN = 14, 32, 64


def words_of(text: str) -> list[str]:
    return re.findall(r"\w+(?:['’]\w+)*", text.lower())


def kinds_of(source: str) -> dict[str, set[str]]:
    """The words of each kind in a grammar: a record is one word, a pair of names, or `the` and a noun."""
    kinds = {}
    for kind, records in tomllib.loads(source)["lexicons"].items():
        for record in records:
            text = record if isinstance(record, str) else next(iter(record.values()))
            if found := SHAPE.fullmatch(text.lower()):
                kinds.setdefault(kind, set()).update(filter(None, found.groups()))
    return {kind: words for kind, words in kinds.items() if len(words) >= 5 and kind != "plot"}


def share_of_kind(rows: Tensor, names: list[str], kinds: dict[str, set[str]]) -> float:
    """The share of words whose nearest neighbour is of a kind with them."""
    member = torch.tensor([[name in words for words in kinds.values()] for name in names]).float()
    x = F.normalize(rows, dim=1)
    nearest = (x @ x.T).fill_diagonal_(-torch.inf).argmax(1)
    return (member * member[nearest]).sum(1).gt(0).float().mean().item()


def pairs_of(rows: list[Tensor], reach: int) -> Tensor:
    """Every word with each neighbour up to `reach` away, both ways: (N, 2)."""
    gap = torch.full((reach,), -1)
    row = torch.cat([part for ids in rows for part in (ids, gap)])
    found = torch.cat([torch.stack([row[:-d], row[d:]], 1) for d in range(1, reach + 1)])
    found = found[(found >= 0).all(1)]
    return torch.cat([found, found.flip(1)])


def skip_gram(pairs: Tensor, counts: Tensor, seed: int, C: int, k: int, power: float, steps: int = 1000,
              batch: int = 1024, rate: float = 0.02) -> tuple[Tensor, list[float]]:
    """Vectors trained to tell true pairs from noise, and every loss."""
    torch.manual_seed(seed)
    words = ((torch.rand(len(counts), C) - 0.5) / C).requires_grad_()
    contexts = torch.zeros(len(counts), C, requires_grad=True)
    optimiser, losses = AdamW([words, contexts], rate, weight_decay=0.0), []
    for step in range(steps):
        optimiser.lr = rate * (1 - step / steps)
        i, j = pairs[torch.randint(len(pairs), (batch,))].T
        noise = torch.multinomial(counts**power, batch * k, replacement=True).view(batch, k)
        scores = (contexts[torch.cat([j[:, None], noise], 1)] @ words[i][:, :, None])[..., 0]
        loss = -F.logsigmoid(scores[:, 0]).mean() - F.logsigmoid(-scores[:, 1:]).sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return words.detach(), losses


def counted(pairs: Tensor, V: int, C: int = 48) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of the table of counts, of its positive mutual information, and the latter in C channels."""
    table = torch.bincount(pairs[:, 0] * V + pairs[:, 1], minlength=V * V).view(V, V).float()
    often = table.sum(0)**0.75
    pmi = (table / table.sum(1, keepdim=True) / (often / often.sum())).log()
    ppmi = pmi.nan_to_num(neginf=0).clamp(min=0)
    U, S, _ = torch.linalg.svd(ppmi)
    return table, ppmi, U[:, :C] * S[:C]**0.5


class Corpus:
    """The first n training tales as rows of ids, and which words of known kinds are among them."""

    def __init__(self, docs: list[list[str]], kinds: dict[str, set[str]]):
        self.vocab = sorted({word for doc in docs for word in doc})
        ids = {word: i for i, word in enumerate(self.vocab)}
        self.rows = [torch.tensor([ids[word] for word in doc]) for doc in docs]
        self.counts = torch.bincount(torch.cat(self.rows)).float()
        self.kinds, self.names = kinds, sorted(set().union(*kinds.values()) & set(ids))
        self.known = [ids[name] for name in self.names]

    def score(self, vectors: Tensor) -> float:
        return share_of_kind(vectors[self.known], self.names, self.kinds)

    def pairs(self, reach: int, often: float | None, seed: int = 0) -> Tensor:
        rows = self.rows
        if often:
            torch.manual_seed(seed)
            keep = (often * self.counts.sum() / self.counts).sqrt()
            rows = [ids[torch.rand(len(ids)) < keep[ids]] for ids in rows]
        return pairs_of(rows, reach)

    def trained(self, **changes: object) -> dict:
        """Five seeds of one setting: their scores, and the mean of their first losses."""
        about = BASE | changes
        reach, often = about.pop("reach"), about.pop("often")
        runs = [skip_gram(self.pairs(reach, often, seed), self.counts, seed, **about) for seed in SEEDS]
        return {"share": [self.score(vectors) for vectors, _ in runs],
                "first": [sum(losses[:FIRST]) / FIRST for _, losses in runs]}


class Bag(nn.Module):
    """The mean of the words' vectors, one hidden layer, a logit for each plot; id 0 is no word."""

    def __init__(self, V: int, K: int):
        super().__init__()
        self.vectors = nn.Embedding(V, C_BAG)
        self.hidden, self.out = nn.Linear(C_BAG, HIDDEN), nn.Linear(HIDDEN, K)

    def forward(self, X: Tensor) -> Tensor:
        real = (X > 0).float()[..., None]
        x = (self.vectors(X) * real).sum(1) / real.sum(1)
        return self.out(self.hidden(x).tanh())


def sorter(X: Tensor, Y: Tensor, V: int, K: int, seed: int, vectors: Tensor | None = None,
           steps: int = 800) -> Bag:
    torch.manual_seed(seed)
    model = Bag(V, K)
    if vectors is not None:
        model.vectors.weight.data[:] = vectors
    optimiser = AdamW(model.parameters(), 0.01)
    for step in range(steps):
        optimiser.lr = 0.01 * (1 - step / steps)
        some = torch.randint(len(X), (128,))
        loss = F.cross_entropy(model(X[some]), Y[some])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


def measured(log_p: Tensor, Y: Tensor) -> dict[str, float]:
    sure, guess = log_p.exp().max(1)
    right, bins = (guess == Y).float(), (10 * sure).long().clamp(max=9)
    gaps = [abs(float((sure - right)[bins == b].sum())) for b in range(10)]
    return {"right": right.mean().item(), "nats": F.nll_loss(log_p, Y).item(), "ece": sum(gaps) / len(Y)}


def plots(kinds: dict[str, set[str]], source: str) -> dict:
    """The classifier on the first words of tales, by how many it has seen and where its vectors began."""
    lexicons, parts = tomllib.loads(source)["lexicons"], lm.data.splits("tales")
    docs = {part: [words_of(text) for text in texts] for part, texts in parts.items()}
    ids = {word: i for i, word in enumerate(sorted({w for doc in docs["train"] for w in doc}), 1)}
    V, K = len(ids) + 1, len(lexicons["plot"])

    def plot_of(text: str) -> int:
        return next(lexicons["plot"].index(m["of"]) for m in lexicons["moral"] if m["text"] in text.lower())

    X = {part: torch.tensor([[ids[w] for w in doc[:WORDS]] for doc in docs[part]]) for part in docs}
    Y = {part: torch.tensor([plot_of(text) for text in texts]) for part, texts in parts.items()}
    corpus = Corpus(docs["train"][:3000], kinds)
    begun, _ = skip_gram(corpus.pairs(2, None), corpus.counts, 0, C_BAG, 5, 0.75)
    vectors = torch.randn(V, C_BAG, generator=torch.Generator().manual_seed(0))
    vectors[[ids[word] for word in corpus.vocab]] = begun / begun.std()
    found = {}
    for name, n, start in (("1000", 1000, None), ("20000", 20_000, None),
                           ("1000, skip-gram's vectors", 1000, vectors)):
        runs = []
        for seed in SEEDS:
            model = sorter(X["train"][:n], Y["train"][:n], V, K, seed, vectors=start)
            with torch.no_grad():
                runs.append(measured(model(X["val"]).log_softmax(1), Y["val"]))
        found[name] = {key: [run[key] for run in runs] for key in runs[0]}
        print(name, found[name], flush=True)
    return found


def main() -> None:
    source = lm.Grammar.load("tales").source
    kinds, docs = kinds_of(source), [words_of(text) for text in lm.data.splits("tales")["train"][:3000]]
    by_tales, variants = {}, {}
    for n in (30, 100, 300, 1000, 3000):
        corpus = Corpus(docs[:n], kinds)
        rows = counted(corpus.pairs(2, None), len(corpus.vocab))
        names = ("counts", "PPMI", "PPMI and SVD")
        by_tales[n] = {name: corpus.score(row) for name, row in zip(names, rows)}
        by_tales[n] |= {"words tested": len(corpus.names), "skip-gram": corpus.trained()}
        print(n, by_tales[n], flush=True)
    corpus = Corpus(docs[:300], kinds)
    for name, changes in VARIANTS.items():
        variants[name] = corpus.trained(**changes)
        print(name, variants[name]["share"], flush=True)
    for reach in (5, 10):
        variants[f"PPMI and SVD, reach {reach}"] = corpus.score(
            counted(corpus.pairs(reach, None), len(corpus.vocab))[2])
    record = {"settings": BASE | {"steps": 1000, "batch": 1024, "rate": 0.02, "words of a tale": WORDS},
              "torch": torch.__version__.split("+")[0],
              "machine": f"{platform.machine()}, one thread, Python {platform.python_version()}",
              "by tales": by_tales, "variants": variants, "plots": plots(kinds, source)}
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
