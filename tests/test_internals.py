"""What we lean on inside other people's libraries, by name: an upgrade that moves one of these fails here first.

Each row of `INTERNALS` is a private name, or a public one whose behaviour no documentation promises. A scan of our
sources and classes fails where something private is used that has no row.
"""

import ast
import functools
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import sb3_course

LIBRARIES = ("stable_baselines3", "sb3_contrib", "optuna", "gymnasium", "torch", "numba", "llvmlite")


@dataclass(frozen=True)
class Internal:
    """One name that we lean on.

    :param name: `module:Class.attribute` or `module:function`
    :param why: the rooms that need it, and what for
    :param parameters: of a function, `self` left out; None: not compared
    :param called_by: `module:function`, or `:function` in the same module, that must call it for our own to be heard
    """

    name: str
    why: str
    parameters: str | None = None
    called_by: str = ""


def within(owner: str, *rows: tuple[Any, ...]) -> list[Internal]:
    """Return the rows of one class, or of one module whose name ends in a colon."""
    return [Internal(f"{owner}{'' if owner.endswith(':') else '.'}{leaf}", *rest) for leaf, *rest in rows]


# fmt: off
INTERNALS = (
    *within("numba.core.compiler:CompileResult",
        ("_reduce", "backends: machine code on its way to the disk", ""),
        ("_rebuild", "backends: and back", None)),
    *within("numba.core.codegen:CPUCodeLibrary",
        ("_optimize_functions", "backends: the first that a library does with what was lowered", "ll_module",
         "numba.core.codegen:CPUCodeLibrary.add_llvm_module"),
        ("_optimize_final_module", "backends: left to the callers", "", "numba.core.codegen:CPUCodeLibrary.finalize"),
        ("_finalize_final_module", "backends: no machine code of functions without callers from Python", "",
         "numba.core.codegen:CPUCodeLibrary.finalize"),
        ("_finalize_dynamic_globals", "backends: part of that", ""),
        ("_finalized", "backends: that it is done", None),
        ("_codegen", "backends: the machine, and its empty modules", None)),
    *within("numba.core.codegen:CPUCodegen",
        ("_create_empty_module", "backends: a module for a variable", "name"),
        ("_engine", "backends: where machine code and variables lie", None)),
    *within("numba.core.dispatcher:Dispatcher",
        ("_numba_type_", "backends: what compiled callers are given in place of what Python calls", None),
        ("_cache", "backends: our own folder in place of Numba's", None)),
    *within("llvmlite.binding.ffi:_lib_wrapper",
        ("_lock", "backends: who holds what is told of each call", None)),
    *within("llvmlite.binding.ffi:_LLVMLock",
        ("_cblist", "backends: nobody, while functions are compiled", None)),
    *within("numba.core.ir:FunctionIR",
        ("_definitions", "backends: what a question was, where its answer is put", None)),
    *within("stable_baselines3.common.buffers:DictReplayBuffer",
        ("_get_samples", "replay: hindsight replay has ours in its place", "batch_inds env")),
    *within("stable_baselines3.common.base_class:BaseAlgorithm",
        ("__init__", "sb3: we pass _init_setup_model=False and set up the model ourselves",
         "policy env learning_rate policy_kwargs stats_window_size tensorboard_log verbose device "
         "support_multi_env monitor_wrapper seed use_sde sde_sample_freq supported_action_spaces"),
        ("_setup_model", "every algorithm of ours builds its networks and backend there", "", ":BaseAlgorithm.load"),
        ("_wrap_env", "sb3: made lean after SB3 has wrapped the env", "env verbose monitor_wrapper",
         ":BaseAlgorithm.__init__"),
        ("_get_policy_from_name", "sb3: a name that does not exist is refused with the nearest", "policy_name",
         ":BaseAlgorithm.__init__"),
        ("_excluded_save_params", "saving and sb3: what is no part of a model file", "", ":BaseAlgorithm.save"),
        ("_get_torch_save_params", "saving: which attributes are tensors, by SB3's own rule", "",
         ":BaseAlgorithm.save"),
        ("_setup_lr_schedule", "policy_gradient: part of SB3's _setup_model, which we replace", ""),
        ("_update_learning_rate", "value, policy_gradient: the rate of a step; numpy_dqn has a decay of its own",
         "optimizers"),
        ("_setup_learn", "a3c: the head of learn, whose loop is our own",
         "total_timesteps callback reset_num_timesteps tb_log_name progress_bar",
         "stable_baselines3.common.off_policy_algorithm:OffPolicyAlgorithm.learn "
         "stable_baselines3.common.on_policy_algorithm:OnPolicyAlgorithm.learn"),
        ("_update_info_buffer", "policy_gradient: episodes in the log, in a collection of our own", "infos dones",
         "stable_baselines3.common.off_policy_algorithm:OffPolicyAlgorithm.collect_rollouts "
         "stable_baselines3.common.on_policy_algorithm:OnPolicyAlgorithm.collect_rollouts"),
        ("_update_current_progress_remaining", "sb3: never below 0; a3c: what schedules read",
         "num_timesteps total_timesteps",
         "stable_baselines3.common.off_policy_algorithm:OffPolicyAlgorithm.collect_rollouts "
         "stable_baselines3.common.on_policy_algorithm:OnPolicyAlgorithm.learn"),
        ("_current_progress_remaining", "value: epsilon, β and rates are read at it; a checkpoint keeps it"),
        ("_total_timesteps", "runs, a3c: the budget; a checkpoint keeps it"),
        ("_episode_num", "sb3: a checkpoint keeps it"),
        ("_n_updates", "value, policy_gradient: gradient steps taken; a checkpoint keeps it"),
        ("_last_obs", "value, policy_gradient: the observation that is acted on"),
        ("_last_episode_starts", "policy_gradient: kept as SB3's collection keeps it"),
        ("_last_original_obs", "value: kept as SB3's _store_transition keeps it"),
        ("_vec_normalize_env", "value: whether observations are normalised on their way into replay"),
        ("_init_callback", "sb3: a model from a checkpoint goes on where its rollout begins", "callback progress_bar",
         ":BaseAlgorithm._setup_learn"),
        ("_logger", "saving, sb3: no part of a file; what it holds between rows, a checkpoint keeps"),
        ("_custom_logger", "saving, sb3: no part of a file"),
        ("policy_aliases", "sb3: our policies are entered there under short names"),
        ("ep_info_buffer", "runs: the latest episodes, for progress and progress.csv"),
        ("set_parameters", "sb3: the backend binds after it", "load_path_or_dict exact_match device",
         ":BaseAlgorithm.load"),
    ),
    *within("stable_baselines3.common.off_policy_algorithm:OffPolicyAlgorithm",
        ("_setup_learn", "sb3: looks at the first observations", None),
        ("_setup_model", "value: makes the buffer from attributes that we set for its time", ""),
        ("_sample_action", "value: acting by the backend", "learning_starts action_noise n_envs",
         ":OffPolicyAlgorithm.collect_rollouts"),
        ("_store_transition", "value: rewards are checked, episodes counted, copies saved",
         "replay_buffer buffer_action new_obs reward dones infos", ":OffPolicyAlgorithm.collect_rollouts"),
        ("_on_step", "value: target and epsilon after each step", "", ":OffPolicyAlgorithm.collect_rollouts"),
        ("collect_rollouts", "value: the step at which a callback stops is finished, from the locals that it saw",
         "env callback train_freq replay_buffer action_noise learning_starts log_interval",
         ":OffPolicyAlgorithm.learn"),
        ("train", "value: the learning rule", "gradient_steps batch_size", ":OffPolicyAlgorithm.learn"),
        ("load_replay_buffer", "value: a loaded buffer draws from our generator", "path truncate_last_traj"),
    ),
    *within("stable_baselines3.common.on_policy_algorithm:OnPolicyAlgorithm",
        ("_setup_model", "policy_gradient: replaced whole, the buffer is our own", ""),
        ("collect_rollouts", "policy_gradient: whole episodes", "env callback rollout_buffer n_rollout_steps",
         ":OnPolicyAlgorithm.learn"),
        ("train", "policy_gradient: the learning rule", "", ":OnPolicyAlgorithm.learn"),
    ),
    *within("stable_baselines3.dqn.dqn:DQN",
        ("__init__", "value: arguments are passed on by name",
         "policy env learning_rate buffer_size learning_starts batch_size tau gamma train_freq gradient_steps "
         "replay_buffer_class replay_buffer_kwargs optimize_memory_usage n_steps target_update_interval "
         "exploration_fraction exploration_initial_eps exploration_final_eps max_grad_norm stats_window_size "
         "tensorboard_log policy_kwargs verbose seed device _init_setup_model"),
        ("_setup_model", "value: called with attributes of the user replaced for its time", ""),
        ("_on_step", "value: replaced, its warning and its count of calls are ours", ""),
        ("_excluded_save_params", "value: extended", ""),
        ("_n_calls", "value: counted by our _on_step; a checkpoint keeps it"),
        ("batch_norm_stats", "value: no part of a model file"),
        ("batch_norm_stats_target", "value: no part of a model file"),
        ("train", "value: replaced"),
        ("exploration_schedule", "value: epsilon of now"),
    ),
    *within("stable_baselines3.dqn.policies:DQNPolicy",
        ("_build", "value: the policies for stock DQN start their noise after it", "lr_schedule",
         ":DQNPolicy.__init__"),
        ("make_q_net", "value: returns a network of ours", "", ":DQNPolicy._build"),
        ("net_args", "value: arguments of a Q network"),
        ("_predict", "value: predicts by q_net", "obs deterministic"),
        ("_get_constructor_parameters", "value: extended by the head's", ""),
        ("set_training_mode", "value: switched only when something changes"),
    ),
    *within("stable_baselines3.common.policies:BaseModel",
        ("_update_features_extractor", "value: a features extractor for each Q network",
         "net_kwargs features_extractor"),
        ("_get_constructor_parameters", "value, policy_gradient: what a policy is rebuilt from", "", ":BaseModel.save"),
        ("set_training_mode", "policy_gradient: noise is drawn, and modules walked, on its edges", "mode",
         ":BasePolicy.predict"),
        ("extract_features", "value, policy_gradient: features of a network of ours"),
        ("is_vectorized_observation", "value, policy_gradient: one observation or several"),
    ),
    *within("stable_baselines3.common.policies:BasePolicy",
        ("_predict", "value, policy_gradient: free of noise where deterministic", "observation deterministic",
         ":BasePolicy.predict"),
    ),
    *within("stable_baselines3.common.policies:ActorCriticPolicy",
        ("_build", "policy_gradient: what differs is added after it", "lr_schedule", ":ActorCriticPolicy.__init__"),
        ("_build_mlp_extractor", "policy_gradient: a trunk, or no critic", "", ":ActorCriticPolicy._build"),
        ("_predict", "policy_gradient: free of noise where deterministic", "observation deterministic"),
        ("_get_action_dist_from_latent", "policy_gradient: a spread that depends on the state", "latent_pi",
         ":ActorCriticPolicy.forward :ActorCriticPolicy.evaluate_actions :ActorCriticPolicy.get_distribution"),
        ("_get_constructor_parameters", "policy_gradient: extended; it leaves share_features_extractor out", ""),
        ("forward", "policy_gradient: free of noise where deterministic", "obs deterministic"),
        ("action_net", "policy_gradient, backends: the actor's last layer"),
        ("value_net", "policy_gradient, backends: the critic's last layer"),
        ("log_std", "policy_gradient, backends: the spread of SB3's Gaussian"),
        ("mlp_extractor", "policy_gradient, backends: both streams"),
        ("share_features_extractor", "policy_gradient: without a critic there is one extractor"),
    ),
    *within("stable_baselines3.common.torch_layers:MlpExtractor",
        ("policy_net", "policy_gradient, backends: the actor's stream"),
        ("value_net", "policy_gradient, backends: the critic's stream"),
        ("forward_actor", "policy_gradient: behind a trunk"),
        ("forward_critic", "policy_gradient: behind a trunk"),
    ),
    *within("stable_baselines3.common.torch_layers:BaseFeaturesExtractor",
        ("_features_dim", "value: convolutions without SB3's layer after them have another width"),
    ),
    *within("stable_baselines3.common.torch_layers:NatureCNN",
        ("linear", "value: left out where the streams follow the convolutions"),
    ),
    *within("stable_baselines3.common.distributions:DiagGaussianDistribution",
        ("proba_distribution_net", "policy_gradient: a head of μ and none of σ", "latent_dim log_std_init",
         "stable_baselines3.common.policies:ActorCriticPolicy._build"),
    ),
    *within("stable_baselines3.common.preprocessing:",
        ("get_action_dim", "policy_gradient: width of both heads"),
    ),
    *within("stable_baselines3.td3.policies:TD3Policy",
        ("_build", "policy_gradient: noise starts after it", "lr_schedule", ":TD3Policy.__init__"),
        ("make_actor", "policy_gradient: its linear layers are made noisy", "features_extractor", ":TD3Policy._build"),
        ("_get_constructor_parameters", "policy_gradient: extended", ""),
        ("_predict", "policy_gradient: free of noise where deterministic", "observation deterministic"),
    ),
    *within("stable_baselines3.sac.policies:SACPolicy",
        ("_build", "policy_gradient: noise starts after it", "lr_schedule", ":SACPolicy.__init__"),
        ("make_actor", "policy_gradient: its linear layers are made noisy", "features_extractor", ":SACPolicy._build"),
        ("_get_constructor_parameters", "policy_gradient: extended", ""),
        ("_predict", "policy_gradient: free of noise where deterministic", "observation deterministic"),
    ),
    *within("stable_baselines3.common.buffers:BaseBuffer",
        ("__init__", "replay: called past the constructors between, which allocate",
         "buffer_size observation_space action_space device n_envs"),
        ("_normalize_obs", "replay: by VecNormalize's statistics, when a batch is drawn", "obs env"),
        ("_normalize_reward", "replay: likewise", "reward env"),
        ("_get_samples", "replay: SB3's form of a batch", "batch_inds env", ":BaseBuffer.sample"),
    ),
    *within("stable_baselines3.common.buffers:ReplayBuffer",
        ("_maybe_cast_dtype", "replay: float64 actions are kept as float32", "dtype"),
        ("add", "replay: one row a transition", "obs next_obs action reward done infos",
         "stable_baselines3.common.off_policy_algorithm:OffPolicyAlgorithm._store_transition"),
        ("_get_samples", "replay: replaced, as in the class between", "batch_inds env"),
    ),
    *within("stable_baselines3.common.buffers:NStepReplayBuffer",
        ("__init__", "replay: SB3 asks a buffer with a horizon to be one, with n_steps and gamma",
         "args n_steps gamma kwargs"),
        ("_get_samples", "replay: replaced", "batch_inds env"),
    ),
    *within("stable_baselines3.her.her_replay_buffer:HerReplayBuffer",
        ("_current_ep_start", "replay: part of a buffer's file"),
    ),
    *within("gymnasium.core:Wrapper",
        ("_action_space", "sb3: no state of an env that is written down"),
        ("_observation_space", "sb3: no state of an env that is written down"),
        ("_metadata", "sb3: no state of an env that is written down"),
        ("_cached_spec", "sb3: no state of an env that is written down"),
    ),
    *within("gymnasium.utils.record_constructor:RecordConstructorArgs",
        ("_saved_kwargs", "sb3: no state of an env that is written down"),
    ),
    *within("stable_baselines3.common.vec_env.base_vec_env:VecEnv",
        ("_get_indices", "sb3: which of the envs are meant", "indices"),
        ("_seeds", "sb3: of the next reset"),
        ("_options", "sb3: of the next reset"),
        ("_reset_seeds", "sb3: used once", ""),
        ("_reset_options", "sb3: used once", ""),
        ("reset_infos", "sb3: infos of resets"),
    ),
    *within("stable_baselines3.common.vec_env.base_vec_env:CloudpickleWrapper",
        ("var", "a3c: envs and classes on their way to a process"),
    ),
    *within("stable_baselines3.common.vec_env.dummy_vec_env:DummyVecEnv",
        ("step_wait", "sb3: replaced by one with fewer copies"),
        ("_obs_from_buf", "sb3: replaced by one with fewer copies", "", ":DummyVecEnv.reset"),
        ("_save_obs", "sb3: called by ours", "env_idx obs"),
        ("buf_obs", "sb3: observations before they are handed out"),
        ("buf_rews", "sb3: rewards before they are handed out"),
        ("buf_dones", "sb3: ends before they are handed out"),
        ("buf_infos", "sb3: infos before they are handed out"),
    ),
    *within("stable_baselines3.common.vec_env.util:",
        ("dict_to_obs", "sb3: the form of observations", "obs_space obs_dict",
         "stable_baselines3.common.vec_env.dummy_vec_env:DummyVecEnv._obs_from_buf"),
    ),
    *within("stable_baselines3.common.vec_env.subproc_vec_env:SubprocVecEnv",
        ("step_wait", "sb3: fails where environments differ in the shape of what they return"),
        ("processes", "runs: ended where one of them has died"),
    ),
    *within("stable_baselines3.common.vec_env.vec_normalize:VecNormalize",
        ("ret_rms", "runs: statistics that a checkpoint keeps"),
        ("obs_rms", "runs: statistics that a checkpoint keeps"),
        ("returns", "runs: statistics that a checkpoint keeps"),
    ),
    *within("stable_baselines3.common.running_mean_std:RunningMeanStd",
        ("mean", "runs: statistics that a checkpoint keeps"),
        ("var", "runs: statistics that a checkpoint keeps"),
        ("count", "runs: statistics that a checkpoint keeps"),
    ),
    *within("stable_baselines3.common.monitor:Monitor",
        ("rewards", "runs: of the episode in hand"),
        ("needs_reset", "runs: whether there is an episode in hand"),
        ("episode_returns", "runs: the scores of an evaluation"),
        ("episode_lengths", "runs: the scores of an evaluation"),
    ),
    *within("stable_baselines3.common.callbacks:BaseCallback",
        ("_on_step", "runs, sb3: asked after each step", "", ":BaseCallback.on_step"),
        ("_on_rollout_start", "runs: where a checkpoint is taken", "", ":BaseCallback.on_rollout_start"),
        ("_on_training_start", "runs: a clock starts", "", ":BaseCallback.on_training_start"),
        ("_on_training_end", "runs: the last look", "", ":BaseCallback.on_training_end"),
    ),
    *within("stable_baselines3.common.callbacks:CallbackList",
        ("_on_step", "runs: ends algorithms that do not heed their callbacks", ""),
    ),
    *within("stable_baselines3.common.logger:Logger",
        ("name_to_value", "runs, a3c: what was recorded since the last row"),
    ),
    *within("stable_baselines3.common.logger:",
        ("filter_excluded_keys", "runs: what a CSV does not hold"),
    ),
    *within("stable_baselines3.common.utils:ConstantSchedule",
        ("val", "saving: its attributes are its state"),
    ),
    *within("stable_baselines3.common.utils:FloatSchedule",
        ("value_schedule", "saving: its attributes are its state"),
    ),
    *within("stable_baselines3.common.utils:LinearSchedule",
        ("start", "saving: its attributes are its state"),
        ("end", "saving: its attributes are its state"),
        ("end_fraction", "saving: its attributes are its state"),
    ),
    *within("stable_baselines3.common.noise:NormalActionNoise",
        ("_mu", "saving: its attributes are its state"),
    ),
    *within("stable_baselines3.common.noise:OrnsteinUhlenbeckActionNoise",
        ("_theta", "saving: its attributes are its state"),
    ),
    *within("stable_baselines3.common.noise:VectorizedActionNoise",
        ("_base_noise", "saving: its attributes are its state"),
    ),
    *within("stable_baselines3.common.type_aliases:TrainFreq",
        ("frequency", "saving: a named tuple"),
        ("unit", "saving: a named tuple"),
    ),
    *within("stable_baselines3.common.utils:",
        ("get_parameters_by_name", "backends: running statistics of batch norm"),
        ("polyak_update", "backends: the target follows", "params target_params tau"),
    ),
    *within("stable_baselines3.common.save_util:",
        ("open_path", "saving: refuses what SB3 refuses", "path mode verbose suffix"),
    ),
    *within("sb3_contrib.qrdqn.policies:QRDQNPolicy",
        ("quantile_net", "value: quantiles under a risk measure"),
    ),
    *within("sb3_contrib.qrdqn.qrdqn:QRDQN",
        ("exploration_rate", "value: epsilon of a prediction that explores"),
    ),
    *within("sys:",
        ("_getframe", "config: whose line a warning is about"),
    ),
    *within("os:",
        ("_exit", "sb3: a process that reads its script again leaves without a word", "status"),
    ),
    *within("optuna.storages:",
        ("get_storage", "tuning: a database with Optuna's cache of finished trials", "storage"),
    ),
    *within("optuna.study:Study",
        ("_storage", "tuning: the storage behind a study"),
        ("_pop_waiting_trial_id", "tuning: ask takes a waiting trial, which is a ticket", "", ":Study.ask"),
    ),
    *within("optuna.storages:BaseStorage",
        ("create_new_trial", "tuning: ask makes a trial where none waits; refused where no ticket is left",
         "study_id template_trial", "optuna.study:Study.ask"),
        ("set_trial_state_values", "tuning: a waiting trial is taken, and put back", "trial_id state values",
         "optuna.study:Study._pop_waiting_trial_id"),
    ),
    *within("optuna.storages:RDBStorage",
        ("engine", "tuning: on SQLite every transaction takes the write lock"),
    ),
    *within("optuna.samplers:BaseSampler",
        ("infer_relative_search_space", "tuning: nothing where the point is given"),
        ("sample_relative", "tuning: a stream for each trial"),
        ("sample_independent", "tuning: a stream for each trial"),
        ("after_trial", "tuning: a stream for each trial"),
        ("reseed_rng", "tuning: a stream for each trial"),
    ),
    *within("gymnasium.core:Env",
        ("_np_random", "envs: put back with a saved state"),
        ("_np_random_seed", "envs: saved with a state"),
    ),
    *within("gymnasium.vector.vector_env:VectorEnv",
        ("_np_random", "envs: put back with a saved state"),
        ("_np_random_seed", "envs: saved with a state"),
    ),
    *within("torch.nn:Module",
        ("_modules", "networks: a linear layer is replaced by a noisy one"),
        ("_buffers", "backends: a tenth of the time of an attribute"),
        ("_parameters", "backends: who the parameters are, in a tenth of the time of a walk"),
    ),
    *within("torch.optim:Optimizer",
        ("state", "backends: moments are guests on the same memory"),
        ("param_groups", "backends: rates"),
    ),
    Internal("torch._compile:_disable_dynamo", "backends: imports the compiler when what it wraps is first called",
             "fn recursive"),
)
# fmt: on
LEAVES = {row.name.rpartition(".")[2].rpartition(":")[2] for row in INTERNALS}
NAMES = {row.name for row in INTERNALS}

