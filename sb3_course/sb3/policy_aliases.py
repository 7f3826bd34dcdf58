"""Our policies under short names in SB3's own classes: ``DQN("DuelingMlpPolicy", env)`` after ``import sb3_course``.

SB3 looks a policy's name up in its class attribute ``policy_aliases``. To enter ours there, SB3 (and torch) must have
been imported, which ``import sb3_course`` leaves to whoever needs it: so this waits until SB3's module is loaded. A
policy itself is imported at its first use.
"""

import sys
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_INPUTS = ("Mlp", "Cnn", "MultiInput")


def _aliases(module: str, *kinds: str) -> dict[str, str]:
    """Return alias -> ``module:Class`` for each kind of policy and of input."""
    names = [f"{kind}{inputs}Policy" for kind in kinds for inputs in _INPUTS]
    return {name: f"sb3_course.{module}:{name}" for name in names}


_ACTOR_CRITIC = _aliases("policy_gradient.gaussian", "Gaussian") | _aliases("policy_gradient.noisy_policies", "Noisy")

#: ``module:Class`` of an algorithm -> alias -> ``module:Class`` of the policy. DDPG looks in TD3's row.
POLICY_ALIASES: dict[str, dict[str, str]] = {
    "stable_baselines3.dqn.dqn:DQN": _aliases("value.sb3_policies", "Dueling", "Noisy", "NoisyDueling"),
    "stable_baselines3.a2c.a2c:A2C": _ACTOR_CRITIC,
    "stable_baselines3.ppo.ppo:PPO": _ACTOR_CRITIC,
    "stable_baselines3.td3.td3:TD3": _aliases("policy_gradient.noisy_td3", "Noisy"),
    "stable_baselines3.sac.sac:SAC": _aliases("policy_gradient.noisy_sac", "Noisy"),
}


class PolicyAliases(MutableMapping[str, Any]):
    """SB3's table of one algorithm with ours after it; a ``module:Class`` is imported when it is looked up."""

    def __init__(self, rows: Mapping[str, Any]) -> None:
        self._rows = dict(rows)

    def __getitem__(self, alias: str) -> Any:
        policy = self._rows[alias]
        if isinstance(policy, str):
            module, _, cls = policy.partition(":")
            policy = self._rows[alias] = getattr(import_module(module), cls)
        return policy

    def __setitem__(self, alias: str, policy: Any) -> None:
        self._rows[alias] = policy

    def __delitem__(self, alias: str) -> None:
        del self._rows[alias]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, alias: object) -> bool:
        return alias in self._rows

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._rows})"


class _AfterImport(MetaPathFinder):
    """Registers the policies of an algorithm as soon as its module has been executed; finds nothing itself."""

    def __init__(self, table: Mapping[str, Mapping[str, str]]) -> None:
        self.table = table
        self.modules = {algorithm.partition(":")[0] for algorithm in table}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return what the other finders find, its loader extended by one step."""
        if name not in self.modules:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                self._extend(spec.loader)
                return spec
        return None

    def _extend(self, loader: Any) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            register_in(module, self.table)

        # On this one loader object, which stays what it is for everybody who asks the module for its source.
        loader.exec_module = exec_module


def register_policies(table: Mapping[str, Mapping[str, str]] = POLICY_ALIASES) -> None:
    """Enter every row of `table` into its algorithm: at once where that is imported already, else when it will be."""
    finder = _AfterImport(table)
    sys.meta_path.insert(0, finder)
    for name in finder.modules & set(sys.modules):
        register_in(sys.modules[name], table)


def register_in(module: ModuleType, table: Mapping[str, Mapping[str, str]]) -> None:
    """Enter the policies of `table` into the algorithms of one loaded module; names already taken stay as they are."""
    for algorithm, aliases in table.items():
        name, _, cls = algorithm.partition(":")
        if name == module.__name__:
            owner = getattr(module, cls)
            missing = {alias: policy for alias, policy in aliases.items() if alias not in owner.policy_aliases}
            if missing:
                owner.policy_aliases = PolicyAliases({**owner.policy_aliases, **missing})
