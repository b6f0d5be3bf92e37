"""Turn the templates of a grammar into `code`: texts and choices, as `choices` describes them."""
import difflib
import re
from collections.abc import Callable

from lmcore.grammar.choices import Choice, Env, Option, Record, replaced
from lmcore.grammar.reading import Tables

TOKEN = re.compile(r"\{([^{}]*)\}|([\[\]|])|([^\[\]{}|]+)|(.)", re.S)
REFERENCE = re.compile(r"(?P<forget>-(?=\w+$))?(?:(?P<article>[aA]) )?(?P<name>[A-Za-z]\w*)"
                       r"(?:(?P<now>!)|=(?P<value>[^?]+)|(?:\.(?P<field>\w+))?(?:\?(?P<probe>\w+))?)")


class Place:
    """Where a template stands, so that whatever is wrong in it can be reported."""

    def __init__(self, tables: Tables, table: str, key: str, text: str):
        self.tables, self.table, self.key, self.text = tables, table, key, text

    def __str__(self) -> str:
        return self.tables.where(self.table, self.key, self.text)

    def fail(self, reason: str) -> None:
        self.tables.fail(self.table, self.key, reason, self.text)


class Compiler:
    """Compile what the start rule reaches. A text begins at `code[entry]`; `code[0]`, "", is its end."""

    def __init__(self, tables: Tables):
        self.tables = tables
        self.code: list[str | int | Choice] = [""]
        self.bodies: dict[tuple, int] = {}      # equal bodies are stored once
        self.choices: dict[tuple, Choice] = {}  # and so are equal references
        self.reached = {variable.lexicon for variable in tables.variables.values()}
        self.entry = self.store([self.rule(tables.start, False)])
        for table in ("rules", "variables", "lexicons"):
            for key in tables.raw[table]:
                if key not in self.reached:
                    tables.fail(table, key, f"nothing from {tables.start!r} on reaches it; use it or drop it")

    def store(self, ops: list[str | Choice]) -> int:
        """Put a body into `code`, and say where."""
        if tuple(ops) not in self.bodies:
            body = self.bodies[tuple(ops)] = len(self.code)
            self.code += [*ops, body]
        return self.bodies[tuple(ops)]

    def body(self, items: list, capital: bool, place: Place) -> int:
        """Compile the items of a template, the first of them with a capital if asked for."""
        ops: list[str | Choice] = []
        for item in items:
            silent = False
            if isinstance(item, str):
                ops.append(re.sub(r"\w", lambda first: first[0].upper(), item, count=1) if capital else item)
            elif isinstance(item, list):
                ops.append(Choice(str(place), [Option(1, self.body(each, capital, place)) for each in item]))
            else:
                silent = bool(item["forget"] or item["now"] or item["value"])
                ops.append(self.reference(item, capital, silent, place))
            capital = capital and silent
        if capital:
            place.fail(f"a capital is asked for where {place.text!r} may write nothing")
        return self.store(ops)

    def rule(self, name: str, capital: bool) -> Choice:
        self.reached.add(name)
        if (name, capital) in self.choices:
            return self.choices[name, capital]
        choice = self.choices[name, capital] = Choice(self.tables.where("rules", name))
        for text, weight, test, reads in self.tables.rules[name]:
            place = Place(self.tables, "rules", name, text)
            body = self.body(parse(text, place), capital, place)
            if test is None and any(o.body == body and o.test is None for o in choice.options):
                place.fail(f"the alternative {text!r} stands twice; give it a weight instead")
            choice.options.append(Option(weight, body, test=test))
            choice.needs |= reads
        choice.reads = tuple(sorted(choice.needs))
        return choice

    def reference(self, item: re.Match, capital: bool, silent: bool, place: Place) -> Choice:
        """The choice that a reference such as `{Hero.sub}` stands for."""
        name = item["name"][0].lower() + item["name"][1:]
        capital = capital or item["name"][0].isupper() or item["article"] == "A"
        if name in self.tables.rules:
            if item[0] != item["name"]:
                place.fail(f"{name!r} is a rule, so {{{item[0]}}} says nothing")
            return self.rule(name, capital)
        lexicon = self.tables.variables[name].lexicon if name in self.tables.variables else name
        if lexicon not in self.tables.records:
            known = [*self.tables.rules, *self.tables.variables, *self.tables.records]
            hint = "".join(f"; is it {close!r}?" for close in difflib.get_close_matches(name, known, 1))
            place.fail(f"unknown symbol {name!r}{hint}")
        self.reached.add(name)
        if (silent or item["probe"]) and name not in self.tables.variables:
            place.fail(f"{{{item[0]}}} needs a variable, and {name!r} is a lexicon")
        if item["forget"] or item["value"]:
            return self.assignment(item, name, lexicon, place)
        fields = vars(self.tables.records[lexicon][0][1])
        field = item["field"] or next(iter(fields))
        if field not in fields:
            place.fail(f"{name!r} has no field {field!r}")
        key = name, "" if silent else field, capital, item["article"], item["probe"] or ""
        if key not in self.choices:
            self.choices[key] = Choice("")
            self.fill(self.choices[key], lexicon, *key)
        return self.choices[key]

    def assignment(self, item: re.Match, name: str, lexicon: str, place: Place) -> Choice:
        """`{-x}` forgets, `{x=value}` sets. The only option there is, and it writes nothing."""
        records = [record for _, record in self.tables.records[lexicon] if str(record) == item["value"]]
        if item["value"] and len(records) != 1:
            place.fail(f"{len(records)} records of {lexicon!r} begin with {item['value']!r}; one must")
        return Choice(str(place), [Option(1, self.store([]), self.tables.slots[name], *records)])

    def fill(self, choice: Choice, lexicon: str, name: str, field: str, capital: bool, article: str | None,
             probe: str) -> None:
        """Give its options to a choice that writes a field of a variable, or of a fresh draw."""
        variable = self.tables.variables.get(name)
        choice.slot, choice.probe = self.tables.slots.get(name), probe
        choice.where = self.tables.where("variables" if variable else "lexicons", name)
        for weight, record in self.tables.records[lexicon]:
            text = str(getattr(record, field)) if field else ""
            place = Place(self.tables, "lexicons", lexicon, text)
            items = parse(text, place)
            if (article or probe) and items != [text]:
                place.fail(f"a/an and probes need a plain text, and {text!r} is none")
            if article:
                items = ["an " + text if text[0] in "aeiouAEIOU" else "a " + text]
            body = self.body(items, capital and bool(field), place)
            test = _may_hold(choice.slot, record, variable.unlike, variable.test) if variable else None
            choice.options.append(Option(weight, body, choice.slot, record if variable else None, test))
        if variable:
            choice.needs = variable.reads
            choice.reads = tuple(sorted({choice.slot} | variable.unlike | variable.reads))


