"""Every overlay is what an API server would take, and holds what running it safely asks for."""

from __future__ import annotations

import hashlib
import json
import os
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.routing import APIRoute

from service import web
from service.api import stream
from service.api.compat.systems import SYSTEMS
from service.api.routes import router
from service.settings import Settings
from tests.client import ROOT
from tests.collectors import Described, described
from tests.deploy.files import KUBERNETES, OVERLAYS, Document, checker, container, manifest, of, ran, rendered
from tests.deploy.monitoring import MONITORING, dashboard

EXTENSIONS = {"HTTPRoute", "PrometheusRule", "ServiceMonitor"}
"""Kinds that clusters learn from others, so that Kubernetes' own schemas do not hold them; their tests stand below."""

PROTECTED = {"app.kubernetes.io/name": "facet"}


def pod(objects: list[Document]) -> Document:
    spec = of(objects, "Deployment")["spec"]["template"]["spec"]
    assert isinstance(spec, dict)
    return spec


def environment(objects: list[Document]) -> dict[str, str]:
    """FACET_… as the container gets them, where they are values and not references to what runs."""
    one = container(pod(objects))
    values: dict[str, str] = {}
    for source in one.get("envFrom", []):
        values |= of(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    return values | {entry["name"]: entry["value"] for entry in one.get("env", []) if "value" in entry}


@pytest.fixture(scope="module")
def production() -> list[Document]:
    return rendered("production")


@pytest.mark.parametrize("overlay", ["base", *OVERLAYS])
def test_every_object_follows_its_schema_to_the_letter(overlay: str, tmp_path: Path) -> None:
    objects = rendered(overlay)
    file = tmp_path / "objects.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    said = ran(checker("kubernetes-validate"), "--strict", str(file))
    unknown = re.findall(r"^WARN .*kind (\w+) ", said, re.MULTILINE)
    assert said.count("WARN") == len(unknown)
    assert set(unknown) == {one["kind"] for one in objects} & EXTENSIONS


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_lies_in_the_overlays_namespace(overlay: str) -> None:
    objects = rendered(overlay)
    (namespace,) = (one["metadata"]["name"] for one in objects if one["kind"] == "Namespace")
    assert {one["metadata"].get("namespace") for one in objects if one["kind"] != "Namespace"} == {namespace}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_pass_the_restricted_standard_which_their_namespace_enforces(overlay: str) -> None:
    """kubernetes.io/docs/concepts/security/pod-security-standards, restricted, and what goes beyond it here."""
    objects = rendered(overlay)
    (namespace,) = (one for one in objects if one["kind"] == "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    spec, one = pod(objects), container(pod(objects))
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"} & set(spec)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert one["securityContext"]["allowPrivilegeEscalation"] is False
    assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert one["securityContext"]["readOnlyRootFilesystem"] is True
    assert {kind for volume in spec.get("volumes", []) for kind in volume} <= {"name", "persistentVolumeClaim"}
    assert all(mount["readOnly"] for mount in one.get("volumeMounts", []))
    assert "hostPort" not in one["ports"][0]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pod_can_ask_the_cluster_for_nothing(overlay: str) -> None:
    objects = rendered(overlay)
    assert pod(objects)["automountServiceAccountToken"] is False
    assert of(objects, "ServiceAccount")["automountServiceAccountToken"] is False
    assert not {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"} & {one["kind"] for one in objects}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_settings_are_ones_that_the_service_takes(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = rendered(overlay)
    known = {f"FACET_{name.upper()}" for name in Settings.model_fields}
    one = container(pod(objects))
    assert {entry["name"] for entry in one["env"]} | set(environment(objects)) <= known
    for name, value in environment(objects).items():
        monkeypatch.setenv(name, value)
    Settings()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_services_name_is_kept_from_becoming_a_setting(overlay: str) -> None:
    """A Service named facet gives every pod FACET_PORT=tcp://… unless service links are off: it would not start."""
    objects = rendered(overlay)
    assert of(objects, "Service")
    assert "port" in Settings.model_fields
    assert pod(objects)["enableServiceLinks"] is False


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pools_are_as_large_as_the_share_of_cpu_that_is_asked_for(overlay: str) -> None:
    one = container(pod(rendered(overlay)))
    sized = {
        entry["name"]: entry["valueFrom"]["resourceFieldRef"]["resource"]
        for entry in one["env"]
        if "resourceFieldRef" in entry.get("valueFrom", {})
    }
    assert sized == {"FACET_THREADS": "requests.cpu", "FACET_WORKERS": "requests.cpu"}
    assert "cpu" not in one["resources"]["limits"]
    assert one["resources"]["requests"]["memory"] == one["resources"]["limits"]["memory"]


@pytest.mark.parametrize("overlay", ["production", "model-volume"])
def test_an_update_or_a_drained_node_costs_no_capacity(overlay: str) -> None:
    objects = rendered(overlay)
    spec = of(objects, "Deployment")["spec"]
    assert "replicas" not in spec  # the autoscaler's
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    scaler = of(objects, "HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "facet"}
    assert 2 <= scaler["minReplicas"] <= scaler["maxReplicas"]
    budget = of(objects, "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] < scaler["minReplicas"]
    assert budget["selector"] == spec["selector"]
    for spread in spec["template"]["spec"]["topologySpreadConstraints"]:
        assert spread["labelSelector"] == spec["selector"]


@pytest.mark.parametrize("overlay", ["base", *OVERLAYS])
def test_every_selector_finds_the_pods(overlay: str) -> None:
    objects = rendered(overlay)
    labels = of(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = [of(objects, "Deployment")["spec"]["selector"]["matchLabels"], of(objects, "Service")["spec"]["selector"]]
    selectors += [one["spec"]["podSelector"].get("matchLabels", {}) for one in objects if one["kind"] == "NetworkPolicy"]
    selectors += [one["spec"]["selector"]["matchLabels"] for one in objects if one["kind"] == "PodDisruptionBudget"]
    assert all(selector.items() <= labels.items() for selector in selectors)


@pytest.mark.parametrize("overlay", ["base", *OVERLAYS])
def test_nothing_goes_out_and_little_comes_in(overlay: str) -> None:
    objects = rendered(overlay)
    policies = [one["spec"] for one in objects if one["kind"] == "NetworkPolicy"]
    assert of(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == PROTECTED
    assert of(objects, "NetworkPolicy")["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert not any(policy.get("egress") for policy in policies)
    for policy in policies:
        for rule in policy.get("ingress", []):
            assert rule["from"]
            assert [port["port"] for port in rule["ports"]] == [container(pod(objects))["ports"][0]["name"]]


def test_keys_come_from_a_secret_that_no_file_holds(production: list[Document]) -> None:
    keys = next(one for one in container(pod(production))["env"] if one["name"] == "FACET_API_KEYS")
    assert keys["valueFrom"]["secretKeyRef"] == {"name": "facet-api-keys", "key": "keys"}
    assert "Secret" not in {one["kind"] for one in production}


def test_the_pinned_model_is_the_one_in_the_store() -> None:
    objects = rendered("model-volume")
    values = environment(objects)
    manifest_file = ROOT / "model_store" / values["FACET_MODEL"] / values["FACET_MODEL_VERSION"] / "model.json"
    assert values["FACET_MODEL_DIGEST"] == hashlib.sha256(manifest_file.read_bytes()).hexdigest()
    (mount,) = container(pod(objects))["volumeMounts"]
    (volume,) = pod(objects)["volumes"]
    assert (mount["name"], mount["mountPath"]) == (volume["name"], values["FACET_MODEL_STORE"])
    assert of(objects, "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])


# What clusters learn from others --------------------------------------------------------------------------------------


def gauge(name: str) -> Described:
    (found,) = (one for one in described() if (one.name, one.kind) == (name, "gauge"))
    return found


def test_the_autoscaler_asks_for_a_metric_that_the_adapter_makes_of_one_that_the_service_has(
    production: list[Document],
) -> None:
    cpu, queue = of(production, "HorizontalPodAutoscaler")["spec"]["metrics"]
    assert cpu["resource"]["name"] == "cpu"
    asked = queue["pods"]["metric"]
    (label,) = gauge("facet_queue_depth").labels
    assert list(asked["selector"]["matchLabels"]) == [label]
    assert asked["selector"]["matchLabels"][label] in re.findall(r'watch_queue\("(\w+)"', (ROOT / "service/app.py").read_text())
    (rule,) = manifest("prometheus-adapter/values.yaml")["rules"]["custom"]
    series = rule["seriesQuery"].split("{")[0]
    assert gauge(series)
    assert re.sub(rule["name"]["matches"], rule["name"]["as"], series) == asked["name"]
    assert set(rule["resources"]["overrides"]) == {"namespace", "pod"}
    assert all(part in rule["metricsQuery"] for part in ("<<.Series>>", "<<.LabelMatchers>>", "<<.GroupBy>>"))
    assert int(queue["pods"]["target"]["averageValue"]) < Settings.model_fields["photo_queue"].default


def test_prometheus_finds_the_service_and_is_let_in(production: list[Document]) -> None:
    monitor, service = of(production, "ServiceMonitor")["spec"], of(production, "Service")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert endpoint["path"] in {route.path for route in router.routes if isinstance(route, APIRoute)}
    (rule,) = of(production, "NetworkPolicy", "facet-metrics")["spec"]["ingress"]
    assert rule["from"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}


def test_the_clusters_prometheus_has_the_alerts_and_its_grafana_the_dashboard(production: list[Document]) -> None:
    rules = (MONITORING / "alerts.yml").read_text()
    assert of(production, "PrometheusRule")["spec"] == yaml.safe_load(rules)
    written = (KUBERNETES / "components/monitoring/prometheusrule.yaml").read_text()
    assert written.endswith(re.sub(r"^(?=.)", "  ", rules, flags=re.MULTILINE))
    board = of(production, "ConfigMap", "facet-dashboard")
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert {name: json.loads(text) for name, text in board["data"].items()} == {"facet.json": dashboard()}


def test_the_pages_overlay_puts_in_a_name_and_a_gateway(tmp_path: Path) -> None:
    (written,) = re.findall(r"^   ```yaml\n(.*?)^   ```", (ROOT / "docs/kubernetes.md").read_text(), re.MULTILINE | re.DOTALL)
    here = os.path.relpath(KUBERNETES / "overlays/production", tmp_path)
    (tmp_path / "kustomization.yaml").write_text(textwrap.dedent(written).replace("../production", here))
    objects = list(yaml.safe_load_all(ran(checker("kubectl"), "kustomize", str(tmp_path))))
    route = of(objects, "HTTPRoute")["spec"]
    assert route["hostnames"] == ["faces.example.org"]
    assert route["parentRefs"] == [{"name": "edge", "namespace": "ingress", "sectionName": "https"}]
    assert route["rules"] == of(rendered("production"), "HTTPRoute")["spec"]["rules"]


def test_the_pages_own_overlay_pins_the_image_and_keeps_its_settings(tmp_path: Path) -> None:
    (written,) = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs/kubernetes.md").read_text(), re.MULTILINE | re.DOTALL)
    here = os.path.relpath(KUBERNETES, tmp_path)
    written = re.sub(r"https://\S+//deploy/kubernetes/(\S+)\?ref=\S+", rf"{here}/\1", written)
    digest = "sha256:" + 64 * "0"
    (tmp_path / "kustomization.yaml").write_text(written.replace("sha256:…", digest))
    objects = list(yaml.safe_load_all(ran(checker("kubectl"), "kustomize", str(tmp_path))))
    assert container(pod(objects))["image"] == f"ghcr.io/facet-project/facet@{digest}"
    assert environment(objects)["FACET_ATTRIBUTES"] == "age"
    assert of(objects, "ServiceMonitor")["metadata"]["namespace"] == "faces"


def test_a_name_that_the_base_has_replaced_is_no_longer_there_to_be_pinned() -> None:
    """What the base says of overlays, and what they have to name, is its own new name."""
    text = (KUBERNETES / "base/kustomization.yaml").read_text()
    (image,) = manifest("base/kustomization.yaml")["images"]
    assert f"kustomize edit set image {image['newName']}@sha256:" in text


def test_the_claim_is_there_before_the_pod_that_waits_for_it() -> None:
    page = (ROOT / "docs/kubernetes.md").read_text()
    page = page[page.index("## Models from a volume") :]
    claim = manifest("components/model-volume/persistentvolumeclaim.yaml")
    assert f"claimName: {claim['metadata']['name']}}}" in page
    applied = page.index("apply -f deploy/kubernetes/components/model-volume/persistentvolumeclaim.yaml")
    assert applied < page.index("kind: Pod")


def matched(path: str, match: dict[str, Any]) -> bool:
    """Gateway API's rules: a prefix counts in whole parts of the path."""
    value = match["path"]["value"]
    if match["path"]["type"] == "Exact":
        return path == value
    return path == value or path.startswith(value.rstrip("/") + "/")


def test_the_world_reaches_every_route_but_those_of_operators(production: list[Document]) -> None:
    route = of(production, "HTTPRoute")["spec"]
    rule, streams = route["rules"]
    paths = {one.path for one in (*router.routes, *web.create_router({}).routes) if isinstance(one, APIRoute)}
    paths |= {"/docs", "/openapi.json", stream.PATH, *(path for system in SYSTEMS.values() for path in system.paths)}
    matches = [match for one in route["rules"] for match in one["matches"]]
    assert {path for path in paths if not any(matched(path, match) for match in matches)} == {"/metrics", "/model/reload"}
    service = of(production, "Service")
    for one in route["rules"]:
        (backend,) = one["backendRefs"]
        assert (backend["name"], backend["port"]) == (service["metadata"]["name"], service["spec"]["ports"][0]["port"])
    assert streams["timeouts"] == {"request": "0s"}, "the service itself ends a stream"
    assert [match["path"]["value"] for match in streams["matches"]] == [stream.PATH]
    longest = Settings.model_fields["body_timeout_s"].default + Settings.model_fields["deadline_s"].default
    assert int(rule["timeouts"]["request"].rstrip("s")) > longest


def test_no_file_is_left_lying_outside_every_overlay() -> None:
    used = {KUBERNETES / "prometheus-adapter/values.yaml"}
    waiting = [KUBERNETES / "overlays" / name for name in OVERLAYS]
    while waiting:
        folder = waiting.pop()
        kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
        used.add(folder / "kustomization.yaml")
        for name in [*kustomization.get("resources", []), *kustomization.get("components", [])]:
            path = (folder / name).resolve()
            if path.is_dir():
                waiting.append(path)
            else:
                used.add(path)
    # The one that hands over the dashboard lies beside it.
    assert {*KUBERNETES.rglob("*.yaml"), MONITORING / "kustomization.yaml"} == used
