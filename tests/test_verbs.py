"""The verbs that make videos, as a user calls them."""

import fractions
import json
import os
import types

import numpy as np
import pytest
import tiny_model

import bad_files
from sora_jax import main
from sora_jax.cli import drawing
from sora_jax.encoding import encoder
from sora_jax.formats import writing
from sora_jax.media import video_io

pytestmark = pytest.mark.quick_compile

SIZE = "48x32"


@pytest.fixture(scope="module")
def at(tmp_path_factory):
  """A folder with a model and inputs."""
  at = tmp_path_factory.mktemp("verbs")
  # Without guidance programs compile in half the time.
  writing.save(str(at / "m"), tiny_model.make(
      at, 2, 1.0, expand_timesteps=True), np.float32)
  for name, size, seed in (("a", (9, 32, 48), 1), ("b", (4, 40, 40), 2),
                           ("c", (17, 32, 48), 5), ("one", (1, 32, 48), 3),
                           ("low", (17, 16, 24), 4)):
    video_io.write(str(at / f"{name}.mp4"), bad_files.moving(*size, seed=seed),
                   8.)
  (at / "a.png").write_bytes(bad_files.picture("RGBA", (255, 0, 0, 60)))
  for name, frames in (("a", 9), ("c", 16)):
    video_io.write(str(at / f"{name}.gif"), bad_files.moving(frames, 32, 48),
                   12.)
  (at / "talk.mp4").write_bytes(bad_files.talking(17, 32, 48))
  return at


@pytest.fixture(autouse=True)
def parts(monkeypatch):
  """All goes through the VAE in parts, by the same programs at any length."""
  monkeypatch.setattr(encoder, "WHOLE", 0)


def command(at, *argv, code=0):
  argv = [str(a).replace("@", f"{at}/") for a in argv]
  assert main.main([*argv, f"--model={at}/m"]) == code


# argv -> frames, size and fps of the result
VERBS = {
    ("generate", "--prompt=a", "--frames=17", f"--size={SIZE}"): (17, 8),
    ("animate", "@a.png", "--frames=17", f"--size={SIZE}"): (17, 8),
    ("animate", "@a.mp4", "--at=5"): (17, 8),
    ("extend", "@a.mp4", "--frames=8"): (17, 8),
    ("extend", "@a.mp4", "--direction=backward", "--frames=5"): (14, 8),
    ("extend", "@a.mp4", "--direction=both", "--frames=4", "--prompt=a"): (17, 8),
    ("extend", "@one.mp4", "--frames=16"): (17, 8),
    ("extend", "@a.gif", "--frames=8"): (17, 12),
    ("loop", "@a.mp4", "--frames=4"): (12, 8),
    ("loop", "--prompt=a", "--frames=20", f"--size={SIZE}"): (20, 8),
    ("connect", "@a.mp4", "@b.mp4", "--frames=4"): (17, 8),
    ("edit", "@c.mp4", "--prompt=a", "--strength=0.5", "--guidance=3"): (17, 8),
    ("inpaint", "@c.mp4", "--prompt=a", "--region=4,4,20,9"): (17, 8),
    ("upscale", "@low.mp4", f"--size={SIZE}"): (17, 8),
}


@pytest.mark.slow
@pytest.mark.parametrize("argv", VERBS, ids=" ".join)
def test_a_verb_makes_the_same_file_again(at, tmp_path, capsys, argv):
  frames, fps = VERBS[argv]
  for name in ("one.mp4", "two.mp4"):
    command(at, *argv, "--seed=3", f"--out={tmp_path}/{name}")
  printed = capsys.readouterr().out
  assert f"{tmp_path}/one.mp4: {frames} frames of {SIZE} at {fps} fps" in printed
  one, two = ((tmp_path / n).read_bytes() for n in ("one.mp4", "two.mp4"))
  assert one == two
  video, rate = video_io.read(str(tmp_path / "one.mp4"))
  assert video.shape == (frames, 32, 48, 3) and rate == fps
  said = video_io.metadata(str(tmp_path / "one.mp4"))
  assert said["ai_generated"] and said["seed"] == 3 and said["model"]
  assert said["command"].startswith(f"sora-jax {argv[0]} ")
  assert "--out" not in said["command"] and "--seed=3" in said["command"]


