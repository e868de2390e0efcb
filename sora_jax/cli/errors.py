"""What ends a verb, as one line and an exit code (main.py names them)."""

import sys

from absl import flags

INTERRUPTED = 130  # the exit code of what Ctrl-C ended


def report(verb: str, error: BaseException) -> int:
  """Prints an error of a verb; its exit code."""
  if isinstance(error, KeyboardInterrupt):
    print(f"sora-jax {verb}: interrupted", file=sys.stderr)
    return INTERRUPTED
  print(f"sora-jax {verb}: {one_line(error)}", file=sys.stderr)
  return 2 if isinstance(error, (flags.Error, ValueError)) else 1


def one_line(error: BaseException) -> str:
  """The message of an error on one line."""
  return " ".join(str(error).split()) or type(error).__name__
