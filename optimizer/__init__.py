"""What Detent is made of; ARCHITECTURE.md says where each part stands.

This package stands above all of them, so it says where registries look. The rooms are opened at the first question.
"""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.core.base.registry import Registration, find_with


def _in_rooms(group: str) -> Sequence[Registration]:
    from optimizer.runtime.rooms import declared_in

    return declared_in(group)


def _in_packages(group: str) -> Sequence[Registration]:
    from optimizer.host.packages import registrations_of

    return registrations_of(group)


find_with(rooms=_in_rooms, packages=_in_packages)
