"""The bytes of docs/wire-protocol.md: `python3 examples/python/test_acm.py`. Also run by `cargo test`."""

import pathlib
import re
import struct
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import acm

SECRET = b"0123456789abcdef0123456789abcde2"


def documented():
    text = (pathlib.Path(__file__).parents[2] / "docs" / "wire-protocol.md").read_text()
    block = text.split("<!-- example -->\n```\n")[1].split("```")[0]
    lines = [re.split(r"  +", line.strip())[0] for line in block.splitlines()]
    return bytes.fromhex("".join("".join(lines).split()))


class Wire(unittest.TestCase):
    def test_the_documented_beacon(self):
        one = acm.Binding("web", "tcp", ("10.0.0.100", 80), None, ("10.1.0.11", 8080))
        body = acm.field(acm.CHALLENGE, struct.pack(">Q", 0x1111)) + acm.field(acm.ECHO, struct.pack(">Q", 0x2222))
        body += acm.field(acm.PERIOD, acm.millis(10)) + one.statement()
        sealed = acm.seal(SECRET, acm.BEACON, 2, "comics", 77, 0x0102030405060708, 1, 1500, body)
        self.assertEqual(sealed.hex(), documented().hex())

    def test_what_is_sealed_is_unsealed_and_nothing_else_is(self):
        good = documented()
        kind, node, boot, counter, body = acm.unseal(SECRET, 2, "comics", good)
        self.assertEqual((kind, node, boot, counter), (acm.BEACON, 77, 0x0102030405060708, 1))
        self.assertEqual([which for which, _ in acm.fields(body)], [acm.CHALLENGE, acm.ECHO, acm.PERIOD, acm.STATEMENT])
        for at in range(len(good)):
            self.assertIsNone(acm.unseal(SECRET, 2, "comics", good[:at] + bytes([good[at] ^ 1]) + good[at + 1:]))
            self.assertIsNone(acm.unseal(SECRET, 2, "comics", good[:at]))
        for cut in range(1, len(body)):
            try:
                list(acm.fields(body[:cut]))
            except ValueError:
                pass

    def test_spans_and_addresses(self):
        self.assertEqual([acm.seconds(text) for text in ("30s", "250ms", "2m")], [30.0, 0.25, 120.0])
        self.assertRaises(ValueError, acm.seconds, "30")
        self.assertEqual(acm.parse_address("[2001:db8::1]:80"), ("2001:db8::1", 80))


if __name__ == "__main__":
    unittest.main()
