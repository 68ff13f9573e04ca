"""A service in Python, managed: two lines instead of one.

    import acm
    listener = acm.bind("web")          # instead of socket.create_server(("", 8080))

It listens at an anonymous port, announces itself to the connection managers (docs/wire-protocol.md), says that it is
there until the process ends, and on SIGTERM or Ctrl-C takes itself back, waits until its connections have finished, at
most for the configured drain, and ends the process with 0.

The configuration is that of every agent: ACM_CONFIG, or /etc/acm/agent.toml:

    [services]
    web = "10.0.0.100:80"               # "10.0.0.100:53/udp" for acm.bind_udp

    [[key]]
    id = 2
    secret_file = "/etc/acm/keys/web"

Python 3.11 or later, and nothing else. What the Rust module does and this does not: it answers no operators (`acm roll`
needs `acm run`), speaks IPv4 only to the managers, and knows of a service's options only the weight.
"""

import hashlib
import hmac
import ipaddress
import os
import random
import secrets
import signal
import socket
import struct
import sys
import threading
import time
import tomllib

MAGIC, VERSION = b"ACMB", 1
SOLICIT, PROVE, BEACON, ADD, REMOVE, ACK, FAILURE, LEAVE = 4, 5, 6, 7, 8, 9, 10, 11
CHALLENGE, ECHO, WITHIN, PERIOD, STATEMENT, BINDING, DEADLINE, OF, ROW, REAL, WHY = (
    0x0001, 0x0002, 0x0004, 0x0005, 0x0006, 0x0007, 0x0008, 0x000A, 0x000B, 0x000C, 0x000D)
NAME, WEIGHT, CONDITION, ANSWER = 0x0010, 0x0012, 0x0015, 0x001A
DONE, TEMPORARY = 0, {1, 6, 9, 10}
SERVING, FAILING, LEAVING = 0, 1, 2
ECHOES_MAX, DATAGRAM_MAX, BINDINGS_PER_MESSAGE = 8, 1400, 16
CHALLENGE_LIFE, REPEAT, NOBODY_ANSWERS = 60.0, 0.25, 15.0


# -- bytes ---------------------------------------------------------------------------------------------------------

def field(kind, value):
    return struct.pack(">HH", kind, len(value)) + value


def fields(data):
    """Type and value of each field; ValueError for what is none."""
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise ValueError("a field is cut short")
        kind, length = struct.unpack_from(">HH", data, at)
        at += 4
        if at + length > len(data):
            raise ValueError("a field is cut short")
        yield kind & 0x7FFF, data[at:at + length]
        at += length


def endpoint(host, port):
    return struct.pack(">H", port) + ipaddress.ip_address(host).packed


def binding(protocol, vip, real):
    service = bytes([17 if protocol == "udp" else 6]) + endpoint(*vip)
    return bytes([len(service)]) + service + endpoint(*real)


def millis(seconds):
    return struct.pack(">I", min(max(int(seconds * 1000), 1), 0xFFFFFFFF))


def group_mark(group):
    return hashlib.sha256(group.encode()).digest()[:4]


def seal(secret, kind, key, group, node, boot, counter, written_ms, body):
    """One datagram."""
    head = MAGIC + struct.pack(">BBH", VERSION, kind, key) + group_mark(group)
    signed = head + struct.pack(">QQQQ", node, boot, counter, written_ms) + body
    return signed + hmac.new(secret, signed, hashlib.sha256).digest()[:16]


def unseal(secret, key, group, data):
    """(kind, node, boot, counter, fields), or None for what is not for us, or not authentic."""
    if not 60 <= len(data) <= DATAGRAM_MAX or data[:4] != MAGIC or data[4] != VERSION:
        return None
    if struct.unpack_from(">H", data, 6)[0] != key or data[8:12] != group_mark(group):
        return None
    signed, tag = data[:-16], data[-16:]
    if not hmac.compare_digest(hmac.new(secret, signed, hashlib.sha256).digest()[:16], tag):
        return None
    node, boot, counter = struct.unpack_from(">QQQ", data, 12)
    return data[5], node, boot, counter, signed[44:]


# -- configuration -------------------------------------------------------------------------------------------------

