"""Malformed and malicious requests: each gets its 4xx or a closed connection, good clients are served, no node ends."""
import datetime
import random
import socket
import threading
import time

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local import wait_until

ANSWER_WITHIN_S = 60  # ends a test that would wait for ever


class GoodClient:
    """Writes, reads and deletes through one node until the end; every request must be served."""

    def __init__(self, cluster, bucket, k=1):
        self.client, self.bucket = cluster.client(k, timeout=60), bucket
        self.served, self.faults = 0, []
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)

    def work(self):
        while not self.ending.is_set() and not self.faults:
            try:
                body = bytes([self.served % 256]) * 20_000
                self.client.put_object(Bucket=self.bucket, Key="good", Body=body)
                if self.client.get_object(Bucket=self.bucket, Key="good")["Body"].read() != body:
                    self.faults.append("read something else")
                self.client.delete_object(Bucket=self.bucket, Key="good")
                self.served += 1
            except Exception as e:  # whatever it is fails the test
                self.faults.append(repr(e))
            time.sleep(0.01)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            served = self.served
            wait_until("the good client is served", lambda: self.faults or self.served >= served + 3)
        self.ending.set()
        self.thread.join()
        if kind is None:
            assert self.faults == []


@pytest.fixture
def unharmed(cluster, bucket):
    """The same processes serve before and after, and a good client meanwhile."""
    pids = cluster.pids()
    with GoodClient(cluster, bucket) as good:
        yield good
    assert cluster.pids() == pids, "a node ended"


class AnyPayloadAuth(S3SigV4Auth):
    """Signs the x-amz-content-sha256 that the request came with, where it came with one."""

    def _modify_request_before_signing(self, request):
        claimed = request.headers.get("x-amz-content-sha256")
        super()._modify_request_before_signing(request)
        if claimed:
            request.headers.replace_header("X-Amz-Content-SHA256", claimed)

    def payload(self, request):
        return request.headers.get("x-amz-content-sha256") or super().payload(request)


def signed_for(key, port, method, path, body=b"", headers=None, query=""):
    """The bytes of a request to 127.0.0.1:PORT, signed with (access key, secret)."""
    request = AWSRequest(method=method, url=f"http://127.0.0.1:{port}{path}{query}", data=body, headers=headers or {})
    AnyPayloadAuth(Credentials(*key), "s3", "us-east-1").add_auth(request)
    lines = [f"{method} {path}{query} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def signed(cluster, method, path, body=b"", secret=None, access=None, headers=None, query=""):
    """The bytes of a signed request of node 1."""
    key = access or cluster.env["AWS_ACCESS_KEY_ID"], secret or cluster.env["AWS_SECRET_ACCESS_KEY"]
    return signed_for(key, cluster.port(1), method, path, body, headers, query)


def talk(cluster, data, end=False):
    """Sends the bytes; the status of the first answer, or 0 when the connection was closed without one."""
    with socket.create_connection(("127.0.0.1", cluster.port(1)), timeout=ANSWER_WITHIN_S) as s:
        try:
            s.sendall(data)
            if end:
                s.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        answer = b""
        try:
            while b"\r\n\r\n" not in answer:
                more = s.recv(65536)
                if not more:
                    break
                answer += more
        except ConnectionError:
            pass
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def head(cluster, line, *headers):
    return "\r\n".join([line, f"Host: 127.0.0.1:{cluster.port(1)}", *headers]).encode() + b"\r\n\r\n"


def expect(cluster, name, data, allowed, end=False):
    got = talk(cluster, data, end)
    print(f"{name}: {got}")
    assert got in allowed, f"{name}: {got}, not one of {allowed}"


def test_bad_signatures(cluster, bucket, unharmed):
    path = f"/{bucket}/key"
    expect(cluster, "wrong secret", signed(cluster, "PUT", path, b"x", secret="wrong"), [403])
    expect(cluster, "unknown key", signed(cluster, "GET", path, access="AKIAUNKNOWNUNKNOWN"), [403])
    good = signed(cluster, "PUT", path, b"body")
    expect(cluster, "body changed", good[:-4] + b"BODY", [400, 403])
    expect(cluster, "path changed", good.replace(b"/key ", b"/yek ", 1), [403])
    for value in ["AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=", "AWS4-HMAC-SHA256 Credential=a/b/c/d/e,SignedHeaders=,Signature=",
                  "AWS x:y", "Bearer " + "t" * 5000, "\x01", ",,,,,,", "AWS4-HMAC-SHA256 " + "Credential=a," * 500]:
        expect(cluster, f"Authorization {value[:40]!r}", head(cluster, f"GET {path} HTTP/1.1", f"Authorization: {value}"),
               [400, 403, 501])
    old = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=2)).strftime("%Y%m%dT%H%M%SZ")
    lines = [line for line in good.split(b"\r\n") if not line.lower().startswith(b"x-amz-date")]
    expect(cluster, "old date", b"\r\n".join([lines[0], b"X-Amz-Date: " + old.encode(), *lines[1:]]), [400, 403])


