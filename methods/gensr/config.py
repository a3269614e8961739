"""Sizes of GenSR and settings of its training and of its search, as plain data, without torch."""

from __future__ import annotations

from dataclasses import dataclass

from methods.network.config import NetworkConfig
from methods.symbolic.method import PATIENCE


@dataclass(frozen=True)
class ModelConfig(NetworkConfig):
    """Shape of GenSR's network.

    Attributes:
        cloud: most samples of z that are fused before decoding, in training; 1 to `cloud` of them.
        narrowest, widest: standard deviations that a Gaussian may have; its mean has size 1.
        all others: see `NetworkConfig`.
    """

    cloud: int = 4
    narrowest: float = 0.02
    widest: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cloud < 1:
            raise ValueError(f"a cloud of {self.cloud} samples is none")
        if not 0 < self.narrowest < self.widest:
            raise ValueError("narrowest must be positive, and less than widest")


@dataclass(frozen=True)
class TaskConfig:
    """What the network is asked in training.

    Attributes:
        rows: functions drawn for a batch, each read with and without its expression.
        points: points drawn for a function, of which a bag holds some.
        bags: sizes of bags; one is drawn for each batch.
        divergence: weight of KL(posterior || prior), in nats like the cross-entropies, at last.
            Below 1, because a nat that the posterior tells of the expression costs at least a nat
            of KL: at 1 nothing would be gained by telling it.
        anneal: batches over which that weight rises from 0.
        free: nats that the divergence of a token of z may have for nothing (Kingma et al. 2016).
        seed: of data and noise.
    """

    rows: int = 192
    points: int = 64
    bags: tuple[int, ...] = (16, 24, 32, 48)
    divergence: float = 0.2
    anneal: int = 3000
    free: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if max(self.bags) > self.points:
            raise ValueError(f"{self.points} points are too few for a bag of {max(self.bags)}")
        if self.divergence < 0 or self.anneal < 0 or self.free < 0:
            raise ValueError("divergence, anneal and free must not be negative")


SIZES = {
    "small": ModelConfig(),
    "base": ModelConfig(width=384, heads=6, hidden=1120, cell=160, latents=16),
}
"""`small` trains on two processor cores, `base` on a GPU; the shapes are those of LEE's sizes."""


@dataclass(frozen=True)
class Strategy:
    """Settings of the evolution strategy (`methods.gensr.evolution`).

    Attributes:
        population: individuals of a generation.
        parents: share of them, the best, that recombine (top-p).
        step: step size at the start, in units of the starting deviations.
        adapt: whether variances are adapted; the step size always is.
        top: dimensions whose variances are updated in a generation; 0 for all.
        generations: after which to stop.
        stagnation: generations without a better individual after which to stop; 0 never does.
        least_step: share of the starting step size below which to stop.
    """

    population: int = 80
    parents: float = 0.2
    step: float = 1.3
    adapt: bool = True
    top: int = 32
    generations: int = 120
    stagnation: int = 30
    least_step: float = 1e-3

    def __post_init__(self) -> None:
        if self.population < 2 or self.generations < 1:
            raise ValueError("population must be at least 2, and generations at least 1")
        if not 0 < self.parents <= 1:
            raise ValueError("parents is a share, above 0 and at most 1")
        if not (self.step > 0 and 0 <= self.least_step < 1):
            raise ValueError("step must be positive, and least_step a share from 0 to 1")
        if self.top < 0 or self.stagnation < 0:
            raise ValueError("top and stagnation must not be negative")


@dataclass(frozen=True)
class SearchConfig(Strategy):
    """Settings of a search.

    Attributes:
        evolve: whether z evolves; else every generation is drawn like a first one (the ablation:
            as many candidates from the prior alone).
        samples: expressions written from each z; the best of them is the z's fitness.
        temperature: of sampling.
        price: fitness lost for each token of an expression.
        bag: points of a bag, if there are more.
        reencoded: share of a first generation that is read from noisy bags, one each.
        noise: largest deviation of their noise, in units of the root mean square of y.
        pairs: of finds, tried after each generation; 0 for none.
        patience: how many times as many expressions as until the last gain are tried without
            another before the search gives up (`Pool.stop`); 0 never does.
        all others: see `Strategy`.
    """

    evolve: bool = True
    samples: int = 4
    temperature: float = 1.0
    price: float = 1 / 400
    bag: int = 48
    reencoded: float = 0.5
    noise: float = 0.1
    pairs: int = 128
    patience: float = PATIENCE

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.samples, self.bag) < 1:
            raise ValueError("samples and bag must be at least 1")
        if not 0 <= self.reencoded <= 1:
            raise ValueError("reencoded is a share, from 0 to 1")
        if min(self.temperature, self.price, self.noise, self.pairs, self.patience) < 0:
            raise ValueError("temperature, price, noise, pairs and patience must not be negative")
