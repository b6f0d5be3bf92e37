"""What a study measures is what its chapter shows: functions that both hold give the same numbers."""
import ast
import importlib.util
from types import ModuleType, SimpleNamespace

import chapter as ch
import nbformat
import pytest
import torch
from IPython.core.inputtransformer2 import TransformerManager

import lmcore as lm


def study(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ch.ROOT / f"tests/studies/{name}.py")
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    return module


def chapter(stem: str, names: str, **known: object) -> SimpleNamespace:
    """The imports of a chapter, and what it calls so; `known` stands for what it computes on the way."""
    def wanted(node: ast.stmt) -> bool:
        targets = [t.id for t in getattr(node, "targets", []) if isinstance(t, ast.Name)]
        named = [getattr(node, "name", None), *targets]
        return isinstance(node, (ast.Import, ast.ImportFrom)) or bool({*named} & {*names.split()})

    space = {"lm": lm, **known}
    for cell in ch.code_cells(nbformat.read(ch.CHAPTERS / f"{stem}.ipynb", 4)):
        tree = ast.parse(TransformerManager().transform_cell(cell.source))
        tree.body = [node for node in tree.body if wanted(node)]
        exec(compile(tree, stem, "exec"), space)
    return SimpleNamespace(**space)


@pytest.mark.parametrize("sizes", [{}, {"looks": 1}, {"H": 1}], ids=str)
def test_the_study_of_attention_has_the_chapter_s_model(sizes):
    docs = ["a kite was lost", "and found again"]
    tok, found = lm.WordTokenizer.train(docs), []
    ours = chapter("09_attention", "Attention Recaller", tok=tok)
    for Recaller in (ours.Recaller, study("attention").Recaller):
        torch.manual_seed(0)
        found.append(Recaller(tok.vocab_size, 9, 8, **{"H": 2} | sizes).log_probs(tok.encode(docs[0])))
    torch.testing.assert_close(*found)


def test_the_study_of_word_vectors_reads_and_trains_as_the_chapter_does():
    theirs, tales = study("embeddings"), lm.Grammar.load("tales")
    ours = chapter("13_embeddings", "ENTRY words_of kinds_of share_of_kind pairs_of skip_gram")
    texts = [text for text, _ in tales.sample(3, 9)]
    docs = list(map(ours.words_of, texts))
    assert docs == list(map(theirs.words_of, texts))
    ours.share_of_kind.__globals__["kinds"] = kinds = ours.kinds_of(tales.source)
    assert kinds == theirs.kinds_of(tales.source)
    corpus = theirs.Corpus(docs, kinds)
    pairs = ours.pairs_of(corpus.rows, 2)
    assert torch.equal(pairs, corpus.pairs(2, None))
    vectors, _, losses = ours.skip_gram(pairs, corpus.counts, 0, steps=9)
    again, losses_again = theirs.skip_gram(pairs, corpus.counts, 0, 48, 5, 0.75, steps=9)
    assert torch.equal(vectors, again) and losses == losses_again
    share = ours.share_of_kind(vectors[corpus.known], corpus.names)
    assert share == pytest.approx(100 * corpus.score(vectors))


def test_the_study_s_sorter_of_plots_is_the_chapter_s():
    torch.manual_seed(1)
    X, Y, M, K = torch.randint(0, 11, (150, 6)), torch.randint(0, 3, (150,)), 11, 3
    ours = chapter("13_embeddings", "Bag sorter ece reliability", M=M, K=K)
    log_p = ours.sorter(X, Y, 0, steps=9)(X)
    theirs = study("embeddings")
    again = theirs.sorter(X, Y, M, K, 0, steps=9)(X).log_softmax(1).detach()
    torch.testing.assert_close(log_p, again)
    assert float(ours.ece(log_p, Y)) == pytest.approx(theirs.measured(log_p, Y)["ece"])
