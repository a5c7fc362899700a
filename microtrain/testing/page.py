"""The frame of an HTML page that needs no network, and no script to be read; the colours of its matrix; its cards."""

from __future__ import annotations

from html import escape

HEAT = ((0.0, "exact"), (1.0, "to 1"), (4.0, "to 4"), (16.0, "to 16"), (256.0, "to 256"), (float("inf"), "more"))
"""Upper bounds, in ulps, of the colours of the matrix, and what the legend calls them."""

STYLE = """
:root { color-scheme: light dark; --paper: #fdfdfb; --ink: #1d2329; --soft: #68727d; --line: #e2e4e1; --card: #f4f5f2;
  --bad: #b3261e; --bad-paper: #fbe4e1; --refused: #8a6d1f;
  --h0: #e3f1ec; --h1: #cbe6e0; --h2: #a6d3cf; --h3: #f3e3b0; --h4: #f2c48d; --h5: #e89a79; --heat-ink: #14262a; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171a; --ink: #e4e6e3; --soft: #98a1a9; --line: #2b3136;
  --card: #1c2125; --bad: #ff8a7d; --bad-paper: #43201d; --refused: #d8b95c;
  --h0: #17312d; --h1: #1b423f; --h2: #205654; --h3: #57491a; --h4: #6e451d; --h5: #823523; --heat-ink: #eef4f2; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 2.5rem 1.25rem 5rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.7rem; letter-spacing: -.015em; margin: 0 0 .2rem; }
h2 { font-size: 1.1rem; margin: 2.6rem 0 .7rem; }
p { max-width: 46rem; margin: .4rem 0; }
.soft, .about { color: var(--soft); }
.about span { white-space: nowrap; margin-right: 1.1em; } .about b { font-weight: 600; color: var(--ink); }
code, .n { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: .88em; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .8rem; margin: 1.4rem 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem; }
.card .big { font-size: 1.6rem; font-weight: 650; letter-spacing: -.02em; }
.card .big small { font-size: .95rem; font-weight: 400; color: var(--soft); }
.bar { display: flex; height: .4rem; border-radius: .2rem; overflow: hidden; background: var(--line);
  margin: .45rem 0; }
.bar i { display: block; } .bar .ok { background: #2f9e86; }
.bar .re { background: #c9a227; } .bar .no { background: #d1493d; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem .5rem; align-items: center; font-size: .85rem;
  color: var(--soft); }
.legend span { padding: .05rem .5rem; border-radius: .25rem; color: var(--heat-ink); }
.tools:not([hidden]) { display: flex; gap: .8rem; margin: .9rem 0; flex-wrap: wrap; }
.tools input[type=search] { font: inherit; padding: .35rem .7rem; border: 1px solid var(--line); border-radius: .4rem;
  background: var(--card); color: inherit; min-width: 15rem; }
.scroll { overflow: auto; max-height: 85vh; }
table { border-collapse: separate; border-spacing: 2px; width: 100%; }
th { text-align: left; font-weight: 600; font-size: .85rem; padding: .3rem .5rem; position: sticky; top: 0;
  background: var(--paper); vertical-align: bottom; }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; }
th button:hover { text-decoration: underline; }
tbody th { position: static; font-weight: 400; white-space: nowrap; padding: .12rem .5rem .12rem 0; }
tbody th a { color: inherit; text-decoration: none; } tbody th a:hover { text-decoration: underline; }
td { padding: .12rem .5rem; border-radius: .25rem; white-space: nowrap; color: var(--heat-ink); }
td .c { float: right; opacity: .62; margin-left: .8rem; }
td.none { color: var(--soft); }
td.bad, .legend .bad { background: var(--bad-paper); color: var(--bad); font-weight: 600; } td.bad .c { opacity: 1; }
.h0 { background: var(--h0); } .h1 { background: var(--h1); } .h2 { background: var(--h2); }
.h3 { background: var(--h3); } .h4 { background: var(--h4); } .h5 { background: var(--h5); }
details { border-top: 1px solid var(--line); padding: .35rem 0; }
details:last-of-type { border-bottom: 1px solid var(--line); }
summary { cursor: pointer; } summary .tag { float: right; color: var(--soft); font-size: .85rem; }
summary .tag.bad { color: var(--bad); } summary .tag.re { color: var(--refused); }
details table { width: auto; margin: .5rem 0 .5rem 1.1rem; border-spacing: 0; }
details td, details th { color: inherit; padding: .1rem 1.2rem .1rem 0; position: static; }
details li { margin: .15rem 0; overflow-wrap: anywhere; }
:target > summary { font-weight: 650; }
@media print { .tools { display: none; } .scroll { max-height: none; } }
"""

SCRIPT = """
const rows = [...document.querySelectorAll('#matrix tbody tr')], body = document.querySelector('#matrix tbody');
const find = document.querySelector('#find'), only = document.querySelector('#only');
function show() { const word = find.value.trim().toLowerCase();
  for (const row of rows)
    row.hidden = !row.dataset.name.toLowerCase().includes(word) || (only.checked && !row.dataset.bad); }
find.oninput = only.onchange = show; document.querySelector('.tools').hidden = false;
document.querySelectorAll('#matrix thead th').forEach((head, place) => { let down = false;
  const button = document.createElement('button'); button.append(...head.childNodes); head.append(button);
  button.title = 'sort by this column';
  button.onclick = () => { down = place > 0 ? !down : false;
    const key = row => place ? Number(row.cells[place].dataset.u ?? -1) : rows.indexOf(row);
    body.append(...[...rows].sort((a, b) => down ? key(b) - key(a) : key(a) - key(b))); }; });
function open() { const at = location.hash && document.getElementById(location.hash.slice(1)); if (at) at.open = true; }
addEventListener('hashchange', open); open();
"""


def heat(ulps: float) -> int:
    """The colour of an error."""
    return next(i for i, (bound, _) in enumerate(HEAT) if ulps <= bound)


def page(*sections: str) -> str:
    """Sections as one page."""
    return ("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
            f"<title>microtrain: parity with PyTorch</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
            + "\n".join(section for section in sections if section)
            + f"\n<script>{SCRIPT}</script>\n</body>\n</html>\n")


def card(title: str, number: int, of: int, passed: int, refused: int, said: str) -> str:
    """One figure with a bar."""
    bar = "".join(f"<i class=\"{kind}\" style=\"flex:{count}\"></i>" for kind, count in
                  (("ok", passed), ("re", refused), ("no", of - passed - refused)) if count)
    return (f"<div class=\"card\"><div class=\"soft\">{escape(title)}</div><div class=\"big\">{number} "
            f"<small>of {of}</small></div><div class=\"bar\">{bar}</div><div class=\"soft\">{escape(said)}</div></div>")


def anchor(operation: str) -> str:
    """The place on the page where an operation's details are."""
    return "op-" + "".join(c if c.isalnum() else "-" for c in operation)
