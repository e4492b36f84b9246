"""Attacks through sockets, and on the one socket that a worker has."""

from typing import Final

from tests.sandbox.attacks.row import Attack

CAUGHT: Final = r"^killed: .*SIGSYS"

NETWORK: Final = (
    Attack(
        number=9,
        title="TCP to a local port (PostgreSQL)",
        code="""
file = call("socket", 2, 1, 0)
call("connect", file, struct.pack("=H", 2) + struct.pack("!H", V["tcp_port"]) + bytes([127, 0, 0, 1]) + bytes(8), 16)
raise Leak("connected")
""",
        outcome=CAUGHT,
        only="✗✗✗✓✓",
    ),
    Attack(
        number=10,
        title="Unix socket with a path (PostgreSQL)",
        code="""
path = V["unix_path"].encode()
file = call("socket", 1, 1, 0)
call("connect", file, struct.pack("=H", 1) + path + bytes(108 - len(path)), 110)
raise Leak("connected")
""",
        outcome=CAUGHT,
        only="✗✗✗✗✓",
    ),
    Attack(
        number=11,
        title="abstract Unix socket",
        code="""
name = b"\\0" + V["abstract_name"].encode()
file = call("socket", 1, 1, 0)
call("connect", file, struct.pack("=H", 1) + name, 2 + len(name))
raise Leak("connected")
""",
        outcome=CAUGHT,
        only="✗✗✗✓✓",
        note="landlock scopes abstract sockets from its sixth version on",
    ),
    Attack(
        number=12,
        title="UDP packet (a name server's port)",
        code="""
file = call("socket", 2, 2, 0)
call("sendto", file, b"leaked", 6, 0, struct.pack("=H", 2) + struct.pack("!H", V["udp_port"]) + bytes([127, 0, 0, 1]) + bytes(8), 16)
raise Leak("sent")
""",
        outcome=CAUGHT,
        only="✗✗✗✗✓",
    ),
    Attack(
        number=13,
        title="netlink socket",
        code="""
call("socket", 16, 3, 0)
raise Leak("opened")
""",
        outcome=CAUGHT,
        only="✗✗✗✗✓",
    ),
    Attack(
        number=101,
        title="MPTCP, which rules for TCP do not cover",
        code="""
file = call("socket", 2, 1, 262)
call("connect", file, struct.pack("=H", 2) + struct.pack("!H", V["tcp_port"]) + bytes([127, 0, 0, 1]) + bytes(8), 16)
raise Leak("connected")
""",
        outcome=CAUGHT,
        only="✗✗✗✗✓",
    ),
    Attack(
        number=102,
        title="hand a descriptor to the server through its own socket (SCM_RIGHTS)",
        code="""
data = ctypes.create_string_buffer(b"x")
part = (ctypes.c_uint64 * 2)(ctypes.addressof(data), 1)
control = ctypes.create_string_buffer(struct.pack("=QiiI", 20, 1, 1, 3) + bytes(4), 24)
message = ctypes.create_string_buffer(
    struct.pack("=QIxxxxQQQQi", 0, 0, ctypes.addressof(part), 1, ctypes.addressof(control), 24, 0), 56)
call("sendmsg", 3, message, 0)
raise Leak("sent")
""",
        outcome=CAUGHT,
        by="what is read there is read without room for a descriptor",
    ),
    Attack(
        number=103,
        title="raise a signal in another process by F_SETOWN on the worker's socket",
        code="""
call("fcntl", 3, 8, V["server_pid"])
call("fcntl", 3, 10, 0)
raise Leak("the server owns our socket's signals")
""",
        outcome=r"^raised: OSError: \[Errno 9\]",
        only="✗✗✗✗✓",
        note="landlock's scope for signals looks at the moment of sending",
    ),
)
