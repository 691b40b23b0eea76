"""Which code, steps and settings a piece of this package reaches, read off the sources without running them.

- *Code*: the definitions that it names, those that they name, and so on. Of a class that is reached, those
  methods count whose names are mentioned somewhere in what is reached, and all where it extends another
  class. Comments, docstrings and formatting do not count.
- *Steps*: what it takes from the study, if that is a step. Where a step begins, code is followed no further.
- *Settings*: `profile.sizes.prompts` is that key, `profile.sizes` the whole section. The profile must go by
  this name and the study by `study`, or by `self` in its own methods, wherever they are passed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from functools import cache, cached_property
from pathlib import Path, PurePosixPath

from dpotox.profile import Profile

NO_TRACE_MODULES = {
    *("errors", "profile", "progress", "inputs.training_progress"),
    *("run.artifacts", "run.keys", "run.plan", "run.reach", "run.together", "run.workers"),
}
"""Modules that leave no trace in a result; what a profile says counts by its values."""
STUDY = "run.study", "Study"
SECTIONS = {f.name for f in fields(Profile)} - {"name", "title", "extends"}

Definition = tuple[str, str]
"""A module, without the package's name, and a name at its top, or a class and a method as `Class.method`."""


@dataclass
class Reached:
    """What a step reaches."""

    code: dict[Definition, str] = field(default_factory=dict)  # as text without comments and formatting
    attributes: set[str] = field(default_factory=set)  # every name after a dot
    data: dict[str, str] = field(default_factory=dict)  # TOML files by name
    steps: set[str] = field(default_factory=set)
    settings: set[str] = field(default_factory=set)


class Package:
    """The sources of this package, or of what a test makes of it.

    Args:
        sources: the text of every `.py` and `.toml` file by its path below the package, with slashes.
    """

    def __init__(self, sources: dict[str, str]) -> None:
        self.sources = sources
        self.data = {PurePosixPath(p).name: text for p, text in sources.items() if p.endswith(".toml")}
        self.modules = {
            p.removesuffix(".py").removesuffix("/__init__").replace("/", "."): _module(text)
            for p, text in sources.items()
            if p.endswith(".py")
        }
        self._known: dict[Definition, tuple[Reached, list[Definition]]] = {}

    @cached_property
    def members(self) -> dict[str, tuple[Definition, bool]]:
        """What makes each member of the study, in their order, and whether that is a step.

        It is a method, or a function of the study in another module: `name = step(TABLE)(module.function)`.
        """
        module, found = self.modules[STUDY[0]], {}
        for node in module.definitions[STUDY[1]].body:
            if isinstance(node, ast.FunctionDef):
                is_step = any(("step",) in _chains(mark) for mark in node.decorator_list)
                found[node.name] = (STUDY[0], f"{STUDY[1]}.{node.name}"), is_step
            elif isinstance(node, ast.Assign):
                (first, *after), *_ = _chains(node.value.args[0])
                (made_by,) = self._resolved([*module.imported[first].split("."), *after])
                found[node.targets[0].id] = made_by, ("step",) in _chains(node.value)
        return found

    @cached_property
    def steps(self) -> list[str]:
        """The names of all steps, in the order in which they stand."""
        return [name for name, (_, is_step) in self.members.items() if is_step]

    def step(self, name: str) -> Reached:
        """What a step reaches."""
        return self.reached(self.members[name][0])

    def reached(self, start: Definition) -> Reached:
        """What a definition reaches, itself included."""
        return self._from([start], Reached())

    def reached_by_code(self, code: str) -> Reached:
        """What a script reaches, such as a notebook."""
        module, found = _Module(code), Reached()
        return self._from(self._mentioned("", _seen(module.tree, module.imported), module, found), found)

    def _from(self, todo: list[Definition], found: Reached) -> Reached:
        methods: dict[str, list[Definition]] = {}  # of the classes reached, those that nobody has mentioned
        while todo:
            one = todo.pop()
            module, name = one
            if one in found.code or module in NO_TRACE_MODULES or one == STUDY:
                continue
            node = self.modules[module].node(name)
            if isinstance(node, ast.ClassDef):
                for method in _methods(node):
                    # What another library's class calls is mentioned nowhere here.
                    waiting = todo if node.bases else methods.setdefault(method, [])
                    waiting.append((module, f"{name}.{method}"))
            own, mentioned = self._of_definition(one)
            for part in fields(Reached):
                getattr(found, part.name).update(getattr(own, part.name))
            todo += mentioned
            for method in [m for m in methods if m in found.attributes or m.startswith("__")]:
                todo += methods.pop(method)
        return found

    def _of_definition(self, one: Definition) -> tuple[Reached, list[Definition]]:
        """What a definition reaches by itself, and the definitions that it mentions; found out once."""
        if one not in self._known:
            module, name = one
            seen = self.modules[module].seen(name)
            own = Reached(code={one: seen.text})
            self._known[one] = own, self._mentioned(module, seen, self.modules[module], own)
        return self._known[one]

    def _mentioned(self, module: str, seen: _Seen, names: _Module, found: Reached) -> list[Definition]:
        """The definitions that a piece of code mentions; attributes, settings and steps go into `found`."""
        todo: list[Definition] = []
        found.data.update({name: self.data[name] for name in seen.strings & self.data.keys()})
        for chain in seen.chains:
            found.attributes.update(chain[1:])
            if setting := _setting(chain):
                found.settings.add(setting)
            own = chain[0] == "self" and module == STUDY[0]
            if len(chain) > 1 and (own or chain[0] == "study"):
                todo += self._of_study(chain[1], found)
            if chain[0] in seen.imported:
                todo += self._resolved([*seen.imported[chain[0]].split("."), *chain[1:]])
            elif module and chain[0] in names.definitions:
                todo.append((module, chain[0]))
        return todo

    def _of_study(self, name: str, found: Reached) -> list[Definition]:
        """What `study.name` stands for: a step, of which what it returns is reached, or other code."""
        if name not in self.members:
            return []
        (module, made_by), is_step = self.members[name]
        if not is_step:
            return [(module, made_by)]
        found.steps.add(name)
        names = self.modules[module]
        returned = names.node(made_by).returns or ast.Pass()
        return self._mentioned(module, _seen(returned, names.imported), names, found)

    def _resolved(self, path: list[str]) -> list[Definition]:
        """The definition that a dotted path in this package leads to; of a module itself, all that it has."""
        for length in range(len(path), 0, -1):
            module = ".".join(path[:length])
            if module not in self.modules:
                continue
            there = self.modules[module]
            if length == len(path):
                return [(module, name) for name in there.definitions]
            name = path[length]
            if name in there.definitions:
                return [(module, name)]
            if name in there.imported:  # from where it was taken on
                return self._resolved([*there.imported[name].split("."), *path[length + 1 :]])
        return []


