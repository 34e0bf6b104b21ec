"""Define the work of the measured aggregators, for the environments with and without OpenFL."""

from dataclasses import dataclass
from typing import Final

from federation.model import DType, ModelManifest, TensorSpec, manifest_of

TENSORS: Final = 10
TRAIN: Final = "train"
AGGREGATED_VALIDATION: Final = "aggregated_model_validation"
FEDERATION: Final = "bench"
OPENFL_AGGREGATOR: Final = "aggregator-bench"
"""OpenFL distinguishes models from deltas by the word in it."""


@dataclass(frozen=True)
class Work:
    """Run of rounds in which every site downloads the model, reports a metric and uploads an update."""

    parameters: int
    """Number of float32 values, a multiple of ten."""
    sites: int
    rounds: int

    @property
    def model_bytes(self) -> int:
        """Bytes of one model."""
        return self.manifest.nbytes

    @property
    def manifest(self) -> ModelManifest:
        """Manifest of ten tensors."""
        size = self.parameters // TENSORS
        return manifest_of(TensorSpec(f"layer-{index}", DType.FLOAT32, (size,)) for index in range(TENSORS))

    @property
    def clusters(self) -> tuple[str, ...]:
        """The sites' names."""
        return tuple(f"c{number:02}" for number in range(self.sites))
