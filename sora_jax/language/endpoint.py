"""Any chat endpoint that speaks as OpenAI's: prompts longer, clips described.

vLLM, llama.cpp, Ollama, LM Studio and most vendors offer POST
URL/chat/completions. Nothing is sent unless an Endpoint is made and asked. The
key is read from the environment when it is sent: it is in no object, no file
and no message.
"""

import base64
from collections.abc import Mapping, Sequence
import dataclasses
import email.utils
import io
import json
import os
import time
from typing import Any
import urllib.parse

import numpy as np
import PIL.Image

from sora_jax import files
from sora_jax.language import answers
from sora_jax.language import post as post_lib

KEYS = ("SORA_JAX_LLM_KEY", "OPENAI_API_KEY")  # the first that is set is sent
SECRET = 8  # characters of a key; servers without one are given such as "none"
TIMEOUT = 60.0  # seconds
FRAMES = 6  # of a clip that are shown
SIDE = 512  # pixels of the long side of a frame, at most
WAIT = 1.0  # seconds before another try, at least
EXPAND = (
    "You rewrite a short prompt for a video generation model as one detailed "
    "prompt. Keep everything that the prompt says: every object, number, colour, "
    "motion and direction, in the same words; contradict nothing. Add what it "
    "leaves open: look, setting, light, camera. Write in the language of the "
    "prompt, in about {words} words, as one paragraph of plain text. Answer with "
    "that text alone.")
SEEN = "The video begins with what this caption says; keep to it: "
ONLY = "Use only these words: "
CAPTION = (
    "These are frames of one {kind}, in order. Describe it for someone who cannot "
    "see it: what there is, how many, colours, shapes and sizes, what each does "
    "and in which direction, the background. Say only what is to be seen. Answer "
    "with one paragraph of plain text and nothing else.")


@dataclasses.dataclass(frozen=True)
class Endpoint:
  """A language model behind an address: an Expander and a captioner.

  Attributes:
    url: of the API, such as http://localhost:8000/v1.
    model: the name that the server knows it by.
    timeout: seconds that a call may take, waiting and trying again included.
    words: about how many an expanded prompt has.
    vocabulary: the words that the model that draws knows; () if it knows all.
  """

  url: str
  model: str
  timeout: float = TIMEOUT
  words: int = 90
  vocabulary: Sequence[str] = ()

  def __post_init__(self):
    try:
      address = urllib.parse.urlsplit(self.url)
      good = address.scheme in ("http", "https") and address.hostname
      _ = address.port
    except ValueError:
      good = False
    if not good or address.username or address.query or address.fragment or not (
        self.url.isascii() and self.url.isprintable()) or " " in self.url:
      raise ValueError("the URL of the language model must be that of an API, "
                       "such as http://localhost:8000/v1, without a key in it")
    if not self.model.strip():
      raise ValueError("the language model has no name: give the one that its "
                       "server knows it by")
    if not 0 < self.timeout < float("inf"):
      raise ValueError(f"a time-out of {self.timeout} s: give more than 0")

  @property
  def name(self) -> str:
    """What tells it from others: the model and its host."""
    return f"{self.model} at {urllib.parse.urlsplit(self.url).hostname}"

  def within(self, seconds: float) -> "Endpoint":
    """The same with so much time for a call."""
    return dataclasses.replace(self, timeout=seconds)

  def expand(self, prompt: str, seed: int = 0, seen: str = "") -> str:
    """A longer text of a prompt; whether it keeps all is not looked at.

    Args:
      prompt: what the user wrote.
      seed: another seed may give another text.
      seen: what the image or video that is given shows.

    Raises:
      post.Failed: no text within the time-out, in one line.
    """
    system = [EXPAND.format(words=self.words)]
    if self.vocabulary:
      system.append(ONLY + " ".join(self.vocabulary))
    if seen:
      system.append(SEEN + seen)
    return self._ask([{"role": "system", "content": "\n".join(system)},
                      {"role": "user", "content": prompt}], seed)

  def caption(self, frames: np.ndarray, fps: float) -> str:
    """What a clip or an image shows.

    Args:
      frames: uint8 [T, H, W, 3], of which FRAMES are sent.
      fps: frames per second.

    Raises:
      post.Failed: no text within the time-out, in one line.
    """
    at = np.unique(np.linspace(0, len(frames) - 1, FRAMES).round().astype(int))
    kind = f"video of {len(frames) / fps:.3g} s" if len(frames) > 1 else "image"
    parts: list[dict[str, Any]] = [
        {"type": "text", "text": CAPTION.format(kind=kind)}]
    parts += [{"type": "image_url", "image_url": {"url": data_url(frames[i])}}
              for i in at]
    return self._ask([{"role": "user", "content": parts}], 0)

  def _ask(self, messages: Sequence[Mapping[str, Any]], seed: int) -> str:
    """The text that the model answers."""
    key = _key(self.url)
    headers = {"Content-Type": "application/json"} | (
        {"Authorization": f"Bearer {key}"} if key else {})
    body = json.dumps({"model": self.model, "messages": messages,
                       "seed": seed}).encode()
    end = time.monotonic() + self.timeout
    try:
      while True:
        left = max(end - time.monotonic(), 0.001)
        answer = post_lib.post(f"{self.url.rstrip('/')}/chat/completions", body,
                               headers, left)
        if answer.status == 200:
          break
        wait = _wait(answer)
        if wait is None or wait >= end - time.monotonic():
          raise post_lib.Failed(_status(answer, wait, self.timeout, key))
        time.sleep(wait)
      repeats = ValueError("answered with the key in its text")
      if len(key) >= SECRET and key.encode() in answer.body:
        raise repeats  # before a message shows what was answered
      text = answers.text_of(answer.body)
      if len(key) >= SECRET and key in text:  # it was written with escapes
        raise repeats
    except post_lib.TooSlow:
      raise post_lib.Failed(f"{self.name} did not answer within "
                            f"{self.timeout:.3g} s") from None
    except (post_lib.Failed, ValueError) as e:
      raise post_lib.Failed(f"{self.name} {e}") from None
    return text


