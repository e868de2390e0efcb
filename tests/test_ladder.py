"""The ladder of training compute, climbed with a few steps of everything."""

import json
import os
import subprocess
import sys

import pytest

from tests import experiment

LADDER = experiment.ROOT / "experiments" / "scaling" / "ladder.py"


@pytest.mark.slow
def test_smoke_climbs_from_clips_to_the_verdict(tmp_path):
  done = subprocess.run(
      [sys.executable, LADDER, "--tier=smoke", f"--out={tmp_path}"],
      env=os.environ | {"PYTHONPATH": str(experiment.ROOT)}, capture_output=True,
      text=True, timeout=900)
  assert done.returncode == 0, done.stderr[-2000:]
  results = tmp_path / "results"
  runs = [json.loads(line) for line in
          (results / "runs.jsonl").read_text().splitlines()]
  assert [r["role"] for r in runs] == [
      "pilot", "surface", "surface", "base", "four", "top"]
  assert all(r["status"] == "done" and r["loss"]["all"] > 0 for r in runs)
  first, top = runs[3], runs[-1]
  assert top["loss"]["all"] < first["loss"]["all"]
  assert top["flops"] == pytest.approx(32 * first["flops"], rel=0.05)
  assert all(r["facts"]["colour"]["n"] == 4 for r in runs[3:])
  said = json.loads((results / "prediction.json").read_text())
  assert said["made"] < top["began"] and top["prediction"] == said["digest"]
  verdict = json.loads((results / "verdict.json").read_text())
  assert verdict["loss"]["value"] == top["loss"]["all"]
  for name in ("tables.md", "loss.png", "facts.png", "sheet.png"):
    assert (results / name).stat().st_size
