"""What ends a verb, as one line and an exit code (main.py names them)."""

import sys

from absl import flags

from sora_jax import files

INTERRUPTED = 130  # the exit code of what Ctrl-C ended


def report(verb: str, error: BaseException) -> int:
  """Prints an error of a verb; its exit code."""
  if isinstance(error, KeyboardInterrupt):
    print(f"sora-jax {verb}: interrupted", file=sys.stderr)
    return INTERRUPTED
  print(f"sora-jax {verb}: {one_line(error)}", file=sys.stderr)
  return 2 if isinstance(error, (flags.Error, ValueError)) else 1


def one_line(error: BaseException) -> str:
  """The message of an error on one line; what to do where a disk is full."""
  text = " ".join(str(error).split()) or type(error).__name__
  full = isinstance(error, OSError) and error.errno in files.FULL
  return text + "; free some space, and the same command goes on" * full
