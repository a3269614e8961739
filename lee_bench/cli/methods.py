"""`lee-bench methods`: which methods there are, what each still needs, and how to get it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lee_bench.cli import options

if TYPE_CHECKING:
    from lee_bench.runs.registry import Probe

methods_app = typer.Typer(help="List the methods, show one, give one an environment of its own.")

Name = Annotated[str, typer.Argument(help="A method, as `lee-bench methods` lists it.")]


@methods_app.callback(invoke_without_command=True)
def methods(context: typer.Context, json_output: options.Json = False) -> None:
    """List all methods: which can run here, why others cannot, and how to get them.

    No method's library is loaded for this; packages are only looked up.
    """
    if context.invoked_subcommand is not None:
        return
    from lee_bench.cli import console
    from lee_bench.runs import registry

    probes = [registry.probe(name) for name in registry.names()]
    if json_output:
        import json
        from dataclasses import asdict

        console.out.print_json(json.dumps([asdict(probe) for probe in probes]))
        return
    _print(probes)


@methods_app.command()
def show(name: Name, json_output: options.Json = False) -> None:
    """Show one method: what it is, and its settings with their defaults.

    A run changes a setting with `--set NAME.SETTING=VALUE`. Example:

    lee-bench methods show operon
    """
    import json
    from dataclasses import asdict
    from inspect import cleandoc

    from rich.markup import escape

    from lee_bench.cli import console
    from lee_bench.runs import registry

    probe = registry.probe(name)
    cls = registry.load_class(probe.target)
    defaults = {setting: json.dumps(value) for setting, value in cls.defaults.items()}
    if json_output:
        about = asdict(probe) | {"defaults": dict(cls.defaults)}
        console.out.print_json(json.dumps(about))
        return
    _print([probe])
    for text in (probe.reference, cleandoc(cls.__doc__ or "")):
        console.out.print(f"\n{escape(text)}", soft_wrap=True)
    if not defaults:
        console.out.print("\nIt has no settings.")
        return
    console.out.print(f"\nDefaults, changed by `--set {escape(name)}.SETTING=VALUE`:")
    width = max(map(len, defaults))
    for setting, value in defaults.items():
        console.out.print(f"  {escape(f'{setting:{width}} {value}')}", soft_wrap=True)


@methods_app.command()
def install(
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="Build it anew if it is there.")] = False,
) -> None:
    """Make an environment for one method, with what it needs and nothing else.

    From then on its runs happen there. It lies in the user's data folder, or where
    LEE_BENCH_ENVIRONMENTS says. pip does the installing; its settings apply, PIP_INDEX_URL for one.
    """
    import time

    from rich.markup import escape

    from lee_bench.cli import console
    from lee_bench.errors import SetupError
    from lee_bench.runs import environments, registry

    def say(line: str) -> None:
        console.err.print(escape(line), style="dim", soft_wrap=True)

    target = registry.locate(name)
    needs = tuple(registry.load_class(target).packages.values())
    begin = time.monotonic()
    folder = environments.install(name, needs, target, say, force)
    probe = registry.probe(name)
    if not probe.available:
        raise SetupError(f"{name} is installed in {folder}, but {probe.reason}.", probe.remedy)
    seconds = time.monotonic() - begin
    what = _versions(probe) or name
    console.out.print(f"{what} is ready in its own environment ({seconds:.0f} s): {folder}")


@methods_app.command()
def remove(name: Name) -> None:
    """Delete a method's own environment. Results stay."""
    from lee_bench.cli import console
    from lee_bench.runs import environments, registry

    registry.locate(name)
    removed = environments.remove(name)
    console.out.print(
        f"The environment of {name} is gone." if removed else f"{name} has no environment."
    )


def _print(probes: list[Probe]) -> None:
    import sys

    from rich.markup import escape
    from rich.table import Table

    from lee_bench.cli import console
    from lee_bench.runs import environments

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("method", "state", "version", "runs in"):
        table.add_column(column, no_wrap=True)
    table.add_column("what it is", overflow="fold")
    own = [probe for probe in probes if probe.interpreter != sys.executable]
    for probe in probes:
        table.add_row(
            f"[bold]{escape(probe.name)}[/]",
            "[green]ready[/]" if probe.available else "[yellow]unavailable[/]",
            escape(_versions(probe)) or "-",
            "own environment" if probe in own else "this Python",
            escape(probe.summary),
        )
    if not console.out.is_terminal:  # a row stays on one line for grep and friends
        console.out.width = 1000
    console.out.print(table)
    for probe in probes:
        if not probe.available:
            text = f"[bold]{escape(probe.name)}[/]: {escape(f'{probe.reason}. {probe.remedy}')}"
            console.out.print(text, soft_wrap=True)
    if own:
        home = environments.home()
        console.out.print(f"Own environments lie in {escape(str(home))}.", soft_wrap=True)


def _versions(probe: Probe) -> str:
    """Versions of the method's own packages; those of Python and numpy are in the JSON."""
    return ", ".join(
        f"{package} {version}"
        for package, version in probe.versions.items()
        if package not in ("python", "numpy")
    )
