"""The command `demo`: a model trained before one's eyes, beside the best there can be."""
from dataclasses import dataclass, replace
from math import log
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import torch

from lmcore import WordTokenizer, data, evaluate
from lmcore.config import GPTConfig, TrainConfig
from lmcore.data.corpus import corpus
from lmcore.data.windows import Batches
from lmcore.generate import stream
from lmcore.gpt import GPT
from lmcore.plan import duration, seconds_per_step
from lmcore.train import fit

PROMPTS = ("", "Long ago a", "Everyone at the")
TEMPERATURES = (0.0, 0.7, 1.0)
JUDGED = 100        # tales of validation


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Train a small GPT on tales for a minute, compare its loss with their entropy, and let it write.

    The tales are written by a grammar of ours, so the best loss that any model can have is known.
    """

    EXAMPLES: ClassVar = ("lmcore demo", "lmcore demo --seconds 300")

    seconds: float = 45         # of training
    seed: int = 0               # another seed, other tales

    def __call__(self) -> None:
        parts = {part: docs[:10_000] for part, docs in data.splits("tales").items()}
        tok = WordTokenizer.train(parts["train"])
        config = GPTConfig(vocab_size=tok.vocab_size, block_size=160, n_embd=64, n_layer=2, n_head=4)
        settings = TrainConfig(batch_size=8, learning_rate=6e-3, seed=self.seed, wandb="off")
        ids = corpus(parts["train"], tok, "train")
        step = seconds_per_step(config, settings, Batches(ids, settings.batch_size, config.block_size))
        steps = max(int(self.seconds / step), 20)
        settings = replace(settings, steps=steps, eval_every=max(steps // 3, 1))
        judged = parts["val"][:JUDGED]
        size = sum(len(doc.encode()) + 1 for doc in judged)
        entropy = -sum(data.log2p("tales")["val"][:JUDGED]) / size
        guess = sum(len(tok.encode(doc)) + 1 for doc in judged) * log(tok.vocab_size, 2) / size
        print(f"{len(parts['train']):,} tales as words; {steps:,} steps take {duration(steps * step)}")
        torch.manual_seed(self.seed)
        with TemporaryDirectory() as folder:
            run = fit(GPT(config), {"train": ids, "val": judged}, tok, settings, Path(folder) / "demo")
        if run.ended == "interrupted":
            raise KeyboardInterrupt
        model = run.model
        score = evaluate(model, judged, tok)
        print(f"\nbits per byte   guessing {guess:.3f} → this model {score.bits_per_byte:.3f} → "
              f"the entropy, which no model can beat, {entropy:.3f}")
        for prompt, temperature in zip(PROMPTS, TEMPERATURES):
            print(f"\ntemperature {temperature}, beginning with {prompt!r}:")
            for piece in stream(model, tok, prompt, 150, seed=self.seed, temperature=temperature):
                print(piece, end="", flush=True)
            print()
        print("\nThe tales model that comes with the course had a quarter of an hour: lmcore generate tales")