# Tables as they are called in a database of studies: by them another program's are told from Optuna's.
TABLES = {"StudyModel": "studies", "VersionInfoModel": "version_info"}
#: No library's name, though one of theirs happens to be called alike, or made by Python for every class.
NOT_THEIRS = {"_abc_impl", "_backward_cls"}


# -------------------------------------------------------------------------------------------------- the rows hold


@functools.cache
def tree_of(thing: Any) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(thing)))


def find(name: str) -> tuple[Any, str]:
    """Return the owner of a name and its last part."""
    module, _, path = name.partition(":")
    owner: Any = importlib.import_module(module)
    *parts, leaf = path.split(".")
    return functools.reduce(getattr, parts, owner), leaf


@functools.cache
def made_by(cls: type[Any]) -> frozenset[str]:
    """Return the names of attributes that a class says it has: in its body, or assigned to `self`."""
    found = {*vars(cls), *vars(cls).get("__annotations__", {})}
    for node in ast.walk(tree_of(cls)):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            found.add(node.attr)
    return frozenset(found)


def theirs(cls: type[Any]) -> bool:
    return cls.__module__.partition(".")[0] in LIBRARIES and not cls.__module__.startswith("torch._C")


@pytest.mark.parametrize("row", INTERNALS, ids=lambda row: row.name)
def test_it_is_still_there(row: Internal) -> None:
    owner, leaf = find(row.name)
    assert hasattr(owner, leaf) or any(leaf in made_by(cls) for cls in owner.__mro__ if theirs(cls)), row.why
    if row.parameters is not None:
        found = [name for name in inspect.signature(getattr(owner, leaf)).parameters if name != "self"]
        assert found == row.parameters.split(), row.why


