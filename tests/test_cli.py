"""The `lmcore` command as people type it: in a terminal and in a pipe, rightly and wrongly."""
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import torch

import lmcore as lm
from lmcore.checkpoint import load
from lmcore.cli import COMMANDS, main, one_line
from lmcore.config import PRESETS, GPTConfig, TrainConfig

LMCORE = [sys.executable, "-m", "lmcore"]
FEW = ["--steps", "4", "--eval-every", "2", "--eval-docs", "5", "--wandb", "off"]
TINY = ["--n-layer", "1", "--n-embd", "16", "--n-head", "2", "--block-size", "32", "--batch-size", "4"]


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a book in it."""
    monkeypatch.chdir(tmp_path)
    dice = random.Random(0)
    words = [line.split()[0] for line in Path(__file__).read_text().splitlines() if line.split()]
    lines = (" ".join(dice.choices(words, k=9)) for _ in range(400))
    Path("book.txt").write_text("\n\n".join(lines), encoding="utf-8")
    return tmp_path


@pytest.fixture
def typed(capfd: pytest.CaptureFixture) -> Callable[..., tuple[int, str, str]]:
    """Type a command; its exit code, what it shows, what it complains of."""
    def type_it(*words: str) -> tuple[int, str, str]:
        code = main(words)
        return code, *capfd.readouterr()
    return type_it


def in_terminal(*words: str, keys: str = "", after: str = "") -> tuple[int, str]:
    """Run a command in a terminal of its own; press keys when `after` has been shown."""
    pty = pytest.importorskip("pty", reason="a terminal of one's own needs Linux or macOS")
    pid, screen = pty.fork()
    if not pid:
        os.execve(sys.executable, [*LMCORE, *words], {**os.environ, "TERM": "xterm"})
    shown, pressed = b"", not keys
    while True:
        try:
            new = os.read(screen, 4096)
        except OSError:                 # the other side has ended
            new = b""
        if not new:
            break
        shown += new
        if not pressed and after.encode() in shown:
            os.write(screen, keys.encode())
            pressed = True
    os.close(screen)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode(errors="replace")


def needs(name: str) -> None:
    if not lm.data.available(name):
        pytest.skip(lm.data.missing(name))


def test_the_whole_path_in_a_terminal_on_shakespeare():
    needs("shakespeare")
    path = [["analyze", "shakespeare"],
            ["tokenizer", "shakespeare", "--tokenizer", "char", "--out", "letters.json"],
            ["prepare", "shakespeare", "--tokenizer", "letters.json", "--out", "prepared"],
            ["train", "prepared", "--preset", "day21", *FEW, "--steps", "40", "--out", "runs/first"],
            ["generate", "runs/first", "To be", "--max-tokens", "20", "--stream"],
            ["evaluate", "runs/first", "--docs", "5"]]
    shown = []
    for words in path:
        code, text = in_terminal(*words)
        assert code == 0, text
        shown.append(text)
    assert "7,222, 74 of them repeats" in shown[0] and "66 tokens" in shown[1]
    assert "734 documents for val" in shown[2]
    assert "day21: 412,416 parameters" in shown[3] and "█" in shown[3]
    assert shown[4].startswith("To be") and "bits per byte" in shown[5]


def test_the_whole_path_in_pipes():
    run = lambda *words, text=None: subprocess.run([*LMCORE, *words], input=text, text=True, check=True,
                                                   capture_output=True).stdout
    shown = run("train", "book.txt", "--preset", "day21", *FEW)
    assert "█" not in shown and "\r" not in shown and "runs/book" in shown
    text = run("generate", "runs/book", "--prompt-file", "/dev/stdin", "--max-tokens", "9", text="def\nass\n")
    assert text.startswith("def") and "\nass" in text
    assert json.loads(run("evaluate", "runs/book", "--json"))["docs"] > 20


def test_the_name_of_a_text_is_enough(typed):
    code, shown, _ = typed("train", "book.txt", "--minutes", "0.01", "--wandb", "off")
    assert code == 0
    for line in ("text", "tokenizer", "model", "training", "time", "quality", "best", "next"):
        assert f"\n{line:<11}" in f"\n{shown}"
    code, _, wrong = typed("train", "book.txt")
    assert code == 2 and "lmcore train --resume runs/book" in wrong


def test_an_interrupted_run_goes_on():
    many = ["--preset", "day21", "--steps", "100000", "--eval-docs", "2", "--wandb", "off"]
    code, shown = in_terminal("train", "book.txt", *many, keys="\x03", after="step ")
    assert code == 130 and "lmcore train --resume runs/book" in shown.splitlines()[-1]
    assert main(["train", "--resume", "runs/book", "--steps", "1"]) == 0      # it is past that: nothing to do
    kept = json.loads(Path("runs/book/ckpt_last/progress.json").read_text())["step"]
    more = ["--steps", str(kept + 2), "--eval-every", "2"]
    assert main(["train", "--resume", "runs/book", *more]) == 0
    assert json.loads(Path("runs/book/ckpt_last/progress.json").read_text())["step"] == kept + 2


def test_africa_galore_as_words(typed):
    needs("africa-galore")
    words = ["--tokenizer", "word", "--min-count", "2", "--epochs", "50", "--eval-every", "575"]
    code, shown, wrong = typed("train", "africa-galore", "--preset", "day21", *words, "--wandb", "off")
    assert code == 0 and "1,983 tokens" in shown, wrong
    prompts = ["Abeni was", "The marketplace", "Children sang"]
    code, shown, _ = typed("generate", "runs/africa-galore", *prompts, "--max-tokens", "5")
    assert code == 0 and "\nThe <unk>" in shown and "\n <unk>" in shown      # rare words are unknown


def test_spanish_sonnets(typed):
    needs("sonetos")
    code, shown, wrong = typed("train", "sonetos", "--tokenizer", "char", "--preset", "mini", *TINY, *FEW)
    assert code == 0 and "100 tokens" in shown, wrong
    code, shown, _ = typed("generate", "runs/sonetos", "¿Qué", "--max-tokens", "5")
    assert code == 0 and shown.startswith("¿Qué")


def test_a_file_with_every_fault(typed):
    dice = random.Random(1)
    line = " ".join(f"word{dice.randrange(9000)}." for _ in range(560_000)).encode()
    assert len(line) > 5e6
    Path("odd.txt").write_bytes(b"\xef\xbb\xbfFirst\r\nsecond caf\xc3\xa9 \xff\rthird\n" + line)
    code, shown, wrong = typed("train", "odd.txt", "--tokenizer", "char", "--preset", "mini", *TINY, *FEW)
    assert code == 0, wrong
    for mended in ("1 byte-order marks taken away", "1 unreadable places, now �", "2 line ends made \\n"):
        assert mended in shown


def test_a_trained_model_is_trained_further_on_another_text(typed):
    assert typed("train", "book.txt", "--tokenizer", "bpe", "--preset", "mini", *TINY, *FEW)[0] == 0
    Path("other.txt").write_text("\n".join(f"Otro árbol, número {i}." for i in range(200)), encoding="utf-8")
    code, shown, wrong = typed("train", "other.txt", "--from", "runs/book", *FEW, "--batch-size", "4")
    assert code == 0, wrong
    assert "512 tokens: of runs/book" in shown and "as trained" in shown
    text = typed("generate", "runs/other", "--max-tokens", "9")[1]
    torch.manual_seed(7)                # which is not the seed of the run
    assert typed("train", "other.txt", "--from", "runs/book", *FEW, "--batch-size", "4", "--out", "b")[0] == 0
    assert typed("generate", "b", "--max-tokens", "9")[1] == text


WRONG = {
    ("trian",): "did you mean train?",
    ("train",): "name a text to train on",
    ("train", "bok.txt"): "did you mean book.txt?",
    ("train", "empty.txt"): "empty.txt is empty",
    ("train", "zip.txt"): "no text",
    ("train", "book.txt", "--preset", "smal"): "there are day21, simple, 19m",
    ("train", "book.txt", "--epochs", "1", "--steps", "1"): "give one of them",
    ("train", "book.txt", "--stepz", "3"): "did you mean --steps?",
    ("train", "book.txt", "--n-layer", "two"): "--n-layer",
    ("train", "book.txt", "--n-head", "3"): "not divisible",
    ("train", "book.txt", "--dropout", "1"): "dropout must be in",
    ("train", "book.txt", "--tokenizer", "bqe"): "give char, word, bpe",
    ("train", "book.txt", "--from", "tales", "--preset", "mini"): "leave out their options",
    ("train", "book.txt", "--from", "tales"): "not among the",
    ("train", "--resume", "runs/none"): "no run of `lmcore train` in runs/none",
    ("generate", "tals"): "did you mean tales?",
    ("generate", "tales", "Zürich"): "'Zürich' is not among",
    ("generate", "tales", "--temperature", "-1"): "temperature must be at least 0",
    ("generate", "tales", "--output", "x.jsonl"): "goes with --prompt-file",
    ("evaluate", "runs/none"): "no trained model",
    ("evaluate", "tales", "bok.txt"): "did you mean book.txt?",
    ("info", "--preset", "20m"): "no preset '20m'",
    ("data", "fetch", "wikipdia"): "did you mean wikipedia?",
    ("data", "delete"): "Expected one of ('list', 'fetch', 'verify')",
    ("prepare", "book.txt", "--tokenizer", "char", "--vocab-size", "9"): "leave vocab_size out",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_use_is_one_line_and_code_2(typed, words):
    Path("empty.txt").touch()
    Path("zip.txt").write_bytes(b"PK\3\4\0\0")
    code, _, wrong = typed(*words)
    assert code == 2
    assert wrong.startswith("lmcore: ") and wrong.count("\n") == 1 and WRONG[words] in wrong


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full: /dev/full")
def test_work_that_fails_is_one_line_and_code_1(typed):
    Path("prompts.txt").write_text("This\n")
    code, _, wrong = typed("generate", "tales", "--prompt-file", "prompts.txt", "--output", "/dev/full")
    assert code == 1 and wrong.count("\n") == 1 and "No space left" in wrong


def test_a_reader_that_leaves_is_no_error():
    shell = f"{sys.executable} -m lmcore --help | true"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {shell}"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""


def test_help_is_quick():
    code = "import sys; from lmcore.cli import main; main(['--help']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(typed, name):
    code, shown, _ = typed(name, "--help")
    assert code == 0 and f"  lmcore {name}" in shown


def test_every_choice_of_model_and_training_is_an_option(typed):
    shown = typed("train", "--help")[1]
    for found in [*fields(GPTConfig), *fields(TrainConfig)]:
        assert f"--{found.name.replace('_', '-')}" in shown


def test_shells_complete_the_commands(typed):
    code, shown, _ = typed("--tyro-print-completion", "bash")
    assert code == 0 and all(f"'{name}'" in shown for name in COMMANDS)


def test_an_analysis_can_be_read_by_programs(typed):
    about = json.loads(typed("analyze", "book.txt", "--json")[1])
    assert about["documents"] == 400 and about["cleaned"] == {}
    assert about["kind"][0] == "char" and "too few" in about["kind"][1]


def test_info_says_the_parameters(typed):
    code, shown, _ = typed("info", "--preset", "19m", "--json")
    assert code == 0 and json.loads(shown)["parameters"] == 19_804_416
    shown = typed("info")[1]
    assert all(f"\n{name} " in shown for name in PRESETS)
    assert f"{lm.cost(PRESETS['small']).parameters:,}" in shown


def test_a_stream_is_the_text(typed):
    words = ("generate", "tales", "This is a", "--max-tokens", "30", "--seed", "4")
    assert typed(*words)[1] == typed(*words, "--stream")[1]


def test_prompts_go_from_a_file_to_a_file(typed):
    Path("prompts.txt").write_text("This is a\nDo you know\n")
    code, _, _ = typed("generate", "tales", "--prompt-file", "prompts.txt", "--output", "out.jsonl",
                       "--max-tokens", "5")
    rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert code == 0 and [row["prompt"] for row in rows] == ["This is a", "Do you know"]


def test_chat_answers_until_an_empty_line():
    _, shown = in_terminal("chat", "tales", "--max-tokens", "3", keys="This is a\n\n", after="> ")
    assert shown.count("begin (empty to stop)>") == 2 and "This is a" in shown


def test_the_evaluation_is_that_of_the_package(typed):
    shown = json.loads(typed("evaluate", "tales", "--part", "val", "--docs", "5", "--json")[1])
    model, tok = load("tales")
    score = lm.evaluate(model, lm.data.splits("tales")["val"][:5], tok)
    assert shown["nats_per_token"] == pytest.approx(score.nats_per_token)


def test_the_demo_stands_between_guessing_and_entropy(typed):
    code, shown, wrong = typed("demo", "--seconds", "1")
    assert code == 0, wrong
    found = re.search(r"guessing (\S+) → this model (\S+) → .* (\S+)\n", shown)
    guess, model, entropy = map(float, found.groups())
    assert guess > model > entropy > 0.1
    assert "temperature 0.7, beginning with 'Long ago a':\nLong ago a" in shown


def test_the_course_is_on_the_shelf(typed):
    code, shown, _ = typed("data", "verify", "names", "tales")
    assert code == 0 and "here" in shown and "written" in shown


def test_a_box_becomes_a_line():
    box = "╭─ Unrecognized options ─╮\n│ Unrecognized options: --x │\n│ ───── │\n│ Perhaps you meant: │\n" \
          "│     --xy INT │\n│ ───── │\n│ For full helptext, run y │\n╰──╯"
    assert one_line(box, "y") == "Unrecognized options: --x; did you mean --xy?; see lmcore y --help"
