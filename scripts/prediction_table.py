"""A CSV file of predictions that grows line by line and can be taken up again."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from model_config import write_whole
from scripts.command_line import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Prediction:
    """What became of one picture."""

    file: str
    labels: Sequence[tuple[str, str, float | None]] = ()
    """`[[id, name, score], ...]`, best first; what has no score is named alone."""
    error: str = ""


class PredictionTable:
    """The file: `file,error,id_1,name_1,score_1,...`, one line a picture, on disk as soon as it is known."""

    def __init__(self, path: Path, *, top: int) -> None:
        """Open the file, or make it; lines of failures and a half-written last line are dropped.

        Raises:
            UserError: It cannot be written, or is another kind of table.
        """
        self.failures = 0
        self._top = top
        self._header = ["file", "error"]
        for rank in range(1, top + 1):
            self._header += [f"id_{rank}", f"name_{rank}", f"score_{rank}"]
        done = self._read(path)
        self._done = {row[0] for row in done}
        try:
            write_whole(path, _csv_text([self._header, *done]))
            self._file = path.open("a", encoding="utf-8", newline="")
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}.") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def has(self, file: str) -> bool:
        """Whether a picture has its line already."""
        return _spelled_out(file) in self._done

    def add(self, prediction: Prediction) -> None:
        """Write a picture's line."""
        self.failures += bool(prediction.error)
        row = [prediction.file, prediction.error]
        for label_id, name, score in prediction.labels[: self._top]:
            row += [label_id, name, "" if score is None else f"{score:.6f}"]
        row += [""] * (len(self._header) - len(row))
        self._file.write(_csv_text([[_spelled_out(cell) for cell in row]]))
        self._file.flush()

    def _read(self, path: Path) -> list[list[str]]:
        """The whole lines of pictures that did not fail."""
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            rows = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))
        except (OSError, UnicodeDecodeError, csv.Error):
            raise UserError(f"{path} cannot be read as a table; name another with --out.") from None
        if text and (not rows or rows[0] != self._header):
            raise UserError(
                f"{path} holds something else, or was made with another --top; delete it, or name another with --out."
            )
        return [row for row in rows[1:] if len(row) == len(self._header) and not row[1]]


def _csv_text(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _spelled_out(text: str) -> str:
    r"""As UTF-8 and csv can hold it: half a character (what no UTF-8 in a file's name becomes) as `\udcff`, CR as `\r`."""
    return text.encode(errors="backslashreplace").decode().replace("\r", "\\r")
