"""Which methods there are, where their code is, and whether they can run here.

A method is known by name only. A built-in is one line of `BUILTIN`; any other package registers by
an entry point of the group ``lee_bench.methods``. No method's library is ever imported to answer
these questions: its module needs numpy and the contract alone, and packages are looked up, not
loaded. The inspecting side (`inspect`) also runs in a method's own interpreter, where nothing but
numpy is installed, so this module imports the standard library only.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from lee_bench.contract import Method
from lee_bench.errors import MethodError, SetupError, unknown
from lee_bench.runs import environments

BUILTIN: Mapping[str, str] = {
    "linear": "methods.linear:Linear",
    "operon": "methods.operon:Operon",
    "gplearn": "methods.gplearn:GPLearn",
    "pysr": "methods.pysr:PySR",
    "prior": "methods.prior:Prior",
    "lee": "methods.lee.method:Lee",
    "gensr": "methods.gensr.method:GenSR",
}
"""Name -> ``module:Class``. The one line that registers a built-in method."""

DEFAULT = "lee"
"""The method that runs where none is named."""

GROUP = "lee_bench.methods"
"""Entry-point group by which other packages register: ``name = "module:Class"``."""

_NAME = re.compile(r"[A-Za-z0-9][\w-]*", re.ASCII)  # it names folders and files


@dataclass(frozen=True)
class Probe:
    """What is known about a method without running it.

    Attributes:
        name: registered name.
        target: ``module:Class``.
        origin: who registered it: ``"lee-bench"``, or the package and its version.
        interpreter: Python that runs it: its own environment's, if one is installed.
        available: whether it can run.
        reason: why not; '' if it can.
        remedy: what to do about it; '' if it can.
        summary: one line on what it is.
        reference: where it is published.
        versions: versions of Python, numpy and the method's packages in that interpreter.
        requirements: what pip installs for it.
    """

    name: str
    target: str
    origin: str
    interpreter: str
    available: bool
    reason: str = ""
    remedy: str = ""
    summary: str = ""
    reference: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    requirements: tuple[str, ...] = ()


@functools.cache
def table() -> Mapping[str, tuple[str, str]]:
    """All registered methods: name -> (``module:Class``, who registered it).

    Raises:
        SetupError: two packages register the same name (which one would run is not ours to
            guess), or one registers a name that is no name.
    """
    known = {name: (target, "lee-bench") for name, target in BUILTIN.items()}
    for point in metadata.entry_points(group=GROUP):
        origin = f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"
        if not _NAME.fullmatch(point.name):
            raise SetupError(
                f"{origin} registers a method called '{point.name}'.",
                "A method's name has letters, digits, '_' and '-' only. Rename the entry point, "
                "or uninstall the package.",
            )
        target, first = known.setdefault(point.name, (point.value, origin))
        if (target, first) != (point.value, origin):
            raise SetupError(
                f"Two methods are called '{point.name}': {target} of {first} and "
                f"{point.value} of {origin}.",
                "Uninstall one of the two packages, or rename the entry point of one.",
            )
    return known


def names() -> tuple[str, ...]:
    """Names of all registered methods: built-ins in their order, then the others'."""
    return tuple(table())


def locate(name: str) -> str:
    """Where a method's class is, as ``module:Class``.

    Raises:
        UsageError: no method has this name.
    """
    if name not in table():
        raise unknown("method", name, table(), "lee-bench methods")
    return table()[name][0]


def load_class(target: str) -> type[Method]:
    """Import a method's class. Its library stays unloaded until the method is prepared.

    Args:
        target: ``module:Class``.

    Raises:
        MethodError: there is no such class, it is no `Method`, or its module fails on import.
    """
    module_name, _, class_name = target.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except Exception as error:  # a foreign module may raise anything
        raise MethodError(
            f"{target} cannot be loaded: {type(error).__name__}: {error}",
            "A method's module may import only numpy and lee_bench when it is loaded; its library "
            "belongs inside prepare() or search().",
        ) from error
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise MethodError(f"{target} is not a lee_bench.contract.Method.")
    return found


def versions(cls: type[Method]) -> dict[str, str]:
    """Versions, in this interpreter, of Python, numpy and the method's packages, where known."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for requirement in ("numpy", *cls.packages.values()):
        package = re.match(r"[\w.-]+", requirement)[0]
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def inspect(target: str) -> dict[str, Any]:
    """Describe a method as seen by the interpreter this runs in, importing no library.

    Returns:
        The fields of `Probe` that depend on the interpreter, JSON-able. An unavailable method with
        no ``remedy`` lacks packages.
    """
    try:
        cls = load_class(target)
        missing = [name for name in cls.packages if not _is_installed(name)]
        reason = f"{' and '.join(missing)} not installed" if missing else cls.unavailable()
    except Exception as error:  # a foreign adapter may raise anything
        return {"available": False, "reason": str(error), "remedy": getattr(error, "hint", "")}
    return {
        "available": not reason,
        "reason": reason,
        "remedy": cls.remedy if reason and not missing else "",
        "summary": getattr(cls, "summary", ""),
        "reference": cls.reference,
        "versions": versions(cls),
        "requirements": tuple(cls.packages.values()),
    }


def _is_installed(package: str) -> bool:
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None  # no origin: a mere folder of that name


def probe(name: str) -> Probe:
    """Find out whether a method can run here, in which interpreter, and if not, why.

    Raises:
        UsageError: no method has this name.
    """
    target = locate(name)
    own = environments.interpreter(name)
    if own is None:
        interpreter, facts = sys.executable, inspect(target)
    else:
        interpreter, facts = str(own), _inspect_with(name, str(own), target)
    if not facts["available"] and not facts["remedy"]:
        facts["remedy"] = f"Run `lee-bench methods install {name}` to give it an environment."
    return Probe(name, target, table()[name][1], interpreter, **facts)


def _inspect_with(name: str, interpreter: str, target: str) -> dict[str, Any]:
    code = (
        "import json, sys; from lee_bench.runs.registry import inspect; "
        "print(json.dumps(inspect(sys.argv[1])))"
    )
    broken = {
        "available": False,
        "remedy": f"Run `lee-bench methods install {name} --force` to build it anew.",
    }
    try:
        done = subprocess.run(
            [interpreter, "-c", code, target],
            env=environments.child_environment(name),
            capture_output=True,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return broken | {"reason": f"its environment does not answer: {error}"}
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return broken | {"reason": f"its environment is broken: {last}"}
    facts = json.loads(done.stdout.splitlines()[-1])
    return facts | {"requirements": tuple(facts.get("requirements", ()))}
