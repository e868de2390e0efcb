"""Facts of one's own making, and what they mean, for tests of the worlds."""

from sora_jax import worlds
from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import motion


def of(*things, aspect=(1.0, 1.0)):
  return facts_lib.Facts(
      "balls", facts_lib.Background("plain", ("grey",)), things, 2.0, aspect,
      None, (64, 64), 17, 8.0)


def sample(name, seed, size=(64, 64), frames=17, fps=8.0, **asked):
  """The facts that a world draws from a seed; 2 seconds by default."""
  return worlds.WORLDS[name].sample(
      worlds.key(seed, name), size, frames, fps, **asked)


def describe(facts, seed):
  """The captions of facts by a seed."""
  return worlds.WORLDS[facts.world].describe(
      facts, worlds.key(seed, facts.world, "caption"))


def thing(kind, start, velocity, size="small"):
  return facts_lib.Object("red", "disc", size, kind, "right", start, velocity)


def hidden(facts):
  """Whether the one object is wholly behind the wall, for each frame."""
  x = motion.positions(facts, motion.frame_times(facts))[
      :, 0, "xy".index(facts.wall.axis)]
  r = facts.objects[0].diameter / 2
  return (x - r >= facts.wall.low) & (x + r <= facts.wall.high)
