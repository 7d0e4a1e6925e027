"""Finds the variant that a person names: by id, by a unique beginning of it, or by use (champion, candidate, file)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optimizer.cli.server_option import chosen_server
from optimizer.cli.session import Session

if TYPE_CHECKING:
    from optimizer.core.family.variant import VariantRecord


def variant_id(session: Session, family: str, name: str) -> str:
    """Its id. Of this home it is read in the store, whatever the server says: brakes name one."""
    if chosen_server() is None:
        return find_variant(session, family, name).variant.id
    return named_variant(session, family, name)


def named_variant(session: Session, family: str, name: str) -> str:
    """Its id, as the server has it where one runs."""
    from optimizer.jobs.champions.read_variants import read_named_variant

    return session.ask(read_named_variant, family=family, name=name).variant


def find_variant(session: Session, family: str, name: str) -> VariantRecord:
    """The variant of this home."""
    from optimizer.jobs.champions import read_variants

    return read_variants.find_variant(session.context, family, name)
