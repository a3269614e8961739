"""What the documentation shows must run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from lee_bench.cli.app import app

DOCS = Path(__file__).parents[2] / "docs"


def test_the_example_of_the_symbolic_core_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "symbolic-core.md").read_text(), re.S)
    names: dict = {}
    exec(code, names)
    assert len(names["skeletons"]) == 3
    assert names["fit"].loss[names["best"]] < 1e-20
    assert "sin(" in capsys.readouterr().out


PAGES = [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]


CARDS = DOCS.parent.glob("methods/*/weights/*/CARD.md")


@pytest.mark.parametrize("path", [*PAGES, *CARDS], ids=lambda path: "/".join(path.parts[-3:]))
def test_commands_exist_with_their_options(path):
    """Parsed as the command line would, not run."""
    code = "\n".join(re.findall(r"```(?:sh|console)?\n(.*?)```", path.read_text(), re.S))
    for line in re.findall(r"^(?:\$ )?lee-bench (.*)$", code.replace("\\\n", " "), re.M):
        command, context = typer.main.get_command(app), None
        words = shlex.split(line.split("|")[0].rstrip("&"), comments=True)
        while words and hasattr(command, "commands") and words[0] in command.commands:
            command = command.commands[words[0]]
            context = command.make_context(words[0], words[1:], parent=context)
            words = [*context._protected_args, *context.args]
        assert context is not None, line
        assert not (words and hasattr(command, "commands")), line


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_and_pictures_are_there(path):
    prose = re.sub(r"```.*?```", "", path.read_text(), flags=re.S)
    for target in re.findall(r"\]\((?!http)([^)#]+)", prose):
        assert (path.parent / target).exists(), f"{path.name} points to {target}"
