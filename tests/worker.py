"""What a process of a job does in tests/test_parallel.py.

    python tests/worker.py N PLANS          forks N processes that run the plans one after another
    torchrun ... tests/worker.py PLAN       one of the processes that torchrun starts

A plan says in JSON which model and engine, how many steps, where to go on and where to keep: see `train`; or
it says how `lm.fit` should be called.
"""
import json
import multiprocessing
import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path

import torch
from small_run import CONFIG, PARTS, TOK, model
from torch import nn

import lmcore as lm
from lmcore.optim import Muon, groups
from lmcore.parallel import Parallel, joined
from lmcore.tokenizers import SKIP


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Eight rows of unequal length that count up from somewhere, a function of the step alone."""
    generator = torch.Generator().manual_seed(step)
    ids = (torch.randint(10, (8, 1), generator=generator) + torch.arange(13)) % 10 + 1
    Y = ids[:, 1:].clone()
    for row, length in zip(Y, torch.randint(2, 13, (8,), generator=generator)):
        row[length:] = SKIP
    return ids[:, :-1], Y


def fit(folder: str, die: int = -1, resume: bool = False, **changes: object) -> None:
    """The small run, in which rank 1 may die after a step."""
    def progress(self: lm.log.Log, step: int, *_: object) -> None:
        if step == die and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)

    lm.log.Log.progress = progress
    if resume:
        lm.resume(folder, PARTS, **changes)
    else:
        lm.fit(model(dropout=0.0), PARTS, TOK, replace(CONFIG, **changes), folder)


def train(model: dict, engine: dict, steps: int, keep: str, resume: str = "", muon: bool = False) -> None:
    torch.manual_seed(0)
    gpt = lm.GPT(lm.GPTConfig(vocab_size=11, block_size=12, n_embd=16, n_layer=2, **model))
    before = torch.load(resume, weights_only=True) if resume else {"step": 0, "losses": []}
    if resume:
        gpt.load_state_dict(before["model"])
    job = Parallel(gpt, **engine)
    shares, adam = groups(job.model, 0.02), torch.optim.AdamW
    optimisers = [Muon(shares[:1], 0.02), adam(shares[1:])] if muon else [adam(shares)]
    for optimiser in optimisers:
        job.adopt(optimiser)
    for optimiser, state in zip(optimisers, before.get("optimisers", [])):
        optimiser.load_state_dict(state)
    losses = before["losses"]
    for step in range(before["step"], steps):
        loss = job(*batch(step))
        for optimiser in optimisers:
            optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(job.model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
        losses.append(loss.item())
        if step % 5 == 4:
            state = {"model": gpt.state_dict(), "optimisers": [o.state_dict() for o in optimisers],
                     "step": step + 1, "losses": losses}
            if torch.distributed.get_rank() == 0:
                torch.save(state, keep + ".new")
                os.replace(keep + ".new", keep)


def process(rank: int, ranks: int, port: str, plans: list[dict]) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(ranks), "MASTER_ADDR": "localhost",
                   "MASTER_PORT": port}
    if "folder" in plans[0]:
        return fit(**plans[0])
    with joined():
        for plan in plans:
            try:
                train(**plan)
            except ValueError as error:
                if rank == 0:
                    Path(plan["keep"]).write_text(str(error), encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    if "RANK" in os.environ:
        fit(**json.loads(sys.argv[1]))
    else:
        with socket.create_server(("localhost", 0)) as server:
            ranks, port = int(sys.argv[1]), str(server.getsockname()[1])
        fork, todo = multiprocessing.get_context("fork"), json.loads(sys.argv[2])
        jobs = [fork.Process(target=process, args=(rank, ranks, port, todo)) for rank in range(ranks)]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        sys.exit(max(abs(job.exitcode) for job in jobs))
