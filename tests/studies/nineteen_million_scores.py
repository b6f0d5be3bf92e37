"""What chapter 15's model knows, and what counting knows after the same text.

    python tests/studies/nineteen_million_scores.py [MODEL [RECORD]]   four minutes: data/runs/19m_scores.json

MODEL is a folder of trained weights or a run, 19m of the course if not given. What a record says of counting
is not counted again. Text: `wikipedia`, `blimp` and the test part of WikiText-2, raw.
"""
import json
import platform
import sys
from pathlib import Path

import lmcore as lm
from lmcore.evaluate import Model
from lmcore.machine import has_bfloat16_units
from lmcore.ngrams import interpolate

# isort: split
import torch
import torch.nn.functional as F
from nineteen_million import wikitext
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

RECORD = Path(__file__).resolve().parents[2] / "data/runs/19m_scores.json"
ORDERS = range(1, 7)
WATCHED = 12                # validation documents that the run was judged on as it went
BEST = 5                    # the order of counting that stands beside the network
SEEN = 80                   # every so many documents of training are scored after training
PLACES = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
AT_ONCE = 64                # sentences
WORDS = [("was", "were"), ("is", "are"), ("has", "have"), ("he", "she")]


def brief(score: lm.Score) -> dict:
    return {"nats_per_token": score.nats_per_token, "bits_per_byte": score.bits_per_byte,
            "interval": score.bits_per_byte_interval, "tokens": score.tokens, "documents": score.docs}


def by_place(nats: Tensor) -> list[float]:
    """Mean loss of the tokens at places 0, 1, 2 and 3, 4 to 7, ... of documents.

    Shapes: nats (N, 512) -> list
    """
    return [nats[:, a:b].mean().item() for a, b in zip(PLACES, PLACES[1:])]


@torch.no_grad()
def choices(model: Model, docs: list[list[int]], tok: lm.SentencePieceTokenizer) -> tuple[Tensor, dict]:
    """The loss at every place of documents; of each of WORDS how many stood there, how many were preferred.

    Shapes: docs, each (512,) -> (N, 512)
    """
    other = {tok.encode(f" {x}")[0]: tok.encode(f" {y}")[0] for a, b in WORDS for x, y in ((a, b), (b, a))}
    nats, counts = [], {tok.decode([i]).strip(): [0, 0] for i in other}
    for ids in docs:
        at = [i for i, token in enumerate(ids) if token in other]
        swapped = [other[ids[i]] for i in at]
        if isinstance(model, lm.GPT):
            log_p = model(torch.tensor([[tok.end, *ids[:-1]]]))[0].log_softmax(-1)          # (512, V)
            found, instead = log_p[range(len(ids)), ids], log_p[at, swapped]
        else:
            windows = model.windows(ids)[:-1][at].copy()
            windows[:, -1] = swapped
            found = model.log_probs(ids)
            probs = interpolate(model.levels, windows, tok.vocab_size, model.discount)
            instead = torch.from_numpy(probs).log()
        nats.append(-found.float())
        for i, yes in zip(at, (found[at] > instead).tolist()):
            word = tok.decode([ids[i]]).strip()
            counts[word] = [counts[word][0] + 1, counts[word][1] + yes]
    return torch.stack(nats), counts


def read(model: Model, long: list[list[int]], tok: lm.SentencePieceTokenizer) -> dict:
    """What is scored of counting and of the network alike."""
    nats, words = choices(model, long, tok)
    return {"by place": by_place(nats), "words": words,
            "blimp": preferred(model, lm.data.records("blimp"), tok)}


@torch.no_grad()
def sums(model: lm.GPT, rows: list[list[int]]) -> Tensor:
    """The log-probability of each of some sentences, as beginnings of documents.

    Shapes: rows, each (T,) -> (B,)
    """
    Y = pad_sequence([torch.tensor(row) for row in rows], True, -100)
    X = F.pad(Y.clamp(min=0), (1, -1))                              # an end, then all but the last
    nats = F.cross_entropy(model(X).flatten(0, 1), Y.flatten(), reduction="none")
    return -nats.view_as(Y).sum(1)


def preferred(model: Model, pairs: list[dict], tok: lm.SentencePieceTokenizer) -> dict[str, list[int]]:
    """Of each set of minimal pairs: how many, and how many times the good sentence is the likelier one."""
    rows = [tok.encode(pair[key]) for pair in pairs for key in ("good", "bad")]
    if isinstance(model, lm.GPT):
        found = torch.cat([sums(model, rows[i:i + AT_ONCE]) for i in range(0, len(rows), AT_ONCE)])
    else:
        found = torch.stack([model.log_probs(row).sum() for row in rows])
    right, counts = (found[::2] > found[1::2]).tolist(), {}
    for pair, yes in zip(pairs, right):
        n, k = counts.get(pair["uid"], (0, 0))
        counts[pair["uid"]] = [n + 1, k + yes]
    return counts


def by_counting(parts: dict[str, list[str]], tok: lm.SentencePieceTokenizer, long: list[list[int]],
                known: dict) -> dict:
    """What counting reaches: each order on three texts; the best one by place and on minimal pairs too."""
    texts = {"val": parts["val"], "watched": parts["val"][:WATCHED], "wikitext-2": wikitext()}
    found = known if known.get("best") == BEST else {"orders": known.get("orders", {}), "best": BEST}
    for order in ORDERS:
        if str(order) in found["orders"] and (order != BEST or "words" in found):
            continue
        model = lm.KneserNey(order).fit(parts["train"], tok)
        found["orders"][str(order)] = {"discount": model.discount} | {
            name: brief(lm.evaluate(model, docs, tok)) for name, docs in texts.items()}
        print(order, found["orders"][str(order)]["val"], flush=True)
        if order == BEST:
            found |= read(model, long, tok)
    return found


def by_network(model: lm.GPT, parts: dict[str, list[str]], tok: lm.SentencePieceTokenizer,
               long: list[list[int]]) -> dict:
    """The same of the network, and a part of the text that it was trained on."""
    with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16_units()):
        return {"train": brief(lm.evaluate(model, parts["train"][::SEEN], tok))} | read(model, long, tok)


def main(name: str, record: Path) -> None:
    model, tok = lm.checkpoint.load(name)
    parts = lm.data.splits("wikipedia")
    long = [ids[:PLACES[-1]] for ids in map(tok.encode, parts["val"]) if len(ids) >= PLACES[-1]]
    found = json.loads(record.read_text()) if record.is_file() else {
        "places": PLACES, "documents by place": len(long), "counting": {},
        "machine": f"{platform.machine()}, one thread"}
    found["counting"] = by_counting(parts, tok, long, found["counting"])
    record.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    found["network"] = by_network(model, parts, tok, long)
    record.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for who in ("counting", "network"):
        n, right = (sum(x) for x in zip(*found[who]["blimp"].values()))
        print(who, "prefers the good sentence in", f"{right / n:.1%}", "of", n)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1] if len(sys.argv) > 1 else "19m", Path(sys.argv[2]) if len(sys.argv) > 2 else RECORD)
