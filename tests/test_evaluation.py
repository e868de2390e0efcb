"""Scores are right where the answer is known, and the verb writes them."""

import dataclasses
import importlib.util
import json
import pathlib
import types

import numpy as np
import pytest
from scipy import stats

from sora_jax import worlds as world_lib
from sora_jax.cli import evaluate
from sora_jax.data.sources import mixture
from sora_jax.data.sources import world
from sora_jax.evaluation import cases
from sora_jax.evaluation import quality
from sora_jax.evaluation import real
from sora_jax.evaluation import suites
from sora_jax.evaluation import vae
from sora_jax.evaluation import videos
from sora_jax.evaluation import worlds
from sora_jax.media import video_io
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import parse

ROOT = pathlib.Path(__file__).parent.parent
SIZES = [(48, 48), (64, 40)]
METRICS = ["colour", "shape", "count", "direction", "all_three",
           "all_attributes", "motion", "survives"]


class Oracle:
  """A pipeline that draws the truth of the prompts it knows; a perfect VAE."""

  def __init__(self, todo, digest="d"):
    self.model = types.SimpleNamespace(digest=digest)
    self.truth = {(c.prompt, c.seed, c.cell.size): c for c in todo}
    self.calls = []

  def generate_batch(self, prompts, size, frames, fps, seeds, **how):
    self.calls.append((size, len(prompts), frames, fps, how))
    return np.stack([self.truth[p, s, size].render()
                     for p, s in zip(prompts, seeds, strict=True)])

  def reconstruct(self, video):
    return video


class Noise(Oracle):
  """A pipeline and a VAE that know nothing."""

  def generate_batch(self, prompts, size, frames, fps, seeds, **how):
    rng = np.random.default_rng(seeds)
    return rng.integers(0, 256, (len(prompts), frames, size[1], size[0], 3),
                        np.uint8)


class Deaf(Oracle):
  """A pipeline that draws the same one truth whatever the prompt."""

  def generate_batch(self, prompts, size, frames, fps, seeds, **how):
    case = next(c for c in self.truth.values() if c.cell.size == size)
    return np.stack([case.render()] * len(prompts))


@pytest.fixture(scope="module")
def todo():
  return cases.draw(48, 3, SIZES)


def test_boxes_hold_the_objects_and_not_the_wall(todo):
  """Damage outside the boxes leaves the dB inside alone, and the reverse."""
  for case in todo[:8]:
    truth, mask = case.render(), parse.mask(case.facts)
    assert mask.any() and not mask.all()
    inside, outside = truth.copy(), truth.copy()
    inside[mask] ^= 64
    outside[~mask] ^= 64
    assert quality.psnr(truth, outside, mask) == quality.MAX_DB
    assert quality.psnr(truth, inside, mask) < 20
    # Saturated pixels are objects (worlds.facts): all lie in the boxes.
    spread = truth.max(-1).astype(int) - truth.min(-1)
    assert not (spread > 120)[~mask].any()
    if case.facts.wall:
      wall = np.array(facts_lib.DULL[case.facts.wall.colour])
      assert not (truth[mask] == wall).all(-1).any()


def test_cases_are_held_out_spread_over_all_cells_and_seeded(todo):
  again = cases.draw(24, 3, SIZES)
  assert again == todo[:24]
  assert cases.draw(24, 4, SIZES) != again
  cells = {c.cell for c in todo}
  assert len(cells) == 24  # every cell, in 48 cases twice
  for case in todo:
    assert all(facts_lib.is_held_out(o.colour, o.shape, o.direction)
               for o in case.facts.objects)
    asked = dict(case.cell.options)
    assert len(case.facts.objects) == asked["objects"]
    assert case.facts.world == case.cell.world
    plain = case.facts.background.kind == "plain"
    assert plain == (asked["background"] == "plain")
    simplest = asked == {"objects": 1, "background": "plain"}
    assert case.cell.is_simplest == simplest
  assert len({c.seed for c in todo}) == len(todo)


def run(pipeline, todo, out):
  return worlds.evaluate(pipeline, cases.Request(todo, out, seed=3))


def test_an_oracle_scores_its_ceiling(todo, tmp_path):
  best = run(Oracle(todo), todo, tmp_path)
  assert list(best["metrics"]) == METRICS
  for name in METRICS:
    m = best["metrics"][name]
    assert m["value"] == m["ceiling"] > 0.95, name
    assert m["n"] == (24 if name in ("survives", "motion") else 48)
    assert m["low"] <= m["value"] <= m["high"]
    assert m["floor"] < m["low"] - 0.4, name
  assert best["one_object_plain"]["all_attributes"]["n"] == 8
  assert json.loads((tmp_path / "results.json").read_text()) == best
  assert len(best["cells"]) == 24
  names = {p.name for p in (tmp_path / "sheets").iterdir()}
  assert names == {f"{w}_{x}x{y}.png" for w in ("balls", "occluder")
                   for x, y in SIZES}
  assert "occluder 3 textured 64x40" in (tmp_path / "tables.md").read_text()


