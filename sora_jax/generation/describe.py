"""What a model is, in a few lines: for `print` and for a notebook."""

import html

from sora_jax import messages
from sora_jax.formats import pretrained
from sora_jax.text import words as words_lib


def rows(model: pretrained.Model) -> list[tuple[str, str]]:
  """(name, text) of what a user asks of a model: size, defaults, limits."""
  parts = {name.replace("_", " "): getattr(model, name).count
           for name in pretrained.COMPONENTS if getattr(model, name)}
  defaults, (width, height) = model.defaults, model.defaults.size
  takes = ("prompts, images and videos" if model.expand_timesteps
           else "prompts")
  frames = messages.count(defaults.frames, "frame")
  known = ([("knows", f"{messages.count(len(model.words), 'word', ',')}, such as "
                      f"{', '.join(words_lib.examples(model.words, None))}")]
           if model.words else [])
  return [
      ("model", f"{sum(parts.values()):,} parameters, digest "
                f"{model.digest[:12]}"),
      ("networks", ", ".join(f"{name} {count:,}"
                             for name, count in parts.items())),
      ("makes", f"by default {frames} of {width}x{height} at "
                f"{defaults.fps:g} fps, {messages.count(defaults.steps, 'step')} of "
                f"{defaults.method}, guidance {defaults.guidance:g}"),
      ("takes", f"{takes}; a prompt of up to {defaults.text_limit} ids, "
                f"{defaults.max_tokens:,} tokens at once"), *known]


def table(model: pretrained.Model) -> str:
  """The rows as HTML."""
  cells = "".join(
      f'<tr><th style="text-align:left">{html.escape(name)}</th>'
      f'<td style="text-align:left">{html.escape(text)}</td></tr>'
      for name, text in rows(model))
  return f"<table>{cells}</table>"
