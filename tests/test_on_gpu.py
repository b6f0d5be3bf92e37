"""What holds on the CPU holds on a GPU: run by `make gpu`; LMCORE_DEVICE=cpu tries the tests themselves."""
import os

import lmcore as lm  # before torch, because it says how threads wait

# isort: split
import pytest
import torch
import torch.nn.functional as F

from lmcore.attention import Cache

DEVICE = os.environ.get("LMCORE_DEVICE", "cuda")
CHOICES = {"plain": {}, "modern": {"position": "rope", "norm": "rmsnorm", "ffn": "swiglu", "qk_norm": True,
                                   "n_kv_head": 2}}
pytestmark = pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(),
                                reason="no GPU that torch can use; LMCORE_DEVICE=cpu tries the tests without")


def model_and_batch(choices: dict, seed: int = 0) -> tuple[lm.GPT, torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    config = lm.GPTConfig(vocab_size=80, block_size=64, n_embd=128, n_layer=2, n_head=4, **choices)
    ids = torch.randint(1, 80, (4, 65))
    return lm.GPT(config).to(DEVICE), ids[:, :-1].to(DEVICE), ids[:, 1:].to(DEVICE)


@pytest.mark.parametrize("choices", CHOICES.values(), ids=CHOICES)
def test_the_device_gives_the_losses_and_gradients_of_the_cpu(choices):
    model, x, y = model_and_batch(choices)
    there = model.loss(x, y)
    there.backward()
    copy = lm.GPT(model.config)
    copy.load_state_dict(model.state_dict())
    here = copy.loss(x.cpu(), y.cpu())
    here.backward()
    torch.testing.assert_close(there.cpu(), here, rtol=1e-4, atol=1e-5)
    for a, b in zip(model.parameters(), copy.parameters()):
        torch.testing.assert_close(a.grad.cpu(), b.grad, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("choices", CHOICES.values(), ids=CHOICES)
def test_fused_attention_is_the_explicit_one_in_bfloat16(choices):
    model, x, _ = model_and_batch(choices)
    attention = model.blocks[0].attention
    stream = torch.randn(4, 64, 128, device=DEVICE)
    with torch.no_grad(), torch.autocast(DEVICE, torch.bfloat16):
        q, k, v = attention.project(stream)
        fused = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=attention.K < attention.H)
        explicit = attention.weights(q, k).to(v.dtype) @ attention.share(v)
    assert fused.dtype == torch.bfloat16
    torch.testing.assert_close(fused, explicit, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("choices", CHOICES.values(), ids=CHOICES)
def test_a_compiled_step_is_the_plain_step(choices):
    found = []
    for compiled in (False, True):
        model, x, y = model_and_batch(choices)
        loss = torch.compile(model.loss) if compiled else model.loss
        optimiser, losses = torch.optim.AdamW(model.parameters(), 1e-3), []
        for _ in range(3):
            optimiser.zero_grad()
            step = loss(x, y)
            step.backward()
            optimiser.step()
            losses.append(step.item())
        found.append(losses)
    assert found[0] == pytest.approx(found[1], abs=1e-3)


def test_a_run_that_stops_goes_on_as_if_it_had_not(tmp_path):
    docs = [f"{a} and {b} are {a + b}." for a in range(12) for b in range(12)]
    tok = lm.CharTokenizer.train(docs)
    config = lm.TrainConfig(steps=20, batch_size=8, device=DEVICE, eval_every=10, wandb="off", log_every=1)
    parts, losses = {"train": docs[:-20], "val": docs[-20:]}, {}
    for name, until in (("whole", None), ("halved", 10)):
        torch.manual_seed(0)
        model = lm.GPT(lm.GPTConfig(vocab_size=tok.vocab_size, block_size=32, n_embd=64, dropout=0.1))
        run = lm.fit(model, parts, tok, config, tmp_path / name, until)
        if until:
            run = lm.resume(tmp_path / name, parts)
        losses[name] = [line["loss"] for line in run.history if "loss" in line]
    assert len(losses["whole"]) == 20
    assert losses["halved"] == pytest.approx(losses["whole"], abs=1e-3)     # a GPU adds in no fixed order


def test_cached_generation_is_generation_without_a_cache():
    model, x, _ = model_and_batch(CHOICES["modern"])
    model.eval()
    cache = Cache(model.config, 4, model.tokens.weight)
    with torch.no_grad():
        whole = model(x)
        pieces = torch.cat([model(part, cache) for part in x.split([40, 1, 23], dim=1)], dim=1)
    torch.testing.assert_close(pieces, whole, rtol=1e-3, atol=1e-3)
