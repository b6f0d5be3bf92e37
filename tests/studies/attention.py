"""The model of chapter 09 with one part changed, on two plots of the tales, three seeds each.

    python tests/studies/attention.py [NAME ...]         adds runs to data/runs/attention_tales.json

"whole" is the chapter's own run, 2,000 steps, with its probes; all others have 400. The record holds for
each seed the loss on the 300 validation tales in bits per byte and the CPU seconds of one
thread of a busy machine.
"""
import fcntl
import json
import platform
import re
import sys
import time
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lmcore as lm
from lmcore.layers import Embedding, Linear
from lmcore.minigpt import Attention
from lmcore.models import train, warmup_cosine
from lmcore.optim import AdamW

ROOT, SEEDS = Path(__file__).resolve().parents[2], 3
FILE = ROOT / "data" / "runs" / "attention_tales.json"
TWO = "lost|newcomer"
KINDS = "pronoun", "thing", "quotation", "name", "place", "colour", "feeling"


class RootOfC(Attention):
    """The mistake: scores over the root of C, not of D."""

    def weights(self, q: Tensor, k: Tensor) -> Tensor:
        return super().weights(q / self.H**0.5, k)


class Recaller(nn.Module):
    """Words and places in, some looks back, each joined with what it found."""

    def __init__(self, V: int, T: int, C: int = 64, H: int = 4, looks: int = 2, places: str = "waves",
                 attention: type[Attention] = Attention, begin: bool = True):
        super().__init__()
        self.C, self.words = C, Embedding(V, C)
        self.words.weight.data /= C**0.5
        if places == "learned":
            self.places = nn.Parameter(0.7 * torch.randn(T, C))
        else:
            self.places = lm.attention.sinusoids(T, C) * (places == "waves")
        self.looks = nn.ModuleList(attention(C, H) for _ in range(looks))
        self.joins = nn.ModuleList(Linear(2 * C, C) for _ in range(looks))
        for look, join in zip(self.looks, self.joins):
            join.weight.data *= 0.5
            if begin:       # every head begins by telling the words that it sees
                look.qkv.weight.data[2 * C:] = look.out.weight.data = torch.eye(C)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) * self.C**0.5 + self.places[:ids.shape[1]]
        for look, join in zip(self.looks, self.joins):
            found = look(x)
            joined = join(torch.cat([x, found], dim=-1))
            x, out = x + joined.relu(), found + joined
        return out @ self.words.weight.T

    @torch.no_grad()
    def log_probs(self, ids: list[int]) -> Tensor:
        ids = torch.tensor([0, *ids])
        return -F.cross_entropy(self(ids[None, :-1])[0], ids[1:], reduction="none")


VARIANTS = {"whole": {}, "two looks, waves": {}, "learned places": {"places": "learned"},
            "no places": {"places": "none"}, "one look": {"looks": 1}, "one head": {"H": 1},
            "root of C": {"attention": RootOfC}, "values at random": {"begin": False}}


@cache
def world() -> tuple:
    """The small world: its grammar, texts, tokenizer, and the rows of a batch."""
    source = re.sub(rf'"(\S+{{tale_of=({TWO})}})"', r'{text="\1", w=99999}', lm.Grammar.load("tales").source)
    source = re.sub(rf'of="({TWO})"}}', r'of="\1", w=99999}', source)
    grammar = lm.Grammar(source.replace("w=16", "w=99999"))
    docs, held = ([text for text, _ in grammar.sample(seed, n)] for seed, n in ((1, 6000), (2, 300)))
    tok = lm.WordTokenizer.train(docs)
    T = max(len(tok.encode(doc)) for doc in docs) + 1
    X, Y = torch.full((len(docs), T), tok.end), torch.full((len(docs), T), -100)
    for x, y, doc in zip(X, Y, docs):
        ids = torch.tensor([tok.end, *tok.encode(doc), tok.end])
        x[:len(ids) - 1], y[:len(ids) - 1] = ids[:-1], ids[1:]
    return grammar, held, tok, X, Y


@cache
def far_probes() -> dict:
    """The probes whose answer is decided more than five words back."""
    grammar, _, tok, _, _ = world()
    return {kind: [p for p in grammar.probes(kind, 40, 1) if len(tok.encode(p.prefix[-p.distance:])) > 5]
            for kind in KINDS}


def right(model: Recaller, kind: str) -> int:
    tok = world()[2]

    def cost(prefix: str, answer: str) -> float:
        known, ids = len(tok.encode(prefix)), tok.encode(prefix + answer)
        return -float(model.log_probs(ids)[known:].sum())

    return sum(cost(p.prefix, p.right) < cost(p.prefix, p.wrong) for p in far_probes()[kind])


def run(name: str, seed: int) -> dict:
    _, held, tok, X, Y = world()
    torch.manual_seed(seed)
    model, start = Recaller(tok.vocab_size, X.shape[1], **VARIANTS[name]), time.process_time()
    optimiser = AdamW(list(model.parameters()), lr=0.01, betas=(0.9, 0.99), weight_decay=0.0)
    train(model, X, Y, optimiser, 2000 if name == "whole" else 400, batch=4, schedule=warmup_cosine)
    found = {"seed": seed, "CPU seconds": round(time.process_time() - start, 1),
             "bits_per_byte": lm.evaluate(model, held, tok).bits_per_byte}
    if name == "whole":
        found["probes"] = {kind: {"asked": len(far_probes()[kind]), "right": right(model, kind)}
                           for kind in KINDS}
    return found


def add(name: str, seed: int) -> None:
    """Run once and write it into the record, which another run may be writing as well."""
    found = run(name, seed)
    FILE.touch()
    with FILE.open("r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        record = json.loads(file.read() or '{"what": "the model of chapter 09, one part changed"}')
        record.setdefault("runs", {})
        record |= {"unit": "bits per byte",
                   "versions": {"torch": torch.__version__, "lmcore": lm.__version__},
                   "machine": f"{platform.machine()}, one thread"}
        kept = [r for r in record["runs"].get(name, []) if r["seed"] != seed]
        record["runs"][name] = sorted([*kept, found], key=lambda r: r["seed"])
        file.seek(0)
        file.truncate()
        file.write(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for chosen in sys.argv[1:] or VARIANTS:
        for s in range(SEEDS):
            add(chosen, s)
