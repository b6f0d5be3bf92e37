"""Sets that our own grammars write: nothing is stored, each text comes with its exact probability.

The texts are the same everywhere: fixed seeds, and no text twice, neither in a part nor between parts.
"""
import json
from pathlib import Path

from lmcore.data.files import DATA, HERE, cache_folder, sha256, write

SETS = ("tales", "coplas")
SIZES = {"test": 1_000, "val": 1_000, "train": 20_000}  # in this order, so that repeats leave train
SEEDS = {"train": 1, "val": 2, "test": 3}
Pairs = list[tuple[str, float]]                         # text, log2 of its probability


def parts(name: str) -> dict[str, Pairs]:
    """The texts of train, val and test with their log2 p; written once, then kept in the cache."""
    kept = cache_file(name)
    if not kept.is_file():
        content = json.dumps(generate(name), ensure_ascii=False)
        write(kept, content.encode())
    found = json.loads(kept.read_bytes())
    return {part: [tuple(pair) for pair in found[part]] for part in SEEDS}


def generate(name: str) -> dict[str, Pairs]:
    """Write the texts anew, as `parts` gives them."""
    from lmcore.grammar import Grammar

    grammar, seen = Grammar.load(name), set()
    return {part: draw(grammar, SEEDS[part], size, seen) for part, size in SIZES.items()}


def draw(grammar, seed: int, n: int, seen: set[str]) -> Pairs:
    """n texts that are not in `seen`, which grows by them; a repeat is drawn again from the next seed.

    Raises: ValueError if the grammar has fewer texts than asked for.
    """
    kept = []
    while len(kept) < n:
        before = len(kept)
        for text, bits in grammar.sample(seed, n - len(kept)):
            if text not in seen:
                seen.add(text)
                kept.append((text, bits))
        if len(kept) == before:
            raise ValueError(f"the grammar has too few texts: {before} different ones found, {n} asked for")
        seed += len(SEEDS)
    return kept


def grammar_file(name: str) -> Path:
    return DATA / f"{name}.toml"


def cache_file(name: str) -> Path:
    """Named by a hash of the grammar and of the code that reads it, so a change of either writes anew."""
    code = [grammar_file(name), *sorted((HERE / "grammar").glob("*.py")), Path(__file__)]
    content = b"".join(file.read_bytes() for file in code)
    return cache_folder() / "generated" / f"{name}-{sha256(content)[:16]}.json"
