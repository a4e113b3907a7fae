"""GRUB's menu in grub.cfg: which kernel image an entry names, and which entry is the default.

The ideas a reader would miss. grub.cfg is a program, and only what grub-mkconfig writes is read: `menuentry`, `submenu`,
`linux`, `set default=`. An entry is named by its number, its title or its id, and inside a submenu by a path with `>`
("Advanced options for Debian>1"); numbers count from 0 within their menu.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_OPENS = re.compile(r"\s*(menuentry|submenu)\s+(?:'([^']*)'|\"([^\"]*)\"|(\S+))(.*)\{\s*$")
_ID = re.compile(r"(?:\$\{?menuentry_id_option\}?|--id)[\s=]+(?:'([^']*)'|\"([^\"]*)\"|([^\s'\"{]+))")
_LINUX = re.compile(r"\s*linux(?:16|efi|_hwe)?\s+(\S+)")
_DEFAULT = re.compile(r"^\s*set\s+default=\"([^\"]*)\"", re.MULTILINE)
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")


@dataclass(slots=True)
class _Item:
    """An entry or a submenu while the file is read; `names` are its title and its id."""

    names: tuple[str, ...] = ()
    image: str | None = None
    items: list["_Item"] = field(default_factory=list)


def default_of(config: str, environment: Mapping[str, str]) -> str | None:
    """The default entry's name, `0` when none is set; None when it takes a variable that the environment does not hold."""
    values = [value for value in _DEFAULT.findall(config) if "next_entry" not in value]
    if not values:
        # Without a configuration, or one that sets none: Fedora's saves its default in the environment.
        return environment.get("saved_entry", "0") or "0"
    variable = _VARIABLE.fullmatch(values[-1])
    if variable is None:
        return None if "$" in values[-1] else values[-1] or "0"
    if variable[1] != "saved_entry":
        return None
    return environment.get("saved_entry", "") or "0"


def chosen(config: str, wanted: str) -> str | None:
    """The path of the kernel image behind the entry `wanted`; None when the menu does not tell."""
    menu = _read(config)
    item = menu
    for name in [*wanted.split(">"), *[""] * 8]:
        if not item.items:
            break
        found = _pick(item.items, name.strip())
        if found is None:
            return None
        item = found
    return item.image if item is not menu else None


def _pick(items: list[_Item], name: str) -> _Item | None:
    """By number, title or id; a submenu itself stands for its first entry."""
    if name == "":
        return items[0]
    if name.isascii() and name.isdigit():
        return items[int(name)] if len(name) < 6 and int(name) < len(items) else None  # noqa: PLR2004 - menus are short
    return next((item for item in items if name in item.names), None)


def _read(config: str) -> _Item:
    menu = _Item()
    stack = [menu]
    for line in config.splitlines():
        if opened := _OPENS.match(line):
            title = next((text for text in opened.groups()[1:4] if text is not None), "")
            identity = _ID.search(opened[5])
            names = (title, *(text for text in (identity.groups() if identity else ()) if text is not None))
            item = _Item(names)
            stack[-1].items.append(item)
            stack.append(item)
        elif line.rstrip().endswith("{"):
            stack.append(_Item())  # a function, which is no part of the menu
        elif line.strip() == "}" and len(stack) > 1:
            stack.pop()
        elif (image := _LINUX.match(line)) and len(stack) > 1:
            stack[-1].image = stack[-1].image or image[1]
    return menu