def seconds(text):
    """`30s`, `250ms`, `2m`."""
    for unit, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)):
        if text.endswith(unit) and text[:-len(unit)].strip().replace(".", "", 1).isdigit():
            return float(text[:-len(unit)]) * factor
    raise ValueError(f"`{text}` is not a time span such as 30s, 500ms or 2m")


class Config:
    def __init__(self, path):
        with open(path, "rb") as file:
            raw = tomllib.load(file)
        self.group = raw.get("group", "comics")
        self.node = raw.get("node", secrets.randbits(63))
        fast = raw.get("profile", "normal") == "fast"
        self.period = seconds(raw["period"]) if "period" in raw else (0.25 if fast else 10.0)
        self.drain = seconds(raw.get("drain", "30s"))
        self.address = raw.get("address")
        self.services = raw.get("services", {})
        network = raw.get("network", {})
        self.interface = network.get("interface")
        self.ttl = network.get("ttl", 1)
        self.peers = [parse_address(peer) for peer in network.get("peers", [])]
        self.multicast = parse_address(network.get("multicast", "239.9.9.9:7946"))
        own = [key for key in raw.get("key", []) if not key.get("operator")]
        own = [key for key in own if key["id"] == raw.get("sign_with", key["id"])]
        if len(own) != 1:
            raise ValueError("sign_with: name the one [[key]] to sign with")
        self.key = own[0]["id"]
        if "secret_env" in own[0]:
            self.secret = os.environ[own[0]["secret_env"]].encode()
        else:
            with open(own[0]["secret_file"], "rb") as file:
                self.secret = file.read().removesuffix(b"\n")
        if len(self.secret) < 32:
            raise ValueError("key: the secret has fewer than 32 bytes; make one with: openssl rand -hex 32")

    def service(self, name):
        """(protocol, (vip, port), weight)."""
        if name not in self.services:
            raise ValueError(f'services.{name}: there is no such service; add {name} = "VIP:PORT" below [services]')
        one = self.services[name]
        text, weight = (one, None) if isinstance(one, str) else (one["service"], one.get("weight"))
        address, _, protocol = text.partition("/")
        return protocol or "tcp", parse_address(address), weight


def parse_address(text):
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


# -- the agent -----------------------------------------------------------------------------------------------------

class Binding:
    """One binding. `condition` is what beacons say; `asks` is the open request, ADD, REMOVE or None."""

    def __init__(self, name, protocol, vip, weight, real):
        self.name, self.weight = name, weight
        self.bytes = binding(protocol, vip, real)
        self.condition, self.why = SERVING, ""
        self.asks, self.since, self.repeat_at, self.tries = ADD, 0, 0.0, 0
        self.until, self.give_up_at = None, float("inf")
        self.bound, self.gone = threading.Event(), threading.Event()

    def statement(self):
        body = field(BINDING, self.bytes) + field(NAME, self.name.encode())
        if self.weight is not None:
            body += field(WEIGHT, struct.pack(">H", self.weight))
        if self.condition != SERVING:
            body += field(CONDITION, bytes([self.condition]))
        if self.condition == FAILING:
            body += field(WHY, self.why.encode()[:160])
        return field(STATEMENT, body)


