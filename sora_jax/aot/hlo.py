"""What a compiled program sends between chips, read from its text.

A collective in the body of a loop counts as often as the loop runs, and of the
branches of a condition the one that sends most counts. Bytes are what one chip
sends in the best algorithm for a ring of n chips, given i bytes of operands:

  all-gather (n - 1) i        reduce-scatter, all-to-all (n - 1) / n i
  all-reduce 2 (n - 1) / n i  collective-permute i

The compiler writes an asynchronous collective several times: where it starts,
in each piece of arithmetic that it runs beside, and where it is done, all with
the same channel. The start counts.
"""

from collections.abc import Sequence
import dataclasses
import math
import re

import numpy as np

SENT = {"all-gather": lambda n: n - 1,
        "all-reduce": lambda n: 2 * (n - 1) / n,
        "reduce-scatter": lambda n: (n - 1) / n,
        "all-to-all": lambda n: (n - 1) / n,
        "ragged-all-to-all": lambda n: (n - 1) / n,
        "collective-permute": lambda n: 1}
# A sum of which each chip keeps a part: the compiler's name for the two fused.
SCATTER = "all-reduce-scatter"
START = 'custom_call_target="AsyncCollectiveStart"'
ARRAY = re.compile(r"\b(pred|[a-z]+\d+\w*)\[([\d,]*)\]")
COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
INSTRUCTION = re.compile(
    r"^\s+(?:ROOT )?%([\w.\-]+) = (.*?) ([a-z][a-z0-9\-]*)\((.*)$")
CALLED = re.compile(r"(?:calls|body|branch_computations|true_computation|"
                    r"false_computation|to_apply)=(\{[^}]*\}|%[\w.\-]+)")


@dataclasses.dataclass(frozen=True)
class Collective:
  """What one chip sends by one kind of collective.

  Attributes:
    kind: a key of SENT.
    network: whether it crosses slices, over the network of the data centre.
    count: how often it runs.
    sent: bytes, by all of them together.
    overlapped: of these bytes, what is sent asynchronously, beside arithmetic.
  """

  kind: str
  network: bool
  count: int
  sent: float
  overlapped: float = 0


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line of a computation: its result's shape, operation and the rest."""

  name: str
  shape: str
  operation: str
  rest: str


def collectives(text: str, slices: Sequence[int]) -> list[Collective]:
  """The collectives of a program, most bytes first.

  Args:
    text: of the compiled module.
    slices: the slice that each partition lies in.

  Raises:
    ValueError: a collective in a loop of unknown length.
  """
  computations, entry = parse(text)
  known: dict[str, dict] = {}
  program = _Program(computations, slices, _started(computations))
  found = _total(entry, program, known)
  return sorted((Collective(kind, network, *numbers)
                 for (kind, network), numbers in found.items()),
                key=lambda c: -c.sent)


def parse(text: str) -> tuple[dict[str, list[Instruction]], str]:
  """The instructions of each computation, and the name of the entry."""
  computations: dict[str, list[Instruction]] = {}
  entry, lines = "", list[Instruction]()
  for line in text.splitlines():
    if match := COMPUTATION.match(line):
      lines = computations[match[2]] = []
      entry = match[2] if match[1] else entry
    elif match := INSTRUCTION.match(line):
      lines.append(Instruction(*match.groups()))
  return computations, entry


def size_of(shape: str) -> int:
  """Bytes of the arrays of a shape, a tuple or not."""
  total = 0.
  for kind, dims in ARRAY.findall(shape):
    bits = 8 if kind == "pred" else int(_first(r"(\d+)", kind))
    total += math.prod(int(n) for n in dims.split(",") if n) * bits / 8
  return int(total)


