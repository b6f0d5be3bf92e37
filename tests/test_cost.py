"""What a GPT costs by formula is what it costs when it is built."""
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

import lmcore as lm
from lmcore.config import PRESETS
from lmcore.cost import held, parameters


@given(st.fixed_dictionaries({
    "vocab_size": st.integers(2, 40), "block_size": st.integers(1, 20), "n_embd": st.sampled_from([8, 24]),
    "n_layer": st.integers(1, 3), "n_head": st.sampled_from([2, 4]),
    "n_kv_head": st.sampled_from([None, 1, 2]),
    "head_size": st.sampled_from([None, 6]), "position": st.sampled_from(["learned", "sinusoidal", "rope"]),
    "norm": st.sampled_from(["layernorm", "rmsnorm"]), "norm_place": st.sampled_from(["pre", "post"]),
    "qk_norm": st.booleans(), "ffn": st.sampled_from(["relu", "swiglu"]),
    "expansion": st.sampled_from([4, 8 / 3]), "attention_bias": st.booleans(), "ffn_bias": st.booleans(),
    "norm_bias": st.booleans(), "tied": st.booleans()}))
@settings(max_examples=60)
def test_parameters_are_those_of_the_model(choices):
    config = lm.GPTConfig(**choices)
    model = lm.GPT(config)
    assert lm.cost(config).parameters == model.n_params
    small = sum(p.numel() for p in model.parameters() if p.ndim == 1)
    assert parameters(config)["small"] == small


@pytest.mark.parametrize("name", ["day21", "19m"])
def test_operations_are_those_that_torch_counts(name):
    config = replace(PRESETS[name], block_size=64, dropout=0.0)
    model, ids = lm.GPT(config), torch.ones(2, 64, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model(ids).sum().backward()
    attention = 6 * config.n_layer * config.n_head * config.D * 64      # torch counts all places, or none
    per_token = counter.get_total_flops() / ids.numel()
    assert abs(lm.cost(config).flops_per_token - per_token) <= 1.01 * attention


@pytest.mark.parametrize("name", ["day21", "19m", "small"])
def test_memory_that_a_step_holds_is_about_as_said(name):
    config = replace(PRESETS[name], vocab_size=100, block_size=128)
    model, ids, B = lm.GPT(config), torch.ones(2, 128, dtype=torch.long), 2
    own, kept = {p.untyped_storage().data_ptr() for p in model.parameters()}, {}

    def keep(t: torch.Tensor) -> torch.Tensor:
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        model.loss(ids, ids)
    found = sum(size for place, size in kept.items() if place not in own) / 4 / B / 128
    assert 0.8 * found < held(config) < 1.25 * found
