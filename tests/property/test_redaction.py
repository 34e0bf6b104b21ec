"""For any volume of a Dataset and any text: none of the strings of the volume passes the redaction.

One of fewer than eight characters may occur within a longer word, where it says nothing of the volume.
"""

import re
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from federation.api.dataset import DatasetVolume
from spoke_agent.collaborator.planning.redaction import REPLACEMENT, VolumeRedaction
from tests.support.builders.collaborator_objects import open_dataset

names = st.text(min_size=4, max_size=20)
sources: Any = st.one_of(
    st.fixed_dictionaries({"persistentVolumeClaim": st.fixed_dictionaries({"claimName": names})}),
    st.fixed_dictionaries({"hostPath": st.fixed_dictionaries({"path": names})}),
    st.fixed_dictionaries({"configMap": st.fixed_dictionaries({"name": names})}),
    st.fixed_dictionaries({"secret": st.fixed_dictionaries({"secretName": names})}),
    st.fixed_dictionaries(
        {
            "csi": st.fixed_dictionaries(
                {"driver": names},
                optional={
                    "fsType": names,
                    "volumeAttributes": st.dictionaries(st.sampled_from(["server", "share"]), names),
                    "nodePublishSecret": names,
                },
            )
        }
    ),
)
volumes: Any = st.builds(lambda source, sub: source | sub, sources, st.just({}) | st.builds(dict, subPath=names))


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in strings(inner)]
    return [value]


def quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


def says(words: str, text: str) -> bool:
    """Return whether the words contain the text: a long one anywhere, a short one as a whole word."""
    places = [at for at in range(len(words)) if words.startswith(text, at)]
    around = [words[max(at - 1, 0) : at] + words[at + len(text) : at + len(text) + 1] for at in places]
    return any(len(text) >= 8 or not re.search("[A-Za-z0-9_-]", each) for each in around)


@given(volumes, st.data())
@example({"hostPath": {"path": "/mnt/ward"}, "subPath": "beds"}, "/mnt/wardbeds")
@example({"persistentVolumeClaim": {"claimName": "beds"}}, "bedsbeds, and beds")
def test_no_string_of_a_volume_gets_through(volume: Any, said: st.DataObject | str) -> None:
    named = strings(msgspec.to_builtins(msgspec.convert(volume, DatasetVolume)))
    assert sorted(named) == sorted(strings(volume))
    pieces = st.sampled_from([*named, *map(quoted, named)]) | st.text(max_size=8)
    words = said if isinstance(said, str) else "".join(said.draw(st.lists(pieces, max_size=8)))

    told = VolumeRedaction(open_dataset(volume=volume)).redact(words)

    kept = told.split(REPLACEMENT)
    assert not [text for text in named for piece in kept if says(piece, text)]
    rest = iter(words)
    assert all(character in rest for character in "".join(kept)), "and nothing is said that was not"
    if not any(form in words for text in named for form in (text, text.rstrip("/"), quoted(text)[1:-1])):
        assert told == words
