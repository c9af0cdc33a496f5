"""Objects that are made by name: the classes that are known, and those that users register."""

import json
import warnings
from typing import Any

from clgrad.errors import OperatorTypeError, argument_error


class Factory:
    """The registered subclasses of a class, by name; names do not depend on upper and lower case.

    Parameters
    ----------
    base : type
        What can be registered: its subclasses.
    kind : str
        What they are called in messages, and the key of the name in a dictionary.
    """

    def __init__(self, base: type, kind: str):
        self.base, self.kind = base, kind
        self.classes: dict[str, type] = {}

    def register(self, klass: type, name: str | None = None) -> type:
        """Make a class known under a name, that of the class by default; returns the class."""
        if not (isinstance(klass, type) and issubclass(klass, self.base)):
            raise OperatorTypeError(
                f"{self.kind}.register: klass is {klass!r}; accepted: a subclass of {self.base.__name__}"
            )
        key = (name or klass.__name__).lower()
        known = self.classes.get(key)
        if known is not None and known is not klass:
            warnings.warn(f"{self.kind} {key!r} was {known!r}, and is {klass!r} now", stacklevel=3)
        self.classes[key] = klass
        return klass

    def alias(self, *names: str):
        """A decorator that makes a class known under other names as well."""

        def declare(klass: type) -> type:
            for name in names:
                self.register(klass, name)
            return klass

        return declare

    def create(self, *args, **kwargs) -> Any:
        """An object from a name and arguments, from JSON or a dictionary of both; or the object given."""
        if not args and self.kind not in kwargs:
            raise OperatorTypeError(f"create: the argument {self.kind!r} is missing")
        given, *others = args or (kwargs.pop(self.kind),)
        if isinstance(given, str) and given[:1] not in ("[", "{"):
            return self.named(given)(*others, **kwargs)
        if others or kwargs:
            found = f"arguments {[*others, *kwargs]} beside {given!r}"
            raise OperatorTypeError(f"create: {found}; accepted: arguments beside a name")
        if isinstance(given, self.base):
            return given
        if isinstance(given, str):
            given = self._parsed(given)
        if isinstance(given, dict) and self.kind in given:
            return self.create(**given)
        if isinstance(given, list | tuple) and len(given) == 2 and isinstance(given[1], dict):
            return self.named(given[0])(**given[1])
        raise OperatorTypeError(
            f"create: {self.kind} is {given!r}; accepted: {self.base.__name__}, its name, or JSON as "
            '["name", {"argument": value}]'
        )

    def named(self, name: object) -> type:
        """The class of a name."""
        found = self.classes.get(name.lower()) if isinstance(name, str) else None
        if found is None:
            raise argument_error("create", self.kind, repr(name), ", ".join(sorted(self.classes)))
        return found

    def _parsed(self, text: str) -> object:
        try:
            return json.loads(text)
        except ValueError as error:
            raise argument_error("create", self.kind, f"{text!r} ({error})", "a name, or JSON") from None
