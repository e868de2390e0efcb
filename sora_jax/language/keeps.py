"""Whether a longer text keeps all that a prompt says.

A prompt of a world is read (contracts.World.read), and so is the longer text:
every fact must be there with the same value. Which world a prompt is of shows by
leaving out its words one by one: the world whose reading depends on most of them
has understood it best. Words that no reading depends on, and all words of a
prompt that no world reads, must occur in the longer text.
"""

from collections.abc import Mapping
import functools
import re
from typing import Any

from sora_jax import contracts
from sora_jax import worlds
from sora_jax.text import words as words_lib

GRAM = 6  # words in a row that may not come twice; captions of two have 5
LONGEST = 150  # words of a prompt that a world is asked to read
_STOP = """
a an the this that these those of to in on at by for from with and or as is are was
were be been being it its there which who while then so into onto over up off out
his her their has have had does do did also very where when one some video clip image
picture photo shot scene of showing shows show
的 了 着 过 在 是 有 和 与 并 就 也 地 得 里 中 上 一 个 只 条 块 位 张 名 从
到 又 再 后 然 来 去 这 那 它 他 她
"""
_LIKE = """
moves moving move slides sliding travels travelling glides gliding rolls rolling goes
going comes passes passing flies walks walk again back other side next beside behind
object objects line straight plain ground edge hits bounces balls painted brush takes
stands stand stay around them camera floor opens closes hidden changes above pieces
fall first through down
动 移 运 滑 边 旁 经 面 弹 起 碰 缘 戴 咬 画 飞 方 开 关 打 成 变 头 镜 回 出
走 滚 掉 下 落 除 破
"""
STOP = frozenset(_STOP.split())  # words that say nothing by themselves
# Words in captions of worlds that could be others: that the thing is kept shows
# by the facts.
LIKE = frozenset(_LIKE.split())
_FROM = re.compile(r"\bfrom (?:left|right) to (left|right)\b")
_STEM = re.compile(r"(?<=[a-z]{3})(?:ing|ed|es|s|ly|e)$")


def fault(prompt: str, text: str) -> str:
  """What is wrong with a longer text of a prompt, "" where nothing is.

  Args:
    prompt: what the user wrote.
    text: that should say all of it and more.
  """
  if again := repeated(text):
    return f"it repeats '{again}'"
  found = readers(prompt)
  if not found:
    return _drops([w for w in said(prompt) if w not in STOP
                   and not _has(text, w)])
  faults = [_fault_of(world, prompt, text) for world in found]
  return "" if "" in faults else faults[0]


def _fault_of(world: str, prompt: str, text: str) -> str:
  """What a world finds wrong with a longer text of one of its prompts."""
  told, found = read(world, prompt) or {}, read(world, text) or {}
  for name, value in told.items():
    if name not in found:
      return f"it does not tell {name}, {_shown(value)}"
    if found[name] != value:
      return f"it says {name} is {_shown(found[name])}, not {_shown(value)}"
  return _drops([w for w in _unread(world, _plain(prompt))
                 if w not in STOP and w not in LIKE and not _has(text, w)])


def readers(text: str) -> list[str]:
  """The names of the worlds that understand most words of a text.

  The one that tells most facts comes first; [] if none understands any.
  """
  text, found = _plain(text), {}
  content = set(said(text)) - STOP - LIKE
  if len(said(text)) > LONGEST:
    return []
  for name in worlds.WORLDS:
    if told := read(name, text):
      # Small words and verbs mean one thing here and another there.
      found[name] = len(content - set(_unread(name, text))), len(told)
  most = max((score for score, _ in found.values()), default=0)
  return sorted((name for name, (score, _) in found.items() if score == most > 0),
                key=lambda name: -found[name][1])


def read(world: str, text: str) -> Mapping[str, Any] | None:
  """What a world reads in a text, None where it reads nothing."""
  try:
    return _world(world).read(text)
  except ValueError:
    return None


def said(text: str) -> list[str]:
  """The words of a text, each once."""
  return list(dict.fromkeys(words_lib.split(text)))


def repeated(text: str) -> str:
  """GRAM words of a sentence that a text has twice, "" where there are none.

  Of a shorter sentence all words, if there are two or more.
  """
  seen: set[tuple[str, ...]] = set()
  for sentence in re.split(r"[.!?;。！？；]", text):
    words = words_lib.split(sentence)
    size = min(GRAM, max(len(words), 2))
    for i in range(len(words) - size + 1):
      gram = tuple(words[i:i + size])
      if gram in seen:
        return " ".join(gram)
      seen.add(gram)
  return ""


def _world(name: str) -> contracts.World:
  return worlds.WORLDS[name]


def _plain(text: str) -> str:
  """A text in which a way is told by one word."""
  return _FROM.sub(r"to the \1", text.lower()).replace("不动", "")


@functools.lru_cache(256)
def _unread(world: str, text: str) -> tuple[str, ...]:
  """The words without which a world reads the same."""
  whole = read(world, text)
  without = lambda word: words_lib.WORD.sub(
      lambda m: "" if m[0].casefold() == word else m[0], text)
  return tuple(word for word in said(text) if read(world, without(word)) == whole)


def _has(text: str, word: str) -> bool:
  """Whether a word, or another form of it, occurs in a text."""
  return _STEM.sub("", word) in {_STEM.sub("", w) for w in said(text)}


def _drops(words: list[str]) -> str:
  return f"it drops {', '.join(repr(w) for w in words[:5])}" if words else ""


def _shown(value: Any) -> str:
  return " and ".join(map(str, value)) if isinstance(value, tuple) else str(value)
