"""What a user should know of prompts before they are drawn, one line each.

Nothing here is an error: the video is drawn all the same. Too long a prompt is
cut, an unknown word means nothing to the model, and a negative prompt without
guidance is not looked at.
"""

from collections.abc import Sequence

from sora_jax import messages
from sora_jax.formats import pretrained
from sora_jax.generation import canvas as canvas_lib
from sora_jax.generation import sampler
from sora_jax.generation import windows as windows_lib
from sora_jax.text import prompts as prompts_lib
from sora_jax.text import words as words_lib


def of(model: pretrained.Model, tokenizer: prompts_lib.Tokenizer,
       canvas: canvas_lib.Canvas | canvas_lib.Crossfade,
       prompts: str | Sequence[str], how: sampler.Sampling) -> list[str]:
  """The lines of a drawing.

  Args:
    model: that draws.
    tokenizer: of the model.
    canvas: that is drawn.
    prompts: one, or several that are drawn alike.
    how: the negative prompt, the guidance and the window.
  """
  prompts = [prompts] if isinstance(prompts, str) else list(prompts)
  first = canvas if isinstance(canvas, canvas_lib.Canvas) else canvas.second
  lines = [line for prompt in dict.fromkeys(prompts) if not how.expand
           for line in _of_text(model, tokenizer, first, "--prompt", prompt, how)]
  if not how.negative:
    return lines
  scale = model.defaults.guidance if how.guidance is None else how.guidance
  if scale == 1:
    return [*lines, "--negative does nothing at --guidance=1: give --guidance "
            "above 1, such as --guidance=3"]
  return lines + _of_text(model, tokenizer, first, "--negative", how.negative, how)


def _of_text(model: pretrained.Model, tokenizer: prompts_lib.Tokenizer,
             canvas: canvas_lib.Canvas, name: str, text: str,
             how: sampler.Sampling) -> list[str]:
  """The lines of one text."""
  lines, defaults = [], model.defaults
  windows = windows_lib.split(canvas, sampler.window_latents(
      model, canvas, how.window))
  length = max((prompts_lib.length(
      tokenizer, text, defaults.text_pad,
      windows_lib.continues(canvas, window)) for window in windows), default=0)
  if length > defaults.text_limit:
    lines.append(
        f"{name} has {messages.count(length, 'id')} and the limit of this model is "
        f"{defaults.text_limit}: its end is left out; make it shorter")
  if unknown := words_lib.unknown(text, model.words, tokenizer):
    named = ", ".join(f"'{word}'" for word in unknown)
    known = ", ".join(words_lib.examples(model.words, tokenizer))
    told = (f"{name}: the captions of this model do not have {named}; they have "
            + messages.count(len(model.words), "word", ",") if model.words else
            f"{name}: this model may not know {named}, for its tokenizer has no "
            "piece for them; it knows words")
    lines.append(f"{told} such as {known}")
  return lines
