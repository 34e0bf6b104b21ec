"""The report of `kubectl fl doctor`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from kubectl_fl.doctor.findings import Finding, Verdict
from kubectl_fl.terminal_text import one_line

_CHECK_WIDTH: Final = 14
_MAX_DETAIL_CHARACTERS: Final = 600
"""Maximum length of a finding's detail, which may come from a spoke."""


def render_findings(run: str, whole: Sequence[Finding], clusters: Mapping[str, Sequence[Finding]]) -> list[str]:
    """Return the findings of the run, then of each cluster, then a summary."""
    lines = [f"run {one_line(run)}", *_lines(whole)]
    for name, findings in clusters.items():
        lines += ["", f"cluster {one_line(name)}", *_lines(findings)]
    every = [*whole, *(finding for findings in clusters.values() for finding in findings)]
    problems = sum(finding.verdict is Verdict.PROBLEM for finding in every)
    unknowns = sum(finding.verdict is Verdict.UNKNOWN for finding in every)
    return [*lines, "", f"{problems or 'no'} problem{'' if problems == 1 else 's'}, {unknowns} unknown"]


def _lines(findings: Sequence[Finding]) -> Iterator[str]:
    for finding in findings:
        detail = one_line(finding.detail)[:_MAX_DETAIL_CHARACTERS]
        yield f"  {finding.verdict.value:<8} {finding.check:<{_CHECK_WIDTH}} {detail}".rstrip()
        if finding.remedy:
            yield f"  {'':<8} {'':<{_CHECK_WIDTH}} -> {one_line(finding.remedy)}"