def _may_hold(slot: int, record: Record, unlike: set[int], test: Callable | None) -> Callable[[Env], bool]:
    """A function that says whether the variable in `slot` holds this record, or may yet be given it."""
    def allowed(env: Env) -> bool:
        if env[slot] is not None:
            return env[slot] is record
        if any(env[other] is record for other in unlike):
            return False
        return test is None or test(replaced(env, slot, record))
    return allowed


def parse(template: str, place: Place) -> list:
    """The items of a template: a str, a match of REFERENCE, or a list of lists of items for `[one|other]`."""
    levels: list[list[list]] = [[[]]]
    for inside, mark, text, stray in TOKEN.findall(template):
        if text:
            levels[-1][-1].append(text)
        elif mark == "[":
            levels.append([[]])
        elif mark == "|" and len(levels) > 1:
            levels[-1].append([])
        elif mark == "]" and len(levels) > 1:
            inline = levels.pop()
            levels[-1][-1].append(inline)
        elif match := REFERENCE.fullmatch(inside):
            levels[-1][-1].append(match)
        else:
            place.fail(f"cannot read {stray or mark or '{' + inside + '}'!r} in {template!r}")
    if len(levels) > 1:
        place.fail(f"a [ is never closed in {template!r}")
    return levels[0][0]
