"""Sizes of LEE and settings of its training and of its search, as plain data, without torch."""

from __future__ import annotations

from dataclasses import dataclass

from methods.network.config import NetworkConfig
from methods.symbolic.method import PATIENCE


@dataclass(frozen=True)
class ModelConfig(NetworkConfig):
    """Shape of LEE's network.

    Attributes:
        evaluators: blocks of the evaluation decoder.
        all others: see `NetworkConfig`.
    """

    evaluators: int = 1


@dataclass(frozen=True)
class TaskConfig:
    """What the network is asked in training.

    Attributes:
        rows: functions drawn for a batch.
        truth: share of them read with the truth as candidate.
        alone: share read from data alone, before batch `own_from`; the others are read with a
            mutation. From then on all are read from data alone.
        twice: share read both ways, before `own_from`; from then on all those that are read with
            the truth.
        own: readings of functions of earlier batches with the network's own decode, in units of
            `rows`; from batch `own_from` on. Before it, decodes are too wild to learn from. After
            it, mutations would teach a trust in candidates that decodes do not earn.
        decodes, kept: expressions written for such a function, and how many of them are read,
            drawn by rank of error.
        points: points drawn for a function, of which a bag holds some.
        queries: further points for the evaluation loss.
        bags: sizes of bags; one is drawn for each kind of reading in a batch.
        evaluation, closeness: weights of these losses; cross-entropy has weight 1.
        z_noise: largest standard deviation of the noise on z, whose entries have size 1.
        seed: of data and noise.
    """

    rows: int = 192
    truth: float = 0.1
    alone: float = 0.7
    twice: float = 0.1
    own: float = 0.25
    own_from: int = 3000
    decodes: int = 8
    kept: int = 3
    points: int = 64
    queries: int = 12
    bags: tuple[int, ...] = (16, 24, 32, 48)
    evaluation: float = 0.5
    closeness: float = 0.1
    z_noise: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.twice <= self.alone <= 1:
            raise ValueError("functions read twice are among those read from data alone")
        if self.truth * self.rows < 1:
            raise ValueError("truth must be the candidate of one of the functions at least")
        if max(self.bags) > self.points:
            raise ValueError(f"{self.points} points are too few for a bag of {max(self.bags)}")
        if not 1 <= self.kept <= self.decodes:
            raise ValueError("kept must be at least 1, and at most decodes")


SIZES = {
    "small": ModelConfig(),
    "base": ModelConfig(width=384, heads=6, hidden=1120, cell=160, latents=16),
}
"""`small` trains on two processor cores, `base` on a GPU."""


@dataclass(frozen=True)
class Refinement:
    """Settings of a search.

    Attributes:
        decodes: expressions written in a round.
        first: the same in the first round, doubled until `decodes` is reached: short searches, too,
            read again what they found.
        samples: expressions written from one z.
        bag: points of a bag, if there are more.
        reencoded: share of the z that a find was read for; 0 switches re-encoding off.
        rewritten: share of the expressions that keep a find but for one part: the find that their
            z was read for, or else any.
        desired: share of the expressions that take the place of a part of a find, written from what
            this part has to compute.
        stepped: share of the z that are improved by gradient steps; 0 switches these off, as they
            have not paid for their time so far (docs/lee.md).
        steps, step_size: of Adam (Kingma & Ba 2015) on z, whose entries have size 1.
        observations: rows of the data that a gradient step looks at.
        pull: weight of the squared distance from where the steps began.
        temperature: of sampling, at the start.
        hottest, scarce: where less than a share `scarce` of a round's decodes is new, the
            temperature rises by a twentieth, up to `hottest`.
        patience: how many times as many expressions as until the last gain are tried without
            another before the search gives up (`Pool.stop`); 0 never does.
        mutants: mutations of finds that are tried beside each decode; 0 for none. Trying one takes
            far less time than decoding one; but they are no part of the idea, and count as offered.
        pairs: of finds, tried after each round; 0 for none.
    """

    decodes: int = 1024
    first: int = 256
    samples: int = 32
    bag: int = 48
    reencoded: float = 0.25
    rewritten: float = 0.5
    desired: float = 0.5
    stepped: float = 0.0
    steps: int = 8
    step_size: float = 0.05
    observations: int = 128
    pull: float = 0.1
    temperature: float = 1.0
    hottest: float = 1.5
    scarce: float = 0.3
    patience: float = PATIENCE
    mutants: float = 8.0
    pairs: int = 128

    def __post_init__(self) -> None:
        if min(self.decodes, self.first, self.samples, self.bag, self.observations) < 1:
            raise ValueError("decodes, first, samples, bag and observations must be at least 1")
        if min(self.mutants, self.pairs, self.patience) < 0:
            raise ValueError("mutants, pairs and patience must not be negative")
        if not all(0 <= v <= 1 for v in (self.reencoded, self.rewritten, self.stepped)):
            raise ValueError("reencoded, rewritten and stepped are shares, from 0 to 1")
        if not 0 <= self.desired < 1:
            raise ValueError("desired is a share, from 0 to less than 1")
        if not 0 < self.temperature <= self.hottest:
            raise ValueError("temperature must be positive, and at most hottest")
