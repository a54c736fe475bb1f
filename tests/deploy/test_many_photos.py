"""The jobs that look at millions of photos: a RayJob for KubeRay, and an array of jobs on AWS Batch."""

from __future__ import annotations

import json
import os
import re
import shlex
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from service.cli import app
from service.settings import Settings
from tests.client import ROOT
from tests.deploy.files import AWS, Document, checker, container, mebibytes, of, ran, ray_pods, rendered, template, with_pods
from tests.s3 import simulated

RAY_JOB = {
    "activeDeadlineSeconds", "backoffLimit", "clusterSelector", "deletionStrategy", "entrypoint", "entrypointNumCpus",
    "entrypointNumGpus", "entrypointResources", "jobId", "managedBy", "metadata", "rayClusterSpec", "runtimeEnvYAML",
    "shutdownAfterJobFinishes", "submissionMode", "submitterConfig", "submitterPodTemplate", "suspend",
    "ttlSecondsAfterFinished",
}  # fmt: skip
RAY_CLUSTER = {"autoscalerOptions", "enableInTreeAutoscaling", "headGroupSpec", "rayVersion", "suspend", "workerGroupSpecs"}
HEAD = {"enableIngress", "headService", "rayStartParams", "serviceType", "template"}
WORKERS = {"groupName", "maxReplicas", "minReplicas", "numOfHosts", "rayStartParams", "replicas", "scaleStrategy", "template"}
"""Fields of KubeRay's API v1; an API server drops others without a word."""


def parsed(words: list[str]) -> dict[str, Any]:
    """Parameters of `facet predict`; fails on an option that it does not have."""
    command = typer.main.get_command(app)
    assert words[0] == "predict"
    context = command.get_command(None, "predict").make_context("predict", words[1:])  # type: ignore[attr-defined]
    return dict(context.params)


# KubeRay ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def objects() -> list[Document]:
    return rendered("ray")


def job(objects: list[Document]) -> Document:
    spec = of(objects, "RayJob", "facet-photos")["spec"]
    assert isinstance(spec, dict)
    return spec


def test_every_field_is_one_of_its_schema(objects: list[Document], tmp_path: Path) -> None:
    cluster = job(objects)["rayClusterSpec"]
    assert set(job(objects)) <= RAY_JOB
    assert set(cluster) <= RAY_CLUSTER
    assert set(cluster["headGroupSpec"]) <= HEAD
    assert all(set(group) <= WORKERS for group in cluster["workerGroupSpecs"])
    (tmp_path / "objects.yaml").write_text(yaml.safe_dump_all(with_pods(objects)))
    assert "WARN" not in ran(checker("kubernetes-validate"), "--strict", str(tmp_path / "objects.yaml"))


def test_pods_pass_the_restricted_standard_which_their_namespace_enforces(objects: list[Document]) -> None:
    namespace = of(objects, "Namespace", "facet-photos")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {one["metadata"].get("namespace") for one in objects if one["kind"] != "Namespace"} == {"facet-photos"}
    for pod in ray_pods(objects):
        spec, one = pod["spec"], container(pod["spec"])
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert one["securityContext"]["allowPrivilegeEscalation"] is False
        assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert one["securityContext"]["readOnlyRootFilesystem"] is True
        assert {mount["mountPath"] for mount in one["volumeMounts"]} >= {"/tmp", "/dev/shm"}
        assert one["resources"]["requests"]["memory"] == one["resources"]["limits"]["memory"]


def test_the_job_is_one_that_facet_takes_and_goes_on_where_a_cluster_was_lost(objects: list[Document]) -> None:
    program, *words = shlex.split(job(objects)["entrypoint"])
    given = parsed(words)
    assert program == "facet"
    assert (given["engine"], given["address"], given["resume"]) == ("ray", "auto", True)
    assert job(objects)["backoffLimit"] > 0
    head = container(ray_pods(objects)[0]["spec"])
    assert any(Path(given["out"]).is_relative_to(mount["mountPath"]) for mount in head["volumeMounts"])
    volumes = {volume["name"]: volume for volume in ray_pods(objects)[0]["spec"]["volumes"]}
    claim = volumes["tables"]["persistentVolumeClaim"]["claimName"]
    assert of(objects, "PersistentVolumeClaim", claim)


def test_a_worker_holds_whole_workers_of_facet_and_every_pod_has_the_ray_of_the_lock(objects: list[Document]) -> None:
    cluster = job(objects)["rayClusterSpec"]
    assert f"ray=={cluster['rayVersion']} " in (ROOT / "requirements/many.txt").read_text()
    images = {container(pod["spec"])["image"] for pod in ray_pods(objects)}
    assert len(images) == 1
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in cluster["workerGroupSpecs"]:
        one = container(group["template"]["spec"])
        workers = int(one["resources"]["requests"]["cpu"]) // 2
        assert workers * 2 == int(one["resources"]["requests"]["cpu"])
        assert mebibytes(one["resources"]["limits"]["memory"]) >= 2048 + workers * 1024


# AWS Batch --------------------------------------------------------------------------------------------------------------

BATCH = template("batch/jobs")


def properties(name: str) -> Document:
    found = BATCH["Resources"][name]["Properties"]
    assert isinstance(found, dict)
    return found


