"""models.toml -> frozen `ModelConfig` values: the one description of the models that all programs share.

A mistake is a `ConfigError` whose sentence names the file, the table, the key and what is allowed. Imports nothing
but the standard library, so that every program can afford it.
"""

from model_config.architectures import ARCHITECTURES
from model_config.checks import ConfigError
from model_config.deployment import Deployment, load_deployment
from model_config.labels import Label
from model_config.model import ModelConfig
from model_config.places import PROJECT, models_file, named_path, state_dir, weights_dir
from model_config.to_type import command_to_type
from model_config.versions import changed_version_labels, read_version_labels, version_folders
from model_config.whole_files import digest_of, write_whole

__all__ = [
    "ARCHITECTURES",
    "PROJECT",
    "ConfigError",
    "Deployment",
    "Label",
    "ModelConfig",
    "changed_version_labels",
    "command_to_type",
    "digest_of",
    "load_deployment",
    "models_file",
    "named_path",
    "read_version_labels",
    "state_dir",
    "version_folders",
    "weights_dir",
    "write_whole",
]
