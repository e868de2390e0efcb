"""Every way of prompting keeps what is known, and knows no more than that."""

import jax
import numpy as np
import pytest
import tiny_model

from sora_jax.encoding import encoder
from sora_jax.encoding import video as video_lib
from sora_jax.formats import writing
from sora_jax.generation import pipeline
from sora_jax.generation import prompting
from sora_jax.generation import result as result_lib
from sora_jax.generation import sampler
from sora_jax.generation import step as step_lib
from sora_jax.generation import windows as windows_lib
from sora_jax.geometry import frames as frames_lib
from sora_jax.geometry import patches

pytestmark = pytest.mark.quick_compile

SIZE = (48, 32)


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
  at = tmp_path_factory.mktemp("model")
  # Without guidance programs compile in half the time.
  writing.save(str(at / "m"), tiny_model.make(
      at, 3, 1.0, expand_timesteps=True), np.float32)
  return pipeline.load(str(at / "m"))


@pytest.fixture(autouse=True)
def parts(monkeypatch):
  """All goes through the VAE in parts, by the same programs at any length."""
  monkeypatch.setattr(encoder, "WHOLE", 0)


def text(ours, size, frames):
  return prompting.text(ours.model, size, frames, 8.)


def clip(frames, size=SIZE, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (frames, size[1], size[0], 3), np.uint8)


# Five latents each, so that few programs serve all of them:
# name -> (canvas of a model, frames, the latents that are known)
MODES = {
    "animate": (lambda m: prompting.animate(m, clip(1)[0], 17, 8.), 17, [0]),
    "animate at": (lambda m: prompting.animate(m, clip(1)[0], 17, 8., 5), 17,
                   []),
    "forward": (lambda m: prompting.extend(m, clip(9), 7, 8.), 16, [0, 1, 2]),
    "forward, odd": (lambda m: prompting.extend(m, clip(7), 8, 8.), 15,
                     [0, 1, 2]),
    "forward from an image": (lambda m: prompting.extend(m, clip(1), 16, 8.), 17,
                              [0]),
    "backward": (lambda m: prompting.extend(m, clip(8), 8, 8., "backward"), 16,
                 [3, 4]),
    "backward, odd": (lambda m: prompting.extend(m, clip(6), 9, 8., "backward"),
                      15, [3, 4]),
    "both": (lambda m: prompting.extend(m, clip(9), 4, 8., "both"), 17, [2, 3]),
    "loop": (lambda m: prompting.loop(m, clip(9), 4, 8.), 12, [0, 1]),
    "loop of a prompt": (lambda m: prompting.text_loop(m, SIZE, 18, 8.), 20, []),
    "edit": (lambda m: prompting.edit(m, clip(15), .5, 8.), 15, []),
    "upscale": (lambda m: prompting.edit(m, clip(17, (24, 16)), .5, 8., SIZE),
                17, []),
    "inpaint": (lambda m: prompting.inpaint(m, clip(17), (20, 0, 4, 9, 6, 7), 8.),
                17, [0, 1, 3, 4]),
}


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_known_tokens_come_back_bit_equal(ours, mode):
  make, frames, whole = MODES[mode]
  canvas = make(ours.model)
  result = ours.draw(canvas, tiny_model.PROMPT, seed=1)
  z = patches.patchify(result.z[None]).x.reshape(*canvas.grid, -1)
  given = patches.patchify(canvas.z[None]).x.reshape(z.shape)
  np.testing.assert_array_equal(z[canvas.known], given[canvas.known])
  assert np.isfinite(z).all()
  assert (z[~canvas.known] != given[~canvas.known]).mean() > .9
  assert np.flatnonzero(canvas.whole).tolist() == whole
  video = result.video()
  assert video.dtype == np.uint8
  assert video.shape == (frames, canvas.size[1], canvas.size[0], 3)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["both", "loop of a prompt", "edit"])
