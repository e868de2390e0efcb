"""The captioner: packed or alone, trained, exported, and at work."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sora_jax
from sora_jax import main
from sora_jax import types
from sora_jax.data.loading import caption_plan
from sora_jax.data.loading import plan as plan_lib
from sora_jax.data.loading import token_config
from sora_jax.data.store import latents
from sora_jax.formats import find
from sora_jax.formats import pretrained
from sora_jax.language import captioner as language
from sora_jax.models import captioner as captioner_lib
from sora_jax.tasks import config as config_lib
from sora_jax.text import tokenizer as tokenizer_lib
from sora_jax.training import stopping
from sora_jax.training.objectives import captioner as objective
import toy_data

ROOT = pathlib.Path(__file__).parent.parent
CONFIG = f"{ROOT}/configs/captioner.py:test"
SMALL = captioner_lib.Captioner((1, 2, 2), 8, 40, 24, 1, 1, 2, 32, 16, 1,
                                embedding=8, length=12)
pytestmark = pytest.mark.quick_compile


@pytest.fixture(scope="module")
def cached(pixels, tmp_path_factory):
  """Latents that name the VAE of tiny."""
  vae = pretrained.load(find.find("tiny"), components=("vae",)).digest
  return toy_data.synthetic(pixels, tmp_path_factory.mktemp("captions"), vae=vae,
                            channels=16, splits=("train", "val"))


def tokens(rng, rows, *lengths):
  """Packed clips of `lengths` and their captions of 5 ids each."""
  count = sum(lengths)
  seg = np.repeat(np.arange(1, len(lengths) + 1), lengths)
  text = np.repeat(np.arange(1, len(lengths) + 1), 5)
  over = lambda x: np.broadcast_to(x, (rows, len(x))).astype(np.int32)
  return (types.Tokens(rng.normal(size=(rows, count, 8)).astype(np.float32),
                       rng.uniform(0, 9, (rows, count, 3)).astype(np.float32),
                       over(seg)),
          types.Text(rng.integers(4, 40, (rows, len(text))), over(text)))


@pytest.mark.slow
def test_a_clip_in_a_packed_row_is_seen_as_alone():
  params = captioner_lib.init(SMALL, jax.random.key(0))
  clips, text = tokens(np.random.default_rng(0), 1, 6, 9)
  run = lambda clips, text, count: captioner_lib.read(
      SMALL, params, clips, text, jnp.ones_like(text.ids),
      jnp.zeros_like(text.ids, bool), count)
  logits, seen, said, _ = run(clips, text, 3)
  for i, (at, of) in enumerate(((slice(0, 6), slice(0, 5)),
                                (slice(6, 15), slice(5, 10)))):
    cut = lambda x, part: x[:, part]
    one = types.Tokens(cut(clips.x, at), cut(clips.pos, at),
                       np.ones_like(clips.seg[:, at]))
    words = types.Text(text.ids[:, of], np.ones_like(text.seg[:, of]))
    alone = run(one, words, 1)
    np.testing.assert_allclose(logits[:, of], alone[0], atol=1e-4)
    np.testing.assert_allclose(seen[:, i], alone[1][:, 0], atol=1e-5)
    np.testing.assert_allclose(said[:, i], alone[2][:, 0], atol=1e-5)


@pytest.mark.slow
def test_where_a_thing_is_is_seen():
  """Positions that differ by a shift alone give another embedding."""
  params = captioner_lib.init(SMALL, jax.random.key(0))
  clips, _ = tokens(np.random.default_rng(0), 1, 6)
  moved = clips.replace(pos=clips.pos + np.float32([0, 3, 0]))
  a, b = (captioner_lib.embed_clips(SMALL, params, x) for x in (clips, moved))
  assert np.abs(a - b).max() > 1e-3


def test_equal_captions_are_no_wrong_answers():
  """Two clips with one caption: what tells them apart is not asked."""
  one = np.eye(4, dtype=np.float32)[None]  # [1, 4, E]
  ids = np.array([[5, 6, 1, 5, 6, 1, 7, 1, 6, 5, 1]])
  seg = np.array([[1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 4]])
  same = one[:, [0, 0, 2, 3]]  # the first two clips look alike
  loss, _ = objective.contrastive(one, same, 100.0, ids, seg)
  # Clip 2 is like no caption, and caption 1 is no wrong one for it.
  np.testing.assert_allclose(loss, np.log(3) / 4, rtol=1e-5)
  loss, found = objective.contrastive(same, same, 100.0, ids, seg)
  assert loss < 1e-6 and found == 1
  ids[0, 4] = 8  # now the captions differ, and the clips do not
  loss, _ = objective.contrastive(same, same, 100.0, ids, seg)
  np.testing.assert_allclose(loss, np.log(2) / 2, rtol=1e-5)


def test_a_batch_says_which_caption_each_clip_has(cached):
  cfg = token_config.TokenConfig(
      shapes=((8, 64), (4, 128)), text_length=160, text_limit=160, dropout=0,
      conditioning=(*caption_plan.WHOLE, ("descriptive", 0.5)))
  plan = caption_plan.CaptionPlan(plan_lib.token_plan(cached, cfg))
  batch, tok = plan.batch(0), tokenizer_lib.of(cached)
  captions = [latents.decode(cached.record(i)).captions
              for i in range(len(cached))]
  seen = set()
  for row in range(len(batch.text.ids)):
    for segment in range(1, batch.text.seg[row].max() + 1):
      clip = int(batch.tokens.x[row][batch.tokens.seg[row] == segment][0, 0])
      here = batch.text.seg[row] == segment
      kind, = set(batch.kind[row][here].tolist())
      assert batch.text.ids[row][here].tolist() == tok.encode(
          captions[clip][kind], 160)
      seen.add(kind)
  assert seen == {0, 1}


@pytest.mark.slow
def test_a_run_becomes_a_captioner(cached, tmp_path, capsys, monkeypatch):
  """Trained, resumed, exported, and loaded: it tells the clips apart."""
  cfg = config_lib.load(CONFIG)
  cfg.steps = 60
  cfg.data.update(shapes=((8, 64), (4, 128)), text_length=160)
  cfg.loop.update(preview_every=60, validate_every=60)
  run = lambda: sora_jax.train(cfg, cached.root, tmp_path / "run", "tiny")
  cfg.steps = 30
  run()
  cfg.steps = 60
  assert run().reason == "done"
  lines = [json.loads(line) for line in
           (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
  losses = [line["captions"] for line in lines if "captions" in line]
  assert losses[-1] < 0.6 * losses[0]
  assert any("val_loss" in line for line in lines)
  shown = (tmp_path / "run/previews/00000060-captions.md").read_text()
  assert shown.count("\n- ") == shown.count("\n  - ") == 12
  assert main.main(["export", f"--workdir={tmp_path}/run",
                    f"--out={tmp_path}/model"]) == 0
  capsys.readouterr()
  found = language.load(tmp_path / "model")
  assert found.digest and "Captioner" in repr(found)
  records = [latents.decode(cached.record(i)) for i in range(40)]
  together = found.caption(records)
  assert together[5:6] == found.caption(records[5:6])
  assert np.allclose(np.linalg.norm(found.embed_clips(records), axis=1), 1,
                     atol=1e-5)
  video = np.zeros((9, 48, 48, 3), np.uint8)
  assert isinstance(found.describe(video, 8), str)
  assert found.similarity(["a red ball", "a dog"], [video] * 3).shape == (2, 3)
  cfg.init_from = str(tmp_path / "model")
  log = tmp_path / "on" / "metrics.jsonl"
  monkeypatch.setattr(stopping.Stop, "wish", lambda self, reserve=0.0: (
      stopping.SIGNAL if log.exists() and log.read_text() else ""))
  sora_jax.train(cfg, cached.root, tmp_path / "on", "tiny")
  first = json.loads(log.read_text().splitlines()[0])
  assert first["step"] == 1 and first["captions"] < 0.6 * losses[0]


def test_the_captioner_of_the_worlds_reads_latents_of_their_vae():
  vae = pretrained.load(find.find("worlds/vae"), components=("vae",))
  assert language.load().vae_digest == vae.vae_digest


@pytest.mark.parametrize("text, video, fps, said", [
    ("", None, 8, "no text with a word"),
    ("\U0001f534", None, 8, "no text with a word"),
    ("a \udcff", None, 8, "half a character"),
    ("a ball", np.zeros((1, 16, 16, 3)), 8, "of float64: give a path, or uint8"),
    ("a ball", np.zeros((2, 16, 16, 4), np.uint8), 8, "16, 4"),
    ("a ball", np.zeros((0, 16, 16, 3), np.uint8), 8, "empty"),
    ("a ball", None, 0, "fps is 0"), ("a ball", None, float("nan"), "fps is nan")])
def test_what_is_no_text_no_video_and_no_rate(text, video, fps, said, monkeypatch):
  monkeypatch.setattr(language.Captioner, "embed_clips", lambda self, records: 0)
  if video is None:
    video = np.zeros((1, 16, 16, 3), np.uint8)
  monkeypatch.setattr(language.video_lib, "latents", lambda *a: np.zeros((1, 2, 2, 4)))
  with pytest.raises(ValueError, match=said):
    sora_jax.similarity(text, video, fps=fps)


def test_no_texts_and_no_videos():
  found = language.load()
  for wrong in ([], "red"):
    with pytest.raises(ValueError, match="list of one or more"):
      found.embed_texts(wrong)
  with pytest.raises(ValueError, match="one or more"):
    found.embed_clips([])


def test_large_and_long_clips_are_looked_at_smaller():
  stride, patch = (4, 8, 8), (1, 2, 2)
  fitted = lambda *size: language.fitted(size, stride, patch, 320)
  assert fitted(17, 64, 64) == (17, 64, 64)
  assert fitted(1, 256, 256) == (1, 256, 256)
  for size in ((1000, 1080, 1920), (1, 2048, 2048), (33, 48, 640), (240, 32, 32)):
    frames, height, width = fitted(*size)
    tokens = (1 + (frames - 1) // 4) * -(-height // 16) * -(-width // 16)
    assert 160 <= tokens <= 320, (size, frames, height, width)
    assert 0.7 < (width / height) / (size[2] / size[1]) < 1.4


@pytest.mark.parametrize("key, value, message", [
    ("captioner.heads", 3, "captioner.heads is 3: width, 32"),
    ("captioner.vocab", 0, "captioner.vocab"),
    ("captioner.length", 10, "data.text_limit is 64.*captioner.length, 10"),
    ("objective.parallel", 1.5, "objective.parallel"),
    ("objective.contrastive", -1, "objective.contrastive"),
    ("data.descriptive", 2, "data.descriptive is 2"),
    ("optimizer.accumulate", 3, "optimizer.accumulate is 3")])
def test_configs_that_cannot_be(key, value, message, tmp_path):
  cfg = config_lib.load(CONFIG)
  with cfg.unlocked():
    section, name = key.split(".")
    cfg[section][name] = value
  with pytest.raises(ValueError, match=message):
    sora_jax.train(cfg, tmp_path, tmp_path / "run", "tiny")


def test_a_small_vocabulary_and_a_model_without_captioner_are_named(
    cached, tmp_path):
  cfg = config_lib.load(CONFIG)
  cfg.captioner.vocab = 30
  with pytest.raises(ValueError, match="ids and config.captioner.vocab is 30"):
    sora_jax.train(cfg, cached.root, tmp_path / "run", "tiny")
  with pytest.raises(ValueError, match="tiny has no captioner"):
    language.load("tiny")