def test_the_linter_has_nothing_to_say() -> None:
    assert ran(checker("cfn-lint"), "--include-checks", "I", "--", str(AWS / "batch/jobs.yaml")) == ""


def test_every_job_takes_its_own_list_and_writes_its_own_table(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [
        word["Fn::Sub"].replace("${!", "${") if isinstance(word, dict) and "Fn::Sub" in word else word
        for word in properties("JobDefinition")["ContainerProperties"]["Command"]
    ]
    given = parsed([word if isinstance(word, str) else "age" for word in words])
    for option, ending in (("listed", ".txt"), ("out", ".parquet")):
        assert given[option].endswith("/${AWS_BATCH_JOB_ARRAY_INDEX}" + ending)
    assert given["overwrite"], "an attempt after one that was interrupted"
    values = {one["Name"]: one["Value"] for one in properties("JobDefinition")["ContainerProperties"]["Environment"]}
    sizes = {one["Type"]: one["Value"] for one in properties("JobDefinition")["ContainerProperties"]["ResourceRequirements"]}
    assert set(values) <= {f"FACET_{name.upper()}" for name in Settings.model_fields}
    assert values["FACET_THREADS"] == sizes["VCPU"]
    assert values["FACET_MEMORY_MIB"] == sizes["MEMORY"]
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    Settings()


def test_a_job_may_read_photos_and_write_tables_and_nothing_else() -> None:
    roles = [one["Properties"] for one in BATCH["Resources"].values() if one["Type"] == "AWS::IAM::Role"]
    statements = [one for role in roles for policy in role["Policies"] for one in policy["PolicyDocument"]["Statement"]]
    for statement in statements:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert not any("*" in action or "Delete" in action for action in actions)
        assert statement["Resource"] != "*" or actions == ["ecr:GetAuthorizationToken"]
    (written,) = (one for one in statements if "s3:PutObject" in one["Action"])
    assert written["Resource"]["Fn::Sub"].endswith("${TableBucket}/${Tables}/*")


def test_the_networks_endpoint_lets_the_jobs_log_through() -> None:
    """A job whose log cannot be reached does not start. CloudFormation names a log group that has no name of its own."""
    assert "LogGroupName" not in properties("LogGroup")
    (statement,) = template("network")["Resources"]["LogsEndpoint"]["Properties"]["PolicyDocument"]["Statement"]
    values = {"AWS::Partition": "aws", "AWS::Region": "r", "AWS::AccountId": "1", "ServiceStackName": "facet"}
    patterns = [re.sub(r"\$\{([\w:]+)\}", lambda found: values[found[1]], one["Fn::Sub"]) for one in statement["Resource"]]

    def passes(group: str) -> bool:
        return any(fnmatchcase(f"arn:aws:logs:r:1:log-group:{group}:log-stream:one", pattern) for pattern in patterns)

    assert passes("facet-photos-LogGroup-1A2B3C")
    assert passes("/facet/service")
    assert not passes("facet-network-FlowLogGroup-1A2B3C")
    assert not passes("another-LogGroup-1A2B3C")


def test_a_simulated_aws_takes_the_stack(tmp_path: Path) -> None:
    """With a role for Batch named, which the simulation asks for; AWS takes the account's own where none is."""
    text = (AWS / "batch/jobs.yaml").read_text()
    named = text.replace("Type: MANAGED\n", "Type: MANAGED\n      ServiceRole: !GetAtt JobRole.Arn\n")
    assert named != text
    (tmp_path / "jobs.yaml").write_text(named)
    with simulated() as variables:

        def aws(*words: str) -> Any:
            said = ran(checker("aws"), *words, "--output", "json", environment=os.environ | variables)
            return json.loads(said) if said.strip() else None

        vpc = aws("ec2", "describe-vpcs")["Vpcs"][0]["VpcId"]
        subnet = aws("ec2", "describe-subnets")["Subnets"][0]["SubnetId"]
        given = {
            "ImageUri": "1.dkr.ecr.us-east-1.amazonaws.com/facet@sha256:" + 64 * "0",
            "RepositoryArn": "arn:aws:ecr:us-east-1:123456789012:repository/facet",
            "VpcId": vpc,
            "SubnetIds": subnet,
            "PhotoBucket": "photos",
            "TableBucket": "tables",
        }
        overrides = [f"{name}={value}" for name, value in given.items()]
        deploy = ("cloudformation", "deploy", "--stack-name", "facet-photos", "--template-file", str(tmp_path / "jobs.yaml"))
        ran(
            checker("aws"), *deploy, "--capabilities", "CAPABILITY_IAM", "--parameter-overrides", *overrides,
            environment=os.environ | variables,
        )  # fmt: skip
        (queue,) = aws("batch", "describe-job-queues")["jobQueues"]
        (definition,) = aws("batch", "describe-job-definitions")["jobDefinitions"]
        assert queue["state"] == "ENABLED"
        command = definition["containerProperties"]["command"]
        assert "s3://photos/facet/lists/${AWS_BATCH_JOB_ARRAY_INDEX}.txt" in command
        assert re.fullmatch(r"s3://tables/facet/tables/\$\{\w+\}\.parquet", command[command.index("--out") + 1])
