"""The report as Markdown."""

from __future__ import annotations

from mose.evaluate.report.values import Table
from mose.evaluate.result import Result


def page(result: Result, tables: list[Table], images: dict[str, str]) -> str:
    """The whole page.

    Args:
        result: For its title and foot.
        tables: In reading order.
        images: Caption -> file name, shown after the first table.
    """
    parts = [f"# Evaluation of {result.model.card.name}", render(tables[0]) if tables else "No tasks were run."]
    parts += [f"![{caption}]({name})" for caption, name in images.items()]
    parts += [render(table) for table in tables[1:]]
    parts.append(foot(result))
    return "\n\n".join(parts) + "\n"


def render(table: Table) -> str:
    """One table with its title and note."""
    return "\n\n".join(part for part in (f"## {table.title}", table.note, body(table)) if part)


def body(table: Table) -> str:
    """One table alone, its best cells in bold."""
    lines = [table.head, ("---",) * len(table.head)]
    for number, row in enumerate(table.rows):
        lines.append(
            tuple(f"**{cell}**" if cell and (number, column) in table.best else cell for column, cell in enumerate(row))
        )
    return "\n".join("| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines)


def foot(result: Result) -> str:
    """Where the numbers come from."""
    versions = ", ".join(f"{name} {version}" for name, version in result.environment.get("versions", {}).items())
    processor, cores = result.environment.get("processor"), result.environment.get("cores")
    return (
        f"Code {result.identity}, model {result.model.identity}, {result.date}; {result.seconds:,.0f} s on {processor},"
        f" {cores} cores. {versions}."
    )


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
