"""What a table of `results/` may be, and the checks of it.

Tables are checked with pandera when they are written and whenever they are read, as they may come from
strangers. Labels, such as a row's name, hold no character that a page could take for markup; running text may
hold any, and is escaped where it is shown.
"""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaError, SchemaErrors

from dpotox.errors import UserError

MARKUP = r"<>&`\[\]{}$\\|\n\r"
"""Characters that labels must not have, for a regular expression."""
LONGEST_LABEL, LONGEST_TEXT = 200, 20_000
"""In characters."""
LARGEST_NUMBER, LARGEST_WHOLE = 1e30, 10**12
"""What is larger was not measured; figures and pages could not show it either."""


@dataclass(frozen=True)
class Table:
    """One table of the results.

    Attributes:
        file: its name in the folder; the ending says the format.
        needs: which of `facts` must hold for it to be there; empty where it always is.
        optional: whether results that lack it, as packs made before it was added do, are opened all the same.
        whole: whether only whole packs have it, as nothing of it is compared with other runs.
        more: what other columns hold, if any may follow; their names are labels.
        key: the columns that tell a row from all others.
        most: how many rows it may have.
        meaning: what it is, and what a row is.
    """

    file: str
    needs: str = ""
    optional: bool = False
    whole: bool = False
    more: pa.Column | None = None
    key: tuple[str, ...] = ()
    most: int = 1_000
    meaning: str = ""
    columns: dict[str, pa.Column] = field(default_factory=dict)

    def of(self, meaning: str, /, **columns: pa.Column) -> Table:
        """The same with these columns."""
        return replace(self, meaning=meaning, columns=columns)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.file.partition(".")[0]

    def kind_of(self, column: str) -> str:
        """The type of a column; empty if there may be none of this name."""
        known = self.columns.get(column, self.more)
        return str(known.dtype) if known else ""

    def checked(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table with the types of this schema.

        Raises:
            UserError: it is not as the schema says; the message names the first things that are wrong.
        """
        if len(table) > self.most:
            raise UserError(f"the table {self.name} has more than {self.most:,} rows, which no study's has")
        more = [name for name in table if name not in self.columns] if self.more else []
        if not all(is_label(name) and name[:1].isalnum() for name in more):
            raise UserError(f"the table {self.name} has a column whose name a page cannot show")
        columns = self.columns | {name: deepcopy(self.more) for name in more}
        try:
            table = pa.DataFrameSchema(columns, strict=True, coerce=True).validate(table, lazy=True)
        except (SchemaError, SchemaErrors) as error:
            raise UserError(
                f"the table {self.name} is not as its schema says: {self._explained(error)}"
            ) from None
        if self.key and table.duplicated(list(self.key)).any():
            raise UserError(f"the table {self.name} has two rows of the same {', '.join(self.key)}")
        return table

    def _explained(self, error: SchemaError | SchemaErrors) -> str:
        """What is wrong, at most three things of it."""
        cases = getattr(error, "failure_cases", None)
        if not isinstance(cases, pd.DataFrame):
            return printable(str(error).splitlines()[0][:200])
        said = []
        for case in cases.drop_duplicates(["column", "check"]).head(3).itertuples():
            name = case.column if case.column in self.columns else case.failure_case
            said.append(f"{str(name)[:50]!r}: {str(case.check)[:100]}")
        return "; ".join(said)


def column(kind: type, meaning: str, unit: str = "", *checks: pa.Check, **options: Any) -> pa.Column:
    return pa.Column(kind, list(checks), description=meaning, metadata={"unit": unit}, **options)


def is_label(text: str) -> bool:
    """Whether a text can stand anywhere in a page: short, without markup or anything that cannot be seen."""
    return len(text) <= LONGEST_LABEL and text.isprintable() and not re.search(f"[{MARKUP}]", text)


def printable(text: str) -> str:
    """A text from elsewhere for a message: nothing in it moves a terminal's cursor."""
    return "".join(c if c.isprintable() else "?" for c in text)


def label(meaning: str, *among: str) -> pa.Column:
    plain = pa.Check(is_label, element_wise=True, name="a label without markup")
    return column(str, meaning, "", pa.Check.isin(among) if among else plain)


def text(meaning: str) -> pa.Column:
    return column(str, meaning, "", pa.Check.str_length(max_value=LONGEST_TEXT))


def whole(meaning: str, unit: str = "") -> pa.Column:
    return column(int, meaning, unit, pa.Check.in_range(0, LARGEST_WHOLE))


def number(meaning: str, unit: str = "", *, empty: bool = False) -> pa.Column:
    finite = pa.Check.in_range(-LARGEST_NUMBER, LARGEST_NUMBER)
    return column(float, meaning, unit, finite, nullable=empty)


def interval(name: str, meaning: str, unit: str = "") -> dict[str, pa.Column]:
    """A value with the ends of its 95 % interval; all may be empty."""
    ends = {"": meaning, "_low": "lower end of its 95 % interval", "_high": "upper end of its 95 % interval"}
    return {f"{name}{end}": number(text, unit, empty=True) for end, text in ends.items()}


STREAM = "residual stream"
"""The unit of projections: the length of a vector in the residual stream."""
VALUE = {
    "value": number("the value", empty=True),
    "low": number("lower end of its 95 % interval", empty=True),
    "high": number("upper end of its 95 % interval", empty=True),
}
NEURON = {"layer": whole("its layer, from 0"), "neuron": whole("its place in the layer, from 0")}
