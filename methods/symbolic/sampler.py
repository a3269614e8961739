"""An endless stream of functions to train on: expression, constants, points, values.

Drawn in tensors on one device, whole batches at a time, and fully determined by the state of the
generator (on one kind of device and evaluation back end: an accept limit can fall on either side of
a last rounding). The prior over expressions is `grammar`, canonical trees come from `trees`, points
and constants from `inputs`; here they become data sets. What is thrown away, and why:

- trees that could still be simplified (`canonical_check`), unless turning a difference cures them,
  and trees with more than `max_constants`;
- functions with a value that is not finite, beyond 10**8 in size, constant up to 1 %, dominated by
  a single point, or equal at a tenth of the points;
- functions that single precision cannot compute to 0.1 % of their spread (sin of a million);
- functions in which a variable or a number has no visible effect (less than 0.1 % of the spread):
  what the data cannot show cannot be learnt from them.

A function that fails gets up to two more sets of points and constants before it is dropped.

On a GPU, on paper (operations counted on the CPU with the torch evaluator, 30 tokens, 64 + 64
points): a round of 131,072 proposals launches some 19,000 kernels, a third of them for sorting, and
waits 3,800 times for the size of a subset; it moves about 2.7 MB for each of the 44,000 pairs that
come out. At 6 microseconds a launch and 3 TB/s that is 0.11 s and 0.04 s, so some 300,000 pairs a
second, bound by launches: fewer proposals at a time make it slower. `benchmark_sampler` measures it
where a GPU is at hand. On a processor the kernels are too small to be shared by torch's threads, so
one is used whatever is set; for more speed run several streams side by side.

Needs torch and numpy; uses numba for evaluation on the CPU where it is installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from methods.symbolic import grammar, inputs, programs, trees
from methods.symbolic import vocabulary as tok
from methods.symbolic.canonical_check import is_canonical

_LARGEST = 1e8
_LEAST_SPREAD = 0.01
_LEAST_EFFECT = 1e-3
_LARGEST_ERROR = 1e-3
_PROBES = 8  # points at which effects are looked for
_TRIES = 3


@dataclass(frozen=True)
class SamplerConfig:
    """What to draw.

    Attributes:
        max_length: most tokens of an expression.
        max_constants: most placeholders of an expression.
        points: points a function is given by.
        query_points: further points of the same kind, without noise.
        variables: columns of every data set, or None for a random number from 1 to 10.
        distractors: share of data sets with columns that the function does not use; applies where
            `variables` is None.
        noiseless: share of data sets without noise.
        max_noise: greatest noise, in units of the root mean square of the values.
    """

    max_length: int = 30
    max_constants: int = 6
    points: int = 64
    query_points: int = 0
    variables: int | None = None
    distractors: float = 0.35
    noiseless: float = 1 / 3
    max_noise: float = 0.2

    def __post_init__(self):
        if not 3 <= self.max_length <= 63:
            raise ValueError(f"max_length must be 3 to 63, not {self.max_length}")
        if self.variables is not None and not 1 <= self.variables <= tok.MAX_VARIABLES:
            raise ValueError(f"variables must be 1 to {tok.MAX_VARIABLES}, not {self.variables}")
        if self.points < 2 * _PROBES:
            raise ValueError(f"points must be at least {2 * _PROBES}, not {self.points}")


@dataclass(frozen=True)
class Batch:
    """Functions and their data, row by row, on one device.

    Attributes:
        tokens: int64 (B, L), canonical, padded with PAD; L is max_length.
        constants: float32 (B, K), values of the placeholders, 0 beyond them; K is max_constants.
        variables: int64 (B,), columns that exist; columns beyond are 0.
        used: bool (B, 10), columns that occur in the expression.
        X: float32 (B, N, 10).
        clean: float32 (B, N), the values.
        y: float32 (B, N), the values with noise.
        noise: float32 (B,), its size in units of the root mean square of `clean`.
        X_query: float32 (B, Q, 10).
        y_query: float32 (B, Q), without noise.
    """

    tokens: Tensor
    constants: Tensor
    variables: Tensor
    used: Tensor
    X: Tensor
    clean: Tensor
    y: Tensor
    noise: Tensor
    X_query: Tensor
    y_query: Tensor

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, rows) -> Batch:
        return Batch(*(getattr(self, f.name)[rows] for f in fields(self)))

    @classmethod
    def join(cls, parts: list[Batch]) -> Batch:
        """All rows of some batches."""
        return cls(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(cls)))


@dataclass
class Counts:
    """What became of the proposals so far.

    Attributes:
        proposed: trees begun.
        trees: those that came out canonical.
        drawn: data sets drawn for them, up to three a tree.
        accepted: functions with a good data set.
    """

    proposed: int = 0
    trees: int = 0
    drawn: int = 0
    accepted: int = 0


@contextmanager
def _one_kernel_thread(device: torch.device) -> Iterator[None]:
    """On a processor, let torch run kernels in the calling thread alone."""
    before = torch.get_num_threads()
    if device.type != "cpu" or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def sample_trees(
    proposals: int, config: SamplerConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Canonical skeletons without data.

    Args:
        proposals: how many to try; about half come out.
        config: uses max_length, max_constants, variables and distractors.

    Returns:
        Tokens int64 (B, max_length), and the number of columns of each, int64 (B,).
    """
    with _one_kernel_thread(generator.device):
        return _sample_trees(proposals, config, generator)


