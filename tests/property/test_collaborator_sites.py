"""Whatever the hub asks: a site mounts what its Dataset names, runs what its policy admits, and gives no rights."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.api.collaborator import Collaborator
from federation.api.dataset import Dataset
from federation.api.identity import TRUST_BUNDLE
from federation.kube.actions import Apply, Create
from federation.kube.kinds import COLLABORATOR_JOB, COLLABORATOR_NETWORK_POLICY
from spoke_agent.collaborator.planning.admission import matches
from spoke_agent.collaborator.planning.container_exit import clean, clean_tail
from spoke_agent.collaborator.planning.job import CERTIFICATE_SECRET
from spoke_agent.collaborator.planning.network import destination_of
from spoke_agent.collaborator.planning.plan import ObservedCollaborator, plan
from tests.support.builders.collaborator_objects import SITE, collaborator_json
from tests.support.builders.site_objects import dataset_json, policy

NOW = datetime(2030, 6, 1, tzinfo=UTC)
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
PREFIX, PINNED = "registry.example/fl/", f"registry.example/pinned/digits@{A}"

texts = st.text(max_size=12) | st.sampled_from(["/", "..", "/etc", "hostPath", "$(FL_DATA)", "a: b\n- c", '"', "{}"])
images = st.sampled_from(
    [
        "registry.example/fl/digits:1",
        f"registry.example/fl/digits@{B}",
        PINNED,
        f"registry.example/pinned/digits@{B}",
        f"registry.example/pinned/digits:1@{A}",
        "registry.example/pinned/digits:1",
        "registry.example/fl-evil/digits:1",
        "registry.example/fl/../evil",
        "registry.example.evil/fl/digits",
        "fl/digits",
    ]
) | texts.map(lambda text: PREFIX + text)
addresses = st.sampled_from(
    ["198.51.100.7:1", "hub.example:443", "[2001:db8::1]:443", "127.0.0.1:1", "169.254.169.254:80"]
)
names = st.sampled_from(["A", "B", "PATH", "HOME", "LD_PRELOAD"])
variables: Any = st.fixed_dictionaries({"name": names, "value": texts})
arguments: Any = st.lists(texts, max_size=3)
sane: Any = st.fixed_dictionaries(
    {"image": st.sampled_from([f"{PREFIX}digits:1", PINNED]), "args": arguments},
    optional={
        "env": st.lists(variables, unique_by=lambda each: each["name"]),
        "resources": st.fixed_dictionaries({"requests": st.just({"cpu": "1", "nvidia.com/gpu": 1})}),
        "framework": texts,
        "plan": st.fixed_dictionaries({"text": texts}) | st.fixed_dictionaries({"file": texts}),
    },
)
wild: Any = st.fixed_dictionaries(
    {},
    optional={
        "image": images,
        "env": st.lists(
            st.fixed_dictionaries({"name": st.sampled_from(["FL_DATA", "FL_TLS"]) | texts, "value": texts})
        ),
        "dataset": st.sampled_from(["other", "../mnist", "mnist"]),
        "aggregator": st.none() | st.fixed_dictionaries({"addresses": st.lists(addresses | texts, max_size=2)}),
        "resources": st.fixed_dictionaries({"requests": st.dictionaries(st.just("cpu") | texts, st.just("1") | texts)}),
        # Fields that the structs do not know are ignored: a hub of another version, or a hostile one, sent them.
        "volumes": st.just([{"name": "x", "hostPath": {"path": "/"}}]),
        "serviceAccountName": st.just("federated-learning-agent"),
    },
)
specs = st.one_of(
    sane,
    st.builds(lambda base, changed: {**base, **changed}, sane, wild),
    st.builds(lambda base, image: {**base, "image": image}, sane, images),
)
volumes = st.sampled_from(
    [
        {"hostPath": {"path": "/srv/data"}},
        {"persistentVolumeClaim": {"claimName": "data"}, "subPath": "a/b"},
        {"secret": {"secretName": "data"}},
        {"configMap": {"name": "data"}},
        {"csi": {"driver": "d", "nodePublishSecret": "s"}},
    ]
)


def planned(spec: dict[str, Any], volume: dict[str, Any], name: str = "fl-digits") -> list[Any]:
    asked = msgspec.convert(collaborator_json(name, uid="u", **spec), Collaborator)
    terms = policy(approval="Automatic", images=[PREFIX, PINNED])
    offered = msgspec.convert(dataset_json(spec={"volume": volume, "policy": terms}), Dataset)
    found = offered if asked.spec.dataset == offered.metadata.name else None
    return list(plan(ObservedCollaborator(asked, found, None, None, ()), SITE, NOW).actions)


def jobs(actions: list[Any]) -> list[dict[str, Any]]:
    return [action.body for action in actions if isinstance(action, Create) and action.kind is COLLABORATOR_JOB]


@settings(max_examples=300)
@given(specs, volumes)
def test_a_job_mounts_its_datasets_volume_the_certificate_and_nothing_else(
    spec: dict[str, Any], volume: dict[str, Any]
) -> None:
    for body in jobs(planned(spec, volume)):
        pod = body["spec"]["template"]["spec"]
        dataset, tls, scratch, *plan = pod["volumes"]
        annotations = body["spec"]["template"]["metadata"]["annotations"]
        for each in plan:
            (item,) = each["downwardAPI"]["items"]
            assert item["fieldRef"] == {"fieldPath": f"metadata.annotations['{next(iter(annotations))}']"}
            assert set(each) == {"name", "downwardAPI"}
        assert list(annotations.values()) == ([spec["plan"]["text"]] if plan else [])
        source = {key: value for key, value in dataset.items() if key != "name"}
        kind = next(key for key in volume if key != "subPath")
        assert list(source) == [kind]
        named = {value for value in volume[kind].values() if isinstance(value, str)}
        assert named <= set(strings(source)), "it is the one that the site's Dataset names"
        assert [next(iter(each.values()))["name"] for each in tls["projected"]["sources"]] == [
            CERTIFICATE_SECRET,
            TRUST_BUNDLE,
        ]
        assert set(scratch) == {"name", "emptyDir"}
        (container,) = pod["containers"]
        mounts = {each["name"]: each for each in container["volumeMounts"]}
        assert set(mounts) == {"dataset", "tls", "scratch"} | {each["name"] for each in plan}
        assert mounts["dataset"]["readOnly"] is mounts["tls"]["readOnly"] is True
        assert mounts["dataset"].get("subPath") == volume.get("subPath")


@settings(max_examples=300)
@given(specs, volumes)
def test_an_image_runs_only_when_the_policy_admits_it(spec: dict[str, Any], volume: dict[str, Any]) -> None:
    for body in jobs(planned(spec, volume)):
        image = body["spec"]["template"]["spec"]["containers"][0]["image"]
        assert image == spec["image"]
        below = image.startswith(PREFIX) and ".." not in image.split("/") and "//" not in image
        pinned = image.startswith("registry.example/pinned/digits") and image.endswith("@" + A)
        assert below or pinned


@settings(max_examples=300)
@given(specs, volumes)
def test_a_job_has_no_rights_and_is_confined_before_it_starts(spec: dict[str, Any], volume: dict[str, Any]) -> None:
    actions = planned(spec, volume)
    for body in jobs(actions):
        pod = body["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert "serviceAccountName" not in pod
        container = pod["containers"][0]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        names = [each["name"] for each in container["env"]]
        assert len(names) == len(set(names))
        assert {each["name"]: each["value"] for each in container["env"]}["FL_DATA"] == "/data"
        assert isinstance(actions[0], Apply)
        assert actions[0].kind is COLLABORATOR_NETWORK_POLICY
        selector = actions[0].body["spec"]["podSelector"]["matchLabels"]
        assert selector.items() <= body["spec"]["template"]["metadata"]["labels"].items()
        for address in spec["aggregator"]["addresses"] if "aggregator" in spec else ():
            assert destination_of(address)


@given(st.text(alphabet="ab*", max_size=8), st.text(alphabet="ab", max_size=8))
def test_a_pattern_means_what_its_regular_expression_does(pattern: str, name: str) -> None:
    assert matches(pattern, name) is matches_slowly(pattern, name)


@given(st.text(max_size=60), st.integers(min_value=0, max_value=40))
def test_cut_text_fits_and_has_no_control_characters(text: str, limit: int) -> None:
    for cut in (clean(text, limit), clean_tail(text, max(1, limit))):
        assert len(cut.encode()) <= max(1, limit)
        assert not any(character < " " and character not in "\t\n" for character in cut)


def matches_slowly(pattern: str, name: str) -> bool:
    """By its definition: a star takes nothing, or one character and goes on."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return matches_slowly(pattern[1:], name) or (bool(name) and matches_slowly(pattern, name[1:]))
    return bool(name) and name[0] == pattern[0] and matches_slowly(pattern[1:], name[1:])


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in strings(inner)]
    return [value] if isinstance(value, str) else []
