"""Work around the defects of OpenFL 1.9 that affect a collaborator.

OpenFL is discontinued, so no upstream fix will come. Each class and function below works around one defect; `apply`
installs those that replace a part of OpenFL. OpenFL's aggregator, network client and certificates are not used, so
their defects are not handled here. Checked against the sources of release 1.9.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from openfl.component.collaborator import collaborator as openfl_collaborator
from openfl.pipelines.pipeline import Float32NumpyArrayToBytes, TransformationPipeline
from openfl.utilities import TensorKey

_KEEP_EVERYTHING: Final = -1


def apply() -> None:
    """Replace the parts of OpenFL that can't be passed as arguments; idempotent."""
    Float32NumpyArrayToBytes.forward = Float32.forward
    Float32NumpyArrayToBytes.backward = Float32.backward
    openfl_collaborator.TensorDB = IndexedTensorDB


def aggregator_name(run: str) -> str:
    """Return the aggregator's ID within OpenFL.

    It must contain the word "aggregator": `TensorCodec.apply_delta` distinguishes a model from a delta by it.
    """
    return f"aggregator-{run}"


def collaborator_name(cluster: str) -> str:
    """Return the collaborator's name within OpenFL, which a task runner gets as `col_name`.

    OpenFL mixes names and tags in one sorted tuple, so it would misread a cluster with the name `model` or `trained`,
    or one whose name sorts after a tag's. The aggregator gets the cluster's own name.
    """
    return f"c-{cluster}"


def collaborator_settings(from_plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of OpenFL's `Collaborator` other than its identity.

    - Deltas are always off, although OpenFL's default plan enables them: they serve lossy compression, and fail in
      round 1 unless two rounds are stored. Sending the whole model has the same result.
    - `callbacks` is a new list, because all collaborators of a process share the default list, which grows.
    - `./logs` and the memory log are off, because the workspace's file system is read-only.
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
    """Conversion of arrays to bytes and back, with any version of numpy.

    OpenFL calls `np.reshape(newshape=…)`, removed in numpy 2.4, in every download. It reads `dtype` in every upload,
    which a metric that is a plain number, or a tensor that is not an array, does not have.
    """

    def forward(self, data: Any, **_: Any) -> tuple[bytes, dict[str, list[int]]]:
        """Return the bytes of a number or array as little-endian float32, and its shape."""
        array = np.asarray(data, dtype="<f4")
        return array.tobytes(order="C"), {"int_list": list(array.shape)}

    def backward(self, data: Any, metadata: Mapping[str, Any], **_: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return the array, read-only and without a copy.

        A task runner that writes to its input then fails there, instead of changing the input of the round's next task.
        """
        array = np.frombuffer(data, dtype="<f4").reshape(tuple(metadata["int_list"]))
        array.flags.writeable = False
        return array


class Float32Pipeline(TransformationPipeline):  # type: ignore[misc]  # openfl has no types
    """Pipeline without compression. `apply` also fixes the `NoCompressionPipeline` that OpenFL creates internally."""

    def __init__(self) -> None:
        super().__init__(transformers=[Float32()])


class IndexedTensorDB:
    """Replacement for the methods of OpenFL's `TensorDB` that a collaborator uses, on a dictionary.

    OpenFL scans a pandas frame for each lookup and copies it for each insertion: 2,000 tensors of 5,000 floats take
    215 s instead of 11 s. As in OpenFL, the first of two tensors with the same key is kept.
    """

    def __init__(self) -> None:
        self._tensors: dict[TensorKey, Any] = {}

    def cache_tensor(self, tensor_key_dict: Mapping[TensorKey, Any]) -> None:
        """Store these tensors."""
        for key, tensor in tensor_key_dict.items():
            self._tensors.setdefault(TensorKey(*key), tensor)

    def get_tensor_from_cache(self, tensor_key: TensorKey) -> Any | None:
        """Return the tensor with this key, None if it is missing."""
        tensor = self._tensors.get(TensorKey(*tensor_key))
        return None if tensor is None else np.asarray(tensor)

    def clean_up(self, remove_older_than: int = 1) -> None:
        """Delete all but this number of the newest rounds; a negative number keeps everything.

        Unlike OpenFL it also deletes old metrics, which are never read and would accumulate.
        """
        if remove_older_than <= _KEEP_EVERYTHING or not self._tensors:
            return
        newest = max(key.round_number for key in self._tensors)
        self._tensors = {
            key: tensor for key, tensor in self._tensors.items() if key.round_number > newest - remove_older_than
        }


def keep_held_out_tensors(collaborator: Any, held_out: Mapping[str, Any]) -> None:
    """Store the tensors that never leave a site in the collaborator, as its own tensors of round 0.

    OpenFL requests them from the aggregator, which never has them, at a site's first task. Later rounds use those that
    training has stored.
    """
    collaborator.tensor_db.cache_tensor(
        {TensorKey(name, collaborator.collaborator_name, 0, False, ("model",)): held for name, held in held_out.items()}
    )
