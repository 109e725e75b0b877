"""The tables of a report, made from the result alone; Markdown and HTML show the same ones."""

from __future__ import annotations

from collections.abc import Callable

from mose.evaluate import headline
from mose.evaluate.report.values import (
    Table,
    best_cells,
    entrants,
    interval,
    label,
    mean_quality,
    means_of,
    millions,
    number,
    p_value,
    quality,
    quality_name,
    quality_note,
    rate,
)  # fmt: skip
from mose.evaluate.result import HEADLINE, OWN_PART, SHARED, Difference, Result


def all_tables(result: Result) -> list[Table]:
    """Every table that has rows, in reading order."""
    makers: tuple[Callable[[Result], Table], ...] = (
        summary_table, set_table, own_part_table, cost_table, width_table, matrix_table, task_table,
        difference_table, peer_table, protocol_table,
    )  # fmt: skip
    return [table for table in (make(result) for make in makers) if table.rows]


def summary_table(result: Result) -> Table:
    """One line per exit and peer: its costs, its quality, and the difference to the deepest exit."""
    model, costs = result.model.card.name, {(cost.system, cost.exit): cost for cost in result.costs}
    rows, values = [], []
    for entrant in entrants(result):
        system, exit_layer = entrant
        value = quality(result, entrant)
        values.append([None if value is None else round(value, 3)])
        cost = costs.get((system.card.name, exit_layer))
        if system.is_model:
            difference, sign = _overall(result, first=(model, exit_layer), second=(model, result.model.deepest)), 1
        else:
            difference, sign = _overall(result, first=None, second=(system.card.name, exit_layer)), -1
        rows.append(
            (
                label(entrant),
                millions(cost.parameters) if cost else "",
                number(cost.latency_ms, 2) if cost else "",
                number(cost.texts_per_s, 0) if cost else "",
                number(value, 3),
                interval(difference, sign=sign),
                p_value(difference),
            )
        )
    head = ("", "parameters", "ms a query", "texts/s", quality_name(result), "against our deepest exit", "p")
    limit = result.options.get("limit")
    warning = f"**A quick look at {limit} queries a task: comparable to nothing else.** " if limit else ""
    tuning = (
        "**Validation split, for tuning: no result to publish.** " if result.options.get("split") == "valid" else ""
    )
    return Table(
        title="What each exit is worth",
        note=(
            f"Model {model}. {tuning}{warning}{quality_note(result)} In brackets: 95 % bootstrap intervals of"
            " the paired difference; queries of one problem or repository are resampled together. p: permutation test"
            " that the two exits score differently, adjusted for all pairs of exits. A peer that ran on fewer tasks has"
            f" no mean; it is compared over those tasks alone. Times are of what each reads: {_reading(result)}."
        ),
        head=head,
        rows=tuple(rows),
        best=best_cells(values, columns=[4]),
    )


def _reading(result: Result) -> str:
    """Length and runtime of each system, since costs of unlike systems are in one table."""
    return "; ".join(
        f"{card.name} {'everything' if card.max_tokens is None else f'{card.max_tokens} tokens'} ({card.runtime})"
        for card in (system.card for system in result.systems)
    )


def set_table(result: Result) -> Table:
    """MRR of each set of the headline."""
    names = headline.set_means({task.name: 0.0 for task in result.tasks})
    tasks = [task.name for task in result.tasks]
    rows, values = [], []
    for entrant in entrants(result):
        means = headline.set_means(means_of(result, entrant), tasks)
        values.append([means.get(name) for name in names])
        rows.append((label(entrant), *(number(means.get(name), 3) for name in names)))
    return Table(
        title="MRR by set",
        note="The sets of the headline mean. Sets of several tasks are their plain mean; empty if one was not run.",
        head=("", *names),
        rows=tuple(rows) if names else (),
        best=best_cells(values, columns=range(1, len(names) + 1)),
    )


