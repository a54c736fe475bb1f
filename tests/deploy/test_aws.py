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
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.routing import APIRoute

from service import __version__, errors, web
from service.api import problems, stream
from service.api.compat.systems import SYSTEMS
from service.api.routes import router
from service.server.log_format import JsonLines
from service.settings import Settings
from tests.client import ROOT
from tests.deploy.files import AWS, Document, checker, ran, template
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
    (one,) = properties("TaskDefinition")["ContainerDefinitions"]
    assert isinstance(one, dict)
    return one


def environment() -> dict[str, Any]:
    return {one["Name"]: one["Value"] for one in task()["Environment"]}


def of_type(kind: str) -> dict[str, Document]:
    return {name: one["Properties"] for name, one in RESOURCES.items() if one["Type"] == kind}


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_linter_has_nothing_to_say(name: str) -> None:
    assert ran(checker("cfn-lint"), "--include-checks", "I", "--", str(AWS / f"{name}.yaml")) == ""


# Tasks ----------------------------------------------------------------------------------------------------------------


def test_the_container_can_write_nothing_gain_nothing_and_has_no_credentials() -> None:
    one = task()
    assert one["ReadonlyRootFilesystem"] is True
    assert one["Privileged"] is False
    assert one["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    assert not {"Volumes", "TaskRoleArn"} & set(properties("TaskDefinition"))
    assert "MountPoints" not in one
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


def test_settings_are_ones_that_the_service_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = [one["Fn::If"][1]["Name"] for one in task()["Secrets"]]
    assert secrets == ["FACET_API_KEYS"]
    values = environment()
    values["FACET_ATTRIBUTES"] = SERVICE["Parameters"]["Attributes"]["Default"]
    values["FACET_THREADS"] = values["FACET_WORKERS"] = SERVICE["Mappings"]["Task"]["2048"]["Threads"]
    assert set(values) | set(secrets) <= {f"FACET_{name.upper()}" for name in Settings.model_fields}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    Settings()


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
    patterns: list[str] = []
    for rule in of_type("AWS::ElasticLoadBalancingV2::ListenerRule").values():
        (condition,) = rule["Conditions"]
        values = condition["PathPatternConfig"]["Values"]
        assert len(values) <= 5  # AWS allows a rule no more
        assert rule["Actions"] == [{"Type": "forward", "TargetGroupArn": {"Ref": "TargetGroup"}}]
        patterns += values
    (otherwise,) = properties("Listener")["DefaultActions"]
    assert otherwise["FixedResponseConfig"]["StatusCode"] == "404"
    json.loads(otherwise["FixedResponseConfig"]["MessageBody"])
    paths = {one.path for one in (*router.routes, *web.create_router({}).routes) if isinstance(one, APIRoute)}
    paths |= {"/docs", "/openapi.json", stream.PATH, *(path for system in SYSTEMS.values() for path in system.paths)}
    assert {path for path in paths if not any(fnmatch.fnmatchcase(path, one) for one in patterns)} == {
        "/metrics",
        "/model/reload",
    }


def test_the_load_balancer_lets_go_of_idle_connections_before_the_service_does() -> None:
    idle = int(attributes("LoadBalancer", "LoadBalancerAttributes")["idle_timeout.timeout_seconds"])
    assert idle < int(environment()["FACET_KEEP_ALIVE_S"])


def test_a_request_under_way_is_answered_before_its_task_goes() -> None:
    longest = Settings.model_fields["body_timeout_s"].default + Settings.model_fields["deadline_s"].default
    delay = attributes("TargetGroup", "TargetGroupAttributes")["deregistration_delay.timeout_seconds"]
    assert int(delay) > longest


# Scaling and alarms, which the simulated AWS knows nothing of ----------------------------------------------------------


def test_tasks_follow_cpu_and_requests() -> None:
    policies = of_type("AWS::ApplicationAutoScaling::ScalingPolicy")
    tracked = {
        one["TargetTrackingScalingPolicyConfiguration"]["PredefinedMetricSpecification"]["PredefinedMetricType"]
        for one in policies.values()
    }
    assert tracked == {"ECSServiceAverageCPUUtilization", "ALBRequestCountPerTarget"}
    assert all(one["ScalingTargetId"] == {"Ref": "ScalableTarget"} for one in policies.values())
    target = properties("ScalableTarget")
    assert (target["MinCapacity"], target["MaxCapacity"]) == ({"Ref": "MinTasks"}, {"Ref": "MaxTasks"})
    assert target["ResourceId"] == {"Fn::Sub": "service/${Cluster}/${Service.Name}"}


def test_every_alarm_tells_somebody_and_names_its_page() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    alarms = of_type("AWS::CloudWatch::Alarm")
    assert set(alarms) == {"Down", "Errors", "Faults", "Memory", "Saturated", "Slow", "Unhealthy"}
    for name, alarm in alarms.items():
        assert alarm["AlarmActions"] == {"Fn::If": ["Told", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}, name
        named = re.search(r"See (.+) in docs/operations\.md", alarm["AlarmDescription"])
        assert named
        sections = re.findall(r"Facet[A-Z]\w+|(?<=\")\w+(?=\")", named[1])
        assert sections
        assert all(re.search(rf"^#+ {section}$", page, re.MULTILINE) for section in sections), sections


def test_one_odd_failure_in_a_quiet_night_is_no_alarm() -> None:
    """Nor does it end a deployment, which watches the same alarm."""
    share = properties("Errors")["Metrics"][0]["Expression"]
    asked, floor = re.findall(r"^IF\((.+?) >= (\d+), 100 \* \((.+?)\) / requests, 0\)$", share)[0][:2]
    assert asked == "FILL(failed, 0) + FILL(refused, 0)"
    assert int(floor) > 1
    assert properties("Errors")["EvaluationPeriods"] > 1


def test_what_fails_inside_a_batch_or_a_stream_is_counted_by_the_logs_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of which the service writes one for each fault of its own, and none for others'."""
    (written,) = re.findall(r'basicConfig\(.*\bformat="(.+?)"', (ROOT / "service/server/uvicorn.py").read_text())
    assert environment()["FACET_LOG_LEVEL"] == "info"
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
            "\n".join(form.format(record) for record in caplog.records) for form in (logging.Formatter(written), JsonLines())
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


def test_no_role_may_do_anything_to_everything() -> None:
    resources = [one for name in TEMPLATES for one in template(name)["Resources"].values()]
    roles = [one["Properties"] for one in resources if one["Type"] == "AWS::IAM::Role"]
    assert len(roles) == 4
    assert not any("ManagedPolicyArns" in role for role in roles)
    for statement in (one for role in roles for one in statements(role)):
        actions = listed(statement["Action"])
        assert not any("*" in action for action in actions)
        if "*" in listed(statement["Resource"]):
            assert all(LOOKS.fullmatch(action) for action in actions), actions


def test_deploying_writes_no_role_and_passes_on_two_only() -> None:
    foundation = template("foundation")["Resources"]
    assert not [one for one in RESOURCES.values() if one["Type"].startswith("AWS::IAM::")]
    for name in ("DeployRole", "StackRole"):
        for statement in statements(foundation[name]["Properties"]):
            for action in listed(statement["Action"]):
                if action.startswith("iam:"):
                    assert action in ("iam:PassRole", "iam:CreateServiceLinkedRole")
                    assert statement["Condition"]
    (passed,) = (one for one in statements(foundation["StackRole"]["Properties"]) if one["Action"] == "iam:PassRole")
    assert passed["Resource"] == {"Fn::GetAtt": ["ExecutionRole", "Arn"]}


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
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
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
        arguments = ["--stack-name", name, "--template-body", f"file://{AWS / file}", "--capabilities", "CAPABILITY_IAM"]
        self.aws("cloudformation", "create-stack", *arguments, "--parameters", json.dumps(given))
        return self.outputs(name)

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
    git = ["git", "-C", str(folder / "checkout"), "-c", "user.name=test", "-c", "user.email=test@facet.test"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "Everything"]):
        subprocess.run([*git, *command], check=True)
    with simulated() as variables:
        started = Cloud(int(variables["AWS_ENDPOINT_URL"].rpartition(":")[2]), folder)
        started.environment["IMAGE_MANIFEST"] = MANIFEST
        yield started


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
        CertificateArn=certificate,
        ApiKeysSecretArn=keys,
        **network,
    )
    described = cloud.aws("ecs", "describe-task-definition", "--task-definition", "facet")
    (one,) = described["taskDefinition"]["containerDefinitions"]
    assert one["image"].endswith("0" * 64)
    assert one["secrets"] == [{"name": "FACET_API_KEYS", "valueFrom": keys}]
    assert (one["user"], one["readonlyRootFilesystem"], one["stopTimeout"]) == ("10001:10001", True, 30)

    said = cloud.deploy(f"ApiKeysSecretArn={keys}", "MaxTasks=7")
    built = re.search(r"\S+/facet@sha256:[0-9a-f]{64}(?= to the stack facet)", said)
    assert built
    log = (cloud.folder / "bin/docker.log").read_text().splitlines()
    assert [line.split()[0] for line in log] == ["login", "build", "push"]
    assert f"--build-arg VERSION={__version__} " in log[1]
    given = {"ImageUri": built[0], "MaxTasks": "7", "CertificateArn": certificate, "VpcId": network["VpcId"]}
    given |= {"AlarmTopicArn": foundation["AlarmTopicArn"], "DeletionProtection": "true"}
    assert given.items() <= cloud.parameters("facet").items()

    former = f"{foundation['RepositoryUri']}@sha256:{'0' * 64}"
    cloud.deploy("--image", former, f"ApiKeysSecretArn={keys}")
    assert cloud.parameters("facet")["ImageUri"] == former
    assert cloud.parameters("facet")["MaxTasks"] == "7"
    assert len((cloud.folder / "bin/docker.log").read_text().splitlines()) == len(log)  # to go back builds nothing

    cloud.deploy(f"ApiKeysSecretArn={keys}")  # nor does a commit that the registry has
    assert cloud.parameters("facet")["ImageUri"] == built[0]
    assert len((cloud.folder / "bin/docker.log").read_text().splitlines()) == len(log)

    (group,) = cloud.aws("elbv2", "describe-target-groups")["TargetGroups"]
    assert (group["Port"], group["HealthCheckPath"], group["TargetType"]) == (8000, "/health/ready", "ip")
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
