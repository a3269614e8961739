"""LEE's latent space for `lee-bench latent`: the first estimate of z, and its likeliest formula."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from methods.lee import checkpoint
from methods.lee.method import Lee
from methods.network.latent import Coder


def coder(name: str) -> Coder:
    """The network of some weights: a size that ships, or a folder.

    Raises:
        SetupError: there are none, or they are damaged.
    """
    model, _ = checkpoint.load(Lee.folder(name))

    @torch.inference_mode()
    def encode(X: Tensor, y: Tensor, variables: Tensor) -> Tensor:
        return model.embed(X, y, variables).z

    @torch.inference_mode()
    def decode(z: Tensor, variables: Tensor) -> Tensor:
        return model.expression.sample(z, variables, temperature=0)[0]

    def settle(z: Tensor) -> Tensor:
        return functional.rms_norm(z, z.shape[-1:])

    return Coder(encode, decode, settle, model.config.z_tokens)
