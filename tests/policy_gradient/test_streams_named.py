"""``net_arch`` as a mapping in every policy of the family: a stream that is missing has no layer, as with SB3."""

from __future__ import annotations

from typing import Any

import gymnasium
import pytest
from torch import nn

from sb3_course.config.errors import InputError
from sb3_course.registry import ALGORITHMS, find

FAMILY = [
    name
    for name, row in ALGORITHMS.items()
    if row.family in ("policy gradient", "actor-critic") and row.source == "sb3_course"
]
FORMS: dict[str, tuple[Any, list[int], list[int]]] = {
    "no actor's": ({"vf": [7]}, [], [7]),
    "no critic's": ({"pi": [9, 8]}, [9, 8], []),
    "both": ({"vf": [7], "pi": [9]}, [9], [7]),
    "none": ({}, [], []),
    "in a list": ([{"vf": [7]}], [], [7]),
}


def widths(net: nn.Module) -> list[int]:
    return [layer.out_features for layer in net.modules() if isinstance(layer, nn.Linear)]


def made(name: str, net_arch: Any) -> Any:
    cls: Any = find(name).load()
    return cls("MlpPolicy", gymnasium.make("CartPole-v1"), policy_kwargs={"net_arch": net_arch}, seed=0)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", FAMILY)
def test_a_stream_that_is_missing_has_no_layer(name: str, form: str) -> None:
    arch, actor, critic = FORMS[form]
    policy = made(name, arch).policy
    assert widths(policy.mlp_extractor.policy_net) == actor
    assert widths(policy.mlp_extractor.value_net) == (critic if policy.critic else [])


@pytest.mark.parametrize("arch", [{"pi": [8], "fv": [8]}, [{"actor": [8]}]])
@pytest.mark.parametrize("name", FAMILY)
def test_another_name_is_refused(name: str, arch: Any) -> None:
    with pytest.raises(InputError, match=r"net_arch: unknown stream.*pi and vf"):
        made(name, arch)


@pytest.mark.parametrize("arch", [{"value": [8]}, [{"value": [8]}], {"pi": [8]}])
def test_a_value_network_of_one_stream_takes_a_list(arch: Any) -> None:
    with pytest.raises(InputError, match=r"net_arch.*a list of widths"):
        made("double_dqn", arch)


@pytest.mark.parametrize("arch", [{"pi": [8]}, [{"pi": [8]}]])
def test_a_dueling_one_names_its_streams(arch: Any) -> None:
    with pytest.raises(InputError, match=r"net_arch.*shared, value, advantage"):
        made("dueling_dqn", arch)
