"""What is asked of each way of prompting, case by case.

Every number stands beside its ceiling (the truth through the VAE, where there
is one) and its floor (what a model would get that does not look at its prompt).

  animate   frame 0 is the image, and something moves
  extend    no seam, forward and backward; the object keeps colour and shape and
            goes where physics says; floor: the last frame repeated
  drift     four extensions, each of the one before
  loop      no seam from the last frame to the first, of clips and of prompts;
            floor: the clip played again
  edit      the colour becomes the one that is asked for and the object stays
            where it was, against the strength
  connect   the ends are those of A and B, the way from A to B is monotone, no
            jump; floor: a cut
  inpaint   a colour changed in a box and nothing outside of it
  upscale   the composition of a prototype at twice its size; floor: the same
            prompt and seed drawn at that size
  long      a minute at 16 frames a second
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

import numpy as np

from sora_jax import worlds
from sora_jax.encoding import video as video_lib
from sora_jax.evaluation import cases
from sora_jax.evaluation import continuity
from sora_jax.evaluation import quality
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import parse

HEAD, NEW = 9, 8  # frames that are given of a clip, and new ones
BETWEEN = 16  # frames of a transition
STRENGTHS = (0.6, 0.7, 0.8)  # below little changes, above little stays
LONG = 961
How = Mapping[str, Any]  # steps, guidance and method of the sampler


@dataclasses.dataclass(frozen=True)
class Scores:
  """The numbers of one case, and what is shown of it.

  Attributes:
    values: metric -> (value, ceiling or None, floor or None); a bool is an
      answer, and what is named .._ratio is summed up by its median.
    video: the result.
    caption: how it was made.
  """

  values: dict[str, tuple]
  video: np.ndarray
  caption: str


def animate(model: Any, case: cases.Case, other: cases.Case, how: How) -> Scores:
  """An image becomes a video."""
  truth = case.render()
  video = model.animate(truth[0], case.prompt, len(truth), fps=case.facts.fps, **how)
  same = lambda frame: quality.psnr(truth[:1], frame[None])
  moves = lambda v: any(
      t.direction != "none" for t in case.parse(v).tracks)
  through = model.reconstruct(truth)
  return Scores({
      "frame_0_psnr": (same(video[0]), same(model.reconstruct(truth[:1])[0]),
                       same(_like(other.render(), truth)[0])),
      "moves": (moves(video), moves(through), moves(truth[:1].repeat(9, 0))),
      "kept": _kept(case, video, through, other)}, video, case.prompt)


def extend(model: Any, case: cases.Case, other: cases.Case, how: How) -> Scores:
  """The head of a clip goes on, and its tail gets a beginning."""
  truth = _longer(case, HEAD + NEW)
  through = model.reconstruct(truth)
  after = model.extend(truth[:HEAD], case.prompt, NEW, fps=case.facts.fps, **how)
  before = model.extend(truth[-NEW:], case.prompt, HEAD, "backward",
                        fps=case.facts.fps, **how)
  still = np.concatenate([through[:HEAD], through[HEAD - 1:HEAD].repeat(NEW, 0)])
  colours = [o.colour for o in case.facts.objects]
  follows = lambda v: continuity.follows(v[HEAD:], truth[HEAD:], colours)
  ratio = continuity.seam_ratio
  cut = np.concatenate([through[:HEAD], _like(other.render(), truth)[-NEW:]])
  return Scores({
      "seam_ratio": (ratio(after, HEAD), ratio(through, HEAD), ratio(cut, HEAD)),
      "backward_seam_ratio": (ratio(before, HEAD), ratio(through, HEAD),
                              ratio(cut, HEAD)),
      "kept": _kept(case, after[HEAD:], through[HEAD:], other),
      "backward_kept": _kept(case, before[:HEAD], through[:HEAD], other),
      "follows": (follows(after), follows(through), follows(still))},
                np.concatenate([after, before], 2), "forward | backward: "
                + case.prompt)


def drift(model: Any, case: cases.Case, other: cases.Case, how: How) -> Scores:
  """A clip is extended four times, each time from the pixels it came to."""
  del other
  start = _longer(case, HEAD)
  video = start
  for _ in range(4):
    video = model.extend(video, case.prompt, NEW, fps=case.facts.fps, **how)
  once = model.extend(start, case.prompt, 4 * NEW, fps=case.facts.fps,
                      **how, window=17)
  through = model.reconstruct(_longer(case, HEAD + 4 * NEW))
  colours = lambda v: {o.colour for o in case.facts.objects} <= {
      t.colour for t in case.parse(v[-NEW:]).tracks}
  values: dict[str, tuple] = {}
  for name, made in (("pixels", video), ("latents", once)):
    values |= {f"{name}_drift": (continuity.drift(made),
                                 continuity.drift(through), None),
               f"{name}_colour": (colours(made), colours(through), None)}
  return Scores(values, np.concatenate([video, once], 2),
                "pixels | latents: " + case.prompt)


def loop(model: Any, case: cases.Case, other: cases.Case, how: How) -> Scores:
  """A clip and a prompt become loops."""
  del other
  truth = _longer(case, 16)
  video = model.loop(truth, case.prompt, NEW, fps=case.facts.fps, **how)
  drawn = model.loop(None, case.prompt, 16, case.cell.size, case.facts.fps,
                     **how)
  through = model.reconstruct(_longer(case, 17))
  floor = continuity.loop_ratio(through[:16])
  best = continuity.seam_ratio(through, 16)
  return Scores({
      "ratio": (continuity.loop_ratio(video), best, floor),
      "out_ratio": (continuity.seam_ratio(video, 16), best, floor),
      "prompt_ratio": (continuity.loop_ratio(drawn), best, floor)},
                np.concatenate([video[:16], drawn], 2),
                "of the clip | of the prompt: " + case.prompt)


def edit(model: Any, case: cases.Case, other: cases.Case, how: How) -> Scores:
  """One object is given another colour."""
  del other
  thing, truth = case.facts.objects[0], case.render()
  names = [c for c in facts_lib.COLOURS if c not in {
      o.colour for o in case.facts.objects}]
  colour = names[case.seed % len(names)]
  facts = dataclasses.replace(case.facts, objects=(
      dataclasses.replace(thing, colour=colour), *case.facts.objects[1:]))
  prompt = case.world.describe(
      facts, worlds.key(case.seed, case.cell.world, "caption"))[1]
  old = continuity.centres(truth, thing.colour)

  def stays(video):
    new = continuity.centres(video, colour)
    seen = ~np.isnan(old).any(1)
    far = np.abs(new - old)[seen]
    limit = 0.1 * np.array(case.cell.size)[0] / min(case.cell.size)
    return bool((np.hypot(*far.T) <= limit).all())


  def changed(video):
    seen = {t.colour for t in case.parse(video).tracks}
    return colour in seen and thing.colour not in seen

  wanted = model.reconstruct(case.world.render(facts))
  through, shown = model.reconstruct(truth), []
  values: dict[str, tuple] = {}
  for strength in STRENGTHS:
    video = model.edit(truth, prompt, strength, fps=case.facts.fps, **how)
    shown.append(video)
    told = changed(video), changed(wanted), changed(through)
    there = stays(video), stays(wanted), stays(through)
    values |= {f"changed_{strength:g}": told, f"stays_{strength:g}": there,
               f"both_{strength:g}": tuple(
                   a and b for a, b in zip(told, there))}
  return Scores(values, np.concatenate([truth, *shown], 2),
                f"{case.prompt} -> {prompt}")


def connect(model: Any, case: cases.Case, other: cases.Case, how: How) -> Scores:
  """A clip passes into another of another subject and size."""
  # b is wider than it is high: it is scaled and cut to the size of a.
  a, b = _longer(case, HEAD), _longer(other, NEW)[:, 4:-4]
  prompts = case.prompt, other.prompt
  video = model.connect(a, b, prompts, BETWEEN, fps=case.facts.fps, **how)
  b = video_lib.cover(b, case.cell.size)
  end = HEAD + BETWEEN
  cut = np.concatenate([a, b])
  through = model.reconstruct(a)
  jumps = continuity.jumps(video)[HEAD - 1:end]
  whole = np.abs(a[-1].astype(float) - b[0]).mean()
  best = continuity.seam_ratio(through, HEAD // 2)
  floor = continuity.seam_ratio(cut, HEAD)
  return Scores({
      "a_psnr": (quality.psnr(a, video[:HEAD]),
                 quality.psnr(a, through), None),
      "b_psnr": (quality.psnr(b, video[end:]),
                 quality.psnr(b, model.reconstruct(b)), None),
      # Among the jumps of the transition, which are larger than the clips'.
      "a_seam_ratio": (continuity.seam_ratio(video[HEAD - 1:end], 1), best,
                       floor),
      "b_seam_ratio": (continuity.seam_ratio(video[HEAD:end + 1], BETWEEN), best,
                       floor),
      "monotone": (continuity.monotone(video[HEAD:end], a[-1], b[0]), 1., 0.),
      "largest_jump": (float(jumps.max() / max(whole, 1.)), 1 / (BETWEEN + 1), 1.)},
                video, " | ".join(prompts))


def inpaint(model: Any, case: cases.Case, other: cases.Case, how: How) -> Scores:
  """The box of an object is drawn anew, by the same prompt."""
  truth = case.render()
  boxes = parse.boxes(case.facts)[:, 0]
  low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
  region = (*map(int, low), *map(int, np.maximum(high - low, 1)))
  video = model.inpaint(truth, region, case.prompt, fps=case.facts.fps, **how)
  x, y, w, h = region
  outside = np.ones(truth.shape[:3], bool)
  outside[:, max(y - 16, 0):y + h + 16, max(x - 16, 0):x + w + 16] = False
  through = model.reconstruct(truth)
  values: dict[str, tuple] = {"kept": _kept(case, video, through, other)}
  if outside.any():
    values["outside_psnr"] = (quality.psnr(truth, video, outside),
                              quality.psnr(truth, through, outside), None)
  return Scores(values, np.concatenate([truth, video], 2), case.prompt)


def upscale(model: Any, case: cases.Case, other: cases.Case, how: How) -> Scores:
  """A prototype and its enlargement show the same."""
  del other
  size = case.cell.size
  how = {**how, "seed": case.seed}
  frames, fps = case.facts.frames, case.facts.fps
  low = model.generate(case.prompt, size, frames, fps, **how)
  large = 2 * size[0], 2 * size[1]
  high = model.upscale(low, large, case.prompt, fps=fps, **how)
  again = model.generate(case.prompt, large, frames, fps, **how)
  same = lambda v: quality.psnr(low, video_lib.cover(v, size))
  plain = model.reconstruct(video_lib.cover(low, large))
  return Scores({"same_psnr": (same(high), same(plain), same(again))},
                np.concatenate([video_lib.cover(low, large), high, again], 2),
                "enlarged | drawn anew | same prompt and seed: " + case.prompt)


def long(model: Any, case: cases.Case, other: cases.Case, how: How) -> Scores:
  """A minute at 16 frames a second, in windows."""
  del other
  video = model.generate(case.prompt, case.cell.size, LONG, 16.0, window=49,
                         **how)
  first = lambda v: {t.colour for t in case.world.parse(v, 16.0).tracks}
  n = round(0.15 * LONG)
  return Scores({
      "drift": (continuity.drift(video), 0., None),
      "contrast": (continuity.contrast(video), 1., None),
      "colour_kept": (first(video[:n]) <= first(video[-n:]), None, None),
      "moves_at_the_end": (bool(continuity.jumps(video[-n:]).mean() > .3), None,
                           None)}, video, case.prompt)


MODES: dict[str, Callable] = {
    f.__name__: f for f in (animate, extend, drift, loop, edit, connect, inpaint,
                            upscale, long)}


def _kept(case, video, through, other) -> tuple[bool, bool, bool]:
  """Colour and shape as the facts say: of the video, its ceiling, its floor."""

  def right(asked, seen):
    scores = asked.score(case.parse(seen))
    return bool(scores["colour"] and scores["shape"])

  return right(case, video), right(case, through), right(other, video)


def _longer(case: cases.Case, frames: int) -> np.ndarray:
  """The truth of a case over another number of frames."""
  return case.world.render(dataclasses.replace(case.facts, frames=frames))


def _like(video: np.ndarray, like: np.ndarray) -> np.ndarray:
  return video_lib.cover(video, (like.shape[2], like.shape[1]))

