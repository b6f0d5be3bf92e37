"""Weights to and from `transformers`: with learned places a GPT is its GPT-2, with rotary its Llama.

Where they keep several matrices we keep one, stacked; GPT-2's matrices are transposed.
"""
from collections.abc import Iterator, Mapping
from types import ModuleType

import torch
from torch import Tensor, nn

from lmcore.config import GPTConfig

SAME = {"norm_place": "pre", "qk_norm": False}
PARTS = {       # what each of their models is made of
    "gpt2": {**SAME, "position": "learned", "norm": "layernorm"},
    "llama": {**SAME, "position": "rope", "norm": "rmsnorm", "ffn": "swiglu"}}
THEIRS = {      # and what they must say of it
    "gpt2": {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False,
             "add_cross_attention": False},
    "llama": {"hidden_act": "silu", "rope_type": "default"}}
BOTH = {"vocab_size": "vocab_size", "tied": "tie_word_embeddings"}
FIELDS = {      # our name of a number, and theirs
    "gpt2": {**BOTH, "block_size": "n_positions", "n_embd": "n_embd", "n_layer": "n_layer",
             "n_head": "n_head", "dropout": "resid_pdrop", "norm_eps": "layer_norm_epsilon"},
    "llama": {**BOTH, "block_size": "max_position_embeddings", "n_embd": "hidden_size",
              "n_layer": "num_hidden_layers", "n_head": "num_attention_heads",
              "n_kv_head": "num_key_value_heads", "head_size": "head_dim", "attention_bias": "attention_bias",
              "ffn_bias": "mlp_bias", "norm_eps": "rms_norm_eps"}}
BENDS = {"gelu": "gelu", "gelu_tanh": "gelu_new"}   # our name of the bend in GPT-2's feed-forward, and theirs
H, L = "transformer.h.*.", "model.layers.*."     # the names of their blocks
MODULES = {     # our module, and theirs that hold the same; "*" is the number of a block
    "gpt2": {"tokens": "transformer.wte", "places": "transformer.wpe", "norm": "transformer.ln_f",
             "head": "lm_head", "blocks.*.norm1": H + "ln_1", "blocks.*.norm2": H + "ln_2",
             "blocks.*.attention.qkv": H + "attn.c_attn", "blocks.*.attention.out": H + "attn.c_proj",
             "blocks.*.ffn.up": H + "mlp.c_fc", "blocks.*.ffn.down": H + "mlp.c_proj"},
    "llama": {"tokens": "model.embed_tokens", "norm": "model.norm", "head": "lm_head",
              "blocks.*.norm1": L + "input_layernorm", "blocks.*.norm2": L + "post_attention_layernorm",
              "blocks.*.attention.qkv": f"{L}self_attn.q_proj {L}self_attn.k_proj {L}self_attn.v_proj",
              "blocks.*.attention.out": L + "self_attn.o_proj", "blocks.*.ffn.down": L + "mlp.down_proj",
              "blocks.*.ffn.up": f"{L}mlp.gate_proj {L}mlp.up_proj"}}


def library() -> ModuleType:
    """The `transformers` library, which nothing else here needs.

    Raises: ImportError if it is not installed.
    """
    try:
        import transformers
    except ImportError:
        raise ImportError("weights are exchanged with transformers: pip install transformers") from None
    return transformers


def need(found: Mapping[str, object], wanted: Mapping[str, object]) -> None:
    """Pass if the one side has what the other can hold.

    Raises: ValueError if not, naming the first choice that differs.
    """
    for name, value in wanted.items():
        if found[name] != value:
            raise ValueError(f"weights with {name}={found[name]!r} cannot be exchanged, only with {value!r}")


def names(family: str, n_layer: int) -> Iterator[tuple[str, list[str], bool]]:
    """Our name of every tensor, theirs that make it up, and whether theirs are transposed."""
    for ours, theirs in MODULES[family].items():
        for i in range(n_layer if "*" in ours else 1):
            for kind in (".weight", ".bias"):
                turned = family == "gpt2" and kind == ".weight" and "*" in ours and "norm" not in ours
                ours_i, *theirs_i = [(n + kind).replace("*", str(i)) for n in (ours, *theirs.split())]
                yield ours_i, theirs_i, turned


def read(model: str | nn.Module) -> tuple[GPTConfig, dict[str, Tensor]]:
    """The config and the weights, by our names, of a GPT-2 or Llama of `transformers`, or of its name there.

    Shapes: those of a GPT's weights.
    Raises: ValueError if it is another architecture, or has a choice that we lack.
    """
    if isinstance(model, str):
        model = library().AutoModelForCausalLM.from_pretrained(model)
    said, state = model.config.to_dict(), model.state_dict()
    family = said["model_type"]
    if family not in PARTS:
        raise ValueError(f"weights come from a gpt2 or a llama, not from a {family}")
    rope = said.get("rope_parameters", {})
    need({**said, **rope}, THEIRS[family])
    config = {ours: said[theirs] for ours, theirs in FIELDS[family].items()}
    if family == "gpt2":
        if said["activation_function"] not in BENDS.values():
            need(said, {"activation_function": "gelu_new"})
        more = {"ffn": next(ours for ours, theirs in BENDS.items() if theirs == said["activation_function"]),
                "attention_bias": True, "ffn_bias": True}
        middle = said["n_inner"] or 4 * said["n_embd"]
    else:
        more, middle = {"rope_base": rope["rope_theta"]}, said["intermediate_size"]
    config = GPTConfig(**PARTS[family], **config, **more, expansion=middle / config["n_embd"])
    return config, {ours: torch.cat([state[name].T if turned else state[name] for name in theirs])
                    for ours, theirs, turned in names(family, config.n_layer) if theirs[0] in state}


def write(config: GPTConfig, weights: Mapping[str, Tensor]) -> nn.Module:
    """A GPT-2 or a Llama of `transformers` with our weights; a bias that we lack is zero there.

    Shapes: those of a GPT's weights.
    Raises: ValueError if a choice of the config has no counterpart.
    """
    c, family = config, "llama" if config.position == "rope" else "gpt2"
    need({**vars(c), "n_embd % n_head": c.n_embd % c.n_head}, {**PARTS[family], "n_embd % n_head": 0})
    said = {theirs: getattr(c, ours) for ours, theirs in FIELDS[family].items()}
    if family == "gpt2":
        need({"n_kv_head": c.kv_heads, "head_size": c.D},
             {"n_kv_head": c.n_head, "head_size": c.n_embd / c.n_head})
        if c.ffn not in BENDS:
            need(vars(c), {"ffn": "gelu"})
        said |= {"n_inner": c.middle, "activation_function": BENDS[c.ffn],
                 "attn_pdrop": c.dropout, "embd_pdrop": c.dropout}
    else:
        said |= {"intermediate_size": c.middle,
                 "rope_parameters": {"rope_type": "default", "rope_theta": c.rope_base}}
    theirs = library().AutoConfig.for_model(family, bos_token_id=0, eos_token_id=0, **said)
    model = library().AutoModelForCausalLM.from_config(theirs)
    state = model.state_dict()
    for ours, theirs, turned in names(family, c.n_layer):
        if theirs[0] in state:
            pieces = [state[name].T if turned else state[name] for name in theirs]
            new = weights[ours] if ours in weights else torch.zeros_like(torch.cat(pieces))
            for piece, part in zip(pieces, new.split([len(piece) for piece in pieces])):
                piece.copy_(part)           # a view of theirs: the model itself changes
    return model.eval()
