"""The prompting suite knows a model that does all and one that does nothing."""

import dataclasses
import json
import types

import numpy as np
import pytest

from sora_jax.encoding import video as video_lib
from sora_jax.evaluation import cases
from sora_jax.evaluation import continuity
from sora_jax.evaluation import prompting
from sora_jax.evaluation import prompting_modes
from sora_jax.worlds import facts as facts_lib

pytestmark = pytest.mark.quick_compile

MODES = ("animate", "extend", "loop", "edit", "connect", "inpaint", "upscale")


def draw(case, frames, facts=None):
  return case.world.render(
      dataclasses.replace(facts or case.facts, frames=frames))


class Oracle:
  """Draws the truth of the prompts it knows; a perfect VAE."""

  def __init__(self, todo, digest="d"):
    self.model = types.SimpleNamespace(digest=digest)
    self.cases, self.calls = {c.prompt: c for c in todo}, 0

  def reconstruct(self, video):
    return video

  def generate(self, prompt, size, frames, fps, **how):
    self.calls += 1
    return video_lib.cover(draw(self.cases[prompt], frames), size)

  def animate(self, image, prompt, frames, fps, **how):
    return self.generate(prompt, image.shape[1::-1], frames, fps)

  def extend(self, video, prompt, frames, direction="forward", fps=8, **how):
    size = video.shape[2], video.shape[1]
    return self.generate(prompt, size, len(video) + frames, fps)

  def loop(self, video, prompt, frames, size=None, fps=8, **how):
    size = (video.shape[2], video.shape[1]) if video is not None else size
    half = self.generate(prompt, size, frames // 2 if video is None else
                         len(video), fps)
    return np.concatenate([half, half[::-1]])

  def connect(self, a, b, prompt, frames, fps, **how):
    b = video_lib.cover(b, (a.shape[2], a.shape[1]))
    way = np.arange(1, frames + 1)[:, None, None, None] / (frames + 1)
    between = a[-1] + way * (b[0].astype(float) - a[-1])
    return np.concatenate([a, between.round().astype(np.uint8), b])

  def edit(self, video, prompt, strength, size=None, fps=8, **how):
    for case in self.cases.values():  # whose truth the video is
      if (draw(case, len(video)) == video).all():
        colour = next(c for c in facts_lib.COLOURS if f" {c} " in f" {prompt} ")
        thing, *others = case.facts.objects
        thing = dataclasses.replace(thing, colour=colour)
        return draw(case, len(video), dataclasses.replace(
            case.facts, objects=(thing, *others)))
    raise AssertionError("a video that it was not given")

  def upscale(self, video, size, prompt, fps, **how):
    return video_lib.cover(video, size)

  def inpaint(self, video, region, prompt, fps, **how):
    return video