# What is no usual clip: one frame, a gif, a picture with alpha, an audio track.
ODD = {
    ("animate", "@c.gif"): (17, 8),
    ("extend", "@one.mp4", "--direction=backward", "--frames=13"): (14, 8),
    ("loop", "@one.mp4", "--frames=16"): (20, 8),
    ("connect", "@one.mp4", "@a.png", "--frames=13"): (15, 8),
    ("edit", "@talk.mp4", "--prompt=a", "--strength=0.5"): (17, 8),
    ("inpaint", "@c.gif", "--region=4,4,20,9"): (16, 12),
    ("upscale", "@one.mp4", "--size=48x32"): (1, 8),
}


@pytest.mark.slow
@pytest.mark.parametrize("argv", ODD, ids=" ".join)
def test_a_verb_takes_other_files(at, tmp_path, argv):
  frames, fps = ODD[argv]
  command(at, *argv, f"--out={tmp_path}/x.mp4")
  video, rate = video_io.read(str(tmp_path / "x.mp4"))
  assert video.shape == (frames, 32, 48, 3) and rate == fps


def test_inpaint_prints_the_box_and_keeps_the_rest(at, tmp_path, capsys):
  command(at, "inpaint", "@c.mp4", "--region=4,4,20,9,3,4",
          f"--out={tmp_path}/x.png")
  assert "drawing 32x16 at 0,0, frames 1 to 4" in capsys.readouterr().out


def test_upscale_takes_prompt_and_seed_from_the_file(at, tmp_path):
  command(at, "generate", "--prompt=a blue box", "--seed=9", "--size=48x32",
          "--frames=17", f"--out={tmp_path}/low.mp4")
  command(at, "upscale", f"{tmp_path}/low.mp4", "--size=48x32",
          f"--out={tmp_path}/high.mp4")
  said = video_io.metadata(str(tmp_path / "high.mp4"))
  assert (said["prompt"], said["seed"]) == ("a blue box", 9)
  command(at, "upscale", f"{tmp_path}/low.mp4", "--size=48x32", "--prompt=",
          "--seed=2", f"--out={tmp_path}/other.mp4")
  said = video_io.metadata(str(tmp_path / "other.mp4"))
  assert (said["prompt"], said["seed"]) == ("", 2)


@pytest.mark.slow
def test_connect_takes_each_prompt_from_its_file(at, tmp_path):
  for name in "xy":
    command(at, "generate", f"--prompt=a {name}", "--size=48x32", "--frames=17",
            f"--out={tmp_path}/{name}.mp4")
  command(at, "connect", f"{tmp_path}/x.mp4", f"{tmp_path}/y.mp4",
          "--frames=4", f"--out={tmp_path}/z.mp4")
  said = video_io.metadata(str(tmp_path / "z.mp4"))
  assert said["prompt"] == "a x a y"
  assert len(video_io.read(str(tmp_path / "z.mp4"))[0]) == 38


def test_seeds_beside_each_other(at, tmp_path, capsys):
  argv = ["generate", "--prompt=a", f"--size={SIZE}", "--frames=17", "--count=3"]
  command(at, *argv, "--grid", f"--out={tmp_path}/g.mp4")
  command(at, *argv, f"--out={tmp_path}/x.mp4")
  assert "17 frames of 96x64" in capsys.readouterr().out
  assert sorted(os.listdir(tmp_path)) == ["g.mp4", "x-0.mp4", "x-1.mp4",
                                          "x-2.mp4"]
  grid = video_io.read(str(tmp_path / "g.mp4"))[0].astype(int)
  third = video_io.read(str(tmp_path / "x-2.mp4"))[0]
  far, near = (np.abs(part - third).mean() for part in (
      grid[:, :32, :48], grid[:, 32:, :48]))
  assert near < far
  assert grid[:, 34:, 50:].min() > 240