def test_oversized_and_malformed_heads(cluster, bucket, unharmed):
    path = f"/{bucket}/key"
    cases = {
        "a 1 MiB header": head(cluster, f"GET {path} HTTP/1.1", "X-Long: " + "x" * (1 << 20)),
        "10,000 headers": head(cluster, f"GET {path} HTTP/1.1", *[f"X-{n}: y" for n in range(10_000)]),
        "a 200 KiB URL": head(cluster, f"GET {path}{'z' * 200_000} HTTP/1.1"),
        "a header without end": head(cluster, f"GET {path} HTTP/1.1")[:-4] + b"\r\nX: " + b"y" * (4 << 20),
        "no version": b"GET /\r\n\r\n",
        "a space in a header's name": head(cluster, f"GET {path} HTTP/1.1", "X y: z"),
        "a folded header": head(cluster, f"GET {path} HTTP/1.1", "X: y\r\n z"),
        "NUL bytes": head(cluster, f"GET {path} HTTP/1.1", "X: \0\0"),
        "no Host": b"GET / HTTP/1.1\r\n\r\n",
        "two hosts": head(cluster, "GET / HTTP/1.1", "Host: other"),
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
        "bad escapes": head(cluster, f"GET /{bucket}/%zz%2 HTTP/1.1"),
        "no UTF-8": head(cluster, f"GET /{bucket}/%ff%fe HTTP/1.1"),
    }
    for name, data in cases.items():
        expect(cluster, name, data, [0, 400, 403, 404, 414, 431, 505], end=True)
    rng = random.Random(7)
    for n in range(50):
        expect(cluster, f"noise {n}", rng.randbytes(rng.randrange(1, 3000)), [0, 400, 403, 405, 501, 505], end=True)


def test_framing(cluster, bucket, unharmed):
    path = f"/{bucket}/framing"
    chunked = "Transfer-Encoding: chunked"
    smuggled = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"
    bad = [
        ("CL and TE", head(cluster, f"PUT {path} HTTP/1.1", "Content-Length: 5", chunked) + smuggled),
        ("TE and CL", head(cluster, f"PUT {path} HTTP/1.1", chunked, "Content-Length: 5") + smuggled),
        ("two lengths", head(cluster, f"PUT {path} HTTP/1.1", "Content-Length: 5", "Content-Length: 6") + b"hello!"),
        ("TE twice", head(cluster, f"PUT {path} HTTP/1.1", chunked, "Transfer-Encoding: identity") + smuggled),
        ("unknown TE", head(cluster, f"PUT {path} HTTP/1.1", "Transfer-Encoding: xchunked") + smuggled),
        ("a chunk of size zz", head(cluster, f"PUT {path} HTTP/1.1", chunked) + b"zz\r\nhello\r\n0\r\n\r\n"),
        ("a huge chunk", head(cluster, f"PUT {path} HTTP/1.1", chunked) + b"f" * 40 + b"\r\nhello"),
    ]
    for length in ["-1", "+5", "5x", "1e3", "0x5", "99999999999999999999999", "", "5, 5"]:
        bad.append((f"length {length!r}", head(cluster, f"PUT {path} HTTP/1.1", f"Content-Length: {length}") + b"hello"))
    for name, data in bad:
        expect(cluster, name, data, [0, 400, 403, 411, 413, 501], end=True)


