"""The report: Markdown, one HTML page and plots, made from a result alone."""

from __future__ import annotations

from pathlib import Path

from mose.errors import DataError
from mose.evaluate.result import Result


def write_report(result: Result, out: Path) -> list[Path]:
    """Write ``report.md``, ``report.html`` and the plots (``pareto``, and ``exits`` for several exits).

    Returns:
        Paths of the files, the HTML page first.

    Raises:
        DataError: The folder cannot be written.
    """
    from mose.evaluate.report import html, markdown, plots
    from mose.evaluate.report.tables import all_tables

    tables = all_tables(result)
    drawn = {"pareto": ("Quality over the time of a query", plots.pareto(result)),
             "exits": ("Queries at one exit, corpus at another", plots.heat_map(result))}  # fmt: skip
    figures = {name: (caption, figure) for name, (caption, figure) in drawn.items() if figure is not None}
    svgs = {name: plots.as_svg(figure) for name, (_, figure) in figures.items()}
    files: dict[str, bytes] = {
        "report.html": html.page(
            result, tables, {name: (figures[name][0], svg) for name, svg in svgs.items()}
        ).encode(),
        "report.md": markdown.page(
            result, tables, {caption: f"{name}.png" for name, (caption, _) in figures.items()}
        ).encode(),
    }
    for name, (_, figure) in figures.items():
        files[f"{name}.png"] = plots.as_png(figure)
        files[f"{name}.svg"] = svgs[name].encode()
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (out / name).write_bytes(content)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error}", remedy="Name another folder with --out.") from error
    return [out / name for name in files]
