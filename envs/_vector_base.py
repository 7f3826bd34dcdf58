"""What the vector environments share: time limit, autoreset, infos and saved states."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from gymnasium.core import RenderFrame
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from sb3_course.envs._base import CourseEnv
from sb3_course.envs._checks import refusal, whole

Array = NDArray[Any]
Infos = dict[str, Any]


class CourseVectorEnv(VectorEnv[Array, Array, Array]):
    """Base class: time limit, autoreset, infos and saved states; a subclass gives `_begin`, `_move` and `_observe`.

    :param num_envs: E, the number of sub-environments
    :param max_episode_steps: episodes are truncated after so many steps; None: never
    :param autoreset_mode: ``NEXT_STEP``: the step after an episode's last resets and ignores the action;
        ``SAME_STEP``: the last step resets, its observation and info are in ``final_obs`` and ``final_info``
    :param kwargs: arguments of the scalar environment, which knows spaces and pictures too
    :raises ValueError: an argument out of bounds, another mode, or a scalar environment that opens a window
    """

    #: The class of one environment.
    scalar: type[CourseEnv[Any, Any]]
    #: The fields of the state, each an array with one row a sub-environment.
    fields: tuple[str, ...] = ()

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        **kwargs: Any,
    ) -> None:
        model = self.scalar(**kwargs)
        if model.render_mode == "human":
            raise refusal("render_mode", "is for one environment", "human", "None, rgb_array or ansi")
        self.model: Any = model
        self.render_mode = model.render_mode
        self.num_envs = whole("num_envs", num_envs, low=1)
        self.max_episode_steps = (
            None if max_episode_steps is None else whole("max_episode_steps", max_episode_steps, low=1)
        )
        self.autoreset_mode = _mode(autoreset_mode)
        self.metadata = {
            **model.metadata,
            "render_modes": ["rgb_array", "ansi"],
            "autoreset_mode": self.autoreset_mode,
        }
        self.single_observation_space, self.single_action_space = model.observation_space, model.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._all = np.ones(self.num_envs, np.bool_)
        self._steps = np.zeros(self.num_envs, np.int64)
        self._over = np.zeros(self.num_envs, np.bool_)  # the next step resets these
        self._started = False

    @abstractmethod
    def _begin(self, which: Array, seeded: bool) -> Infos:
        """Start an episode where `which`, (E,), is True; return infos, (E,) each, that hold there."""

    @abstractmethod
    def _move(self, actions: Array, active: Array) -> tuple[Array, Array, Infos]:
        """Return rewards, terminations and infos, (E,) each; what is not `active` may move, but must not count."""

    @abstractmethod
    def _observe(self) -> Array:
        """Return the observations, (E, …), in new memory."""

    @abstractmethod
    def _checked(self, actions: Any) -> Array:
        """Return actions as an array; refuse those that the scalar environment refuses."""

    @abstractmethod
    def _show(self, index: int) -> None:
        """Bring `model` into the state of a sub-environment, to be drawn."""

    def reset(self, *, seed: int | None = None, options: Infos | None = None) -> tuple[Array, Infos]:
        """Start an episode everywhere, or where ``options["reset_mask"]``, (E,) of bool, says so.

        :raises ValueError: a mask of another shape or kind
        """
        super().reset(seed=seed)
        which = self._all
        if options is not None and "reset_mask" in options:
            which = np.asarray(options["reset_mask"])
            if which.shape != (self.num_envs,) or which.dtype != np.bool_:
                got = f"{which.dtype} of shape {which.shape}"
                raise refusal("reset_mask", "does not fit", got, f"bool of shape ({self.num_envs},)")
        if not self._started and not which.all():
            raise ResetNeeded("Call reset() without a mask first.")
        infos: Infos = {}
        self._add(infos, self._begin(which, seed is not None), which)
        self._steps[which], self._over[which] = 0, False
        self._started = True
        return self._observe(), infos

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, Infos]:
        """Take one action in every sub-environment.

        :return: observations (E, …), float64 rewards, terminations and truncations, (E,), and infos
        :raises ValueError: an action that the scalar environment refuses
        :raises ResetNeeded: before the first ``reset``
        """
        if not self._started:
            raise ResetNeeded("Call reset() before step().")
        over = self._over
        resets = over.any()
        active = ~over if resets else self._all
        rewards, terminations, moved = self._move(self._checked(actions), active)
        self._steps += 1
        limit = self.max_episode_steps
        truncations = np.zeros(self.num_envs, np.bool_) if limit is None else self._steps >= limit
        infos: Infos = {}
        self._add(infos, moved, active)
        if resets:
            rewards[over], terminations[over], truncations[over], self._steps[over] = 0.0, False, False, 0
            self._add(infos, self._begin(over, False), over)
        ended = terminations | truncations
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            self._over = ended
        elif ended.any():
            self._reset_at_once(ended, moved, infos)
        return self._observe(), rewards, terminations, truncations, infos

    def _reset_at_once(self, ended: Array, moved: Infos, infos: Infos) -> None:
        """Keep the last observations and infos of the episodes that have `ended`, and begin the next ones."""
        final_obs, observations = np.full(self.num_envs, None, dtype=object), self._observe()
        for index in np.flatnonzero(ended):
            final_obs[index] = observations[index]
        final_info: Infos = {}
        self._add(final_info, moved, ended)
        infos.update(final_obs=final_obs, _final_obs=ended.copy(), final_info=final_info, _final_info=ended.copy())
        for name in moved:  # what holds at the top is the next episode's
            values, going_on = infos.pop(name), infos.pop("_" + name) & ~ended
            self._add(infos, {name: np.where(going_on, values, 0)}, going_on)
        self._add(infos, self._begin(ended, False), ended)
        self._steps[ended] = 0

    def _add(self, infos: Infos, new: Infos, which: Array) -> None:
        """Enter each array of `new` where `which` is True, with the mask ``_name`` beside it, as Gymnasium does."""
        for name, values in new.items():
            if which is self._all:
                infos[name], infos["_" + name] = values, which.copy()
                continue
            if not which.any():
                continue
            known = infos.get("_" + name, np.zeros(self.num_envs, np.bool_))
            infos[name] = np.where(which, values, infos.get(name, np.zeros_like(values)))
            infos["_" + name] = known | which

    def render(self) -> tuple[RenderFrame, ...] | None:
        """Return a picture of each sub-environment, as ``render_mode`` says."""
        frames = []
        for index in range(self.num_envs):
            self._show(index)
            frames.append(self.model.render())
        return None if self.render_mode is None else tuple(frames)

    def get_state(self) -> Infos:
        """Return everything that decides the future as plain numbers and arrays."""
        return {
            "np_random": self.np_random.bit_generator.state,
            "np_random_seed": self._np_random_seed,
            "started": self._started,
            **{name: getattr(self, name).copy() for name in ("_steps", "_over", *self.fields)},
        }

    def set_state(self, state: Infos) -> None:
        """Return to a state saved by `get_state` of a batch with the same options.

        :raises ValueError: the state is not of this environment; nothing has been changed then
        """
        here = self.get_state()
        if set(state) != set(here):
            raise refusal("state", "has the wrong fields", sorted(state), f"the result of get_state(): {sorted(here)}")
        arrays = {name: np.asarray(state[name]) for name in ("_steps", "_over", *self.fields)}
        for name, values in arrays.items():
            if values.shape != here[name].shape:
                raise refusal(name, "has the wrong shape", values.shape, str(here[name].shape))
        generator = seeding.np_random()[0]
        generator.bit_generator.state = state["np_random"]
        for name, values in arrays.items():
            setattr(self, name, values.astype(here[name].dtype))
        self._np_random, self._np_random_seed = generator, state["np_random_seed"]
        self._started = bool(state["started"])


def _mode(mode: Any) -> AutoresetMode:
    """Return the mode by its name or value.

    :raises ValueError: a mode that is unknown, or that leaves resetting to the caller
    """
    known = {name: each for each in AutoresetMode for name in (each, each.value, each.name)}
    found = known.get(mode) if isinstance(mode, (str, AutoresetMode)) else None
    if found not in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
        raise refusal("autoreset_mode", "is not supported", mode, "NextStep or SameStep")
    return found
