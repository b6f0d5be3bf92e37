"""Read a grammar from TOML and turn it into one list of texts and choices, which `Grammar` walks.

The list `code` holds bodies one after the other. A body is a run of texts (str) and `Choice`s, closed by a
return (int). A choice has options, and each option is a body. A rule, a variable, `[one|other]`: all are choices.
"""
import ast
import difflib
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field

TABLES = {"forms": "form", "lexicons": "lexicon", "variables": "variable", "rules": "rule"}
TOKEN = re.compile(r"\{([^{}]*)\}|([\[\]|])|([^\[\]{}|]+)|(.)", re.S)
REFERENCE = re.compile(r"(?P<forget>-)?(?:(?P<article>[aA]) )?(?P<name>[A-Za-z]\w*)"
                       r"(?:(?P<now>!)|=(?P<value>[^?]+)|(?:\.(?P<field>\w+))?(?:\?(?P<probe>\w+))?)")
ALLOWED = (ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.Compare, ast.Eq, ast.NotEq,
           ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.BinOp, ast.Add, ast.Sub, ast.Attribute,
           ast.Name, ast.Load, ast.Constant, ast.Tuple)
Env = tuple["Record | None", ...]  # one place for each variable


class GrammarError(ValueError):
    """A grammar that cannot be used: the message says which rule, on which line, and why."""


class Record:
    """One entry of a lexicon; its fields are attributes."""

    def __init__(self, fields: dict):
        self.__dict__.update(fields)

    def __repr__(self) -> str:
        return repr(next(iter(vars(self).values())))


def replaced(env: Env, slot: int, record: Record | None) -> Env:
    return env[:slot] + (record,) + env[slot + 1:]


@dataclass(slots=True, eq=False)
class Option:
    """One way to go on: write a body, and bind a variable if `slot` is not None."""
    weight: int
    body: int                                       # where it begins in `code`
    slot: int | None = None
    record: Record | None = None
    test: Callable[[Env], bool] | None = None       # open when it holds; None is always

    def allowed(self, env: Env) -> bool:
        return self.test is None or self.test(env)

    def bind(self, env: Env) -> Env:
        """The variables after this option is taken."""
        return env if self.slot is None else replaced(env, self.slot, self.record)


@dataclass(slots=True, eq=False)
class Choice:
    """Options with weights. Which of them are open depends on the variables in `reads` and nothing else."""
    where: str                                      # "rule 'end', line 12", for messages
    reads: tuple[int, ...] = ()
    options: list[Option] = field(default_factory=list)
    slot: int | None = None                         # the variable it shows
    needs: frozenset[int] = frozenset()             # the variables its conditions name, but that one
    probe: str | None = None
    seen: dict = field(default_factory=dict)

    def open(self, env: Env) -> tuple[int, list[Option]]:
        """The open options, and their total weight.

        Raises: GrammarError if all are closed.
        """
        key = tuple([env[i] for i in self.reads])
        if key not in self.seen:
            options = [o for o in self.options if o.allowed(env)]
            if not options:
                raise GrammarError(f"{self.where}: every alternative is closed when its conditions meet "
                                   f"{', '.join(map(str, key))}; add one without `when`")
            self.seen[key] = sum(o.weight for o in options), options
        return self.seen[key]


