"""LEE in the harness."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from methods.lee.config import Refinement
from methods.network.method import LatentMethod

if TYPE_CHECKING:
    from methods.lee.model import LEE
    from methods.lee.refine import Search
    from methods.symbolic.problem import Problem


class Lee(LatentMethod):
    """Latent Equation Embedding: sample formulas from an embedding of the data, and refine it.

    Settings:
        weights: name of a size that ships, or a folder that `lee-bench train lee` wrote.
        max_rounds: rounds after which to stop, 0 for none: makes runs repeat exactly.
        all others: see `methods.lee.config.Refinement`.
    """

    name = "lee"
    title = "LEE"
    shipped = Path(__file__).parent / "weights"
    config = Refinement
    summary = "formulas decoded from a learned embedding of data and equation, refined"
    reference = "Latent Equation Embedding; see docs/lee.md"
    defaults: ClassVar = {"weights": "small", "max_rounds": 0, **asdict(Refinement())}

    def load(self, folder: Path) -> LEE:
        """The network in a folder."""
        from methods.lee import checkpoint

        return checkpoint.load(folder)[0]

    def begin(self, problem: Problem, **arguments: Any) -> Search:
        """A refinement of the estimate for a problem."""
        from methods.lee.refine import Search

        return Search(self._model, problem, self._config, **arguments)

    def told(self, search: Search) -> dict[str, Any]:
        """What of a search is worth keeping in a record."""
        sources, kept = Counter(), Counter()
        for r in search.history:
            sources.update(r.sources)
            kept.update(r.kept)
        return {
            "rounds": len(search.history),
            "decodes": sum(r.decodes for r in search.history),
            "candidates_by_source": dict(sources),
            "kept_by_source": dict(kept),
            "temperature": round(search.temperature, 3),
        }
