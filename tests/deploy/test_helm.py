"""The Helm chart renders what the kustomizations do, takes every setting, and refuses what is misspelt."""

from __future__ import annotations

import json
import re
import tomllib
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings
from tests.client import ROOT
from tests.deploy.chart import CHART, FROM_SECRETS, SCHEMA, helm, objects, settings_schema
from tests.deploy.files import Document, checker, container, manifest, mebibytes, of, ran, rendered
from tests.deploy.test_kubernetes import EXTENSIONS, SCHEMAS, environment, follows_our_schema, pod

PRODUCTION: Document = {
    "apiKeys": {"secret": "facet-api-keys"},
    "autoscaling": {"minReplicas": 3, "maxReplicas": 20, "queue": {"enabled": True}},
    "serviceMonitor": {"enabled": True},
    "httpRoute": {"enabled": True},
}
KEDA = PRODUCTION | {"autoscaling": PRODUCTION["autoscaling"] | {"kind": "keda"}}
OPENSHIFT: Document = {
    "apiKeys": {"secret": "facet-api-keys"},
    "autoscaling": {"minReplicas": 3, "maxReplicas": 20},
    "serviceMonitor": {"enabled": True, "namespace": "openshift-user-workload-monitoring"},
    "route": {"enabled": True},
    "openshift": True,
}
PINNED = dict(
    one.split("=") for one in manifest("components/model-volume/kustomization.yaml")["configMapGenerator"][0]["literals"]
)
VOLUME = PRODUCTION | {
    "modelStore": {"kind": "volume"},
    "settings": {
        "FACET_MODEL": PINNED["FACET_MODEL"],
        "FACET_MODEL_VERSION": int(PINNED["FACET_MODEL_VERSION"]),
        "FACET_MODEL_DIGEST": PINNED["FACET_MODEL_DIGEST"],
    },
}
OTHERS: list[Document] = [
    {
        "name": "faces",
        "autoscaling": {"kind": "none"},
        "replicas": 4,
        "image": {"digest": "sha256:" + 64 * "0", "pullSecrets": ["registry"]},
        "settings": {"FACET_TLS": True, "FACET_PORT": 8443, "FACET_THREADS": 3, "FACET_COMPAT": ["kserve", "deepface"]},
        "operatorKeys": {"secret": "facet-operators"},
        "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "faces-tls", "annotations": {"a/b": "c"}},
        "networkPolicy": {
            "from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
            "egress": [{"ports": [{"port": 4318, "protocol": "TCP"}]}],
        },
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "faces", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "priorityClassName": "high",
        "podLabels": {"team": "photos"},
        "podAnnotations": {"a/b": "c"},
    },
    {
        "modelStore": {"kind": "s3", "s3": {"address": "s3://bucket/models", "secret": "facet-store"}},
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/facet"}},
        "podDisruptionBudget": {"enabled": False},
        "autoscaling": {"kind": "keda"},
    },
    {"networkPolicy": {"enabled": False}, "serviceMonitor": {"enabled": True}},
]
CERTIFIED: Document = {
    "settings": {"FACET_TLS_CERTIFICATE": "/tls/chain.pem", "FACET_TLS_KEY": "/tls/key.pem"},
    "serviceMonitor": {"enabled": True},
}
SECRET: Document = {"tls": {"secret": "facet-tls"}, "modelStore": {"kind": "volume"}, "serviceMonitor": {"enabled": True}}
SECOND = KEDA | {"name": "faces"}
PATIENT: Document = {
    "settings": {"FACET_BODY_TIMEOUT_S": 30, "FACET_BATCH_DEADLINE_S": 115.5},
    "httpRoute": {"enabled": True},
    "route": {"enabled": True},
}
NUMBERS = {
    "FACET_MAX_BODIES_MIB": 1000000,
    "FACET_FACE_QUEUE": 100000000,
    "FACET_TRACE_RATIO": 0.001,
    "FACET_MAX_BODY_MIB": 20.5,
}
LISTS = {"FACET_ATTRIBUTES": ["age", "gender"], "FACET_CORS_ORIGINS": "https://a.example,https://b.example"}


