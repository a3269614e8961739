"""One family of errors that says whose fault it is and what to do next.

Every error a person may meet derives from `LeeBenchError`; its text says what happened and to
what, its `hint` what to do. The command line prints both and never a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LeeBenchError(Exception):
    """Base of all expected failures.

    Args:
        message: what happened, to what.
        hint: what the reader can do about it; empty where nothing can be done.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(LeeBenchError):
    """The user asked for something that does not exist or makes no sense."""


class MethodError(LeeBenchError):
    """A method broke the contract: no answer, an unreadable formula, a wrong setting."""


class ExpressionError(MethodError):
    """A text is not a formula in the given variables."""


class SetupError(LeeBenchError):
    """The surroundings fail: a package, a folder, the network, a file."""


class DataError(SetupError):
    """A data set is missing, unreachable or damaged."""


class RecordError(SetupError):
    """A stored record cannot be read: damaged, or written by a newer version."""


def unknown(kind: str, name: str, known: Iterable[str], listed_by: str = "") -> UsageError:
    """Build the error for a name that does not exist, offering the nearest ones that do.

    Args:
        kind: what was named, e.g. ``"method"``.
        name: what the user wrote.
        known: all names that would have been right.
        listed_by: a command that lists them, for where they are many.
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    if near:
        hint = f"Did you mean {' or '.join(near)}?"
    elif len(known) <= 12:
        hint = f"Known: {', '.join(known)}."
    elif listed_by:
        hint = f"There are {len(known)} known names; `{listed_by}` lists them."
    else:
        hint = f"There are {len(known)} known names, e.g. {', '.join(known[:6])}."
    return UsageError(f"No {kind} is called '{name}'.", hint)
