"""What was computed once and is kept as long as there is room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any


class Memo:
    """The ``most`` values that were asked for last, each by what it depends on."""

    def __init__(self, most: int):
        self.most = most
        self.values: OrderedDict[Hashable, Any] = OrderedDict()

    def __contains__(self, key: Hashable) -> bool:
        return key in self.values

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The value of ``key``, by ``make`` where it is not kept; what was not asked for longest makes room."""
        if key not in self.values:
            self.values[key] = make()
        self.values.move_to_end(key)
        if len(self.values) > self.most:
            self.values.popitem(last=False)
        return self.values[key]
