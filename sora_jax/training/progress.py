"""What a run prints: lines on stderr, and one live line in a terminal.

In a terminal the last line is overwritten until a lasting one comes. Where
stderr is a file there is no live line, and at least one line a minute.
"""

import shutil
import sys
import time

from sora_jax.mesh import multihost

QUIET = 60  # seconds without a line in a file


def log(text: str) -> None:
  """Prints one line that stays; of several processes the first alone prints."""
  if multihost.first():
    clear = "\r\x1b[K" if terminal() else ""
    print(clear + text, file=sys.stderr, flush=True)


def live(text: str) -> None:
  """Overwrites the live line; prints nothing where stderr is no terminal."""
  if multihost.first() and terminal():
    width = shutil.get_terminal_size().columns - 1
    print("\r\x1b[K" + text[:width], end="", file=sys.stderr, flush=True)


def terminal() -> bool:
  """Whether there is a live line."""
  return sys.stderr.isatty()


def step_line(step: int, steps: int, metrics: dict[str, float],
              seconds: float) -> str:
  """A step between two lines of metrics."""
  return (f"step {step}/{steps} loss {metrics['loss']:.4f} "
          f"{seconds:.3g} s/step")


def metrics_line(step: int, steps: int, metrics: dict[str, float],
                 timing: dict[str, float], unit: str) -> str:
  """A line of metrics."""
  rate = timing["steps_per_s"]
  speed = f"{rate:.2f} steps/s" if rate >= 1 or not rate else (
      f"{1 / rate:.3g} s/step")
  val = f"val {metrics['val_loss']:.4f} " if "val_loss" in metrics else ""
  parts = [f"step {step}/{steps} loss {metrics['loss']:.4f} {val}"
           f"grad {metrics['grad_norm']:.3g} {speed}",
           f"{timing[f'{unit}_per_s_per_chip']:,.0f} {unit}/s/chip"]
  if (flops := timing.get("tflops_per_s_per_chip")) is not None:
    parts.append(f"{flops:.3g} TFLOP/s/chip")
  if (mfu := timing.get("mfu")) is not None:
    parts.append(f"MFU {mfu:.1%}")
  parts += [f"data {timing['data_share']:.0%}",
            f"goodput {timing['goodput']:.0%}", f"eta {clock(timing['eta'])}"]
  if metrics["skipped"]:
    parts.append(f"skipped {metrics['skipped']:.0f}")
  return " ".join(parts)


def totals_line(totals: dict[str, float]) -> str:
  """What the time of a run was spent on."""
  spent = ", ".join(
      f"{name.removesuffix('_seconds')} {value:.1f}"
      for name, value in totals.items()
      if name.endswith("_seconds") and value >= 0.05)
  return (f"{totals['seconds']:.1f} s: {spent}; goodput "
          f"{totals['goodput']:.0%}")


def clock(seconds: float) -> str:
  """'2d 01:02:03'."""
  days = f"{int(seconds // 86400)}d " * (seconds >= 86400)
  return days + time.strftime("%H:%M:%S", time.gmtime(seconds % 86400))