@pytest.mark.parametrize("row", [row for row in INTERNALS if row.called_by], ids=lambda row: row.name)
def test_it_is_still_called(row: Internal) -> None:
    leaf = row.name.rpartition(".")[2].rpartition(":")[2]
    for caller in row.called_by.split():
        owner, name = find(row.name.partition(":")[0] + caller if caller.startswith(":") else caller)
        calls = {
            ast.unparse(node.func) for node in ast.walk(tree_of(getattr(owner, name))) if isinstance(node, ast.Call)
        }
        assert any(re.search(rf"\b{leaf}$", call) for call in calls), f"{caller}: {row.why}"


@pytest.mark.parametrize("model", TABLES)
def test_tables_of_optuna(model: str) -> None:
    owner, leaf = find(f"optuna.storages._rdb.models:{model}")
    assert getattr(owner, leaf).__tablename__ == TABLES[model]


@pytest.mark.parametrize("url", [None, "sqlite://"])
def test_a_trial_of_optuna_is_taken_once_put_back_and_ended_once(url: str | None) -> None:
    """What the queue of a budget is made of."""
    import optuna
    from optuna.trial import TrialState

    storage = optuna.storages.get_storage(url)
    study = optuna.create_study(storage=storage)
    study.add_trial(optuna.create_trial(state=TrialState.WAITING, user_attrs={"ticket": 7}))
    study_id = storage.get_study_id_from_name(study.study_name)
    trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, 0)
    trial = study.ask()
    assert (trial.number, trial.user_attrs) == (0, {"ticket": 7})
    trial.suggest_float("x", 0, 1)
    assert not storage.set_trial_state_values(trial_id, TrialState.RUNNING)  # somebody has it
    assert storage.set_trial_state_values(trial_id, TrialState.WAITING)
    assert study.trials[0].state == TrialState.WAITING
    again = study.ask()
    assert (again.number, again.params) == (0, trial.params)
    study.tell(again, 1.0)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        storage.set_trial_state_values(trial_id, TrialState.WAITING)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        storage.set_trial_user_attr(trial_id, "replaced", True)
    for number in (1, 2):
        made = storage.create_new_trial(study_id, optuna.create_trial(state=TrialState.WAITING))
        assert storage.get_trial_number_from_id(made) == number


