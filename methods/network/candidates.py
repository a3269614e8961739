"""Expressions that the encoder reads beside data, constants fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from methods.symbolic import constants, programs
from methods.symbolic import vocabulary as tok
from methods.symbolic.affine import with_affine
from methods.symbolic.sampler import Batch

# A wrong candidate deserves little: two descents from the best of a few starts.
EFFORT = constants.Effort(starts=2, candidates=16, screen=64, max_steps=20)


@dataclass(frozen=True)
class Candidates:
    """Expressions as the encoder reads them beside data, scale and offset taken off.

    Attributes:
        tokens: int64 (B, L), prefix, padded.
        constants: float32 (B, L), one for each placeholder from the left, 0 beyond them.
        prediction: float32 (B, N), their values at the points with the best scale and offset put
            on; NaN or infinite where undefined.
        guess: bool (B,), whether they are finds to do better than, however well they fit; else
            they are the expressions that the data come from.
    """

    tokens: Tensor
    constants: Tensor
    prediction: Tensor
    guess: Tensor

    def __getitem__(self, rows) -> Candidates:
        return Candidates(*(tensor[rows] for tensor in self._tensors()))

    def at(self, points: Tensor) -> Candidates:
        """The same with predictions at some of the points (indices) alone, cut to their length."""
        longest = int((self.tokens != tok.PAD).sum(1).max()) if len(self.tokens) else 1
        return replace(
            self,
            tokens=self.tokens[:, :longest],
            constants=self.constants[:, :longest],
            prediction=self.prediction[:, points],
        )

    def error(self, y: Tensor) -> Tensor:
        """Mean squared residual (B,) at targets y (B, N); infinite where a value is undefined."""
        return (y - self.prediction).square().mean(1).nan_to_num(torch.inf, torch.inf)

    def where(self, chosen: Tensor, others: Candidates) -> Candidates:
        """Rows of this batch where `chosen`, bool (B,), else those of another of like shape."""
        row = torch.arange(len(chosen), device=chosen.device)
        return Candidates.join([self, others])[row + len(row) * ~chosen]

    def to(self, device: torch.device) -> Candidates:
        """The same on a device."""
        return Candidates(*(tensor.to(device) for tensor in self._tensors()))

    @classmethod
    def join(cls, parts: Sequence[Candidates]) -> Candidates:
        """All rows of some batches."""
        return cls(*map(torch.cat, zip(*(part._tensors() for part in parts), strict=True)))

    def _tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.tokens, self.constants, self.prediction, self.guess


def fitted(
    tokens: Tensor, functions: Batch, seed: int, *, guess: Tensor | bool, threads: int = 1
) -> Candidates:
    """Fit one expression for each function, with a free scale and offset, to its noisy points.

    Args:
        tokens: valid prefix rows, int64 (B, L).
        functions: B of them.
        seed: of the fit's starts.
        guess: whether they are guesses, all or each of them, bool (B,).
        threads: processor cores to use; the work is done there, wherever the tensors are.
    """
    device = tokens.device
    tokens, X, y = tokens.cpu(), functions.X.cpu().double(), functions.y.cpu().double()
    wide = torch.from_numpy(with_affine(tokens.numpy()))
    fit = constants.fit(wide, X, y, effort=EFFORT, seed=seed, threads=threads)
    prediction = programs.evaluate(wide, X, fit.constants, threads=threads)
    inner = functional.pad(fit.constants[:, 2:], (0, wide.shape[1] - fit.constants.shape[1] - 2))
    guess = torch.as_tensor(guess).cpu().expand(len(tokens))
    return Candidates(tokens, inner.float(), prediction.float(), guess).to(device)
