"""Label selectors as an API server reads them.

Source: k8s.io/apimachinery `pkg/labels/selector.go`.
"""

import re
from collections.abc import Mapping

from federation.kube.errors import Invalid

_REQUIREMENT = re.compile(
    r"(?P<absent>!)?(?P<key>[\w./-]+)\s*(?:(?P<equal>==|=|!=)\s*(?P<value>[\w.-]*)|(?P<among>in|notin)\s*\((?P<values>[^)]*)\))?"
)


def selects(selector: str, labels: Mapping[str, str]) -> bool:
    """Whether the labels meet every requirement. Raises Invalid for a selector that cannot be read."""
    return all(_meets(requirement, labels) for requirement in re.findall(r"(?:[^,(]|\([^)]*\))+", selector))


def _meets(requirement: str, labels: Mapping[str, str]) -> bool:
    match = _REQUIREMENT.fullmatch(requirement.strip())
    if match is None:
        raise Invalid(f"unable to parse requirement: {requirement!r}")
    value = labels.get(match["key"])
    if match["absent"]:
        return value is None
    if match["among"]:
        among = value in {entry.strip() for entry in match["values"].split(",")}
        return among if match["among"] == "in" else not among
    if match["equal"] == "!=":
        return value != match["value"]
    if match["equal"]:
        return value == match["value"]
    return value is not None
