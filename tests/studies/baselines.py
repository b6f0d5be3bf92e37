"""How far counting gets: on names, and on tales and coplas beside their entropy. Minutes on one thread.

    python tests/studies/baselines.py names|tales|coplas       writes data/runs/baselines_PART.json

Every Kneser-Ney model chooses its discount on a held-out tenth of its training text, as the package does.
"""
import hashlib
import json
import math
import platform
import sys
import time
from pathlib import Path

import numpy
import torch

import lmcore as lm
from lmcore.data import generated
from lmcore.evaluate import ratio_with_interval

ROOT = Path(__file__).resolve().parents[2]
ORDERS = (2, 3, 4, 6, 8, 12)
SIZES = 200, 2_000, 20_000
PROBES = 100                                # of each kind
PLAIN = {1: 0.1, 2: 0.1, 3: 0.1, 4: 0.1, 5: 0.1, 6: 0.1}     # order: what is added to each count


def losses(model, parts: dict[str, list[str]], tok) -> dict:
    """Nats per character on each part, with the interval on the one held back for choices."""
    scores = {part: lm.evaluate(model, docs, tok) for part, docs in parts.items()}
    found = {part: score.nats_per_token for part, score in scores.items()}
    return found | {"interval of val": scores["val"].interval}


def names() -> dict:
    """Counting on both lists of names: the lectures' cut, repeats included, and ours."""
    found = {}
    for source, how in ("names-2019", "lecture"), ("names-2019", "hash"), ("names", "hash"):
        parts = lm.data.splits(source, how=how)
        tok = lm.CharTokenizer.train(lm.data.load(source))
        rows = [{"model": f"{n}-gram, +{add}"} | losses(lm.NGram(n, add).fit(parts["train"], tok), parts, tok)
                for n, add in PLAIN.items()]
        for order in range(2, 9):
            model = lm.KneserNey(order).fit(parts["train"], tok)
            row = {"model": f"Kneser-Ney {order}", "discount": model.discount}
            rows.append(row | losses(model, parts, tok))
        found[f"{source}, {how}"] = rows
        print(source, how, [(row["model"], round(row["val"], 4)) for row in rows], flush=True)
    return {"unit": "nats per character", "found": found}


def written(name: str) -> dict:
    """Counting on texts of a grammar as words and as characters, their entropy, and the probes of tales."""
    parts, bits = lm.data.splits(name), lm.data.log2p(name)
    size = {part: [len(doc.encode()) + 1 for doc in docs] for part, docs in parts.items()}
    entropy = {part: ratio_with_interval([-b for b in bits[part]], size[part]) for part in parts}
    record = {"unit": "bits per byte", "grammar": hashlib.sha256(generated.grammar_file(name).read_bytes())
              .hexdigest()[:16], "documents": {part: len(docs) for part, docs in parts.items()},
              "entropy": {part: {"bits_per_byte": value, "interval": interval}
                          for part, (value, interval) in entropy.items()}}
    print(record, flush=True)
    for unit, kind in ("words", lm.WordTokenizer), ("characters", lm.CharTokenizer):
        tok = kind.train(parts["train"])
        pairs = lm.evaluate(lm.NGram(2, add=0.1).fit(parts["train"], tok), parts["test"], tok)
        blind = math.log2(tok.vocab_size)
        record[f"{unit}, plain"] = [
            {"model": "uniform", "bits_per_byte": blind * pairs.tokens / sum(size["test"]),
             "nats_per_token": blind * math.log(2)},
            {"model": "bigram, +0.1", "bits_per_byte": pairs.bits_per_byte,
             "interval": pairs.bits_per_byte_interval, "nats_per_token": pairs.nats_per_token}]
        record[unit] = [counted(order, name, parts["train"], parts["test"], tok) for order in ORDERS]
    tok = lm.WordTokenizer.train(parts["train"])
    record[f"words, order 6, by {name}"] = [counted(6, name, parts["train"][:n], parts["test"], tok)
                                            for n in SIZES]
    return record


def counted(order: int, name: str, train: list[str], test: list[str], tok) -> dict:
    """A Kneser-Ney model of some texts, on the test texts and on texts that it has counted."""
    start = time.process_time()
    model = lm.KneserNey(order).fit(train, tok)
    fitted = time.process_time() - start
    score, first, own = (lm.evaluate(model, docs, tok) for docs in (test, test[:300], train[:1000]))
    row = {"order": order, "discount": model.discount, name: len(train),
           "bits_per_byte": score.bits_per_byte, "interval": score.bits_per_byte_interval,
           "nats_per_token": score.nats_per_token, "first 300": first.bits_per_byte,
           "1,000 of train": own.bits_per_byte, "fit seconds": round(fitted, 1)}
    if name == "tales" and isinstance(tok, lm.WordTokenizer):
        row["probes"] = probes(model, tok, order)
    print(row, flush=True)
    return row


def probes(model, tok, order: int) -> dict:
    """Of each kind of probe: how many lie beyond the model's window, and how many of these it has right."""
    grammar, found = lm.Grammar.load("tales"), {}
    for kind in ("pronoun", "thing", "count", "place", "quotation", "feeling", "cause"):
        asked = grammar.probes(kind, PROBES, seed=1)
        far = [p for p in asked if len(tok.encode(p.prefix[-p.distance:])) >= order]
        right = [cost(model, tok, p.prefix, p.right) < cost(model, tok, p.prefix, p.wrong) for p in far]
        found[kind] = {"beyond": len(far), "right": sum(right)}
    return found


def cost(model, tok, prefix: str, answer: str) -> float:
    """Nats that the answer costs after the prefix."""
    start, ids = len(tok.encode(prefix)), tok.encode(prefix + answer)
    return -float(model.log_probs(ids)[start:].sum())


def main(part: str) -> None:
    start = time.process_time()
    record = {"what": f"baselines that count, on {part}", **(names() if part == "names" else written(part))}
    record |= {"versions": {"torch": torch.__version__.split("+")[0], "numpy": numpy.__version__,
                            "python": platform.python_version(), "lmcore": lm.__version__},
               "machine": f"{platform.machine()}, one thread",
               "CPU seconds": round(time.process_time() - start)}
    target = ROOT / "data/runs" / f"baselines_{part}.json"
    target.write_text(json.dumps(record, indent=1) + "\n")
    print(f"wrote {target.relative_to(ROOT)}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:] not in (["names"], ["tales"], ["coplas"]):
        sys.exit("usage: baselines.py names|tales|coplas")
    main(sys.argv[1])
