"""``detent keys``: who may use the API, in which role."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from optimizer.cli.output import Json, say, show, table, tell_change
from optimizer.cli.session import Session, check_one_of
from optimizer.core.errors import Conflict, InvalidInput, NotFound

ROLES = ("read", "feedback", "operate", "admin")

app = typer.Typer(name="keys", no_args_is_help=True, help="Keys of the API: create, list, revoke.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The name that stands in every decision made with the key.")],
    role: Annotated[str, typer.Option(help="read, feedback, operate or admin; each may do what the ones before it may.")] = "feedback",
    as_json: Json = False,
) -> None:
    """Make a key. Its secret is shown once and kept only as a hash.

    Example: detent keys create web-app --role feedback
    """
    import secrets
    from hashlib import sha256

    check_one_of("--role", role, ROLES)
    if not name.strip() or name.startswith("local:"):
        raise InvalidInput("A key needs a name, and not one that starts with `local:`, which stands for people at this machine.")
    session = Session()
    secret = f"dk_{secrets.token_urlsafe(32)}"
    now = session.clock.now()

    def change(tx: Any) -> bool:
        rows = session.store.api_keys.all(tx)
        if any(row["name"] == name for row in rows):
            raise Conflict(f"There is a key named {name!r} already, valid or revoked. Choose another name: decisions carry it for ever.")
        session.store.api_keys.add(tx, name, role, sha256(secret.encode()).hexdigest(), now)
        session.store.audit.add(tx, at=now, actor=session.actor, action="key.create", family=None, subject=name, detail={"role": role})
        session.store.serving_version.bump(tx)
        return not rows

    first = session.store.write(change)
    show(as_json, {"name": name, "role": role, "secret": secret}, lambda out: out.print(secret, markup=False))
    tell_change(
        f"Key {name} made with role {role}. The line above is its secret; it is not shown again.",
        why="it is the first key: from now on every request needs one" if first else "",
        undo=f"detent keys revoke {name}",
        then="send it as `Authorization: Bearer SECRET`; the command line sends DETENT_API_KEY",
    )


@app.command("list")
def list_keys(as_json: Json = False) -> None:
    """Show all keys, the revoked ones too; never their secrets."""
    session = Session()
    with session.store.read() as tx:
        rows = [{k: v for k, v in row.items() if k != "secret_hash"} for row in session.store.api_keys.all(tx)]
    columns = {"name": "Name", "role": "Role", "created_at": "Made", "revoked_at": "Revoked"}
    show(as_json, {"items": rows}, table(rows, columns, empty="No keys: the server answers this machine only, and asks for none."))


@app.command()
def revoke(name: Annotated[str, typer.Argument(help="Name of the key.")], as_json: Json = False) -> None:
    """End a key at once. Revoking the last one does not open the server."""
    session = Session()
    now = session.clock.now()

    def change(tx: Any) -> bool:
        row = next((r for r in session.store.api_keys.all(tx) if r["name"] == name), None)
        if row is None:
            raise NotFound(f"There is no key named {name!r}. See them with: detent keys list.")
        if row["revoked_at"] is not None:
            return False
        session.store.api_keys.revoke(tx, name, now)
        session.store.audit.add(tx, at=now, actor=session.actor, action="key.revoke", family=None, subject=name, detail={})
        session.store.serving_version.bump(tx)
        return True

    changed = session.store.write(change)
    show(as_json, {"name": name, "changed": changed}, lambda out: None)
    say(f"Key {name} is revoked; it opens nothing any more." if changed else f"Key {name} was revoked before; nothing changed.")
