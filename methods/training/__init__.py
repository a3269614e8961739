"""The training loop that LEE and GenSR share."""

from methods.training.devices import computing, fast_dtype, matmul_rate, pick_device
from methods.training.feed import Data, Feed
from methods.training.loop import Objective, Progress, Settings, Trainer
from methods.training.muon import Muon
from methods.training.show import show_progress

__all__ = [
    "Data",
    "Feed",
    "Muon",
    "Objective",
    "Progress",
    "Settings",
    "Trainer",
    "computing",
    "fast_dtype",
    "matmul_rate",
    "pick_device",
    "show_progress",
]
