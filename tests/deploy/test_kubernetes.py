"""Every overlay is what an API server would take, and holds what running it safely asks for."""

from __future__ import annotations

import copy
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
from service.api.routes import KEPT, router
from service.settings import Settings
from tests.client import ROOT
from tests.collectors import Described, described
from tests.deploy.files import KUBERNETES, OVERLAYS, Document, checker, container, manifest, of, ran, rendered
from tests.deploy.monitoring import MONITORING, dashboard

SCHEMAS = {"Route": "route", "ScaledObject": "scaledobject", "InferenceService": "inferenceservice"}
"""Kinds that clusters learn from others, and that schemas of our own hold to what we use of them."""
EXTENSIONS = {"HTTPRoute", "PrometheusRule", "ServiceMonitor", *SCHEMAS}
"""Kinds that Kubernetes' own schemas do not hold; the tests of those without a schema stand below."""
SCALED = ["production", "model-volume", "openshift"]
"""Overlays whose autoscaler is Kubernetes' own."""

PROTECTED = {"app.kubernetes.io/name": "facet"}


def pod(objects: list[Document], name: str = "facet") -> Document:
    spec = of(objects, "Deployment", name)["spec"]["template"]["spec"]
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
    for kind in set(unknown) & set(SCHEMAS):
        follows_our_schema([one for one in objects if one["kind"] == kind], tmp_path)


def follows_our_schema(objects: list[Document], folder: Path) -> None:
    """Objects of one kind are held to the schema of that kind."""
    (kind,) = {one["kind"] for one in objects}
    files = [folder / f"{kind}-{number}.yaml" for number in range(len(objects))]
    for one, file in zip(objects, files, strict=True):
        file.write_text(yaml.safe_dump(one))
    schema = Path(__file__).parent / f"schemas/{SCHEMAS[kind]}.yaml"
    ran(checker("check-jsonschema"), "--schemafile", str(schema), *map(str, files))


@pytest.mark.parametrize(
    ("kind", "overlay", "change"),
    [
        ("Route", "openshift", ["spec", "tls", "terminaton"]),
        ("Route", "openshift", ["spec", "to", "weight"]),
        ("ScaledObject", "keda", ["spec", "triggers", 0, "metadata", "treshold"]),
        ("ScaledObject", "keda", ["spec", "maxReplicaCount"]),
    ],
)
def test_a_wrong_field_is_found_by_our_schemas(kind: str, overlay: str, change: list[Any], tmp_path: Path) -> None:
    wrong = copy.deepcopy(next(one for one in rendered(overlay) if one["kind"] == kind))
    *path, last = change
    place: Any = wrong
    for part in path:
        place = place[part]
    place[last] = "wrong"
    with pytest.raises(AssertionError, match="Schema validation errors"):
        follows_our_schema([wrong], tmp_path)


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


