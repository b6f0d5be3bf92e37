"""Cut text into tokens that were learned from text: byte-level byte-pair encoding (BPE).

Id 0 is `end`, ids 1 to 256 are the bytes in GPT-2's order, and each later id joins two that stand before it.

Source: Sennrich, Haddow and Birch 2016, algorithm 1, https://arxiv.org/abs/1508.07909; on bytes, and the
        order of bytes: Radford et al. 2019, GPT-2, sec. 2.2.
"""
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from heapq import heapify, heappop, heappush
from itertools import chain
from pathlib import Path
from typing import Self

import regex

from lmcore.tokenizers import BORDER, damaged, read_json, write_json

PATTERNS = {        # where a text is cut before any merge, so that no token reaches over these borders
    "gpt2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "gpt4": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
            r"|\s*[\r\n]|\s+(?!\S)|\s+",
}
PRINTED = [*range(33, 127), *range(161, 173), *range(174, 256)]     # bytes that show as a character
BYTES = bytes(PRINTED + [b for b in range(256) if b not in PRINTED])
LETTERS = [*map(chr, PRINTED), *map(chr, range(256, 324))]          # how files show them: "Ġ" is a space
ID = {byte: i for i, byte in enumerate(BYTES, 1)}
FIRST = 257                                                         # id of the first merge
KEPT = 1 << 20                                                      # pieces remembered at most


