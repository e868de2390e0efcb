"""What a language model may answer: one text that describes, nothing else.

A chat model may refuse, ask back, or wrap its text in quotes, headings and
thoughts. What can be taken off is taken off; the rest is refused with a reason,
for an error text has been the caption of thousands of clips before.
"""

import re
from typing import Any
import unicodedata

from sora_jax import files

LIMIT = 2000  # characters of a text
_THOUGHT = re.compile(r"<think>.*?</think>|^.*?</think>", re.DOTALL)
_OPENING = re.compile(
    r"^(?:(?:sure|certainly|of course|absolutely)[,.!]? +)?"
    r"(?:here(?:'s| is| are)[^:.]{0,80}:|"
    r"(?:expanded |detailed |video )*(?:prompt|caption|description|answer) ?:)\s*",
    re.IGNORECASE)
_QUOTES = {'"': '"', "'": "'", "“": "”", "`": "`", "「": "」", "*": "*"}
# What talks to the user, or about itself, and describes nothing.
_TALK = re.compile(
    r"\bas an? (?:ai|language model|assistant)\b|\blanguage model\b|"
    r"\bi(?:'m| am) (?:sorry|unable|not able|afraid)|\bi (?:can(?:no|')t|cannot|"
    r"won'?t|don'?t|do not|will|would|need|apologi[sz]e)\b|\bi'(?:ll|d)\b|"
    r"^\s*(?:sorry|unfortunately|sure|certainly|okay|ok|yes|no|hello|hi)[,.!]|"
    r"\b(?:please|could you|can you|would you|let me know|feel free)\b|"
    r"\b(?:ignore|disregard) (?:all|any|the|your|previous)\b|"
    r"\byou are (?:a helpful|an? (?:ai|assistant))|"
    r"^\s*(?:rewrite|describe|write|generate|provide|respond|return|expand|"
    r"translate) (?:the|a|an|this|it|your|only|with)\b|"
    r"^.{0,6}(?:对不起|抱歉|无法|不能)|作为.{0,6}(?:模型|助手)|请(?:提供|您|你)|"
    r"忽略.{0,8}指令",
    re.IGNORECASE)
_MARKUP = re.compile(r"```|^\s*[#{<\[]|</?[a-z!][^>]*>|https?://|^\s*[-*\d]+[.)]? .*"
                     r"\n\s*[-*\d]+[.)]? ", re.IGNORECASE | re.DOTALL)


def text_of(body: bytes) -> str:
  """The text of the answer of a chat endpoint.

  Raises:
    ValueError: no answer of one, or a text that describes nothing.
  """
  if not body.strip():
    raise ValueError("answered nothing")
  if body.lstrip()[:1] == b"<":
    raise ValueError("answered a page of HTML: is the URL that of an API, such "
                     "as http://localhost:8000/v1?")
  try:
    choice = files.parse_json(body)["choices"][0]
    text = choice["message"]["content"]
  except ValueError as e:
    raise ValueError(f"answered what {e}") from e
  except (KeyError, IndexError, TypeError):
    raise ValueError("answered JSON without choices[0].message.content") from None
  if choice.get("finish_reason") == "length":
    raise ValueError("answered a text that breaks off: its limit of tokens is "
                     "too small")
  return describing(text)


def describing(text: Any) -> str:
  """A text that describes, on one line, without what surrounds it.

  Raises:
    ValueError: it is empty, too long, talks instead, or holds what no text
      does.
  """
  if not isinstance(text, str):
    raise ValueError(f"answered {type(text).__name__} in place of a text")
  text = _THOUGHT.sub("", text).strip()
  text = _OPENING.sub("", text).strip()
  while len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
    text = text[1:-1].strip()
  if not text:
    raise ValueError("answered nothing")
  if len(text) > LIMIT:
    raise ValueError(f"answered {len(text)} characters; the limit is {LIMIT}")
  if odd := control(text):
    raise ValueError(f"answered a control character, U+{ord(odd):04X}")
  if found := _TALK.search(text) or _MARKUP.search(text):
    raise ValueError("answered an instruction, a refusal or markup instead of a "
                     f"description ({' '.join(found[0].split())[:30]!r})")
  return " ".join(text.split())


def sign(text: str) -> str:
  """The first emoji or other sign that stands for words, "" without one."""
  return next((c for c in text if unicodedata.category(c) == "So"), "")


def control(text: str) -> str:
  """The first character that no line of text holds, "" where all are good.

  Blanks of any kind are good. Those that steer the direction of writing and
  the invisible ones are not, but for the joiners that emoji and scripts need.
  """
  return next((c for c in text if not c.isspace() and unicodedata.category(c)
               in ("Cc", "Cf", "Cs", "Co") and c not in "\u200c\u200d"), "")