def task_table(result: Result) -> Table:
    """Headline metric of every task."""
    columns = entrants(result)
    means = [means_of(result, entrant) for entrant in columns]
    rows, best = [], set()
    for position, task in enumerate(result.tasks):
        values = [mean.get(task.name) for mean in means]
        known = [value for value in values if value is not None]
        best |= {
            (position, 2 + column) for column, value in enumerate(values) if value is not None and value == max(known)
        }
        rows.append((task.name, task.metric, *(number(value, 3) for value in values)))
    return Table(
        title="Every task",
        note="At full width.",
        head=("task", "metric", *(label(entrant) for entrant in columns)),
        rows=tuple(rows),
        best=frozenset(best),
    )


def cost_table(result: Result) -> Table:
    """Weights, FLOPs, times and bytes."""
    threads = sorted({cost.threads for cost in result.costs})
    rows = []
    for cost in result.costs:
        system = result.system(cost.system)
        rows.append(
            (
                label((system, cost.exit)),
                millions(cost.parameters),
                number(None if cost.query_flops is None else cost.query_flops / 1e6, 1),
                f"{cost.latency_ms:.2f} ({cost.latency_ms_p95:.2f})",
                rate(cost),
                f"{cost.index_bytes / 1e6:.2f}",
                system.card.runtime,
                str(cost.threads),
            )
        )
    machine = result.environment.get("processor", "unknown processor")
    tokens = result.costs[0].query_tokens if result.costs else 0
    timed_as = {system.card.name: "vectors" if system.widths else system.card.name for system in result.systems}
    timed = "; ".join(dict.fromkeys(f"{timed_as[cost.system]}: {cost.what}" for cost in result.costs))
    return Table(
        title="Costs",
        note=(
            f"On {machine}, {result.environment.get('cores')} cores; threads: {', '.join(map(str, threads))}. FLOPs"
            f" for a query of {tokens} tokens. Latency: median (95th percentile) of single queries. Rate: median"
            f" (slowest to fastest round). Index: megabytes of 1,000 chunks. Timed: {timed}."
        ),
        head=("", "parameters", "MFLOPs a query", "ms a query", "texts/s", "index MB", "runtime", "threads"),
        rows=tuple(rows),
    )


def width_table(result: Result) -> Table:
    """Quality by exit and width."""
    model = result.model.card.name
    pairs = {(score.exit, score.width) for score in result.scores if score.system == model}
    widths = sorted({width for _, width in pairs if width is not None}, reverse=True)
    rows = []
    for exit_layer in sorted({exit_layer for exit_layer, _ in pairs if exit_layer is not None}):
        cells = []
        for width in widths:
            means = result.means(model, exit_layer, width)
            overall = headline.headline(means)
            if overall is None and means and not headline.weights([task.name for task in result.tasks]):
                overall = sum(means.values()) / len(means)
            cells.append(number(overall, 3))
        rows.append((f"exit {exit_layer}", *cells))
    return Table(
        title="Exit and width",
        note=f"{quality_name(result).capitalize()} when only the leading dimensions are kept.",
        head=("", *(f"width {width}" for width in widths)),
        rows=tuple(rows) if len(widths) > 1 else (),
    )


def own_part_table(result: Result) -> Table:
    """The model's exits with and without their share of exit 0."""
    rows = []
    for exit_layer in sorted({score.exit for score in result.own_parts if score.exit is not None}):
        own = {
            score.task: score.metrics[_metric(result, score.task)]
            for score in result.own_parts
            if score.exit == exit_layer
        }
        joined = quality(result, (result.model, exit_layer))
        gain = _overall(result, first=(result.model.card.name, exit_layer), second=(OWN_PART, exit_layer))
        rows.append((f"exit {exit_layer}", number(joined, 3), number(mean_quality(result, own), 3), interval(gain)))
    return Table(
        title="What exit 0 has a share in",
        note="Each exit as it leaves, joined with exit 0, and the exit's own part alone. Only the own part is what"
        " the blocks up to that exit, and their training, are worth.",
        head=("", "joined with exit 0", "own part alone", "difference"),
        rows=tuple(rows),
    )