class Agent(threading.Thread):
    """Speaks for all bindings of this process, in a thread of its own."""

    def __init__(self, config):
        super().__init__(name="acm-agent", daemon=True)
        self.config = config
        self.boot, self.counter, self.began = secrets.randbits(63), 0, time.monotonic()
        self.challenge = secrets.randbits(63)
        self.owed, self.bindings, self.heard = {}, [], False
        self.lock, self.beacon_at = threading.RLock(), float("inf")
        self.open_sockets()

    def open_sockets(self):
        config = self.config
        self.own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.own.bind(("", 0))
        self.listening = [self.own]
        self.to = config.peers or [config.multicast]
        index = socket.if_nametoindex(config.interface) if config.interface else 0
        if not config.peers:
            self.own.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, config.ttl)
            if index:
                request = struct.pack("4s4si", bytes(4), bytes(4), index)
                self.own.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)
            group = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            group.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            group.bind(config.multicast)
            join = struct.pack("4s4si", socket.inet_aton(config.multicast[0]), bytes(4), index)
            group.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, join)
            self.listening.append(group)
        for one in self.listening:
            one.setblocking(False)
        self.wake_read, self.wake_write = socket.socketpair()
        self.wake_read.setblocking(False)

    def address(self):
        """The address that managers see."""
        if self.config.address:
            return self.config.address
        probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with probe:
            if self.config.interface and not self.config.peers:
                index = socket.if_nametoindex(self.config.interface)
                request = struct.pack("4s4si", bytes(4), bytes(4), index)
                probe.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)
            probe.connect(self.to[0])
            return probe.getsockname()[0]

    # What the program wants.

    def add(self, one):
        with self.lock:
            self.bindings.append(one)
            self.ask(one, ADD)
            self.beacon_at = min(self.beacon_at, time.monotonic() + self.config.period)

    def withdraw(self, one, drain):
        with self.lock:
            if one not in self.bindings or one.asks == REMOVE:
                return
            now = time.monotonic()
            one.condition, one.until = LEAVING, now + drain
            one.give_up_at = now + (NOBODY_ANSWERS if self.heard else 1.0)
            self.ask(one, REMOVE)

    def judge(self, one, why):
        """`why` is None when it serves."""
        with self.lock:
            if one.condition == LEAVING or (one.condition == FAILING) == (why is not None):
                return
            one.condition, one.why = (SERVING, "") if why is None else (FAILING, why)
            if why is None:
                self.ask(one, ADD)
            else:
                one.asks, self.beacon_at = None, time.monotonic()
            self.wake()

    def report_peer_failure(self, real, why):
        with self.lock:
            for _ in range(3):
                self.say(FAILURE, field(REAL, endpoint(*real)) + field(WHY, why.encode()[:160]))

    def ask(self, one, kind):
        one.asks, one.since, one.repeat_at, one.tries = kind, self.counter + 1, time.monotonic(), 0
        self.wake()

    def wake(self):
        try:
            self.wake_write.send(b"x")
        except BlockingIOError:
            pass

    # What is said.

    def say(self, kind, body):
        self.counter += 1
        proof = field(CHALLENGE, struct.pack(">Q", self.challenge))
        now = time.monotonic()
        self.owed = {node: one for node, one in self.owed.items() if now - one[1] < CHALLENGE_LIFE}
        latest = sorted(self.owed.values(), key=lambda one: -one[1])[:ECHOES_MAX]
        proof += b"".join(field(ECHO, challenge) for challenge, _ in latest)
        written = int((now - self.began) * 1000)
        config = self.config
        datagram = seal(config.secret, kind, config.key, config.group, config.node, self.boot, self.counter, written,
                        proof + body)
        for to in self.to:
            try:
                self.own.sendto(datagram, to)
            except OSError:
                pass  # It is said again.

    def statements(self, kind, some):
        for at in range(0, len(some), BINDINGS_PER_MESSAGE):
            part = some[at:at + BINDINGS_PER_MESSAGE]
            self.say(kind, field(PERIOD, millis(self.config.period)) + b"".join(one.statement() for one in part))

    def tick(self, now):
        for one in [one for one in self.bindings if one.give_up_at <= now]:
            self.over(one)
        due = [one for one in self.bindings if one.asks and one.repeat_at <= now]
        for one in due:
            one.tries += 1
            one.repeat_at = now + (REPEAT if one.tries <= 8 else 1.0)
        self.statements(ADD, [one for one in due if one.asks == ADD])
        for one in [one for one in due if one.asks == REMOVE]:
            self.say(REMOVE, field(DEADLINE, millis(one.until - now)) + field(BINDING, one.bytes))
        if now >= self.beacon_at:
            self.statements(BEACON, self.bindings)
            jitter = random.uniform(0.9, 1.0)
            self.beacon_at = now + self.config.period * jitter if self.bindings else float("inf")

    # What is heard.

    def hear(self, data):
        config = self.config
        opened = unseal(config.secret, config.key, config.group, data)
        if not opened or opened[0] not in (SOLICIT, PROVE, ACK) or (opened[1], opened[2]) == (config.node, self.boot):
            return
        kind, node, _, _, body = opened
        try:
            found = list(fields(body))
        except ValueError:
            return
        now, values = time.monotonic(), dict(found)
        if len(values.get(CHALLENGE, b"")) == 8:
            self.owed[node] = (values[CHALLENGE], now)
            while len(self.owed) > ECHOES_MAX:
                del self.owed[min(self.owed, key=lambda other: self.owed[other][1])]
        if kind == ACK:
            self.acknowledged(values.get(OF, b""), [value for which, value in found if which == ROW], now)
        elif kind == SOLICIT:
            within = struct.unpack(">I", values.get(WITHIN, bytes(4)))[0] / 1000
            self.beacon_at = min(self.beacon_at, now + random.uniform(0, within))
        else:
            waiting = [one for one in self.bindings if one.asks]
            for one in waiting:
                one.repeat_at = now
            if not waiting and self.bindings:
                self.beacon_at = now

    def acknowledged(self, of, rows, now):
        if len(of) != 16:
            return
        boot, counter = struct.unpack(">QQ", of)
        if boot != self.boot:
            return
        self.heard = True
        for one in list(self.bindings):
            answers = set()
            for row in rows:
                values = dict(fields(row))
                if values.get(BINDING) == one.bytes and len(values.get(ANSWER, b"")) == 1:
                    answers.add(values[ANSWER][0])
            if not answers or not one.asks or counter < one.since or answers & TEMPORARY:
                continue
            if one.asks == ADD and DONE in answers:
                one.asks = None
                one.bound.set()
            elif one.asks == ADD:
                one.repeat_at = now + 10.0
            elif DONE in answers:
                one.give_up_at = one.until + 2.0
            else:
                self.over(one)

    def over(self, one):
        self.bindings.remove(one)
        one.gone.set()

    def run(self):
        import select
        while True:
            with self.lock:
                now = time.monotonic()
                self.tick(now)
                due = min([self.beacon_at] + [min(one.give_up_at, one.repeat_at if one.asks else float("inf"))
                                              for one in self.bindings])
            wait = None if due == float("inf") else max(0.0, due - time.monotonic())
            ready, _, _ = select.select([self.wake_read, *self.listening], [], [], wait)
            for one in ready:
                for _ in range(64):
                    try:
                        data = one.recv(DATAGRAM_MAX + 1)
                    except OSError:
                        break
                    if one is not self.wake_read:
                        with self.lock:
                            self.hear(data)


