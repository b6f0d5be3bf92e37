"""One model trained by many processes, on one machine or on several, by PyTorch's own engines.

`torchrun` starts the same script once for each device; `joined` makes the processes one job, and `Parallel`
deals out the rows of each batch and, if asked, the model itself. What it gives to be kept is whole, as of one
process, so that any number of processes can go on from it.
"""
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
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
    lost = (f"rank {dist.get_rank()} of {dist.get_world_size()}: another process of this job has ended; "
            "start it again, on any number of processes, and it goes on from the last checkpoint")

    def leave(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print(lost, file=sys.__stderr__, flush=True)
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


@contextmanager
def team(folder: Path) -> Iterator[Path]:
    """A job whose rank 0 speaks and keeps in the folder; the other ranks are silent and keep nothing."""
    with joined() as rank, TemporaryDirectory() as other, open(os.devnull, "w") as silence:
        if rank == 0:
            yield folder
        else:
            with redirect_stdout(silence), redirect_stderr(silence):
                yield Path(other)


class BatchLoss(nn.Module):
    """The loss as a module's `forward`, the door that DistributedDataParallel watches."""

    def __init__(self, model: GPT):
        super().__init__()
        self.model = model

    def forward(self, X: Tensor, Y: Tensor) -> Tensor:
        """Mean loss of a batch, SKIP left out.

        Shapes: X (B, T), Y (B, T) -> ()
        """
        return self.model.loss(X, Y)


class Parallel:
    """A GPT on all processes of a job: call it with a whole batch, and it gives the loss of the batch.

    "ddp" keeps a copy of the model on every rank, "fsdp" a slice. With `tensor`, so many neighbouring ranks
    also share the work of every matrix. Then make the optimiser, of `.model`, and `adopt` it: after this both
    have the `state_dict` of one process, which all ranks must ask for at once.

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
        self.loss = DistributedDataParallel(BatchLoss(model)) if how == "ddp" else model.loss
        if how == "fsdp" and ranks > tensor:
            for part in (*model.blocks, model):
                fully_shard(part, mesh=self.mesh["data"])
            register_fsdp_forward_method(model, "loss")
            self.loss = model.loss
        if tensor > 1:                              # the head is on all ranks, and not a plain matrix
            self.loss = lambda X, Y: F.cross_entropy(model(X).flatten(0, 1), Y.flatten(), ignore_index=SKIP)
        model.register_state_dict_post_hook(
            lambda _, state, *__: state.update({name: self.whole(name, w) for name, w in state.items()}))

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
        mine = self.loss(x, y) * ((y != SKIP).sum() * n / (Y != SKIP).sum().to(self.device))
        value = mine.detach() / n
        dist.all_reduce(value, group=self.mesh["data"].get_group())
        return mine + (value - mine.detach())       # the value is the batch's, the gradient this rank's

    def any(self, wish: object) -> bool:
        """Whether a rank wishes it: so that all of them stop after the same step."""
        found = torch.tensor(float(bool(wish)), device=self.device)
        dist.all_reduce(found)
        return bool(found)

    def gathered(self) -> GPT:
        """A model of its own that is whole, such as `generate` wants. All ranks must ask for it."""
        model = GPT(self.model.config)
        model.load_state_dict(self.model.state_dict())
        return model.to(self.device).eval()

    def whole(self, name: str, x: Tensor) -> Tensor:
        """What belongs to a parameter, from all ranks, its rows in their own order again.

        Shapes: a parameter's.
        """
        x = x.full_tensor() if isinstance(x, DTensor) else x
        return x.cpu()[self.orders[name].argsort()] if name in self.orders and x.ndim else x.cpu()

    def part(self, name: str, x: Tensor) -> Tensor:
        """This rank's part of something whole that belongs to a parameter.

        Shapes: a parameter's.
        """
        p = self.model.get_parameter(name)
        x = (x[self.orders[name]] if name in self.orders else x).to(self.device)
        return distribute_tensor(x, p.device_mesh, p.placements) if isinstance(p, DTensor) else x

    def adopt(self, optimiser: torch.optim.Optimizer) -> None:
        """From here on its state is saved whole, and dealt out when it is loaded."""
        of = {id(p): name for name, p in self.model.named_parameters()}
        names = [of[id(p)] for group in optimiser.param_groups for p in group["params"]]

        def each(state: dict, change: Callable[[str, Tensor], Tensor]) -> dict:
            return state | {"state": {i: {key: change(names[i], x) if getattr(x, "ndim", 0) else x
                                          for key, x in memory.items()}
                                      for i, memory in state["state"].items()}}

        optimiser.register_state_dict_post_hook(lambda _, state: each(state, self.whole))
        optimiser.register_load_state_dict_pre_hook(lambda _, state: each(state, self.part))


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
