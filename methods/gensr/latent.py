"""GenSR's latent space for `lee-bench latent`: the mean of p(z | X), and its likeliest formula."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.gensr import checkpoint
from methods.gensr.method import GenSR
from methods.network.latent import Coder


def coder(name: str) -> Coder:
    """The network of some weights: a size that ships, or a folder.

    Raises:
        SetupError: there are none, or they are damaged.
    """
    model, _ = checkpoint.load(GenSR.folder(name))

    @torch.inference_mode()
    def encode(X: Tensor, y: Tensor, variables: Tensor) -> Tensor:
        return model.read(X, y, variables).mean

    @torch.inference_mode()
    def decode(z: Tensor, variables: Tensor) -> Tensor:
        return model.expression.sample(model.fuse(z[:, None]), variables, temperature=0)[0]

    return Coder(encode, decode, lambda z: z, model.config.z_tokens)
