"""A session as an operator's script has it: log in, enable, page, configure, save, collect.

usage: netmiko_session.py DEVICE_TYPE PORT USER      passwords: NETMIKO_PASSWORD, NETMIKO_SECRET
Prints one JSON object of what netmiko returned.
"""

import json
import os
import sys

from netmiko import ConnectHandler

CHANGES = [
    "server real web1 10.9.0.1",
    "port http",
    "server virtual shop 10.9.0.100",
    "port http",
    "bind http web1 http",
]


def main() -> None:
    device_type, port, user = sys.argv[1:4]
    session = ConnectHandler(
        device_type=device_type,
        host="127.0.0.1",
        port=int(port),
        username=user,
        password=os.environ["NETMIKO_PASSWORD"],
        secret=os.environ["NETMIKO_SECRET"],
        fast_cli=True,
    )
    seen = {
        "prompt": session.find_prompt(),
        "before": session.send_command("show running-config"),
        "changes": session.send_config_set(CHANGES, error_pattern=r"Invalid input|Error"),
        "saved": session.save_config(),
        "after": session.send_command("show running-config"),
        "startup": session.send_command("show configuration"),
    }
    session.disconnect()
    json.dump(seen, sys.stdout)


main()