def data_url(image: np.ndarray) -> str:
  """A frame uint8 [H, W, 3] as JPEG within a text, at most SIDE pixels long."""
  small, buffer = PIL.Image.fromarray(np.asarray(image)), io.BytesIO()
  small.thumbnail((SIDE, SIDE))
  small.save(buffer, "JPEG", quality=90)
  return ("data:image/jpeg;base64,"
          + base64.b64encode(buffer.getvalue()).decode())


def _key(url: str) -> str:
  """The key for a URL, "" where none is set.

  OPENAI_API_KEY may be there for another program: it is sent over https alone.

  Raises:
    ValueError: what no key can be; the message does not show it.
  """
  for name in KEYS:
    key = os.environ.get(name, "").strip()
    if not key or (name != KEYS[0] and not url.startswith("https://")):
      continue
    if not (key.isascii() and key.isprintable()):
      raise ValueError(f"${name} holds characters that no key has")
    return key
  return ""


def _wait(answer: post_lib.Answer) -> float | None:
  """Seconds to wait before another try; None where there should be none."""
  if answer.status not in (429, 503):
    return None
  told = answer.headers.get("retry-after", "")
  if not told:
    return WAIT if answer.status == 429 else None
  if told.isdecimal():
    return max(float(told), WAIT)
  try:
    date = email.utils.parsedate_to_datetime(told)
  except ValueError:
    return WAIT
  return max(date.timestamp() - time.time(), WAIT)


def _status(answer: post_lib.Answer, wait: float | None, timeout: float,
            key: str) -> str:
  """What an answer that is none says, without the key that it may repeat."""
  if wait is not None:
    return (f"answered {answer.status} and asks to wait {wait:.3g} s, which the "
            f"time-out of {timeout:.3g} s does not leave")
  if answer.status in (401, 403):
    return (f"answered {answer.status}: it does not take the key; set "
            f"{KEYS[0]} (or {KEYS[1]}, which is sent over https alone)")
  if 300 <= answer.status < 400:
    return f"answered {answer.status}: it sends elsewhere; give the last URL"
  try:
    found = files.parse_json(answer.body)
    found = found.get("error", found)  # vLLM has no "error", Ollama a text
    said = found if isinstance(found, str) else str(found["message"])
  except (ValueError, KeyError, TypeError, AttributeError):
    return f"answered {answer.status}"
  said = "".join(c for c in said if c.isprintable())
  said = said.replace(key, "***") if len(key) >= SECRET else said
  return f"answered {answer.status}: {said[:120]}"
