"""The headline of a system: its mean MRR over nine sets.

The sets: ``cosqa``; ``csn`` of Go, Java, JavaScript and Ruby, each a set of its own; then four sets with several
tasks each, whose tasks are averaged first, so that a set counts once, however many languages it has: ``mbxp`` text
to code, the same with names hidden (``mbxp-anon``), ``rosetta`` code to code, and ``mbxp-anon`` code to code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
SINGLE_SETS = ("cosqa", "csn-go", "csn-java", "csn-javascript", "csn-ruby")
MACRO_SETS = ("mbxp", "mbxp-anon", "rosetta-code", "mbxp-anon-code")
SETS = (*SINGLE_SETS, *MACRO_SETS)


def set_of(task: str) -> str | None:
    """The set that a task belongs to; None if it belongs to none.

    Example:
        >>> [set_of(name) for name in ("cosqa", "mbxp-ruby", "mbxp-anon-code-java-python", "mbxp-code-java-python")]
        ['cosqa', 'mbxp', 'mbxp-anon-code', None]
    """
    if task in SINGLE_SETS:
        return task
    if task.startswith("mbxp-code-") or (task.startswith("rosetta-") and not task.startswith("rosetta-code-")):
        return None
    fitting = [name for name in MACRO_SETS if task.startswith(f"{name}-")]
    return max(fitting, key=len, default=None)


def weights(tasks: Sequence[str]) -> dict[str, float]:
    """Task -> its share of the mean, summing to 1; empty if a set has no task among them."""
    members = _members(tasks)
    if len(members) < len(SETS):
        return {}
    return {task: 1 / len(SETS) / len(names) for names in members.values() for task in names}


def set_means(values: Mapping[str, float], tasks: Iterable[str] | None = None) -> dict[str, float]:
    """Set -> mean over its tasks, from task -> MRR.

    Args:
        values: MRR of one system by task.
        tasks: All tasks of the run. A set of which the system lacks one is left out, as a mean over the rest
            cannot be compared; those of ``values`` if None.
    """
    members = _members(values if tasks is None else tasks)
    return {
        name: float(np.mean([values[task] for task in names]))
        for name, names in members.items()
        if all(task in values for task in names)
    }


def _members(tasks: Iterable[str]) -> dict[str, list[str]]:
    """Set -> those of the tasks that belong to it, in the order of ``SETS``; sets without a task are left out."""
    members: dict[str | None, list[str]] = {}
    for task in tasks:
        members.setdefault(set_of(task), []).append(task)
    return {name: members[name] for name in SETS if name in members}


def headline(values: Mapping[str, float], tasks: Iterable[str] | None = None) -> float | None:
    """The mean over all sets, as ``set_means`` takes them; None if a set is missing."""
    found = set_means(values, tasks)
    return float(np.mean(list(found.values()))) if len(found) == len(SETS) else None


def weighted(values: Mapping[str, Floats]) -> dict[str, Floats]:
    """Values of each query, scaled so that the plain mean of the tasks' means is the headline; empty if it is None.

    Args:
        values: Task -> MRR, or difference of two, of each query.
    """
    shares = weights(list(values))
    return {task: len(shares) * share * np.asarray(values[task], dtype=np.float64) for task, share in shares.items()}
