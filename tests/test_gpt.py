"""The GPT of every variant: plain, it is `minigpt`; causal; near ln V at the start; learns by heart."""
import itertools
import math

import pytest
import torch
import torch.nn.functional as F

import lmcore as lm
from lmcore import gpt as whole
from lmcore import minigpt
from lmcore.attention import Cache
from lmcore.config import PRESETS

B, T, V = 3, 10, 257
PLAIN = lm.GPTConfig(vocab_size=V, block_size=12, n_embd=96, n_layer=2, n_head=3)


def variants() -> list[lm.GPTConfig]:
    """One choice changed at a time, then some changed together."""
    one = [{"position": p} for p in ("sinusoidal", "rope", "none")]
    one += [{"norm": "rmsnorm"}, {"norm_place": "post"}, {"qk_norm": True}, {"n_kv_head": 1},
            {"head_size": 6}, {"ffn": "relu"}, {"ffn": "relu2"}, {"ffn": "gelu_tanh"},
            {"ffn": "swiglu", "expansion": 8 / 3}, {"tied": False},
            {"attention_bias": True, "ffn_bias": True}, {"norm_bias": False}]
    both = [{"position": "rope", "norm": n, "norm_place": p, "qk_norm": q, "n_kv_head": 1, "ffn": "swiglu"}
            for n, p, q in itertools.product(("layernorm", "rmsnorm"), ("pre", "post"), (True, False))]
    return [lm.GPTConfig(**{**vars(PLAIN), **c}) for c in [{}, *one, *both]]


VARIANTS = pytest.mark.parametrize("config", variants(), ids=lambda c: "-".join(
    f"{k}={v}" for k, v in vars(c).items() if v != vars(PLAIN)[k]) or "plain")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def ids(n: int = T) -> torch.Tensor:
    return torch.randint(1, V, (B, n))


def test_in_the_plain_case_it_is_minigpt():
    mini, full = minigpt.GPT(V, 12, 96, 2, 3), whole.GPT(PLAIN)
    full.load_state_dict(mini.state_dict())
    x = ids()
    torch.testing.assert_close(full(x), mini(x))
    torch.testing.assert_close(full.eval()(x), mini(x))
    torch.testing.assert_close(full.log_probs(x[0].tolist()), mini.log_probs(x[0].tolist()))


@pytest.mark.parametrize("name, n", [("day21", 403_200), ("simple", 5_762_560), ("19m", 19_804_416),
                                     ("small", 12_910_848), ("medium", 26_450_304), ("large", 70_523_392)])
def test_presets_have_their_number_of_parameters(name, n):
    with torch.device("meta"):
        assert lm.GPT(lm.preset(name)).n_params == n


@VARIANTS
def test_the_future_changes_nothing_in_the_past(config):
    model, x = lm.GPT(config).eval(), ids()
    y = x.clone()
    y[:, 6:] = (y[:, 6:] + 5) % V
    assert torch.equal(model(x)[:, :6], model(y)[:, :6])
    assert not torch.equal(model(x)[:, 6:], model(y)[:, 6:])


@pytest.mark.parametrize("config", [*variants(), *(c for name, c in PRESETS.items() if name != "large")],
                         ids=lambda c: str(c.n_embd) + c.position + c.norm + c.norm_place + c.ffn)
def test_before_training_the_loss_is_that_of_guessing(config):
    model = lm.GPT(config).eval()
    x, y = torch.randint(config.vocab_size, (2, 16, 12))
    assert abs(model.loss(x, y).item() - math.log(config.vocab_size)) < 0.1


@VARIANTS
def test_explicit_and_fused_attention_agree_in_value_and_gradient(config, monkeypatch):
    model, x = lm.GPT(config).double(), ids()
    fused = model(x)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)   # then it is plain arithmetic
    monkeypatch.delattr(F, "scaled_dot_product_attention")
    explicit = model(x)
    torch.testing.assert_close(explicit, fused)
    grads = [torch.autograd.grad(out.square().sum(), list(model.parameters())) for out in (explicit, fused)]
    for a, b in zip(*grads):
        torch.testing.assert_close(a, b)


@VARIANTS
def test_a_batch_is_learned_by_heart(config):
    model, x = lm.GPT(config), ids(T + 1)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(300):
        loss = model.loss(x[:, :-1], x[:, 1:])
        if loss < 0.1:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.1