def samples() -> Document:
    """A value of every setting's type, for each setting that values may hold."""
    known: Document = {}
    for name, field in Settings.model_fields.items():
        value = field.default.value if isinstance(field.default, Enum) else field.default
        given = {"model_version": 3, "model_digest": 32 * "ab", "model_store": "/models", "canary": "mobilenet/5:0.05"}
        given |= {
            "stream_detector": "centerface",
            "otlp_endpoint": "http://collector:4318",
            "models": ["mobilenet/3", "other"],
            "attributes": ["age"],
        }
        if name not in FROM_SECRETS:
            value = given.get(name, "/some/file" if value is None else value)
            known[f"FACET_{name.upper()}"] = list(value) if isinstance(value, tuple) else value
    return known


WRONG: list[tuple[Document, str]] = [
    ({"settings": {"FACET_DEADLINES_S": 3}}, "FACET_DEADLINES_S"),
    ({"settings": {"FACET_API_KEYS": "a-key"}}, "FACET_API_KEYS"),
    ({"settings": {"FACET_DEADLINE_S": "soon"}}, "FACET_DEADLINE_S"),
    ({"settings": {"FACET_LOG_LEVEL": "loud"}}, "FACET_LOG_LEVEL"),
    ({"settings": {"FACET_MODEL_DIGEST": "abc"}}, "FACET_MODEL_DIGEST"),
    ({"autoscaling": {"kind": "vpa"}}, "kind"),
    ({"apiKey": {"secret": "keys"}}, "apiKey"),
    ({"modelStore": {"kind": "s3"}}, "modelStore.s3.address is missing"),
    ({"resources": {"requests": {"cpu": None}}}, "cpu"),
    ({"image": {"digest": "latest"}}, "digest"),
    ({"name": "1st"}, "name"),
    ({"podLabels": {"app.kubernetes.io/name": "photos"}}, "app.kubernetes.io/name"),
    ({"autoscaling": {"minReplicas": 5, "maxReplicas": 2}}, "minReplicas is more than"),
    ({"settings": {"FACET_DRAIN_DELAY_S": 30}}, "terminationGracePeriodSeconds is less than"),
    ({"terminationGracePeriodSeconds": 29}, "terminationGracePeriodSeconds is less than"),
    ({"settings": {"FACET_SHUTDOWN_TIMEOUT_S": None}, "terminationGracePeriodSeconds": 29}, "FACET_SHUTDOWN_TIMEOUT_S"),
]
NAMED = {"default": {}, "production": PRODUCTION, "keda": KEDA, "openshift": OPENSHIFT, "volume": VOLUME}
ALL: list[Document] = [
    *NAMED.values(),
    *OTHERS,
    {"settings": samples()},
    {"settings": NUMBERS | LISTS},
    CERTIFIED,
    SECRET,
    SECOND,
    PATIENT,
    *(values for values, _ in WRONG),
]


@pytest.fixture(scope="module")
def renderings() -> list[Document | str]:
    """The chart with each of `ALL`, by one start of Helm."""
    return helm(*ALL)[1]


def chart(renderings: list[Document | str], values: Document) -> list[Document]:
    return objects(renderings[ALL.index(values)])


def comparable(found: list[Document]) -> dict[tuple[str, str], Document]:
    """Objects by kind and name: without the namespace that `helm install` adds, and without a name that kustomize hashes."""
    by_name: dict[tuple[str, str], Document] = {}
    for one in found:
        text = re.sub(r"facet-settings(-[a-z0-9]{10})?\b", "facet-settings", json.dumps(one))
        document = json.loads(text)
        document["metadata"].pop("namespace", None)
        by_name[document["kind"], document["metadata"]["name"]] = document
    assert len(by_name) == len(found)
    return by_name