def test_the_same_seed_draws_the_same(ours, mode):
  canvas = MODES[mode][0](ours.model)
  one, two = (ours.draw(canvas, seed=s).z for s in (5, 5))
  np.testing.assert_array_equal(one, two)
  assert (ours.draw(canvas, seed=6).z != one).any()


def test_a_known_tail_has_not_seen_what_comes_before(ours):
  one = prompting.extend(ours.model, clip(8, seed=1), 4, 8., "backward")
  # As training stores it (training/cache.py): behind its first frame repeated.
  lead = np.repeat(clip(8, seed=1)[:1], 5, 0)
  tail = video_lib.latents(ours.model, np.concatenate([lead, clip(8, seed=1)]))[2:]
  np.testing.assert_array_equal(one.z[-2:], tail)
  # The tail of a longer clip would have.
  both = video_lib.latents(ours.model, np.concatenate([clip(5), clip(8, seed=1)]))
  assert np.abs(both[-2:] - tail).max() > .05


def test_a_transition_passes_from_one_video_into_the_other(
    ours, monkeypatch):
  canvas = prompting.connect(ours.model, clip(9), clip(6, (40, 40), 1), 8, 8.)
  monkeypatch.setattr(result_lib, "OVER", 4)
  made = ours.draw(canvas, (tiny_model.PROMPT, ""), seed=2)
  video = made.video()
  assert video.shape == (23, 32, 48, 3)
  for one, drawn in ((canvas.first, made.first), (canvas.second, made.second)):
    np.testing.assert_array_equal(drawn.z[one.whole], one.z[one.whole])
  # The ends are those of the videos alone, through the VAE.
  near = lambda a, b: np.abs(a.astype(int) - b).max() <= 1
  assert near(video[:9], ours.reconstruct(clip(9)))
  b = video_lib.cover(clip(6, (40, 40), 1), SIZE)
  alone = ours.reconstruct(frames_lib.lead_in(b))[5:]
  assert near(video[17:], alone)
  # In between it is evenly of both, and ends where the second begins.
  one, two = made.first.video()[9:], made.second.video()
  way = np.arange(1, 9)[:, None, None, None] / 9
  over = alone[0] - two[8].astype(float)
  late = np.array([0, 0, 0, 0, 1, 2, 3, 4])[:, None, None, None] / 5
  mixed = (1 - way) * one + way * (two[:8] + late * over)
  assert near(video[9:17], mixed.clip(0, 255).round())
  assert not near(two[8:], alone)
  # Each goes on by its own prompt.
  other = ours.draw(canvas, ("", ""), seed=2)
  np.testing.assert_array_equal(other.second.z, made.second.z)
  assert (other.first.z != made.first.z).any()
  assert (ours.draw(canvas, tiny_model.PROMPT, seed=2).second.z
          != made.second.z).any()


def test_a_known_head_has_not_seen_what_comes_after(ours):
  video = clip(13)
  head = video_lib.latents(ours.model, video[:9])
  whole = video_lib.latents(ours.model, video)
  np.testing.assert_allclose(whole[:3], head, atol=1e-5)


def test_what_was_in_a_region_shines_through_nowhere(ours):
  box = slice(5, 9), slice(16, 32), slice(0, 16)
  make = lambda v: prompting.inpaint(ours.model, v, (3, 20, 5, 5, 6, 8), 8.)
  one = clip(13)
  two = one.copy()
  two[box] = 255 - two[box]
  a, b = make(one), make(two)
  known = np.repeat(np.repeat(a.known, 2, 1), 2, 2)
  np.testing.assert_array_equal(a.z[known], b.z[known])
  np.testing.assert_array_equal(np.argwhere(~a.known), [[2, 1, 0]])
  assert prompting.widened(ours.model, one.shape[:3], (3, 20, 5, 5, 6, 8)) == (
      0, 16, 16, 16, 5, 9)


