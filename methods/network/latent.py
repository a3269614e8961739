"""A latent space seen from outside: where families of functions lie, and what lies between two.

For any network that reads data into z and writes expressions from it (`Coder`), so that the spaces
of two networks can be compared on the same functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lee_bench.errors import ExpressionError, UsageError
from lee_bench.expression import Expression, parse
from methods.symbolic import vocabulary as tok
from methods.symbolic.problem import Problem
from methods.symbolic.sampler import Batch, Sampler, SamplerConfig
from methods.symbolic.search import Pool

FAMILIES: Mapping[str, tuple[int, ...]] = {
    "exp": (tok.EXP,),
    "trig": (tok.SIN, tok.COS, tok.TAN),
    "log": (tok.LOG,),
}
DIMENSIONS = (2, 5)
POINTS = 48  # as large a bag as the networks are trained on
_ROWS, _PROPOSALS = 1024, 4096  # functions drawn at once; about one in ten belongs to a group
_RANGE = 0.5, 3.0  # of the variables between two formulas
_NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*\b(?!\s*\()")  # no function's, no exponent's e


@dataclass(frozen=True)
class Coder:
    """A network as its latent space is mapped.

    Attributes:
        encode: X float32 (B, N, 10), y (B, N), variables int64 (B,) -> z (B, tokens, width).
        decode: z (B, tokens, width), variables (B,) -> likeliest tokens, int64 (B, L).
        settle: brings points between two z to where the encoder's z lie.
        z_tokens: tokens of z that stand for the function as a whole; the others for variables.
    """

    encode: Callable[[Tensor, Tensor, Tensor], Tensor]
    decode: Callable[[Tensor, Tensor], Tensor]
    settle: Callable[[Tensor], Tensor]
    z_tokens: int


@dataclass(frozen=True)
class Map:
    """Where functions lie.

    Attributes:
        z: float64 (n, k): the tokens of the whole function, and the mean of the variables' tokens,
            so that the number of variables does not show by itself.
        family, dimension, mean_y: of each function, (n,).
    """

    z: np.ndarray
    family: np.ndarray
    dimension: np.ndarray
    mean_y: np.ndarray


@dataclass(frozen=True)
class Step:
    """What lies at a point between two formulas.

    Attributes:
        share: of the way.
        formula: likeliest core there, `C` for constants.
        first, second: R2 of it, scale, offset and constants fitted, on the data of either formula.
    """

    share: float
    formula: str
    first: float
    second: float


def family_members(dimension: int, count: int, seed: int) -> dict[str, Batch]:
    """Functions of our sampler in so many variables, all used, without noise.

    A function belongs to a family if it has an operator of it and none of the others'.

    Returns:
        `count` functions of each family.
    """
    config = SamplerConfig(points=POINTS, variables=dimension, noiseless=1.0)
    generator = torch.Generator().manual_seed(seed)
    stream = Sampler(_ROWS, generator, config, _PROPOSALS)
    parts: dict[str, list[Batch]] = {name: [] for name in FAMILIES}
    while any(sum(map(len, found)) < count for found in parts.values()):
        drawn = next(stream)
        has = {
            name: torch.isin(drawn.tokens, torch.tensor(ids)).any(1)
            for name, ids in FAMILIES.items()
        }
        pure = drawn.used[:, :dimension].all(1) & (sum(h.int() for h in has.values()) == 1)
        for name, found in parts.items():
            found.append(drawn[pure & has[name]])
    return {name: Batch.join(found)[:count] for name, found in parts.items()}


def survey(coder: Coder, count: int = 40, seed: int = 0) -> Map:
    """Read `count` functions of each family and dimension.

    Args:
        seed: of the functions, which are the same for every network.
    """
    z, family, dimension, mean = [], [], [], []
    for d in DIMENSIONS:
        for name, functions in family_members(d, count, seed).items():
            read = coder.encode(functions.X, functions.y, functions.variables).double()
            own, others = read[:, : coder.z_tokens], read[:, coder.z_tokens :][:, :d]
            z.append(torch.cat([own.flatten(1), others.mean(1)], 1).numpy())
            family += [name] * count
            dimension += [d] * count
            mean.append(functions.clean.double().mean(1).numpy())
    return Map(np.concatenate(z), np.array(family), np.array(dimension), np.concatenate(mean))


def between(coder: Coder, first: str, second: str, steps: int = 9, seed: int = 0) -> list[Step]:
    """Decode points on the line between two formulas' z.

    Args:
        first, second: formulas; together they have at most ten variables, which are drawn uniformly
            from 0.5 to 3.
        steps: points, the ends included.

    Raises:
        UsageError: a formula cannot be read, is constant or has no value there, or there are no
            variables or too many.
    """
    names = sorted({name for text in (first, second) for name in _NAME.findall(text)} - {"pi"})
    if not 1 <= len(names) <= tok.MAX_VARIABLES:
        raise UsageError(
            f"The formulas have {len(names)} variables.", "They may have 1 to 10 together."
        )
    try:
        formulas = [parse(text, names) for text in (first, second)]
    except ExpressionError as error:
        raise UsageError(str(error), error.hint) from None
    X = np.random.default_rng(seed).uniform(*_RANGE, (POINTS, len(names)))
    values = [_values(formula, X, names) for formula in formulas]
    variables = torch.full((2,), len(names))
    bags = functional.pad(torch.tensor(X, dtype=torch.float32), (0, tok.MAX_VARIABLES - len(names)))
    ends = coder.encode(
        bags.expand(2, -1, -1), torch.tensor(np.array(values), dtype=torch.float32), variables
    ).float()
    shares = torch.linspace(0, 1, steps)
    z = coder.settle(torch.lerp(ends[:1], ends[1:], shares[:, None, None]))
    tokens = coder.decode(z, variables[:1].expand(steps)).numpy()
    r2 = []
    for y in values:
        pool = Pool(Problem(X, y, names), threads=1, seed=seed)
        pool.offer(tokens)
        r2.append(pool.r2(tokens).tolist())
    texts = [tok.to_infix(row, names=names) for row in tokens]
    return [Step(*step) for step in zip(shares.tolist(), texts, *r2, strict=True)]


def _values(formula: Expression, X: np.ndarray, names: list[str]) -> np.ndarray:
    with np.errstate(all="ignore"):
        y = formula.evaluate(X, names)
    if not (np.isfinite(y).all() and np.ptp(y) > 0):
        raise UsageError(
            f"'{formula}' is constant or has no value for variables from {_RANGE[0]} to "
            f"{_RANGE[1]}.",
            "Name a formula that varies there.",
        )
    return y
