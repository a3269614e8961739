"""The outcome of `lee-bench check`, for people and for machines."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from lee_bench.evidence.regress import ALL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from lee_bench.evidence.baseline import Baseline
    from lee_bench.evidence.regress import Group, Line

_STYLES = {"worse": "bold red", "not comparable": "yellow", "better": "green", "same": "dim"}


def summary(groups: Sequence[Group]) -> str:
    """One sentence: passed or failed, and how many of what."""
    counts = Counter(str(group.verdict) for group in groups)
    listed = ", ".join(f"{counts[verdict]} {verdict}" for verdict in _STYLES if counts[verdict])
    return f"{'failed' if any(group.fails for group in groups) else 'passed'}: {listed}"


def table(groups: Sequence[Group]) -> Table:
    """A block for each method; of those that stayed the same one row."""
    from rich.markup import escape
    from rich.table import Table

    view = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    view.add_column("suite, noise", no_wrap=True)
    view.add_column("method", overflow="fold")
    for name in ("score", "before", "now", "change", "p"):
        view.add_column(name, justify="left" if name == "score" else "right", no_wrap=True)
    view.add_column("verdict", no_wrap=True)
    view.add_column("why", overflow="fold")
    for group in groups:
        where = [escape(_panel(group)), escape(group.method)]
        style = _STYLES[group.verdict]
        told = [line for line in group.lines if line.verdict not in ("same", "not comparable")]
        if not told:
            view.add_row(*where, *[""] * 5, f"[{style}]{group.verdict}[/]", escape(group.why))
        if told and group.why:
            view.add_row(*where, *[""] * 6, escape(group.why))
            where = ["", ""]
        for line in told:
            verdict = f"[{_STYLES[line.verdict]}]{line.verdict}[/]"
            view.add_row(*where, *_numbers(line), verdict, escape(line.why))
            where = ["", ""]
    return view


def notes(before: Baseline, now: Baseline, groups: Sequence[Group]) -> list[str]:
    """What a reader of the table must know, as sentences."""
    said = [f"check {summary(groups)}."]
    if any(line.why == "other machine" for group in groups for line in group.lines):
        said.append(
            "The baseline was measured on another machine: times are not compared, and no method "
            "is held to equality, because machines may round differently."
        )
    if before.sympy != now.sympy:
        said.append(
            f"The baseline was graded with sympy {before.sympy}, this run with {now.sympy}: sizes "
            "and solutions may differ for that reason alone. Renew the baseline if they do."
        )
    return said


def markdown(groups: Sequence[Group]) -> str:
    """A comment for a pull request: what changed first, everything folded below."""
    changed = [g for g in groups if g.verdict != "same"]
    head = "| suite, noise | method | score | before | now | change | p | verdict | why |"
    rule = "| --- | --- | --- | ---: | ---: | ---: | ---: | --- | --- |"

    def rows(chosen: Sequence[Group], keep: tuple[str, ...]) -> list[str]:
        found = []
        for group in chosen:
            where = [_panel(group), f"`{group.method}`"]
            if group.why:
                found.append([*where, *[""] * 5, f"**{group.verdict}**", group.why])
            found += [
                [*where, *_numbers(line), f"**{line.verdict}**", line.why]
                for line in group.lines
                if line.verdict in keep
            ]
        return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in found]

    said = [f"### lee-bench check {summary(groups)}", ""]
    if changed:
        said += [head, rule, *rows(changed, ("better", "worse")), ""]
    said += ["<details><summary>All scores</summary>", "", head, rule]
    every = ("better", "same", "worse", "not comparable")
    return "\n".join([*said, *rows(groups, every), "", "</details>", ""])


def junit(groups: Sequence[Group]) -> str:
    """JUnit XML: a suite for each suite and noise level, a case for each method."""
    root = ElementTree.Element("testsuites", name="lee-bench check")
    panels = defaultdict(list)
    for group in groups:
        panels[_panel(group, "noise ")].append(group)
    for name, members in panels.items():
        failures = sum(group.fails for group in members)
        skipped = sum(not group.lines and not group.fails for group in members)
        counts = {"tests": len(members), "failures": failures, "skipped": skipped}
        suite = ElementTree.SubElement(
            root, "testsuite", name=name, **{key: str(count) for key, count in counts.items()}
        )
        for group in members:
            case = ElementTree.SubElement(suite, "testcase", classname=name, name=group.method)
            text = "\n".join(
                [group.why, *(" ".join([str(line.verdict), *_numbers(line), line.why])
                              for line in group.lines)]
            ).strip()  # fmt: skip
            if group.fails:
                failure = ElementTree.SubElement(case, "failure", message=str(group.verdict))
                failure.text = text
            elif not group.lines:
                ElementTree.SubElement(case, "skipped", message=group.why)
            else:
                ElementTree.SubElement(case, "system-out").text = text
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def as_json(groups: Sequence[Group]) -> str:
    """All groups and lines; numbers that there are not are null."""

    def plain(value: object) -> object:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    rows = [
        {
            **{k: plain(v) for k, v in asdict(group).items()},
            "lines": [{k: plain(v) for k, v in asdict(line).items()} for line in group.lines],
        }
        for group in groups
    ]
    passed = not any(group.fails for group in groups)
    return json.dumps({"passed": passed, "groups": rows}, indent=1)


def _panel(group: Group, before_noise: str = "") -> str:
    """Where a group was measured, in words."""
    return "all" if group.suite == ALL else f"{group.suite}, {before_noise}{group.noise:g}"


def _numbers(line: Line) -> list[str]:
    """Score, before, now, change and p, as text."""
    from lee_bench.evidence.words import number, p_text

    if line.score == "front":
        on = ["yes" if x else "no" for x in (line.before, line.now)]
        return [line.score, *on, "", ""]
    share = line.score in ("R² > 0.999", "solved")
    pattern = {"R²": ".4f", "size": "g", "time": ".3g"}.get(line.score, ".0%")
    change = (
        f"{100 * line.change:+.1f} points"
        if share
        else (f"{line.change:+.4f}" if line.score == "R²" else f"{line.change:+.0%}")
    )
    p = "" if math.isnan(line.p) else p_text(line.p)
    if math.isnan(line.before) and math.isnan(line.now):
        change = ""
    return [line.score, number(line.before, pattern), number(line.now, pattern), change, p]
