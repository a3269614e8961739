"""LEE's weights on disk; see `methods.network.checkpoint`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from methods.lee.config import ModelConfig
from methods.lee.model import LEE
from methods.network import checkpoint

KIND = checkpoint.Kind("lee", 3, ModelConfig)


def save(folder: Path, model: nn.Module, config: ModelConfig, facts: Mapping[str, Any]) -> None:
    """Write a model into an existing folder; `facts` is what its card tells of the training."""
    checkpoint.save(folder, KIND, model, config, facts)


def load(folder: Path, device: torch.device | str = "cpu") -> tuple[LEE, dict[str, Any]]:
    """Read a model, ready for inference, and the facts that `save` was given.

    Raises:
        SetupError: it is missing, damaged, of another format or of another vocabulary.
    """
    return checkpoint.load(folder, KIND, LEE, device)
