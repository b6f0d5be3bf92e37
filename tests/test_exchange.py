"""Weights go to `transformers` and back: the same logits, and a clear no where there is no counterpart."""
import subprocess
import sys

import pytest
import torch
import transformers

import lmcore as lm

V, T = 37, 12
GPT2 = lm.GPTConfig(vocab_size=V, block_size=T, n_embd=24, n_layer=2, n_head=3, expansion=49 / 24)
LLAMA = lm.GPTConfig(vocab_size=V, block_size=T, n_embd=24, n_layer=2, n_head=6, n_kv_head=2, head_size=14,
                     position="rope", norm="rmsnorm", ffn="swiglu", expansion=49 / 24, rope_base=500.0)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def changed(config: lm.GPTConfig, **changes: object) -> lm.GPTConfig:
    return lm.GPTConfig(**{**vars(config), **changes})


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    """Every weight drawn at random, gains and biases too, so that none can be mixed up with another."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return model.eval()


def agree(ours: lm.GPT, theirs: torch.nn.Module) -> None:
    ids = torch.randint(V, (3, T))
    with torch.no_grad():
        logits = ours(ids)
        torch.testing.assert_close(logits, theirs(ids).logits, rtol=0, atol=1e-4)
    assert logits.std() > 0.5


@pytest.mark.parametrize("changes", [
    {}, {"tied": False}, {"norm_bias": False}, {"attention_bias": True, "ffn_bias": True}, {"norm_eps": 0.1}])
@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_their_model_with_our_weights_gives_our_logits(config, changes):
    ours = shaken(lm.GPT(changed(config, **changes)))
    theirs = ours.to_transformers()
    agree(ours, theirs)
    agree(lm.GPT.from_transformers(theirs), theirs)


@pytest.mark.parametrize("config", [
    transformers.GPT2Config(vocab_size=V, n_positions=T, n_embd=24, n_layer=2, n_head=3),
    transformers.GPT2Config(vocab_size=V, n_positions=T, n_embd=24, n_layer=2, n_head=3, n_inner=35,
                            layer_norm_epsilon=0.1, tie_word_embeddings=False, activation_function="gelu"),
    transformers.LlamaConfig(vocab_size=V, max_position_embeddings=T, hidden_size=24, num_hidden_layers=2,
                             intermediate_size=35, num_attention_heads=3, attention_bias=True, mlp_bias=True),
    transformers.LlamaConfig(vocab_size=V, max_position_embeddings=T, hidden_size=24, num_hidden_layers=2,
                             intermediate_size=35, num_attention_heads=4, num_key_value_heads=2, head_dim=10,
                             rms_norm_eps=0.1, tie_word_embeddings=True,
                             rope_parameters={"rope_type": "default", "rope_theta": 300.0})],
    ids=["gpt2", "gpt2-untied", "llama-biases", "llama-grouped"])
def test_our_model_with_their_weights_gives_their_logits(config):
    theirs = shaken(transformers.AutoModelForCausalLM.from_config(config))
    ours = lm.GPT.from_transformers(theirs)
    agree(ours, theirs)
    assert ours.n_params == theirs.num_parameters()
    assert ours.config.tied == config.tie_word_embeddings
    agree(ours, ours.to_transformers())


def test_their_saved_model_is_read_from_its_folder(tmp_path):
    ours = shaken(lm.GPT(GPT2))
    ours.to_transformers().save_pretrained(tmp_path)
    agree(lm.GPT.from_transformers(str(tmp_path)), ours.to_transformers())


def test_every_width_of_the_feed_forward_survives():
    wrong = [(I, C) for C in range(1, 200) for I in range(1, 5 * C)
             if changed(GPT2, n_embd=C, n_head=1, expansion=I / C).middle != I]
    assert wrong == []


@pytest.mark.parametrize("config, changes, match", [
    (GPT2, {"qk_norm": True}, "qk_norm=True cannot be exchanged, only with False"),
    (GPT2, {"norm_place": "post"}, "norm_place='post' cannot be exchanged, only with 'pre'"),
    (GPT2, {"ffn": "relu"}, "ffn='relu' cannot be exchanged, only with 'gelu'"),
    (GPT2, {"position": "sinusoidal"}, "position='sinusoidal'"),
    (GPT2, {"norm": "rmsnorm"}, "norm='rmsnorm'"),
    (GPT2, {"n_kv_head": 1}, "n_kv_head=1 cannot be exchanged, only with 3"),
    (GPT2, {"head_size": 6}, "head_size=6"), (LLAMA, {"ffn": "gelu"}, "ffn='gelu'"),
    (LLAMA, {"norm": "layernorm"}, "norm='layernorm'"),
    (LLAMA, {"n_head": 10}, "n_embd % n_head=4 cannot be exchanged, only with 0")])
def test_what_they_do_not_have_is_refused(config, changes, match):
    with pytest.raises(ValueError, match=match):
        lm.GPT(changed(config, **changes)).to_transformers()


@pytest.mark.parametrize("family, changes, match", [
    ("gpt2", {"activation_function": "relu"}, "activation_function='relu' cannot be exchanged"),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx=True"),
    ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}},
     "rope_type='linear'"),
    ("llama", {"hidden_act": "gelu"}, "hidden_act='gelu'"),
    ("qwen2", {}, "from a gpt2 or a llama, not from a qwen2")])
def test_what_we_do_not_have_is_refused(family, changes, match):
    sizes = {"vocab_size": V, "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3}
    config = transformers.AutoConfig.for_model(family, **sizes, **changes)
    with pytest.raises(ValueError, match=match):
        lm.GPT.from_transformers(transformers.AutoModelForCausalLM.from_config(config))


def test_without_transformers_the_rest_works_and_the_exchange_says_what_is_missing():
    program = ("import sys; sys.modules['transformers'] = None\n"
               "import lmcore as lm\n"
               "model = lm.GPT(lm.GPTConfig(vocab_size=5, n_layer=1))\n"
               "try: model.to_transformers()\n"
               "except ImportError as error: print(error)")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "weights are exchanged with transformers: pip install transformers\n"
