"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer
from typer.models import OptionInfo

_FILES = "Data and results"


class DataMode(enum.StrEnum):
    """Where data come from."""

    AUTO = "auto"
    PMLB = "pmlb"
    BUILTIN = "builtin"


Data = Annotated[
    DataMode,
    typer.Option(
        help="Where data come from: PMLB files (cached or downloaded), the built-in generator, or "
        "whichever is there.",
        rich_help_panel=_FILES,
    ),
]
PmlbCache = Annotated[
    Path | None,
    typer.Option(
        help="Folder of PMLB files.", metavar="DIR", show_default=False, rich_help_panel=_FILES
    ),
]
Results = Annotated[
    Path,
    typer.Option(
        "--results",
        help="Folder for records and what follows from them.",
        metavar="DIR",
        rich_help_panel=_FILES,
    ),
]


def output(text: str, metavar: str = "FILE") -> OptionInfo:
    """The option that says where to write; the same two names everywhere."""
    return typer.Option("--output", "-o", help=text, metavar=metavar, show_default=False)


Figures = Annotated[
    Path | None, output("Folder for the files. \\[default: RESULTS/figures]", "DIR")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
