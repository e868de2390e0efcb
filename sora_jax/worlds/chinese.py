"""The short captions of the flat worlds in Chinese, and the way back.

One clause an object, divided by "，"; the two that collide share a clause.
"""

from collections.abc import Callable
import re
from typing import Any

from sora_jax.worlds import facts as facts_lib
from sora_jax.worlds import motion

COLOURS = {"red": "红色", "green": "绿色", "blue": "蓝色", "yellow": "黄色",
           "purple": "紫色", "orange": "橙色", "cyan": "青色"}
DULL = {"black": "黑色", "navy": "深蓝色", "brown": "棕色", "grey": "灰色",
        "beige": "米色", "white": "白色"}
SHAPES = {"disc": ("球", "圆"), "square": ("方块", "正方形"),
          "triangle": ("三角形",)}
SIZES = {"small": "小", "large": "大"}
DIRECTIONS = {"right": "右", "left": "左", "up": "上", "down": "下"}
NAMES = {word: name for table in (COLOURS, DULL, SIZES, DIRECTIONS)
          for name, word in table.items()}
_SHAPES = {word: name for name, words in SHAPES.items() for word in words}
_OBJECT = re.compile(rf"({'|'.join(SIZES.values())})?的?"
                     rf"({'|'.join(COLOURS.values())})的?"
                     rf"({'|'.join(_SHAPES)})")
_WAY = re.compile(rf"向({'|'.join(DIRECTIONS.values())})")
_WALL = re.compile(rf"({'|'.join(sorted(DULL.values(), key=len)[::-1])})?"
                   "的?墙")


def is_chinese(text: str) -> bool:
  """Whether a text has Chinese letters."""
  return re.search("[\u4e00-\u9fff]", text) is not None


def short(facts: facts_lib.Facts, pick: Callable[[Any], Any]) -> str:
  """The short caption of a clip; `pick` chooses one of some words."""
  names = [COLOURS[o.colour] + pick(("", "的")) + pick(SHAPES[o.shape])
           for o in facts.objects]
  if not facts.seconds:
    text = "和".join(f"一个{name}" for name in names)
    return text + (f"，旁边是{_wall(facts, pick)}" if facts.wall else "")
  clauses = []
  meeting = [(o, n) for o, n in zip(facts.objects, names)
             if o.motion == "collide"]
  if meeting:
    (a, one), (b, two) = meeting
    clauses.append(f"一个向{DIRECTIONS[a.direction]}移动的{one}和一个"
                   f"向{DIRECTIONS[b.direction]}移动的{two}"
                   + pick(("相撞", "碰撞")))
  clauses += [f"一个{name}{_does(facts, thing, pick)}"
              for thing, name in zip(facts.objects, names)
              if thing.motion != "collide"]
  return "，".join(clauses)


def _does(facts, thing, pick):
  """The motion of an object that moves by itself."""
  if thing.motion == "fall":
    lands = motion.floor_time(facts, thing) <= facts.seconds
    return pick(("落下", "掉下来")) + ("并弹起" if lands else "")
  way = f"向{DIRECTIONS[thing.direction]}" + pick(("移动", "运动", "滑动"))
  if thing.motion == "bounce":
    return way + pick(("并反弹", "，碰到边缘后反弹"))
  if thing.motion == "pass":
    return way + f"并从{_wall(facts, pick)}后面经过"
  return way


def _wall(facts, pick):
  return pick(("墙", f"{DULL[facts.wall.colour]}的墙"))


def read(text: str) -> tuple[list[dict[str, Any]], str | None]:
  """(what is told of each object, the wall) of a Chinese caption.

  Objects have colour, shape, motion, and size and direction or None. The wall
  is its colour, "" if that is not told, and None without one.
  """
  found = list(_OBJECT.finditer(text))
  meets = re.search("相撞|碰撞", text)
  ends = [m.start() for m in found[1:]] + [len(text)]
  things = []
  for i, (m, end) in enumerate(zip(found, ends)):
    after = text[m.end():end]
    size, colour, shape = m.groups()
    collides = bool(meets) and i < 2
    # Of the two that meet, the way stands before the name.
    before = text[found[i - 1].end() if i else 0:m.start()]
    way = _WAY.search(before if collides else after)
    kind = ("collide" if collides else "pass" if "后面" in after
            else "fall" if re.search("落下|掉下", after)
            else "bounce" if "反弹" in after else "straight" if way
            else "still")
    things.append({
        "colour": NAMES[colour], "shape": _SHAPES[shape], "motion": kind,
        "size": size and NAMES[size],
        "direction": "down" if kind == "fall" else way and NAMES[way[1]]})
  wall = _WALL.search(text)
  return things, None if wall is None else NAMES.get(wall[1], "")