@pytest.mark.slow
def test_noise_scores_its_floor_and_nothing_as_a_whole(todo, tmp_path):
  """The parser finds specks in white noise, so that single attributes, the
  count above all, are right by chance; a whole prompt never is."""
  m = run(Noise(todo), todo, tmp_path)["metrics"]
  for name in METRICS:
    n, right = m[name]["n"], round(m[name]["value"] * m[name]["n"])
    # Eight metrics are looked at: each may differ by chance at 1 in 1,000.
    assert stats.binomtest(right, n, m[name]["floor"]).pvalue > 1e-3, name
    assert m[name]["ceiling"] > 0.95
  for name in ("all_three", "all_attributes", "survives"):
    assert m[name]["value"] == 0


def test_nothing_parsed_counts_as_wrong(todo):
  grey = np.full((17, 48, 48, 3), 128, np.uint8)
  for case in todo[:12]:
    answers = worlds.answers(case, case.parse(grey))
    assert answers and not any(answers.values())


def test_a_model_that_ignores_its_prompt_scores_its_floor(todo, tmp_path):
  m = run(Deaf(todo), todo, tmp_path)["metrics"]
  for name in ("colour", "shape", "direction", "all_attributes"):
    assert abs(m[name]["value"] - m[name]["floor"]) < 0.2
    assert m[name]["high"] < m[name]["ceiling"]


def test_batches_are_full_and_of_one_size_and_a_stopped_run_goes_on(
    todo, tmp_path):
  first = Oracle(todo)
  drawn = videos.generate(first, todo, tmp_path, 5, steps=7)
  assert all(c[1:] == (5, 17, 8.0, {"steps": 7}) for c in first.calls)
  assert [c[0] for c in first.calls] == [(48, 48)] * 5 + [(64, 40)] * 5
  for case, video in zip(todo, drawn):
    np.testing.assert_array_equal(video, case.render())
  (tmp_path / "00003.npz").unlink()
  (tmp_path / "00004.npz").write_bytes(b"cut short")
  second = Oracle(todo)
  again = videos.generate(second, todo, tmp_path, 5, steps=7)
  assert sum(c[1] for c in second.calls) <= 10
  for a, b in zip(drawn, again):
    np.testing.assert_array_equal(a, b)
  other = Oracle(todo, "e")  # another model: nothing is taken over
  videos.generate(other, todo[:5], tmp_path, 5, steps=7)
  assert sum(c[1] for c in other.calls) >= 5


def test_the_floor_of_a_single_case_is_unknown(todo, tmp_path):
  result = run(Oracle(todo), todo[:1], tmp_path)
  assert result["metrics"]["colour"]["floor"] is None
  assert result["metrics"]["colour"]["n"] == 1


def test_the_vae_suite_knows_a_perfect_and_a_blind_vae(todo, tmp_path):
  request = cases.Request(todo[:8], tmp_path, seed=3)
  perfect = vae.evaluate(vae.Codec(lambda v: v, "d"), request)["metrics"]
  assert perfect["psnr"]["value"] == perfect["psnr_objects"]["value"] == 100
  assert perfect["ssim"]["value"] == pytest.approx(1)
  assert perfect["kept"]["value"] == 1 and perfect["truth"]["value"] > 0.95
  blind = vae.evaluate(vae.Codec(
      lambda v: np.full_like(v, 128), "d"), request)["metrics"]
  assert blind["kept"]["value"] == 0 and blind["psnr"]["value"] < 25
  assert "kept colour" in (tmp_path / "tables.md").read_text()
  assert (tmp_path / "worlds.png").stat().st_size > 1000


def test_real_clips_are_read_from_a_folder(tmp_path):
  video = np.random.default_rng(0).integers(0, 256, (5, 16, 20, 3), np.uint8)
  video_io.write(tmp_path / "a.mp4", video, 8.0)
  result = vae.real_report(
      lambda v: v, real.find(str(tmp_path)), tmp_path / "sheet.png")
  assert result["psnr"]["n"] == 1 and result["psnr"]["value"] == 100
  assert [c["file"] for c in result["clips"]] == ["a.mp4"]
  (tmp_path / "empty").mkdir()
  with pytest.raises(ValueError, match="holds no video"):
    real.find(str(tmp_path / "empty"))