@VARIANTS
def test_a_cache_changes_nothing(config):
    model, x = lm.GPT(config).eval(), ids()
    cache = Cache(config, B, model.tokens.weight)
    parts = [model(part, cache) for part in x.split([4, 3, 1, 1, 1], dim=1)]
    torch.testing.assert_close(torch.cat(parts, 1), model(x))


@VARIANTS
def test_padding_on_the_left_changes_nothing(config):
    model, x = lm.GPT(config).eval(), ids()
    pad = torch.tensor([0, 2, 5])
    rows = torch.stack([torch.cat([row.new_zeros(p), row[:T - p]]) for row, p in zip(x, pad)])
    out = model(rows, pad=pad)
    for row, found, p in zip(x, out, pad):
        torch.testing.assert_close(found[p:], model(row[None, :T - p])[0])


def test_maps_are_what_attention_used():
    model, x = lm.GPT(PLAIN).eval(), ids()
    maps = model.maps(x)
    assert maps.shape == (2, B, 3, T, T)
    torch.testing.assert_close(maps.sum(-1), torch.ones(2, B, 3, T))
    assert not maps.triu(1).any()


@pytest.mark.parametrize("rows", [1, 7, 10**6])
def test_the_loss_in_pieces_is_the_loss(rows, monkeypatch):
    model, x, y = lm.GPT(PLAIN).double(), ids(), ids()
    y[0, 3:] = whole.SKIP
    params = list(model.parameters())
    plain = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
    expected = torch.autograd.grad(2 * plain, params)
    monkeypatch.setattr(whole, "AT_ONCE", rows * V if rows < 100 else rows)
    loss = model.loss(x, y)
    torch.testing.assert_close(loss, plain)
    for a, b in zip(torch.autograd.grad(2 * loss, params), expected):
        torch.testing.assert_close(a, b)


def test_the_loss_in_pieces_obeys_autocast_as_the_whole_one_does(monkeypatch):
    model, x, y = lm.GPT(PLAIN), ids(), ids()
    params, found = list(model.parameters()), []
    for at_once in (10**6, 7 * V):
        monkeypatch.setattr(whole, "AT_ONCE", at_once)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model.loss(x, y)
        found.append([loss, *torch.autograd.grad(loss, params)])
    assert all(t.dtype == torch.float32 for t in found[1])
    for a, b in zip(*found):
        torch.testing.assert_close(a, b, rtol=0.02, atol=0.02 * b.abs().max().item())


def test_checkpointing_gives_the_same_gradients():
    model, x = lm.GPT(PLAIN).double(), ids()
    grads = []
    for model.checkpointing in (False, True):
        grads.append(torch.autograd.grad(model(x).square().sum(), list(model.parameters())))
    for a, b in zip(*grads):
        torch.testing.assert_close(a, b)


def test_a_long_document_is_read_in_windows_that_overlap_by_half():
    model = lm.GPT(PLAIN).eval()
    doc = torch.randint(1, V, (53,)).tolist()
    found, whole_doc = model.log_probs(doc), [0, *doc]
    for t in range(53):                         # each token, from some window that holds at least 6 before it
        options = []
        for start in range(max(0, t - 11), max(0, t - 6) + 1):
            row = torch.tensor([whole_doc[start:t + 1]])
            options.append(model(row)[0, -1].log_softmax(-1)[doc[t]].item())
        assert min(abs(found[t].item() - o) for o in options) < 1e-5


@pytest.mark.parametrize("changes, match", [
    ({"n_head": 5}, "n_embd=96 is not divisible by n_head=5"),
    ({"n_kv_head": 2}, "not divisible by n_kv_head=2"),
    ({"position": "rope", "head_size": 5}, "even head size, got 5"), ({"dropout": 1.0}, r"\[0, 1\), got 1.0"),
    ({"n_layer": 0}, "n_layer must be at least 1")])
def test_a_config_that_cannot_be_is_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        lm.GPTConfig(**{**vars(PLAIN), **changes})


def test_an_unknown_preset_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match="no preset 'huge'; there are day21, simple, 19m"):
        lm.preset("huge")


def test_more_tokens_than_the_context_are_refused():
    with pytest.raises(ValueError, match="13 tokens, but this model sees 12 at most"):
        lm.GPT(PLAIN)(ids(13))
