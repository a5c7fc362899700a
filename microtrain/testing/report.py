"""Comparisons with an oracle, counted by operation, device, dtype and order of derivative; as text, JSON and HTML.

>>> report = ParityReport({"device": "cpu"})
>>> report.add(Tally("sin", "cpu", "float32", VALUE, tried=1, passed=1, worst_ulps=0.6))
>>> print(report.text())
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from html import escape

from ..bench.text import columns
from .page import HEAT, anchor, card, heat, page

VALUE, GRADIENT, SECOND, ERRORS = range(4)
"""What a case compares: the result, its gradient, the gradient's gradient; or that wrong arguments raise."""

ORDERS = ("value", "gradient", "second gradient", "errors")

SCHEMA = 1
"""Of the JSON document: raised when the meaning of a field changes."""


@dataclass
class Tally:
    """The cases of one operation on one device, in one dtype, of one order.

    Of those `tried`, each has `passed`, was `refused` on purpose, or failed; a failed one is described in `failures`.
    `worst_ulps` is the largest error met, in units in the last place: inf where something could not be compared (a
    NaN for a number, a wrong shape). `uncounted` cases, which the oracle cannot compute, are not among those tried.
    """

    operation: str
    device: str
    dtype: str
    order: int
    tried: int = 0
    passed: int = 0
    refused: int = 0
    worst_ulps: float = 0.0
    failures: list[str] = field(default_factory=list)
    uncounted: int = 0

    @property
    def failed(self) -> int:
        return self.tried - self.passed - self.refused

    def add(self, other: Tally) -> None:
        self.tried += other.tried
        self.passed += other.passed
        self.refused += other.refused
        self.worst_ulps = max(self.worst_ulps, other.worst_ulps)
        self.failures += other.failures
        self.uncounted += other.uncounted

    @property
    def cases(self) -> str:
        """`46/48`, or with some that were refused on purpose `46+2r/48`; nothing where none was tried."""
        refused = f"+{self.refused}r" if self.refused else ""
        return f"{self.passed}{refused}/{self.tried}" if self.tried else ""

    @property
    def worst(self) -> str:
        return ulps_text(self.worst_ulps) if self.tried and self.order != ERRORS else ""

    @property
    def lines(self) -> list[str]:
        """What failed, with order, dtype and device."""
        return [f"{ORDERS[self.order]} {self.dtype} {self.device}: {failure}" for failure in self.failures]

    def _cell(self) -> str:
        if not self.tried:
            return "<td class=\"none\"></td>"
        kind = "bad" if self.failed else f"h{heat(self.worst_ulps)}"
        key = min(self.worst_ulps, 1e300) + (1e301 if self.failed else 0)
        return f"<td class=\"n {kind}\" data-u=\"{key:.3g}\">{self.worst}<span class=\"c\">{self.cases}</span></td>"


def ulps_text(ulps: float) -> str:
    """Two figures: 0.51, 7.4, 310, 4e+05; `-` for none that can be told."""
    if not math.isfinite(ulps):
        return "-"
    return f"{ulps:.0f}" if 10 <= ulps < 1e4 or ulps == 0 else f"{ulps:.2g}"


