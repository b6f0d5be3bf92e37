"""What a grammar is once it is read: one list, `code`, of texts and choices.

`code` holds bodies one after the other. A body is a run of texts (str) and choices, closed by a return (an
int: where the body began). Each option of a choice goes to a body. Rules, variables, `[a|b]`: all choices.
"""
from collections.abc import Callable
from dataclasses import dataclass, field


class GrammarError(ValueError):
    """A grammar that cannot be used: the message says which rule, on which line, and why."""


class Record:
    """One entry of a lexicon; its fields are attributes."""

    def __init__(self, fields: dict[str, str | int]):
        self.__dict__.update(fields)

    def __str__(self) -> str:
        return str(next(iter(vars(self).values())))


Env = tuple[Record | None, ...]  # what each variable holds


def replaced(env: Env, slot: int, record: Record | None) -> Env:
    return env[:slot] + (record,) + env[slot + 1:]


@dataclass(slots=True, eq=False)
class Option:
    """One way to go on: bind a variable, if `slot` is not None, and write a body."""
    weight: int
    body: int                                       # where it begins in `code`
    slot: int | None = None                         # the variable's place in the environment
    record: Record | None = None                    # None forgets the variable
    test: Callable[[Env], bool] | None = None       # open while it holds; None is always

    def bind(self, env: Env) -> Env:
        return env if self.slot is None else replaced(env, self.slot, self.record)


@dataclass(slots=True, eq=False)
class Choice:
    """Options with weights. Which of them are open depends on the variables in `reads`, on nothing else."""
    where: str                                      # for messages, such as "tales.toml, line 12, rule 'end'"
    options: list[Option] = field(default_factory=list)
    reads: tuple[int, ...] = ()
    needs: frozenset[int] = frozenset()             # those that its conditions name
    slot: int | None = None                         # the variable that it writes
    probe: str = ""
    seen: dict = field(default_factory=dict)

    def ways(self, env: Env) -> tuple[int, list[Option]]:
        """The total weight of the open options, and those options."""
        key = tuple([env[slot] for slot in self.reads])
        if key not in self.seen:
            options = [option for option in self.options if option.test is None or option.test(env)]
            self.seen[key] = sum(option.weight for option in options), options
        return self.seen[key]

    def open(self, env: Env) -> tuple[int, list[Option]]:
        """As `ways`, where there must be one.

        Raises: GrammarError if all options are closed.
        """
        total, options = self.ways(env)
        if not options:
            met = ", ".join(str(env[slot]) for slot in self.reads if env[slot])
            raise GrammarError(f"{self.where}: every alternative is closed when its conditions meet {met}; "
                               "leave one open")
        return total, options