# -- the two lines -------------------------------------------------------------------------------------------------

_agent = None
_starting = threading.Lock()


class Managed(socket.socket):
    """A socket that is announced. `serving()` and `failing(why)` say how the service is; `withdraw()` takes it back."""

    _binding = None

    def serving(self):
        _agent.judge(self._binding, None)

    def failing(self, why):
        _agent.judge(self._binding, why)

    def wait_bound(self, timeout):
        return self._binding.bound.wait(timeout)

    def withdraw(self):
        """Returns when nothing is left of it, at most after the configured drain."""
        _agent.withdraw(self._binding, _agent.config.drain)
        self._binding.gone.wait()


def bind(name, backlog=1024):
    """Listens at an anonymous port for the service of this name, and has it announced."""
    return _bind(name, "tcp", socket.SOCK_STREAM, backlog)


def bind_udp(name):
    """The same for a service over UDP."""
    return _bind(name, "udp", socket.SOCK_DGRAM, None)


def report_peer_failure(real, why):
    """Tells the managers that the server at (host, port) failed; they look themselves."""
    if _agent:
        _agent.report_peer_failure(real, why)


def _bind(name, protocol, kind, backlog):
    global _agent
    with _starting:
        if _agent is None:
            _agent = Agent(Config(os.environ.get("ACM_CONFIG", "/etc/acm/agent.toml")))
            _agent.start()
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, _end)
                signal.signal(signal.SIGINT, _end)
    configured, vip, weight = _agent.config.service(name)
    if configured != protocol:
        raise ValueError(f"services.{name}: is {configured.upper()}; call {'bind_udp' if configured == 'udp' else 'bind'}")
    managed = Managed(socket.AF_INET, kind)
    managed.bind((_agent.address(), 0))
    if backlog:
        managed.listen(backlog)
    managed._binding = Binding(name, protocol, vip, weight, managed.getsockname()[:2])
    _agent.add(managed._binding)
    return managed


_ending = False


def _end(*_):
    """The program goes on serving while everything is taken back; then the process ends. A second time, at once."""
    global _ending
    if _ending:
        os._exit(130)
    _ending = True

    def wait():
        with _agent.lock:
            every = list(_agent.bindings)
            for one in every:
                _agent.withdraw(one, _agent.config.drain)
        for one in every:
            one.gone.wait()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    threading.Thread(target=wait, name="acm-end").start()