def test_the_chart_without_values_is_the_base(renderings: list[Document | str]) -> None:
    assert comparable(chart(renderings, {})) == comparable(rendered("base"))


@pytest.mark.parametrize(
    ("name", "overlay"),
    [("production", "production"), ("keda", "keda"), ("openshift", "openshift"), ("volume", "model-volume")],
)
def test_values_make_of_the_chart_what_components_make_of_the_base(
    name: str, overlay: str, renderings: list[Document | str]
) -> None:
    """What the chart leaves to others: the namespace and its policy, the alerts, the dashboard, and the claim that exists."""
    elsewhere = {("NetworkPolicy", "default-deny"), ("ConfigMap", "facet-dashboard"), ("PersistentVolumeClaim", "facet-models")}
    theirs = comparable(rendered(overlay))
    left_out = {one for one in theirs if one in elsewhere or one[0] in ("Namespace", "PrometheusRule")}
    assert comparable(chart(renderings, NAMED[name])) == {one: theirs[one] for one in theirs if one not in left_out}


def test_every_object_of_the_chart_follows_its_schema(renderings: list[Document | str], tmp_path: Path) -> None:
    """Those of `NAMED` are kustomize's, whose tests do the same."""
    found = [one for values in OTHERS for one in chart(renderings, values)]
    file = tmp_path / "objects.yaml"
    file.write_text(yaml.safe_dump_all(found))
    said = ran(checker("kubernetes-validate"), "--strict", str(file))
    unknown = re.findall(r"^WARN .*kind (\w+) ", said, re.MULTILINE)
    assert said.count("WARN") == len(unknown)
    assert set(unknown) == {one["kind"] for one in found} & EXTENSIONS
    for kind in set(unknown) & set(SCHEMAS):
        follows_our_schema([one for one in found if one["kind"] == kind], tmp_path)


@pytest.mark.parametrize("number", range(len(NAMED) + len(OTHERS)))
def test_no_variable_of_the_container_hides_a_setting(number: int, renderings: list[Document | str]) -> None:
    found = objects(renderings[number])
    (deployment,) = (one for one in found if one["kind"] == "Deployment")
    (settings,) = (one for one in found if one["kind"] == "ConfigMap")
    assert not {entry["name"] for entry in container(deployment["spec"]["template"]["spec"])["env"]} & set(settings["data"])


def test_every_setting_can_be_passed(renderings: list[Document | str], monkeypatch: pytest.MonkeyPatch) -> None:
    passed = environment(chart(renderings, {"settings": samples()}))
    known = {f"FACET_{name.upper()}" for name in Settings.model_fields if name not in FROM_SECRETS}
    assert set(passed) == known
    one_of = {"FACET_MODEL", "FACET_MODEL_VERSION"}  # FACET_MODELS takes their place
    for name, value in passed.items():
        if name not in one_of:
            monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.models == (("mobilenet", 3), ("other", None))
    assert (settings.attributes, settings.page, settings.tls) == (("age",), True, False)
    assert settings.trusted_proxies == Settings.model_fields["trusted_proxies"].default


