"""Words become pieces, the same for the same captions in any order."""

import pytest

from sora_jax.text import tokenizer


def test_the_tokenizer(tmp_path):
  texts = [f"a {c} {s} moves {d}" for c in ("red", "blue", "green")
           for s in ("ball", "square") for d in ("left", "right", "up")]
  tok = tokenizer.train(texts, f"{tmp_path}/a", 128)
  assert tokenizer.load(f"{tmp_path}/a").digest == tok.digest
  assert tokenizer.train(reversed(texts), f"{tmp_path}/b", 128
                         ).digest == tok.digest
  with pytest.raises(ValueError, match="0 texts"):
    tokenizer.train([" "], f"{tmp_path}/c")
  assert tok.encode("", 8) == [tokenizer.EOS]
  assert tok.encode("", 8, continues=True) == [tokenizer.CONTINUES,
                                               tokenizer.EOS]
  ids = tok.encode("a RED ball", 64)
  assert len(ids) == 4  # a piece for each word
  assert ids == tok.encode("a red ball", 64) and ids[-1] == tokenizer.EOS
  assert tokenizer.CONTINUES not in tok.encode("<continues> a ball", 64)
  assert len(tok.encode("a red ball " * 50, 16, True)) == 16
  assert max(tok.encode("日本 🎈", 64)) < tok.vocab_size
  with pytest.raises(ValueError, match="text limit of 1"):
    tok.encode("x", 1, continues=True)
  with pytest.raises(ValueError, match="not a sentencepiece"):
    tokenizer.load(b"nonsense")