@dataclass(frozen=True)
class _Seen:
    """What stands in a piece of code."""

    text: str  # without comments, docstrings and formatting
    chains: set[tuple[str, ...]]  # names with what follows them
    strings: set[str]
    imported: dict[str, str]  # what its names are imported from


def _seen(node: ast.AST, imported: dict[str, str]) -> _Seen:
    constants = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
    strings = {value for value in constants if isinstance(value, str)}
    return _Seen(ast.dump(_plain(node)), set(_chains(node)), strings, imported)


class _Module:
    """A module's top-level definitions by name, and what it imports from this package."""

    def __init__(self, text: str) -> None:
        self.tree = ast.parse(text)
        for_types = [n for t in self.tree.body if isinstance(t, ast.If) for n in t.body]
        self.imported = _imports([*self.tree.body, *for_types])
        self.definitions: dict[str, ast.AST] = {}
        for node in self.tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                self.definitions[node.name] = node
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for name in (n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)):
                    self.definitions[name] = node
        self._seen: dict[str, _Seen] = {}

    def node(self, name: str) -> ast.AST:
        """A definition, or a method as `Class.method`."""
        outer, _, method = name.partition(".")
        node = self.definitions[outer]
        return _methods(node)[method] if method else node

    def seen(self, name: str) -> _Seen:
        """What stands in a definition; in a class, what stands outside its methods."""
        if name not in self._seen:
            node = self.node(name)
            if isinstance(node, ast.ClassDef):
                body = [n for n in node.body if not isinstance(n, ast.FunctionDef)]
                node = ast.ClassDef(node.name, node.bases, node.keywords, body, node.decorator_list)
            self._seen[name] = _seen(node, self.imported | _imports(ast.walk(node)))
        return self._seen[name]


_module = cache(_Module)


def _imports(nodes: Iterable[ast.AST]) -> dict[str, str]:
    """What some statements import from this package: the path in it by the name here."""
    found = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "dpotox":
            inside = node.module.removeprefix("dpotox").lstrip(".")
            for alias in node.names:
                found[alias.asname or alias.name] = ".".join(filter(None, [inside, alias.name]))
    return found


def _chains(node: ast.AST) -> Iterator[tuple[str, ...]]:
    """Every name with the attributes that follow it, `a.b.c` as one; of another expression after a dash."""
    attributes: tuple[str, ...] = ()
    while isinstance(node, ast.Attribute):
        attributes, node = (node.attr, *attributes), node.value
    if isinstance(node, ast.Name):
        yield node.id, *attributes
    elif attributes:
        yield "-", *attributes
        yield from _chains(node)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _chains(child)


def _setting(chain: tuple[str, ...]) -> str:
    """The setting that a chain reads: `section.key`, or `section` where it takes the whole."""
    if "profile" not in chain[:3]:
        return ""
    after = chain[chain.index("profile") + 1 :]
    if not after or after[0] not in SECTIONS:
        return ""
    known = Profile.__dataclass_fields__[after[0]].default.__dataclass_fields__
    return ".".join(after[:2]) if len(after) > 1 and after[1] in known else after[0]


def _methods(node: ast.AST) -> dict[str, ast.FunctionDef]:
    return {n.name: n for n in node.body if isinstance(n, ast.FunctionDef)}


def _plain(node: ast.AST) -> ast.AST:
    """The same without docstrings."""
    for part in ast.walk(node):
        if isinstance(part, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(part) is not None:
            part.body = part.body[1:] or [ast.Pass()]
    return node


@cache
def package() -> Package:
    """This package, read once, so that an edit during a run is not taken for the code that runs."""
    here = Path(__file__).parents[1]
    files = [p for p in here.rglob("*") if p.suffix in (".py", ".toml")]
    return Package({p.relative_to(here).as_posix(): p.read_text(encoding="utf-8") for p in files})
