"""GenSR in the harness."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from methods.gensr.config import SearchConfig
from methods.network import weights
from methods.network.method import LatentMethod

if TYPE_CHECKING:
    from methods.gensr import model
    from methods.gensr.search import Search
    from methods.symbolic.problem import Problem


class GenSR(LatentMethod):
    """Evolve a point of a generative latent space until the formula decoded from it fits.

    Settings:
        weights: name of a size that ships, or a folder that `lee-bench train gensr` wrote.
        max_rounds: generations, of all evolutions together, after which to stop, 0 for none: makes
            runs repeat exactly.
        all others: see `methods.gensr.config.SearchConfig`.
    """

    name = "gensr"
    title = "GenSR"
    shipped = Path(__file__).parent / "weights"
    config = SearchConfig
    summary = "formulas decoded from a generative latent space, searched by a degenerate CMA-ES"
    reference = "arXiv 2602.20557 (ICLR 2026), built from the paper; see docs/gensr.md"
    defaults: ClassVar = {"weights": "small", "max_rounds": 0, **asdict(SearchConfig())}
    remedy = (
        "Train it with `lee-bench train gensr`, then copy results/training/gensr-small/model "
        f"to {shipped / 'small'}."
    )

    @classmethod
    def unavailable(cls) -> str:
        """Whether there are no weights to run with."""
        return "" if weights.shipped(cls.shipped) else "no trained weights are here"

    def load(self, folder: Path) -> model.GenSR:
        """The network in a folder."""
        from methods.gensr import checkpoint

        return checkpoint.load(folder)[0]

    def begin(self, problem: Problem, **arguments: Any) -> Search:
        """An evolution of z for a problem."""
        from methods.gensr.search import Search

        return Search(self._model, problem, self._config, **arguments)

    def told(self, search: Search) -> dict[str, Any]:
        """What of a search is worth keeping in a record."""
        history = search.history
        return {
            "generations": len(history),
            "evolutions": history[-1].evolution + 1 if history else 0,
            "evolutions_ended": dict(search.stops),
            "decodes": sum(g.decodes for g in history),
        }