def test_a_subprocess_of_sb3_ends_quietly_on_eoferror() -> None:
    owner, leaf = find("stable_baselines3.common.vec_env.subproc_vec_env:_worker")
    handlers = [node for node in ast.walk(tree_of(getattr(owner, leaf))) if isinstance(node, ast.ExceptHandler)]
    assert any(handler.type is not None and "EOFError" in ast.unparse(handler.type) for handler in handlers)


def test_sb3_has_not_changed_what_its_value_objects_are_made_of() -> None:
    from stable_baselines3.common import noise, utils

    assert list(vars(utils.ConstantSchedule(1.0))) == ["val"]
    assert list(vars(utils.FloatSchedule(1.0))) == ["value_schedule"]
    assert list(vars(utils.LinearSchedule(1.0, 0.0, 0.5))) == ["start", "end", "end_fraction"]
    assert {"_mu", "_sigma"} <= set(vars(noise.NormalActionNoise(0.0, 1.0)))  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------- and no row is missing


def modules(package: ModuleType) -> Iterator[ModuleType]:
    yield package
    for found in pkgutil.iter_modules(getattr(package, "__path__", ())):
        if found.name not in ("train", "enjoy", "tune", "compare") or package is not sb3_course:
            yield from modules(importlib.import_module(f"{package.__name__}.{found.name}"))


