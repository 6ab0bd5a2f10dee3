"""What every script does with its arguments and with a person's mistakes."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from model_config import (
    ARCHITECTURES,
    PROJECT,
    ConfigError,
    ModelConfig,
    load_deployment,
    models_file,
)
from serving.export.versions import ExportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

    from model_config import Deployment


class UserError(Exception):
    """Something that the person at the keyboard can put right; the message is one sentence that says how."""

    status = 1


def run(main: Callable[[], None]) -> NoReturn:
    """Run a script's `main`; a mistake is one sentence on standard error and an exit status, no traceback.

    SIGTERM ends it as Ctrl-C does: what is half done (a draft, a download of Keras') is removed on the way out.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        main()
    except (UserError, ConfigError, ExportError) as error:
        print(error, file=sys.stderr)
        sys.exit(getattr(error, "status", 1))
    except KeyboardInterrupt as interrupt:
        sys.exit(128 + (interrupt.args[0] if interrupt.args else signal.SIGINT))
    except BrokenPipeError:  # somebody's `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.filename is None:  # nothing that a person has named
            raise
        print(f"{error.filename}: {error.strerror}; name another path.", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # told again, it still removes what it has to
    raise KeyboardInterrupt(number)


def add_models_argument(parser: argparse.ArgumentParser) -> None:
    """Offer `--models FILE`."""
    parser.add_argument(
        "--models",
        type=Path,
        metavar="FILE",
        help="the models file (default: $MODELS_FILE, else the project's models.toml)",
    )


def whole_number(text: str) -> int:
    """The type of an argument that counts something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1 up")
    return int(text)


def counted(number: int, noun: str) -> str:
    """`1 picture`, `2 pictures`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def read_models(path: Path | None) -> Deployment:
    """Read the models file that `--models` named, or the default one."""
    return load_deployment(path or models_file())


def pick_model(deployment: Deployment, name: str) -> ModelConfig:
    """Find a model's table.

    Raises:
        UserError: There is none of that name.
    """
    if name in deployment.models:
        return deployment.models[name]
    hint = _nearest(name, deployment.models) or f"it has {', '.join(deployment.models)}."
    raise UserError(f"{deployment.path} has no table [{name}]; {hint}")


def pick_model_or_class(deployment: Deployment, name: str) -> ModelConfig:
    """Find a model's table, or take a class of `keras.applications` for a model with ImageNet's weights.

    Raises:
        UserError: It is neither.
    """
    if name in deployment.models:
        return deployment.models[name]
    if name not in ARCHITECTURES:
        hint = _nearest(name, [*deployment.models, *ARCHITECTURES]) or "name another."
        raise UserError(
            f"'{name}' is neither a table of {deployment.path} nor a class of keras.applications; {hint}"
        )
    convention, side = ARCHITECTURES[name]
    return ModelConfig(
        name,
        servable=name,
        base_path=PROJECT,
        architecture=name,
        weights="imagenet",
        preprocess=convention,
        input_size=(side, side),
    )


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean '{near[0]}'?" if near else ""


@contextlib.contextmanager
def tensorflow_chatter_hidden() -> Iterator[None]:
    """Keep what TensorFlow's C++ prints while it is imported off the screen, unless the import fails."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    sys.stderr.flush()
    screen = os.dup(2)
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            yield
        except BaseException:
            chatter.seek(0)
            os.write(screen, chatter.read())
            raise
        finally:
            os.dup2(screen, 2)
            os.close(screen)
