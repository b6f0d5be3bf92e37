"""Look at documents before training: how many, how long, how varied; and what that suggests."""
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from lmcore.tokenizers import split_words

OFTEN = 500                 # times that each token should occur, on average, to be learned well
PIECE = 3                   # bytes that a learned token of BPE stands for, about (chapter 12)
CONTEXTS = (64, 128, 256, 512)


class Advice(NamedTuple):
    """A suggested value, and why."""

    value: object
    reason: str


@dataclass(frozen=True)
class Analysis:
    """What `analyze` found; `print` it."""

    documents: int
    distinct: int                       # documents that are no repeats
    characters: int
    bytes: int                          # in UTF-8
    symbols: int                        # distinct characters
    words: int                          # words and punctuation, as WordTokenizer cuts them
    distinct_words: int
    lengths: dict[str, int]             # of documents in characters: shortest, median, 90 %, longest
    kind: Advice                        # of tokenizer
    vocab_size: Advice
    context: Advice                     # tokens
    stride: Advice                      # tokens from the start of a window to that of the next

    def __str__(self) -> str:
        sizes = ", ".join(f"{name} {n:,}" for name, n in self.lengths.items())
        rows = [("documents", f"{self.documents:,}, {self.documents - self.distinct:,} of them repeats"),
                ("text", f"{self.characters:,} characters, {self.bytes:,} bytes"),
                ("lengths", f"{sizes} characters"),
                ("characters", f"{self.symbols:,} distinct"),
                ("words", f"{self.words:,}, {self.distinct_words:,} distinct")]
        advice = [("tokenizer", self.kind), ("vocabulary", self.vocab_size), ("context", self.context),
                  ("stride", self.stride)]
        return "\n".join([*(f"{name:<11} {text}" for name, text in rows), "", "suggested",
                          *(f"{name:<11} {what.value}: {what.reason}" for name, what in advice)])


def analyze(docs: Iterable[str]) -> Analysis:
    """Count documents, one at a time, and suggest tokenizer, vocabulary, context and stride for them.

    Raises: ValueError if there is none.
    """
    symbols, words, seen, sizes, size = set(), Counter(), set(), [], 0
    for doc in docs:
        symbols.update(doc)
        words.update(split_words(doc))
        seen.add(hash(doc))
        sizes.append(len(doc))
        size += len(doc.encode(errors="surrogatepass"))
    if not sizes:
        raise ValueError("no document to look at")
    sizes.sort()
    n = len(sizes)
    lengths = {"shortest": sizes[0], "median": sizes[n // 2], "90 % up to": sizes[-(-9 * n // 10) - 1],
               "longest": sizes[-1]}
    kind, vocab = advise_vocabulary(size, len(symbols), words)
    per_token = sum(sizes) / {"char": sum(sizes), "word": words.total(), "bpe": size / PIECE}[kind.value]
    context, stride = advise_window({name: chars / per_token + 1 for name, chars in lengths.items()},
                                    sum(sizes) / per_token)
    return Analysis(n, len(seen), sum(sizes), size, len(symbols), words.total(), len(words), lengths, kind,
                    vocab, context, stride)


def advise_vocabulary(size: int, symbols: int, words: Counter) -> tuple[Advice, Advice]:
    """The largest vocabulary of which each token is still seen often."""
    if words.total() >= OFTEN * len(words):
        return (Advice("word", f"each word occurs {words.total() // len(words):,} times on average"),
                Advice(len(words) + 1, "all words that occur, and the border of documents"))
    fits = size // PIECE // OFTEN                       # tokens of which each occurs often enough
    if fits < 512:
        return (Advice("char", f"{size:,} bytes are too few to learn longer pieces well"),
                Advice(symbols + 1, "all characters that occur, and the border of documents"))
    V = min(1 << fits.bit_length() - 1, 32_768)
    return (Advice("bpe", f"pieces of about {PIECE} bytes make texts shorter, and any text has a spelling"),
            Advice(V, f"each token occurs about {size // PIECE // V:,} times; rarer ones are learned badly"))


def advise_window(lengths: dict[str, float], total: float) -> tuple[Advice, Advice]:
    """The shortest usual context that holds nine documents of ten, and how far apart windows begin.

    Units:  tokens
    """
    most = lengths["90 % up to"]
    T = next((T for T in CONTEXTS if T >= most), CONTEXTS[-1])
    if most <= T:
        context = Advice(T, f"nine documents of ten fit, with up to {most:,.0f} tokens")
        return context, Advice(T, "documents are read whole, so windows need not overlap")
    context = Advice(T, f"one document of ten has over {most:,.0f} tokens, but a small model gains little "
                        "from more")
    if total < 2_000_000:
        return context, Advice(T // 2, "the text is short: each token is read twice, at two places")
    return context, Advice(T, "the text is long: no token need be read twice in a pass")
