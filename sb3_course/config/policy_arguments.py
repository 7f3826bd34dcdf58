"""The rows of `policy_kwargs`, which every policy of ours checks; part of the one table of arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from annotated_types import Predicate

from sb3_course.config.argument import PER_ALGORITHM, Argument, unwrap
from sb3_course.config.argument_types import NonNegative, Options, Positive

_WIDTHS = "a list of integers >= 1, e.g. [64, 64], or a mapping of such lists"


def is_net_arch(value: Any) -> bool:
    """Widths of hidden layers, or those of each stream by its name; see `unlisted`."""
    value = unlisted(value)
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _is_widths(widths) for name, widths in value.items())
    return _is_widths(value)


def unlisted(net_arch: Any) -> Any:
    """Return widths as they are, a mapping out of a list: SB3's old form of those of each stream."""
    listed = isinstance(net_arch, list) and len(net_arch) == 1 and isinstance(net_arch[0], Mapping)
    return net_arch[0] if listed else net_arch


def _is_widths(value: Any) -> bool:
    if not isinstance(value, list | tuple) and getattr(value, "ndim", None) != 1:
        return False
    return all(type(width) is int and width >= 1 for width in map(unwrap, value))


NetArch = Annotated[Any, Predicate(is_net_arch)]
Widths = Annotated[Any, Predicate(_is_widths)]


def policy_rows() -> list[Argument]:
    """Return the rows; defaults are the policies' own."""

    def a(name: str, kind: Any, text: str, want: str | None = None) -> Argument:
        return Argument(name, kind, text, PER_ALGORITHM, "SB3", "policy", want=want)

    layer, optimizer = "a module's class, e.g. torch.nn.ReLU", "an optimizer's class, e.g. torch.optim.Adam"
    return [
        a("net_arch", NetArch | None, "widths of the hidden layers, those of each stream by its name", _WIDTHS),
        a("shared_layers", Widths | None, "widths of a trunk shared by actor and critic", _WIDTHS),
        a("activation_fn", Callable[..., Any], "class of the activations", layer),
        a("optimizer_class", Callable[..., Any], "class of the optimizer", optimizer),
        a("optimizer_kwargs", Options, "its keyword arguments besides the learning rate"),
        a("features_extractor_class", type[Any] | None, "class of the features extractor"),
        a("features_extractor_kwargs", Options, "its keyword arguments"),
        a("normalize_images", bool, "divide images by 255"),
        a("head", str, "from features to the values of actions"),
        a("noisy_kwargs", Options, "noise, kind and sigma0 of noisy layers"),
        a("noisy_streams", Sequence[str] | None, "which streams of a dueling head are noisy; None: all"),
        a("rescale_gradient", bool, "1/sqrt(2) of the gradient that enters the streams' common part"),
        a("bias", bool, "whether the plain head's layers have biases"),
        a("init_std", NonNegative | None, "standard deviation of the first weights; None: torch's own"),
        a("init_bound", Positive | None, "bound of uniform first weights; None: torch's own"),
        a("ortho_init", bool, "orthogonal first weights"),
        a("log_std_init", float, "logarithm of the first standard deviation of actions"),
        a("full_std", bool | None, "a parameter for each pair of feature and action (gSDE)"),
        a("squash_output", bool | None, "bound actions by tanh (gSDE)"),
        a("share_features_extractor", bool, "one features extractor for actor and critic"),
        a("critic", bool, "whether there is a value network"),
    ]
