"""The models that the manual writes with, each by one call of `lm.fit`; weights are kept in two bytes each.

    python tests/studies/models.py coplas|shakespeare|sonetos
                                    data/runs/NAME.json and data/runs/NAME/, five to ten minutes each

A run that was stopped goes on from its folder runs/NAME. Coplas are read as words, Shakespeare (the lectures'
cut) and sonnets as characters. The step of these two is compiled, which halves the time, and in bfloat16
where the processor has units for it; coplas have many lengths, each of which would be compiled anew. What is
scored, on the whole validation part, is what was kept.
"""
import json
import math
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch

import lmcore as lm
from lmcore import checkpoint
from lmcore.evaluate import ratio_with_interval

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "data/runs"
MUON = {"optimiser": "muon", "learning_rate": 1e-2, "schedule": "linear", "wandb": "off"}
MODELS = {
    "coplas": {
        "model": {"block_size": 48, "n_layer": 3, "dropout": 0.05},
        "train": {"steps": 2_000, "batch_size": 32, "table_rate": 1.2, "eval_every": 1_000, "prompt": ""}},
    "shakespeare": {
        "model": {"block_size": 256, "n_layer": 4},
        "train": {"steps": 2_800, "batch_size": 8, "table_rate": 0.4, "sampling": "stream", "stride": 100,
                  "compile": True, "eval_every": 1_400, "prompt": "ROMEO:\n"}},
    "sonetos": {
        "model": {"block_size": 256, "n_layer": 4},
        "train": {"steps": 2_400, "batch_size": 8, "table_rate": 0.4, "compile": True, "eval_every": 800,
                  "eval_docs": 100, "prompt": ""}}}
FIRST = 10          # steps whose mean loss can be checked again


def texts(name: str) -> tuple[dict[str, list[str]], checkpoint.Tokenizer]:
    """The parts, and a tokenizer that knows every word or character of them: their list, not their use."""
    parts = lm.data.splits(name, how="lecture" if name == "shakespeare" else "hash")
    kind = lm.WordTokenizer if name == "coplas" else lm.CharTokenizer
    return parts, kind.train([doc for docs in parts.values() for doc in docs])


def untrained(name: str, tok: checkpoint.Tokenizer) -> lm.GPT:
    torch.manual_seed(0)
    return lm.GPT(lm.preset("mini", vocab_size=tok.vocab_size, **MODELS[name]["model"]))


def trained(name: str, parts: dict[str, list[str]], tok: checkpoint.Tokenizer,
            out: Path) -> tuple[lm.GPT, list[dict]]:
    """The best model of a run, begun or gone on with, and the run's history."""
    spent, start = out / "cpu_seconds.json", time.process_time()
    try:
        if out.exists():
            run = lm.resume(out, parts)
        else:
            config = lm.TrainConfig(**MUON, log_every=FIRST, **MODELS[name]["train"])
            run = lm.fit(untrained(name, tok), parts, tok, config, out)
    finally:
        before = json.loads(spent.read_text()) if spent.exists() else []
        spent.write_text(json.dumps([*before, time.process_time() - start]))
    if run.ended != "done":
        sys.exit(f"{run.ended} at step {run.step}: the same command goes on")
    return checkpoint.load(out)[0], run.history


def scored(model: object, docs: list[str], tok: checkpoint.Tokenizer) -> dict:
    score = lm.evaluate(model, docs, tok)
    interval = score.bits_per_byte_interval if len(docs) > 1 else by_pieces(model, docs[0], tok)
    return {"nats_per_token": score.nats_per_token, "perplexity": score.perplexity,
            "bits_per_byte": score.bits_per_byte, "interval": interval}


def by_pieces(model: lm.GPT, doc: str, tok: checkpoint.Tokenizer, n: int = 50) -> tuple[float, float]:
    """For a single text: the interval if pieces of it, read after what is before, were the sample."""
    ids = torch.tensor(tok.encode(doc))
    bits = (-model.log_probs(ids.tolist()).double() / math.log(2)).chunk(n)
    sizes = [len(tok.decode(some.tolist()).encode()) for some in ids.chunk(n)]
    return ratio_with_interval([float(some.sum()) for some in bits], sizes)[1]


def counted(name: str) -> dict:
    """What counting reaches at best on the same part, by earlier records; of coplas the entropy too."""
    if name == "coplas":
        record = json.loads((RUNS / "baselines_coplas.json").read_text())
        best = next(row for row in record["words"] if row["order"] == 6)
        keys = ("order", "nats_per_token", "bits_per_byte", "interval")
        return {**{key: best[key] for key in keys}, "entropy": record["entropy"]["val"]}
    record = json.loads((RUNS / "gpt_characters.json").read_text())
    return {"order": 7, "nats_per_token": record[name]["Kneser-Ney"]["7"]}


def main(name: str) -> None:
    parts, tok = texts(name)
    out = ROOT / "runs" / name
    best, history = trained(name, parts, tok, out)
    checkpoint.save(RUNS / name, best, tok, half=True)
    kept, tok = checkpoint.load(RUNS / name)
    losses = [line["loss"] for line in history if "loss" in line]
    run = json.loads((out / "config.json").read_text())
    record = {
        "what": f"a GPT on {name}, and counting beside it",
        "command": f"python tests/studies/models.py {name}", "parameters": kept.n_params,
        "tokens in training": sum(len(tok.encode(doc)) + 1 for doc in parts["train"]),
        "model": asdict(kept.config), "train": run["train"],
        "mean loss of the first steps": losses[0],
        "losses": [sum(losses[i:i + 10]) / len(losses[i:i + 10]) for i in range(0, len(losses), 10)],
        "evaluations": [line for line in history if "val" in line],
        "validation": scored(kept, parts["val"], tok),
        "Kneser-Ney": counted(name),
        "cpu_seconds": round(sum(json.loads((out / "cpu_seconds.json").read_text()))),
        "versions": run["versions"], "machine": f"{platform.machine()}, one thread"}
    (RUNS / f"{name}.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    print(name, record["validation"], record["Kneser-Ney"], record["cpu_seconds"])


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:] not in [[name] for name in MODELS]:
        sys.exit("usage: models.py coplas|shakespeare|sonetos")
    main(sys.argv[1])
