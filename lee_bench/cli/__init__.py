"""The command line: one Typer app, one module a command."""