@pytest.fixture(scope="module")
def ours() -> dict[ModuleType, ast.Module]:
    """Return the tree of each module of the package."""
    return {module: ast.parse(Path(str(module.__file__)).read_text("utf-8")) for module in modules(sb3_course)}


def classes(ours: dict[ModuleType, ast.Module]) -> list[type[Any]]:
    named = (item for module in ours for item in vars(module).values() if isinstance(item, type))
    return sorted({cls for cls in named if cls.__module__.startswith("sb3_course")}, key=lambda cls: cls.__qualname__)


def private(name: str) -> bool:
    return re.fullmatch(r"_[a-z]\w*", name) is not None and name not in NOT_THEIRS


def test_every_private_method_that_we_override_has_a_row(ours: dict[ModuleType, ast.Module]) -> None:
    missing = set()
    for cls in classes(ours):
        for index, own in enumerate(cls.__mro__):
            if not own.__module__.startswith("sb3_course"):
                continue
            for base in filter(theirs, cls.__mro__[index + 1 :]):
                both = {name for name in vars(own).keys() & vars(base).keys() if private(name)}
                rows = {f"{base.__module__}:{base.__qualname__}.{name}": name for name in both}
                missing |= {f"{own.__qualname__} overrides {row}" for row in rows if not has_row(base, rows[row])}
    assert sorted(missing) == []


