"""Where the weights of a method are. Needs neither torch nor numpy."""

from __future__ import annotations

from pathlib import Path

from lee_bench.errors import SetupError


def shipped(folder: Path) -> list[str]:
    """Sizes that a method ships, in its folder of weights."""
    return sorted(path.parent.name for path in folder.glob("*/model.json"))


def find(method: str, title: str, folder: Path, name: str) -> Path:
    """Where a model is: of a size that ships, else a folder of one's own.

    Args:
        method: as `lee-bench train` knows it; title: as people do.
        folder: of the sizes that ship.
        name: a size, or a path.

    Raises:
        SetupError: there is none.
    """
    for path in (folder / name, Path(name).expanduser()):
        if (path / "model.json").is_file():
            return path
    sizes = ", ".join(shipped(folder)) or "none"
    raise SetupError(
        f"There are no weights of {title} called '{name}', neither in {folder} nor as a folder.",
        f"Sizes that are here: {sizes}. `lee-bench train {method}` makes others; name their folder "
        "by its whole path, as each cell of a run works in a folder of its own.",
    )
