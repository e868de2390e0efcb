"""The flags of a verb, which `--help` lists."""

from collections.abc import Sequence
import re
import textwrap

from absl import flags

from sora_jax import files

HELP = {"-h", "-help", "--help"}
WIDTH = 80
TEXTS = ("prompt", "negative", "beam", "llm_url")  # flags that may hold any text
# Old name -> new name. The old one is refused with the new one.
RENAMED_FLAGS: dict[str, str] = {
    "piece_seconds": "chunk_seconds",
    "near": "phash_distance",
    "tails": "suffixes",
    "stills": "keyframes",
    "boxes": "regions",
}


class Help(Exception):
  """--help was asked for; its text lists the flags."""


class Flags(flags.FlagValues):
  """The flags of one verb.

  A dash in a name is an underscore: --max-seconds is --max_seconds. Reading a
  command line that asks for help raises Help and reads nothing; one that has the
  old name of a flag raises ValueError with the new name.
  """

  def __call__(self, argv: Sequence[str],
               known_only: bool = False) -> list[str]:
    if asked(argv):
      raise Help("\n".join(_lines(self[name]) for name in self))
    argv = [self._spelled(arg) for arg in argv]
    for arg in argv:
      old = re.match(r"--?(?:no)?([\w-]*)", arg)
      new = RENAMED_FLAGS.get(old[1]) if old else None
      if new in self and old[1] not in self:
        raise ValueError(f"--{old[1]} is called --{new} now")
    return super().__call__(argv, known_only)

  def _spelled(self, arg: str) -> str:
    """An argument with the name of its flag as it was defined."""
    match = re.match(r"(--?)([\w-]+)(.*)", arg, re.DOTALL)
    if not match or match[2] in self:
      return arg
    name = match[2].replace("-", "_")
    if name.startswith("no_") and name[3:] in self:
      name = f"no{name[3:]}"
    known = {name, name.removeprefix("no")} & {*self, *RENAMED_FLAGS}
    return f"{match[1]}{name}{match[3]}" if known else arg

  def read(self, argv: list[str]) -> None:
    """Reads a command line that has nothing but flags.

    Raises:
      ValueError: it has more.
    """
    if rest := self(argv)[1:]:
      raise ValueError(f"'{rest[0]}' is no flag: write --NAME=VALUE")


def refuse_addresses(argv: Sequence[str]) -> None:
  """Refuses a command line that has an address in the place of a path.

  Raises:
    ValueError: it has one.
  """
  before = ""  # the name of a flag whose value is the next argument
  for arg in argv:
    flag = re.match(r"--?([\w.-]+)(=?)", arg)
    name = flag[1] if flag else before
    if name not in TEXTS and (not flag or flag[2]):
      value = arg[flag.end():] if flag else arg
      files.refuse_address(value, f"--{name}=" if name else "")
    before = flag[1] if flag and not flag[2] else ""


def part(text: str | None) -> tuple[int, int] | None:
  """The value of --part: '2/4' to (1, 4), and None to None.

  Raises:
    ValueError: it is something else.
  """
  if text is None:
    return None
  share, _, count = text.partition("/")
  if not (share.isdigit() and count.isdigit() and 0 < int(share) <= int(count)):
    raise ValueError(f"--part={text}: give I/N, the I-th of N shares, such as "
                     "1/4")
  return int(share) - 1, int(count)


def asked(argv: Sequence[str]) -> bool:
  """Whether a command line asks for help."""
  return bool(HELP & set(argv))


def _lines(flag: flags.Flag) -> str:
  """The flag, what it does and its default."""
  name, what = f"{flag.name}=VALUE", " ".join(flag.help.split())
  if flag.boolean:
    name = f"[no]{flag.name}"
  elif values := getattr(flag.parser, "enum_values", None):
    values = "|".join(values)
    name, what = f"{flag.name}={values}", what.removeprefix(f"<{values}>: ")
  default = flag.default
  if default is not None and default is not False and default != "":
    default = ",".join(default) if isinstance(default, list) else default
    what += f" By default {default}."
  return "\n".join([f"  --{name}", *textwrap.wrap(
      what, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6,
      break_on_hyphens=False)])


def define_endpoint(f: flags.FlagValues, who: str) -> None:
  """Defines --llm_url and --llm_model; `who` is asked in place of what."""
  text = lambda *a: flags.DEFINE_string(*a, flag_values=f)
  text("llm_url", "", f"A chat endpoint that {who}, such as "
       "http://localhost:8000/v1; its key is read from $SORA_JAX_LLM_KEY.")
  text("llm_model", "", "The name of the language model at --llm_url.")


def endpoint_given(f: flags.FlagValues, other: str) -> bool:
  """Whether an endpoint is asked, which --`other` then may not name as well.

  Raises:
    ValueError: it does, or half an endpoint is given.
  """
  if not f.llm_url and not f.llm_model:
    return False
  if not (f.llm_url and f.llm_model):
    raise ValueError("--llm_url=URL and --llm_model=NAME go together")
  if f[other].value:
    raise ValueError(f"give --{other}=MODEL or --llm_url=URL, not both")
  return True
