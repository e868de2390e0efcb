"""A model in Python and in a notebook: short, explicit, and it takes paths."""

import base64
import copy
import inspect
import io
import pathlib
import pickle
import re
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import tiny_model

import bad_files
import sora_jax
from sora_jax.encoding import encoder
from sora_jax.formats import writing
from sora_jax.generation import pipeline
from sora_jax.generation import sampler
from sora_jax.media import video_io
from sora_jax.media import videos

pytestmark = pytest.mark.quick_compile

VERBS = ("generate", "animate", "extend", "connect", "loop", "edit", "upscale",
         "inpaint")
HOW = set(inspect.signature(sampler.Sampling).parameters) | {"seed"}


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
  at = tmp_path_factory.mktemp("model")
  writing.save(str(at / "m"), tiny_model.make(
      at, 2, 1.0, expand_timesteps=True), np.float32)
  return sora_jax.load(at / "m")


@pytest.fixture(autouse=True)
def parts(monkeypatch):
  """All goes through the VAE in parts, by the same programs at any length."""
  monkeypatch.setattr(encoder, "WHOLE", 0)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
  """A video of ours at 12 frames a second, as a file."""
  path = tmp_path_factory.mktemp("clip") / "a.mp4"
  video_io.write(path, bad_files.moving(9, 32, 48), 12., {
      "prompt": "a red ball", "seed": 7, "command": "sora-jax generate"})
  return path


def test_a_model_is_a_few_lines(ours):
  for value in (ours, ours.model, ours.requests, ours.model.vae, ours.requests
                .generate("a", 32, 5), ours.requests.edit(
                    bad_files.moving(5, 32, 48))):
    assert len(repr(value)) < 1000, type(value)
  count = sum(p.count for p in (ours.model.vae, ours.model.transformer,
                                ours.model.text_encoder))
  assert f"{count:,} parameters" in repr(ours)
  assert "17 frames of 64x64 at 8 fps" in repr(ours)
  page = ours._repr_html_()
  assert page.startswith("<table>") and f"{count:,} parameters" in page


def test_the_package_tells_its_names():
  done = subprocess.run([sys.executable, "-c", (
      "import sora_jax, sys; print(*dir(sora_jax)); print(sora_jax.__version__);"
      "print('jax' in sys.modules)")], capture_output=True, text=True, check=True)
  names, version, loaded = done.stdout.splitlines()
  assert {"load", "load_image", "load_video", "save_video", "train",
          "__version__"} <= set(names.split())
  assert re.fullmatch(r"\d+\.\d+\.\d+", version) and loaded == "False"


@pytest.mark.parametrize("verb", VERBS)
def test_all_arguments_are_named_with_their_units(verb):
  method = getattr(pipeline.Pipeline, verb)
  names = inspect.signature(method).parameters
  assert set(names) >= HOW and not any(
      p.kind is p.VAR_KEYWORD for p in names.values())
  args = inspect.getdoc(method).partition("Args:\n")[2].partition("\n\n")[0]
  told = re.findall(r"^  (\w+): ", args, re.MULTILINE)
  assert told == [n for n in names if n != "self"]
  assert inspect.signature(method).return_annotation is videos.Video
  assert "in pixels" in args and "frames per second" in args


WRONG = [
    ("frames?", lambda m, a: m.generate("a", num_frames=5)),
    ("steps?", lambda m, a: m.generate("a", num_inference_steps=5)),
    ("guidance?", lambda m, a: m.edit(a, guidance_scale=5)),
    ("negative?", lambda m, a: m.generate_batch(["a"], negative_prompt="b")),
    ("seed", lambda m, a: m.extend(a, generator=3)),
    ("prompt", lambda m, a: m.generate()),
]


@pytest.mark.parametrize("word, call", WRONG, ids=[w for w, _ in WRONG])
def test_an_unknown_argument_names_the_nearest(ours, clip, word, call):
  with pytest.raises(TypeError) as found:
    call(ours, clip)
  assert word in str(found.value) and "\n" not in str(found.value)


BAD = [
    ("size is", lambda m, a: m.generate("a", size="64x64")),
    ("size is", lambda m, a: m.edit(a, size=(64,))),
    ("size is", lambda m, a: m.animate(a, size=64.0)),
    ("frames is 5.0", lambda m, a: m.generate("a", frames=5.0)),
    ("steps is '9'", lambda m, a: m.loop(a, steps="9")),
    ("prompt is 3", lambda m, a: m.generate(3)),
    ("seed is -1", lambda m, a: m.generate("a", seed=-1)),
    ("seed is True", lambda m, a: m.generate("a", seed=True)),
    ("fps=0", lambda m, a: m.extend(a, fps=0)),
    ("strength is 'x'", lambda m, a: m.edit(a, strength="x")),
    ("region is 4", lambda m, a: m.inpaint(a, 4)),
    ("region is (1, 2)", lambda m, a: m.inpaint(a, (1, 2))),
    ("no such file", lambda m, a: m.animate("gone.png")),
    ("no such file", lambda m, a: m.connect(a, pathlib.Path("gone.mp4"))),
    ("float64", lambda m, a: m.edit(np.zeros((5, 32, 48, 3)))),
    ("image is (32, 48)", lambda m, a: m.animate(np.zeros((32, 48), np.uint8))),
    ("empty", lambda m, a: m.extend([])),
    ("give a list", lambda m, a: m.generate_batch("a red ball")),
    ("2 prompts with 1 seed:", lambda m, a: m.generate_batch(["a", "b"], seeds=[1])),
]


