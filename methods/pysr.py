"""PySR: evolutionary search over expressions in Julia, with simplification and constant fitting.

Written against PySR 1.0 to 2.7. Importing pysr starts Julia inside the process, so it happens in
`prepare` only, and the compiling that Julia does at the first search is done there as well.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lee_bench.contract import Budget, Candidate, Method, Outcome, Task
from lee_bench.expression import Expression, Variable, parse


class PySR(Method):
    """PySRRegressor with its own defaults; only operators, clock, seed and threads are set.

    Settings:
        binary, unary: operators.
        maxsize: largest complexity of a formula.
        populations, population_size: size of the search.
        generations: PySR's iterations; stop after so many; 0 leaves it to the clock.
        precision: bits of a number, 32 or 64.
    """

    summary = "evolutionary search with constant fitting (Julia)"
    reference = "Cranmer 2023, arXiv:2305.01582"
    packages: ClassVar = {"pysr": "pysr>=1.0"}
    remedy = (
        "Run `python -c 'import pysr'` once with that Python: it fetches Julia and its packages. "
        "Where it cannot, install Julia from https://julialang.org/downloads first."
    )
    defaults: ClassVar = {
        "binary": ("+", "-", "*", "/"),
        "unary": ("sin", "cos", "exp", "log", "sqrt", "square"),
        "maxsize": 30,
        "populations": 31,
        "population_size": 27,
        "generations": 0,
        "precision": 32,
    }

    @classmethod
    def unavailable(cls) -> str:
        """Why Julia is not ready, judged by the file juliapkg leaves when it has set it up."""
        environment = os.environ.get
        places = [Path(sys.prefix, "julia_env")]
        if project := environment("PYTHON_JULIAPKG_PROJECT"):
            places = [Path(project)]
        elif sys.prefix == sys.base_prefix:
            depot = environment("JULIA_DEPOT_PATH", "").split(os.pathsep)[0] or "~/.julia"
            places = [Path(depot).expanduser() / "environments" / "pyjuliapkg"]
            if conda := environment("CONDA_PREFIX"):
                places = [Path(conda, "julia_env")]
        if any((place / "pyjuliapkg" / "meta.json").is_file() for place in places):
            return ""
        return f"Julia is not set up for {sys.executable}"

    def arguments(self, budget: Budget, seed: int) -> dict[str, Any]:
        """Keyword arguments of PySRRegressor."""
        alone = budget.threads == 1
        return {
            "binary_operators": list(self.settings["binary"]),
            "unary_operators": list(self.settings["unary"]),
            "maxsize": self.settings["maxsize"],
            "populations": self.settings["populations"],
            "population_size": self.settings["population_size"],
            "precision": self.settings["precision"],
            "niterations": self.settings["generations"] or 10_000_000,
            "timeout_in_seconds": budget.seconds,
            "random_state": seed,
            "parallelism": "serial" if alone else "multithreading",
            "deterministic": alone,
            "print_precision": 17,  # formulas come back as text; lose nothing
            "progress": False,
            "verbosity": 0,
            "temp_equation_file": True,
        }

    def prepare(self, task: Task, budget: Budget, seed: int) -> None:
        """Start Julia with the threads allowed, and let it compile on a few rows."""
        os.environ["PYTHON_JULIACALL_THREADS"] = str(budget.threads)  # read when pysr is imported
        from pysr import PySRRegressor

        arguments = self.arguments(budget, seed)
        self._regressor = PySRRegressor(**arguments)
        PySRRegressor(**arguments | {"niterations": 1}).fit(task.X[:20], task.y[:20])

    def search(self, task: Task, budget: Budget, seed: int) -> None:
        """Run until the clock, which PySR keeps itself."""
        self._features, clock = task.features, budget.start()
        self._regressor.fit(task.X, task.y)
        self._stop_reason = "time limit" if clock.over else "generation limit"

    def answer(self) -> Outcome:
        """Print the hall of fame; PySR's own selection is the choice.

        PySR is left to call the columns x0, x1, ...: it refuses names that sympy knows, like ``I``.
        """
        found = self._regressor
        columns = [f"x{i}" for i in range(len(self._features))]
        names = {
            column: Expression((Variable(feature),))
            for column, feature in zip(columns, self._features, strict=True)
        }
        table = found.equations_[np.isfinite(found.equations_["loss"])]
        best = int(found.get_best().name)
        return Outcome(
            tuple(
                Candidate(
                    str(parse(row["equation"], columns).substitute(names)),
                    loss=float(row["loss"]),
                    complexity=float(row["complexity"]),
                )
                for _, row in table.iterrows()
            ),
            chosen=list(table.index).index(best),
            predict=lambda X: np.asarray(found.predict(X, index=best), dtype=np.float64),
            stop_reason=self._stop_reason,
        )
