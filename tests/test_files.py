"""The one writer of files: whole or not there, whatever ends the process."""

import errno
import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest

from sora_jax import files
from sora_jax.cli import errors
from sora_jax.data.store import manifest
from sora_jax.data.store import shards

WRITER = """
import os, signal, sys
from sora_jax import files
with files.atomic(sys.argv[1]) as file:
  file.write(b"half of what")
  file.flush()
  os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_is_killed_leaves_nothing(tmp_path):
  (tmp_path / "x").write_text("what was there")
  done = subprocess.run([sys.executable, "-c", WRITER, tmp_path / "x"],
                        check=False)
  assert done.returncode == -signal.SIGKILL
  assert os.listdir(tmp_path) == ["x"]
  assert (tmp_path / "x").read_text() == "what was there"


@pytest.mark.parametrize("lacks", ["nothing", "O_TMPFILE", "link"])
def test_files_are_written_on_all_file_systems(tmp_path, monkeypatch, lacks):
  """One without nameless files, and a system without /proc."""
  if lacks == "O_TMPFILE":
    monkeypatch.delattr(os, lacks, raising=False)
  if lacks == "link":
    def refused(*args, **named):
      raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    monkeypatch.setattr(os, "link", refused)
  monkeypatch.chdir(tmp_path)
  for text in ("the first", "a longer second"):
    files.write_text("x", text)
    assert (tmp_path / "x").read_text() == text
    assert os.listdir(tmp_path) == ["x"]
  os.umask(mask := os.umask(0))
  assert (tmp_path / "x").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_full_disk_is_one_line_with_the_file_and_what_to_do(tmp_path, capsys):
  with pytest.raises(OSError) as error, files.atomic(tmp_path / "x"):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
  assert errors.report("train", error.value) == 1
  said = capsys.readouterr().err
  assert str(tmp_path / "x") in said and "free some space" in said
  assert said.count("\n") == 1


def test_a_shard_that_does_not_fit_is_one_line_and_leaves_nothing(tmp_path):
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  records = ((np.random.default_rng(i).bytes(9999), (5, 32, 32, 8, 1))
             for i in range(9))
  try:  # as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    with pytest.raises(OSError, match="large.*train-00000.array_record"):
      shards.write_shard(tmp_path, "train", 0, records, manifest.PIXELS)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert not os.listdir(tmp_path / shards.PARTS)


@pytest.mark.parametrize("lacks", ["nothing", "O_TMPFILE"])
def test_what_cannot_be_written_leaves_nothing(tmp_path, monkeypatch, lacks):
  if lacks == "O_TMPFILE":
    monkeypatch.delattr(os, lacks, raising=False)
  (tmp_path / "folder").mkdir()
  with pytest.raises(IsADirectoryError):
    files.write_text(tmp_path / "folder", "text")
  with pytest.raises(FileNotFoundError):
    files.write_text(tmp_path / "none" / "x", "text")
  with pytest.raises(ZeroDivisionError), files.atomic(tmp_path / "x") as file:
    file.write(b"half")
    raise ZeroDivisionError
  assert os.listdir(tmp_path) == ["folder"]