class ParityReport:
    """Outcomes of comparisons. `about` says what was compared (versions, device), `absent` why names are not there."""

    def __init__(self, about: dict[str, str] | None = None, absent: dict[str, str] | None = None) -> None:
        self.about = dict(about or {})
        self.absent = dict(absent or {})
        self.tallies: dict[tuple[str, str, str, int], Tally] = {}

    def add(self, *tallies: Tally) -> None:
        """Count some cases; those with the same operation, device, dtype and order are counted together."""
        for tally in tallies:
            key = (tally.operation, tally.device, tally.dtype, tally.order)
            self.tallies.setdefault(key, Tally(*key)).add(tally)

    def merge(self, other: ParityReport) -> None:
        self.add(*other.tallies.values())
        self.absent |= other.absent

    @property
    def operations(self) -> list[str]:
        """The operations of which something was tried, in order of name."""
        return sorted({tally.operation for tally in self.tallies.values()})

    @property
    def columns(self) -> list[tuple[str, int]]:
        """Device and order of each column: those of which there is a case."""
        return sorted({(tally.device, tally.order) for tally in self.tallies.values() if tally.tried})

    def of(self, operation: str | None = None, device: str | None = None, order: int | None = None) -> list[Tally]:
        """The tallies with the given operation, device and order, sorted."""
        wanted = (operation, device, order)
        return [self.tallies[key] for key in sorted(self.tallies)
                if all(want in (None, has) for want, has in zip(wanted, (key[0], key[1], key[3]), strict=True))]

    def total(self, operation: str | None = None, device: str | None = None, order: int | None = None) -> Tally:
        found = Tally(operation or "", device or "", "", order or VALUE)
        for tally in self.of(operation, device, order):
            found.add(tally)
        return found

    def sums(self) -> Iterator[tuple[str, int, Tally]]:
        """Device and order of each column, with its sum."""
        return ((device, order, self.total(device=device, order=order)) for device, order in self.columns)

    @property
    def failures(self) -> list[str]:
        """What failed, one line each, by operation."""
        return [f"{tally.operation} {line}" for tally in self.of() for line in tally.lines]

    def summary(self) -> str:
        """One line for each column of the table."""
        lines = []
        for device, order, sum in self.sums():
            share = f" ({sum.refused / sum.tried:.1%})" if sum.refused else ""
            lines.append(f"{device} {ORDERS[order]}: {sum.passed} of {sum.tried} passed, {sum.refused} refused{share}, "
                         f"{sum.failed} failed" + (f"; {sum.uncounted} not counted" if sum.uncounted else ""))
        return "\n".join(lines)

    def text(self) -> str:
        """The table, what is absent, what failed, and the sums."""
        heads, *rows = [["operation"], *([operation] for operation in self.operations)]
        for device, order in self.columns:
            shown = slice(1 if order == ERRORS else 2)
            heads += [f"{device} {ORDERS[order]}", "ulps"][shown]
            for row in rows:
                tally = self.total(row[0], device, order)
                row += [tally.cases, tally.worst][shown]
        absent = [f"{name}: not there; {why}" for name, why in sorted(self.absent.items())]
        parts = ["\n".join([columns(heads, rows), *absent]), "\n".join(self.failures), self.summary()]
        return "\n\n".join(part for part in parts if part)

    def json(self) -> str:
        """All there is to know, as a JSON document, which knows no infinity: that is the text "inf"."""
        tallies = [asdict(tally) | {"order": ORDERS[tally.order], "worst_ulps": float(f"{tally.worst_ulps:.3g}")
                                    if math.isfinite(tally.worst_ulps) else "inf"} for tally in self.of()]
        return json.dumps({"schema": SCHEMA, "about": self.about, "absent": dict(sorted(self.absent.items())),
                           "tallies": tallies}, indent=1, allow_nan=False) + "\n"

    def html(self) -> str:
        """One self-contained page: a summary, a matrix coloured by the worst error, and what lies behind each row."""
        about = "".join(f"<span>{escape(name)} <b>{escape(value)}</b></span>" for name, value in self.about.items())
        absent = "".join(f"<li><code>{escape(name)}</code> {escape(why)}</li>"
                         for name, why in sorted(self.absent.items()))
        return page(
            f"<h1>Parity with PyTorch</h1>\n<p class=\"about\">{about}</p>\n"
            "<p class=\"soft\">Every case is a sample of an operation, computed here and by PyTorch, and held against "
            "PyTorch in float64. An error is told in units in the last place (ulps) of the dtype under test.</p>",
            f"<div class=\"cards\">{''.join(self._cards())}</div>", self._matrix(),
            absent and f"<h2>Not there</h2>\n<ul>{absent}</ul>",
            "<h2>Operations</h2>\n" + "\n".join(map(self._details, self.operations)))

    def _cards(self) -> Iterator[str]:
        names, clean = len(self.operations), sum(not self.total(name).failed for name in self.operations)
        yield card("operations without a failure", clean, names, clean, 0,
                   f"{len(self.absent)} names are not there" if self.absent else "all names are there")
        for device, order, all in self.sums():
            yield card(f"{device} · {ORDERS[order]}", all.passed, all.tried, all.passed, all.refused,
                       f"{all.failed} failed, {all.refused} refused"
                       + (f", {all.uncounted} PyTorch cannot compute" if all.uncounted else ""))

    def _matrix(self) -> str:
        """One row an operation, one column a device and order."""
        legend = "".join(f"<span class=\"h{i}\">{name}</span>" for i, (_, name) in enumerate(HEAT))
        heads = "".join(f"<th scope=\"col\">{escape(device)}<br>{ORDERS[order]}</th>" for device, order in self.columns)
        rows = []
        for name in self.operations:
            bad = " data-bad=\"1\"" if self.total(name).failed else ""
            cells = "".join(self.total(name, device, order)._cell() for device, order in self.columns)
            rows.append(f"<tr data-name=\"{escape(name)}\"{bad}><th scope=\"row\"><a href=\"#{anchor(name)}\"><code>"
                        f"{escape(name)}</code></a></th>{cells}</tr>")
        return (
            f"<h2>Worst errors</h2>\n<div class=\"legend\">ulps {legend}<span class=\"bad\">a case failed</span>"
            "small figures: cases passed of cases tried, r: refused on purpose</div>\n"
            "<div class=\"tools\" hidden><input id=\"find\" type=\"search\" placeholder=\"operation\" "
            "aria-label=\"show operations whose name holds\"><label><input id=\"only\" type=\"checkbox\"> failures "
            "only</label></div>\n<div class=\"scroll\"><table id=\"matrix\"><thead><tr><th scope=\"col\">operation</th>"
            f"{heads}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody></table></div>")

    def _details(self, name: str) -> str:
        """An operation by dtype, with the cases that failed; open where there are any."""
        tallies, whole = [tally for tally in self.of(name) if tally.tried], self.total(name)
        kind, said = ((" bad", f"{whole.failed} failed") if whole.failed else
                      (" re", f"{whole.refused} refused") if whole.refused else ("", "passed"))
        rows = "".join(f"<tr><td>{escape(t.device)}</td><td>{escape(t.dtype)}</td><td>{ORDERS[t.order]}</td>"
                       f"<td class=\"n\">{t.cases}</td><td class=\"n\">{t.worst}</td></tr>" for t in tallies)
        failures = "".join(f"<li class=\"n\">{escape(line)}</li>" for tally in tallies for line in tally.lines)
        return (f"<details id=\"{anchor(name)}\"{' open' if whole.failed else ''}><summary><code>{escape(name)}</code>"
                f"<span class=\"tag{kind}\">{said}</span></summary><table><tr><th>device</th><th>dtype</th>"
                f"<th>order</th><th>cases</th><th>worst, ulps</th></tr>{rows}</table>"
                + (f"<ul>{failures}</ul>" if failures else "") + "</details>")
