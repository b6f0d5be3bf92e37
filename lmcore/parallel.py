"""One model trained by many processes, on one machine or on several, by PyTorch's own engines.

`torchrun` starts the same script once for each device; `joined` makes the processes one job, and `Parallel`
deals out the rows of each batch and, if asked, the model itself. What it gives back to be kept is whole, so
that any number of processes can go on from it.
"""
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, distribute_module, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

from lmcore.gpt import GPT
from lmcore.tokenizers import SKIP


@contextmanager
def joined() -> Iterator[int]:
    """Join the job that `torchrun` started, and leave it at the end; gives the rank of this process.

    Without `torchrun` this is a job of one. If another process dies, this one says so and ends.
    """
    kind = "nccl" if torch.cuda.is_available() else "gloo"
    if "RANK" in os.environ:
        if kind == "nccl":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group(kind)
    else:
        dist.init_process_group(kind, store=dist.HashStore(), rank=0, world_size=1)
    lost = (f"rank {dist.get_rank()} of {dist.get_world_size()}: another process of this job has ended. Start "
            "it again, on any number of processes, and it goes on from the last checkpoint")

    def leave(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print(lost, file=sys.stderr, flush=True)
        sys.exit(1)

    before = signal.signal(signal.SIGTERM, leave)       # what torchrun sends to those that are left
    try:
        yield dist.get_rank()
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        leave()
    finally:
        dist.destroy_process_group()
    signal.signal(signal.SIGTERM, before)


class BatchLoss(nn.Module):
    """The loss as a module's `forward`, the one door that PyTorch's engines watch."""

    def __init__(self, model: GPT, logits: bool):
        super().__init__()
        self.model, self.logits = model, logits

    def forward(self, X: Tensor, Y: Tensor) -> Tensor:
        """Mean loss of a batch, SKIP left out.

        Shapes: X (B, T), Y (B, T) -> ()
        """
        if self.logits:
            return F.cross_entropy(self.model(X).flatten(0, 1), Y.flatten(), ignore_index=SKIP)
        return self.model.loss(X, Y)


class Parallel:
    """A GPT on all processes of a job: call it with a whole batch, and it gives the loss of the batch.

    "ddp" keeps a copy of the model on every rank, "fsdp" a slice. With `tensor`, so many neighbouring ranks
    also share the work of every matrix. Make the optimiser afterwards, from the parameters of `.model`.

    Raises: ValueError if the ranks, the heads or the middle channels cannot be shared equally.
    """

    def __init__(self, model: GPT, how: Literal["ddp", "fsdp"] = "fsdp", tensor: int = 1):
        ranks, c = dist.get_world_size(), model.config
        for what, n in (("ranks", ranks), ("heads", c.n_head), ("heads of keys", c.kv_heads),
                        ("middle channels", c.middle)):
            if n % tensor:
                raise ValueError(f"{n} {what} cannot be shared equally by {tensor} ranks; "
                                 "tensor=1 always works")
        if how == "ddp" and tensor > 1:
            raise ValueError('a copy on every rank leaves nothing to share: give how="fsdp" with tensor')
        gpu = torch.cuda.is_available()
        self.device = torch.device("cuda", torch.cuda.current_device()) if gpu else torch.device("cpu")
        self.mesh = init_device_mesh(self.device.type, (ranks // tensor, tensor),
                                     mesh_dim_names=("data", "tensor"))
        self.model = model.to(self.device)
        for p in model.parameters():
            dist.broadcast(p.data, 0)               # the same start, whatever was drawn elsewhere
        self.orders = share_matrices(model, self.mesh["tensor"]) if tensor > 1 else {}
        loss = BatchLoss(model, logits=tensor > 1)
        if how == "fsdp" and ranks > tensor:
            for part in (*model.blocks, loss):
                fully_shard(part, mesh=self.mesh["data"])
        self.engine = loss if how == "fsdp" else DistributedDataParallel(loss)

    def __call__(self, X: Tensor, Y: Tensor) -> Tensor:
        """The loss of a whole batch, of which this rank computes its rows; `backward` unites the gradients.

        Shapes: X (B, T), Y (B, T) -> ()
        Raises: ValueError if the rows cannot be dealt out equally.
        """
        n, i = self.mesh["data"].size(), self.mesh["data"].get_local_rank()
        if len(X) % n:
            raise ValueError(f"a batch of {len(X)} rows cannot be dealt out to {n} ranks equally")
        x, y = X.chunk(n)[i].to(self.device), Y.chunk(n)[i].to(self.device)     # (B / n, T)
        # The engines average over ranks: a rank with more tokens counts for more.
        mine = self.engine(x, y) * ((y != SKIP).sum() * n / (Y != SKIP).sum().to(self.device))
        value = mine.detach() / n
        dist.all_reduce(value, group=self.mesh["data"].get_group())
        return mine + (value - mine.detach())       # the value is the batch's, the gradient this rank's

    def gathered(self) -> GPT:
        """A whole copy of the model on the CPU, to evaluate and to keep. All ranks must call it."""
        model = GPT(self.model.config)
        model.load_state_dict({name: self.whole(name, w) for name, w in self.model.state_dict().items()})
        return model.eval()

    def whole(self, name: str, x: Tensor) -> Tensor:
        """What belongs to a parameter, its rows in their own order again.

        Shapes: a parameter's.
        """
        x = x.full_tensor() if isinstance(x, DTensor) else x
        return x.cpu()[self.orders[name].argsort()] if name in self.orders and x.ndim else x.cpu()

    def state(self, optimiser: torch.optim.Optimizer) -> dict:
        """The optimiser's `state_dict`, whole: that of one process. All ranks must call it."""
        said, names = optimiser.state_dict(), self.names(optimiser)
        return said | {"state": {i: {key: self.whole(names[i], x) if isinstance(x, Tensor) else x
                                     for key, x in memory.items()} for i, memory in said["state"].items()}}

    def load(self, optimiser: torch.optim.Optimizer, state: Mapping) -> None:
        """Give each rank its part of a whole state, from however many processes it came."""
        params, names = dict(self.model.named_parameters()), self.names(optimiser)

        def part(name: str, x: object) -> object:
            if not isinstance(x, Tensor) or not x.ndim:
                return x
            x, p = x[self.orders[name]] if name in self.orders else x, params[name]
            x = x.to(self.device)
            return distribute_tensor(x, p.device_mesh, p.placements) if isinstance(p, DTensor) else x

        optimiser.load_state_dict({**state, "state": {
            i: {key: part(names[i], x) for key, x in memory.items()} for i, memory in state["state"].items()}})

    def names(self, optimiser: torch.optim.Optimizer) -> list[str]:
        """The name of each parameter of an optimiser, in its order."""
        names = {id(p): name for name, p in self.model.named_parameters()}
        return [names[id(p)] for group in optimiser.param_groups for p in group["params"]]


def share_matrices(model: GPT, mesh: DeviceMesh) -> dict[str, Tensor]:
    """Give every rank its heads and its middle channels; all else is on all ranks, doing the same.

    Stacked matrices (queries, keys, values; gate and up) are cut across: returned is the order of their rows.

    Shapes: orders (rows,)
    Source: Shoeybi et al. 2019 (Megatron-LM), sec. 3, https://arxiv.org/abs/1909.08053
    """
    c, n, orders = model.config, mesh.size(), {}
    stacked = {"attention.qkv": [c.n_head * c.D, c.kv_heads * c.D, c.kv_heads * c.D],
               "ffn.up": [c.middle] * (2 if c.ffn == "swiglu" else 1)}
    for i, block in enumerate(model.blocks):
        for part, heights in stacked.items():
            pieces = [piece.chunk(n) for piece in torch.arange(sum(heights)).split(heights)]
            order = torch.cat([piece[rank] for rank in range(n) for piece in pieces])
            for name, p in block.get_submodule(part).named_parameters():
                p.data = p.data[order]
                orders[f"blocks.{i}.{part}.{name}"] = order
        plan = {"attention.qkv": ColwiseParallel(), "attention.out": RowwiseParallel(),
                "ffn.up": ColwiseParallel(), "ffn.down": RowwiseParallel()}
        parallelize_module(block, mesh, plan)
        block.attention.H, block.attention.K = c.n_head // n, c.kv_heads // n
    enter = lambda _, inputs, mesh: tuple(DTensor.from_local(x, mesh, [Replicate()]) for x in inputs)
    leave = lambda _, output, mesh: output.to_local()
    for module in model.modules():
        if any(not isinstance(p, DTensor) for p in module.parameters(recurse=False)):
            distribute_module(module, mesh, None, enter, leave)
    if c.tied:
        model.head.weight = model.tokens.weight
    return orders