class BPETokenizer:
    """Bytes, joined by merges learned from texts. Every text can be encoded, and every string of bytes.

    Raises: ValueError if the pattern is no regular expression, has groups that capture, or leaves
            characters of a text out.
    Source: the patterns, GPT-2's and GPT-4's: https://github.com/openai/tiktoken
    """

    end = 0

    def __init__(self, merges: Iterable[tuple[int, int]], pattern: str = "gpt4"):
        self.merges, self.pattern = [tuple(pair) for pair in merges], pattern
        self.tokens = [b"", *(bytes([byte]) for byte in BYTES)]     # the bytes of every id
        for a, b in self.merges:
            self.tokens.append(self.tokens[a] + self.tokens[b])
        self.symbols = [BORDER, *(t.decode("utf-8", "backslashreplace") for t in self.tokens[1:])]
        self._find = splitter(pattern)
        self._known = Known({pair: i for i, pair in enumerate(self.merges, FIRST)})

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, pattern: str = "gpt4") -> Self:
        """Learn merges until there are `vocab_size` ids, or no pair is left.

        `pattern` is "gpt2", "gpt4", or a regular expression of one's own that covers all of a text.
        """
        if isinstance(texts, str):
            raise ValueError("train wants a list of texts, got one text: put it in a list")
        if vocab_size < FIRST:
            raise ValueError(f"vocab_size must be at least {FIRST}, the bytes and the end, got {vocab_size}")
        find, pieces = splitter(pattern), Counter()
        for text in texts:
            pieces.update(find(text))
        pieces = {piece.encode("utf-8", "surrogatepass"): n for piece, n in pieces.items()}
        return cls(learn_merges(pieces, vocab_size - FIRST), pattern)

    @property
    def vocab_size(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        return list(chain.from_iterable(map(self._known.__getitem__, self._find(text))))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; what is no text, as half of a character is none, shows as �."""
        data = self.decode_bytes(ids)
        try:
            return data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return data.decode("utf-8", "replace")

    def encode_bytes(self, data: bytes) -> list[int]:
        """The ids of any bytes, valid UTF-8 or not; `decode_bytes` gives them back."""
        pieces = self._find(data.decode("utf-8", "surrogateescape"))
        return [i for piece in pieces for i in self._known.cut(piece.encode("utf-8", "surrogateescape"))]

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return b"".join([self.tokens[i] for i in ids])

    def save(self, path: str | Path) -> None:
        """Write the pattern and the merges as JSON, bytes shown by GPT-2's letters as in other libraries."""
        letters = str.maketrans({chr(byte): letter for byte, letter in zip(BYTES, LETTERS)})
        shown = [token.decode("latin-1").translate(letters) for token in self.tokens]
        write_json(path, type(self).__name__, pattern=self.pattern,
                   merges=[f"{shown[a]} {shown[b]}" for a, b in self.merges])

    @classmethod
    def load(cls, path: str | Path) -> Self:
        saved = read_json(path, cls.__name__)
        ids, pairs = {letter: i for i, letter in enumerate(LETTERS, 1)}, []
        try:
            for i, merge in enumerate(saved["merges"], FIRST):
                a, b = merge.split(" ")
                pairs.append((ids[a], ids[b]))
                if ids.setdefault(a + b, i) != i:
                    raise ValueError(f"{a + b} stands twice")
            return cls(pairs, saved["pattern"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise damaged(path) from None


class Known(dict):
    """The ids of every piece of text met so far; a new piece is cut when it is first asked for."""

    def __init__(self, ids_of_pairs: Mapping[tuple[int, int], int]):
        super().__init__()
        self.ids_of_pairs = ids_of_pairs

    def __missing__(self, piece: str) -> list[int]:
        if len(self) >= KEPT:
            self.clear()
        ids = self[piece] = self.cut(piece.encode("utf-8", "surrogatepass"))
        return ids

    def cut(self, piece: bytes) -> list[int]:
        return apply_merges([ID[byte] for byte in piece], self.ids_of_pairs)


def splitter(pattern: str) -> Callable[[str], list[str]]:
    """The function that cuts a text into pieces."""
    try:
        compiled = regex.compile(PATTERNS.get(pattern, pattern))
    except (regex.error, TypeError) as error:
        raise ValueError(f"{pattern!r:.60} is not {' or '.join(PATTERNS)}, nor a pattern: {error}") from None
    if compiled.groups:
        raise ValueError(f"the pattern {pattern!r:.60} captures groups: write (?:...) in place of (...)")

    def find(text: str) -> list[str]:
        pieces = compiled.findall(text)
        if sum(map(len, pieces)) < len(text):
            raise ValueError(f"the pattern {pattern!r:.60} leaves characters out: add a branch for them")
        return pieces

    return find


def apply_merges(ids: list[int], ids_of_pairs: Mapping[tuple[int, int], int]) -> list[int]:
    """Merge the pair of neighbours that was learned first, then the next, until none of them was learned.

    What is merged away becomes None; `after` and `before` lead from place to place over the gaps.
    """
    n, ids = len(ids), list(ids)
    after, before = list(range(1, n + 1)), list(range(-1, n - 1))
    heap = [(ids_of_pairs[pair], i) for i, pair in enumerate(zip(ids, ids[1:])) if pair in ids_of_pairs]
    heapify(heap)
    while heap:
        new, i = heappop(heap)
        j = after[i]
        if j == n or ids_of_pairs.get((ids[i], ids[j])) != new:
            continue                                    # one of the two was merged with another meanwhile
        ids[i], ids[j] = new, None
        h, k = before[i], after[j]
        after[i] = k
        if k < n:
            before[k] = i
            if (pair := (new, ids[k])) in ids_of_pairs:
                heappush(heap, (ids_of_pairs[pair], i))
        if h >= 0 and (pair := (ids[h], new)) in ids_of_pairs:
            heappush(heap, (ids_of_pairs[pair], h))
    return [i for i in ids if i is not None]


def learn_merges(pieces: Mapping[bytes, int], n: int) -> list[tuple[int, int]]:
    """Merges of pieces that occur so many times: n times, join the pair of neighbours most frequent by then.

    Of pairs as frequent, the one whose left id is lower comes first; then the one whose right id is.
    Counts are kept up to date where a merge changes them. The heap may say more than a pair has by now;
    then the pair is put back with what it has.
    """
    words = [[ID[byte] for byte in piece] for piece in pieces]
    times, counts, where = list(pieces.values()), Counter(), defaultdict(set)
    for w, word in enumerate(words):
        for pair in zip(word, word[1:]):
            counts[pair] += times[w]
            where[pair].add(w)
    heap, merges = [(-count, pair) for pair, count in counts.items()], []
    heapify(heap)
    while heap and len(merges) < n:
        count, pair = heappop(heap)
        if -count != counts[pair]:
            if counts[pair]:
                heappush(heap, (-counts[pair], pair))
            continue
        grown = set()
        for w in where.pop(pair):
            for change, other in replace(words[w], pair, FIRST + len(merges)):
                counts[other] += change * times[w]
                if change > 0:
                    where[other].add(w)
                    grown.add(other)
        counts[pair] = 0
        merges.append(pair)
        for other in grown:
            if counts[other]:
                heappush(heap, (-counts[other], other))
    return merges


def replace(word: list[int], pair: tuple[int, int], new: int) -> list[tuple[int, tuple[int, int]]]:
    """Merge a pair in a word, in place; return which neighbours became fewer (-1) or more (+1) thereby."""
    changes, i = [], 0
    while i < len(word) - 1:
        if (word[i], word[i + 1]) == pair:
            if i > 0:
                changes += [(-1, (word[i - 1], pair[0])), (1, (word[i - 1], new))]
            if i + 2 < len(word):
                changes += [(-1, (pair[1], word[i + 2])), (1, (new, word[i + 2]))]
            word[i:i + 2] = [new]
        i += 1
    return changes
