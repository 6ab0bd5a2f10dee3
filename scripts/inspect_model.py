"""Show what a model takes and gives: the signatures of a SavedModel in a folder, or of one that a server serves."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from model_config import version_folders
from model_config.versions import SAVED_MODEL_FILES, holds_saved_model
from scripts.command_line import UserError, run
from scripts.model_choice import add_models_argument, pick_model, read_models
from scripts.model_server import HINT
from scripts.served_versions import served_signatures

EPILOG = """\
examples:
  inspect_model.py saved_models/digits                          every version under a base path
  inspect_model.py saved_models/digits/1                        one version
  inspect_model.py http://127.0.0.1:9002/v1/models/digits       a served model
  inspect_model.py --model digits                               the base path of a table of the models file
"""


def main() -> None:
    """Print the signatures of what the command line names."""
    arguments = _arguments()
    if arguments.model:
        target = str(pick_model(read_models(arguments.models), arguments.model).base_path)
    else:
        target = arguments.target
    if target.startswith(("http://", "https://")):
        print_signatures(target, served_signatures(target, f"{HINT}, or name another URL"))
        return
    for folder in _versions(Path(target)):
        print_signatures(str(folder), saved_signatures(folder))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("target", nargs="?", help="a folder, or the URL of a served model")
    which.add_argument("--model", metavar="NAME", help="a table of the models file")
    add_models_argument(parser)
    return parser.parse_args()


def _versions(folder: Path) -> list[Path]:
    """The folder itself if it holds a SavedModel, else the versions in it, oldest first.

    Raises:
        UserError: There is neither.
    """
    if holds_saved_model(folder):
        return [folder]
    versions = version_folders(folder)
    if not versions:
        raise UserError(f"{folder} holds no SavedModel and no versions of one.")
    return [*versions.values()]


def saved_signatures(folder: Path) -> dict[str, Any]:
    """The signatures of a version, in the JSON of a model server's metadata.

    Raises:
        UserError: It cannot be read.
    """
    # Here, since a served model needs none of them.
    from google.protobuf import text_format  # noqa: PLC0415
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415
    from google.protobuf.message import DecodeError  # noqa: PLC0415
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel  # noqa: PLC0415

    path = next(folder / name for name in SAVED_MODEL_FILES if (folder / name).is_file())
    try:
        if path.suffix == ".pb":
            saved_model = SavedModel.FromString(path.read_bytes())
        else:
            saved_model = text_format.Parse(path.read_text(encoding="utf-8"), SavedModel())
    except (OSError, UnicodeDecodeError, DecodeError, text_format.ParseError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    for graph in saved_model.meta_graphs:
        if "serve" in graph.meta_info_def.tags:
            message = MessageToDict(graph, preserving_proto_field_name=True)
            return dict(message.get("signature_def", {}))
    raise UserError(f"{folder} holds no graph with the tag 'serve', which model servers load.")


def print_signatures(title: str, signatures: dict[str, Any]) -> None:
    """Print what each signature takes and gives, with dtypes and shapes."""
    print(title)
    for name, signature in sorted(signatures.items()):
        if name.startswith("__saved_model"):
            continue
        print(f"  {name}")
        for verb, tensors in (("takes", "inputs"), ("gives", "outputs")):
            for tensor, info in sorted(signature.get(tensors, {}).items()):
                print(f"    {verb}  {tensor}: {_dtype(info)} {_shape(info)}")


def _dtype(info: dict[str, Any]) -> str:
    names = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_HALF": "float16"}
    dtype = str(info.get("dtype", "DT_INVALID"))
    return names.get(dtype, dtype.removeprefix("DT_").lower())


def _shape(info: dict[str, Any]) -> str:
    """`[?, 224, 224, 3]`; `?` is any number."""
    shape = info.get("tensor_shape", {})
    if shape.get("unknown_rank"):
        return "of any shape"
    sizes = [str(dimension.get("size", 0)) for dimension in shape.get("dim", [])]
    return f"[{', '.join('?' if size == '-1' else size for size in sizes)}]"


if __name__ == "__main__":
    run(main)
