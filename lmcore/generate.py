"""Write texts with a model: what it reads anew and what is kept, when a text ends, what is shown when.

A model's input is [0] + ids, for the end of one document (id 0) is the start of the next. How the next token
is chosen from the logits stands in `sampling`.
"""
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn

from lmcore.attention import Cache
from lmcore.gpt import GPT
from lmcore.sampling import Rows, Sampling, draw, pad_left
from lmcore.tokenizers import END, CharTokenizer


def window_start(n: int, T: int) -> int:
    """Where the window of a model that sees T tokens begins in a text of n.

    While all fits, at 0. When the window is full, its older half is dropped, so the model sees at least half
    of T. What is left gets new places, and even without places its deeper keys were made from what is gone:
    so all of it is read anew. That happens once in T / 2 tokens, not at every token.
    """
    hop = max(T // 2, 1)
    return -(-(n - T) // hop) * hop if n > T else 0


class Reader:
    """Give the logits after some texts that grow by one token at a time; with a cache, read only that token.

    Rows of unequal length stand right-aligned, their left filled with `pad` tokens that nobody looks at. Each
    row slides at its own moment; then the whole batch is read anew.
    """

    def __init__(self, model: nn.Module, cache: bool = True):
        self.model, self.cached = model, cache and isinstance(model, GPT)
        self.T = getattr(model, "block_size", 1 << 60)              # a recurrent network has no window
        self.device = next(model.parameters()).device
        self.starts, self.cache, self.pad = None, None, None

    def logits(self, rows: Rows) -> Tensor:
        """The logits of the next token of every row.

        Shapes: rows, each (T,) -> (B, V)
        """
        starts = [window_start(len(row), self.T) for row in rows]
        if not self.cached:
            return self.one_length_at_a_time([row[start:] for row, start in zip(rows, starts)])
        if starts == self.starts and self.cache.length < self.T:
            ids = torch.tensor([row[-1:] for row in rows], device=self.device)
        else:
            ids = self.begin([row[start:] for row, start in zip(rows, starts)])
            self.starts = starts
        return self.model.head(self.model.stream(ids, self.cache, self.pad)[:, -1])

    def begin(self, windows: Rows) -> Tensor:
        """Forget what was read, and lay out what there is to read.

        Shapes: windows, each (T,) -> (B, T)
        """
        rows = pad_left(windows)
        gaps = [len(row) - len(window) for row, window in zip(rows, windows)]
        self.pad = torch.tensor(gaps, device=self.device) if any(gaps) else None
        if self.cache is None:
            self.cache = Cache(self.model.config, len(windows), next(self.model.parameters()))
        self.cache.length = 0
        return torch.tensor(rows, device=self.device)

    def one_length_at_a_time(self, windows: Rows) -> Tensor:
        """The same without cache or padding, for any model: windows of equal length make a batch.

        Shapes: windows, each (T,) -> (B, V)
        """
        found: dict[int, Tensor] = {}
        for length in set(map(len, windows)):
            those = [i for i, window in enumerate(windows) if len(window) == length]
            ids = torch.tensor([windows[i] for i in those], device=self.device)
            found |= zip(those, self.model(ids)[:, -1])
        return torch.stack([found[i] for i in range(len(windows))])

    def keep(self, rows: list[int]) -> None:
        """Go on with these rows, in this order; a row may come twice, or not at all."""
        if not self.cached or rows == list(range(len(self.starts))):
            return
        self.starts = [self.starts[i] for i in rows]
        self.pad = self.pad if self.pad is None else self.pad[rows]
        self.cache.keep(rows)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """No dropout and no gradients; afterwards the model is in the mode in which it was."""
    training = model.training
    if training:
        model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        if training:
            model.train()


def write(model: nn.Module, rows: Rows, max_tokens: int, sampling: Sampling, seeds: Sequence[int],
          stops: set[int], cache: bool = True) -> Iterator[tuple[int, int]]:
    """Give the next token of every row that has not ended, as (row, token), up to max_tokens times.

    When half of the rows have ended, the others go on alone.
    """
    rows, dice, reader = [list(row) for row in rows], [Random(seed) for seed in seeds], Reader(model, cache)
    batch, live = list(range(len(rows))), set(range(len(rows)))
    for _ in range(max_tokens):
        texts = [rows[i] for i in batch]
        throws = torch.tensor([dice[i].random() for i in batch], dtype=torch.double, device=reader.device)
        with evaluating(model):
            logits = reader.logits(texts).float()
            tokens = draw(sampling.shape(logits, texts), throws).tolist()
        for i, token in zip(batch, tokens):
            rows[i].append(token)
            if i in live:
                yield i, token
                if token in stops:
                    live.remove(i)
        if not live:
            return
        if 2 * len(live) <= len(batch):
            reader.keep([place for place, i in enumerate(batch) if i in live])
            batch = [i for i in batch if i in live]


def generate(model: nn.Module, tok: CharTokenizer, prompts: str | Sequence[str], max_tokens: int = 100, *,
             seed: int = 0, stop: str | Sequence[str] = (), cache: bool = True,
             **sampling: float | None) -> str | list[str]:
    """Continue a text, or each of a list of texts, until its end or by max_tokens; "" begins a new one.

    The choices of `Sampling` are given by name: `temperature=0.8, top_p=0.9`. Row i of a list draws from
    seed + i, and is what that prompt gives alone. `stop` names tokens that end a text besides its end.

    Raises: ValueError if a choice or a prompt is not possible, with the reason.
    """
    if isinstance(prompts, str):
        return "".join(stream(model, tok, prompts, max_tokens, seed=seed, stop=stop, cache=cache, **sampling))
    rows = encoded(model, tok, prompts)
    seeds, stops = range(seed, seed + len(rows)), stop_ids(tok, stop)
    written = [row[1:] for row in rows]
    for i, token in write(model, rows, max_tokens, Sampling(**sampling), seeds, stops, cache):
        written[i].append(token)
    return ["".join(pieces(tok, ids)) for ids in written]


def stream(model: nn.Module, tok: CharTokenizer, prompt: str, max_tokens: int = 100, *, seed: int = 0,
           stop: str | Sequence[str] = (), cache: bool = True, **sampling: float | None) -> Iterator[str]:
    """The text that `generate` gives, in pieces, each as soon as it is known.

    Raises: ValueError if a choice or the prompt is not possible, with the reason.
    """
    row, = encoded(model, tok, [prompt])
    tokens = write(model, [row], max_tokens, Sampling(**sampling), [seed], stop_ids(tok, stop), cache)
    return pieces(tok, chain(row[1:], (token for _, token in tokens)))


def pieces(tok: CharTokenizer, ids: Iterable[int]) -> Iterator[str]:
    """The text of tokens as they come, cut only where a character ends.

    A character of several bytes may be several tokens: until the last of them, decoding ends with "�".
    """
    shown, new = [], []                     # the tokens of the last piece, and those after it
    for token in ids:
        new.append(token)
        text = tok.decode(shown + new)[len(tok.decode(shown)):]
        if text and text[-1] != "�":
            yield text
            shown, new = new, []
    if rest := tok.decode(shown + new)[len(tok.decode(shown)):]:
        yield rest


def encoded(model: nn.Module, tok: CharTokenizer, prompts: Sequence[str]) -> Rows:
    """The tokens of prompts, each after the end that stands before every document.

    Raises: ValueError if there is no prompt, or one does not fit the model's context.
    """
    if not prompts:
        raise ValueError('no prompt: give a text, or a list of at least one; "" begins a new text')
    rows, T = [[END, *tok.encode(prompt)] for prompt in prompts], getattr(model, "block_size", None)
    for prompt, row in zip(prompts, rows):
        if T and len(row) > T:
            raise ValueError(f"the prompt {prompt!r:.30} has {len(row)} tokens with the mark of its start, "
                             f"and this model sees {T}: shorten it")
    return rows


def stop_ids(tok: CharTokenizer, stop: str | Sequence[str]) -> set[int]:
    """The ids that end a text: its end, and those that `stop` names.

    Raises: ValueError if one of those is not a single token.
    """
    found = {tok.end}
    for text in [stop] if isinstance(stop, str) else stop:
        ids = tok.encode(text)
        if len(ids) != 1:
            raise ValueError(f"stop must be a single token, and {text!r} is {len(ids)}")
        found |= set(ids)
    return found


def beam_search(model: nn.Module, tok: CharTokenizer, prompt: str, beams: int = 4, n: int = 1,
                max_tokens: int = 100, length_power: float = 1.0) -> list[tuple[str, float]]:
    """The n best texts found by keeping the likeliest `beams` at every step; one that ends leaves the beam.

    Each comes with its log-probability / (tokens written) ** length_power: with 1 the mean, with 0 the sum.

    Raises: ValueError if beams is below 1 or below n, or the prompt is not possible.
    Source: Sutskever, Vinyals and Le 2014, sec. 3.2, https://arxiv.org/abs/1409.3215; the normalisation:
            Wu et al. 2016, sec. 7. https://arxiv.org/abs/1609.08144
    """
    if not 1 <= n <= beams:
        raise ValueError(f"beams must be at least 1, and n from 1 to beams; got beams={beams}, n={n}")
    rows, totals, done, reader = encoded(model, tok, [prompt]), torch.zeros(1), [], Reader(model)
    for step in range(1, max_tokens + 1):
        with evaluating(model):
            sums, parents, tokens = best_steps(reader.logits(rows).float().cpu(), totals, beams - len(done))
        rows = [[*rows[parent], token] for parent, token in zip(parents.tolist(), tokens.tolist())]
        live = [i for i, row in enumerate(rows) if row[-1] != tok.end and step < max_tokens]
        done += [(float(sums[i]) / step**length_power, rows[i]) for i in range(len(rows)) if i not in live]
        if not live:
            break
        rows, totals = [rows[i] for i in live], sums[live]
        reader.keep(parents[live].tolist())
    done.sort(key=lambda found: -found[0])
    return [("".join(pieces(tok, row[1:])), score) for score, row in done[:n]]


def best_steps(logits: Tensor, totals: Tensor, N: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of all texts one token longer the N likeliest: their log-probability, the text extended, the token.

    Shapes: logits (B, V), totals (B,) -> (N,), (N,), (N,)
    """
    sums = totals[:, None] + logits.log_softmax(-1)                 # (B, V)
    best, places = sums.flatten().topk(min(N, sums.numel()))
    return best, places // sums.shape[1], places % sums.shape[1]


def generate_file(model: nn.Module, tok: CharTokenizer, source: str | Path, target: str | Path, *,
                  batch: int = 32, seed: int = 0, **how: object) -> int:
    """Continue every line of a file, and write {"prompt", "text"} as a line of JSON each; say how many.

    Line i draws from seed + i, however large a batch is. `how` is what `generate` takes.

    Raises: ValueError if there is no line, or a line is not possible.
    """
    prompts = Path(source).read_text(encoding="utf-8").splitlines()
    encoded(model, tok, prompts)            # a bad line is told before anything is written
    with open(target, "w", encoding="utf-8") as out:
        for i in range(0, len(prompts), batch):
            some = prompts[i:i + batch]
            for prompt, text in zip(some, generate(model, tok, some, seed=seed + i, **how)):
                out.write(json.dumps({"prompt": prompt, "text": text}, ensure_ascii=False) + "\n")
    return len(prompts)


def interact(model: nn.Module, tok: CharTokenizer, ask: Callable[[str], str] = input, *, seed: int = 0,
             **how: object) -> None:
    """Ask for beginnings and print each text as it is written; an empty answer ends it.

    What cannot be continued is answered with the reason. `how` is what `stream` takes.
    """
    while prompt := ask("begin (empty to stop)> "):
        try:
            for piece in stream(model, tok, prompt, seed=seed, **how):
                print(piece, end="", flush=True)
            print()
        except ValueError as error:
            print(error)
        seed += 1
