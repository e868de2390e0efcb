"""The arguments of a verb as a user gives them: named, of the right kind.

A verb's arguments are those of its method of Requests, and by name alone those
of sampler.Sampling. `explicit` puts them into the signature, which a notebook
completes and `help` lists, and refuses at the door what would fail far inside.
"""

from collections.abc import Callable
import dataclasses
import functools
import inspect
import numbers
import re
import types
import typing
from typing import Any

from sora_jax import messages
from sora_jax.generation import sampler
from sora_jax.media import videos

SEED = inspect.Parameter("seed", inspect.Parameter.KEYWORD_ONLY, default=None,
                         annotation=int | None)
SEED_LINE = ("seed: of the noise, a whole number; the same seed gives the same "
             "video. By\n    default 0, and of `upscale` what the video was made "
             "with.")
RETURNS = ("\n\nReturns:\n  uint8 [T, H, W, 3], a media.videos.Video: it knows its "
           "frames per second and\n  shows itself in a notebook.")
HOW = tuple(field.name for field in dataclasses.fields(sampler.Sampling))


def kind(argument: inspect.Parameter) -> Any:
  """int, float, str or a tuple of names; None for what is of another kind."""
  found = argument.annotation
  if isinstance(found, types.UnionType):  # such as int | None
    kinds = [k for k in typing.get_args(found) if k is not type(None)]
    found = kinds[0] if len(kinds) == 1 else None
  if typing.get_origin(found) is typing.Literal:
    return typing.get_args(found)
  return found if found in (int, float, str) else None


def explicit(function: Callable[..., Any], of: Callable[..., Any] | None = None
             ) -> Callable[..., Any]:
  """A function whose `**how` is the arguments of Sampling, by name.

  Args:
    function: (self, .., **how); its how gets what is given of Sampling.
    of: whose own arguments and docstring it has, in place of its own.

  Returns:
    The function, which raises TypeError for an argument that it has not, with
    the nearest one, and ValueError for a value of another kind.
  """
  of = of or function
  signature = _signature(of)
  if of is not function:
    signature = signature.replace(return_annotation=videos.Video)

  @functools.wraps(of)
  def checked(*args: Any, **named: Any) -> Any:
    for name in named:
      if name not in signature.parameters:
        raise TypeError(_unknown(of.__name__, name, signature))
    try:
      given = signature.bind(*args, **named).arguments
    except TypeError as e:
      raise TypeError(f"{of.__name__}: {e}; it takes "
                      f"{', '.join(_names(signature))}") from None
    for name, value in given.items():
      _check(signature.parameters[name], value)
    return function(*args, **named)

  checked.__dict__["__signature__"] = signature
  checked.__doc__ = _doc(of, RETURNS if of is not function else "")
  return checked


def _signature(of: Callable[..., Any]) -> inspect.Signature:
  """The signature of `of` with those of Sampling in place of **how."""
  found = inspect.signature(of)
  own = [p for p in found.parameters.values() if p.kind is not p.VAR_KEYWORD]
  how = [p.replace(kind=p.KEYWORD_ONLY) for p in inspect.signature(
      sampler.Sampling).parameters.values()]
  names = {p.name for p in own}
  seed = [] if {"seed", "seeds"} & names else [SEED]
  return found.replace(parameters=[*own, *seed, *how])


def _doc(of: Callable[..., Any], returns: str) -> str:
  """The docstring of `of` with the lines of seed and of Sampling."""
  text = inspect.getdoc(of) or ""
  text = re.sub(r"\n  \*\*how: .*", "", text)
  lines = inspect.getdoc(sampler.Sampling).partition("Attributes:\n")[2]
  if not {"seed", "seeds"} & set(inspect.signature(of).parameters):
    lines = f"  {SEED_LINE}\n{lines}"
  head, args, rest = text.partition("Args:\n")
  own, blank, rest = rest.partition("\n\n")
  return f"{head}{args}{own}\n{lines.rstrip()}{blank}{rest}{returns}"


def _names(signature: inspect.Signature) -> list[str]:
  return [name for name in signature.parameters if name != "self"]


def _unknown(verb: str, name: str, signature: inspect.Signature) -> str:
  names = _names(signature)
  likely = messages.nearest(name, names)
  hint = f", did you mean {likely}?" if likely else ";"
  return f"{verb} has no argument {name}{hint} It takes {', '.join(names)}"


def _check(argument: inspect.Parameter, value: Any) -> None:
  """Raises ValueError for a value that cannot be one of an argument."""
  wanted, name = kind(argument), argument.name
  if value is None and argument.default is None or wanted is None:
    return
  if isinstance(wanted, tuple):
    if value not in wanted:
      raise ValueError(f"--{name}={value}: it must be one of "
                       f"{', '.join(map(str, wanted))}")
    return
  is_a, what = {int: (numbers.Integral, "a whole number"),
                float: (numbers.Real, "a number"), str: (str, "a text")}[wanted]
  if not isinstance(value, is_a) or isinstance(value, bool):
    raise ValueError(f"{name} is {value!r}: give {what}")