def test_bodies_that_do_not_fit_their_head(cluster, bucket, unharmed):
    path = f"/{bucket}/cut"
    streaming = {"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "x-amz-decoded-content-length": "5",
                 "Content-Encoding": "aws-chunked"}
    for name, body in {
        "a bad chunk signature": b"5;chunk-signature=" + b"0" * 64 + b"\r\nhello\r\n0;chunk-signature=" + b"0" * 64 + b"\r\n\r\n",
        "no chunk signature": b"5\r\nhello\r\n0\r\n\r\n",
        "no chunks": b"\xff" * 300,
        "a huge chunk": b"ffffffffffffffff;chunk-signature=" + b"0" * 64 + b"\r\nhello",
        "an endless size": b"0" * 100_000,
    }.items():
        expect(cluster, name, signed(cluster, "PUT", path, body, headers=streaming), [0, 400, 403], end=True)
    whole = signed(cluster, "PUT", path, b"b" * 100_000)
    for cut in (1, 50_000, 99_999):
        expect(cluster, f"{cut} bytes short", whole[:-cut], [0, 400], end=True)
    assert "Contents" not in cluster.client(2).list_objects_v2(Bucket=bucket, Prefix="cut")


def test_bad_xml(cluster, bucket, unharmed):
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    bodies = {
        "nested 100,000 deep": b"<Delete>" + b"<a>" * 100_000,
        "nested and closed": b"<Delete>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</Delete>",
        "entities": f'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY l0 "ha">{laughs}]><Delete>&l9;</Delete>'.encode(),
        "a file": b'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><Delete>&x;</Delete>',
        "no XML": b"\x00\xff\xfe" * 100,
        "nothing": b"",
        "cut": b"<Delete><Object><Key>a",
        "another root": b"<Remove/>",
        "1,001 keys": b"<Delete>" + b"<Object><Key>k</Key></Object>" * 1001 + b"</Delete>",
        "no keys": b"<Delete></Delete>",
        "100,000 attributes": b"<Delete " + b"".join(b"a%d='' " % n for n in range(100_000)) + b"/>",
    }
    for name, body in bodies.items():
        for query in ("?delete=", "?uploadId=none"):
            expect(cluster, f"{name} {query}", signed(cluster, "POST", f"/{bucket}" + ("/k" if "upload" in query else ""),
                                                     body, query=query), [400, 404, 413])


def test_names_without_length_and_beyond(cluster, bucket, unharmed):
    for name, data, allowed in [
        ("an empty bucket name", signed(cluster, "PUT", "//key", b"x"), [400, 403, 404, 405]),
        ("a key of 1,025 bytes", signed(cluster, "PUT", f"/{bucket}/" + "k" * 1025, b"x"), [400]),
        ("part number 0", signed(cluster, "PUT", f"/{bucket}/k", b"x", query="?partNumber=0&uploadId=u"), [400, 404]),
        ("an empty upload id", signed(cluster, "PUT", f"/{bucket}/k", b"x", query="?partNumber=1&uploadId="), [400, 404]),
        ("an empty key to delete", signed(cluster, "POST", f"/{bucket}", b"<Delete><Object><Key></Key></Object></Delete>",
                                          query="?delete="), [200, 400]),
        ("an unknown method", head(cluster, f"BREW /{bucket} HTTP/1.1"), [0, 400, 403, 405, 501]),
    ]:
        expect(cluster, name, data, allowed, end=True)
    assert all(e["Key"] == "good" for e in cluster.client(2).list_objects_v2(Bucket=bucket).get("Contents", []))


def test_200_dripping_connections(cluster, unharmed):
    drip = head(cluster, "GET / HTTP/1.1", "X-Slow: " + "s" * 200)
    open_ones = []
    try:
        for n in range(200):
            s = socket.create_connection(("127.0.0.1", cluster.port(1)), timeout=ANSWER_WITHIN_S)
            s.setblocking(False)
            open_ones.append(s)
        before = unharmed.served
        for at in range(40):
            for s in open_ones:
                try:
                    s.send(drip[at:at + 1])
                except OSError:
                    pass  # closed by the node: its right
            time.sleep(0.1)
        wait_until("the good client is served meanwhile", lambda: unharmed.faults or unharmed.served >= before + 5)
    finally:
        for s in open_ones:
            s.close()


def test_noise_on_the_other_ports(cluster, unharmed):
    rng = random.Random(8)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for n in range(500):
            udp.sendto(rng.randbytes(rng.randrange(0, 1400)), ("127.0.0.1", cluster.port(1 + n % 3, "gossip")))
    for what in ("gossip", "rpc", "admin"):
        for n in range(20):
            try:
                with socket.create_connection(("127.0.0.1", cluster.port(1 + n % 3, what)), timeout=5) as s:
                    s.sendall(rng.randbytes(rng.randrange(1, 5000)))
            except OSError:
                pass
    cluster.wait_healthy()
