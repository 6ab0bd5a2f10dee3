from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from scripts.command_line import UserError
from scripts.version_archive import pack, unpack
from serving.export.versions import ExportError
from tests.scripts.running import assert_one_sentence, run_script

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A version's folder."""
    folder = tmp_path / "here" / "00000123"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"index")
    return folder


def write_archive(path: Path, *members: tarfile.TarInfo) -> Path:
    """An archive of a proper version and these members."""
    with tarfile.open(path, "w:gz") as file:
        for member in (tarfile.TarInfo("1/saved_model.pb"), *members):
            file.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> tarfile.TarInfo:  # fmt: skip
    """A member of an archive."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


def everything_below(folder: Path) -> set[str]:
    """The names of all files and folders."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_a_version_travels_whole(version: Path, tmp_path: Path) -> None:
    """What is packed is unpacked, under its own number or another."""
    pack(version, tmp_path / "model.tar.gz")
    for number, name in ((None, "00000123"), ("7", "7")):
        copy = unpack(tmp_path / "model.tar.gz", tmp_path / "there", version=number)
        assert copy == tmp_path / "there" / name
        assert everything_below(copy) == everything_below(version)
        assert (copy / "variables" / "variables.index").read_bytes() == b"index"


def test_what_links_lead_to_is_packed(version: Path, tmp_path: Path) -> None:
    """A version may be a link, and its files links of either kind: elsewhere they would lead nowhere."""
    linked = tmp_path / "linked" / "5"
    linked.parent.mkdir()
    linked.symlink_to(version)
    (version / "hard").hardlink_to(version / "saved_model.pb")
    (version / "soft").symlink_to(version / "variables" / "variables.index")
    pack(linked, tmp_path / "model.tar.gz")
    copy = unpack(tmp_path / "model.tar.gz", tmp_path / "there")
    assert (copy / "hard").read_bytes() == b"graph"
    assert (copy / "soft").read_bytes() == b"index"
    assert not [path for path in copy.rglob("*") if path.is_symlink()]


def test_a_link_that_leads_nowhere_is_named(version: Path, tmp_path: Path) -> None:
    """Not the archive, which can be written."""
    (version / "lost").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"00000123/lost cannot be packed: No such file"):
        pack(version, tmp_path / "model.tar.gz")


def test_a_hostile_name_is_told_as_text(tmp_path: Path) -> None:
    """What would move the terminal's cursor is escaped."""
    archive = write_archive(tmp_path / "a.tar.gz", member("1/\x1b[2J\nx", tarfile.FIFOTYPE))
    with pytest.raises(UserError) as refused:
        unpack(archive, tmp_path / "there")
    assert str(refused.value).isprintable()


def test_an_archive_tells_nothing_of_who_made_it(version: Path, tmp_path: Path) -> None:
    """Neither names nor numbers of a user stand in it."""
    pack(version, tmp_path / "model.tar.gz")
    with tarfile.open(tmp_path / "model.tar.gz") as file:
        assert {(info.uid, info.gid, info.uname, info.gname) for info in file} == {(0, 0, "", "")}


def test_what_tar_writes_is_taken(version: Path, tmp_path: Path) -> None:
    """`tar czf model.tar.gz ./00000123` names its members with a dot in front."""
    with tarfile.open(tmp_path / "model.tgz", "w:gz") as file:
        file.add(version, arcname="./00000123")
    assert unpack(tmp_path / "model.tgz", tmp_path / "there").name == "00000123"


@pytest.mark.parametrize(
    "bad",
    [
        member("../escaped"),
        member("1/../../escaped"),
        member("/tmp/escaped"),
        member("1\\..\\escaped"),
        member("1/link", tarfile.SYMTYPE, "/etc"),
        member("1/link", tarfile.LNKTYPE, "1/saved_model.pb"),
        member("1/device", tarfile.CHRTYPE),
        member("1/pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda info: f"{info.name} {info.type!r}",
)
def test_an_archive_cannot_write_elsewhere(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    """Paths that lead out, links and devices are refused, and nothing is written at all."""
    archive = write_archive(tmp_path / "bad.tar.gz", bad)
    with pytest.raises(UserError, match="is refused"):
        unpack(archive, tmp_path / "there" / "model")
    assert everything_below(tmp_path) == {"bad.tar.gz"}


def test_an_archive_of_several_folders_is_refused(tmp_path: Path) -> None:
    """One version is what an archive holds."""
    archive = write_archive(tmp_path / "two.tar.gz", member("2/saved_model.pb"))
    with pytest.raises(UserError, match="holds no version"):
        unpack(archive, tmp_path / "there")


def test_a_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not fit on the disk is not begun."""
    archive = write_archive(tmp_path / "bomb.tar.gz", member("1/zeros", size=5000))
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 4000}))
    with pytest.raises(UserError, match="5,000 bytes"):
        unpack(archive, tmp_path / "there")
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize("keep", [0, 10, 60, -20])
def test_a_cut_archive_leaves_nothing(version: Path, tmp_path: Path, keep: int) -> None:
    """A download that broke off is refused, and no version appears."""
    pack(version, tmp_path / "whole.tar.gz")
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes((tmp_path / "whole.tar.gz").read_bytes()[:keep])
    with pytest.raises(UserError, match=r"cut\.tar\.gz"):
        unpack(cut, tmp_path / "there")
    assert not list(tmp_path.glob("there/*"))


def test_a_version_is_not_overwritten(version: Path, tmp_path: Path) -> None:
    """A number that is taken is refused."""
    pack(version, tmp_path / "model.tar.gz")
    with pytest.raises(ExportError, match="version 123 already"):
        unpack(tmp_path / "model.tar.gz", version.parent)


def test_the_newest_version_of_a_table_is_packed(tmp_path: Path) -> None:
    """With --model the script finds the versions by the models file; an empty folder with a higher number is none."""
    (tmp_path / "models.toml").write_text("[m]\ninput_size = [8, 8]\nbase_path = 'm'\n")
    for number in ("9", "10"):
        (tmp_path / "m" / number).mkdir(parents=True)
        (tmp_path / "m" / number / "saved_model.pb").write_bytes(b"")
    (tmp_path / "m" / "11").mkdir()
    arguments = ["package_model", "pack", "--models", "models.toml", "--model", "m"]
    process = run_script(*arguments, "--out", "m.tar.gz", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    with tarfile.open(tmp_path / "m.tar.gz") as file:
        assert "10/saved_model.pb" in file.getnames()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pack"], "--model"),
        (["pack", "nowhere"], "is no version"),
        (["unpack", "none.tar.gz", "--base-path", "x"], "No such file"),
        (["unpack", "none.tar.gz"], "--model"),
        (["unpack", __file__, "--base-path", "x"], "is no tar archive"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, arguments: list[str], words: str) -> None:
    """No traceback for what a person mistypes."""
    assert_one_sentence(run_script("package_model", *arguments, cwd=tmp_path), words)
