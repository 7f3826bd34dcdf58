"""From an algorithm and an environment to the plan that tunes it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from sb3_course import registry
from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.runs import presets
from sb3_course.tuning.dimension import Dimension
from sb3_course.tuning.plan import Plan, Point, action_kind
from sb3_course.tuning.spaces import space_of
from sb3_course.tuning.translate import check_space, decides, from_settings, keys_of


def known_points(algo: str, env: str, base: Mapping[str, Any], space: tuple[Dimension, ...]) -> tuple[Point, ...]:
    """Return what is tried before anything else: the constructor's own values, then the preset for the environment.

    :param algo: registry name
    :param env: environment id
    :param base: keys that every run has
    :param space: of the algorithm
    """
    actions = action_kind(env, base)
    points = [Point("default", {}, from_settings(space, {}, algo, actions))]
    if presets.section_of(algo, env) not in (None, presets.DEFAULT):
        preset = presets.load(algo, env)
        preset = {key: value for key, value in preset.items() if key not in ("n_timesteps", "n_episodes")}
        points.append(Point("preset", preset, from_settings(space, preset, algo, actions)))
    return tuple(points)


def plan_for(algo: str, env: str, *, space: tuple[Dimension, ...] | None = None, **arguments: Any) -> Plan:
    """Return the plan that tunes an algorithm: its registered space, its defaults and preset first.

    :param algo: registry name
    :param env: environment id
    :param space: in place of the registered one
    :param arguments: the other arguments of `Plan`
    :raises InputError: for everything that `Plan` refuses, and for an environment that the algorithm cannot act in
    """
    registry.find(algo)
    for name in arguments:
        known = [item.name for item in fields(Plan)]
        if name not in known:
            raise InputError(name, f"unknown argument{did_you_mean(name, known)}", arguments[name], "one of Plan's")
    base = arguments.get("base", {})
    space = space_of(algo) if space is None else space
    space = tuple(each for each in space if not decides(each) & keys_of(base))
    check_space(space, algo)
    points = known_points(algo, env, base, space)
    plan = Plan(algo=algo, env=env, space=space, points=points, **arguments)
    check(plan)
    return plan


def check(plan: Plan) -> None:
    """Refuse a plan whose configurations could not even be built.

    :raises InputError: from the first point that fails
    """
    from sb3_course.runs.environment import close_env, evaluation_env, training_env
    from sb3_course.runs.model import build_model

    for point in plan.points or (Point("base"),):
        settings = plan.settings(point.settings, 0).replace(vec_env="dummy")
        close_env(evaluation_env(settings))
        venv = training_env(settings)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they come again, and are kept, when it runs
                build_model(settings, venv)
        finally:
            close_env(venv)
