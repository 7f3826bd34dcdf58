"""What lies on disk: atomic files, arrays, spaces and plain values without pickle, manifests, states of generators."""

from sb3_course.saving.files import atomic_path, atomic_write
from sb3_course.saving.generators import rng_state, set_rng_state
from sb3_course.saving.manifest import MANIFEST, add_manifest, attributes_of, manifest_of, read_manifest, save_model

__all__ = [
    "MANIFEST",
    "add_manifest",
    "atomic_path",
    "atomic_write",
    "attributes_of",
    "manifest_of",
    "read_manifest",
    "rng_state",
    "save_model",
    "set_rng_state",
]
