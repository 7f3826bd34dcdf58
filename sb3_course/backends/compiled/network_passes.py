"""Whole Q networks: the chains of a head, what joins them, and the way back; see `numpy_heads` for what each is.

Each pass has one place at which it calls a chain's: compiling takes its time for every other one.
"""

from __future__ import annotations

import numpy as np

from sb3_course.backends.compiled.chain import between, joint_backward, joint_few, joint_forward
from sb3_course.backends.compiled.jit import Array, inner, joint
from sb3_course.backends.compiled.streams import join_streams, split_gradient

PLAIN, DUELING, STATE_ACTION = range(3)
#: The chains of a head: a dueling one has that of what is shared, which may be empty, and those of the value and the
#: advantage; others have the last one only.
SHARED, VALUE, LAST, N_CHAINS = range(4)
#: What a head says of itself, in whole numbers: its kind, A, the rows of the table at which its chains begin and the
#: last one ends, and of each chain how many outputs it keeps of a row.
HEAD, ACTIONS, ENDS, WIDTHS, N_NUMBERS = 0, 1, 2, 3 + N_CHAINS, 3 + 2 * N_CHAINS


@inner
def pairs_of(x: Array, n_actions: int) -> Array:
    """Return each row with each action behind it, one-hot, (B, F) -> (B·A, F + A)."""
    n_batch, n_features = x.shape
    pairs = np.zeros((n_batch * n_actions, n_features + n_actions), np.float32)
    for b in range(n_batch):
        for a in range(n_actions):
            row = b * n_actions + a
            for j in range(n_features):
                pairs[row, j] = x[b, j]
            pairs[row, n_features + a] = np.float32(1)
    return pairs


@joint
def network_forward(
    x: Array,
    head: Array,
    table: Array,
    shapes: Array,
    layer_norms: Array | None,
    values: Array,
    noise: Array,
    scratch: Array,
    outputs: Array | None,
) -> tuple[Array, Array]:
    """Return the outputs, (B, F) -> (B, A, N), and what the last chains have seen, which the way back needs.

    :param head: see `HEAD`
    :param table: the rows of all chains; this and the rest as in `chain_forward`
    :param outputs: memory for the outputs of all chains, an empty one where no way back follows; None for few rows
    """
    n_batch, n_actions, place = x.shape[0], head[ACTIONS], 0
    seen = pairs_of(x, n_actions) if head[HEAD] == STATE_ACTION else x
    value = last = seen
    for c in range(N_CHAINS):
        start, end = head[ENDS + c], head[ENDS + c + 1]
        if end > start:
            rows, numbers, own = table[start:end], shapes[start:end], between(layer_norms, start, end)
            if outputs is None:  # by its type alone: the other way is not compiled
                last = joint_few(seen, rows, numbers, own, values, noise)
            else:
                remember = outputs.size > 0
                size = len(seen) * head[WIDTHS + c] * remember
                last = joint_forward(
                    seen, rows, numbers, own, values, noise, scratch, remember,
                    outputs[place : place + size],
                )  # fmt: skip
                place += size
            if c == SHARED:
                seen = last
            elif c == VALUE:
                value = last
    cube = last.reshape(n_batch, n_actions, last.size // (n_batch * n_actions))
    return (join_streams(value, cube) if head[HEAD] == DUELING else cube), seen


@joint
def network_backward(
    grad: Array,
    x: Array,
    seen: Array,
    head: Array,
    table: Array,
    shapes: Array,
    layer_norms: Array | None,
    values: Array,
    grads: Array,
    noise: Array,
    scratch: Array,
    outputs: Array,
    factor: float,
) -> None:
    """Write the parameters' gradients.

    :param grad: of the outputs of the first B rows, (B, A, N)
    :param x: all rows of the forward pass
    :param seen: what its last chains have seen
    :param factor: of the gradient that enters what the streams share
    """
    n_batch, end = grad.shape[0], outputs.size
    n_rows = n_batch * (seen.shape[0] // x.shape[0])
    total, cube = np.empty((0, 0), np.float32), grad
    if head[HEAD] == DUELING:
        total, cube = split_gradient(grad)
    flat = cube.reshape(n_rows, cube.size // n_rows)
    back, shorter = flat, np.float32(factor)
    for step in range(N_CHAINS):
        c = N_CHAINS - 1 - step
        first, after = head[ENDS + c], head[ENDS + c + 1]
        if after == first:
            continue
        inputs = x if c == SHARED else seen
        memory = outputs[end - len(inputs) * head[WIDTHS + c] : end]
        end -= memory.size
        g = flat if c == LAST else (total if c == VALUE else back)
        below = joint_backward(
            g, inputs[: len(g)], table[first:after], shapes[first:after], between(layer_norms, first, after), values,
            grads, noise, scratch, memory, len(inputs), c > SHARED and head[ENDS + VALUE] > head[ENDS],
        )  # fmt: skip
        if c == LAST:
            back = below
        elif c == VALUE and head[ENDS + VALUE] > head[ENDS]:
            for b in range(n_batch):
                for j in range(back.shape[1]):
                    back[b, j] = (back[b, j] + below[b, j]) * shorter
