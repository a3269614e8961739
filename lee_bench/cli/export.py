"""`lee-bench export`: all cells as one table, for pandas, R and spreadsheets."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated

from lee_bench.cli import options
from lee_bench.cli.grade import Jobs, ResultsArgument


def export(
    results: ResultsArgument,
    output: Annotated[Path, options.output("File to write: .csv or .parquet.")],
    data: options.Data = options.DataMode.AUTO,
    pmlb_cache: options.PmlbCache = None,
    jobs: Jobs = None,
) -> None:
    """Write one row a cell, with scores, formulas and provenance, as CSV or Parquet.

    The columns are explained in docs/evidence.md. Example:

    lee-bench export results/ -o cells.parquet
    """
    from lee_bench.cli import console, graded
    from lee_bench.errors import SetupError, UsageError
    from lee_bench.files import write_atomically

    suffix = output.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise UsageError(
            f"{output} ends neither in .csv nor in .parquet.", "Name the file so that its end says."
        )
    _, cells = graded.frame(results, data.value, pmlb_cache, jobs)
    try:
        if suffix == ".csv":
            content = cells.to_csv(index=False).encode()
        else:
            buffer = io.BytesIO()
            cells.to_parquet(buffer, index=False)
            content = buffer.getvalue()
        write_atomically(output, content)
    except ImportError as error:
        raise SetupError(
            "Parquet needs pyarrow, which is not installed here.",
            "Install it (`pip install pyarrow`), or export to .csv.",
        ) from error
    except OSError as error:
        raise SetupError(f"Cannot write {output}: {error.strerror}.") from error
    console.out.print(f"Written: {output}, {len(cells)} cells.", markup=False, soft_wrap=True)
