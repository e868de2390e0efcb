"""--expand: a longer prompt in place of a short one, and never unseen.

Both texts are printed, and the file that is written holds both. With
--expand=show nothing else is done.
"""

from collections.abc import Callable
import sys
import time

from absl import flags
import numpy as np

from sora_jax import contracts
from sora_jax.cli import options
from sora_jax.generation import pipeline
from sora_jax.generation import requests
from sora_jax.language import endpoint
from sora_jax.language import expand as expand_lib
from sora_jax.language import local
from sora_jax.language import post

SHOW = "show"
VALUES = {"false": "", "true": "draw", SHOW: SHOW}
WORDS = 40  # of a prompt for a model whose captions are known
MOST = 1000  # words of a vocabulary that is sent


class _Parser(flags.ArgumentParser):
  """A flag with or without a value: --expand, --expand=show, --noexpand."""

  def parse(self, argument: str) -> str:
    """The value of what is given.

    Raises:
      ValueError: it is none of VALUES.
    """
    if argument not in VALUES:
      raise ValueError(f"write --expand or --expand={SHOW}")
    return VALUES[argument]


def define(f: flags.FlagValues) -> None:
  """Defines --expand, --expander, --llm_url and --llm_model."""
  flags.DEFINE_flag(flags.Flag(
      _Parser(), None, "expand", None, "Makes a longer prompt of --prompt, which "
      "keeps all it says, and prints both; --expand=show draws nothing. Off by "
      "default.", boolean=True), flag_values=f)
  flags.DEFINE_string(
      "expander", "", "The model folder of the expander that --expand asks. By "
      f"default {local.DEFAULT}, which knows the worlds of this package alone.",
      flag_values=f)
  options.define_endpoint(f, "--expand asks in its place")


def check(f: flags.FlagValues) -> None:
  """Refuses flags that do not go together, before anything is loaded.

  Raises:
    ValueError: they do not.
  """
  if not f.expand and (f.llm_url or f.llm_model):
    raise ValueError("--llm_url and --llm_model go with --expand")
  if not f.expand and f.expander:
    raise ValueError("--expander goes with --expand")
  if options.endpoint_given(f, "expander"):
    endpoint.Endpoint(f.llm_url, f.llm_model)


def expanded(f: flags.FlagValues, argv: list[str], model: pipeline.Pipeline,
             request: requests.Request, where: str = "") -> requests.Request:
  """A request with the prompt that --expand makes of its own; both are printed.

  Args:
    f: the flags.
    argv: the command line.
    model: that draws.
    request: what is asked for.
    where: what names the prompt to the user, "" if there is one alone.
  """
  if not f.expand:
    return request
  tell = lambda line: print(f"sora-jax {argv[0]}: {where}{line}", file=sys.stderr)
  end = time.monotonic() + endpoint.TIMEOUT
  asked, seen = _expander(f, model), ""
  if isinstance(asked, endpoint.Endpoint):
    seen = _seen(asked, request, tell)

  def longer(prompt: str) -> str:
    expander = asked
    if isinstance(asked, endpoint.Endpoint):
      expander = asked.within(max(end - time.monotonic(), 0.001))
    found = expand_lib.expand(expander, prompt, f.seed, seen)
    if found.note:
      tell(found.note)
    print(f"{where}prompt: {found.prompt}")
    print(f"{where}expanded: {found.text}")
    return found.text

  return request.expanded(longer)


def _expander(f: flags.FlagValues, model: pipeline.Pipeline
              ) -> contracts.Expander:
  """Who expands."""
  if not f.llm_url:
    return local.load(f.expander or local.DEFAULT)
  known = model.model.words
  if not known:
    return endpoint.Endpoint(f.llm_url, f.llm_model)
  return endpoint.Endpoint(f.llm_url, f.llm_model, words=WORDS,
                           vocabulary=known[:MOST])


def _seen(expander: endpoint.Endpoint, request: requests.Request,
          tell: Callable[[str], None]) -> str:
  """What the image or video of a request shows, "" where nobody can say."""
  if request.given is None:
    return ""
  try:
    return expander.caption(np.asarray(request.given), request.canvas.fps)
  except (post.Failed, ValueError) as e:
    tell(f"what is given is not described: {e}")
    return ""
