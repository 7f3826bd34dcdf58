"""Checkpoints of earlier versions, which held no environments and no generators: a run goes on from them, inexactly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sb3_course.config.warn import warn_user
from sb3_course.runs.environment import set_normalization_state, statistics_path
from sb3_course.runs.tables import read_table
from sb3_course.saving.arrays import load_state
from sb3_course.saving.manifest import attributes_of, read_manifest
from sb3_course.sb3.checkpoints import MODEL, Restorer, set_weights

_COUNTERS = (
    "num_timesteps", "_episode_num", "_n_updates", "_n_calls", "_n_finished", "_total_timesteps",
    "_current_progress_remaining", "exploration_rate", "v_min", "v_max",
)  # fmt: skip


class EarlierRestorer(Restorer):
    """Puts back what there is in a checkpoint of version 0.1.

    :param path: the checkpoint's folder
    :param state: of its `state.npz`
    :param seen: of its `replay.npz`, where that has been read
    """

    def __init__(self, path: Path, state: dict[str, Any], seen: dict[str, Any] | None = None) -> None:
        self.path, self._seen, self.total_timesteps, self.lost = path, seen, None, ""
        self._timesteps = int(state["counters"]["timesteps"])
        self.extra = {"parts": {**state["callbacks"], **self._tables()}, "conditions": {}}

    @property
    def timesteps(self) -> int:
        """The steps taken before it."""
        return self._timesteps

    @property
    def budget(self) -> int:
        """The steps that training was to take, which the run's own settings say."""
        return self._timesteps

    def _tables(self) -> dict[str, Any]:
        found = {}
        for name in ("progress", "evaluations"):
            rows = read_table(self.path.parent.parent / f"{name}.csv")
            before = sum(float(row.get("timesteps") or 0) <= self._timesteps for row in rows)
            found[name] = {"rows": before, "columns": list(rows[0]) if rows else []}
        return found

    def restore(self, model: Any, callbacks: Sequence[object] = ()) -> str:
        """Put back weights, counters, statistics and replay; of callbacks it holds nothing."""
        set_weights(model, self.path / MODEL)
        kept = attributes_of(read_manifest(self.path / MODEL))
        vars(model).update({name: kept[name] for name in _COUNTERS if name in kept})
        if (statistics := statistics_path(self.path / MODEL)).exists():
            set_normalization_state(model.get_env(), load_state(statistics))
        lost = ["the states of environments and random generators"]
        if not self._restore_replay(model) and getattr(model, "replay_buffer", None) is not None:
            lost.insert(0, "the replay memory")
        self.lost = "an earlier version kept no " + ", no ".join(word.removeprefix("the ") for word in lost)
        warn_user(f"resume is not exact: {self.lost}")
        if self.total_timesteps is not None:
            model._total_timesteps = self.total_timesteps
        return self.lost

    def again(self, model: Any) -> None:
        """Do nothing: what `learn` prepares is right for environments that are reset."""
