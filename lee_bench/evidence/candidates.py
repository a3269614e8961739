"""All formulas that methods stand by on one problem, not only the chosen ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lee_bench.errors import ExpressionError, LeeBenchError
from lee_bench.evidence import aggregate
from lee_bench.evidence.grade import Cell, MeasuredOn
from lee_bench.evidence.metrics import r2
from lee_bench.evidence.pareto import costs, ranks
from lee_bench.expression import parse
from lee_bench.runs.record import RunRecord
from lee_bench.tasks.sources import DataSource

COLUMNS = ["suite", "noise", "label", "method", "seed", "chosen", "r2_test", "complexity_raw",
           "rank", "formula"]  # fmt: skip


def of_task(
    records: Sequence[RunRecord], source: DataSource
) -> tuple[pd.DataFrame, list[LeeBenchError]]:
    """Score every candidate of these records on clean test data.

    Args:
        records: of one task.
        source: where its data come from.

    Returns:
        A row a candidate, with columns `COLUMNS`: ``complexity_raw`` counts nodes as written, for
        sympy would need minutes for all; ``rank`` is the number of the Pareto front among all
        candidates at one noise level, NaN if not finite on the test data. And what could not be
        scored, an error each.
    """
    data = MeasuredOn(source)
    labels = aggregate.cells(Cell(record, None) for record in records)["label"]
    rows: list[list] = []
    troubles: dict[str, LeeBenchError] = {}
    for record, label in zip(records, labels, strict=True):
        key = record.key
        for number, candidate in enumerate(record.candidates):
            try:
                info, parts = data.of(record)
                expression = parse(candidate["formula"], info.features)
            except ExpressionError:
                continue  # a candidate that nobody can read was not chosen either
            except LeeBenchError as error:
                troubles.setdefault(str(error), error)
                break
            score = r2(parts.y_test, expression.evaluate(parts.X_test, info.features))
            rows.append([key.suite, key.noise, label, key.method, key.seed,
                         number == record.chosen, score, len(expression), np.nan,
                         candidate["formula"]])  # fmt: skip
    table = pd.DataFrame(rows, columns=COLUMNS)
    for _, panel in table.groupby("noise"):
        table.loc[panel.index, "rank"] = ranks(costs(panel["complexity_raw"], panel["r2_test"]))
    return table, list(troubles.values())
