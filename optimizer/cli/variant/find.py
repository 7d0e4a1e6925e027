"""Finds the variant that a person names: by id, by a unique beginning of it, or by use (champion, candidate, file)."""

from __future__ import annotations

from optimizer.cli.server_option import chosen_server
from optimizer.cli.session import Session


def variant_id(session: Session, family: str, name: str) -> str:
    """Its id. Of this home it is read in the store, whatever the server says: brakes name one."""
    if chosen_server() is None:
        from optimizer.jobs.champions.read_variants import find_variant

        return find_variant(session.context, family, name).variant.id
    return named_variant(session, family, name)


def named_variant(session: Session, family: str, name: str) -> str:
    """Its id, as the server has it where one runs."""
    from optimizer.jobs.champions.read_variants import read_named_variant

    return session.ask(read_named_variant, family=family, name=name).variant