@pytest.mark.parametrize("flags, error", [
    (["--model=tiny"], "--out=DIR is needed"),
    (["--out=x", "--sizes=64"], "--sizes=64: give WxH"),
    (["--out=x", "--suite=emergence", "--modes=edit"], "for --suite=prompting"),
    (["--out=x", "--worlds=marbles"], "'marbles' cannot be evaluated"),
    (["--out=x", "--objects=9"], "'9' cannot be evaluated"),
    (["--out=x", "--backgrounds=pink"], "'pink' cannot be evaluated"),
    (["--out=x", "--modes=dance"], "'dance' cannot be evaluated"),
    (["--out=x", "--objects="], "--objects= names none"),
    (["--out=x", "worlds"], "'worlds' is no flag"),
    (["--out=x", "--worlds=occluder", "--frames=3"], "use more frames"),
    (["--out=x", "--model=/nowhere"], "there is no model '/nowhere'"),
])
def test_bad_flags_are_one_clear_line(flags, error, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(ValueError, match=error):
    evaluate.run(["evaluate", "--count=2", *flags])


def test_the_verb_writes_and_prints_the_scores(tmp_path, monkeypatch, capsys):
  pipeline = Oracle(cases.draw(4, 0, [(48, 48)]), "0123456789abcdef")
  monkeypatch.setattr(worlds, "load", lambda name: pipeline)
  assert evaluate.run(["evaluate", "--model=m", "--suite=worlds", "--count=4",
                       "--sizes=48x48", "--batch=2", "--steps=3",
                       "--method=euler", f"--out={tmp_path}"]) == 0
  result = json.loads((tmp_path / "results.json").read_text())
  assert result["model_digest"] == "0123456789abcdef" and result["steps"] == 3
  assert pipeline.calls[0][1] == 2
  assert pipeline.calls[0][-1] == {"steps": 3, "guidance": None,
                                   "method": "euler"}
  assert "0123456789ab" in capsys.readouterr().out


def test_real_clips_held_out_share_no_frame_with_those_to_train_on():
  spec = importlib.util.spec_from_file_location(
      "collect", ROOT / "experiments" / "real_footage" / "collect.py")
  collect = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(collect)
  for n in (68, 120, 795):
    parts = collect.cut(np.arange(n)[:, None, None, None])
    train, held = (np.concatenate(parts[k]).ravel() for k in (
        "train", "heldout"))
    assert held.min() - train.max() > collect.GAP
    assert all(len(c) % 4 == 1 and 9 <= len(c) <= collect.FRAMES
               for p in parts.values() for c in p)
    assert len(train) + len(held) > 0.8 * n - collect.GAP


@dataclasses.dataclass(frozen=True)
class Lamp:
  """Facts that share nothing with those of other worlds."""

  size: tuple
  frames: int
  fps: float
  level: int


class Lamps:
  """A world of grey frames, without options and with a float for a score."""

  SHORTEST, OPTIONS = 0.0, {}

  def sample(self, key, size, frames, fps, held_out=False):
    return Lamp(size, frames, fps, int(key.integers(256)))

  def render(self, facts):
    w, h = facts.size
    return np.full((facts.frames, h, w, 3), facts.level, np.uint8)

  def describe(self, facts, key):
    return (f"grey {facts.level}",) * 2

  def parse(self, video, fps):
    return float(video.mean())

  def score(self, facts, observed):
    far = abs(observed - facts.level)
    return {"bright": far < 3, "near": 1 - far / 255}


def test_a_world_is_known_by_its_functions_alone(tmp_path, monkeypatch):
  monkeypatch.setitem(world_lib.WORLDS, "lamps", Lamps())
  todo = cases.draw(4, 0, [(48, 48)], names=["lamps"])
  assert [str(c.cell) for c in todo] == ["lamps 48x48"] * 4
  found = run(Oracle(todo), todo, tmp_path)["metrics"]
  assert {k: m["value"] for k, m in found.items()} == {"bright": 1, "near": 1}
  assert found["bright"]["n"] == 4 and found["near"]["floor"] < 1
  request = cases.Request(todo, tmp_path)
  kept = vae.evaluate(vae.Codec(lambda v: v, "d"), request)["metrics"]
  assert kept["kept"]["n"] == 4 and kept["psnr_objects"]["value"] is None
  with pytest.raises(ValueError, match="'lamps' has no objects"):
    suites.SUITES["prompting"].evaluate(Oracle(todo), request)
  source = mixture.mix("world:lamps", world.WorldOptions(count=2))
  assert json.loads(source[1].facts) == {"level": source.sources[0].draw(1)[1].level}
  assert source[1].captions[0].startswith("grey ")
