"""A site's part of a run against a real API server, under the rights that the add-on's own templates give the agent.

What a fake can't show: that the CRD is one that a server takes and refuses with, that it takes the Job and the
NetworkPolicy as they are rendered, and that the rights suffice and go no further.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from federation.api.collaborator import APPROVAL_PREFIX, APPROVED, Collaborator
from federation.kube.client import Client
from federation.kube.errors import Denied, Invalid, KubeError
from federation.kube.kinds import (
    COLLABORATOR,
    COLLABORATOR_JOB,
    COLLABORATOR_NETWORK_POLICY,
    COLLABORATOR_POD,
    CONFIG_MAP,
    DATASET,
    SECRET,
)
from federation.kube.reflector import Reflector
from federation.kube.resource import Json, ObjectKey
from spoke_agent.collaborator.controllers import collaborator_parts
from spoke_agent.metrics import AgentMetrics
from tests.support.api_server.apiserver import loopback_api_server
from tests.support.builders.collaborator_objects import RUN, SITE, collaborator_json, open_dataset_json, told
from tests.support.fleet.spoke_server import AGENT, WORK_AGENT, eventually, install_agent, user_kubeconfig
from tests.support.waiting import running

pytestmark = pytest.mark.apiserver


@dataclass(frozen=True)
class Site:
    """One API server as a spoke, with the administrator, the agent, and the hub's work agent."""

    admin: Client
    agent: Client
    work_agent: Client


@pytest_asyncio.fixture(scope="module")
async def site() -> AsyncIterator[Site]:
    async with loopback_api_server() as server:
        clients = [Client.from_kubeconfig(server.kubeconfig, field_manager="test")]
        try:
            await install_agent(clients[0], SITE.namespace)
            clients += [
                Client.from_kubeconfig(user_kubeconfig(server, name), field_manager=name)
                for name in (AGENT, WORK_AGENT)
            ]
            yield Site(*clients)
        finally:
            for client in clients:
                await client.close()


@pytest_asyncio.fixture
async def agent(site: Site) -> AsyncIterator[None]:
    datasets = Reflector(site.agent, DATASET, namespace=SITE.namespace)
    parts = collaborator_parts(
        site.agent, SITE, datasets, now=lambda: datetime.now(UTC), metrics=AgentMetrics(CollectorRegistry())
    )
    async with running(datasets.run(), *(each.run() for each in parts.reflectors), parts.controller.run()):
        yield


async def offered(site: Site, name: str, **terms: Any) -> None:
    body = open_dataset_json(**terms)
    body["metadata"] = {"name": name, "namespace": SITE.namespace}
    await site.admin.create(DATASET, body, namespace=SITE.namespace)


async def status_of(site: Site, name: str, state: str) -> Any:
    found: Collaborator = await eventually(
        lambda: site.admin.read(COLLABORATOR, ObjectKey(SITE.namespace, name)),
        holds=lambda each: each.status.state == state,
    )
    return found.status


@pytest.mark.usefixtures("agent")
async def test_the_agents_permissions_start_a_confined_run_and_report_its_failure(site: Site) -> None:
    await offered(site, "mnist")
    asked: Json = {
        "resources": {"requests": {"cpu": 1, "nvidia.com/gpu": "1"}},
        "activeDeadlineSeconds": 3600,
        "args": ["-v"],
        "plan": {"text": "tasks: {}\n" + "# é\n" * 20_000},
    }
    key = ObjectKey(SITE.namespace, "fl-digits")
    await site.work_agent.create(COLLABORATOR, collaborator_json(**asked), namespace=SITE.namespace)

    job = await eventually(lambda: site.admin.read_raw(COLLABORATOR_JOB, key))
    assert (await status_of(site, "fl-digits", "Starting")).run_id == "run-uid-1"
    confined = await site.admin.read_raw(COLLABORATOR_NETWORK_POLICY, key)
    pod = job["spec"]["template"]["spec"]
    assert pod["containers"][0]["volumeMounts"][0]["recursiveReadOnly"] == "IfPossible"
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["volumes"][-1]["downwardAPI"]["items"][0]["path"] == "plan.yaml"
    assert list(job["spec"]["template"]["metadata"]["annotations"].values()) == [asked["plan"]["text"]]
    assert job["spec"]["podFailurePolicy"]["rules"][1]["action"] == "FailJob"
    assert confined["spec"]["egress"][0]["to"] == [{"ipBlock": {"cidr": "198.51.100.7/32"}}]

    await let_it_fail(site, job, told())
    status = await status_of(site, "fl-digits", "Failed")
    assert (status.reason, status.exit.line) == ("WorkspaceFailed", 7)
    assert status.message == "ModuleNotFoundError: No module named 'lightgbm' (src/taskrunner.py:7)"


