"""Members of one kind by name: attacks, corruptions, data sets, findings, sections of a report, claims.

A member registers itself where it is defined, so that a new one is one file. Members come from three places: files of
our own package, other installed packages by an entry point, and any module that the caller has imported.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module, metadata
from pkgutil import iter_modules
from threading import RLock
from types import ModuleType
from typing import Generic, TypeVar

from robustlab.core.text import choice, meant

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Registry(Generic[T]):
    """Members of one kind by name, in the order in which they were registered.

    Args:
        kind: one of them in messages, such as "corruption".
        package: package of ours whose files register members when they are imported, by the alphabet; "": none. It is
            imported at the first use.
        group: name of the entry points by which other installed packages add members; "": none. An entry point is a
            member, registered under the entry point's name, or a module that registers its members itself.
        first: names that come before all others, in this order; each must be registered.

    Example:
        >>> shapes: Registry[int] = Registry("shape")
        >>> shapes.register("triangle", 3)
        3
        >>> shapes.get("triangel")
        Traceback (most recent call last):
        ValueError: no shape is called 'triangel'; did you mean triangle? There are triangle
    """

    kind: str
    package: str = ""
    group: str = ""
    first: tuple[str, ...] = ()
    _members: dict[str, T] = field(default_factory=dict, init=False, repr=False)
    _waiting: list[str] = field(default_factory=lambda: ["package", "group"], init=False, repr=False)
    _lock: RLock = field(default_factory=RLock, init=False, repr=False)

    def register(self, name: str, member: T) -> T:
        """Adds a member.

        Args:
            name: unique in its kind.
            member: of this name.

        Returns: the member, so that a line may register and define it.
        Raises: ValueError if the name is taken by another member.
        """
        if self._members.setdefault(name, member) != member:
            raise ValueError(f"two members are called {name!r}: give your {self.kind} another name")
        return member

    def unregister(self, name: str) -> None:
        """Removes a member, if it is there; for tests."""
        self._members.pop(name, None)

    def names(self) -> tuple[str, ...]:
        """Names of all members."""
        self._complete()
        front = [name for name in self.first if name in self._members]
        return (*front, *(name for name in self._members if name not in self.first))

    def get(self, name: str) -> T:
        """The member of that name.

        Raises: ValueError for an unknown name, with the nearest one and all there are.
        """
        if name not in self:
            raise ValueError(f"no {self.kind} is called {name!r}{choice(name, self.names(), intro='there are ')}")
        return self._members[name]

    def members(self) -> tuple[T, ...]:
        """All members."""
        return tuple(self._members[name] for name in self.names())

    def registered(self) -> tuple[T, ...]:
        """Members that are registered so far, without a search for more."""
        return tuple(self._members.values())

    def __getitem__(self, name: str) -> T:
        """As ``get``."""
        return self.get(name)

    def __contains__(self, name: object) -> bool:
        """True if a member has that name."""
        if name not in self._members:
            self._complete()
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        """Iterates over names."""
        return iter(self.names())

    def __len__(self) -> int:
        """Number of members."""
        return len(self.names())

    def _complete(self) -> None:
        """Imports the files and the installed packages that have not yet registered their members."""
        with self._lock:
            while self._waiting:
                source = self._waiting.pop(0)
                try:
                    self._from_package() if source == "package" else self._from_others()
                except BaseException:
                    self._waiting.insert(0, source)
                    raise

    def _from_package(self) -> None:
        """Imports every file of a package of ours, by the alphabet.

        Raises: ValueError for a name that comes first and that no file has registered: one of the two is misspelt.
        """
        if self.package:
            for found in iter_modules(import_module(self.package).__path__, f"{self.package}."):
                import_module(found.name)
        for name in self.first:
            if name not in self._members:
                near = meant(name, self._members)
                raise ValueError(f"the {self.kind} {name!r} is listed and no file registers it{near}")

    def _from_others(self) -> None:
        """Members of other packages; one that cannot be imported is warned of, and left out."""
        for entry in _entry_points(tuple(sys.path)):
            if entry.group != self.group:
                continue
            try:
                found = entry.load()
                if not isinstance(found, ModuleType):
                    self.register(entry.name, found)
            except Exception as error:  # whatever the code of others raises
                message = f"the {self.kind} {entry.name!r} ({entry.value}) is left out: {type(error).__name__}: {error}"
                warnings.warn(message, stacklevel=2)


@cache
def _entry_points(_path: tuple[str, ...]) -> tuple[metadata.EntryPoint, ...]:
    """Our entry points in all packages on the path, read once for all registries."""
    every = (entry for package in metadata.distributions() for entry in package.entry_points)
    return tuple(entry for entry in every if entry.group.startswith("robustlab."))
