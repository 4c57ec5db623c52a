"""A guest list: whoever knows a word that the operator wrote into the configuration gets in, under the name and
with the rights beside it.

`rillway.toml` has an example.
"""

import fnmatch
import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import config, log
from wit_world.imports.types import (
    Denial_Forbidden,
    Denial_Unauthenticated,
    Grant,
    Source,
)

KNOWN = {"name", "rooms", "publish"}
guests = {}


def read(text):
    """The guests of a configuration, by their word; an error says which of them is wrong."""
    table = json.loads(text)
    unknown = set(table) - {"guests"}
    if unknown:
        raise Err(f"unknown key `{min(unknown)}`: only `guests` is known")
    for word, guest in table.get("guests", {}).items():
        unknown = set(guest) - KNOWN
        if unknown:
            raise Err(f"guests.{word}: unknown key `{min(unknown)}`")
        if not isinstance(guest.get("name"), str) or not guest["name"]:
            raise Err(f"guests.{word}: `name` is missing")
        if not isinstance(guest.get("rooms", []), list):
            raise Err(f"guests.{word}: `rooms` is a list of patterns")
    return table.get("guests", {})


class Lifecycle(exports.Lifecycle):
    def start(self):
        guests.clear()
        guests.update(read(config.get()))


class Authentication(exports.Authentication):
    def authenticate(self, attempt):
        guest = guests.get(bytes(attempt.credentials).decode("utf-8", "replace"))
        if attempt.scheme != "token" or guest is None:
            raise Err(Denial_Unauthenticated("nobody on the list has this word"))
        room = attempt.room
        if room is None or not any(fnmatch.fnmatchcase(room, p) for p in guest.get("rooms", ["*"])):
            raise Err(Denial_Forbidden(f"{guest['name']} is not expected in this room"))
        log.write(log.Level.INFO, f"{guest['name']} comes in")
        return Grant(
            room=room,
            identity=guest["name"].lower(),
            name=guest["name"],
            publish=list(Source) if guest.get("publish", False) else [],
            subscribe=True,
            publish_data=True,
            record_control=False,
            max_publish_bps=None,
            expires_at_ms=None,
            attributes=[("policy", "guest-list")],
        )
