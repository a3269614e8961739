"""Sizes of LEE and settings of its training, as plain data that a checkpoint can carry."""

from __future__ import annotations

from dataclasses import dataclass

from methods.symbolic import vocabulary


@dataclass(frozen=True)
class ModelConfig:
    """Shape of the network.

    Attributes:
        width: numbers a token, in every part.
        heads: attention heads; must divide `width`.
        hidden: width of the feed-forward half of a block.
        readers: blocks that read the tokens of a candidate.
        encoders: blocks in which the latents look at points and candidate.
        decoders: blocks of the expression decoder.
        evaluators: blocks of the evaluation decoder.
        latents: tokens that gather what is known; the first `z_tokens` of them become z.
        z_tokens, z_width: z is z_tokens x z_width numbers.
        max_length: longest expression, in tokens.
        vocabulary: names of the tokens, in the order of their ids.
    """

    width: int = 192
    heads: int = 4
    hidden: int = 576
    readers: int = 1
    encoders: int = 3
    decoders: int = 3
    evaluators: int = 1
    latents: int = 12
    z_tokens: int = 4
    z_width: int = 128
    max_length: int = 30
    vocabulary: tuple[str, ...] = vocabulary.NAMES

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a width of {self.width}")
        if not 1 <= self.z_tokens <= self.latents:
            raise ValueError(f"z needs {self.z_tokens} of {self.latents} latents")


SIZES = {
    "small": ModelConfig(),
    "base": ModelConfig(
        width=384, heads=6, hidden=1536, readers=1, encoders=3, decoders=3, evaluators=1, latents=24
    ),
}
"""`small` trains on two processor cores, `base` on a GPU."""
