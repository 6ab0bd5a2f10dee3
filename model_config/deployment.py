"""A whole models file."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_config.checks import ConfigError, check_choice, check_keys
from model_config.made_from import difference, facts
from model_config.places import saved_models_dir
from model_config.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from model_config.model import ModelConfig

MODEL_SERVERS = ("separate", "shared")


@dataclass(frozen=True, slots=True)
class Deployment:
    """A whole models file."""

    path: Path
    model_servers: str
    """`separate`: a model server for each table without `upstream`; `shared`: one for all of them."""
    models: Mapping[str, ModelConfig]


def load_deployment(path: Path, *, env: Mapping[str, str] = os.environ) -> Deployment:
    """Read and check a models file.

    Args:
        path: The TOML file, or a link to it; relative paths in it are relative to the file's own folder.
        env: `SAVED_MODELS_DIR` is the default parent of base paths (default: `saved_models` beside the project).

    Raises:
        ConfigError: The file cannot be read, or says something that is not allowed.
    """
    path = Path(os.path.realpath(path))
    document = _read_toml(path)
    tables = {name: value for name, value in document.items() if isinstance(value, dict)}
    settings = {name: value for name, value in document.items() if name not in tables}
    check_keys(settings, ("model_servers",), where=f"{path}, top level")
    model_servers = settings.get("model_servers", "separate")
    check_choice(model_servers, MODEL_SERVERS, where=f"{path}, key 'model_servers'")
    if not tables:
        raise ConfigError(f"{path} declares no model; add a table such as [my_model].")
    saved_models = saved_models_dir(env)
    models = {
        name: Table(path, name, table).model_config(saved_models) for name, table in tables.items()
    }
    _check_servables_differ(models.values(), path)
    _check_versions_stand_for_all(models.values(), path)
    return Deployment(path=path, model_servers=model_servers, models=models)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(
            f"There is no models file {path}; name one with --models or MODELS_FILE."
        ) from None
    except OSError as error:
        raise ConfigError(f"The models file {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    except (ValueError, RecursionError) as error:  # besides TOML's own: numbers too long to be read
        raise ConfigError(f"{path} is not valid TOML: {error}.") from None


def _check_servables_differ(models: Iterable[ModelConfig], path: Path) -> None:
    """Two tables may share a servable only if they mean the same versions on disk."""
    base_paths: dict[str, tuple[str, Path]] = {}
    for model in models:
        other, base_path = base_paths.setdefault(model.servable, (model.name, model.base_path))
        if base_path != model.base_path:
            raise ConfigError(
                f"{path}: tables [{other}] and [{model.name}] name the same servable '{model.servable}' with"
                " different base paths; give one of them another 'servable'."
            )


def _check_versions_stand_for_all(models: Iterable[ModelConfig], path: Path) -> None:
    """Tables that are answered by the same versions, made here, must mean the same: a version is made from one of them.

    A version that somebody else made may be tried with several ways to preprocess.
    """
    makers: dict[tuple[Path, tuple[str, ...]], ModelConfig] = {}
    for model in sorted(models, key=lambda model: not model.is_made_here):
        maker = makers.setdefault((model.base_path, model.upstream), model)
        fact = difference(facts(maker), facts(model)) if maker.is_made_here else None
        if fact:
            raise ConfigError(
                f"{path}: tables [{maker.name}] and [{model.name}] are answered by the same versions, in {model.base_path},"
                f" and differ in '{fact}'; make it the same, or give one of them another 'servable' or 'base_path'."
            )
