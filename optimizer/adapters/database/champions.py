"""Table champions: every reign of every family."""

from __future__ import annotations

from sqlalchemy import Connection, RowMapping, bindparam, insert, select, update

from optimizer.adapters.database.engine import table
from optimizer.adapters.database.tables import ChampionRow
from optimizer.core.rollout import Champion

CHAMPIONS = table(ChampionRow)
_REIGNING = select(CHAMPIONS).where(CHAMPIONS.c.current.is_(True)).order_by(CHAMPIONS.c.family)
_CURRENT = _REIGNING.where(CHAMPIONS.c.family == bindparam("of_family"))


class ChampionTable:
    """ports.Champions on the database."""

    def current(self, tx: Connection, family: str) -> Champion | None:
        row = tx.execute(_CURRENT, {"of_family": family}).mappings().first()
        return None if row is None else _champion(row)

    def reigning(self, tx: Connection) -> list[Champion]:
        return [_champion(row) for row in tx.execute(_REIGNING).mappings()]

    def history(self, tx: Connection, family: str) -> list[Champion]:
        query = select(CHAMPIONS).where(CHAMPIONS.c.family == family).order_by(CHAMPIONS.c.seq)
        return [_champion(row) for row in tx.execute(query).mappings()]

    def put(self, tx: Connection, champion: Champion) -> None:
        reigning = update(CHAMPIONS).where(CHAMPIONS.c.family == champion.family, CHAMPIONS.c.current.is_(True))
        tx.execute(reigning.values(current=None, until=champion.since))
        row = {name: getattr(champion, name) for name in Champion.__dataclass_fields__}
        tx.execute(insert(CHAMPIONS), [{**row, "current": True}])


def _champion(row: RowMapping) -> Champion:
    return Champion(**{name: row[name] for name in Champion.__dataclass_fields__})
