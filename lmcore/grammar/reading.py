"""Read the tables of a grammar file and check each entry; say on which line a wrong one stands."""
import ast
import re
import tomllib
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from lmcore.grammar.choices import Env, GrammarError, Record

KINDS = {"forms": "form", "lexicons": "lexicon", "variables": "variable", "rules": "rule"}
CONDITION = (ast.Expression, ast.BoolOp, ast.boolop, ast.UnaryOp, ast.Not, ast.Compare, ast.cmpop, ast.BinOp,
             ast.Add, ast.Sub, ast.Attribute, ast.Name, ast.Load, ast.Constant, ast.Tuple)


class Alternative(NamedTuple):
    """One way to write a rule."""
    text: str
    weight: int
    test: Callable[[Env], bool] | None
    reads: frozenset[int]


class Variable(NamedTuple):
    """Where a variable's records come from, and what they depend on."""
    lexicon: str
    unlike: set[int]
    test: Callable[[Env], bool] | None
    reads: frozenset[int]


class Tables:
    """A grammar file as checked tables: `records` by lexicon, `variables`, `rules`, and the `start`."""

    def __init__(self, source: str, name: str):
        self.lines, self.name = source.splitlines(), name
        try:
            raw = tomllib.loads(source)
        except tomllib.TOMLDecodeError as error:
            raise GrammarError(f"{name}: not valid TOML: {error}") from None
        for key, value in raw.items():
            if key != "start" and not (key in KINDS and isinstance(value, dict)):
                raise GrammarError(f"{name}: {key!r} does not belong at the top; a grammar has start, "
                                   "[forms], [lexicons], [variables] and [rules]")
        self.raw = {table: raw.get(table, {}) for table in KINDS}
        self._check_names()
        self.records = {lexicon: self._records(lexicon) for lexicon in self.raw["lexicons"]}
        self.slots = {variable: slot for slot, variable in enumerate(self.raw["variables"])}
        self.sources = {variable: self._source(variable) for variable in self.slots}
        self.variables = {variable: self._variable(variable) for variable in self.slots}
        self.rules = {rule: self._alternatives(rule) for rule in self.raw["rules"]}
        self.start = raw.get("start")
        if self.start not in self.rules:
            raise GrammarError(f"{name}: start must name the rule a text begins with, got {self.start!r}")

    def where(self, table: str, key: str, near: str = "") -> str:
        """Where `key` of `table` stands, or below it the first line that holds `near`."""
        here, found = "", 0
        for number, line in enumerate(self.lines, 1):
            if header := re.match(r"\[(\w+)\]\s*(#.*)?$", line):
                here = header[1]
            elif here == table and not found and re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", line):
                found = number
            if found and near.split("\n")[0][:60] in line:
                return f"{self.name}, line {number}, {KINDS[table]} {key!r}"
        return f"{self.name}, line {found}, {KINDS[table]} {key!r}"

    def fail(self, table: str, key: str, reason: str, near: str = "") -> NoReturn:
        raise GrammarError(f"{self.where(table, key, near)}: {reason}")

    def _check_names(self) -> None:
        taken: dict[str, str] = {}
        for table, key in [(kind, name) for kind in list(KINDS)[1:] for name in self.raw[kind]]:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", key):
                self.fail(table, key, "a name has small letters, digits and _, and begins with a letter")
            if key in taken:
                self.fail(table, key, f"the name is taken by a {taken[key]}")
            taken[key] = KINDS[table]

    def _weight(self, weight: object, table: str, key: str, near: str) -> int:
        if type(weight) is not int or weight < 1:
            self.fail(table, key, f"a weight is a whole number from 1 up, got {weight!r}", near)
        return weight

    def _records(self, lexicon: str) -> list[tuple[int, Record]]:
        """The records of a lexicon with their weights. All have the same fields."""
        entries, records = self.raw["lexicons"][lexicon], []
        if not isinstance(entries, list) or not entries:
            self.fail("lexicons", lexicon, f"needs a list with at least one record, got {entries!r}")
        for entry in entries:
            fields = {"text": entry} if isinstance(entry, str) else entry
            if not isinstance(fields, dict) or not {type(value) for value in fields.values()} <= {str, int}:
                self.fail("lexicons", lexicon, "a record is a string or a table of strings and whole "
                                               f"numbers, got {entry!r}")
            near = str(next(iter(fields.values()), ""))
            form = fields.get("like")
            if form is not None and not isinstance(self.raw["forms"].get(form), dict):
                self.fail("lexicons", lexicon, f"{form!r} is not a table of [forms]", near)
            fields = fields | self.raw["forms"].get(form, {})
            weight = self._weight(fields.get("w", 1), "lexicons", lexicon, near)
            record = Record({key: value for key, value in fields.items() if key not in ("w", "like")})
            names = vars(record).keys()
            if not names or (records and names != vars(records[0][1]).keys()):
                self.fail("lexicons", lexicon, f"its records need the same fields, and {entry!r} has "
                                               f"{', '.join(sorted(names)) or 'none'}", near)
            records.append((weight, record))
        return records

    def _source(self, variable: str) -> dict:
        source = self.raw["variables"][variable]
        source = {"of": source} if isinstance(source, str) else source
        if not isinstance(source, dict) or not source.keys() <= {"of", "unlike", "when"}:
            self.fail("variables", variable, f"names a lexicon, or has of, unlike, when; got {source!r}")
        if source.get("of") not in self.records:
            self.fail("variables", variable, f"unknown lexicon {source.get('of')!r}")
        unlike = source.get("unlike", [])
        unlike = [unlike] if isinstance(unlike, str) else unlike
        if bad := [other for other in unlike if other not in self.slots or other == variable]:
            self.fail("variables", variable, f"unlike names {bad[0]!r}, which is no other variable")
        return {**source, "unlike": unlike}

    def _variable(self, variable: str) -> Variable:
        source = self.sources[variable]
        others = {other for other in self.slots if variable in self.sources[other]["unlike"]}
        unlike = {self.slots[other] for other in others.union(source["unlike"])}
        test, reads = self._condition(source.get("when"), "variables", variable)
        return Variable(source["of"], unlike, test, reads - {self.slots[variable]})

    def _alternatives(self, rule: str) -> list[Alternative]:
        raw, alternatives = self.raw["rules"][rule], []
        for entry in raw if isinstance(raw, list) else [raw]:
            fields = {"text": entry} if isinstance(entry, str) else entry
            if not isinstance(fields, dict) or not isinstance(fields.get("text"), str) or \
                    not fields.keys() <= {"text", "w", "when"}:
                self.fail("rules", rule, f"an alternative is a string, or has text, w, when; got {entry!r}")
            text = fields["text"]
            weight = self._weight(fields.get("w", 1), "rules", rule, text)
            test, reads = self._condition(fields.get("when"), "rules", rule)
            alternatives.append(Alternative(text, weight, test, reads))
        if not alternatives:
            self.fail("rules", rule, "is empty; it needs at least one alternative")
        return alternatives

    def _condition(self, when: str | None, table: str, key: str) -> tuple[Callable | None, frozenset[int]]:
        """A function that says whether the condition holds, and the slots of the variables it names.

        It holds while one of them is not chosen yet; `checking` makes sure that no writing depends on that.
        """
        if when is None:
            return None, frozenset()
        try:
            tree = ast.parse(when, mode="eval")
        except (SyntaxError, TypeError):
            self.fail(table, key, f"cannot read the condition {when!r}", str(when))
        for node in ast.walk(tree):
            if not isinstance(node, CONDITION):
                self.fail(table, key, f"{type(node).__name__} has no place in the condition {when!r}", when)
            if isinstance(node, ast.Name) and node.id not in self.slots:
                self.fail(table, key, f"the condition {when!r} names {node.id!r}, which is no variable", when)
            if isinstance(node, ast.Attribute):
                owner = ast.unparse(node.value)
                if owner not in self.slots or not self._has_field(owner, node.attr):
                    self.fail(table, key, f"{owner!r} has no field {node.attr!r}, as {when!r} says", when)
        slots = {node.id: self.slots[node.id] for node in ast.walk(tree) if isinstance(node, ast.Name)}
        program = compile(tree, "condition", "eval")

        def holds(env: Env) -> bool:
            scope = {name: env[slot] for name, slot in slots.items()}
            try:
                return None in scope.values() or bool(eval(program, {"__builtins__": {}}, scope))
            except TypeError as error:
                self.fail(table, key, f"the condition {when!r} mixes types: {error}", when)

        return holds, frozenset(slots.values())

    def _has_field(self, variable: str, field: str) -> bool:
        return field in vars(self.records[self.sources[variable]["of"]][0][1])
