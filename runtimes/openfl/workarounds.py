"""What is wrong with OpenFL 1.9 for a collaborator, each with what is done about it.

OpenFL is discontinued, so none of it will be mended upstream. Each class and function below is one trap; `mend` puts in
place those that have to replace something inside of OpenFL. The traps of its aggregator, of its network client and of
its certificates are not ours: none of the three is used. Checked against the sources of release 1.9.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from openfl.component.collaborator import collaborator as openfl_collaborator
from openfl.pipelines.pipeline import Float32NumpyArrayToBytes, TransformationPipeline
from openfl.utilities import TensorKey

_KEEP_EVERYTHING: Final = -1


def apply() -> None:
    """Replaces inside of OpenFL what can't be handed to it. Doing it twice changes nothing."""
    Float32NumpyArrayToBytes.forward = Float32.forward
    Float32NumpyArrayToBytes.backward = Float32.backward
    openfl_collaborator.TensorDB = IndexedTensorDB


def aggregator_name(run: str) -> str:
    """The aggregator's id within OpenFL.

    It has to contain the word: by it `TensorCodec.apply_delta` tells a model from a delta.
    """
    return f"aggregator-{run}"


def collaborator_name(cluster: str) -> str:
    """The collaborator's name within OpenFL, and what a task runner sees as `col_name`.

    OpenFL mixes names and tags in one sorted tuple: a cluster that is called `model` or `trained`, or one whose name
    sorts after a tag's, would be taken for something else. The aggregator is told the cluster's own name.
    """
    return f"c-{cluster}"


def collaborator_settings(from_plan: Mapping[str, Any]) -> dict[str, Any]:
    """What OpenFL's `Collaborator` is constructed with, beside who it is.

    - Deltas are off whatever the plan says (OpenFL's own default plan turns them on): they exist for lossy
      compression, and fail in round 1 unless two rounds are stored. The whole model travels, and comes to the same.
    - `callbacks` is a fresh list: the default one is shared by all collaborators of a process, and grows.
    - Nothing is written beside the workspace, whose file system is read-only: no `./logs`, no memory log.
    """
    return {
        "opt_treatment": from_plan.get("opt_treatment", "RESET"),
        "db_store_rounds": from_plan.get("db_store_rounds", 1),
        "use_delta_updates": False,
        "callbacks": [],
        "write_logs": False,
        "log_memory_usage": False,
        "compression_pipeline": Float32Pipeline(),
    }


class Float32(Float32NumpyArrayToBytes):  # type: ignore[misc]  # openfl has no types
    """Arrays to bytes and back, with any numpy.

    `np.reshape(newshape=…)` was removed in numpy 2.4, and OpenFL's every download ends in it. A metric that is a plain
    number, or a tensor of a kind other than an array, has no `dtype`, and OpenFL's every upload asks for it.
    """

    def forward(self, data: Any, **_: Any) -> tuple[bytes, dict[str, list[int]]]:
        """The bytes of any number or array as little-endian float32, and its shape."""
        array = np.asarray(data, dtype="<f4")
        return array.tobytes(order="C"), {"int_list": list(array.shape)}

    def backward(self, data: Any, metadata: Mapping[str, Any], **_: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The array, without a copy and read-only, as OpenFL hands it on.

        A task runner that writes into what it is given then fails where it does, and doesn't change unseen what the
        round's next task starts from.
        """
        array = np.frombuffer(data, dtype="<f4").reshape(tuple(metadata["int_list"]))
        array.flags.writeable = False
        return array


class Float32Pipeline(TransformationPipeline):  # type: ignore[misc]  # openfl has no types
    """No compression. OpenFL's own pipelines build `NoCompressionPipeline` inside, which `mend` reaches too."""

    def __init__(self) -> None:
        super().__init__(transformers=[Float32()])


class IndexedTensorDB:
    """OpenFL's `TensorDB`, as far as a collaborator uses it, by a dictionary instead of a pandas frame.

    The frame is searched whole for each tensor and copied for each one added: 2,000 tensors of 5,000 floats take 215 s
    where these take 11 s. Of two tensors under one key the first counts, as there.
    """

    def __init__(self) -> None:
        self._tensors: dict[TensorKey, Any] = {}

    def cache_tensor(self, tensor_key_dict: Mapping[TensorKey, Any]) -> None:
        """Keeps these tensors."""
        for key, tensor in tensor_key_dict.items():
            self._tensors.setdefault(TensorKey(*key), tensor)

    def get_tensor_from_cache(self, tensor_key: TensorKey) -> Any | None:
        """The tensor under this very key."""
        tensor = self._tensors.get(TensorKey(*tensor_key))
        return None if tensor is None else np.asarray(tensor)

    def clean_up(self, remove_older_than: int = 1) -> None:
        """Forgets all but so many of the newest rounds; a negative number keeps everything.

        Unlike OpenFL it forgets old metrics too: nothing reads them, and they would add up for ever.
        """
        if remove_older_than <= _KEEP_EVERYTHING or not self._tensors:
            return
        newest = max(key.round_number for key in self._tensors)
        self._tensors = {
            key: tensor for key, tensor in self._tensors.items() if key.round_number > newest - remove_older_than
        }


def keep_held_out_tensors(collaborator: Any, held_out: Mapping[str, Any]) -> None:
    """Gives the collaborator the tensors that never leave a site, as its own of round 0.

    OpenFL asks the aggregator for them at a site's first task, where they can't be; every later round finds those that
    training has left.
    """
    collaborator.tensor_db.cache_tensor(
        {TensorKey(name, collaborator.collaborator_name, 0, False, ("model",)): held for name, held in held_out.items()}
    )
