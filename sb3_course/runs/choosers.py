"""Who chooses the actions of an evaluation, so that an episode's do not depend on what is played beside it.

A matrix product rounds differently for one row than for several, and for a row in another place: Q values of a batch
differ in their last bit from those of its rows one by one, which turns a near tie into another action.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch as th

#: Rows of every batch, however few environments are still at play. Episode i is row i modulo this, so that its
#: arithmetic is the same in whatever company.
ROWS = 8


class Predictor(Protocol):
    """What an evaluation needs of a model: SB3's `predict`."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Return the actions and the next recurrent state; see `takes_masks`."""
        ...


class Together:
    """Asks for the actions of all environments in batches of `ROWS`, for a policy without memory that draws nothing."""

    def __init__(self, model: Predictor) -> None:
        self._model = model

    def __call__(
        self,
        observations: Any,
        episodes: Sequence[int | None],
        steps: Sequence[int],
        masks: np.ndarray | None = None,
    ) -> Any:
        """Return an action for each environment, (E, …); that of one without an episode is any.

        :param observations: of a `VecEnv`
        :param episodes: that each environment plays
        :param steps: that it has taken of it
        :param masks: which actions are valid, (E, A); None: all, or the model knows of none
        """
        actions: Any = None
        waiting = {env: episode % ROWS for env, episode in enumerate(episodes) if episode is not None}
        while waiting:
            row_of = {row: env for env, row in reversed(waiting.items())}  # the first, where two want a row
            rows, envs = np.array(list(row_of)), np.array(list(row_of.values()))
            source = np.full(ROWS, envs[0])
            source[rows] = envs
            seen, known = _take(observations, source), _known(masks, source)
            chosen, state = _predict(self._model)(seen, None, np.zeros(ROWS, bool), True, **known)
            if state is not None:
                raise RecurrentError
            if actions is None:
                actions = np.zeros((len(episodes), *np.shape(chosen)[1:]), np.asarray(chosen).dtype)
            actions[envs] = np.asarray(chosen)[rows]
            waiting = {env: row for env, row in waiting.items() if row_of[row] != env}
        return actions


class RecurrentError(Exception):
    """A policy turned out to have a memory."""


class OneByOne:
    """Asks for one action at a time: each episode has a memory, and draws of its own at every step.

    :param seed: of the evaluation; the draws of a step depend on it, the episode and the step alone
    """

    def __init__(self, model: Predictor, seed: int, deterministic: bool) -> None:
        self._model, self._seed, self._deterministic = model, seed, deterministic
        self._states: dict[int, Any] = {}

    def __call__(
        self,
        observations: Any,
        episodes: Sequence[int | None],
        steps: Sequence[int],
        masks: np.ndarray | None = None,
    ) -> Any:
        """Return an action for each environment, as `Together` does."""
        actions: Any = None
        with contextlib.nullcontext() if self._deterministic else _borrowed_generators(self._model):
            for env, episode in enumerate(episodes):
                if episode is None:
                    continue
                if not self._deterministic:
                    _seed_all(self._model, [self._seed, episode, steps[env]])
                start = np.array([steps[env] == 0])
                seen, known = _take(observations, [env]), _known(masks, [env])
                chosen, self._states[episode] = _predict(self._model)(
                    seen, self._states.get(episode), start, self._deterministic, **known
                )
                if actions is None:
                    actions = np.zeros((len(episodes), *np.shape(chosen)[1:]), np.asarray(chosen).dtype)
                actions[env] = chosen[0]
        return actions


def takes_masks(model: Predictor) -> bool:
    """Tell whether a model's `predict` wants to know which actions are valid."""
    return "action_masks" in inspect.signature(model.predict).parameters


def _predict(model: Any) -> Callable[..., tuple[Any, Any]]:
    """Return a model's `predict`, which may take more than `Predictor` says."""
    predict: Callable[..., tuple[Any, Any]] = model.predict
    return predict


def _known(masks: np.ndarray | None, rows: Any) -> dict[str, Any]:
    return {} if masks is None else {"action_masks": masks[rows]}


def _take(observations: Any, rows: Any) -> Any:
    if isinstance(observations, dict):
        return {key: values[rows] for key, values in observations.items()}
    return tuple(values[rows] for values in observations) if isinstance(observations, tuple) else observations[rows]


def _seed_all(model: Any, words: Sequence[int]) -> None:
    """Seed whatever a prediction may draw from: our generator, and the global ones that SB3's classes use."""
    sequence = np.random.SeedSequence(words)
    numbers = [int(number) for number in sequence.generate_state(2)]
    th.manual_seed(numbers[0])
    np.random.set_state(dict(np.random.MT19937(sequence).state))  # noqa: NPY002 (SB3's DQN draws there)
    space = getattr(model, "action_space", None)
    if space is not None:
        space.seed(numbers[1])
    if hasattr(model, "set_rng"):
        model.set_rng(np.random.default_rng(sequence))


@contextlib.contextmanager
def _borrowed_generators(model: Any) -> Iterator[None]:
    """Leave every generator as it was: scoring changes nothing of what is learned afterwards."""
    space, own = getattr(model, "action_space", None), getattr(model, "rng", None)
    before = None if space is None else space.np_random.bit_generator.state
    legacy = np.random.get_state()  # noqa: NPY002
    try:
        with th.random.fork_rng(devices=[]):
            yield
    finally:
        np.random.set_state(legacy)  # noqa: NPY002
        if space is not None:
            space.np_random.bit_generator.state = before
        if own is not None:
            model.set_rng(own)