async def let_it_fail(site: Site, job: Json, message: str) -> None:
    """Does what the Job controller and a kubelet would."""
    uid = job["metadata"]["uid"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"], "uid": uid, "controller": True}
    made = job["spec"]["template"]
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**made["metadata"], "name": "fl-digits-1", "ownerReferences": [owner]},
        "spec": made["spec"],
    }
    await site.admin.create(COLLABORATOR_POD, body, namespace=SITE.namespace)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ended = {"exitCode": 4, "reason": "Error", "message": message, "startedAt": now, "finishedAt": now}
    container = {
        "name": "collaborator",
        "image": "x",
        "imageID": "x",
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": ended},
    }
    failed = {"status": {"phase": "Failed", "containerStatuses": [container]}}
    pod_key = ObjectKey(SITE.namespace, "fl-digits-1")
    await site.admin.merge_patch(COLLABORATOR_POD, pod_key, failed, subresource="status")
    conditions = [
        {"type": kind, "status": "True", "reason": "PodFailurePolicy", "message": "exit 4", "lastTransitionTime": now}
        for kind in ("FailureTarget", "Failed")
    ]
    told_by_controller = {"status": {"startTime": now, "failed": 1, "conditions": conditions}}
    key = ObjectKey(SITE.namespace, job["metadata"]["name"])
    await site.admin.merge_patch(COLLABORATOR_JOB, key, told_by_controller, subresource="status")


@pytest.mark.usefixtures("agent")
async def test_someone_at_the_site_approves_and_the_hub_can_not(site: Site) -> None:
    await offered(site, "approved-by-hand", approval="Manual")
    body = collaborator_json("fl-manual", dataset="approved-by-hand")
    await site.work_agent.create(COLLABORATOR, body, namespace=SITE.namespace)
    status = await status_of(site, "fl-manual", "Pending")
    approval = {"metadata": {"annotations": {APPROVAL_PREFIX + status.approval: APPROVED}}}
    key = ObjectKey(SITE.namespace, "approved-by-hand")

    with pytest.raises(Denied):
        await site.work_agent.merge_patch(DATASET, key, approval)
    await site.work_agent.merge_patch(COLLABORATOR, ObjectKey(SITE.namespace, "fl-manual"), approval)
    await site.admin.merge_patch(DATASET, key, approval)

    await status_of(site, "fl-manual", "Starting")
    job_key = ObjectKey(SITE.namespace, "fl-manual")
    await eventually(lambda: site.admin.read(COLLABORATOR_JOB, job_key))
    await site.admin.merge_patch(DATASET, key, {"spec": {"policy": {"images": ["registry.example/other/"]}}})
    await status_of(site, "fl-manual", "Refused")
    job = await site.admin.read(COLLABORATOR_JOB, job_key)
    assert job.metadata.deleting


@pytest.mark.parametrize(
    ("asked", "remedy"),
    [
        ({"name": "a.b"}, "rename the Collaborator"),
        ({"run": {**RUN, "name": "a.b"}}, "without dots"),
        ({"run": {**RUN, "namespace": "A"}}, "write the namespace"),
        ({"run": {**RUN, "id": "a/b"}}, "use letters, digits"),
        ({"dataset": "../mnist"}, "write the name of a Dataset"),
        ({"framework": "tensorflow"}, 'supported values: "openfl", "flower", "other"'),
        ({"env": [{"name": "FL_DATA", "value": "/"}]}, "use a prefix other than FL_"),
        ({"env": [{"name": "a-b"}]}, "use letters, digits"),
        ({"plan": {}}, "write either file or text"),
        ({"plan": {"file": "a", "text": "b"}}, "write either file or text"),
        ({"plan": {"file": "../tls/tls.key"}}, "write a relative path"),
        ({"plan": {"text": "x" * 131073}}, "may not be more than 131072"),
        ({"aggregator": {"addresses": []}}, "at least 1 items"),
        ({"aggregator": {"addresses": ["hub"]}}, "write HOST:PORT"),
        ({"aggregator": {"addresses": ["2001:db8::1:443"]}}, "write HOST:PORT"),
        ({"activeDeadlineSeconds": 0}, "greater than or equal to 1"),
    ],
)
async def test_the_server_refuses_an_unsound_request_with_the_remedy(
    site: Site, asked: dict[str, Any], remedy: str
) -> None:
    body = collaborator_json(**{"name": "fl-bad", **asked})

    with pytest.raises(Invalid, match=remedy):
        await site.work_agent.create(COLLABORATOR, body, namespace=SITE.namespace)


async def test_the_server_keeps_nothing_that_would_name_a_volume(site: Site) -> None:
    body = collaborator_json("fl-volumes", dataset="none")
    body["spec"]["volumes"] = [{"name": "x", "hostPath": {"path": "/"}}]

    await site.work_agent.create(COLLABORATOR, body, namespace=SITE.namespace)

    kept = await site.admin.read_raw(COLLABORATOR, ObjectKey(SITE.namespace, "fl-volumes"))
    assert "volumes" not in kept["spec"]


async def test_the_agent_may_do_nothing_more_for_a_run_than_it_does(site: Site) -> None:
    key = ObjectKey(SITE.namespace, "x")
    for attempt in (
        site.agent.create(COLLABORATOR, collaborator_json("mine"), namespace=SITE.namespace),
        site.agent.merge_patch(COLLABORATOR_JOB, key, {"spec": {"suspend": True}}),
        site.agent.merge_patch(DATASET, key, {"metadata": {"annotations": {"a": "b"}}}),
        site.agent.read(SECRET, key),
        site.agent.create(CONFIG_MAP, {"metadata": {"name": "x"}}, namespace=SITE.namespace),
        site.agent.create(COLLABORATOR_POD, {"metadata": {"name": "x"}}, namespace=SITE.namespace),
        site.agent.list_page(COLLABORATOR_JOB),
        site.agent.list_page(COLLABORATOR_NETWORK_POLICY, namespace="default"),
    ):
        with pytest.raises(KubeError, match=r"forbidden|403"):
            await attempt
