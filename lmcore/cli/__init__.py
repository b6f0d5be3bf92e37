"""The `lmcore` command: each of its commands is a frozen record whose comments are the help of its options.

What computes is elsewhere in the package, for notebooks too; here texts are named, errors made one line, and
the exit code is chosen: 0 done; 1 the work failed; 2 what was given cannot be used; 130 interrupted.
"""
import contextlib
import importlib
import inspect
import io
import os
import sys
from collections.abc import Callable, Sequence

from lmcore import __version__

COMMANDS = {            # name: where it is, and what it does
    "info": ("models.Info", "what a preset or a trained model costs: parameters, operations, memory"),
    "demo": ("demo.Demo", "in a minute: train on tales, compare with their entropy, write some"),
    "data": ("texts.Data", "the course's texts: list them, fetch them, verify them"),
    "analyze": ("texts.Analyze", "look at a text: documents, lengths, vocabulary, and what they suggest"),
    "tokenizer": ("texts.Tokenizer", "learn a vocabulary from a text"),
    "prepare": ("texts.Prepare", "clean a text, cut it in parts, and write it as tokens on disk"),
    "train": ("train.Train", "train a model on a text; the text's name is enough"),
    "generate": ("models.Generate", "continue texts with a trained model"),
    "chat": ("models.Chat", "the same in conversation, line by line"),
    "evaluate": ("models.Evaluate", "loss, perplexity and bits per byte on a text, with intervals"),
}
USAGE = """usage: lmcore COMMAND [options]

{commands}

  lmcore train book.txt               train on a text of yours; all else is chosen for you
  lmcore generate tales "This is a"   write with the tales model, which comes with the course
  lmcore COMMAND --help               the options of a command, with examples
  lmcore --version                    which version this is

exit codes    0 done; 1 the work failed; 2 what was given cannot be used; 130 interrupted
completion    lmcore --tyro-print-completion bash > ~/.local/share/bash-completion/completions/lmcore
              (also zsh, tcsh)
a fault       LMCORE_DEBUG=1 lmcore ... shows where in the code an error was raised
"""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; an error becomes one line and an exit code."""
    try:
        run(list(sys.argv[1:] if args is None else args))
        sys.stdout.flush()
        return 0
    except SystemExit as ended:
        return ended.code or 0
    except KeyboardInterrupt as ended:
        return said(f"interrupted; {ended}" if str(ended) else "interrupted", 130)
    except BrokenPipeError:             # whoever read our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("LMCORE_DEBUG"):
            raise
        return said(*explained(error))


def explained(error: Exception) -> tuple[str, int]:
    """What an error says, and its exit code."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror and error.filename:
        text = f"{error.strerror}: {error.filename}"
    if isinstance(error, (ValueError, FileNotFoundError, IsADirectoryError, NotADirectoryError)):
        return text, 2
    if isinstance(error, (LookupError, TypeError, AttributeError, NameError, AssertionError)):
        return f"a fault of lmcore itself, {type(error).__name__}: {text} (LMCORE_DEBUG=1 shows where)", 1
    return text or type(error).__name__, 1


def said(text: str, code: int) -> int:
    """Put one line on stderr, whatever the text, and give the code back."""
    print(f"lmcore: {' '.join(text.split())}", file=sys.stderr)
    return code


def run(args: list[str]) -> None:
    """Do what the words of the command line ask."""
    name, rest = (args[0], args[1:]) if args else ("--help", [])
    if name in ("-h", "--help"):
        print(USAGE.format(commands="\n".join(f"  {key:<9}  {what}" for key, (_, what) in COMMANDS.items())))
    elif name == "--version":
        print(f"lmcore {__version__}")
    elif name.startswith("--tyro-"):
        import tyro

        kinds = {key: command(key) for key in COMMANDS}
        tyro.extras.subcommand_cli_from_dict(kinds, prog="lmcore", args=args,
                                             config=[tyro.conf.FlagCreatePairsOff])
    elif name in COMMANDS:
        parsed(name, rest)()
    else:
        from difflib import get_close_matches

        close = get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(COMMANDS)}"
        raise ValueError(f"no command {name!r}; {hint}")


def command(name: str) -> type:
    """The record of a command, imported only now: some bring torch with them."""
    place, _, kind = COMMANDS[name][0].partition(".")
    return getattr(importlib.import_module(f"lmcore.cli.{place}"), kind)


def parsed(name: str, args: list[str]) -> Callable[[], None]:
    """A command with its options filled in from the words.

    Raises: ValueError, in one line, for words that do not fit.
    """
    import tyro

    kind, complaint = command(name), io.StringIO()
    examples = "\n".join(f"  {line}" for line in kind.EXAMPLES)
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(kind, prog=f"lmcore {name}", args=args, config=[tyro.conf.FlagCreatePairsOff],
                            description=f"{inspect.getdoc(kind)}\n\nexamples\n{examples}")
    except SystemExit as ended:
        if not ended.code:
            raise
        raise ValueError(one_line(complaint.getvalue(), name)) from None


def one_line(box: str, name: str) -> str:
    """What tyro says in a box, as one line."""
    lines = [line.strip("│╭╮╰╯ ") for line in box.splitlines()[1:-1]]
    parts = " ".join("|" if line.startswith("──") else line for line in lines).split("|")
    near = [part.split()[3].rstrip(",") for part in parts if part.split()[:3] == ["Perhaps", "you", "meant:"]]
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{parts[0].strip().rstrip('.')}{hint}; see lmcore {name} --help"
