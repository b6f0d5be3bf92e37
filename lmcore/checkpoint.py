"""Keep a trained GPT in a folder: its config and tokenizer to read, its weights as numbers, no code."""
import json
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import load_file, save_file

from lmcore.bpe import BPETokenizer
from lmcore.config import GPTConfig
from lmcore.data.files import DATA
from lmcore.gpt import GPT
from lmcore.tokenizers import CharTokenizer, SentencePieceTokenizer, WordTokenizer

Tokenizer = CharTokenizer | WordTokenizer | BPETokenizer | SentencePieceTokenizer
KINDS = {kind.__name__: kind for kind in (CharTokenizer, WordTokenizer, BPETokenizer, SentencePieceTokenizer)}


def save(folder: str | Path, model: GPT, tok: Tokenizer, half: bool = False) -> None:
    """Write config.json, tokenizer.json and model.safetensors; with `half`, weights take two bytes each.

    Source: the format is https://github.com/huggingface/safetensors, which holds no code to run.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    kind = {"tokenizer": type(tok).__name__, "model": asdict(model.config)}
    (folder / "config.json").write_text(json.dumps(kind, indent=1) + "\n", encoding="utf-8")
    tok.save(folder / "tokenizer.json")
    weights = {name: (w.half() if half else w).contiguous() for name, w in model.state_dict().items()}
    if model.config.tied:
        weights.pop("head.weight")                  # the same numbers as tokens.weight
    save_file(weights, folder / "model.safetensors")


def load(folder: str | Path) -> tuple[GPT, Tokenizer]:
    """The model and tokenizer of a folder, or of the course's own run of that name, such as "tales".

    Raises: FileNotFoundError if a file is missing there; ValueError if the files do not belong together.
    """
    folder = Path(folder) if Path(folder).is_dir() else DATA / "runs" / folder
    missing = [name for name in ("config.json", "tokenizer.json", "model.safetensors")
               if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"no trained model in {folder}: {', '.join(missing)} not there")
    about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tok = KINDS[about["tokenizer"]].load(folder / "tokenizer.json")
    model, weights = GPT(GPTConfig(**about["model"])), load_file(folder / "model.safetensors")
    if model.config.tied:
        weights["head.weight"] = weights["tokens.weight"]
    try:
        model.load_state_dict({name: w.float() for name, w in weights.items()})
    except RuntimeError as error:
        raise ValueError(f"the weights in {folder} are not of the model in config.json: {error}") from None
    if tok.vocab_size != model.config.vocab_size:
        raise ValueError(f"the tokenizer in {folder} has {tok.vocab_size} tokens, "
                         f"its model {model.config.vocab_size}")
    return model.eval(), tok
