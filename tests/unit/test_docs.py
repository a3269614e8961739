"""What the documentation shows must run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def test_the_example_of_the_symbolic_core_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "symbolic-core.md").read_text(), re.S)
    names: dict = {}
    exec(code, names)
    assert len(names["skeletons"]) == 3
    assert names["fit"].loss[names["best"]] < 1e-20
    assert "sin(" in capsys.readouterr().out


@pytest.mark.parametrize(
    "page",
    ["README.md", "docs/protocol.md", "docs/evidence.md", "docs/ci.md", "docs/symbolic-core.md"],
)
def test_links_and_pictures_are_there(page):
    path = DOCS.parent / page
    for target in re.findall(r"\]\((?!http)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), f"{page} points to {target}"