def test_an_edit_goes_from_the_video_to_the_prompt(ours):
  video = clip(17)
  edit = lambda s: ours.edit(video, tiny_model.PROMPT, s, seed=4)
  assert np.abs(edit(0).astype(int) - ours.reconstruct(video)).max() <= 1
  np.testing.assert_array_equal(edit(1), ours.generate(
      tiny_model.PROMPT, SIZE, 17, seed=4))
  near, far = (np.abs(edit(s).astype(int) - edit(0)).mean() for s in (.2, .8))
  assert 0 < near < far


def test_a_long_video_is_drawn_in_windows(ours):
  cut = lambda n, frames: windows_lib.split(
      text(ours, SIZE, n), sampler.window_latents(
          ours.model, text(ours, SIZE, n), frames))
  assert [w.tolist() for w in cut(17, 17)] == [[0, 1, 2, 3, 4]]
  assert [w.tolist() for w in cut(41, 17)] == [
      [0, 1, 2, 3, 4], [4, 5, 6, 7, 8], [6, 7, 8, 9, 10]]
  told = []
  long = ours.draw(text(ours, SIZE, 41), tiny_model.PROMPT, window=17,
                   report=lambda *step: told.append(step))
  assert told == [(i, 9) for i in range(1, 10)]
  assert long.z.shape == (11, 4, 6, 4) and np.isfinite(long.z).all()
  assert len(long.video()) == 41
  # Beyond max_tokens (999, 6 a latent) windows are the default.
  assert len(cut(900, None)) == 2


def test_video_by_parts_is_the_whole(ours, monkeypatch):
  video = clip(10)
  parts = [video_lib.latents(ours.model, video), ours.reconstruct(video)]
  monkeypatch.setattr(encoder, "WHOLE", 2**20)
  whole = [video_lib.latents(ours.model, video), ours.reconstruct(video)]
  np.testing.assert_allclose(parts[0], whole[0], atol=1e-4)
  assert np.abs(parts[1].astype(int) - whole[1]).max() <= 1


def test_frames_are_decoded_as_they_are_asked_for(ours, monkeypatch):
  calls, run = [], encoder.decode_chunk
  monkeypatch.setattr(encoder, "decode_chunk",
                      lambda *a: calls.append(1) or run(*a))
  frames = ours.draw(text(ours, SIZE, 41), window=17).frames()
  next(frames)
  assert len(calls) == 1
  assert len(list(frames)) == 40 and len(calls) == 11


def test_a_loop_is_decoded_behind_its_end(ours):
  result = ours.draw(MODES["loop"][0](ours.model))
  z = np.concatenate([result.z[-2:], *[result.z] * 3])  # of three latents
  mean, std = map(np.float32, (ours.model.latent_mean, ours.model.latent_std))
  video = video_lib.decode(ours.model.vae, (z * std + mean)[None])[0]
  np.testing.assert_array_equal(result.video(), video[29:])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ab2", "ancestral"])
def test_a_batch_draws_what_each_alone_does(ours, method):
  make = lambda seed: prompting.extend(ours.model, clip(9, seed=seed), 8, 8.)
  one, two = ours.draw_batch([make(0), make(1)], [tiny_model.PROMPT, ""],
                             [3, 4], method=method)
  alone = ours.draw(make(1), "", seed=4, method=method)
  np.testing.assert_allclose(two.z, alone.z, atol=1e-4)
  assert np.abs(one.z - two.z).max() > .1


@pytest.mark.slow
def test_every_step_draws_noise_of_its_own(ours, monkeypatch):
  seen, step = [], step_lib.sampling.sample_step

  def watched(*args):
    if args[-1] is not None:
      jax.debug.callback(lambda x: seen.append(np.asarray(x).ravel()), args[-1])
    return step(*args)

  monkeypatch.setattr(step_lib.sampling, "sample_step", watched)
  size = (32, 32)  # that no other test draws
  ours.draw(text(ours, size, 41), tiny_model.PROMPT, window=17)  # three windows
  jax.effects_barrier()
  assert len(seen) == 9
  assert np.abs(np.corrcoef([x[:160] for x in seen]) - np.eye(9)).max() < .4
  ours.draw(text(ours, size, 17), tiny_model.PROMPT, method="ab2")
  assert len(seen) == 9