class Deaf(Oracle):
  """Shows the same flickering grey whatever it is given."""

  def generate(self, prompt, size, frames, fps, **how):
    rng = np.random.default_rng(0)
    return rng.integers(90, 120, (frames, size[1], size[0], 3), np.uint8)

  def loop(self, video, prompt, frames, size=None, fps=8, **how):
    grey = super().loop(video, prompt, frames, size, fps)
    grey[len(grey) // 2:] += 80
    return grey

  def connect(self, a, b, prompt, frames, fps, **how):
    return self.generate(prompt, (a.shape[2], a.shape[1]),
                         len(a) + frames + len(b), fps)

  def edit(self, video, prompt, strength, size=None, fps=8, **how):
    return video

  def upscale(self, video, size, prompt, fps, **how):
    return 255 - self.generate(prompt, size, len(video), fps)

  def inpaint(self, video, region, prompt, fps, **how):
    return self.connect(video[:0], video, prompt, 0, fps)


@pytest.fixture(scope="module")
def todo():
  return cases.draw(6, 3, [(48, 48)], names=["balls"],
                    only={"objects": [1], "background": ["plain"]})


@pytest.fixture(scope="module")
def scores(todo, tmp_path_factory):
  """The metrics of both, and where the oracle's lie."""
  made = []
  for kind in (Oracle, Deaf):
    at = tmp_path_factory.mktemp("suite")
    made.append((prompting.evaluate(kind(todo), cases.Request(
        todo, at, seed=3, modes=MODES))["modes"], at))
  return made


@pytest.mark.slow
def test_a_model_that_does_all_reaches_the_ceiling(scores):
  (m, at), _ = scores
  value = lambda mode, name: m[mode][name]["value"]
  assert value("animate", "frame_0_psnr") == 100
  assert value("animate", "moves") == value("animate", "kept") == 1
  assert value("extend", "follows") == value("extend", "kept") == 1
  for mode, name in (("extend", "seam_ratio"), ("extend", "backward_seam_ratio"),
                     ("loop", "prompt_ratio"), ("connect", "a_seam_ratio")):
    assert value(mode, name) < 1.5, name
  assert value("edit", "both_0.7") == 1
  assert value("connect", "a_psnr") == value("connect", "b_psnr") == 100
  assert value("connect", "monotone") == pytest.approx(1)
  assert value("connect", "largest_jump") < .3
  assert value("inpaint", "outside_psnr") == 100
  assert value("upscale", "same_psnr") > 25
  written = json.loads((at / "results.json").read_text())
  assert written["modes"] == m and written["suite"] == "prompting"
  assert "## extend" in (at / "tables.md").read_text()
  assert len(list((at / "sheets").iterdir())) == len(MODES)


def test_a_model_that_does_nothing_reaches_the_floor(scores):
  _, (m, _) = scores
  value = lambda mode, name: m[mode][name]["value"]
  assert value("animate", "frame_0_psnr") < 25
  assert value("animate", "moves") == value("animate", "kept") == 0
  assert value("extend", "follows") == value("extend", "kept") == 0
  assert value("loop", "prompt_ratio") > 1.5
  assert value("edit", "both_0.7") == m["edit"]["both_0.7"]["floor"] == 0
  assert value("connect", "a_psnr") < 25 and abs(
      value("connect", "monotone")) < .5
  assert value("upscale", "same_psnr") < 25


def test_floors_and_ceilings_stand_apart(scores):
  (m, _), _ = scores
  for mode, name, best in (("extend", "follows", 1), ("animate", "moves", 1),
                           ("edit", "changed_0.7", 1)):
    assert m[mode][name]["ceiling"] == best and m[mode][name]["floor"] == 0
  assert m["extend"]["seam_ratio"]["floor"] > 3 > (
      m["extend"]["seam_ratio"]["ceiling"])
  assert m["animate"]["frame_0_psnr"]["floor"] < 25


def test_a_run_goes_on_and_another_model_starts_anew(todo, tmp_path):
  again = lambda model: prompting.evaluate(model, cases.Request(
      todo[:2], tmp_path, seed=3, modes=("upscale",)))
  model, other = Oracle(todo), Oracle(todo, "e")
  first = again(model)
  made = model.calls
  assert made and again(model) == first and model.calls == made
  again(other)
  assert other.calls == made


def test_a_seam_is_seen():
  moving = np.zeros((16, 8, 40, 3), np.uint8)
  for i in range(16):
    moving[i, :, 2 * i:2 * i + 4] = 200
  assert continuity.seam_ratio(moving, 8) == pytest.approx(1)
  broken = np.concatenate([moving[:8], moving[8:] + 50])
  assert continuity.seam_ratio(broken, 8) > 2
  assert continuity.loop_ratio(moving) == pytest.approx(2, rel=.3)
  around = np.concatenate([moving, moving[-2:0:-1]])
  assert continuity.loop_ratio(around) == pytest.approx(1)
  assert continuity.seam_ratio(np.zeros((9, 8, 8, 3), np.uint8), 4) == 0
  fade = np.arange(0, 160, 10, np.uint8)[:, None, None, None] + moving[:1] // 4
  assert continuity.drift(fade) == pytest.approx(140, abs=15)
  assert continuity.monotone(fade, fade[0], fade[-1]) == pytest.approx(1)
  assert continuity.monotone(fade[::-1], fade[0], fade[-1]) == pytest.approx(-1)
  flat = np.concatenate([moving[:8], np.zeros_like(moving[:8])])
  assert continuity.contrast(flat) == 0
  assert prompting_modes.HEAD % 4 == 1 and prompting_modes.NEW % 4 == 0
