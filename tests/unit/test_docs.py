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


PAGES = [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_and_pictures_are_there(path):
    prose = re.sub(r"```.*?```", "", path.read_text(), flags=re.S)
    for target in re.findall(r"\]\((?!http)([^)#]+)", prose):
        assert (path.parent / target).exists(), f"{path.name} points to {target}"
