"""The text of a run: documents, a token file, or ids, as one row of ids, an end after each document."""
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lmcore.data.tokens import Tokenizer, tokens
from lmcore.data.windows import borders, flat

Part = Sequence[str] | str | Path | np.ndarray      # documents, the path of a token file, or ids


def corpus(part: Part, tok: Tokenizer, name: str) -> np.ndarray:
    """A part of the text as one row of ids, an end after each document; what is one already stays as it is.

    Raises: ValueError if there is nothing in it, or a token file is not of this tokenizer.
    """
    if isinstance(part, np.ndarray):
        ids = part
    else:
        ids = tokens(part, tok) if isinstance(part, (str, Path)) else flat(map(tok.encode, part))
    if not len(ids):
        raise ValueError(f"the text is empty: no document in {name!r}")
    return ids


def known(ids: np.ndarray) -> dict[str, object]:
    """What tells a text from another: how many tokens, and a checksum of the first and last million."""
    ends = np.concatenate([ids[:1 << 20], ids[-(1 << 20):]]).astype("<u4")
    return {"tokens": len(ids), "sha256": hashlib.sha256(ends.tobytes()).hexdigest()[:16]}


def validation(ids: np.ndarray, tok: Tokenizer, docs: int) -> tuple[list[list[int]], list[int]]:
    """The first documents (0: all) as lists of ids, and the bytes of each."""
    ends = borders(ids)[:docs or None] + 1
    rows = [row.tolist() for row in np.split(ids[:ends[-1]], ends[:-1])]
    return rows, [len(tok.decode(row).encode(errors="surrogatepass")) + 1 for row in rows]