def test_a_batch_of_prompts_goes_on_where_it_was(at, tmp_path, capsys):
  lines = [{"prompt": "a red ball: ../up!"}, {"prompt": "a", "seed": 5},
           {"prompt": "a", "frames": 1, "fps": 4}]
  (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
  argv = ["generate", f"--prompts={tmp_path}/p.jsonl", "--frames=17",
          f"--size={SIZE}", f"--out={tmp_path}/out"]
  command(at, *argv)
  found = sorted(os.listdir(tmp_path / "out"))
  assert [n.rsplit("-", 1)[0] for n in found] == ["a", "a", "a-red-ball-up"]
  assert sorted(os.path.splitext(n)[1] for n in found) == [
      ".mp4", ".mp4", ".png"]
  before = {n: (tmp_path / "out" / n).read_bytes() for n in found}
  os.remove(tmp_path / "out" / found[-1])
  os.utime(tmp_path / "out" / found[0], (1, 1))
  capsys.readouterr()
  command(at, *argv)
  assert "3 prompts, 2 of them there already" in capsys.readouterr().out
  assert {n: (tmp_path / "out" / n).read_bytes() for n in os.listdir(
      tmp_path / "out")} == before
  assert os.path.getmtime(tmp_path / "out" / found[0]) == 1


BAD = {
    "no such file": ("animate", "@gone.png"),
    "Invalid data": ("extend", "@noise.mp4"),
    "no video stream": ("extend", "@sound.mp4"),
    "10000": ("extend", "@long.mp4"),
    "below one patch": ("edit", "@thin.png"),
    "write sora-jax connect A B": ("connect", "@a.mp4"),
    "write sora-jax animate IMAGE": ("animate", "@a.png", "@a.png"),
    "write sora-jax generate": ("generate", "a red ball"),
    "or --region=x,y,w,h,t0,t1 is needed": ("inpaint", "@a.mp4"),
    "--region=1,2,x": ("inpaint", "@a.mp4", "--region=1,2,x"),
    "holds nothing": ("inpaint", "@a.mp4", "--region=90,0,4,4"),
    "--size=WxH is needed": ("upscale", "@a.mp4"),
    "--at=17": ("animate", "@a.png", "--at=17"),
    "--strength=1.5": ("edit", "@a.mp4", "--strength=1.5"),
    "direction": ("extend", "@a.mp4", "--direction=up"),
    "--fps=0": ("edit", "@a.mp4", "--fps=0"),
    "--fps=nan must be": ("edit", "@a.mp4", "--fps=nan"),
    "--guidance=nan": ("edit", "@a.mp4", "--guidance=nan"),
    "18446744073709551615": ("edit", "@a.mp4", "--seed=18446744073709551615"),
    "seed is 18446744073709551615": ("generate", "--prompts=@wild.jsonl"),
    "fps=1e+06 must be": ("generate", "--prompts=@fast.jsonl"),
    "there is no folder /nowhere": ("loop", "@a.mp4", "--out=/nowhere/x.mp4"),
    "is not UTF-8": ("generate", "--prompt=\udcff"),
    "--prompt is empty": ("loop",),
    "ends in": ("loop", "@a.mp4", "--out=x.avi"),
    "limit of this model": ("extend", "@a.mp4", "--size=1000x1000"),
    "is no JSON": ("generate", "--prompts=@noise.jsonl"),
    "no key 'sise'": ("generate", "--prompts=@sise.jsonl"),
    "frames is 'x'": ("generate", "--prompts=@kind.jsonl"),
    "holds no prompt": ("generate", "--prompts=@blank.jsonl"),
    "goes with --out": ("generate", "--prompts=@kind.jsonl", "--count=2"),
}


@pytest.fixture(scope="module")
def bad(at):
  """Files that cannot be used."""
  (at / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(4096))
  (at / "sound.mp4").write_bytes(bad_files.audio_only())
  (at / "long.mp4").write_bytes(bad_files.coded(10_001))
  (at / "thin.png").write_bytes(bad_files.picture("L", 9, size=(200, 9)))
  (at / "noise.jsonl").write_text("{\n")
  (at / "sise.jsonl").write_text('{"prompt": "a", "sise": "4x4"}\n')
  (at / "kind.jsonl").write_text('{"prompt": "a", "frames": "x"}\n')
  (at / "blank.jsonl").write_text("\n")
  (at / "wild.jsonl").write_text(f'{{"prompt": "a", "seed": {2**64 - 1}}}\n')
  (at / "fast.jsonl").write_text('{"prompt": "a", "fps": 1e6}\n')
  return at


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_line(bad, tmp_path, capsys, what):
  argv = BAD[what]
  out = [] if any(a.startswith("--out") for a in argv) else [
      f"--out={tmp_path}/x.mp4"]
  command(bad, *argv, *out, code=2)
  error = capsys.readouterr().err.strip()
  assert what in error and "\n" not in error, error
  assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("verb", [
    ("animate",), ("extend",), ("loop",), ("connect", "@a.mp4"), ("edit",),
    ("inpaint", "--region=0,0,9,9"), ("upscale", "--size=48x32")],
                         ids=lambda verb: verb[0])
def test_no_verb_takes_a_file_that_cannot_be_used(bad, tmp_path, capsys, verb):
  for name, word in (("noise.mp4", "Invalid data"), ("sound.mp4", "no video"),
                     ("long.mp4", "10000"), ("gone.mp4", "no such file")):
    command(bad, verb[0], *verb[1:], f"@{name}", f"--out={tmp_path}/x.mp4",
            code=2)
    error = capsys.readouterr().err.strip()
    assert word in error and name in error and "\n" not in error, error
  assert not list(tmp_path.iterdir())


def test_a_verb_sees_a_clip_at_its_times_and_in_its_shape(at, tmp_path):
  pts = [*range(9), *range(13, 17)]  # four frames are left out
  (at / "uneven.mp4").write_bytes(bad_files.coded(13, 32, "libx264", pts=pts))
  (at / "wide.mp4").write_bytes(bad_files.coded(
      17, 32, "libx264", sar=fractions.Fraction(3, 2)))
  for name, flags in (("uneven", [f"--size={SIZE}"]), ("wide", [])):
    out = tmp_path / f"{name}.mp4"
    command(at, "edit", f"@{name}.mp4", "--strength=0", *flags, f"--out={out}")
    video, rate = video_io.read(out)
    assert video.shape == (17, 32, 48, 3) and rate == 25


def test_a_verb_says_what_a_format_cannot_do(tmp_path, capsys):
  model = types.SimpleNamespace(model=types.SimpleNamespace(digest="d"))
  request = types.SimpleNamespace(
      canvas=types.SimpleNamespace(fps=60), prompt="a", asked="")
  for name, word in (("a.mp4", "33x31 is padded to 34x32"),
                     ("a.gif", "25 of 30 frames are in it"), ("a.webp", "")):
    drawing.write(str(tmp_path / name), ["edit"], model, request,
                  iter(bad_files.moving(30, 31, 33)), 0)
    printed = capsys.readouterr().out
    assert word in printed and printed.count("\n") == 1 + bool(word)


def test_a_long_input_is_read_and_only_its_end_is_seen(at, tmp_path):
  (at / "many.mp4").write_bytes(bad_files.coded(200, 32, "libx264"))
  command(at, "extend", "@many.mp4", "--frames=5", f"--size={SIZE}",
          "--window=17", f"--out={tmp_path}/x.mp4")
  assert video_io.scan(str(tmp_path / "x.mp4")).frames == 205
