"""One step of training on this machine: the step that a run takes, and whose time a plan measures."""
import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from lmcore import optim
from lmcore.config import TrainConfig
from lmcore.gpt import GPT
from lmcore.machine import choose, job, moved
from lmcore.tokenizers import SKIP


class Learner:
    """A model on its device, its loss compiled or shared out if so asked, and its optimisers.

    The first batch shows whether the device can be trusted.

    Raises: ValueError if the machine has not what is asked for.
    """

    def __init__(self, model: GPT, config: TrainConfig, X: Tensor, Y: Tensor):
        device, precision, self.why = choose(config, model.config)
        self.config = replace(config, device=device, precision=precision)
        self.device, self.half = torch.device(device), precision == "bfloat16"
        self.model = moved(model, self.device, X, Y).train()
        self.model.checkpointing = config.checkpointing
        self.job = job(self.model, config)          # under torchrun
        self.loss = self.job or (torch.compile(model.loss) if config.compile else model.loss)
        self.optimisers = optim.optimisers(self.model, self.config)
        for each in self.optimisers if self.job else ():
            self.job.adopt(each)
        self.rates = [[group["lr"] for group in each.param_groups] for each in self.optimisers]

    def learn(self, X: Tensor, Y: Tensor, share: float) -> tuple[float, float]:
        """Step by a share of the full rate; the loss before it, and the length of the gradient.

        A loss or a gradient that is no number is not learned.

        Shapes: X (B, T), Y (B, T)
        Units:  loss in nats per token
        """
        for each, rates in zip(self.optimisers, self.rates):
            for group, rate in zip(each.param_groups, rates):
                group["lr"] = rate * share
            each.zero_grad()
        loss = self.gradients(X, Y)
        length = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip).item()
        if math.isfinite(loss + length):
            for each in self.optimisers:
                each.step()
        return loss, length

    def gradients(self, X: Tensor, Y: Tensor) -> float:
        """Leave the gradient of the batch's mean loss in the parameters; say the loss.

        A part counts by the share of its targets, so that parts add up to the batch, whatever is padding.

        Shapes: X (B, T), Y (B, T)
        Units:  nats per token
        """
        total, targets = 0.0, (Y != SKIP).sum().item()
        for x, y in zip(X.chunk(self.config.accumulate), Y.chunk(self.config.accumulate)):
            share = (y != SKIP).sum().item() / targets
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
                loss = share * self.loss(x.to(self.device), y.to(self.device))
            loss.backward()
            total += loss.detach()
        return total.item()
