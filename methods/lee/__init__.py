"""LEE: an embedding of equation and data that is refined until formula and data agree."""

from __future__ import annotations

from typing import Any

__all__ = ["LEERegressor"]


def __getattr__(name: str) -> Any:
    """Load torch and scikit-learn only for those who ask for the estimator."""
    if name == "LEERegressor":
        from methods.lee.regressor import LEERegressor

        return LEERegressor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