class Reader:
    """Compile `source`. Afterwards: `code`, `entry` (where a text begins), `slots`, `categories`."""

    def __init__(self, source: str, name: str):
        self.source, self.name = source, name
        try:
            tables = tomllib.loads(source)
        except tomllib.TOMLDecodeError as error:
            raise GrammarError(f"{name}: not valid TOML: {error}") from None
        for key, value in tables.items():
            if key != "start" and (key not in TABLES or not isinstance(value, dict)):
                raise GrammarError(f"{name}: unknown top-level entry {key!r}; a grammar has start, [forms], "
                                   "[lexicons], [variables], [rules]")
        self.forms, self.lexicons, self.variables, self.rules = (tables.get(t, {}) for t in TABLES)
        self.code: list[str | int | Choice] = [""]  # code[0]: the end of the text
        self.bodies: dict[tuple, int] = {}
        self.made: dict[tuple, Choice] = {}
        self._check_names()
        self.records = {lexicon: self._records(lexicon) for lexicon in self.lexicons}
        self.slots = {variable: i for i, variable in enumerate(self.variables)}
        self.drawn = {variable: self._variable(variable) for variable in self.variables}
        start = tables.get("start")
        if start not in self.rules:
            raise GrammarError(f"{name}: start must name a rule, got {start!r}")
        self.entry = self._body([self._rule(start, False)])
        for table, used in (("rules", 0), ("variables", 0), ("lexicons", 1)):
            for key in tables.get(table, {}):
                kinds = {k[used] for k in self.made} | {self.drawn[v][0] for v in self.variables}
                if key not in kinds:
                    self._fail(table, key, f"nothing that begins at {start!r} reaches it; use it or take it out")

    def _fail(self, table: str, key: str, reason: str, near: str = "") -> None:
        raise GrammarError(f"{self._where(table, key, near)}: {reason}") from None

    def _where(self, table: str, key: str, near: str = "") -> str:
        """Where `key` of `table` stands: the line with the text `near`, if it is found."""
        lines, here, found = self.source.splitlines(), "", 0
        for number, line in enumerate(lines, 1):
            if header := re.match(r"\[(\w+)\]\s*(#.*)?$", line):
                here = header[1]
            elif here == table and re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", line):
                found = number
                break
        if near and found:
            found = next((n for n in range(found, len(lines) + 1) if near[:60].split("\n")[0] in lines[n - 1]), found)
        return f"{self.name}, line {found}, {TABLES[table]} {key!r}"

    def _check_names(self) -> None:
        seen: dict[str, str] = {}
        for table in ("lexicons", "variables", "rules"):
            for key in getattr(self, table):
                if not re.fullmatch(r"[a-z][a-z0-9_]*", key):
                    self._fail(table, key, "a name has small letters, digits and _, and begins with a letter")
                if key in seen:
                    self._fail(table, key, f"the name is taken by a {seen[key]}")
                seen[key] = TABLES[table]

    def _records(self, lexicon: str) -> list[tuple[int, Record]]:
        """The weighted records of a lexicon, each with the same fields."""
        entries, records = self.lexicons[lexicon], []
        if not isinstance(entries, list) or not entries:
            self._fail("lexicons", lexicon, f"must be a list with at least one record, got {entries!r}")
        for entry in entries:
            fields = {"text": entry} if isinstance(entry, str) else entry
            if not isinstance(fields, dict):
                self._fail("lexicons", lexicon, f"a record is a string or a table of fields, got {entry!r}")
            near = str(next(iter(fields.values()), ""))
            if fields.get("like", next(iter(self.forms), "")) not in self.forms and "like" in fields:
                self._fail("lexicons", lexicon, f"like = {fields['like']!r} is not one of [forms]", near)
            fields = {**fields, **self.forms.get(fields.get("like"), {})}
            weight = self._weight(fields.pop("w", 1), "lexicons", lexicon, near)
            record = Record({k: v for k, v in fields.items() if k != "like"})
            wrong = [v for v in vars(record).values() if isinstance(v, bool) or not isinstance(v, str | int)]
            if wrong or not vars(record):
                self._fail("lexicons", lexicon, f"fields are strings or whole numbers, got {wrong or entry!r}", near)
            if records and (odd := vars(record).keys() - {"category"} ^ vars(records[0][1]).keys() - {"category"}):
                self._fail("lexicons", lexicon, f"record {record} and the first differ in fields: {sorted(odd)}", near)
            records.append((weight, record))
        return records

    def _weight(self, weight: object, table: str, key: str, near: str) -> int:
        if type(weight) is not int or weight < 1:
            self._fail(table, key, f"a weight is a whole number from 1 up, got {weight!r}", near)
        return weight

    def _variable(self, variable: str) -> tuple:
        """The lexicon a variable draws from, the slots it differs from, its condition."""
        drawn = self.variables[variable]
        drawn = {"of": drawn} if isinstance(drawn, str) else drawn
        if not isinstance(drawn, dict) or not drawn.keys() <= {"of", "unlike", "when"}:
            self._fail("variables", variable, f"is a lexicon's name or a table with of, unlike, when; got {drawn!r}")
        if drawn.get("of") not in self.lexicons:
            self._fail("variables", variable, f"unknown lexicon {drawn.get('of')!r}")
        return drawn["of"], self._unlike(variable), self._guard(drawn.get("when"), "variables", variable)

    def _unlike(self, variable: str) -> set[int]:
        """The slots of the variables that must differ from this one; whoever says so, it is mutual."""
        result = set()
        for mine, drawn in self.variables.items():
            others = drawn.get("unlike", []) if isinstance(drawn, dict) else []
            others = [others] if isinstance(others, str) else others
            for other in others:
                if other not in self.variables or other == mine:
                    self._fail("variables", mine, f"unlike names {other!r}, which is no other variable")
            result |= {self.slots[o] for o in others} if mine == variable else \
                {self.slots[mine]} if variable in others else set()
        return result

    def _guard(self, when: str | None, table: str, key: str) -> Callable | None:
        """A function of the environment that says whether the condition `when` holds.

        A variable not yet bound makes it true; `checking` proves that this never happens while writing.
        """
        if when is None:
            return None
        try:
            tree = ast.parse(when, mode="eval")
        except (SyntaxError, TypeError):
            self._fail(table, key, f"cannot read the condition {when!r}", str(when))
        for node in ast.walk(tree):
            if not isinstance(node, ALLOWED):
                self._fail(table, key, f"{type(node).__name__} is not allowed in the condition {when!r}", when)
            if isinstance(node, ast.Name) and node.id not in self.variables:
                self._fail(table, key, f"the condition {when!r} names {node.id!r}, which is no variable", when)
            if isinstance(node, ast.Attribute):
                owner = node.value.id if isinstance(node.value, ast.Name) else "?"
                lexicon = self.variables.get(owner, "")
                lexicon = lexicon.get("of") if isinstance(lexicon, dict) else lexicon
                if lexicon in self.records and node.attr not in vars(self.records[lexicon][0][1]):
                    self._fail(table, key, f"{owner!r} has no field {node.attr!r} in the condition {when!r}", when)
        names = {n.id: self.slots[n.id] for n in ast.walk(tree) if isinstance(n, ast.Name)}
        program = compile(tree, when, "eval")

        def holds(env: Env) -> bool:
            scope = {name: env[slot] for name, slot in names.items()}
            return None in scope.values() or bool(eval(program, {"__builtins__": {}}, scope))

        holds.slots = frozenset(names.values())
        return holds

    def _parse(self, template: str, table: str, key: str) -> list:
        """A template's items: a str, a match of REFERENCE, or a list of lists for `[one|other]`."""
        open_lists: list[list[list]] = [[[]]]
        for reference, mark, text, stray in TOKEN.findall(template):
            if text:
                open_lists[-1][-1].append(text)
            elif mark == "[":
                open_lists.append([[]])
            elif mark == "|" and len(open_lists) > 1:
                open_lists[-1].append([])
            elif mark == "]" and len(open_lists) > 1:
                done = open_lists.pop()
                open_lists[-1][-1].append(done)
            elif not stray and not mark and (match := REFERENCE.fullmatch(reference)):
                open_lists[-1][-1].append(match)
            else:
                bad = stray or mark or "{" + reference + "}"
                self._fail(table, key, f"cannot read {bad!r} in {template!r}", template)
        if len(open_lists) > 1:
            self._fail(table, key, f"a [ is never closed in {template!r}", template)
        return open_lists[0][0]

    def _body(self, ops: list) -> int:
        """Store a body in `code` and say where; equal bodies are stored once."""
        if tuple(ops) not in self.bodies:
            entry = self.bodies[tuple(ops)] = len(self.code)
            self.code += [*ops, entry]
        return self.bodies[tuple(ops)]

    def _compile(self, items: list, capital: bool, table: str, key: str, near: str) -> int:
        ops: list[str | Choice] = []
        for item in items:
            if isinstance(item, str):
                ops.append(re.sub(r"\w", lambda m: m[0].upper(), item, count=1) if capital else item)
                capital = False
            elif isinstance(item, list):
                choice = Choice(self._where(table, key, near))
                for body in (self._compile(each, capital, table, key, near) for each in item):
                    choice.options.append(Option(1, body))
                ops.append(choice)
                capital = False
            else:
                silent = item["forget"] or item["now"] or item["value"]
                ops.append(self._refer(item, capital, table, key, near))
                capital = capital and bool(silent)
        if capital:
            self._fail(table, key, "a capital is asked for an alternative that may be empty", near)
        return self._body(ops)

    def _refer(self, item: re.Match, capital: bool, table: str, key: str, near: str) -> Choice:
        """The choice that a reference such as `{Hero.sub}` stands for."""
        name = item["name"][0].lower() + item["name"][1:]
        capital = capital or item["name"][0].isupper() or item["article"] == "A"
        if name in self.rules:
            if item[0] not in (name, item["name"]):
                self._fail(table, key, f"{item[0]!r}: {name!r} is a rule, and a rule has no fields", near)
            return self._rule(name, capital)
        lexicon = self.drawn[name][0] if name in self.variables else name
        if lexicon not in self.lexicons:
            known = [*self.rules, *self.variables, *self.lexicons]
            near_names = difflib.get_close_matches(name, known, 1)
            self._fail(table, key, f"unknown symbol {name!r}" + (f"; is it {near_names[0]!r}?" if near_names else ""),
                       "{" + item[0] + "}")
        shown = item["field"] or next(iter(vars(self.records[lexicon][0][1])))
        if shown not in vars(self.records[lexicon][0][1]):
            self._fail(table, key, f"{name!r} has no field {shown!r}", "{" + item[0] + "}")
        silent = item["forget"] or item["now"] or item["value"]
        if (silent or item["probe"]) and name not in self.variables:
            self._fail(table, key, f"{item[0]!r} needs a variable, and {name!r} is a lexicon", near)
        if silent:
            return self._silent(item, name, lexicon, table, key)
        return self._show(name, lexicon, shown, capital, bool(item["article"]), item["probe"])

    def _rule(self, rule: str, capital: bool) -> Choice:
        if (rule, "", capital) in self.made:
            return self.made[rule, "", capital]
        choice = self.made[rule, "", capital] = Choice(self._where("rules", rule))
        alternatives = self.rules[rule]
        alternatives = [alternatives] if isinstance(alternatives, str | dict) else alternatives
        if not isinstance(alternatives, list) or not alternatives:
            self._fail("rules", rule, f"needs at least one alternative, got {alternatives!r}")
        reads: set[int] = set()
        for each in alternatives:
            each = {"text": each} if isinstance(each, str) else each
            if not isinstance(each, dict) or not isinstance(each.get("text"), str) or \
                    not each.keys() <= {"text", "w", "when"}:
                self._fail("rules", rule, f"an alternative is a string or has text, w, when; got {each!r}")
            text = each["text"]
            test = self._guard(each.get("when"), "rules", rule)
            body = self._compile(self._parse(text, "rules", rule), capital, "rules", rule, text)
            if any(o.body == body and o.test is test is None for o in choice.options):
                self._fail("rules", rule, f"the alternative {text!r} stands twice; give it a weight instead", text)
            choice.options.append(Option(self._weight(each.get("w", 1), "rules", rule, text), body, test=test))
            reads |= test.slots if test else set()
        choice.needs = frozenset(reads)
        choice.reads = tuple(sorted(reads))
        return choice

    def _silent(self, item: re.Match, name: str, lexicon: str, table: str, key: str) -> Choice:
        """`{-x}` forgets, `{x=value}` sets, `{x!}` chooses; none of them writes."""
        slot, nothing = self.slots[name], self._body([])
        if item["now"]:
            return self._show(name, lexicon, None, False, False, None)
        records = [None] if item["forget"] else \
            [r for _, r in self.records[lexicon] if str(next(iter(vars(r).values()))) == item["value"]]
        if len(records) != 1:
            self._fail(table, key, f"{len(records)} records of {lexicon!r} begin with {item['value']!r}", item[0])
        self.made.setdefault((name, lexicon), Choice(""))
        return Choice(self._where(table, key), (), [Option(1, nothing, slot, records[0])])

    def _show(self, name: str, lexicon: str, shown: str | None, capital: bool, article: bool,
              probe: str | None) -> Choice:
        """Write a field of a variable, which is bound if it is not yet, or of a fresh draw from a lexicon."""
        signature = name, lexicon, shown, capital, article, probe
        if signature in self.made:
            return self.made[signature]
        slot = self.slots.get(name)
        where = self._where("lexicons", name) if slot is None else self._where("variables", name)
        choice = self.made[signature] = Choice(where, slot=slot, probe=probe)
        _, unlike, guard = self.drawn.get(name, (lexicon, set(), None))
        for weight, record in self.records[lexicon]:
            text = str(getattr(record, shown)) if shown else ""
            items = self._parse(text, "lexicons", lexicon)
            if article:
                if not items or not isinstance(items[0], str):
                    self._fail("lexicons", lexicon, f"a/an needs a plain text, and {text!r} is none", text)
                items = ["an " if text[0] in "aeiouAEIOU" else "a ", *items]
            if probe and items != [text]:
                self._fail("lexicons", lexicon, f"a probe needs plain texts, and {text!r} is none", text)
            body = self._compile(items, capital, "lexicons", lexicon, text)
            test = None if slot is None else _may_bind(slot, record, unlike, guard)
            choice.options.append(Option(weight, body, slot, record, test))
        if slot is not None:
            choice.needs = (guard.slots if guard else frozenset()) - {slot}
            choice.reads = tuple(sorted({slot} | unlike | choice.needs))
        return choice

    def categories(self) -> dict[str, list[str]]:
        """The words of each kind: of a record, the last word of its first field."""
        words: dict[str, dict[str, None]] = {}
        for lexicon, records in self.records.items():
            for fields in (vars(record) for _, record in records):
                words.setdefault(fields.get("category", lexicon), {})[str(next(iter(fields.values()))).split()[-1]] = None
        return {category: list(found) for category, found in words.items()}


def _may_bind(slot: int, record: Record, unlike: set[int], guard: Callable | None) -> Callable[[Env], bool]:
    def test(env: Env) -> bool:
        if env[slot] is not None:
            return env[slot] is record
        if any(env[other] is record for other in unlike):
            return False
        return guard is None or guard(replaced(env, slot, record))
    return test
