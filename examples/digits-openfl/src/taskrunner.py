"""Task runner, which OpenFL calls for each task of the plan."""

from typing import Any

import numpy as np
from openfl.federated.task.runner import TaskRunner
from openfl.utilities import TensorKey

from src.model import Weights, accuracy, initial_weights, train_epoch

Tensors = dict[Any, Any]


class DigitsTaskRunner(TaskRunner):  # type: ignore[misc]  # openfl has no types
    """Task runner for the perceptron of `src.model`.

    Args:
        hidden_units: Width of the hidden layer.
        learning_rate: Step size of the gradient descent.
        seed: Determines the initial weights and the order of the samples.
    """

    def __init__(self, hidden_units: int, learning_rate: float, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._learning_rate = learning_rate
        self._seed = seed
        self._weights = initial_weights(hidden_units, seed)
        self._required: dict[str, list[TensorKey]] = {}

    def train_task(
        self,
        col_name: str,
        round_num: int,
        input_tensor_dict: Weights,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        **_: Any,
    ) -> tuple[Tensors, Tensors]:
        """Train from the global model; return the loss and the trained model."""
        self.set_tensor_dict(input_tensor_dict)
        pixels, labels = self.data_loader.get_train_loader()
        random = np.random.default_rng([self._seed, round_num])
        loss = 0.0
        for _epoch in range(epochs):
            self._weights, loss = train_epoch(self._weights, pixels, labels, batch_size, self._learning_rate, random)
        metrics = {TensorKey("loss", col_name, round_num, True, ("metric",)): np.array(loss)}
        trained = {
            TensorKey(name, col_name, round_num, False, ("trained",)): weight for name, weight in self._weights.items()
        }
        return {**metrics, **trained}, {}

    def validate_task(
        self, col_name: str, round_num: int, input_tensor_dict: Weights, *, apply: str, **_: Any
    ) -> tuple[Tensors, Tensors]:
        """Return the accuracy of the given model on the site's validation samples."""
        self.set_tensor_dict(input_tensor_dict)
        value = np.array(accuracy(self._weights, *self.data_loader.get_valid_loader()))
        tags = ("metric", "validate_local" if apply == "local" else "validate_agg")
        return {TensorKey("accuracy", col_name, round_num, True, tags): value}, {}

    def get_tensor_dict(self, with_opt_vars: bool = False) -> Weights:
        """Return the weights; plain gradient descent has no optimizer variables."""
        del with_opt_vars
        return dict(self._weights)

    def set_tensor_dict(self, tensor_dict: Weights, with_opt_vars: bool = False) -> None:
        """Replace the weights."""
        del with_opt_vars
        self._weights = {name: np.array(tensor_dict[name], np.float32) for name in self._weights}

    def reset_opt_vars(self) -> None:
        """Do nothing; there are no optimizer variables."""

    def initialize_tensorkeys_for_functions(self, with_opt_vars: bool = False) -> None:
        """Set the input tensors of each task: the global model, or the locally trained one."""
        del with_opt_vars
        for task, origin, tags in (
            ("train_task", "GLOBAL", ("model",)),
            ("validate_task global", "GLOBAL", ("model",)),
            ("validate_task local", "LOCAL", ("trained",)),
        ):
            self._required[task] = [TensorKey(name, origin, 0, False, tags) for name in self._weights]

    def get_required_tensorkeys_for_function(self, func_name: str, **kwargs: Any) -> list[TensorKey]:
        """Return the tensors that a task requires."""
        return self._required[f"{func_name} {kwargs['apply']}" if func_name == "validate_task" else func_name]
