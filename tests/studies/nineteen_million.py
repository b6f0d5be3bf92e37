"""Chapter 15's model: the preset 19m on the English of Wikipedia, and what it writes at eight moments.

    python tests/studies/nineteen_million.py FOLDER [cpu|gpu|tiny]

Called again it goes on where it was. The text as tokens and the run are kept in FOLDER, the record in
data/runs/19m.json (for tiny: in FOLDER). gpu wants a machine with CUDA and about ten minutes; cpu about two
hours of two cores with bfloat16 units; tiny a minute of one, to see that all of it works.
"""
import json
import platform
import sys
import time
from dataclasses import replace
from pathlib import Path

import lmcore as lm
from lmcore.data.tokens import prepare
from lmcore.data.vocabulary import load_tokenizer
from lmcore.log import history

# isort: split
import torch

RECORD = Path(__file__).resolve().parents[2] / "data/runs/19m.json"
MOMENTS = (0, 1 / 6, 1 / 3, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 1)     # shares of the steps
PROMPT, WRITTEN = "The city of", 80
OURS = lm.TrainConfig(steps=2_400, batch_size=8, sampling="stream", optimiser="muon", learning_rate=5e-3,
                      table_rate=0.6, schedule="linear", warmup=0.0267, eval_every=400, eval_docs=12,
                      log_every=1)
RECIPES = {"cpu": OURS, "gpu": replace(OURS, steps=6_000, batch_size=16, compile=True, device="cuda"),
           "tiny": replace(OURS, steps=16, batch_size=2, eval_every=2, eval_docs=2, wandb="off")}


def token_files(folder: Path, tiny: bool) -> dict[str, Path]:
    """Tokenizer and token files of Wikipedia, train and val, documents apart."""
    files = {part: folder / f"{part}.bin" for part in ("train", "val")}
    if all(file.is_file() for file in files.values()):
        return files
    folder.mkdir(parents=True, exist_ok=True)
    parts = lm.data.splits("wikipedia")
    if tiny:
        parts = {"train": parts["train"][:60], "val": parts["val"][:4]}
    tok = lm.SentencePieceTokenizer.train(parts["train"], vocab_size=1_000 if tiny else 8_192, kind="bpe")
    tok.save(folder / "tokenizer.json")
    for part, file in files.items():
        about = prepare(parts[part], tok, file)
        print(part, {key: about[key] for key in ("documents", "tokens", "bytes")}, flush=True)
    return files


def build(tok: lm.SentencePieceTokenizer, tiny: bool) -> lm.GPT:
    """The model as it begins, the same on every machine: drawn on the CPU, without dropout."""
    small = {"block_size": 64, "n_layer": 2, "n_embd": 64} if tiny else {}
    torch.manual_seed(0)
    return lm.GPT(lm.preset("19m", vocab_size=tok.vocab_size, dropout=0.0, **small))


def main(folder: Path, which: str) -> None:
    tiny, config = which == "tiny", RECIPES[which]
    files = token_files(folder / "text", tiny)
    tok, out = load_tokenizer(folder / "text/tokenizer.json"), folder / "run"
    record = folder / "moments.json"
    found = json.loads(record.read_text()) if record.is_file() else {"moments": [], "seconds": 0.0}
    for at in (round(share * config.steps) for share in MOMENTS):
        if any(moment["step"] == at for moment in found["moments"]):
            continue
        start = time.perf_counter()
        model = trained(out, files, tok, config, at, tiny) if at else build(tok, tiny)
        found["seconds"] += time.perf_counter() - start
        if model:
            text = lm.generate(model, tok, PROMPT, WRITTEN, temperature=0.8, top_p=0.95, seed=1)
            found["moments"].append({"step": at, "text": text})
            print(f"step {at}: {text!r}", flush=True)
        record.write_text(json.dumps(found))
        if not model:
            sys.exit(130)
    model, tok = lm.checkpoint.load(out)
    about = json.loads((out / "config.json").read_text())
    device = "cuda" if which == "gpu" else "cpu"
    scores = {"val": lm.data.splits("wikipedia")["val"], "wikitext-2": wikitext()}
    for name, docs in ((name, docs) for name, docs in scores.items() if docs):
        with torch.autocast(device, torch.bfloat16, enabled=about["train"]["precision"] == "bfloat16"):
            score = lm.evaluate(model.to(device), docs[:2] if tiny else docs, tok)
        found[name] = {"nats_per_token": score.nats_per_token, "bits_per_byte": score.bits_per_byte,
                       "bits_per_byte_interval": score.bits_per_byte_interval, "documents": score.docs}
    text = {part: json.loads(file.with_suffix(".json").read_text()) for part, file in files.items()}
    found["moments"].sort(key=lambda moment: moment["step"])
    found |= {"config": about, "history": thinned(history(out)), "text": text,
              "machine": platform.processor() or platform.machine()}
    (folder / "19m.json" if tiny else RECORD).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if not tiny:
        lm.checkpoint.save(RECORD.with_suffix(""), model.cpu(), tok, half=True)


def trained(out: Path, files: dict[str, Path], tok: lm.SentencePieceTokenizer, config: lm.TrainConfig,
            until: int, tiny: bool) -> lm.GPT | None:
    """The model after so many steps of the run in `out`, or nothing if somebody stopped it before."""
    if (out / lm.checkpoint.LAST).is_dir():
        run = lm.resume(out, files, until, steps=config.steps, warmup=config.warmup)
    else:
        run = lm.fit(build(tok, tiny), files, tok, config, out, until)
    return None if run.ended == "interrupted" else run.model


def thinned(lines: list[dict], first: int = 10, every: int = 20) -> list[dict]:
    """The first steps one by one, then the mean loss of every 20; evaluations as they are."""
    kept, some = [], []
    for line in lines:
        if "val" in line:
            kept.append(line)
            continue
        some.append(line)
        if line["step"] <= first or line["step"] % every == 0:
            kept.append(line | {"loss": sum(each["loss"] for each in some) / len(some)})
            some = []
    return kept


def wikitext() -> list[str]:
    """The test articles of WikiText-2, raw: English Wikipedia too; none where the file cannot be had."""
    try:
        file = lm.data.path("wikitext-2-raw/wiki.test.raw")
    except lm.data.Unavailable as missing:
        print(missing)
        return []
    return lm.data.read.wikitext(file.read_bytes().decode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "cpu")
