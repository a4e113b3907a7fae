#!/usr/bin/python3
"""Flatcar's update_engine as seen on the bus: GetStatus, AttemptUpdate, StatusUpdate, the marker, and 0.0.0 after a restart.

As described in shared/reference/peers.md 2.11 and the head of locksmith/updates/update_engine.py. Runs in a node, as root.
"""

import time
from pathlib import Path

from jeepney import HeaderFields, MessageType, new_error, new_method_return
from jeepney.io.blocking import open_dbus_connection
from jeepney.wrappers import DBusAddress, new_method_call, new_signal

PLACE = DBusAddress("/com/coreos/update1", interface="com.coreos.update1.Manager")
BUS = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
STAGED, MARKER = Path("/var/lib/e2e/staged"), Path("/run/update_engine_autoupdate_completed")
NEW = "4152.1.0"


def main() -> None:
    version = "0.0.0"  # of a restart: the version is not kept, the marker is
    with open_dbus_connection(bus="SYSTEM") as bus:
        bus.send_and_get_reply(new_method_call(BUS, "RequestName", "su", ("com.coreos.update1", 4)))

        def status() -> tuple[int, float, str, str, int]:
            word = "UPDATED_NEED_REBOOT" if MARKER.exists() else "IDLE"
            return int(time.time()), 0.0, f"UPDATE_STATUS_{word}", version, 0

        while True:
            message = bus.receive()
            if message.header.message_type is not MessageType.method_call:
                continue
            match message.header.fields.get(HeaderFields.member):
                case "GetStatus":
                    bus.send(new_method_return(message, "xdssx", status()))
                case "AttemptUpdate":
                    version = NEW
                    STAGED.write_text(NEW)
                    MARKER.touch()
                    bus.send(new_method_return(message))
                    bus.send(new_signal(PLACE, "StatusUpdate", "xdssx", status()))
                case _:
                    bus.send(new_error(message, "org.freedesktop.DBus.Error.UnknownMethod"))


if __name__ == "__main__":
    main()
