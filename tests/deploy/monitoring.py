"""The dashboard and the alert rules, as their files have them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import yaml

from tests.client import ROOT

MONITORING = ROOT / "deploy/monitoring"
VARIABLES = {"$__rate_interval": "1m", "$__range": "1h", "$namespace": ".*", "$job": ".*", "$instance": ".*"}
"""What Grafana puts in the place of a dashboard's variables, as a test does it: all of everything, the last minutes."""


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    document: dict[str, Any] = json.loads((MONITORING / "grafana/dashboards/facet.json").read_text())
    return document


def queries() -> Iterator[tuple[str, str]]:
    """Title and PromQL of every query of every panel, with values in the place of variables."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"]
            for name, value in VARIABLES.items():
                query = query.replace(name, value)
            yield f"{panel['title']} {target['refId']}", query


def alerts() -> list[dict[str, Any]]:
    """Every alert rule."""
    document = yaml.safe_load((MONITORING / "alerts.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"] if "alert" in rule]
