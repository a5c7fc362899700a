"""Comparisons with an oracle, counted by operation, device, dtype and order of derivative; as text, JSON and HTML.

>>> report = ParityReport({"device": "cpu"})
>>> report.add(Tally("sin", "cpu", "float32", VALUE, tried=1, passed=1, worst_ulps=0.6))
>>> print(report.text())
"""

from __future__ import annotations

import json

from .page import page
from .tallies import ERRORS, GRADIENT, ORDERS, SECOND, VALUE, Tallies, Tally, cases_text, ulps_text

__all__ = ["ERRORS", "GRADIENT", "ORDERS", "SECOND", "VALUE", "ParityReport", "Tally", "ulps_text"]

SCHEMA = 1
"""Of the JSON document: raised when the meaning of a field changes."""


class ParityReport(Tallies):
    """Outcomes of comparisons. `about` says what was compared (versions, device), `absent` why names are not there."""

    def summary(self) -> str:
        """One line for each column of the table."""
        lines = []
        for device, order in self.columns:
            sum = self.total(device=device, order=order)
            share = f" ({sum.refused / sum.tried:.1%})" if sum.refused else ""
            lines.append(f"{device} {ORDERS[order]}: {sum.passed} of {sum.tried} passed, {sum.refused} refused{share}, "
                         f"{sum.failed} failed" + (f"; {sum.uncounted} not counted" if sum.uncounted else ""))
        return "\n".join(lines)

    def text(self) -> str:
        """The table, what is absent, what failed, and the sums."""
        heads, *rows = [["operation"], *([operation] for operation in self.operations)]
        for device, order in self.columns:
            heads += [f"{device} {ORDERS[order]}", "ulps"][:1 if order == ERRORS else 2]
            for row in rows:
                row += self._cell(self.total(row[0], device, order))
        widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
        lines = ["  ".join(f"{word:<{width}}" if i == 0 else f"{word:>{width}}" for i, (word, width) in
                           enumerate(zip(row, widths, strict=True))).rstrip() for row in (heads, *rows)]
        lines += [f"{name}: not there; {why}" for name, why in sorted(self.absent.items())]
        parts = ["\n".join(lines), "\n".join(self.failures), self.summary()]
        return "\n\n".join(part for part in parts if part)

    @staticmethod
    def _cell(tally: Tally) -> list[str]:
        words = [cases_text(tally), ulps_text(tally.worst_ulps)] if tally.tried else ["", ""]
        return words[:1 if tally.order == ERRORS else 2]

    def json(self) -> str:
        """All there is to know, as a JSON document."""
        document = {"schema": SCHEMA, "about": self.about, "absent": dict(sorted(self.absent.items())),
                    "tallies": [tally.document for tally in self.of()]}
        return json.dumps(document, indent=1, allow_nan=False) + "\n"

    def html(self) -> str:
        """One self-contained page."""
        return page(self)
