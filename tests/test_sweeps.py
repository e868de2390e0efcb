"""Samples of the sweeps of experiments/faults, which try thousands of cases."""

import os
import time

import experiment
import pytest

DATA = experiment.load("faults/data")
FLAGS = experiment.load("faults/flags")
MEDIA = experiment.load("faults/media")


@pytest.mark.slow
def test_edited_data_sets_are_read_or_one_line(tmp_path):
  folders = DATA.make(tmp_path)
  cases = DATA.cases(folders)
  assert len(cases) == DATA.CASES
  verdicts = []
  for i, case in enumerate(cases[::8]):
    verdict, said = DATA.judge(case[0], folders[case[0]], case, tmp_path / str(i))
    assert verdict != "BAD", (case, said)
    verdicts.append(verdict)
  assert {"taken", "one line"} == set(verdicts)
  for name in ("train.npy", DATA.SHARD):
    for what in ("gone", "pipe", "half"):
      case = ("latents", what, name, None)
      assert DATA.judge("latents", folders["latents"], case,
                        tmp_path / "x")[0] == "one line", case


def test_odd_media_are_read_or_one_line(tmp_path):
  assert len(MEDIA.odd_files.FILES) >= 60
  found = {}
  for path in MEDIA.write(tmp_path, 8):
    for reader, (verdict, said) in MEDIA.judge(path, None).items():
      assert verdict != "BAD", (path.name, reader, said)
      found[path.name, reader] = verdict
  assert set(found.values()) == {"taken", "one line"}
  assert found["loop.mp4", "prepare"] == "one line"


def test_wrong_values_of_flags_are_one_line(tmp_path, monkeypatch):
  monkeypatch.setenv("HF_HUB_OFFLINE", "1")
  os.symlink(experiment.ROOT / "configs", tmp_path / "configs")
  monkeypatch.chdir(tmp_path)
  cases = FLAGS.cases()
  assert len(cases) > 2500
  verdicts = []
  for verb, flag, value in cases[::41]:
    verdict, said = FLAGS.judge(verb, flag, value)
    assert verdict != "BAD", (verb, flag, value, said)
    verdicts.append(verdict)
  assert verdicts.count("refused") > len(verdicts) / 2
  for case in (("train", "nothing", "3"), ("evaluate", "fps", "1e400"),
               ("evaluate", "count", str(10**20))):  # the two drew for ever
    assert FLAGS.judge(*case)[0] == "refused", case


def test_what_takes_too_long_is_bad_though_all_errors_are_caught(
    tmp_path, monkeypatch):
  monkeypatch.setattr(DATA.hostile, "SECONDS", 1)
  monkeypatch.setattr(DATA.hostile, "SHARE", 1)

  def use(_):
    try:
      time.sleep(5)
    except Exception as e:  # pylint: disable=broad-except
      raise ValueError(f"{tmp_path}/copy: {e}") from e

  (tmp_path / "folder").mkdir()
  verdict, said = DATA.hostile.judge(
      tmp_path / "folder", tmp_path / "copy", lambda copy: None, use)
  assert verdict == "BAD" and "more than 1 s" in said
