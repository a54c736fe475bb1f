"""The CloudFormation templates say what is meant, and a simulated AWS takes them through the script that deploys."""

from __future__ import annotations

import fnmatch
import json
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.routing import APIRoute

from service import __version__, errors, web
from service.api import problems, stream
from service.api.compat.systems import SYSTEMS
from service.api.routes import router
from service.server.log_format import JsonLogFormatter
from service.settings import Settings
from tests.client import ROOT
from tests.collectors import described
from tests.deploy.files import AWS, Document, checker, manifest, ran, template
from tests.s3 import simulated

SERVICE = template("service")
RESOURCES: dict[str, Document] = SERVICE["Resources"]
TEMPLATES = ["foundation", "network", "service"]


def properties(name: str) -> Document:
    found = RESOURCES[name]["Properties"]
    assert isinstance(found, dict)
    return found


def attributes(name: str, key: str) -> dict[str, Any]:
    """Attributes of a load balancer or a target group, without those that a condition adds."""
    return {one["Key"]: one["Value"] for one in properties(name)[key] if "Key" in one}


def task() -> Document:
    return containers()["facet"]


def containers() -> dict[str, Document]:
    """Containers of a task by their names, those that a condition adds too."""
    listed = [one.get("Fn::If", ["", one])[1] for one in properties("TaskDefinition")["ContainerDefinitions"]]
    return {one["Name"]: one for one in listed}


def environment() -> dict[str, Any]:
    """What every task is given, whatever the parameters are."""
    return {one["Name"]: one["Value"] for one in task()["Environment"] if "Name" in one}


def given() -> dict[str, Any]:
    """Settings that a task is given where a parameter has a value."""
    chosen = [one["Fn::If"][1] for one in (*task()["Environment"], *task()["Secrets"]) if "Fn::If" in one]
    return {one["Name"]: one.get("Value", one.get("ValueFrom")) for one in chosen}


def of_type(kind: str) -> dict[str, Document]:
    return {name: one["Properties"] for name, one in RESOURCES.items() if one["Type"] == kind}


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_linter_has_nothing_to_say(name: str) -> None:
    assert ran(checker("cfn-lint"), "--include-checks", "I", "--", str(AWS / f"{name}.yaml")) == ""


# Tasks ----------------------------------------------------------------------------------------------------------------


NOTHING = {"Ref": "AWS::NoValue"}


