"""A perceptron with one hidden layer that classifies handwritten digits, in numpy only.

Every random choice follows from a seed and the round, so that repeating a round on the same site and
data gives exactly the same model.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Weights = dict[str, Floats]

PIXELS = 64
CLASSES = 10


def initial_weights(hidden_units: int, seed: int) -> Weights:
    """Return Glorot's uniform weights (Glorot and Bengio, 2010), the same on every site.

    Returns:
        `hidden.weight` [pixels, hidden], `hidden.bias` [hidden], `output.weight` [hidden, classes] and `output.bias`
        [classes], all float32.
    """
    random = np.random.default_rng(seed)

    def uniform(rows: int, columns: int) -> Floats:
        bound = np.sqrt(6 / (rows + columns))
        return random.uniform(-bound, bound, (rows, columns)).astype(np.float32)

    return {
        "hidden.weight": uniform(PIXELS, hidden_units),
        "hidden.bias": np.zeros(hidden_units, np.float32),
        "output.weight": uniform(hidden_units, CLASSES),
        "output.bias": np.zeros(CLASSES, np.float32),
    }


def probabilities(weights: Weights, pixels: Floats) -> tuple[Floats, Floats]:
    """Return the hidden layer's values [samples, hidden] and each class's probability [samples, classes].

    Args:
        weights: In the shapes of `initial_weights`.
        pixels: [samples, pixels] float32, from 0 to 1.
    """
    hidden = np.tanh(pixels @ weights["hidden.weight"] + weights["hidden.bias"])
    scores = hidden @ weights["output.weight"] + weights["output.bias"]
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return hidden, powers / powers.sum(axis=1, keepdims=True)


def train_epoch(
    weights: Weights,
    pixels: Floats,
    labels: Labels,
    batch_size: int,
    learning_rate: float,
    random: np.random.Generator,
) -> tuple[Weights, float]:
    """Run one epoch of stochastic gradient descent; return the new weights and the mean cross entropy."""
    weights = {name: weight.copy() for name, weight in weights.items()}
    order = random.permutation(len(labels))
    rate = np.float32(learning_rate)
    total = 0.0
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        inputs, targets = pixels[batch], labels[batch]
        hidden, likely = probabilities(weights, inputs)
        at = np.arange(len(batch))
        total += float(-np.log(np.maximum(likely[at, targets], np.float32(1e-12))).sum())
        likely[at, targets] -= 1
        error = likely / np.float32(len(batch))
        back = (error @ weights["output.weight"].T) * (1 - hidden * hidden)
        weights["output.weight"] -= rate * (hidden.T @ error)
        weights["output.bias"] -= rate * error.sum(axis=0)
        weights["hidden.weight"] -= rate * (inputs.T @ back)
        weights["hidden.bias"] -= rate * back.sum(axis=0)
    return weights, total / len(order)


def accuracy(weights: Weights, pixels: Floats, labels: Labels) -> float:
    """Return the share of samples whose most likely class is correct."""
    _, likely = probabilities(weights, pixels)
    return float((likely.argmax(axis=1) == labels).mean())
