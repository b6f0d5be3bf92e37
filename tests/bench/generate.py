"""Writing 255 tokens with ours, with a loop without cache, and with `transformers`: ratios from one run.

The model has the shape of GPT-2: 6 layers, 6 heads, 384 channels, context 256, 65 symbols. `transformers`
gets the same weights. Contestants take turns; each figure is the median of its turns.
"""
import statistics
import time
from collections.abc import Callable

import pytest
import torch

import lmcore as lm
from lmcore.generate import write
from lmcore.sampling import Sampling

transformers = pytest.importorskip("transformers", reason="pip install transformers to compare with it")
N, T = 255, 256
LENGTHS = range(16, T, 32)                          # 8 lengths, whose mean is that of all
torch.manual_seed(0)
OURS = lm.GPT(lm.GPTConfig(vocab_size=65, block_size=T, n_embd=384, n_layer=6, n_head=6)).eval()
THEIRS = OURS.to_transformers().eval()
THEIRS.generation_config.eos_token_id = None        # neither stops before the last token
THEIRS.generation_config.pad_token_id = 0


def ours(B: int) -> None:
    rows = [[0] for _ in range(B)]
    assert sum(1 for _ in write(OURS, rows, N, Sampling(), range(B), stops=set())) == B * N


@torch.inference_mode()
def cacheless(B: int) -> None:
    """Some tokens of the loop of every tutorial, which reads the whole text anew for each."""
    for length in LENGTHS:
        probs = OURS(torch.zeros(B, length, dtype=torch.long))[:, -1].softmax(-1)
        torch.multinomial(probs, 1)


def theirs(B: int, kind: str) -> None:
    ids = torch.zeros(B, 1, dtype=torch.long)
    out = THEIRS.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=N, do_sample=True, top_k=0,
                          cache_implementation=kind, disable_compile=True)
    assert out.shape == (B, N + 1)


def turns(contestants: dict[str, Callable[[], object]], times: int) -> dict[str, list[float]]:
    """Wall seconds of every contestant, turn by turn."""
    took: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(times):
        for name, call in contestants.items():
            start = time.perf_counter()
            call()
            took[name].append(time.perf_counter() - start)
    return took


@pytest.mark.parametrize("B, times, no_cache, library", [(1, 5, 5.0, 1.1), (32, 3, 30.0, 1.3)])
def test_writing_with_a_cache_is_fast(B, times, no_cache, library):
    ours(1), theirs(1, "dynamic"), cacheless(1)                     # warm up
    took = turns({"ours": lambda: ours(B), "dynamic": lambda: theirs(B, "dynamic"),
                  "static": lambda: theirs(B, "static"), "no cache": lambda: cacheless(B)}, times)
    written = dict.fromkeys(took, B * N) | {"no cache": B * len(LENGTHS)}
    speed = {name: written[name] / statistics.median(seconds) for name, seconds in took.items()}
    best = max(speed["dynamic"], speed["static"])
    print(f"\nbatch {B}, tokens/s: " + ", ".join(f"{name} {s:,.0f}" for name, s in speed.items())
          + f"; ours / no cache {speed['ours'] / speed['no cache']:.1f} (at least {no_cache:g}), "
          f"ours / transformers {speed['ours'] / best:.2f} (at least {library:g})")
    assert speed["ours"] >= no_cache * speed["no cache"]
    assert speed["ours"] >= library * best
