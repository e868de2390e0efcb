"""The ladder of training compute: its rules, its law, its order of events."""

import dataclasses
import json
import types

from ml_collections import config_dict
import numpy as np
from PIL import Image
import pytest

from sora_jax.diffusion import flow
from sora_jax.formats import find
from tests import experiment
from tests import tiny_model

ladder = experiment.load("scaling/ladder")
family, fit, lines, predict, report, tiers = (
    ladder.family, ladder.fit, ladder.lines, ladder.predict, ladder.report,
    ladder.tiers)
measure = ladder.run.measure
TIER = dataclasses.replace(
    tiers.TIERS["hour"], base=1e12, seeds=(3, 1), draws=8,
    prompts=dict(pilot=0, surface=0, base=96, four=96, top=304))
LAW = fit.Law(0.4, 0.12, 0.45, 0.5, 0.5)
WORKS = {w: family.Work(12 * w**3 // 32, 12 * 512 * 6.0 * w**3 / 32, 500.0, 19.0)
         for w in TIER.widths}


def line(job, prediction=None, *, began=100.0, loss=None, status="done"):
  """The line of a job whose loss is that of LAW."""
  work = WORKS[job.width]
  tokens = job.budget / work.flops * work.tokens
  noise = np.random.default_rng(abs(hash((job.width, job.seed, job.budget))) % 2**32)
  value = loss or float(LAW.loss(work.params, tokens)
                        + 0.5 * np.log2(job.rate / 4e-3)**2 * 0.1
                        * (job.role == "pilot")) * (
                            1 + 0.002 * noise.standard_normal())
  right = float(1 / (1 + np.exp(min(12 * (value - 0.75), 50))))
  share = dict(value=right, low=right - 0.05, high=right + 0.05, n=96,
               floor=0.05, ceiling=1.0)
  asked = job.role not in ("pilot", "surface")
  return dict(
      tier="hour", name=job.name, role=job.role, width=job.width, layers=2,
      params=work.params, budget=job.budget, flops=job.budget, steps=100,
      tokens=tokens, clips=1.0, epochs=1.0, rate=job.rate, seed=job.seed,
      data="d", revision="r", prediction=prediction, hardware="cpu",
      began=began, status=status, gflops_per_s=30.0, curve=[[10, 2.0], [100, 1.0]],
      loss=dict(all=value), facts=dict.fromkeys(measure.FACTS, share)
      if asked else None)


@pytest.fixture
def coarse(monkeypatch):
  """A grid of few exponents, for what does not depend on it."""
  monkeypatch.setattr(fit, "EXPONENTS", np.array([0.35, 0.45, 0.5, 0.6]))


@pytest.fixture
def climbed(tmp_path, monkeypatch, coarse):
  """A ladder that was climbed, its runs made by LAW; the order they came in."""
  order = []

  def train(tier, job, out, prediction=None):
    order.append((job.role, prediction))
    return lines.add(out / "results", line(
        job, prediction, began=ladder.time.time()))

  monkeypatch.setattr(ladder, "data", lambda *args: None)
  monkeypatch.setattr(ladder, "works", lambda *args: WORKS)
  monkeypatch.setattr(ladder.run, "train", train)
  ladder.climb(TIER, tmp_path, "prediction")
  assert not any(role in ("top", "fixed") for role, _ in order)
  before = len(order)
  ladder.climb(TIER, tmp_path, "verdict")
  return tmp_path / "results", order, before


def test_the_order_of_events(climbed):
  results, order, before = climbed
  prediction = json.loads((results / "prediction.json").read_text())
  assert [p for _, p in order[:before]] == [None] * before
  assert {p for _, p in order[before:]} == {prediction["digest"]}
  assert order[before][0] == "top"  # nothing is trained twice
  verdict = json.loads((results / "verdict.json").read_text())
  assert verdict["loss"]["held"]
  assert abs(verdict["loss"]["off"]) < 0.02
  assert verdict["prediction"] == prediction["digest"]


def test_the_report_draws_what_is_there(climbed, tmp_path):
  results, _, _ = climbed
  other = tmp_path / "own.jsonl"
  mine = lines.sealed(line(ladder.run.Job("own", 96, 2e12, 1e-3)) | {"data": "x"})
  other.write_text(json.dumps(mine) + "\n")
  assert report.main([str(results), "--own", str(other)]) == 0
  text = (results / "tables.md").read_text()
  assert "Runs of others" in text and "Verdict: held" in text
  assert "95 % intervals apart" in text and "3 seeds at base" in text
  image = np.asarray(Image.open(results / "loss.png"))
  left, top, right, bottom = (17, 20, 590, 430)
  assert image[top + 2:bottom, left + 70:right].std() > 0


def test_an_edited_line_is_refused(climbed, capsys):
  results, _, _ = climbed
  path = results / lines.RUNS
  path.write_text(path.read_text().replace('"epochs": 1.0', '"epochs": 2.0', 1))
  assert report.main([str(results)]) == 2
  error = capsys.readouterr().err
  assert "line 1 was edited by hand" in error and error.count("\n") == 1


def test_a_prediction_newer_than_the_run_is_refused(climbed, capsys):
  results, _, _ = climbed
  path = results / "prediction.json"
  late = json.loads(path.read_text()) | {"made": 4e9}
  path.write_text(json.dumps(lines.sealed(late)))
  assert report.main([str(results)]) == 2
  assert "newer than the run" in capsys.readouterr().err
  path.write_text(json.dumps(lines.sealed(late | {"made": 1.0})))
  assert report.main([str(results)]) == 2
  assert "begun with the prediction" in capsys.readouterr().err


def test_a_miss_is_told_as_failed(coarse):
  runs = [lines.sealed(line(job)) for job in jobs()]
  said = predict.predict(TIER, runs, 128, WORKS)
  job = ladder.run.Job("top", 128, 32 * TIER.base, 1e-3)
  top = lines.sealed(line(job, said["digest"], began=4e9,
                          loss=1.05 * said["loss"]["value"]))
  assert not predict.verdict(said, [*runs, top])["held"]


def jobs():
  """A surface of runs, and one at 4x."""
  rate = lambda width: 1e-3
  return [*ladder.surface(TIER, rate), ladder.run.Job("four", 128, 4e12, 1e-3)]


def test_a_law_is_found_again():
  found = fit.points([line(job) for job in jobs()])
  exact = found.copy()
  exact[:, 2] = LAW.loss(found[:, 0], found[:, 1])
  law = fit.law(exact)
  np.testing.assert_allclose(law.loss(exact[:, 0], exact[:, 1]), exact[:, 2],
                             rtol=1e-3)
  assert (law.a, law.b) == (LAW.a, LAW.b)
  assert fit.best_width(law, 1e14, WORKS) > fit.best_width(law, 1e11, WORKS)


def test_too_few_budgets_are_refused_with_their_number():
  few = [line(job) for job in jobs() if job.budget >= TIER.base / 2
         and job.role != "four"]
  with pytest.raises(ValueError, match="have 2 budgets and a fit needs 3"):
    fit.points(few)


def test_diverged_and_cut_runs_are_named_and_enter_no_fit(coarse):
  runs = [lines.sealed(line(job)) for job in jobs()]
  bad = [lines.sealed(line(ladder.run.Job("base", 96, 1e12, 9.0), status=status,
                           loss=99.0) | {"why": "20 skips"})
         for status in ("diverged", "cut")]
  said = predict.predict(TIER, [*runs, *bad], 128, WORKS)
  assert said["law"] == predict.predict(TIER, runs, 128, WORKS)["law"]
  assert [text.split(": ")[1] for text in said["left_out"]] == [
      "diverged, 20 skips", "cut, 20 skips"]


@pytest.mark.parametrize("key", lines.ALIKE)
def test_runs_that_do_not_belong_together_are_refused(key, tmp_path):
  first, second = (line(job) for job in jobs()[:2])
  lines.add(tmp_path, first)
  with pytest.raises(ValueError, match=f"different {key} .* has other"):
    lines.add(tmp_path, second | {key: "other"})
  assert len(lines.read(tmp_path)) == 1


def test_a_line_that_is_cut_short_is_named(tmp_path):
  (tmp_path / lines.RUNS).write_text('{"status": "do')
  with pytest.raises(ValueError, match="line 1 is no JSON"):
    lines.read(tmp_path)


def test_a_tier_that_does_not_fit_memory_is_refused():
  with pytest.raises(ValueError, match=r"needs about .* GiB and there are 0\.0"):
    family.refuse_too_large(TIER, 128, WORKS[128], limit=1e6)
  family.refuse_too_large(TIER, 128, WORKS[128], limit=1e12)


@pytest.mark.parametrize("width", [32, 100, 0])
def test_a_width_that_is_none_of_the_family_is_refused(width):
  with pytest.raises(ValueError, match=f"width is {width}"):
    family.layers(width)


def test_a_run_has_five_parts_of_which_the_last_is_the_decay():
  steps = family.whole_steps(1e12, WORKS[96])
  assert steps % 5 == 0
  cfg = family.config(TIER, 96, steps, 1e-3, 0)
  assert cfg.loop.save_every * 5 == steps  # a save where the decay begins
  with pytest.raises(ValueError, match="fewer than 5 steps"):
    family.whole_steps(1e9, WORKS[96])


@pytest.mark.parametrize("tier", tiers.TIERS.values(), ids=tiers.TIERS)
def test_every_tier_has_configs_that_a_run_can_use(tier):
  from sora_jax.tasks import check
  for width in tier.widths:
    cfg = family.config(tier, width, 100, 1e-3, 0, asked=True)
    assert isinstance(cfg, config_dict.ConfigDict)
    check.check(cfg)
  assert set(tier.surface) <= set(tier.widths) and len(tier.fractions) >= 3
  assert "x base" in ladder.plan(tier)


def test_the_rule_of_the_rate():
  a, b = family.rate_rule({64: 8e-3, 128: 4e-3})
  assert b == pytest.approx(1) and a / 256 == pytest.approx(2e-3)
  assert family.rate_rule({64: 4e-3, 128: 8e-3})[1] == 0  # no rate that rises
  rates = (2e-3, 4e-3, 8e-3)
  assert family.best_rate(rates, [1.1, 1.0, 1.1]) == pytest.approx(4e-3)
  assert family.best_rate(rates, [1.0, 1.1, 1.2]) == pytest.approx(2e-3)
  with pytest.raises(ValueError, match="needs 2 widths, not 1"):
    family.rate_rule({64: 8e-3})


def test_the_shares_of_times_are_those_of_training():
  process = flow.Process(mean=0.6, std=1.2)
  rng = np.random.default_rng(0)
  t = 1 / (1 + np.exp(-process.mean - process.std * rng.standard_normal(100_000)))
  t[rng.random(100_000) < process.uniform] = np.nan
  t = np.where(np.isnan(t), rng.random(100_000), t)
  drawn = np.histogram(t, np.linspace(0, 1, 11))[0]
  np.testing.assert_allclose(drawn / drawn.sum(), measure.shares(process), atol=0.01)


def test_a_longer_run_goes_on_from_before_the_decay(tmp_path):
  short, longer = (ladder.run.Job("surface", 64, b, 1e-3) for b in (1e11, 2e11))
  other = ladder.run.Job("surface", 64, 1e11, 2e-3)
  for job, steps in ((short, (80, 100)), (other, (160, 200))):
    folder = tmp_path / "work" / job.name
    for step in steps:
      (folder / "checkpoints" / str(step)).mkdir(parents=True)
    (folder / "model").mkdir()
    (folder / "metrics.jsonl").write_text("{}\n")
  workdir = tmp_path / "work" / longer.name
  workdir.mkdir()
  ladder.run.fork(tmp_path, longer, types.SimpleNamespace(steps=200), workdir)
  assert [p.name for p in (workdir / "checkpoints").iterdir()] == ["80"]


@pytest.mark.parametrize("last, status", [
    (1.0, "done"), (3.0, "diverged"), (None, "diverged")])
def test_a_trained_run_becomes_a_model_and_a_line(last, status, tmp_path,
                                                  monkeypatch):
  rows = [{"step": step, "val_loss": loss, "surprise/balls/permanence": 0.5,
           "timing": {"tflops_per_s_per_chip": 0.03}}
          for step, loss in ((10, 2.0), (100, last))]
  (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
  monkeypatch.setattr(ladder.run.export, "model_of_run",
                      lambda workdir: (tiny_model.make(tmp_path), 100))
  monkeypatch.setattr(measure, "loss", lambda *args: {"all": 0.9})
  job = ladder.run.Job("pilot", 64, 1e11, 1e-3)
  found = ladder.run.finish(TIER, job, tmp_path, tmp_path)
  assert found["status"] == status
  assert (tmp_path / "model" / "model_index.json").exists() == (status == "done")
  if status == "done":
    assert found["gflops_per_s"] == pytest.approx(30)
    assert found["surprise"] == {"surprise/balls/permanence": 0.5}


@pytest.mark.parametrize("name", tiers.TIERS)
def test_a_tier_names_a_vae_that_there_is(name):
  assert find.find(tiers.TIERS[name].vae)


def test_a_command_that_fails_ends_the_ladder_with_a_line(tmp_path, capfd):
  wrong = dataclasses.replace(TIER, prepare=("world:nothing",))
  with pytest.raises(ValueError, match="sora-jax prepare ended with 2"):
    ladder.data(wrong, tmp_path)
  assert "nothing" in capfd.readouterr().err
