"""Tokenizers of open models give the ids that transformers gives.

They are trained here: a T5 layout, and a UMT5 layout that can spell bytes.
"""

import io
import json
import random
import shutil
import sys

import pytest
import sentencepiece
import transformers

from sora_jax.text import tokenizer as tokenizer_lib

CAPTION = ("a red ball moves left over the blue floor while two green squares "
           "wait at Ünïcödé cafés open 42 times; the cat sat on the mat, and it "
           "looked at the dog who wasn't eating. 红色 的 球 向左 移动")
WORDS = CAPTION.split()
LAYOUTS = {"t5": dict(bos_id=-1, unk_id=2),
           "umt5": dict(bos_id=2, unk_id=3, byte_fallback=True)}
ODD = (
    "", " ", "\n\t", "a", "  a   red\tball \n", "RED Ball", "Ａ ½ ﬁ\u3000red",
    "日本 語", "红色的球向左移动", "🙂🙂 red🙂ball", "e\u0301 é", "\u200bred",
    "ball\u00a0ball", "wasn't; wasn’t", "42,000.5", "▁a ▁", "<b>red</b>",
    "\u202ered", "a</s> red", "<pad><unk> red", "<extra_id_0> a <extra_id_99>b",
    "<extra_id_100>", "<s> a", "Z" * 300, "ß İ ı ſ", "\x00\x01 red",
    "مرحبا red", "नमस्ते", "x" * 40 + "日" * 40)
LIMITS = (512, 7, 1)


def strings():
  """50 texts: odd ones, and random ones up to very long."""
  rng = random.Random(1)
  texts = list(ODD)
  while len(texts) < 50:
    texts.append(" ".join(rng.choices(WORDS, k=rng.choice((3, 30, 900)))))
  return texts


@pytest.fixture(scope="module", params=LAYOUTS)
def opened(request, tmp_path_factory):
  """(folder with spiece.model, folder with tokenizer.json, the reference)."""
  spiece, converted = (tmp_path_factory.mktemp(request.param) for _ in "ab")
  rng = random.Random(0)
  texts = [" ".join(rng.choices(WORDS, k=8)) for _ in range(400)]
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(texts), model_writer=model, vocab_size=400,
      model_type="unigram", hard_vocab_limit=False, pad_id=0, eos_id=1,
      num_threads=1, minloglevel=2, **LAYOUTS[request.param])
  (spiece / "spiece.model").write_bytes(model.getvalue())
  reference = transformers.T5TokenizerFast.from_pretrained(spiece)
  reference("a red ball", max_length=2, truncation=True)  # is saved with it
  reference.save_pretrained(converted)
  assert not (converted / "spiece.model").exists()
  # Since version 5 that class gives every model the unknown id 2. The open
  # files, written before, have the one of spiece.model.
  path = converted / "tokenizer.json"
  content = json.loads(path.read_text(encoding="utf-8"))
  content["model"]["unk_id"] = LAYOUTS[request.param]["unk_id"]
  path.write_text(json.dumps(content), encoding="utf-8")
  if request.param != "t5":
    reference = transformers.PreTrainedTokenizerFast.from_pretrained(converted)
  return spiece, converted, reference


@pytest.mark.parametrize("file", ["spiece.model", "tokenizer.json"])
def test_same_ids(opened, file):
  folder, reference = opened[file == "tokenizer.json"], opened[2]
  assert (folder / file).exists()
  ours = tokenizer_lib.open_folder(folder)
  assert (ours.pad, ours.eos) == (reference.pad_token_id,
                                  reference.eos_token_id)
  assert ours.vocab_size == len(reference)
  for text in strings():
    for limit in LIMITS:
      wanted = reference(text, max_length=limit, truncation=True).input_ids
      assert ours.encode(text, limit) == wanted, (text, limit)


def test_special_tokens_are_those_of_the_settings(opened, tmp_path):
  spiece, converted, _ = opened
  names = {"eos_token": {"content": "<extra_id_1>", "lstrip": False},
           "pad_token": "</s>"}
  for source, file in ((spiece, "spiece.model"), (converted, "tokenizer.json")):
    folder = tmp_path / file
    folder.mkdir()
    shutil.copy(source / file, folder)
    (folder / "special_tokens_map.json").write_text(json.dumps(names))
    ours = tokenizer_lib.open_folder(folder)
    assert (ours.eos, ours.pad) == (ours.vocab_size - 2, 1)
    assert ours.encode("", 3) == [ours.eos]
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"eos_token": "<end>"}))
    with pytest.raises(ValueError, match=f"{file} has no special .*<end>"):
      tokenizer_lib.open_folder(folder)
  (tmp_path / "spiece.model" / "tokenizer_config.json").write_text(json.dumps(
      {"eos_token": "<end>", "extra_ids": 2,
       "added_tokens_decoder": {"900": {"content": "<end>"}}}))
  ours = tokenizer_lib.open_folder(tmp_path / "spiece.model")
  assert (ours.eos, ours.vocab_size) == (900, 901)
  assert ours.encode("<end><extra_id_1>", 9)[0] == 900


def test_our_own_tokenizer_opens(tmp_path):
  ours = tokenizer_lib.train(WORDS, tmp_path / "tokenizer.model")
  assert tokenizer_lib.open_folder(tmp_path) == ours


def test_what_is_wrong_is_named(opened, tmp_path, monkeypatch):
  spiece, converted, _ = opened
  with pytest.raises(ValueError, match="no tokenizer: spiece.model or"):
    tokenizer_lib.open_folder(tmp_path)
  with pytest.raises(ValueError, match="limit of 0"):
    tokenizer_lib.open_folder(spiece).encode("a", 0)
  with monkeypatch.context() as m:
    m.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ValueError, match="pip install tokenizers ftfy"):
      tokenizer_lib.open_folder(converted)
    tokenizer_lib.open_folder(spiece)
  (tmp_path / "tokenizer.json").write_text("{")
  with pytest.raises(ValueError, match="tokenizer.json is not a tokenizer"):
    tokenizer_lib.open_folder(tmp_path)
  (tmp_path / "spiece.model").write_bytes(b"no model")
  with pytest.raises(ValueError, match="spiece.model is not a sentencepiece"):
    tokenizer_lib.open_folder(tmp_path)
  (tmp_path / "tokenizer_config.json").write_text("[1]")
  with pytest.raises(ValueError, match="tokenizer_config.json is no JSON"):
    tokenizer_lib.open_folder(tmp_path)
