"""The report as one self-contained HTML page without scripts, for light and dark screens of any width."""

from __future__ import annotations

import re
from html import escape

from mose.evaluate.report.markdown import foot
from mose.evaluate.report.plots import INK
from mose.evaluate.report.values import Table
from mose.evaluate.result import Result

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2127; --soft: #5b6470; --line: #dde1e6; --back: #ffffff;
  --stripe: #f6f7f9; --strong: #e7f0ff; --link: #2f6fde; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #9aa4b1; --line: #343a42; --back: #15181c;
  --stripe: #1c2026; --strong: #1e3253; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 66rem; padding: 1.2rem 1rem 3rem; background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .4rem 0 1rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .3rem; }
p { margin: .3rem 0 .8rem; }
p.note, footer { color: var(--soft); font-size: .86rem; }
nav { font-size: .9rem; margin: 1rem 0; } nav a { color: var(--link); margin-right: .9rem; white-space: nowrap; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .42rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); vertical-align: bottom; }
tr:last-child td { border-bottom: 0; }
tbody tr:nth-child(even) td { background: var(--stripe); }
th:first-child, td:first-child { text-align: left; font-weight: 600; position: sticky; left: 0;
  background: var(--back); }
tbody tr:nth-child(even) td:first-child { background: var(--stripe); }
td.best { font-weight: 700; background: var(--strong) !important; }
.prose td, .prose th { text-align: left; white-space: normal; min-width: 9rem; vertical-align: top; }
.prose td:first-child { min-width: 6rem; overflow-wrap: anywhere; }
figure { margin: 1.6rem 0; } figure svg { width: 100%; height: auto; display: block; }
figure.pareto { max-width: 44rem; } figure.exits { max-width: 26rem; }
footer { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: .8rem; overflow-wrap: anywhere; }
"""
_PROSE_CHARS = 60
_BEST = ' class="best"'


def page(result: Result, tables: list[Table], figures: dict[str, tuple[str, str]]) -> str:
    """The whole page.

    Args:
        result: For its title and foot.
        tables: In reading order.
        figures: Name -> caption and SVG, shown after the first table.
    """
    title = f"Evaluation of {escape(result.model.card.name)}"
    links = "\n".join(f'<a href="#t{number}">{escape(table.title)}</a>' for number, table in enumerate(tables))
    parts = [_table(table, f"t{number}") for number, table in enumerate(tables)]
    drawn = [
        f'<figure class="{name}" role="img" aria-label="{escape(caption)}">{inline(svg, prefix=name)}</figure>'
        for name, (caption, svg) in figures.items()
    ]
    body = "\n".join([*parts[:1], *drawn, *parts[1:]]) or "<p>No tasks were run.</p>"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<nav>{links}</nav>\n"
        f"{body}\n<footer>{escape(foot(result))}</footer>\n</body>\n</html>\n"
    )


def inline(svg: str, *, prefix: str) -> str:
    """Prepare a drawing for a page: remove the prolog, make ids unique, draw ink in the colour of the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\1{prefix}-", svg)
    return svg.replace(INK, "currentColor")


def _table(table: Table, name: str) -> str:
    long = any(len(cell) > _PROSE_CHARS for row in table.rows for cell in row)
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.head)
    rows = "\n".join(
        "<tr>"
        + "".join(
            f"<td{_BEST if cell and (number, column) in table.best else ''}>{escape(cell)}</td>"
            for column, cell in enumerate(row)
        )
        + "</tr>"
        for number, row in enumerate(table.rows)
    )
    note = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escape(table.note))
    note = f'<p class="note">{note}</p>' if note else ""
    kind = "scroll prose" if long else "scroll"
    return (
        f'<section id="{name}">\n<h2>{escape(table.title)}</h2>\n{note}\n<div class="{kind}"><table>\n<thead><tr>{head}'
        f"</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>\n</section>"
    )