def test_a_prompt_is_expanded_once(ours):
  canvas, seen = text(ours, SIZE, 17), []
  expand = lambda prompt: seen.append(prompt) or f"{prompt} ball"
  found = ours.draw(canvas, "a red", seed=2, expand=expand)
  assert seen == ["a red"]
  np.testing.assert_array_equal(found.z,
                                ours.draw(canvas, "a red ball", seed=2).z)


def test_a_loop_of_a_batch_is_what_each_alone_is(ours):
  loop = prompting.text_loop(ours.model, SIZE, 18, 8.)
  _, two = ours.draw_batch([loop] * 2, ["a", "b"], [3, 4])
  np.testing.assert_allclose(two.z, ours.draw(loop, "b", seed=4).z, atol=1e-4)


def test_a_single_clip_is_sampled_without_segments(ours, monkeypatch):
  seen, run = [], step_lib.dit.denoise
  monkeypatch.setattr(step_lib.dit, "denoise", lambda module, params, tokens, *a: (
      seen.append(tokens.seg), run(module, params, tokens, *a))[1])
  ours.draw(text(ours, (16, 16), 1))  # a size that no other test draws
  assert seen and all(seg is None for seg in seen)


@pytest.mark.slow
def test_a_drawing_that_is_not_finite_is_no_video(ours):
  with pytest.raises(FloatingPointError, match="inf"):
    ours.generate(tiny_model.PROMPT, SIZE, 17, guidance=float("inf"))


def test_scaling_covers_and_cuts_alike():
  video = np.zeros((1, 20, 60, 3), np.uint8)
  video[:, :, 20:40] = 255
  assert video_lib.cover(video, (60, 20)) is video
  square = video_lib.cover(video, (40, 40))
  assert square.shape == (1, 40, 40, 3) and square.mean() > 250
  wide = video_lib.cover(video, (120, 40))
  assert wide[0, 5, 10].max() < 5 and wide[0, 5, 60].min() > 250


@pytest.mark.parametrize("what, ask", [
    ("--at=9", lambda m: m.animate(clip(1)[0], frames=9, at=9)),
    ("--direction=up", lambda m: m.extend(clip(5), direction="up")),
    ("at least 1 frame", lambda m: m.extend(clip(5), frames=0)),
    ("at least 1 frame", lambda m: m.connect(clip(5), clip(5), frames=0)),
    ("at least 1 frame", lambda m: m.loop(clip(5), frames=-1)),
    ("--strength=2", lambda m: m.edit(clip(5), strength=2.)),
    ("folder", lambda m: m.edit(clip(5), strength=.5, method="folder")),
    ("holds nothing", lambda m: m.inpaint(clip(5), (48, 0, 3, 3))),
    ("holds nothing", lambda m: m.inpaint(clip(5), (0, 0, 0, 3))),
    ("holds nothing", lambda m: m.inpaint(clip(5), (0, 0, 9, 9, 3, 3))),
    ("below one patch", lambda m: m.extend(clip(5, (8, 40)))),
    ("below one patch", lambda m: m.animate(clip(1)[0], size=(48, 8))),
    ("limit of this model", lambda m: m.generate("a", (512, 512))),
    ("limit of this model", lambda m: m.edit(clip(1, (512, 512)))),
    ("limit of this model", lambda m: m.loop(prompt="a", frames=8000)),
    ("fps", lambda m: m.generate("a", fps=-1.)),
    ("window", lambda m: m.generate("a", SIZE, 41, window=0)),
    ("at least 9", lambda m: m.generate("a", SIZE, 41, window=5)),
])
def test_mistakes_say_what_is_right(ours, what, ask):
  with pytest.raises(ValueError, match=what):
    ask(ours)
