"""Shape of the networks, as plain data that a checkpoint can carry."""

from __future__ import annotations

from dataclasses import dataclass

from methods.symbolic import vocabulary


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of encoder and expression decoder.

    Attributes:
        width: numbers a token, in every part.
        heads: attention heads; must divide `width`.
        hidden: width of the feed-forward half of a block.
        readers: blocks that read the tokens of a candidate.
        cell: numbers a cell of the table of observations.
        encoders: stages in which cells think and latents look at points and candidate.
        decoders: blocks of the expression decoder.
        latents: tokens that gather what is known of the function as a whole; the first `z_tokens`
            of them become z, together with one for each variable.
        z_tokens, z_width: z is (z_tokens + 10) x z_width numbers.
        max_length: longest expression, in tokens.
        vocabulary: names of the tokens, in the order of their ids.
    """

    width: int = 192
    heads: int = 4
    hidden: int = 576
    cell: int = 96
    readers: int = 1
    encoders: int = 3
    decoders: int = 3
    latents: int = 8
    z_tokens: int = 4
    z_width: int = 64
    max_length: int = 30
    vocabulary: tuple[str, ...] = vocabulary.NAMES

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a width of {self.width}")
        if not 1 <= self.z_tokens <= self.latents:
            raise ValueError(f"z needs {self.z_tokens} of {self.latents} latents")
