"""Folders with what systems leave in them."""

import os

import pytest

from pcfdsl.readers.folders import files_below, files_in, folders_in, is_debris


@pytest.fixture
def folder(tmp_path):
    names = ("b/x.PLY", "a.ply", "a.txt", "._a.ply", ".DS_Store", "Thumbs.db", "@eaDir/a.ply", "__MACOSX/b/._x.ply")
    for name in (*names, "b/.cache/x.ply", "b/@eaDir/x.ply", "c/deep/er/y.ply"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.ply").mkdir()
    return tmp_path


def test_debris_is_passed_over_and_endings_may_be_in_any_case(folder):
    def names(paths):
        return [path.relative_to(folder).as_posix() for path in paths]

    assert names(files_below(folder, (".ply",))) == ["a.ply", "b/x.PLY", "c/deep/er/y.ply"]
    assert names(files_below(folder)) == ["a.ply", "a.txt", "b/x.PLY", "c/deep/er/y.ply"]
    assert names(files_in(folder, (".ply",))) == ["a.ply"]
    assert names(folders_in(folder)) == ["b", "c", "folder.ply"]


def test_linked_folders_are_read_once(folder):
    os.symlink(folder / "c", folder / "d")
    os.symlink(folder, folder / "c" / "round")
    assert len(files_below(folder, (".ply",))) == 3
    assert len(files_below(folder / "d", (".ply",))) == 3  # by the way round


def test_a_folder_whose_own_path_is_hidden_is_read(tmp_path):
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "a.ply").touch()
    assert len(files_below(tmp_path / ".hidden")) == 1
    assert not is_debris("scan.01.ply")
