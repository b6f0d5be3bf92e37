"""Time to a loss: the GPT of chapter 16's parts against nanoGPT's recipe for one processor, on Shakespeare.

    make bench                        what is not there is left out, and said
    NANOGPT=folder make bench         with a checkout of nanoGPT, which is no part of this project

nanoGPT's model is trained by the recipe of its README (2,000 steps of 12 rows of 64 letters), as published
and with the learning rate alone raised to 4e-3; ours by `lm.fit`, with as many blocks and steps as it needs.
Losses are over the whole validation part, in windows of 64 that do not overlap. Seconds are of the processor,
so that other work on the machine weighs less; the compiler is not used: here it would not pay back.
"""
import contextlib
import io
import os
import time
from pathlib import Path

import lmcore as lm  # before torch, because it says how threads wait

# isort: split
import pytest
import torch
import torch.nn.functional as F
from gpt_training import nanogpt_model
from torch import Tensor, nn

T, SIZE = 64, {"n_embd": 128, "n_layer": 4, "n_head": 4}
MODERN = {"position": "rope", "ffn": "relu2"}
STEPS, BATCH = 2_000, 12                            # of the recipe
RATES = {"as published": 1e-3, "rate 4e-3": 4e-3}   # learning rates of the recipe
OURS = {"as published": (2, 430), "rate 4e-3": (4, 640)}    # our blocks, and steps of 16 rows, to beat each
SHARE = {"as published": 1 / 3, "rate 4e-3": 1.0}   # of the recipe's time that they may take


def text() -> tuple[dict[str, list[str]], lm.CharTokenizer]:
    parts = lm.data.splits("shakespeare", how="lecture")
    return parts, lm.CharTokenizer.train([*parts["train"], *parts["val"]])


@torch.no_grad()
def whole_loss(model: nn.Module, logits: object, ids: Tensor) -> float:
    """Over all windows of T letters that do not overlap."""
    model.eval()
    rows = ids.unfold(0, T + 1, T)
    total = sum(F.cross_entropy(logits(part[:, :-1], part[:, 1:]).flatten(0, 1), part[:, 1:].flatten(),
                                reduction="sum").item() for part in rows.split(256))
    return total / (len(rows) * T)


def recipe(folder: Path, rate: float, train: Tensor, held: Tensor, V: int) -> tuple[float, float]:
    """Loss and seconds of nanoGPT's README recipe: warm-up of 100 steps, cosine to a tenth, beta2 0.99."""
    torch.manual_seed(0)
    with contextlib.redirect_stdout(io.StringIO()):
        model = nanogpt_model(folder, T, V, **SIZE)
        optimiser = model.configure_optimizers(0.1, rate, (0.9, 0.99), "cpu")
    rows, start = train.unfold(0, T + 1, 1), time.process_time()
    for step in range(STEPS):
        share = lm.optim.cosine(step, STEPS, warmup=100, floor=0.1)
        for group in optimiser.param_groups:
            group["lr"] = rate * share
        batch = rows[torch.randint(len(rows), (BATCH,))]
        optimiser.zero_grad(set_to_none=True)
        model(batch[:, :-1].contiguous(), batch[:, 1:].contiguous())[1].backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    seconds = time.process_time() - start
    return whole_loss(model, lambda x, y: model(x, y)[0], held), seconds


def ours(n_layer: int, steps: int, parts: dict[str, list[str]], tok: lm.CharTokenizer, held: Tensor,
         out: Path) -> tuple[float, float]:
    torch.manual_seed(0)
    choices = SIZE | MODERN | {"n_layer": n_layer}
    model = lm.GPT(lm.GPTConfig(vocab_size=tok.vocab_size, block_size=T, **choices))
    config = lm.TrainConfig(steps=steps, batch_size=16, sampling="stream", optimiser="muon",
                            learning_rate=1e-2, table_rate=0.4, schedule="linear", beta2=0.99,
                            eval_every=steps, wandb="off")
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        lm.fit(model, {"train": parts["train"]}, tok, config, out)
    seconds = time.process_time() - start
    return whole_loss(model, lambda x, y: model(x), held), seconds


@pytest.mark.parametrize("which", RATES)
def test_the_loss_of_the_recipe_is_reached_sooner(which, tmp_path):
    if not lm.data.available("shakespeare"):
        pytest.skip(lm.data.missing("shakespeare"))
    if not (folder := os.environ.get("NANOGPT")):
        pytest.skip("NANOGPT names no checkout of nanoGPT")
    torch.set_num_threads(1)
    parts, tok = text()
    train, held = (torch.tensor(tok.encode("".join(parts[part]))) for part in ("train", "val"))
    loss, seconds = ours(*OURS[which], parts, tok, held, tmp_path / "run")
    peer, their_seconds = recipe(Path(folder), RATES[which], train, held, tok.vocab_size)
    print(f"\nnanoGPT's recipe, {which}: {peer:.3f} nats/char in {their_seconds:.0f} s; "
          f"ours, {OURS[which]} blocks and steps: {loss:.3f} in {seconds:.0f} s, "
          f"{seconds / their_seconds:.2f} of that")
    assert loss <= peer
    assert seconds <= SHARE[which] * their_seconds