def test_numbers_and_lists_arrive_as_they_were_written(
    renderings: list[Document | str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = environment(chart(renderings, {"settings": NUMBERS | LISTS}))
    assert {name: data[name] for name in NUMBERS} == {
        "FACET_MAX_BODIES_MIB": "1000000",
        "FACET_FACE_QUEUE": "100000000",
        "FACET_TRACE_RATIO": "0.001",
        "FACET_MAX_BODY_MIB": "20.5",
    }
    assert data["FACET_ATTRIBUTES"] == "age,gender"
    for name, value in data.items():
        monkeypatch.setenv(name, value)
    assert Settings().cors_origins == ("https://a.example", "https://b.example")


@pytest.mark.parametrize(("values", "word"), WRONG)
def test_wrong_values_are_refused(values: Document, word: str, renderings: list[Document | str]) -> None:
    error = renderings[ALL.index(values)]
    assert isinstance(error, str)
    assert word in error


def test_values_of_other_places_and_other_models(renderings: list[Document | str]) -> None:
    faces, stored, open_to_all = (chart(renderings, values) for values in OTHERS)
    spec = of(faces, "Deployment", "faces")["spec"]
    one = container(spec["template"]["spec"])
    assert spec["replicas"] == 4
    assert one["image"] == "ghcr.io/facet-project/facet@sha256:" + 64 * "0"
    assert [entry["name"] for entry in one["env"]] == ["FACET_OPERATOR_KEYS", "FACET_WORKERS"]
    assert one["ports"][0]["containerPort"] == 8443
    assert {one[probe]["httpGet"]["scheme"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")} == {"HTTPS"}
    assert of(faces, "ConfigMap", "faces-settings")["data"]["FACET_COMPAT"] == "kserve,deepface"
    assert not {"HorizontalPodAutoscaler", "ScaledObject"} & {kind["kind"] for kind in faces}
    labels = spec["template"]["metadata"]["labels"]
    assert of(faces, "Service", "faces")["spec"]["selector"].items() <= labels.items()
    paths = of(faces, "Ingress", "faces")["spec"]["rules"][0]["http"]["paths"]
    (route, streams) = of(rendered("production"), "HTTPRoute")["spec"]["rules"]
    theirs = [(match["path"]["value"], match["path"]["type"]) for match in (*route["matches"], *streams["matches"])]
    assert [(path["path"], path["pathType"].replace("Prefix", "PathPrefix")) for path in paths] == theirs
    assert of(faces, "NetworkPolicy", "faces")["spec"]["egress"] == [{"ports": [{"port": 4318, "protocol": "TCP"}]}]
    monitor = of(faces, "ServiceMonitor", "faces")["spec"]
    job = of(faces, "Service", "faces")["metadata"]["labels"][monitor["jobLabel"]]
    assert job == "facet", "the alerts ask for this job, whatever the release is called"
    spec = pod(stored)
    values = of(stored, "ConfigMap", "facet-settings")["data"]
    assert (values["FACET_MODEL_STORE"], values["FACET_MODEL_CACHE"]) == ("s3://bucket/models", "/cache")
    (mount,) = container(spec)["volumeMounts"]
    assert (mount["mountPath"], spec["volumes"]) == ("/cache", [{"name": "cache", "emptyDir": {"sizeLimit": "1Gi"}}])
    assert {"secretRef": {"name": "facet-store"}} in container(spec)["envFrom"]
    amounts = container(spec)["resources"]
    storage = [mebibytes(amounts[kind]["ephemeral-storage"]) for kind in ("requests", "limits")]
    assert storage == [1024 + 64, 1024 + 256], "a pod is evicted for its copies, too"
    (out,) = of(stored, "NetworkPolicy")["spec"]["egress"]
    assert {(port["port"], port["protocol"]) for port in out["ports"]} == {(53, "UDP"), (53, "TCP"), (443, "TCP")}
    assert [trigger["type"] for trigger in of(stored, "ScaledObject")["spec"]["triggers"]] == ["cpu"]
    assert "fallback" not in of(stored, "ScaledObject")["spec"], "KEDA takes none for CPU alone"
    assert "PodDisruptionBudget" not in {kind["kind"] for kind in stored}
    assert "NetworkPolicy" not in {kind["kind"] for kind in open_to_all}


def test_who_asks_a_service_with_a_certificate_speaks_https(renderings: list[Document | str]) -> None:
    """A certificate alone makes it speak HTTPS, without FACET_TLS."""
    for values in (CERTIFIED, SECRET):
        found = chart(renderings, values)
        one = container(pod(found))
        assert {one[probe]["httpGet"]["scheme"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")} == {"HTTPS"}
        assert of(found, "Service")["spec"]["ports"][0]["appProtocol"] == "https"
        assert of(found, "ServiceMonitor")["spec"]["endpoints"][0]["scheme"] == "https"


def test_a_certificate_comes_from_a_secret(renderings: list[Document | str]) -> None:
    found = chart(renderings, SECRET)
    settings = of(found, "ConfigMap", "facet-settings")["data"]
    assert (settings["FACET_TLS_CERTIFICATE"], settings["FACET_TLS_KEY"]) == ("/tls/tls.crt", "/tls/tls.key")
    mounts = {one["name"]: one["mountPath"] for one in container(pod(found))["volumeMounts"]}
    assert mounts == {"models": "/models", "tls": "/tls"}
    assert {"name": "tls", "secret": {"secretName": "facet-tls"}} in pod(found)["volumes"]


def test_the_queue_of_another_release_in_the_namespace_does_not_count(renderings: list[Document | str]) -> None:
    found = chart(renderings, SECOND)
    queue, _ = of(found, "ScaledObject", "faces")["spec"]["triggers"]
    assert 'service="faces"' in queue["metadata"]["query"]
    assert of(found, "ServiceMonitor", "faces")["spec"]["selector"]["matchLabels"].items() <= (
        of(found, "Service", "faces")["metadata"]["labels"].items()
    )


def test_the_defaults_that_the_chart_counts_with_are_the_services() -> None:
    """A setting that values leave out, by null, is the service's own."""
    text = "".join((CHART / "templates" / name).read_text() for name in ("deployment.yaml", "_helpers.tpl"))
    counted = dict(re.findall(r"ternary \.Values\.settings\.FACET_(\w+) (\d+)", text))
    assert set(counted) == {"BATCH_DEADLINE_S", "BODY_TIMEOUT_S", "DEADLINE_S", "DRAIN_DELAY_S", "SHUTDOWN_TIMEOUT_S"}
    assert {name: int(value) for name, value in counted.items()} == {
        name: Settings.model_fields[name.lower()].default for name in counted
    }


def test_what_leads_to_it_waits_as_long_as_an_answer_may_take(renderings: list[Document | str]) -> None:
    found = chart(renderings, PATIENT)
    assert of(found, "HTTPRoute")["spec"]["rules"][0]["timeouts"] == {"request": "151s"}
    assert of(found, "Route", "facet")["metadata"]["annotations"] == {"haproxy.router.openshift.io/timeout": "151s"}


def test_the_schema_of_the_settings_is_made_of_the_code() -> None:
    schema: Any = json.loads(SCHEMA.read_text())
    assert schema["properties"]["settings"] == settings_schema(), "`make reference` brings values.schema.json up to date"
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(schema["properties"]) == {*defaults, "global"}, "each value has a default, and each has a schema"


def test_helm_finds_nothing_to_mend() -> None:
    lint, _ = helm(*ALL)
    assert lint["total_charts_linted"] == 1
    assert [one["error"] for one in lint["messages"]] == ["icon is recommended"]
    described = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (described["version"], described["appVersion"]) == (version, version)


def test_the_pages_values_are_some_that_the_chart_takes() -> None:
    (written,) = re.findall(r"<<'VALUES'\n(.*?)^VALUES", (ROOT / "docs/kubernetes.md").read_text(), re.MULTILINE | re.DOTALL)
    values = yaml.safe_load(written)
    _, (rendering,) = helm(values)
    found = objects(rendering)
    data = environment(found)
    assert (data["FACET_ATTRIBUTES"], data["FACET_DEADLINE_S"]) == ("age,gender", "5")
    said = of(found, "Ingress")["metadata"]["annotations"]
    passed = mebibytes(said["nginx.ingress.kubernetes.io/proxy-body-size"])
    assert passed >= Settings.model_fields["max_batch_mib"].default, "nginx's own bound is 1 MiB"
    assert said["nginx.ingress.kubernetes.io/proxy-request-buffering"] == "off", "nginx writes photos to its disk"