def _sample_trees(
    proposals: int, config: SamplerConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    draw = inputs.Draw(generator)
    lengths = 1 + draw.pick(_length_weights(config.max_length), proposals)
    closed = torch.zeros_like(lengths)
    for bit, family in enumerate(grammar.FAMILIES):
        closed |= draw.chance(grammar.ABSENT[family], proposals).long() << bit
    tokens, alive = trees.grow(lengths, closed, config.max_length, generator)
    few = (tokens == tok.CONSTANT).sum(1) <= config.max_constants
    tokens = tokens[alive & few & (tokens == tok.FIRST_VARIABLE).any(1)]
    # Every leaf its own variable in two cases of five, else some repeat.
    B, leaves = len(tokens), (tokens == tok.FIRST_VARIABLE).sum(1)
    most = leaves.clamp(max=config.variables or tok.MAX_VARIABLES)
    some = 1 + (draw.uniform(0, 1, B) * most).long().clamp(max=tok.MAX_VARIABLES - 1)
    used = torch.where(draw.chance(0.4, B), most, torch.minimum(some, most))
    if config.variables is None:
        spare = 1 + (draw.uniform(0, 1, B) ** 2 * 4).long()
        spare = torch.where(draw.chance(config.distractors, B), spare, 0)
        total = (used + spare).clamp(max=tok.MAX_VARIABLES)
    else:
        total = torch.full_like(used, config.variables)
    tokens = trees.sort_operands(trees.name_variables(tokens, used, total, generator))
    good, turn = is_canonical(tokens)
    again = turn.any(1).nonzero()[:, 0]
    tokens[again] = trees.sort_operands(tokens[again], turn[again])
    good[again], _ = is_canonical(tokens[again])
    return tokens[good], total[good]


def _length_weights(longest: int) -> Tensor:
    """Wanted lengths have a broad peak at ten tokens; longer trees are thrown away more often."""
    n = torch.arange(1, longest + 1, dtype=torch.float64)
    wanted = n**1.5 * torch.exp(-n / 6.5)
    return wanted * torch.exp(n / 20)


class Sampler:
    """An endless iterator of `Batch`es of one size.

    Args:
        batch_size: rows of each batch.
        generator: on the device on which to draw; its state determines everything.
        config: what to draw.
        proposals: trees tried at once; by default 4,096 on the CPU and 131,072 elsewhere. Part of
            what determines the stream.

    Attributes:
        counts: what became of the proposals.
    """

    def __init__(
        self,
        batch_size: int,
        generator: torch.Generator,
        config: SamplerConfig | None = None,
        proposals: int | None = None,
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size must be positive, not {batch_size}")
        self.batch_size, self.generator = batch_size, generator
        self.config = config or SamplerConfig()
        on_cpu = generator.device.type == "cpu"
        self.proposals = proposals or (4096 if on_cpu else 131072)
        self.counts = Counts()
        self._ready: list[Batch] = []

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        while sum(map(len, self._ready)) < self.batch_size:
            self._ready.append(self._produce())
        parts, missing = [], self.batch_size
        while missing:
            part = self._ready.pop(0)
            if len(part) > missing:
                self._ready.insert(0, part[missing:])
            parts.append(part[:missing])
            missing -= len(parts[-1])
        return Batch.join(parts)

    @torch.no_grad()
    def _produce(self) -> Batch:
        """What becomes of one lot of proposals, shuffled: functions of later tries are harder."""
        tokens, variables = sample_trees(self.proposals, self.config, self.generator)
        self.counts.proposed += self.proposals
        self.counts.trees += len(tokens)
        parts = []
        with _one_kernel_thread(tokens.device):
            for _ in range(_TRIES):
                batch, good = self._attempt(tokens, variables)
                parts.append(batch)
                self.counts.drawn += len(tokens)
                self.counts.accepted += len(batch)
                tokens, variables = tokens[~good], variables[~good]
            rows = Batch.join(parts)
            device = self.generator.device
            return rows[torch.randperm(len(rows), generator=self.generator, device=device)]

    def _attempt(self, tokens: Tensor, variables: Tensor) -> tuple[Batch, Tensor]:
        """Data for each tree, and whether they are good."""
        config, n = self.config, self.config.points
        constants = inputs.draw_constants(tokens, config.max_constants, self.generator)
        X = inputs.draw_points(variables, n + config.query_points, self.generator)
        values = programs.evaluate(tokens, X, constants, validate=False)
        good = has_good_values(values)
        for is_good in (is_stable, has_effects):
            rows = good.nonzero()[:, 0]
            good[rows] = is_good(tokens[rows], X[rows], constants[rows], values[rows])
        rows = good.nonzero()[:, 0]
        draw = inputs.Draw(self.generator)
        noise = self._noise(len(rows), draw)
        clean = values[rows, :n]
        y = clean + (noise * clean.square().mean(1).sqrt())[:, None] * draw.normal(*clean.shape)
        chosen = tokens[rows]
        place = torch.arange(tok.MAX_VARIABLES, device=chosen.device) + tok.FIRST_VARIABLE
        batch = Batch(
            tokens=chosen,
            constants=constants[rows],
            variables=variables[rows],
            used=(chosen[:, :, None] == place).any(1),
            X=X[rows, :n],
            clean=clean,
            y=y,
            noise=noise,
            X_query=X[rows, n:],
            y_query=values[rows, n:],
        )
        return batch, good

    def _noise(self, B: int, draw: inputs.Draw) -> Tensor:
        """Zero, or evenly over the decades from 0.001 up."""
        high = self.config.max_noise
        level = (0.001 * (high / 0.001) ** draw.uniform(0, 1, B)).clamp(max=high)
        return torch.where(draw.chance(self.config.noiseless, B), 0.0, level)


def has_good_values(values: Tensor) -> Tensor:
    """Whether functions with these values (B, N) are worth learning, bool (B,)."""
    finite = (values.abs() < _LARGEST).all(1)
    v = torch.where(finite[:, None], values, 0.0).double()
    deviation = v - v.mean(1, keepdim=True)
    variance = deviation.square().mean(1)
    varied = variance > _LEAST_SPREAD**2 * v.square().mean(1)
    alone = deviation.square().amax(1) > 0.8 * deviation.square().sum(1)
    steps = v.sort(1).values.diff(dim=1)
    equal = (steps < 1e-6 * variance.sqrt()[:, None]).float().mean(1) > 0.1
    return finite & varied & ~alone & ~equal & (variance > _LARGEST**-2)


def is_stable(tokens: Tensor, X: Tensor, constants: Tensor, values: Tensor) -> Tensor:
    """Whether values in single precision are about right, from some of the points, bool (B,).

    Args:
        tokens: (B, L); X: (B, N, 10); constants: (B, K); values: (B, N), all finite.
    """
    n = 2 * _PROBES
    X, constants = X[:, :n].double(), constants.double()
    exact = programs.evaluate(tokens, X, constants, validate=False)
    error = (exact - values[:, :n]).square().mean(1).sqrt()
    return error <= _LARGEST_ERROR * values.double().std(1)


def has_effects(tokens: Tensor, X: Tensor, constants: Tensor, values: Tensor) -> Tensor:
    """Whether every variable and every number in an expression shows in its values.

    Each is changed alone: a variable to its value at the next of a few points, a number by half.

    Args:
        tokens: (B, L); X: (B, N, 10); constants: (B, K); values: (B, N), all finite.

    Returns:
        bool (B,).
    """
    if len(tokens) == 0:
        return torch.zeros(0, dtype=torch.bool, device=tokens.device)
    open_tokens, numbers = inputs.numbers_as_constants(tokens, constants)
    X = X[:, :_PROBES]
    place = torch.arange(tok.MAX_VARIABLES, device=tokens.device) + tok.FIRST_VARIABLE
    used = (tokens[:, :, None] == place).any(1)
    row_x, column = used.nonzero(as_tuple=True)
    row_c, which = (~numbers.isnan()).nonzero(as_tuple=True)
    row = torch.cat([row_x, row_c])
    points, changed = X[row], numbers.nan_to_num(0.0)[row]
    one = torch.arange(len(row_x), device=tokens.device)
    points[one, :, column] = points[one, :, column].roll(1, 1)
    two = torch.arange(len(row_x), len(row), device=tokens.device)
    changed[two, which] *= 1.5
    moved = programs.evaluate(open_tokens[row], points, changed, validate=False)
    effect = (moved - values[row, :_PROBES]).square().mean(1).sqrt()
    visible = ~(effect < _LEAST_EFFECT * values.double().std(1)[row])
    good = torch.ones(len(tokens), dtype=torch.bool, device=tokens.device)
    good[row[~visible]] = False
    return good
