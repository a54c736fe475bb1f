"""checkov's rules for what clusters and clouds should look like; what is not followed is named here, with its reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.client import ROOT
from tests.deploy.files import AWS, OVERLAYS, checker, ran, rendered, with_pods

ACCEPTED = {
    "kubernetes": {
        "CKV_K8S_11": "no CPU limit: the pools are as large as the request, and throttling would stop a photo half-way",
        "CKV_K8S_15": "IfNotPresent: tags never move, and a registry that is down must not stop a pod from starting",
        "CKV_K8S_35": "keys come as an environment variable, because all settings do; the Secret is one of one value",
        "CKV_K8S_40": "OpenShift gives each namespace a range of users; everywhere else the user is 10001",
        "CKV_K8S_43": "a tag in the repository; whoever deploys puts in the digest of the image that they built or trust",
    },
    "cloudformation": {
        "CKV_AWS_18": "the bucket holds settings, models and templates, which no client reads; CloudTrail knows who did",
        "CKV_AWS_26": "an alarm's text holds a metric and a number; CloudWatch may not use AWS's own key for topics",
        "CKV_AWS_91": "the access log needs a bucket and holds clients' addresses: it is on where AccessLogBucket is given",
        "CKV_AWS_115": "deployments call the check one at a time; a reservation would take from the account's others",
        "CKV_AWS_116": "ECS calls the check and waits for its answer; there is no event that could be lost",
        "CKV_AWS_117": "the check asks from outside, as clients do; it has no way to the tasks but theirs",
        "CKV_AWS_136": "the images are public; AWS's own key encrypts them",
        "CKV_AWS_149": "AWS's own key encrypts the secret; one of the customer's costs money and can be lost",
        "CKV_AWS_158": "AWS's own key encrypts the logs; nothing of a photo stands in them",
        "CKV_AWS_173": "the check's variables hold names, of which none is a secret; its key is read where it is kept",
        "CKV_AWS_260": "port 80 is open in order to redirect to 443, and forwards nothing",
    },
    "github_actions": {
        "CKV_GHA_7": "the one input names an image by its digest, to go back to it; nothing is built from it",
    },
}
"""Rules that are not followed, by checkov's framework."""


def broken(framework: str, folder: Path) -> set[str]:
    """Rules that something in the folder breaks. Fails where nothing was looked at."""
    said = ran(
        checker("checkov"),
        *("--directory", str(folder), "--framework", framework),
        *("--output", "json", "--quiet", "--compact", "--soft-fail", "--skip-download"),
        environment={"CKV_SKIP_PACKAGE_UPDATE_CHECK": "true", "LOG_LEVEL": "ERROR"},
    )
    report = json.loads(said[said.index("{") :])
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 20
    return {check["check_id"] for check in report["results"]["failed_checks"]}


def folder_of(framework: str, scratch: Path) -> Path:
    if framework == "cloudformation":
        return AWS
    if framework == "github_actions":
        return ROOT / ".github"
    for overlay in OVERLAYS:
        (scratch / f"{overlay}.yaml").write_text(yaml.safe_dump_all(rendered(overlay)))
    (scratch / "ray.yaml").write_text(yaml.safe_dump_all(with_pods(rendered("ray"))))
    return scratch


@pytest.mark.parametrize("framework", list(ACCEPTED))
def test_every_rule_is_followed_or_its_breach_explained(framework: str, tmp_path: Path) -> None:
    assert broken(framework, folder_of(framework, tmp_path)) == set(ACCEPTED[framework])
