"""What a fit to a person's table has found, and how it is told: table, summary, files, plots."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from lee_bench import __version__
from lee_bench.cli.columns import Data
from lee_bench.evidence import plots_fit
from lee_bench.evidence.words import r2_text
from lee_bench.files import write_atomically
from lee_bench.latex import name_to_latex

DIGITS = 6
"""Of decimal numbers in tables, plots and LaTeX; the formula itself is told exactly."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A finished fit.

    Attributes:
        data: all usable rows.
        held_out: bool (n,), which of them were not fitted.
        estimator: a fitted `methods.lee.LEERegressor`.
    """

    data: Data
    held_out: np.ndarray
    estimator: Any

    @property
    def tested(self) -> bool:
        """Whether there are rows to test on."""
        return bool(self.held_out.any())

    @cached_property
    def predictions(self) -> list[np.ndarray]:
        """Values (n,) of each formula of the front; NaN or infinite where it is not defined."""
        formulas = self.estimator.expressions_
        return [formula.evaluate(self.data.X, self.data.names) for formula in formulas]

    @cached_property
    def front(self) -> list[dict[str, Any]]:
        """Complexity, R² on fitted and on other rows, and formula, of each; simplest first."""
        return [
            {
                "complexity": int(row.complexity),
                "r2_fit": self._r2(prediction, ~self.held_out),
                "r2_test": self._r2(prediction, self.held_out) if self.tested else None,
                "formula": row.formula,
                "chosen": bool(row.chosen),
            }
            for row, prediction in zip(
                self.estimator.equations_.itertuples(), self.predictions, strict=True
            )
        ]

    @property
    def chosen(self) -> int:
        """Place of the answer in the front."""
        return next(i for i, row in enumerate(self.front) if row["chosen"])

    def _r2(self, prediction: np.ndarray, rows: np.ndarray) -> float | None:
        """Weighted R², whatever the size of y; None where the formula is not defined in all."""
        data, unit = self.data, np.abs(self.data.y).max()
        y, prediction = data.y[rows] / unit, prediction[rows] / unit
        weights = np.ones(len(y)) if data.weights is None else data.weights[rows]
        if not np.isfinite(prediction).all() or not weights.any():
            return None
        with np.errstate(over="ignore"):
            error = np.average((y - prediction) ** 2, weights=weights)
        spread = np.average((y - np.average(y, weights=weights)) ** 2, weights=weights)
        if spread == 0:
            return 1.0 if error == 0 else 0.0
        return float(1 - error / spread) if math.isfinite(error) else None

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What ``model.json`` holds."""
        data, estimator, chosen = self.data, self.estimator, self.front[self.chosen]
        return {
            "target": data.target,
            "formula": estimator.formula_,
            "latex": f"{name_to_latex(data.target)} = {estimator.latex(digits=DIGITS)}",
            **{key: chosen[key] for key in ("complexity", "r2_fit", "r2_test")},
            "features": list(data.names),
            "searched_features": list(estimator.selected_features_),
            "rows_fitted": int((~self.held_out).sum()),
            "rows_tested": int(self.held_out.sum()),
            "notes": list(data.notes),
            "equations": self.front,
            "model": str(estimator.model),
            "seed": estimator.random_state,
            "stop_reason": estimator.stop_reason_,
            "rounds": len(estimator.refine_history_),
            "version": __version__,
        }

    def table(self) -> Table:
        """The front for the terminal."""
        view = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
        for name in ("size", *(("R² fit", "R² test") if self.tested else ("R²",))):
            view.add_column(name, justify="right", no_wrap=True)
        view.add_column("formula (● chosen)", overflow="fold")
        for i, row in enumerate(self.front):
            scores = [row["r2_fit"]] + [row["r2_test"]] * self.tested
            view.add_row(
                str(row["complexity"]),
                *(r2_text(math.nan if score is None else score) for score in scores),
                f"{'●' if row['chosen'] else ' '} {escape(self._short(i))}",
                style="bold" if row["chosen"] else "",
            )
        return view

    def _short(self, index: int) -> str:
        return self.estimator.text(index, DIGITS)

    def write(self, folder: Path) -> list[Path]:
        """Write front, formula, LaTeX, summary and plots; returns their paths."""
        scores = {key: [row[key] for row in self.front] for key in ("r2_fit", "r2_test")}
        front = self.estimator.equations_.drop(columns="r2").assign(**scores)
        contents = {
            "front.csv": front.to_csv(index=False),
            "formula.txt": self.estimator.formula_ + "\n",
            "formula.tex": self.summary["latex"] + "\n",
            "model.json": json.dumps(self.summary, indent=1, ensure_ascii=False) + "\n",
        }
        for name, content in contents.items():
            write_atomically(folder / name, content)
        return [*(folder / name for name in contents), *plots_fit.save(self._picture(), folder)]

    def _picture(self) -> plots_fit.FitPicture:
        data, formula = self.data, self.estimator.expression_
        used = [name for name in data.names if name in formula.variables]
        curve = None
        if len(used) == 1:
            x = data.X[:, data.names.index(used[0])]
            x = np.linspace(x.min() / 2, x.max() / 2, 1000) * 2  # the range of x may overflow
            curve = x, formula.evaluate(x[:, None], used)
        return plots_fit.FitPicture(
            target=data.target,
            formula=self._short(self.chosen),
            y=data.y,
            prediction=self.predictions[self.chosen],
            held_out=self.held_out,
            features={name: data.X[:, data.names.index(name)] for name in used},
            r2_fit=self.front[self.chosen]["r2_fit"],
            r2_test=self.front[self.chosen]["r2_test"],
            curve=curve,
        )
