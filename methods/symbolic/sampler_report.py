"""What the sampler makes, and how much of a list of formulas it happens to make.

    python -m methods.symbolic.sampler_report [--samples N] [--seed S] [--formulas FILE.csv ...]

The formulas serve one purpose: to measure how many of a benchmark's laws occur in the training
stream, which a model card has to state. Nothing here feeds back into the prior.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from methods.symbolic import vocabulary as tok
from methods.symbolic.canonical import canonical_row
from methods.symbolic.sampler import Batch, Counts, Sampler, SamplerConfig

_ARITY = tok.ARITY.tolist()


@dataclass(frozen=True)
class Formula:
    """A law to look for: its name, its text and its variables in column order."""

    name: str
    text: str
    variables: tuple[str, ...]


@dataclass(frozen=True)
class Overlap:
    """How far samples and formulas coincide, up to the names of variables.

    Attributes:
        samples: skeletons looked at.
        formulas: formulas looked for.
        exact: names of those that occur with their integers and pi, other numbers being constants.
        shape: names of those that occur if all numbers count as constants.
        sample_share: share of the samples that are one of the formulas (`exact`).
        unreadable: names of formulas that the vocabulary cannot write.
    """

    samples: int
    formulas: int
    exact: tuple[str, ...]
    shape: tuple[str, ...]
    sample_share: float
    unreadable: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """A description of some samples.

    Attributes:
        rows: the samples, without points.
        counts: what became of the proposals.
        seconds: wall time to draw them.
        overlap: with the formulas given, or None.
    """

    rows: list[Batch]
    counts: Counts
    seconds: float
    overlap: Overlap | None

    @property
    def tokens(self) -> np.ndarray:
        """int64 (N, L)."""
        return np.concatenate([b.tokens.cpu().numpy() for b in self.rows])

    def text(self, examples: int = 50) -> str:
        """The report as plain text."""
        tokens, counts = self.tokens, self.counts
        total = len(tokens)
        both = Batch.join(self.rows)
        noise = both.noise.cpu().numpy()
        lines = [
            f"{total} functions in {self.seconds:.1f} s ({total / self.seconds:.0f} a second)",
            f"trees:     {counts.trees / counts.proposed:.1%} of proposals are canonical",
            f"data sets: {counts.accepted / counts.drawn:.1%} of those drawn are kept",
            f"in all {counts.accepted / counts.trees:.1%} of the trees get data",
            f"distinct skeletons: {len({row.tobytes() for row in tokens}) / total:.1%}",
            _histogram("tokens", tok.lengths(tokens)),
            _histogram("variables that occur", both.used.sum(1).cpu().numpy()),
            _histogram("columns", both.variables.cpu().numpy()),
            _histogram("constants", tok.count_constants(tokens)),
            f"noise: none in {(noise == 0).mean():.0%}, at most {noise.max():.3f}",
            "tokens an expression: "
            + ", ".join(
                f"{name} {(tokens == tok.ID[name]).sum() / total:.2f}"
                for name in tok.NAMES[1:]
                if (tokens == tok.ID[name]).any()
            ),
        ]
        if self.overlap is not None:
            lines += _overlap_lines(self.overlap)
        lines.append("examples:")
        constants = both.constants.cpu().numpy()
        for row, values in zip(tokens[:examples], constants[:examples], strict=True):
            lines.append("  " + tok.to_infix(row, values, digits=3))
        return "\n".join(lines)


def _histogram(title: str, values: np.ndarray) -> str:
    counts = np.bincount(values)
    shares = (f"{i}: {n / len(values):.1%}" for i, n in enumerate(counts) if n)
    return f"{title} (mean {values.mean():.1f}): " + ", ".join(shares)


def _overlap_lines(overlap: Overlap) -> list[str]:
    exact, shape, n = len(overlap.exact), len(overlap.shape), max(overlap.formulas, 1)
    return [
        f"of {overlap.formulas} formulas, among {overlap.samples} samples, up to variables' names:",
        f"  {exact} ({exact / n:.1%}) occur with their numbers",
        f"  {shape} ({shape / n:.1%}) occur if all numbers count as constants",
        f"samples that are one of the formulas: {overlap.sample_share:.2%}",
        "with their numbers: " + (", ".join(overlap.exact) or "none"),
        *([f"cannot be written: {', '.join(overlap.unreadable)}"] * bool(overlap.unreadable)),
    ]


def describe(
    samples: int,
    seed: int,
    config: SamplerConfig | None = None,
    formulas: Sequence[Formula] = (),
    device: str = "cpu",
) -> Report:
    """Draw some functions and report on them."""
    generator = torch.Generator(device).manual_seed(seed)
    sampler = Sampler(min(samples, 4096), generator, config)
    rows, start = [], time.perf_counter()
    while sum(map(len, rows)) < samples:
        batch = next(sampler)
        rows.append(
            Batch(*(v[:, :0] if v.ndim == 3 or name in ("clean", "y", "y_query") else v
                    for name, v in vars(batch).items()))
        )  # fmt: skip
    seconds = time.perf_counter() - start
    overlap = None
    if formulas:
        overlap = measure_overlap((r for b in rows for r in b.tokens.cpu().numpy()), formulas)
    return Report(rows, sampler.counts, seconds, overlap)


def renamed_key(tokens: Sequence[int]) -> int:
    """A number equal for expressions that differ by the names of variables and by order alone.

    Variables are told apart by where they occur (three rounds of colour refinement on the tree), so
    it may also be equal for other pairs, which are rare. The same in every run.
    """
    arguments: list[list[int]] = []
    stack: list[int] = []
    for i in range(len(tokens) - 1, -1, -1):
        taken = [stack.pop() for _ in range(_ARITY[tokens[i]])]
        arguments.insert(0, [len(tokens) - 1 - a for a in taken])
        stack.append(len(tokens) - 1 - i)
    colour = dict.fromkeys(tokens, 0)
    up = [0] * len(tokens)
    for _ in range(3):
        for i in range(len(tokens) - 1, -1, -1):
            parts = [up[a] for a in arguments[i]]
            if tok.IS_COMMUTATIVE[tokens[i]]:
                parts.sort()
            variable = bool(tok.IS_VARIABLE[tokens[i]])
            up[i] = hash((variable, colour[tokens[i]] if variable else tokens[i], *parts))
        around = [0] * len(tokens)
        places: dict[int, list[int]] = {}
        for i, token in enumerate(tokens):
            if tok.IS_VARIABLE[token]:
                places.setdefault(token, []).append(around[i])
            for side, a in enumerate(arguments[i]):
                others = sorted(up[b] for b in arguments[i] if b != a)
                place = 0 if tok.IS_COMMUTATIVE[token] else side
                around[a] = hash((around[i], token, place, *others))
        colour |= {token: hash(tuple(sorted(where))) for token, where in places.items()}
    return up[0]


def _keys(row: Sequence[int]) -> tuple[int, int]:
    """Keys of a canonical skeleton as it is and with all its numbers as constants."""
    free = [tok.CONSTANT if tok.IS_LITERAL[t] else t for t in row]
    return renamed_key(row), renamed_key(canonical_row(free)[0])


def measure_overlap(skeletons: Iterable[np.ndarray], formulas: Sequence[Formula]) -> Overlap:
    """How many of the formulas occur among canonical skeletons, up to the names of variables."""
    wanted: dict[str, tuple[int, int]] = {}
    unreadable = []
    for formula in formulas:
        try:
            tokens, _ = tok.from_infix(formula.text, formula.variables)
        except ValueError:
            unreadable.append(formula.name)
        else:
            wanted[formula.name] = _keys(canonical_row(tokens.tolist())[0])
    seen = Counter(tuple(row[row != tok.PAD].tolist()) for row in skeletons)
    exact: Counter[int] = Counter()
    shapes = set()
    for row, times in seen.items():
        key, shape = _keys(row)
        exact[key] += times
        shapes.add(shape)
    total = sum(seen.values())
    laws = {key for key, _ in wanted.values()}
    return Overlap(
        samples=total,
        formulas=len(formulas),
        exact=tuple(name for name, (key, _) in wanted.items() if key in exact),
        shape=tuple(name for name, (_, shape) in wanted.items() if shape in shapes),
        sample_share=sum(exact[key] for key in laws) / max(total, 1),
        unreadable=tuple(unreadable),
    )


def read_formulas(path: str | Path) -> list[Formula]:
    """Formulas of a CSV file with the columns name, formula and features (separated by `;`).

    Lines that begin with # are skipped.

    Raises:
        ValueError: a column is missing.
    """
    with Path(path).open(newline="", encoding="utf-8") as lines:
        rows = csv.DictReader(line for line in lines if not line.startswith("#"))
        missing = {"name", "formula", "features"} - set(rows.fieldnames or ())
        if missing:
            raise ValueError(f"{path} has no column {', '.join(sorted(missing))}")
        return [Formula(r["name"], r["formula"], tuple(r["features"].split(";"))) for r in rows]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Describe what the sampler makes.")
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--examples", type=int, default=50)
    parser.add_argument("--formulas", nargs="*", default=[], help="CSV files to compare with")
    args = parser.parse_args()
    formulas = [f for path in args.formulas for f in read_formulas(path)]
    report = describe(args.samples, args.seed, formulas=formulas, device=args.device)
    print(report.text(args.examples))


if __name__ == "__main__":
    main()
