"""Short prompts become long ones, which may add and never drop or contradict.

Report: "we also leverage GPT to turn short user prompts into longer detailed
captions that are sent to the video model." Whoever expands (contracts.Expander:
a local model, an endpoint, your own) is asked up to TRIES times, until keeps.py
finds no fault; else the prompt itself is used, and a note says why.
"""

from collections.abc import Callable
import dataclasses
import time
import warnings

from sora_jax import contracts
from sora_jax.language import answers
from sora_jax.language import keeps

TRIES = 4
LIMIT = 2000  # characters of a prompt that is expanded


@dataclasses.dataclass(frozen=True)
class Expanded:
  """A prompt and what became of it.

  Attributes:
    prompt: what the user wrote.
    text: what should be drawn: the longer text, or the prompt itself.
    note: why it is the prompt itself, in one line; "" where it is not.
    tries: how often the expander was asked.
  """

  prompt: str
  text: str
  note: str = ""
  tries: int = 0


def expand(expander: contracts.Expander, prompt: str, seed: int = 0,
           seen: str = "") -> Expanded:
  """A longer text of a prompt, or the prompt where none can be had.

  Args:
    expander: whom to ask.
    prompt: what the user wrote.
    seed: of the first try; the next ones follow.
    seen: a caption of the image or video that is given, "" without one.
  """
  itself = lambda why, tries=0: Expanded(
      prompt, prompt, f"the prompt is used as it is: {why}", tries)
  if not prompt.strip():
    return itself("it is empty, and there is nothing to expand")
  if not keeps.said(prompt) and not answers.sign(prompt):
    return itself("it has no word, and there is nothing to expand")
  if len(prompt) > LIMIT:
    return itself(f"it has {len(prompt)} characters, and at most {LIMIT} are "
                  "expanded")
  if odd := answers.control(prompt):
    return itself(f"it holds a control character, U+{ord(odd):04X}")
  within = getattr(expander, "within", None)
  end = time.monotonic() + getattr(expander, "timeout", 0)
  why, tries = "", 0
  for tries in range(1, TRIES + 1):
    left = end - time.monotonic()
    if within and left <= 0:
      return itself(f"{why}, and its time is over", tries - 1)
    try:
      text = (within(left) if within else expander).expand(
          prompt, seed + tries - 1, seen)
      text = answers.describing(text)
    except (ValueError, OSError, RuntimeError) as e:
      why = " ".join(str(e).split()) or type(e).__name__
      if not isinstance(e, ValueError):
        return itself(why, tries)  # it would fail again
      continue
    why = keeps.fault(prompt, text)
    if not why:
      return Expanded(prompt, text, tries=tries)
    why = f"{expander.name} was not faithful: {why}"
  return itself(why, tries)


def checked(expander: contracts.Expander, seed: int = 0, seen: str = ""
            ) -> Callable[[str], str]:
  """A function of a prompt, for the argument `expand` of the verbs in Python.

  It warns where the prompt itself is used.

  Args:
    expander: whom to ask.
    seed: of the first try.
    seen: a caption of the image or video that is given.
  """
  def text_of(prompt: str) -> str:
    found = expand(expander, prompt, seed, seen)
    if found.note:
      warnings.warn(found.note, stacklevel=2)
    return found.text

  return text_of