def _metric(result: Result, name: str) -> str:
    return next(task.metric for task in result.tasks if task.name == name)


def matrix_values(result: Result) -> dict[tuple[int, int], float]:
    """(Query exit, corpus exit) -> quality, as ``quality`` takes its means."""
    full = bool(headline.weights([task.name for task in result.tasks]))
    by_pair: dict[tuple[int, int], dict[str, float]] = {}
    for cell in result.matrix:
        by_pair.setdefault((cell.query_exit, cell.corpus_exit), {})[cell.task] = cell.value
    found = {}
    for pair, means in by_pair.items():
        overall = headline.headline(means) if full else sum(means.values()) / len(means)
        if overall is not None:
            found[pair] = overall
    return found


def matrix_table(result: Result) -> Table:
    """Queries at one exit, corpus at another."""
    values = matrix_values(result)
    exits = sorted({query_exit for query_exit, _ in values})
    width = result.matrix[0].width if result.matrix else 0
    return Table(
        title="Exit by exit",
        note=f"{quality_name(result).capitalize()}, queries at the exit of the row, corpus at that of the column;"
        f" {width} dimensions on both sides.",
        head=("query", *(f"corpus exit {exit_layer}" for exit_layer in exits)),
        rows=tuple((f"exit {query}", *(f"{values[query, corpus]:.3f}" for corpus in exits)) for query in exits),
    )


def difference_table(result: Result) -> Table:
    """The deepest exit against each peer, task by task."""
    peers = [system.card.name for system in result.systems if not system.is_model]
    known = {(row.over, row.second): row for row in result.differences if row.second in peers}
    overs = (HEADLINE, SHARED, *(task.name for task in result.tasks))
    rows = [
        (over, *(interval(known.get((over, peer))) for peer in peers))
        for over in overs
        if any((over, peer) in known for peer in peers)
    ]
    return Table(
        title="The deepest exit against each peer",
        note="Ours minus theirs with 95 % bootstrap intervals; an interval without 0 is more than noise.",
        head=("", *peers),
        rows=tuple(rows),
    )


def peer_table(result: Result) -> Table:
    """Source, runtime and training data of each system, and what its training may have seen."""
    rows = []
    for system in result.systems:
        card = system.card
        seen = "; ".join(f"{name}: {note}" for name, note in card.contamination.items()) or "no overlap known"
        limit = "everything" if card.max_tokens is None else f"{card.max_tokens} tokens"
        rows.append((card.name, card.source, card.runtime, card.prompt, limit, card.training, seen))
    rows += [(row.system, f"left out, or in part: {row.reason}", "", "", "", "", "") for row in result.skipped]
    return Table(
        title="Systems and contamination",
        note="What the weights may have seen of the test sets, as far as their publishers say.",
        head=("", "source", "runtime", "prompt", "reads", "trained on", "may have seen"),
        rows=tuple(rows),
    )


def protocol_table(result: Result) -> Table:
    """Size, metric and protocol of each task."""
    return Table(
        title="Protocols",
        note="",
        head=("task", "queries", "candidates", "metric", "protocol"),
        rows=tuple(
            (task.name, f"{task.num_queries:,}", f"{task.num_corpus:,}", task.metric, task.protocol)
            for task in result.tasks
        ),
    )


def _overall(
    result: Result, *, first: tuple[str, int | None] | None, second: tuple[str, int | None]
) -> Difference | None:
    """The difference over all tasks of one system to another; of any exit of the first if None."""
    for row in result.differences:
        fitting = first is None or (row.first, row.first_exit) == first
        if fitting and (row.second, row.second_exit) == second and row.over in (HEADLINE, SHARED):
            return row
    return None
