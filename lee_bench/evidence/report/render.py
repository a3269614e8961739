"""A report as a page, as Markdown or as LaTeX. All text from records is escaped by default."""

from __future__ import annotations

import base64
import gzip
import hashlib
import math
import re
import shlex
import unicodedata
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lee_bench import __version__
from lee_bench.evidence import plots_report
from lee_bench.evidence.metrics import LABELS
from lee_bench.evidence.report.content import Report, interval_text
from lee_bench.evidence.report.problems import loss_text, matrix, problems
from lee_bench.evidence.words import number, p_text, r2_text
from lee_bench.latex import escape as escape_tex

PLAIN_BYTES = 1_000_000
"""Problems are packed where together they would be larger; then only scripts can open them."""


def page(report: Report) -> str:
    """One HTML page that loads nothing, whatever becomes of it."""
    environment = _environment(autoescape=True)
    found = problems(report.cells, report.graded)
    template = environment.get_template("problem.html")
    insides = [template.render(problem=problem) for problem in found]
    packed = sum(map(len, insides)) > PLAIN_BYTES
    labels = sorted(set(report.cells["label"]))
    script, style = (_source(environment, name) for name in ("page.js", "page.css"))
    return environment.get_template("page.html").render(
        report=report,
        version=__version__,
        labels=labels,
        colours=_colours(report),
        matrix=matrix(found, labels),
        sections=zip(found, map(_packed if packed else Markup, insides), strict=True),
        packed=packed,
        pictures=_pictures(report),
        style=style,
        script=script,
        script_hash="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def markdown(report: Report) -> str:
    """Tables for a pull request."""
    environment = _environment(finalize=_safely(_markdown))
    environment.filters["code"] = lambda text: Markup(_one_line(text))  # noqa: S704  in a fence
    return environment.get_template("comment.md").render(report=report)


def latex(report: Report) -> str:
    """A table for each suite, for a paper."""
    environment = _environment(
        finalize=_safely(_tex),
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
    )
    environment.filters["bracket"] = _bracket
    environment.filters["label"] = lambda text: re.sub(r"[^a-z0-9]+", "-", text.lower())
    wanted = ("machine", "time limit of a search", "threads of a cell", "seeds", "data")
    facts = [f"{name}: {value}" for name, value in report.facts if name in wanted]
    conditions = f"{'; '.join(facts)}; lee-bench {__version__}."
    return environment.get_template("paper.tex").render(
        report=report, version=__version__, conditions=conditions[0].upper() + conditions[1:]
    )


def _environment(**options: Any) -> Environment:
    environment = Environment(  # noqa: S701  what is no page escapes in its own way
        loader=PackageLoader("lee_bench.evidence.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )
    environment.filters |= {
        "r2": r2_text,
        "num": lambda value, pattern="g": number(value, pattern),
        "seconds": lambda value: number(value, ".1f", " s"),
        "p": p_text,
        "interval": lambda row, *how: interval_text(SimpleNamespace(**row), *how),
        "score_label": LABELS.__getitem__,
        "loss": loss_text,
        "first_number": lambda text: text.partition(" ")[0],
        "quote": shlex.quote,
    }
    return environment


def _source(environment: Environment, name: str) -> Markup:
    """A file of ours as it is."""
    return Markup(environment.loader.get_source(environment, name)[0])  # noqa: S704


def _packed(text: str) -> Markup:
    """gzip, base64: the same bytes for the same text."""
    return Markup(base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode())  # noqa: S704


def _colours(report: Report) -> Mapping[str, str]:
    named = report.cells.drop_duplicates("label")
    return {row.label: plots_report.colour(row.method) for row in named.itertuples()}


def _pictures(report: Report) -> Mapping[str, list[Markup]]:
    drawn = {
        "fronts": plots_report.fronts(report.summary),
        "over_noise": plots_report.over_noise(report.summary),
        "over_time": plots_report.over_time(report.cells),
        "ranks": plots_report.ranks(report.ranks),
    }
    return {name: [Markup(svg) for svg in svgs] for name, svgs in drawn.items()}  # noqa: S704


# --- other languages than HTML ------------------------------------------------------------------


def _safely(escape: Callable[[str], str]) -> Callable[[Any], str]:
    """Escape every value that a template prints, unless it is marked as safe."""
    return lambda value: value if isinstance(value, Markup) else escape(_one_line(str(value)))


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split(" ")).strip()


def _markdown(text: str) -> str:
    """Nothing in it makes a link, a table, a mention or markup."""
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    text = re.sub(r"([\\`*_{}\[\]|#~])", r"\\\1", text)
    return re.sub(r"@(?=\w)", "@\u2060", text)


_TEX = {
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "²": r"\textsuperscript{2}", "–": "--", "λ": r"$\lambda$", "×": r"$\times$",
}  # fmt: skip


def _tex(text: str) -> str:
    """TeX prints it as it is; letters that LaTeX does not know become their code points."""

    def one(letter: str) -> str:
        if letter in _TEX:
            return _TEX[letter]
        if ord(letter) < 0x180 and (letter.isascii() or unicodedata.category(letter)[0] == "L"):
            return escape_tex(letter)
        return f"{{[}}U+{ord(letter):04X}{{]}}"

    return "".join(map(one, text))


def _bracket(row: Mapping[str, Any], name: str, pattern: str = "g", times: float = 1.0) -> Markup:
    """An interval in small letters."""
    if math.isnan(row[f"{name}_low"]):
        return Markup()
    text = _tex(interval_text(SimpleNamespace(**row), name, pattern, times).replace(" to ", ", "))
    return Markup(rf" {{\scriptsize [{text}]}}")  # noqa: S704