def trips(loop: Instruction,
          computations: dict[str, list[Instruction]]) -> int | None:
  """How often a loop runs; None if the text does not say."""
  if match := re.search(r'known_trip_count[^\d]*(\d+)', loop.rest):
    return int(match[1])
  condition = computations[_first(r"condition=%?([\w.\-]+)", loop.rest)]
  # jax counts from 0 up to a constant, and so do the loops that the compiler
  # makes of a product and its collective, with an unsigned counter.
  constants = [i for i in condition if i.operation == "constant"
               and i.shape.startswith(("s32[]", "u32[]"))]
  compared = [i for i in condition if i.operation in ("compare", "fusion")]
  if len(constants) != 1 or len(compared) != 1:
    return None
  bound = int(_first(r"^(\d+)", constants[0].rest))
  return -(-bound // _step(condition, computations[_called(loop)[0]]))


def _step(condition: list[Instruction], body: list[Instruction]) -> int:
  """What a loop adds to its counter: 2 where the compiler has unrolled it."""
  index = re.search(r"index=(\d+)", next(
      (i.rest for i in condition if i.operation == "get-tuple-element"), ""))
  lines = {i.name: i for i in body}
  values = _operands(body[-1]) if body else []
  value = lines.get(values[int(index[1])]) if (
      index and int(index[1]) < len(values)) else None
  added = [lines[name].rest for name in (_operands(value) if value else ())
           if name in lines and lines[name].operation == "constant"]
  if value is None or value.operation != "add" or len(added) != 1:
    return 1
  return int(_first(r"^(\d+)", added[0]))


def _operands(instruction: Instruction) -> list[str]:
  """The names of what an instruction is given."""
  return re.findall(r"%([\w.\-]+)", instruction.rest.split(")")[0])


def _first(pattern: str, text: str) -> str:
  """The first group of a pattern, which must be in the text."""
  if not (match := re.search(pattern, text)):
    raise ValueError(f"the compiler's text has no {pattern}: {text[:200]}")
  return match[1]


@dataclasses.dataclass(frozen=True)
class _Program:
  """What `_total` reads: the computations, the slices, and what `_started`."""

  computations: dict[str, list[Instruction]]
  slices: Sequence[int]
  started: dict[str, str]


def _started(computations: dict[str, list[Instruction]]) -> dict[str, str]:
  """The channel of each asynchronous fusion -> the computation it starts in."""
  return {_channel(i): name for name, lines in computations.items()
          if any(START in i.rest for i in lines)
          for i in lines if i.operation in SENT}


def _channel(instruction: Instruction) -> str:
  """The number that all parts of one collective share; "" if it has none."""
  match = re.search(r"channel_id=(\d+)", instruction.rest)
  return match[1] if match else ""


def _total(name: str, program: _Program, known: dict) -> dict:
  """(kind, network) -> [count, bytes, of them asynchronous] of a computation.

  With what it calls.
  """
  if name in known:
    return known[name]
  total: dict[tuple[str, bool], tuple] = {}
  computations = program.computations
  shapes = {i.name: i.shape for i in computations[name]}

  def add(found, times=1):
    for key, numbers in found.items():
      before = total.get(key, (0, 0, 0))
      total[key] = tuple(b + times * n for b, n in zip(before, numbers))

  for i in computations[name]:
    kind = i.operation.removesuffix("-start")
    if kind in SENT:
      start = program.started.get(_channel(i))
      if start in (None, name):
        add(_one(i, kind, shapes, program.slices,
                 bool(start) or kind != i.operation))
      continue
    if i.operation in ("async-update", "async-done"):  # async-start counted it
      continue
    inner = [_total(c, program, known) for c in _called(i)]
    if i.operation == "while":
      times = trips(i, computations)
      if any(inner) and times is None:
        raise ValueError(f"the loop {i.name} sends between chips and how often "
                         "it runs is not in the program")
      add(inner[0], times or 1)
    elif i.operation == "conditional":
      add(max(inner, key=lambda f: sum(sent for _, sent, _ in f.values())))
    else:
      scatter = SCATTER in i.name or SCATTER in i.rest.split(", metadata")[0]
      for found in inner:
        found = _scattered(found) if scatter else found
        if i.operation == "async-start":
          found = {key: (count, sent, sent)
                   for key, (count, sent, _) in found.items()}
        add(found)
  known[name] = total
  return total


def _called(instruction: Instruction) -> list[str]:
  """The computations that an instruction runs."""
  if instruction.operation == "while":
    return [_first(r"body=%?([\w.\-]+)", instruction.rest)]
  return [name for found in CALLED.findall(instruction.rest)
          for name in re.findall(r"%([\w.\-]+)", found)]


def _scattered(found: dict) -> dict:
  """An all-reduce of which a part is kept, as the reduce-scatter that it is."""
  half = lambda numbers: (numbers[0], numbers[1] / 2, numbers[2] / 2)
  return {("reduce-scatter", network): half(numbers) if kind == "all-reduce"
          else numbers for (kind, network), numbers in found.items()}


def _one(i: Instruction, kind: str, shapes: dict, slices,
         overlapped: bool) -> dict:
  """The cost of one collective."""
  size = sum(size_of(shapes[o]) for o in _operands(i) if o in shapes)
  groups = _groups(i.rest, len(slices))
  crosses = any(len({slices[p] for p in g}) > 1 for g in groups)
  sent = size * SENT[kind](max(len(g) for g in groups))
  return {(kind, crosses): (1, sent, sent * overlapped)} if sent else {}


def _groups(rest: str, partitions: int) -> list[list[int]]:
  """The partitions that send to each other."""
  if match := re.search(r"(?:replica_groups|source_target_pairs)="
                        r"\{(\{[\d,{}]*\})\}", rest):
    return [[int(n) for n in g.split(",")]
            for g in re.findall(r"\{([\d,]+)\}", match[1])]
  if match := re.search(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\]"
                        r"(?:T\(([\d,]+)\))?", rest):
    shape, grid, order = ([int(n) for n in g.split(",")] if g else []
                          for g in match.groups())
    ids = np.arange(math.prod(grid)).reshape(grid)
    ids = ids.transpose(order) if order else ids
    return ids.reshape(shape).tolist()
  if match := re.search(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}",
                        rest):
    return _along_axes(re.findall(r"'([^']+)'=(\d+)", match[1]), re.findall(
        r"'([^']+)'(?::\((\d+)\)(\d+))?", match[2]))
  return [list(range(partitions))]


def _along_axes(axes, used) -> list[list[int]]:
  """Groups along the `used` axes of a mesh [(name, size) ..].

  An axis is used whole, (name, "", ""), or a part of it, (name, m, k): of the
  axis seen as m x k x rest, the middle.
  """
  shape: list[int] = []
  dims: list[int] = []
  for name, size in axes:
    parts = [(int(m), int(k)) for n, m, k in used if n == name and k]
    if parts:
      before, size_used = parts[0]
      dims.append(len(shape) + 1)
      shape += [before, size_used, int(size) // before // size_used]
    else:
      if any(n == name for n, _, _ in used):
        dims.append(len(shape))
      shape.append(int(size))
  ids = np.arange(math.prod(shape)).reshape(shape)
  ids = np.moveaxis(ids, dims, range(-len(dims), 0))
  return ids.reshape(-1, math.prod(shape[d] for d in dims)).tolist()