@pytest.mark.parametrize("word, call", BAD, ids=[w for w, _ in BAD])
def test_a_wrong_value_is_one_line(ours, clip, word, call):
  with pytest.raises(ValueError) as found:
    call(ours, clip)
  assert word in str(found.value) and "\n" not in str(found.value)


def test_a_path_is_what_its_pixels_are(ours, clip):
  video = sora_jax.load_video(clip)
  image = PIL.Image.fromarray(np.asarray(video[0]))
  verbs = ours.requests
  for one, two in (
      (verbs.edit(clip), verbs.edit(video)),
      (verbs.edit(str(clip)), verbs.edit(clip.read_bytes())),
      (verbs.edit(clip), verbs.edit(list(video), fps=12)),
      (verbs.animate(image), verbs.animate(video[0])),
      (verbs.animate(clip), verbs.animate(sora_jax.load_image(clip))),
      (verbs.extend(clip), verbs.extend(video)),
      (verbs.animate(image, size=32), verbs.animate(image, size=(32, 32)))):
    np.testing.assert_array_equal(one.canvas.z, two.canvas.z)
    assert (one.canvas.fps, one.canvas.size) == (two.canvas.fps, two.canvas.size)


def test_a_video_tells_its_prompt_rate_and_seed(ours, clip):
  verbs = ours.requests
  for asked in (verbs.extend(clip), verbs.loop(clip), verbs.upscale(clip, 48)):
    assert (asked.canvas.fps, asked.prompt) == (12, "a red ball")
  assert verbs.upscale(clip, 48).seed == 7
  assert verbs.edit(clip).prompt == "" and verbs.extend(clip, "").prompt == ""
  both = verbs.connect(clip, bad_files.moving(8, 32, 48), frames=4)
  assert both.prompt == ("a red ball", "") and both.canvas.fps == 12
  assert verbs.edit(np.asarray(sora_jax.load_video(clip))).canvas.fps == 8
  slow = videos.of(bad_files.moving(6, 32, 48), 6.)
  assert verbs.connect(clip, slow, frames=4).canvas.second.frames == 12 + 4


def test_what_is_made_shows_itself_and_is_saved_with_its_origin(
    ours, clip, tmp_path):
  made = ours.upscale(clip, (48, 32), strength=0)
  assert isinstance(made, np.ndarray) and made.shape == (9, 32, 48, 3)
  assert (made.fps, made.prompt, made.seed) == (12, "a red ball", 7)
  assert repr(made) == "9 frames of 48x32 at 12 fps, 'a red ball', seed 7"
  data = re.fullmatch(
      r'<video width="288" title="9 frames .*" controls .*'
      r'src="data:video/mp4;base64,([^"]+)"></video>', made._repr_html_())
  shown, fps = video_io.read(base64.b64decode(data[1]))
  assert shown.shape == (9, 192, 288, 3) and fps == 12
  near = shown[:, 3::6, 3::6].astype(int) - made
  assert np.abs(near).mean() < 8
  sora_jax.save_video(tmp_path / "x.mp4", made)
  again = sora_jax.load_video(tmp_path / "x.mp4")
  assert (again.fps, again.prompt, again.seed) == (12, "a red ball", 7)
  assert again.made["model"] == ours.model.digest and "command" not in again.made


def test_parts_of_a_video_keep_what_it_says_and_sums_are_arrays():
  video = videos.of(bad_files.moving(9, 32, 48), 12., {"prompt": "a <b>"})
  assert repr(video[3:5]).startswith("2 frames of 48x32 at 12 fps")
  assert repr(video[:1]).startswith("1 frame of 48x32, ")
  image = re.search(r'src="data:image/png;base64,(.+)"', video[0]._repr_html_())
  shown = PIL.Image.open(io.BytesIO(base64.b64decode(image[1])))
  np.testing.assert_array_equal(np.asarray(shown)[::6, ::6], video[0])
  assert "a &lt;b&gt;" in video._repr_html_()
  assert type(video / 255) is np.ndarray and type(video - video) is np.ndarray
  assert isinstance(video.mean(), float) and video[0, 0]._repr_html_() is None
  assert "array" in repr(video[..., 0]) and str(video[0, 0, 0])[0] == "["
  batch = videos.of(np.stack([video, video]), 12.)
  assert repr(batch) == "2 videos, each 9 frames of 48x32 at 12 fps"
  assert batch._repr_html_().startswith('<video width="288"')
  for again in (pickle.loads(pickle.dumps(video)), copy.deepcopy(video)):
    assert (again.fps, again.prompt) == (12, "a <b>")
    np.testing.assert_array_equal(again, video)


def test_a_video_without_a_rate_needs_one(tmp_path):
  video = bad_files.moving(3, 32, 48)
  with pytest.raises(ValueError, match="frames per second"):
    sora_jax.save_video(tmp_path / "x.mp4", video)
  sora_jax.save_video(tmp_path / "x.png", video[0])
  np.testing.assert_array_equal(sora_jax.load_image(tmp_path / "x.png"),
                                video[0])
