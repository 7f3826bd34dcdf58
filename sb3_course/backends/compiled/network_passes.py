"""Whole Q networks: the chains of a head, what joins them, and the way back; see `numpy_heads` for what each is."""

from __future__ import annotations

import numpy as np

from sb3_course.backends.compiled.chain import chain_backward, chain_forward
from sb3_course.backends.compiled.jit import Array, jit
from sb3_course.backends.compiled.streams import join_streams, split_gradient

PLAIN, DUELING, STATE_ACTION = range(3)
#: What a head says of itself, in whole numbers: its kind, A, the rows of the table at which its chains begin and the
#: last one ends, and of each chain how many outputs it keeps of a row. A dueling head has the chains of what is shared
#: (none, perhaps), of the value and of the advantage; the others have one.
HEAD, ACTIONS, ENDS, WIDTHS, N_NUMBERS = 0, 1, 2, 6, 9


@jit
def chain_memory(c: int, n_rows: int, head: Array, outputs: Array) -> Array:
    """Return where the outputs of chain c lie, of so many rows."""
    before = 0
    for i in range(c):
        before += head[WIDTHS + i]
    return outputs[n_rows * before : n_rows * (before + head[WIDTHS + c])]


@jit
def part_forward(
    c: int,
    x: Array,
    head: Array,
    table: Array,
    shapes: Array,
    values: Array,
    noise: Array,
    scratch: Array,
    remember: bool,
    outputs: Array,
) -> Array:
    """Return what chain c makes of x: arguments as in `network_forward`."""
    start, end = head[ENDS + c], head[ENDS + c + 1]
    memory = chain_memory(c, len(x), head, outputs) if remember else outputs[:0]
    found: Array = chain_forward(x, table[start:end], shapes[start:end], values, noise, scratch, remember, memory)
    return found


@jit
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


@jit
def network_forward(
    x: Array,
    head: Array,
    table: Array,
    shapes: Array,
    values: Array,
    noise: Array,
    scratch: Array,
    remember: bool,
    outputs: Array,
) -> tuple[Array, Array]:
    """Return the outputs, (B, F) -> (B, A, N), and what the last of its chains have seen, which the way back needs.

    :param head: see `HEAD`
    :param table: the rows of all chains; this and the rest as in `chain_forward`
    """
    n_batch, n_actions, seen = x.shape[0], head[ACTIONS], x
    if head[HEAD] == DUELING:
        if head[ENDS + 1] > 0:
            seen = part_forward(0, x, head, table, shapes, values, noise, scratch, remember, outputs)
        value = part_forward(1, seen, head, table, shapes, values, noise, scratch, remember, outputs)
        advantage = part_forward(2, seen, head, table, shapes, values, noise, scratch, remember, outputs)
        return join_streams(value, advantage.reshape(n_batch, n_actions, value.shape[1])), seen
    if head[HEAD] == STATE_ACTION:
        seen = pairs_of(x, n_actions)
    last = part_forward(0, seen, head, table, shapes, values, noise, scratch, remember, outputs)
    return last.reshape(n_batch, n_actions, last.size // (n_batch * n_actions)), seen


@jit
def part_backward(
    c: int,
    grad: Array,
    seen: Array,
    head: Array,
    table: Array,
    shapes: Array,
    values: Array,
    grads: Array,
    noise: Array,
    scratch: Array,
    outputs: Array,
    wanted: bool,
) -> Array:
    """Write the gradients of chain c, and return that of what it has seen: arguments as in `network_backward`."""
    start, end = head[ENDS + c], head[ENDS + c + 1]
    memory, rows = chain_memory(c, len(seen), head, outputs), seen[: len(grad)]
    places = table[start:end], shapes[start:end]
    below: Array = chain_backward(
        grad, rows, places[0], places[1], values, grads, noise, scratch, memory, len(seen), wanted
    )
    return below


@jit
def network_backward(
    grad: Array,
    x: Array,
    seen: Array,
    head: Array,
    table: Array,
    shapes: Array,
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
    n_batch, n_actions, n_atoms = grad.shape
    if head[HEAD] != DUELING:
        n_rows = n_batch * (seen.shape[0] // x.shape[0])
        flat = grad.reshape(n_rows, grad.size // n_rows)
        part_backward(0, flat, seen, head, table, shapes, values, grads, noise, scratch, outputs, False)
        return
    total, advantage = split_gradient(grad)
    flat, shared = advantage.reshape(n_batch, n_actions * n_atoms), head[ENDS + 1] > 0
    back = part_backward(2, flat, seen, head, table, shapes, values, grads, noise, scratch, outputs, shared)
    value = part_backward(1, total, seen, head, table, shapes, values, grads, noise, scratch, outputs, shared)
    if shared:
        shorter = np.float32(factor)
        for b in range(n_batch):
            for j in range(back.shape[1]):
                back[b, j] = (back[b, j] + value[b, j]) * shorter
        part_backward(0, back, x, head, table, shapes, values, grads, noise, scratch, outputs, False)
