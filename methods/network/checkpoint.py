"""Weights on disk: `model.json` beside one or more `model-*.safetensors`, never pickle.

Weights are stored in half precision, in files of at most 15 MB. Loading is strict: another format,
another vocabulary, a missing or damaged file or a wrong shape is one clear error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lee_bench.errors import SetupError
from methods.network.config import NetworkConfig
from methods.symbolic import vocabulary

LARGEST_FILE = 15_000_000  # bytes
_HEADER = 256  # bytes, at most, that a tensor takes in the head of its file

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Kind:
    """What is stored: a method's name, its present format, and the class of its configuration."""

    method: str
    format: int
    config: type[NetworkConfig]

    @property
    def again(self) -> str:
        """What to do about a model that cannot be used."""
        return f"Install it again, or train a model with `lee-bench train {self.method}`."


def save(
    folder: Path, kind: Kind, model: nn.Module, config: NetworkConfig, facts: Mapping[str, Any]
) -> None:
    """Write a model into an existing folder.

    Args:
        facts: what the model card tells of the training; anything that JSON can hold.
    """
    files: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in model.state_dict().items():
        half = tensor.detach().to("cpu", torch.float16).contiguous()
        if size + half.nbytes + _HEADER > LARGEST_FILE:
            files.append({})
            size = 0
        files[-1][name] = half
        size += half.nbytes + _HEADER
    names = [f"model-{i + 1}.safetensors" for i in range(len(files))]
    for name, tensors in zip(names, files, strict=True):
        save_file(tensors, folder / name)
    card = {"format": kind.format, "method": kind.method}
    card |= {"config": asdict(config), "files": names}
    (folder / "model.json").write_text(json.dumps(card | {"training": dict(facts)}, indent=1))


def load(
    folder: Path, kind: Kind, build: Callable[[Any], Model], device: torch.device | str = "cpu"
) -> tuple[Model, dict[str, Any]]:
    """Read a model, ready for inference.

    Args:
        build: makes the network that a configuration describes.

    Returns:
        The model in float32, and the facts that `save` was given.

    Raises:
        SetupError: it is missing, damaged, of another format or of another vocabulary.
    """
    config, facts, tensors = read(folder, kind)
    model = build(config)
    try:
        model.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise SetupError(
            f"The weights in {folder} do not fit their model: {reason}", kind.again
        ) from None
    return model.to(device).eval(), facts


def read(folder: Path, kind: Kind) -> tuple[NetworkConfig, dict[str, Any], dict[str, Tensor]]:
    """Configuration, facts and float32 tensors of a saved model; raises as `load` does."""
    try:
        card = json.loads((folder / "model.json").read_text())
        if card.get("method") != kind.method or card.get("format") != kind.format:
            raise SetupError(
                f"{folder} holds format {card.get('format')} of {card.get('method')!r}; "
                f"this version reads format {kind.format} of '{kind.method}'.",
                kind.again,
            )
        fields = card["config"] | {"vocabulary": tuple(card["config"]["vocabulary"])}
        config = kind.config(**fields)
        tensors: dict[str, Tensor] = {}
        for name in card["files"]:
            tensors |= {key: t.float() for key, t in load_file(folder / name).items()}
        training = card["training"]
    except FileNotFoundError as error:
        raise SetupError(f"There is no {error.filename}.", kind.again) from None
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SetupError(f"The model in {folder} is damaged: {error}", kind.again) from None
    if config.vocabulary != vocabulary.NAMES:
        raise SetupError(f"The model in {folder} was trained with other tokens.", kind.again)
    bad = [key for key, t in tensors.items() if not t.isfinite().all()]
    if bad:
        raise SetupError(f"The model in {folder} is damaged: {bad[0]} is not finite.", kind.again)
    return config, training, tensors