def has_row(base: type[Any], name: str) -> bool:
    """Tell whether a row names this attribute of this class, under whatever path it is imported by."""
    ends = f":{base.__qualname__}.{name}"
    top = base.__module__.partition(".")[0]
    return any(row.endswith(ends) and row.startswith(top) for row in NAMES)


def test_every_private_attribute_that_we_use_has_a_row(ours: dict[ModuleType, ast.Module]) -> None:
    everything = [node for tree in ours.values() for node in ast.walk(tree)]
    defined = {node.name for node in everything if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    defined |= {node.attr for node in everything if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    foreign = {cls: {name for base in cls.__mro__ if theirs(base) for name in made_by(base) if private(name)}
               for cls in classes(ours)}  # fmt: skip
    every = set().union(*foreign.values())
    missing = set()
    for module, tree in ours.items():
        within = {
            id(node): foreign.get(getattr(module, outer.name, None), set())
            for outer in tree.body if isinstance(outer, ast.ClassDef) for node in ast.walk(outer)
        }  # fmt: skip
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and private(node.attr):
                mine = ast.unparse(node.value) in ("self", "cls", "super()")
                used = node.attr in (within.get(id(node), set()) if mine else every)
                if (used or not (mine or node.attr in defined)) and node.attr not in LEAVES:
                    missing.add(f"{module.__name__}:{node.lineno} uses {node.attr}")
            elif isinstance(node, ast.Constant) and node.value in every - LEAVES:
                missing.add(f"{module.__name__}:{node.lineno} names {node.value}")
    assert sorted(missing) == []


def test_every_private_module_or_name_that_we_import_has_a_row(ours: dict[ModuleType, ast.Module]) -> None:
    missing = set()
    for module, tree in ours.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                base = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
                names = [base + name.name for name in node.names]
                hidden = [name for name in names if name.partition(".")[0] in LIBRARIES and "._" in name]
                missing |= {f"{module.__name__}: {name}" for name in hidden if name not in {*NAMES}}
    assert sorted(missing) == []


@pytest.mark.parametrize(
    ("check", "where", "row"),
    [
        (test_every_private_method_that_we_override_has_a_row, "NAMES", "LeanVecEnv overrides .*_obs_from_buf"),
        (test_every_private_attribute_that_we_use_has_a_row, "LEAVES", "sb3.vec_env:.* uses _save_obs"),
        (test_every_private_attribute_that_we_use_has_a_row, "LEAVES", "saving.model_file:.* names _custom_logger"),
    ],
)  # fmt: skip
def test_a_missing_row_is_noticed(
    check: Any, where: str, row: str, ours: dict[ModuleType, ast.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "_" + row.partition(" ")[2].partition("_")[2]
    rows = {each for each in globals()[where] if not each.endswith(name)}
    monkeypatch.setitem(check.__globals__, where, rows)
    with pytest.raises(AssertionError, match=row):
        check(ours)