def test_the_containers_can_write_nothing_gain_nothing_and_have_credentials_only_where_they_need_some() -> None:
    for name, one in containers().items():
        assert one["ReadonlyRootFilesystem"] is True
        assert one["Privileged"] is False
        assert one["Essential"] is (name == "facet")
        if name != "cache":  # it gives a volume to the service, as root, and ends
            assert one["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
            assert one["User"] == "10001:10001"
    assert properties("TaskDefinition")["TaskRoleArn"] == {"Fn::If": ["CallsAws", {"Ref": "TaskRoleArn"}, NOTHING]}
    assert SERVICE["Conditions"]["CallsAws"] == {"Fn::Or": [{"Condition": "WithModelStore"}, {"Condition": "Collected"}]}
    for name, written in (
        ("WithModelStore", properties("TaskDefinition")["Volumes"]),
        ("WithModelStore", task()["MountPoints"]),
    ):
        assert written["Fn::If"][0] == name
        assert written["Fn::If"][2] == NOTHING
    assert properties("Service")["EnableExecuteCommand"] is False
    assert properties("Service")["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == "DISABLED"


FARGATE = {
    256: {512, 1024, 2048},
    512: set(range(1024, 4096 + 1, 1024)),
    1024: set(range(2048, 8192 + 1, 1024)),
    2048: set(range(4096, 16384 + 1, 1024)),
    4096: set(range(8192, 30720 + 1, 1024)),
}
"""CPU units and MiB that Fargate combines (docs.aws.amazon.com, Fargate task definition parameters)."""


def test_every_size_is_one_that_fargate_has() -> None:
    sizes = SERVICE["Mappings"]["Task"]
    assert set(sizes) == set(SERVICE["Parameters"]["TaskCpu"]["AllowedValues"])
    for cpu, size in sizes.items():
        assert int(size["Memory"]) in FARGATE[int(cpu)]
        assert int(size["Threads"]) == int(cpu) // 1024


def resolved(value: Any) -> str:
    """What a setting is given where parameters have their defaults, on two CPUs."""
    if isinstance(value, str):
        return value
    if "Ref" in value:
        return str(SERVICE["Parameters"][value["Ref"]]["Default"])
    return str(SERVICE["Mappings"]["Task"]["2048"][value["Fn::FindInMap"][2]])


ALL = {f"FACET_{name.upper()}" for name in Settings.model_fields}
COMPUTED = {
    "FACET_DRAIN_DELAY_S": "goes with StopTimeout",
    "FACET_SHUTDOWN_TIMEOUT_S": "goes with StopTimeout",
    "FACET_KEEP_ALIVE_S": "goes with the load balancer's idle timeout",
    "FACET_THREADS": "goes with TaskCpu",
    "FACET_WORKERS": "goes with TaskCpu",
    "FACET_MEMORY_MIB": "goes with TaskCpu",
    "FACET_MODEL_CACHE": "goes with ModelStore",
}
"""Settings that no operator gives, because they follow from something else in the template."""


def test_settings_are_ones_that_the_service_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    values = environment()
    assert set(values) | set(given()) <= ALL
    for name, value in values.items():
        monkeypatch.setenv(name, resolved(value))
    taken = Settings()
    for size in SERVICE["Mappings"]["Task"].values():  # the collector has the rest
        assert int(size["ServiceMemory"]) + containers()["collector"]["Memory"] == int(size["Memory"])
    assert taken.memory_mib == int(SERVICE["Mappings"]["Task"]["2048"]["ServiceMemory"])


def test_every_setting_can_be_passed_and_keys_come_as_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a parameter of its own, or else by the file of settings; what the template computes is named, with its reason."""
    by_parameter = {name: value["Ref"] for name, value in (environment() | given()).items() if set(value) == {"Ref"}}
    assert set(environment()) | set(given()) == set(by_parameter) | set(COMPUTED)
    assert set(by_parameter.values()) <= set(SERVICE["Parameters"])
    secrets = {one["Fn::If"][1]["Name"] for one in task()["Secrets"]}
    assert secrets == {name for name in ALL if name.endswith("_KEYS")}
    by_file = ALL - set(by_parameter) - set(COMPUTED)
    assert len(by_file) > 30
    chosen, file, nothing = task()["EnvironmentFiles"]["Fn::If"]
    assert (chosen, file, nothing) == ("WithSettingsFile", [{"Type": "s3", "Value": {"Ref": "SettingsFileArn"}}], NOTHING)
    # Each of them, at its default, as a file has them; the service takes them from there.
    lines = []
    for name in sorted(by_file):
        default = Settings.model_fields[name.removeprefix("FACET_").lower()].get_default()
        if default not in (None, ()):
            value = ",".join(default) if isinstance(default, tuple) else str(default).lower()
            lines.append(f"{name}={value}")
    for line in lines:
        monkeypatch.setenv(*line.split("=", 1))
    assert Settings().model_dump(exclude={"model_store"}) == Settings(_env_file=None).model_dump(exclude={"model_store"})


def test_a_parameter_that_is_empty_leaves_its_setting_to_the_file() -> None:
    for one in task()["Environment"]:
        if "Fn::If" in one and one["Fn::If"][1]["Name"] not in COMPUTED:
            condition, setting, otherwise = one["Fn::If"]
            parameter = setting["Value"]["Ref"]
            assert otherwise == NOTHING
            assert SERVICE["Conditions"][condition] == {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, ""]}]}
            assert SERVICE["Parameters"][parameter]["Default"] == ""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("FACET_MAX_FACES=10\nFACET_LOG_FORMAT=text\n", "FACET_LOG_FORMAT belongs to the template"),
        ("FACET_API_KEYS=a-key", "FACET_API_KEYS belongs to the template"),
        ("FACET_MODEL_CACHE=/elsewhere", "FACET_MODEL_CACHE belongs to the template"),
        ("export FACET_MAX_FACES=10\n", "no NAME=VALUE: export FACET_MAX_FACES"),
        ("FACET_MAX_FACES=\n", "no NAME=VALUE: FACET_MAX_FACES"),
        ("FACET_MAX_FACES=10\r\n", "carriage return: FACET_MAX_FACES"),
        ("FACET_TLS=true\n", "the load balancer speaks HTTP with port 8000"),
        ("FACET_PORT=9000\n", "FACET_PORT"),
    ],
)
def test_a_file_of_settings_that_would_not_hold_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    """ECS drops lines that it cannot read, and what the template says goes before the file; neither tells anybody."""
    (tmp_path / "aws").write_text("#!/bin/sh\ncase $* in *describe-stacks*) echo an-output ;; *) exit 1 ;; esac\n")
    (tmp_path / "aws").chmod(0o755)
    file = tmp_path / "facet.env"
    file.write_bytes(text.encode())
    done = subprocess.run(
        [str(AWS / "deploy.sh"), "--image", IMAGE, "--settings", str(file)],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert complaint in done.stderr


def test_machines_are_chosen_and_some_tasks_may_be_on_spot() -> None:
    assert properties("TaskDefinition")["RuntimePlatform"]["CpuArchitecture"] == {"Ref": "CpuArchitecture"}
    assert SERVICE["Parameters"]["CpuArchitecture"]["AllowedValues"] == ["X86_64", "ARM64"]
    assert properties("Cluster")["CapacityProviders"] == ["FARGATE", "FARGATE_SPOT"]
    assert "LaunchType" not in properties("Service")  # either, or strategy
    strategy = properties("Service")["CapacityProviderStrategy"]
    assert [one["CapacityProvider"] for one in strategy] == ["FARGATE", "FARGATE_SPOT"]
    assert strategy[0]["Base"] == {"Ref": "OnDemandTasks"}
    parameters = SERVICE["Parameters"]
    assert parameters["OnDemandTasks"]["Default"] == parameters["MinTasks"]["Default"]
    assert parameters["SpotWeight"]["Default"] == 0
    # Spot sends SIGTERM two minutes before the end; a task is done before.
    assert task()["StopTimeout"] < 120


def test_a_new_version_is_checked_then_gets_some_requests_and_then_all() -> None:
    service = properties("Service")
    how = service["DeploymentConfiguration"]
    assert how["Strategy"] == "CANARY"
    assert how["CanaryConfiguration"]["CanaryPercent"] == {"Ref": "CanaryPercent"}
    assert 0 < SERVICE["Parameters"]["CanaryPercent"]["Default"] < 50
    # The alarm, two minutes of a minute each, has time to see what goes wrong, in either step.
    for step in ("CanaryMinutes", "BakeMinutes"):
        assert SERVICE["Parameters"][step]["Default"] >= properties("Errors")["EvaluationPeriods"] + 2
    condition, (hook,), otherwise = how["LifecycleHooks"]["Fn::If"]
    assert (condition, otherwise) == ("Checked", NOTHING)
    assert hook["HookTargetArn"] == {"Fn::GetAtt": ["PredictCheck", "Arn"]}
    assert hook["LifecycleStages"] == ["POST_TEST_TRAFFIC_SHIFT"]
    (balancer,) = service["LoadBalancers"]
    assert balancer["TargetGroupArn"] == {"Ref": "BlueTargetGroup"}
    shift = balancer["AdvancedConfiguration"]
    assert shift["AlternateTargetGroupArn"] == {"Ref": "GreenTargetGroup"}
    assert (shift["ProductionListenerRule"], shift["TestListenerRule"]) == ({"Ref": "Production"}, {"Ref": "Test"})
    assert shift["RoleArn"] == hook["RoleArn"] == {"Ref": "TrafficRoleArn"}
    assert properties("BlueTargetGroup") == properties("GreenTargetGroup")


def test_only_the_check_knows_the_header_that_leads_to_a_new_version() -> None:
    header, path = properties("Test")["Conditions"]
    secret = {"Fn::Select": [2, {"Fn::Split": ["/", {"Ref": "AWS::StackId"}]}]}
    assert header["HttpHeaderConfig"]["Values"] == [secret]
    assert properties("PredictCheck")["Environment"]["Variables"]["TEST_HEADER"] == secret
    assert [path] == properties("Production")["Conditions"]
    assert properties("Test")["Priority"] < properties("Production")["Priority"]
    assert f'"{header["HttpHeaderConfig"]["HttpHeaderName"]}"' in properties("PredictCheck")["Code"]["ZipFile"]


def test_a_deployment_that_fails_goes_back_by_itself() -> None:
    how = properties("Service")["DeploymentConfiguration"]
    assert how["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    assert how["Alarms"] == {"Enable": True, "Rollback": True, "AlarmNames": [{"Ref": "Errors"}]}
    assert how["MinimumHealthyPercent"] == 100
    assert how["MaximumPercent"] > 100
    assert "DesiredCount" not in properties("Service")  # scaling's


# Load balancer --------------------------------------------------------------------------------------------------------


def test_http_is_redirected_and_https_is_modern() -> None:
    (action,) = properties("RedirectListener")["DefaultActions"]
    assert properties("RedirectListener")["Port"] == 80
    assert action["RedirectConfig"] == {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}
    assert (properties("Listener")["Port"], properties("Listener")["Protocol"]) == (443, "HTTPS")
    assert "TLS13-1-2-Res" in properties("Listener")["SslPolicy"]
    said = {one["Key"]: one["Value"] for one in properties("Listener")["ListenerAttributes"]}
    assert said["routing.http.response.strict_transport_security.header_value"] == "max-age=31536000"


def test_the_world_reaches_every_route_but_those_of_operators() -> None:
    (condition,) = properties("Production")["Conditions"]
    patterns = condition["PathPatternConfig"]["RegexValues"]
    assert len(patterns) <= 5  # AWS allows a rule no more,
    assert all(len(pattern) <= 128 for pattern in patterns)  # nor longer ones
    (otherwise,) = properties("Listener")["DefaultActions"]
    assert otherwise["FixedResponseConfig"]["StatusCode"] == "404"
    json.loads(otherwise["FixedResponseConfig"]["MessageBody"])

    def reached(path: str) -> bool:
        return any(re.search(pattern, path) for pattern in patterns)

    paths = {one.path for one in (*router.routes, *web.create_router({}).routes) if isinstance(one, APIRoute)}
    paths |= {"/docs", "/openapi.json", stream.PATH, *(path for system in SYSTEMS.values() for path in system.paths)}
    assert {path for path in paths if not reached(path)} == {"/metrics", "/model/reload"}
    # The load balancer compares what was sent, and the service decodes it: no other spelling leads to an operator's route.
    for path in ("/%6detrics", "//metrics", "/metrics/", "/./metrics", "/model/%72eload", "/model//reload", "/modelx"):
        assert not reached(path), path


def test_the_load_balancer_lets_go_of_idle_connections_before_the_service_does() -> None:
    idle = int(attributes("LoadBalancer", "LoadBalancerAttributes")["idle_timeout.timeout_seconds"])
    assert idle < int(environment()["FACET_KEEP_ALIVE_S"])


def test_a_request_under_way_is_answered_before_its_task_goes() -> None:
    longest = Settings.model_fields["body_timeout_s"].default + Settings.model_fields["batch_deadline_s"].default
    delay = attributes("BlueTargetGroup", "TargetGroupAttributes")["deregistration_delay.timeout_seconds"]
    assert int(delay) > longest


def test_clients_are_distinguished_although_the_load_balancer_stands_between() -> None:
    """It adds whom it got a request from at the end of X-Forwarded-For; what a client wrote before that is not believed."""
    (proxies,) = (one["Value"] for one in task()["Environment"] if one.get("Name") == "FACET_TRUSTED_PROXIES")
    networks = resolved(proxies).split(",")
    assert "*" not in networks
    inside = template("network")["Parameters"]["VpcCidr"]["Default"]
    assert any(ip_network(inside).subnet_of(ip_network(one)) for one in networks)


BODY_RULES = {
    "AWSManagedRulesAmazonIpReputationList": set[str](),
    "AWSManagedRulesCommonRuleSet": {
        *("SizeRestrictions_BODY", "EC2MetaDataSSRF_BODY", "GenericLFI_BODY", "GenericRFI_BODY", "CrossSiteScripting_BODY"),
    },
    "AWSManagedRulesKnownBadInputsRuleSet": {"JavaDeserializationRCE_BODY", "Log4JRCE_BODY", "ReactJSRCE_BODY"},
}
"""Rules that look at bodies, by AWS's group (docs.aws.amazon.com/waf, baseline rule groups): of the first 8 KB, and one blocks
whatever is larger."""


def test_the_firewall_lets_photos_through_and_limits_addresses() -> None:
    association = properties("FirewallAssociation")
    assert association["ResourceArn"] == {"Ref": "LoadBalancer"}
    own, made, theirs = association["WebACLArn"]["Fn::If"]
    assert (own, made, theirs) == ("FirewallMade", {"Fn::GetAtt": ["Firewall", "Arn"]}, {"Ref": "WebAclArn"})
    assert properties("Firewall")["DefaultAction"] == {"Allow": {}}
    rate, *managed = properties("Firewall")["Rules"]
    assert rate["Statement"]["RateBasedStatement"]["Limit"] == {"Ref": "FirewallRate"}
    assert rate["Action"]["Block"]["CustomResponse"]["ResponseCode"] == 429
    json.loads(properties("Firewall")["CustomResponseBodies"]["TooMany"]["Content"])
    groups = [one["Statement"]["ManagedRuleGroupStatement"] for one in managed]
    assert [group["Name"] for group in groups] == list(BODY_RULES)
    for group in groups:
        counted = {one["Name"] for one in group.get("RuleActionOverrides", []) if one["ActionToUse"] == {"Count": {}}}
        assert counted == BODY_RULES[group["Name"]]


# Scaling and alarms, which the simulated AWS knows nothing of ----------------------------------------------------------


def test_tasks_follow_cpu_requests_and_waiting_photos() -> None:
    policies = of_type("AWS::ApplicationAutoScaling::ScalingPolicy")
    assert set(policies) == {"ScaleByCpu", "ScaleByRequests", "ScaleByQueue"}
    tracked = {name: one["TargetTrackingScalingPolicyConfiguration"] for name, one in policies.items()}
    assert tracked["ScaleByCpu"]["PredefinedMetricSpecification"] == {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"}
    share, requests, tasks = tracked["ScaleByRequests"]["CustomizedMetricSpecification"]["Metrics"]
    assert share["Expression"] == "FILL(requests, 0) / tasks"
    # Of the load balancer, because its target groups take turns.
    assert [one["Name"] for one in requests["MetricStat"]["Metric"]["Dimensions"]] == ["LoadBalancer"]
    assert tasks["MetricStat"]["Metric"]["MetricName"] == "RunningTaskCount"
    assert all(one["ScalingTargetId"] == {"Ref": "ScalableTarget"} for one in policies.values())
    target = properties("ScalableTarget")
    assert (target["MinCapacity"], target["MaxCapacity"]) == ({"Ref": "MinTasks"}, {"Ref": "MaxTasks"})
    assert target["ResourceId"] == {"Fn::Sub": "service/${Cluster}/${Service.Name}"}


def test_what_is_collected_is_what_the_service_measures_and_scaling_follows() -> None:
    """And what Kubernetes' autoscaler aims at is aimed at here."""
    (variable,) = containers()["collector"]["Environment"]
    configuration = yaml.safe_load(variable["Value"]["Fn::Sub"])
    (scraped,) = configuration["receivers"]["prometheus"]["config"]["scrape_configs"]
    assert scraped["static_configs"] == [{"targets": ["127.0.0.1:8000"]}]
    exported = configuration["exporters"]["awsemf"]
    assert exported["log_group_name"] == properties("MetricsLogGroup")["LogGroupName"]["Fn::Sub"]
    measured = {one.name: set(one.labels) for one in described()}
    declared = {}
    for one in exported["metric_declarations"]:
        for selector in one["metric_name_selectors"]:
            (labels,) = one["dimensions"]
            declared[selector.removeprefix("^").removesuffix("$")] = set(labels)
    assert declared.items() <= measured.items()
    for pipeline in configuration["service"]["pipelines"].values():
        for kind, names in pipeline.items():
            assert set(names) <= set(configuration[kind])
    policy = properties("ScaleByQueue")["TargetTrackingScalingPolicyConfiguration"]
    followed = policy["CustomizedMetricSpecification"]
    assert followed["Namespace"] == {"Ref": exported["namespace"].removeprefix("${").removesuffix("}")}
    assert {one["Name"] for one in followed["Dimensions"]} == declared[followed["MetricName"]]
    assert RESOURCES["ScaleByQueue"]["Condition"] == "Collected"
    (patch,) = manifest("components/queue-depth/kustomization.yaml")["patches"]
    (added,) = yaml.safe_load(patch["patch"])
    assert float(added["value"]["pods"]["target"]["averageValue"]) == policy["TargetValue"]


def test_every_alarm_tells_somebody_and_names_its_page() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    alarms = of_type("AWS::CloudWatch::Alarm")
    assert set(alarms) == {"Down", "Errors", "Faults", "Memory", "Overloaded", "Saturated", "Slow", "Unhealthy"}
    for name, alarm in alarms.items():
        assert alarm["AlarmActions"] == {"Fn::If": ["Told", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}, name
        named = re.search(r"See (.+) in docs/operations\.md", alarm["AlarmDescription"])
        assert named
        sections = re.findall(r"Facet[A-Z]\w+|(?<=\")\w+(?=\")", named[1])
        assert sections
        assert all(re.search(rf"^#+ {section}$", page, re.MULTILINE) for section in sections), sections


def share_of(alarm: str, **counts: float) -> float:
    """What the alarm's expression comes to for these counts of a minute; a metric that is not named has no data."""
    text = properties(alarm)["Metrics"][0]["Expression"]
    names = {one["Id"] for one in properties(alarm)["Metrics"][1:]}
    assert set(counts) <= names
    text = re.sub(r"FILL\((\w+), (\d+)\)", lambda found: str(counts.get(found[1], float(found[2]))), text)
    condition, then, otherwise = re.fullmatch(r"IF\((.+? >= .+?), (.+), (.+)\)", text).groups()  # type: ignore[union-attr]
    return float(eval(then if eval(condition) else otherwise))


def breaches(alarm: str, **counts: float) -> bool:
    return share_of(alarm, **counts) > properties(alarm)["Threshold"]


def test_faults_end_a_deployment_and_overload_does_not() -> None:
    """503 and 504 that the service answers are neither lines of the log nor the load balancer's own."""
    metrics = {one["Id"]: one["MetricStat"]["Metric"]["MetricName"] for one in properties("Errors")["Metrics"][1:]}
    assert metrics == {
        "faults": "Faults",
        "broken": "HTTPCode_ELB_502_Count",
        "hung": "HTTPCode_ELB_504_Count",
        "requests": "RequestCount",
    }
    assert breaches("Errors", faults=30, requests=1000)
    assert breaches("Errors", broken=30, requests=1000)
    assert breaches("Errors", hung=5)  # nothing else is counted where no task takes requests
    assert not breaches("Errors", requests=1000)
    assert not breaches("Errors", faults=10, requests=1000)
    # All of a thousand are turned away: a page of its own, which no deployment watches.
    assert breaches("Overloaded", failed=1000, requests=1000)
    assert not breaches("Overloaded", failed=100, faults=100, requests=1000)
    assert properties("Service")["DeploymentConfiguration"]["Alarms"]["AlarmNames"] == [{"Ref": "Errors"}]


def test_one_odd_failure_in_a_quiet_night_is_no_alarm() -> None:
    """Nor does it end a deployment, which watches the same alarm."""
    assert not breaches("Errors", faults=2, requests=2)
    assert breaches("Errors", faults=3, requests=3)
    assert properties("Errors")["EvaluationPeriods"] > 1


@pytest.mark.parametrize(("alarm", "metric"), [("Down", "HealthyHostCount"), ("Unhealthy", "UnHealthyHostCount")])
def test_tasks_are_counted_whichever_target_group_serves(alarm: str, metric: str) -> None:
    total, *groups = properties(alarm)["Metrics"]
    assert total["Expression"] == "FILL(blue, 0) + FILL(green, 0)"
    counted = [one["MetricStat"]["Metric"] for one in groups]
    assert {one["MetricName"] for one in counted} == {metric}
    assert [one["Dimensions"][1]["Value"]["Fn::GetAtt"][0] for one in counted] == ["BlueTargetGroup", "GreenTargetGroup"]


def test_what_fails_inside_a_batch_or_a_stream_is_counted_by_the_logs_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of which the service writes one for each fault of its own, and none for others'."""
    (written,) = re.findall(r'basicConfig\(.*\bformat="(.+?)"', (ROOT / "service/server/process.py").read_text())
    filtered = properties("FaultLines")
    assert filtered["LogGroupName"] == {"Ref": "LogGroup"}
    (counted,) = filtered["MetricTransformations"]
    assert (counted["MetricNamespace"], counted["MetricName"]) == tuple(
        properties("Faults")[name] for name in ("Namespace", "MetricName")
    )
    terms = re.findall(r'"(.+?)"', filtered["FilterPattern"])
    assert terms
    documents = properties("FaultDocuments")
    assert documents["LogGroupName"] == {"Ref": "LogGroup"}
    (of_documents,) = documents["MetricTransformations"]
    assert of_documents.items() <= counted.items()  # the same metric
    wanted = dict(re.findall(r'\(\$\.(\w+) = "(.+?)"\)', documents["FilterPattern"]))
    assert sorted(wanted) == ["level", "logger", "message"]

    def matches(line: str) -> bool:
        if not line.startswith("{"):
            return all(term in line for term in terms)
        assert not all(term in line for term in terms)  # none is counted twice
        return all(fnmatch.fnmatchcase(json.loads(line)[field], pattern) for field, pattern in wanted.items())

    def lines(error: errors.FacetError) -> list[str]:
        caplog.clear()
        problems.count(error, "an-identity")
        texts = [
            "\n".join(form.format(record) for record in caplog.records)
            for form in (logging.Formatter(written), JsonLogFormatter())
        ]
        found = [[line for line in text.splitlines() if matches(line)] for text in texts]
        assert len(found[0]) == len(found[1])  # in either form
        return found[0]

    for fault in (errors.InferenceError("The network failed."), errors.FacetError("An unexpected error.")):
        assert len(lines(fault)) == 1
    for other in (errors.QueueFull("Full."), errors.DeadlineExceeded("Late."), errors.CorruptImage("Truncated.")):
        assert lines(other) == []


def test_alarms_may_speak_to_the_topic_that_the_foundation_brings() -> None:
    """CloudWatch, for alarms of this stack in this account, and nobody else; CloudFormation begins an alarm's name with the
    stack's. The topic is not encrypted: AWS's own key for topics does not let CloudWatch in."""
    foundation = template("foundation")
    topics = {name: one["Properties"] for name, one in foundation["Resources"].items() if one["Type"] == "AWS::SNS::Topic"}
    assert list(topics) == ["AlarmTopic"]
    assert "KmsMasterKeyId" not in topics["AlarmTopic"]
    assert foundation["Outputs"]["AlarmTopicArn"]["Value"] == {"Ref": "AlarmTopic"}
    assert "AlarmTopicArn" in SERVICE["Parameters"]
    assert not any("AlarmName" in alarm for alarm in of_type("AWS::CloudWatch::Alarm").values())
    (statement,) = foundation["Resources"]["AlarmTopicPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert statement["Action"] == "sns:Publish"
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    assert statement["Condition"]["ArnLike"]["aws:SourceArn"]["Fn::Sub"].endswith(":alarm:${ServiceStackName}-*")


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_first_attempt_that_failed_leaves_no_name_taken(name: str) -> None:
    """What is kept when its stack goes, and has a name of its own, goes when the stack never came to be."""
    resources = template(name)["Resources"].values()
    assert {one.get("DeletionPolicy", "Delete") for one in resources} <= {"Delete", "RetainExceptOnCreate"}


def test_what_the_account_shares_outlives_the_foundation() -> None:
    """An account has one identity provider for GitHub, and other repositories may have come to use it."""
    (provider,) = (one for one in template("foundation")["Resources"].values() if one["Type"] == "AWS::IAM::OIDCProvider")
    assert provider["DeletionPolicy"] == "RetainExceptOnCreate"
    assert provider["UpdateReplacePolicy"] == "Retain"


# Roles ----------------------------------------------------------------------------------------------------------------


def statements(role: Document) -> list[Document]:
    return [one for policy in role["Policies"] for one in policy["PolicyDocument"]["Statement"]]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


LOOKS = re.compile(r"[\w-]+:(Describe\w+|GetAuthorizationToken)|ecs:DeregisterTaskDefinition")
ROLES = {"DeployRole", "ExecutionRole", "FlowLogRole", "PredictCheckRole", "StackRole", "TaskRole", "TrafficRole"}


def test_no_role_may_do_anything_to_everything() -> None:
    resources = {key: one for name in TEMPLATES for key, one in template(name)["Resources"].items()}
    named = {key: one["Properties"] for key, one in resources.items() if one["Type"] == "AWS::IAM::Role"}
    assert set(named) == ROLES
    roles = named.values()
    assert not any("ManagedPolicyArns" in role for role in roles)
    for statement in (one for role in roles for one in statements(role)):
        actions = listed(statement["Action"])
        assert not any("*" in action for action in actions)
        if "*" in listed(statement["Resource"]):
            assert all(LOOKS.fullmatch(action) for action in actions), actions


def test_deploying_writes_no_role_and_passes_on_what_its_resources_need_only() -> None:
    foundation = template("foundation")["Resources"]
    assert not [one for one in RESOURCES.values() if one["Type"].startswith("AWS::IAM::")]
    for name in ("DeployRole", "StackRole"):
        for statement in statements(foundation[name]["Properties"]):
            for action in listed(statement["Action"]):
                if action.startswith("iam:"):
                    assert action in ("iam:PassRole", "iam:CreateServiceLinkedRole")
                    assert statement["Condition"]
    passed = {}
    for statement in statements(foundation["StackRole"]["Properties"]):
        if statement["Action"] == "iam:PassRole":
            (to,) = statement["Condition"]["StringEquals"].values()
            for role in listed(statement["Resource"]):
                passed[role["Fn::GetAtt"][0]] = to
    assert passed == {
        "ExecutionRole": "ecs-tasks.amazonaws.com",
        "TaskRole": "ecs-tasks.amazonaws.com",
        "TrafficRole": "ecs.amazonaws.com",
        "PredictCheckRole": "lambda.amazonaws.com",
    }
    for name, service in passed.items():
        (trust,) = foundation[name]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": service}
        if service == "ecs-tasks.amazonaws.com":  # the others promise no condition, and might never meet one
            assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
        else:
            assert "Condition" not in trust


def test_an_endpoint_lets_through_what_tasks_need_and_no_other_accounts_things() -> None:
    network = template("network")["Resources"]
    endpoints = {key: one["Properties"] for key, one in network.items() if one["Type"] == "AWS::EC2::VPCEndpoint"}
    assert len(endpoints) == 5
    allowed = set()
    for endpoint in endpoints.values():
        for statement in endpoint["PolicyDocument"]["Statement"]:
            actions, resources = listed(statement["Action"]), listed(statement["Resource"])
            assert not any("*" in action for action in actions)
            allowed |= set(actions)
            if "starport-layer-bucket" in str(resources):  # the registry's, which is AWS's account
                assert actions == ["s3:GetObject"]
                continue
            assert statement["Condition"] == {"StringEquals": {"aws:PrincipalAccount": {"Ref": "AWS::AccountId"}}}
            if actions == ["ecr:GetAuthorizationToken"]:
                continue
            assert all("${AWS::AccountId}" in one["Fn::Sub"] for one in resources)
    foundation = template("foundation")["Resources"]
    for role in ("ExecutionRole", "TaskRole"):  # nothing that a task may do ends at an endpoint
        for statement in statements(foundation[role]["Properties"]):
            assert set(listed(statement["Action"])) <= allowed


def test_the_bucket_is_private_encrypted_and_kept() -> None:
    resources = template("foundation")["Resources"]
    bucket = resources["Store"]["Properties"]
    assert all(bucket["PublicAccessBlockConfiguration"].values())
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert "ServerSideEncryptionConfiguration" in bucket["BucketEncryption"]
    assert resources["Store"]["UpdateReplacePolicy"] == "Retain"
    (statement,) = resources["StorePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    # The endpoint of the network opens it by its name.
    (store,) = (
        one["Properties"]["PolicyDocument"]["Statement"][1]["Resource"][0]
        for key, one in template("network")["Resources"].items()
        if key == "StoreEndpoint"
    )
    assert store["Fn::Sub"].endswith(f":::{bucket['BucketName']['Fn::Sub']}")


def test_who_passes_the_stacks_role_is_restricted_and_its_trust_asks_for_nothing_undocumented() -> None:
    """CloudFormation's user guide names no condition of a stack's role; a trust that waits for one might never be met."""
    foundation = template("foundation")["Resources"]
    (trust,) = foundation["StackRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust == {
        "Effect": "Allow",
        "Principal": {"Service": "cloudformation.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    allowed = statements(foundation["DeployRole"]["Properties"])
    (passed,) = (one for one in allowed if one["Action"] == "iam:PassRole")
    assert passed["Resource"] == {"Fn::GetAtt": ["StackRole", "Arn"]}
    assert passed["Condition"] == {"StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}}
    (changed,) = (one for one in allowed if one["Action"] == "cloudformation:CreateChangeSet")
    assert changed["Resource"]["Fn::Sub"].endswith(":stack/${ServiceStackName}/*")
    assert changed["Condition"] == {"StringEquals": {"cloudformation:RoleArn": {"Fn::GetAtt": ["StackRole", "Arn"]}}}


def test_only_the_environment_of_the_workflow_can_take_the_role() -> None:
    role = template("foundation")["Resources"]["DeployRole"]["Properties"]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    conditions = trust["Condition"]["StringEquals"]
    assert list(trust["Condition"]) == ["StringEquals"]
    subject = conditions["token.actions.githubusercontent.com:sub"]["Fn::Sub"]
    assert subject == "repo:${GitHubRepository}:environment:${GitHubEnvironment}"
    assert conditions["token.actions.githubusercontent.com:aud"] == "sts.amazonaws.com"
    workflow = yaml.safe_load((ROOT / ".github/workflows/deploy.yml").read_text())
    deploy = workflow["jobs"]["deploy"]
    assert deploy["environment"]["name"] == template("foundation")["Parameters"]["GitHubEnvironment"]["Default"]
    assert deploy["permissions"] == {"contents": "read", "id-token": "write"}


# The way from a commit to a service ------------------------------------------------------------------------------------


class Cloud:
    """A simulated AWS, and the command line that speaks to it."""

    def __init__(self, port: int, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
            "PATH": f"{folder}/bin:{Path(checker('aws')).parent}:{os.environ['PATH']}",
            "AWS_ENDPOINT_URL": f"http://localhost:{port}",  # a name by which moto knows its own bucket in a template's address
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "none",
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_PAGER": "",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def aws(self, *arguments: str) -> Any:
        said = self._run(checker("aws"), *arguments, "--output", "json")
        return json.loads(said) if said.strip() else None

    def deploy(self, *arguments: str) -> str:
        return self._run(str(self.folder / "checkout/deploy/aws/deploy.sh"), *arguments)

    def stack(self, name: str, file: str, **parameters: str) -> dict[str, str]:
        """Make a stack; its outputs."""
        given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
        path = self.folder / "checkout/deploy/aws" / file
        arguments = ["--stack-name", name, "--template-body", f"file://{path}", "--capabilities", "CAPABILITY_IAM"]
        self.aws("cloudformation", "create-stack", *arguments, "--parameters", json.dumps(given))
        return self.outputs(name)

    @staticmethod
    def known(path: Path) -> None:
        """Write a template as the simulation knows listener rules: without regular expressions of paths."""
        text = re.sub(r"RegexValues:\n( +- \^.+\n)+", "Values: [/predict]\n", path.read_text())
        assert "RegexValues" not in text
        path.write_text(text)

    def outputs(self, name: str) -> dict[str, str]:
        (stack,) = self.aws("cloudformation", "describe-stacks", "--stack-name", name)["Stacks"]
        assert stack["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE")
        return {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}

    def parameters(self, name: str) -> dict[str, str]:
        (stack,) = self.aws("cloudformation", "describe-stacks", "--stack-name", name)["Stacks"]
        return {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


DOCKER = """#!/usr/bin/env bash
# Stands in for docker: what is pushed appears in the simulated registry, as it would in the real one.
set -euo pipefail
echo "$*" >>"$(dirname "$0")/docker.log"
case $1 in
    login) cat >/dev/null ;;
    push)
        name=${2#*/}
        aws ecr put-image --repository-name "${name%:*}" --image-tag "${name##*:}" --image-manifest "$IMAGE_MANIFEST" >/dev/null
        ;;
esac
"""
MANIFEST = json.dumps(
    {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {}, "layers": []}
)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Runs while the module's tests do, and has a checkout in which everything is committed."""
    folder = tmp_path_factory.mktemp("aws")
    (folder / "bin").mkdir()
    (folder / "bin/docker").write_text(DOCKER)
    (folder / "bin/docker").chmod(0o755)
    shutil.copytree(AWS, folder / "checkout/deploy/aws")
    shutil.copy(ROOT / "pyproject.toml", folder / "checkout")
    Cloud.known(folder / "checkout/deploy/aws/service.yaml")
    git = ["git", "-C", str(folder / "checkout"), "-c", "user.name=test", "-c", "user.email=test@facet.test"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "Everything"]):
        subprocess.run([*git, *command], check=True)
    with simulated() as variables:
        started = Cloud(int(variables["AWS_ENDPOINT_URL"].rpartition(":")[2]), folder)
        started.environment["IMAGE_MANIFEST"] = MANIFEST
        yield started


def assert_made(cloud: Cloud, foundation: dict[str, str], keys: str) -> None:
    """The task and the function are there as the parameters say."""
    task_definition = cloud.aws("ecs", "describe-task-definition", "--task-definition", "facet")["taskDefinition"]
    one, cache, collector = task_definition["containerDefinitions"]
    assert one["image"] == cache["image"]
    assert one["image"].endswith("0" * 64)
    assert collector["image"].endswith("1" * 64)
    assert {"name": "FACET_API_KEYS", "valueFrom": keys} in one["secrets"]
    assert {"name": "FACET_MODEL_STORE", "value": f"s3://{foundation['StoreName']}/models"} in one["environment"]
    (check,) = cloud.aws("lambda", "list-functions")["Functions"]
    assert (check["FunctionName"], check["Role"]) == ("facet-predict-check", foundation["PredictCheckRoleArn"])
    assert (one["user"], one["readonlyRootFilesystem"], one["stopTimeout"]) == ("10001:10001", True, 30)


def assert_settings_kept(cloud: Cloud, bucket: str, file: Path) -> None:
    """The file is in the bucket, under the name that the stack was given."""
    arn = cloud.parameters("facet")["SettingsFileArn"]
    assert arn.startswith(f"arn:aws:s3:::{bucket}/settings/")
    cloud.aws("s3api", "get-object", "--bucket", bucket, "--key", arn.partition("/")[2], str(cloud.folder / "kept"))
    assert (cloud.folder / "kept").read_bytes() == file.read_bytes()


def test_from_an_empty_account_to_a_second_version(cloud: Cloud) -> None:
    foundation = cloud.stack("facet-foundation", "foundation.yaml", GitHubRepository="facet-project/facet")
    assert foundation["RepositoryUri"].endswith("/facet")
    assert ":role/" in foundation["DeployRoleArn"]
    assert re.fullmatch(r"arn:aws:sns:eu-central-1:\d+:\S+", foundation["AlarmTopicArn"])
    network = cloud.stack(
        "facet-network",
        "network.yaml",
        # Their defaults, which the simulation does not take apart.
        PublicSubnetCidrs=template("network")["Parameters"]["PublicSubnetCidrs"]["Default"],
        PrivateSubnetCidrs=template("network")["Parameters"]["PrivateSubnetCidrs"]["Default"],
    )
    routes = cloud.aws("ec2", "describe-route-tables", "--filters", f"Name=vpc-id,Values={network['VpcId']}")["RouteTables"]
    private = network["PrivateSubnetIds"].split(",")
    for table in routes:
        if {one.get("SubnetId") for one in table["Associations"]} & set(private):
            assert [one["GatewayId"] for one in table["Routes"] if "DestinationCidrBlock" in one] == ["local"]
    certificate = cloud.aws("acm", "request-certificate", "--domain-name", "facet.example.com")["CertificateArn"]
    # The simulation knows no secrets of CloudFormation's, and no outputs of a stack that `deploy` makes: it is made here, and
    # the script changes it, twice.
    keys = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:facet/api-keys"
    cloud.stack(
        "facet",
        "service.yaml",
        ImageUri=f"{foundation['RepositoryUri']}@sha256:{'0' * 64}",
        ExecutionRoleArn=foundation["ExecutionRoleArn"],
        TaskRoleArn=foundation["TaskRoleArn"],
        TrafficRoleArn=foundation["TrafficRoleArn"],
        PredictCheckRoleArn=foundation["PredictCheckRoleArn"],
        CertificateArn=certificate,
        ApiKeysSecretArn=keys,
        # With all of these, because the simulation makes nothing of a container that a condition leaves out.
        CollectorImageUri=f"{foundation['CollectorRepositoryUri']}@sha256:{'1' * 64}",
        ModelStore=f"s3://{foundation['StoreName']}/models",
        HostName="facet.example.com",
        **network,
    )
    assert_made(cloud, foundation, keys)
    file = cloud.folder / "facet.env"
    file.write_text("# of ours\nFACET_MAX_FACES=10\nFACET_COMPAT=deepface,rekognition")
    said = cloud.deploy(f"ApiKeysSecretArn={keys}", "MaxTasks=7", "CpuArchitecture=ARM64", "--settings", str(file))
    built = re.search(r"\S+/facet@sha256:[0-9a-f]{64}(?= to the stack facet)", said)
    assert built
    log = (cloud.folder / "bin/docker.log").read_text().splitlines()
    assert [line.split()[0] for line in log] == ["login", "build", "push"]
    assert f"--build-arg VERSION={__version__} " in log[1]
    assert "--platform linux/arm64" in log[1]
    assert "--build-arg LOCK=remote" in log[1]  # ModelStore may be a bucket
    assert_settings_kept(cloud, foundation["StoreName"], file)
    given = {"ImageUri": built[0], "MaxTasks": "7", "CertificateArn": certificate, "VpcId": network["VpcId"]}
    given |= {"AlarmTopicArn": foundation["AlarmTopicArn"], "DeletionProtection": "true"}
    assert given.items() <= cloud.parameters("facet").items()

    former = f"{foundation['RepositoryUri']}@sha256:{'0' * 64}"
    cloud.deploy("--image", former, f"ApiKeysSecretArn={keys}")
    assert cloud.parameters("facet")["ImageUri"] == former
    assert cloud.parameters("facet")["MaxTasks"] == "7"
    assert len((cloud.folder / "bin/docker.log").read_text().splitlines()) == len(log)  # to go back builds nothing

    cloud.deploy()  # nor does a commit that the registry has
    assert cloud.parameters("facet")["ImageUri"] == built[0]
    assert cloud.parameters("facet")["ApiKeysSecretArn"] == keys  # as it was given
    assert len((cloud.folder / "bin/docker.log").read_text().splitlines()) == len(log)

    groups = cloud.aws("elbv2", "describe-target-groups")["TargetGroups"]
    assert len(groups) == 2  # one for the version that serves, one for the next
    assert {(one["Port"], one["HealthCheckPath"], one["TargetType"]) for one in groups} == {(8000, "/health/ready", "ip")}
    (balancer,) = cloud.aws("elbv2", "describe-load-balancers")["LoadBalancers"]
    assert balancer["DNSName"] == cloud.outputs("facet")["LoadBalancerName"]
    listeners = cloud.aws("elbv2", "describe-listeners", "--load-balancer-arn", balancer["LoadBalancerArn"])["Listeners"]
    assert {(one["Port"], one["Protocol"]) for one in listeners} == {(80, "HTTP"), (443, "HTTPS")}


ANSWERS = """#!/usr/bin/env bash
# Stands in for aws: says what a stack is like, as STATUS has it, and writes down what is deployed with which protection.
set -euo pipefail
case "$*" in
    *describe-stacks*StackStatus*)
        [[ -n $STATUS ]] || { echo "An error occurred (ValidationError): Stack with id facet does not exist" >&2 && exit 254; }
        [[ $STATUS != denied ]] || { echo "An error occurred (AccessDenied)" >&2 && exit 254; }
        echo "$STATUS"
        ;;
    *describe-stacks*) echo an-output ;;
    *"cloudformation deploy"*)
        grep -oE 'ImageUri=[^ ]*|DeletionProtection=[a-z]*' <<<"$*" | paste -s -d ' ' >>"$LOG"
        [[ -z ${FAILS-} ]] || exit 255
        ;;
    *) exit 1 ;;
esac
"""
IMAGE = f"repository@sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("status", "arguments", "changes"),
    [
        ("", [], [f"ImageUri={IMAGE} DeletionProtection=false", "DeletionProtection=true"]),
        ("REVIEW_IN_PROGRESS", [], [f"ImageUri={IMAGE} DeletionProtection=false", "DeletionProtection=true"]),
        ("UPDATE_COMPLETE", [], [f"ImageUri={IMAGE} DeletionProtection=true"]),
        ("", ["DeletionProtection=false"], [f"ImageUri={IMAGE} DeletionProtection=false"]),
        ("UPDATE_COMPLETE", ["DeletionProtection=false"], [f"ImageUri={IMAGE} DeletionProtection=false"]),
        ("denied", [], []),
    ],
)
def test_a_first_deployment_that_fails_can_be_taken_back(
    tmp_path: Path, status: str, arguments: list[str], changes: list[str]
) -> None:
    """CloudFormation deletes no load balancer that is protected: it becomes so once the stack is made, and stays so."""
    (tmp_path / "aws").write_text(ANSWERS)
    (tmp_path / "aws").chmod(0o755)
    log = tmp_path / "log"
    log.touch()
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "STATUS": status, "LOG": str(log)}
    command = [str(AWS / "deploy.sh"), "--image", IMAGE, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode == 0) == (status != "denied"), done.stderr
    assert log.read_text().splitlines() == changes
    # What fails is not protected afterwards.
    log.write_text("")
    done = subprocess.run(command, env=environment | {"FAILS": "yes"}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert log.read_text().splitlines() == changes[:1]


OWN = """#!/usr/bin/env bash
# Stands in for aws in an account without the stack of network.yaml, whose service has a VPC and keys of its own.
set -euo pipefail
case "$*" in
    *facet-network*) echo "An error occurred (ValidationError): Stack with id facet-network does not exist" >&2 && exit 254 ;;
    *StackStatus*) echo UPDATE_COMPLETE ;;
    *"Parameters[?ParameterKey=='AlarmTopicArn']"*) echo ;;
    *Parameters*) echo ours ;;
    *describe-stacks*) echo an-output ;;
    *"cloudformation deploy"*) echo "$*" >>"$LOG" ;;
    *) exit 1 ;;
esac
"""


def test_what_was_given_once_stays(tmp_path: Path) -> None:
    """A VPC of one's own is not asked of a stack that is not there, nor do keys become the foundation's again."""
    (tmp_path / "aws").write_text(OWN)
    (tmp_path / "aws").chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LOG": str(tmp_path / "log")}
    command = [str(AWS / "deploy.sh"), "--image", IMAGE, "MaxTasks=7"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    given = (tmp_path / "log").read_text().partition("--parameter-overrides ")[2].split()
    ours = ("ApiKeysSecretArn", "VpcId", "PublicSubnetIds", "PrivateSubnetIds")
    roles = ("ExecutionRole", "TaskRole", "TrafficRole", "PredictCheckRole")
    assert set(given) == {
        *(f"{name}=ours" for name in ours),
        *(f"{name}Arn=an-output" for name in (*roles, "AlarmTopic")),
        *(f"ImageUri={IMAGE}", "MaxTasks=7", "DeletionProtection=true"),
    }


def test_the_page_says_how_to_lift_the_protection_of_a_stack_that_cannot_go() -> None:
    page = (ROOT / "docs/aws.md").read_text()
    (row,) = (line for line in page.splitlines() if line.startswith("| `ROLLBACK_FAILED`"))
    assert "aws elbv2 modify-load-balancer-attributes" in row
    (key,) = re.findall(r"Key=([\w.]+),Value=false", row)
    assert attributes("LoadBalancer", "LoadBalancerAttributes")[key] == {"Ref": "DeletionProtection"}


def test_what_is_not_committed_is_not_deployed(cloud: Cloud) -> None:
    stray = cloud.folder / "checkout/stray"
    stray.touch()
    try:
        done = subprocess.run(
            [str(cloud.folder / "checkout/deploy/aws/deploy.sh")],
            env=cloud.environment,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        stray.unlink()
    assert done.returncode == 1
    assert "no commit holds" in done.stderr