@pytest.mark.parametrize("overlay", [*SCALED, "keda"])
def test_an_update_or_a_drained_node_costs_no_capacity(overlay: str) -> None:
    objects = rendered(overlay)
    spec = of(objects, "Deployment")["spec"]
    assert "replicas" not in spec  # the autoscaler's
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    kind, least, most = ("HorizontalPodAutoscaler", "minReplicas", "maxReplicas")
    if overlay not in SCALED:
        kind, least, most = ("ScaledObject", "minReplicaCount", "maxReplicaCount")
    scaler = of(objects, kind)["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "facet"}
    assert 2 <= scaler[least] <= scaler[most]
    budget = of(objects, "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] < scaler[least]
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


def test_keda_asks_for_the_queue_and_scales_by_cpu_without_it(production: list[Document]) -> None:
    objects = rendered("keda")
    assert "HorizontalPodAutoscaler" not in {one["kind"] for one in objects}, "KEDA makes one of its own"
    scaled, theirs = of(objects, "ScaledObject"), of(production, "HorizontalPodAutoscaler")["spec"]
    spec = scaled["spec"]
    queue, cpu = spec["triggers"]
    metric, labels = re.findall(r"avg_over_time\((\w+)\{(.+?)\}", queue["metadata"]["query"])[0]
    (label,) = gauge(metric).labels
    named = dict(re.findall(r'(\w+)="([^"]*)"', labels))
    service = of(objects, "Service")["metadata"]
    assert named == {"namespace": service["namespace"], "service": service["name"], label: "photos"}
    assert scaled["metadata"]["namespace"] == service["namespace"]
    assert queue["metadata"]["serverAddress"] == "{url}:{port}".format(
        **manifest("prometheus-adapter/values.yaml")["prometheus"]
    )
    resource, pods = theirs["metrics"]
    assert queue["metadata"]["threshold"] == pods["pods"]["target"]["averageValue"]
    assert cpu["metadata"]["value"] == str(resource["resource"]["target"]["averageUtilization"])
    assert spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == theirs["behavior"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (theirs["minReplicas"], theirs["maxReplicas"])
    assert spec["fallback"]["replicas"] == spec["minReplicaCount"]
    assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"


def test_openshifts_default_constraints_let_the_pods_in() -> None:
    """restricted-v2 gives a namespace a range of users of its own: a number that a manifest fixes lies outside of it."""
    objects = rendered("openshift")
    spec, one = pod(objects), container(pod(objects))
    for context in (spec["securityContext"], one["securityContext"]):
        assert not {"runAsUser", "runAsGroup", "fsGroup", "supplementalGroups", "seLinuxOptions"} & set(context)
    assert not {"hostPort", "hostIP"} & {key for port in one["ports"] for key in port}
    assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not any("hostPath" in volume for volume in spec.get("volumes", []))
    assert "HTTPRoute" not in {kind["kind"] for kind in objects}
    (cpu,) = of(objects, "HorizontalPodAutoscaler")["spec"]["metrics"]
    assert cpu["resource"]["name"] == "cpu"
    (rule,) = of(objects, "NetworkPolicy", "facet-metrics")["spec"]["ingress"]
    (prometheus,) = rule["from"]
    assert list(prometheus["namespaceSelector"]["matchLabels"].values()) == ["openshift-user-workload-monitoring"]
    let_in = of(objects, "NetworkPolicy")["spec"]["ingress"][0]["from"]
    assert {"namespaceSelector": {"matchLabels": {"policy-group.network.openshift.io/ingress": ""}}} in let_in


def test_openshifts_router_reaches_every_route_but_those_of_operators() -> None:
    objects = rendered("openshift")
    routes = {one["spec"].get("path", "/"): one["spec"] for one in objects if one["kind"] == "Route"}
    assert len({one["host"] for one in routes.values()}) == 1
    ports = {one["metadata"]["name"]: one["spec"]["ports"][0]["name"] for one in objects if one["kind"] == "Service"}
    assert all(one["port"]["targetPort"] == ports[one["to"]["name"]] for one in routes.values())
    assert all(one["tls"] == {"termination": "edge", "insecureEdgeTerminationPolicy": "Redirect"} for one in routes.values())
    closed = of(objects, "Service", "facet-closed")["spec"]["selector"]
    labels = of(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert not closed.items() <= labels.items(), "no pod is behind it"

    def answers(path: str) -> str:
        """The most specific route's service."""
        return str(routes[max((prefix for prefix in routes if path.startswith(prefix)), key=len)]["to"]["name"])

    assert {path for path in every_path() if answers(path) != "facet"} == KEPT
    timeout = of(objects, "Route")["metadata"]["annotations"]["haproxy.router.openshift.io/timeout"]
    gateway, *_ = of(rendered("production"), "HTTPRoute")["spec"]["rules"]
    assert timeout == gateway["timeouts"]["request"]


def test_kserve_runs_the_pod_of_the_base(tmp_path: Path) -> None:
    service = manifest("kserve/inferenceservice.yaml")
    follows_our_schema([service], tmp_path)
    base = pod(rendered("base"))
    predictor = dict(service["spec"]["predictor"])
    scaling = {"minReplicas": 2, "maxReplicas": 10, "scaleMetric": "cpu", "scaleTarget": 70}
    assert {name: predictor.pop(name) for name in scaling} == scaling
    template = {"metadata": {"labels": PROTECTED}, "spec": predictor}
    deployment = {"selector": {"matchLabels": PROTECTED}, "template": template}
    file = tmp_path / "pod.yaml"
    file.write_text(
        yaml.safe_dump({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "facet"}, "spec": deployment})
    )
    assert "WARN" not in ran(checker("kubernetes-validate"), "--strict", str(file))
    ours, theirs = container(predictor), container(base)
    for name in ("image", "resources", "securityContext", "imagePullPolicy"):
        assert ours[name] == theirs[name]
    for name in ("securityContext", "terminationGracePeriodSeconds", "enableServiceLinks", "automountServiceAccountToken"):
        assert predictor[name] == base[name]
    assert [entry for entry in ours["env"] if "valueFrom" in entry] == theirs["env"]
    (compat,) = (entry["value"] for entry in ours["env"] if entry["name"] == "FACET_COMPAT")
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        path = ours[probe]["httpGet"]["path"]
        assert path in SYSTEMS[compat].probes
        assert {**ours[probe], "httpGet": None} == {**theirs[probe], "httpGet": None}
        assert path == theirs[probe]["httpGet"]["path"].replace("/health", "/v2/health")


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


def every_path() -> set[str]:
    """Whatever a request may ask for."""
    paths = {one.path for one in (*router.routes, *web.create_router({}).routes) if isinstance(one, APIRoute)}
    return paths | {"/docs", "/openapi.json", stream.PATH, *(path for system in SYSTEMS.values() for path in system.paths)}


def matched(path: str, match: dict[str, Any]) -> bool:
    """Gateway API's rules: a prefix counts in whole parts of the path."""
    value = match["path"]["value"]
    if match["path"]["type"] == "Exact":
        return path == value
    return path == value or path.startswith(value.rstrip("/") + "/")


def test_the_world_reaches_every_route_but_those_of_operators(production: list[Document]) -> None:
    route = of(production, "HTTPRoute")["spec"]
    rule, streams = route["rules"]
    matches = [match for one in route["rules"] for match in one["matches"]]
    unmatched = {path for path in every_path() if not any(matched(path, match) for match in matches)}
    assert unmatched == {"/metrics", "/model/reload"}
    service = of(production, "Service")
    for one in route["rules"]:
        (backend,) = one["backendRefs"]
        assert (backend["name"], backend["port"]) == (service["metadata"]["name"], service["spec"]["ports"][0]["port"])
    assert streams["timeouts"] == {"request": "0s"}, "the service itself ends a stream"
    assert [match["path"]["value"] for match in streams["matches"]] == [stream.PATH]
    longest = Settings.model_fields["body_timeout_s"].default + Settings.model_fields["deadline_s"].default
    assert int(rule["timeouts"]["request"].rstrip("s")) > longest


def test_no_file_is_left_lying_outside_every_overlay() -> None:
    used = {KUBERNETES / "prometheus-adapter/values.yaml", KUBERNETES / "kserve/inferenceservice.yaml"}
    waiting = [KUBERNETES / "ray", *(KUBERNETES / "overlays" / name for name in OVERLAYS)]
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
