"""The safetensors library can read the file of the initial model."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from federation.model import DType, TensorSpec, manifest_of
from federation.safetensors import header
from runtimes.kit import model_file


def test_the_library_reads_what_is_written(tmp_path: Path) -> None:
    tensors = {"b": np.arange(6, dtype="<f4").reshape(2, 3), "a": np.array(0.5, "<f4"), "c": np.zeros((0, 4), "<f4")}
    manifest = manifest_of(TensorSpec(name, DType.FLOAT32, value.shape) for name, value in tensors.items())

    path = tmp_path / "model.safetensors"
    model_file.write(path, manifest, b"".join(tensors[tensor.name].tobytes() for tensor in manifest.tensors))

    assert {name: value.tolist() for name, value in load_file(path).items()} == {
        name: value.tolist() for name, value in tensors.items()
    }
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_the_models_bytes_begin_at_a_multiple_of_eight() -> None:
    for length in range(1, 20):
        manifest = manifest_of([TensorSpec("w" * length, DType.FLOAT32, (1,))])

        assert len(header(manifest)) % 8 == 0
