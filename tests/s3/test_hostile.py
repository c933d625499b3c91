"""Requests that nobody means well with: each gets an answer, and the node serves on."""

import socket
import time

import pytest

from helpers import read


@pytest.fixture(autouse=True)
def still_serving(wire):
    yield
    assert wire.request("GET", "/").status == 200


@pytest.mark.parametrize("text", [
    b"\r\n\r\n\r\nGARBAGE\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", b"GET  / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET / HTTP/1.1\r\n : a\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01",
    b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PUT /b/k HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"PUT /b/k HTTP/1.1\r\nHost: a\r\nContent-Length: 1x\r\n\r\n",
    b"PUT /b/k HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    b"PUT /b/k HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"PUT /b/k HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    b"PUT /b/k HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"PUT /b/k HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
])
def test_malformed_requests(wire, text):
    with wire.connect(timeout=20) as connection:
        connection.send(text)
        connection.socket.shutdown(socket.SHUT_WR)
        answer = connection.answer()
    assert answer is None or 400 <= answer.status < 600, answer
    if answer is not None:
        assert answer.status != 500, answer


def test_smuggled_request(wire, bucket, s3):
    """Content-Length and Transfer-Encoding together: the second request must not be served."""
    inner = f"GET /{bucket}?list-type=2 HTTP/1.1\r\nHost: {wire.netloc}\r\n\r\n".encode()
    head = (f"PUT /{bucket}/k HTTP/1.1\r\nHost: {wire.netloc}\r\nContent-Length: {len(inner) + 5}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n").encode()
    with wire.connect() as connection:
        connection.send(head + inner)
        first = connection.answer()
        assert first is not None and 400 <= first.status < 500, first
        assert connection.answer() is None, "the connection must be closed"


def test_huge_header(wire):
    answer = wire.raw(b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + b"y" * 200000 + b"\r\n\r\n")
    assert answer is not None and answer.status in (400, 413, 431), answer


def test_many_headers(wire):
    answer = wire.raw(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 5000 + b"\r\n")
    assert answer is not None and answer.status in (400, 413, 431), answer


def test_long_target(wire):
    answer = wire.raw(b"GET /" + b"y" * 100000 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer is not None and answer.status in (400, 414, 431), answer


def test_truncated_body(wire, s3, bucket):
    headers, _ = wire.sign("PUT", f"/{bucket}/a", payload="UNSIGNED-PAYLOAD")
    with wire.connect() as connection:
        connection.send(wire.head("PUT", f"/{bucket}/a", (), headers + [("content-length", "100000")]) + b"x" * 99999)
        connection.socket.shutdown(socket.SHUT_WR)
        answer = connection.answer()
    assert answer is None or (answer.status, answer.code) in ((400, "IncompleteBody"), (400, "RequestTimeout")), answer
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_client_goes_away(wire, s3, bucket):
    s3.put_object(Bucket=bucket, Key="big", Body=b"x" * 8000000)
    for _ in range(10):
        headers, _ = wire.sign("GET", f"/{bucket}/big")
        with wire.connect() as connection:
            connection.send(wire.head("GET", f"/{bucket}/big", (), headers))
            connection.file.read(1000)
        headers, _ = wire.sign("PUT", f"/{bucket}/gone", payload="UNSIGNED-PAYLOAD")
        with wire.connect() as connection:
            connection.send(wire.head("PUT", f"/{bucket}/gone", (), headers + [("content-length", "8000000")]))
            connection.send(b"x" * 3000000)
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["big"]


def test_dripping_connections(wire, s3, bucket):
    dripping = []
    try:
        for _ in range(200):
            connection = wire.connect()
            connection.send(b"GET / HTTP/1.1\r\nHo")
            dripping.append(connection)
        began = time.monotonic()
        for i in range(20):
            s3.put_object(Bucket=bucket, Key="a", Body=str(i).encode())
            assert read(s3, bucket, "a") == str(i).encode()
            for connection in dripping:
                connection.send(b"s")
        assert time.monotonic() - began < 60
    finally:
        for connection in dripping:
            connection.__exit__()


def test_pipelined_requests(wire, s3, bucket):
    data = b""
    for i in range(10):
        s3.put_object(Bucket=bucket, Key=f"k{i}", Body=b"%d" % i)
        headers, _ = wire.sign("GET", f"/{bucket}/k{i}")
        data += wire.head("GET", f"/{bucket}/k{i}", (), headers)
    with wire.connect() as connection:
        connection.send(data)
        for i in range(10):
            answer = connection.answer()
            assert (answer.status, answer.body) == (200, b"%d" % i)


def test_keep_alive_after_errors(wire, bucket):
    with wire.connect() as connection:
        for key in ("a", "b"):
            headers, _ = wire.sign("GET", f"/{bucket}/{key}")
            connection.send(wire.head("GET", f"/{bucket}/{key}", (), headers))
            assert connection.answer().status == 404


def test_expect_continue(wire, bucket):
    path = f"/{bucket}/a"
    headers, _ = wire.sign("PUT", path, payload="UNSIGNED-PAYLOAD")
    with wire.connect() as connection:
        connection.send(wire.head("PUT", path, (), headers + [("content-length", "4"), ("expect", "100-continue")]))
        assert connection.answer(skip_continue=False).status == 100
        connection.send(b"body")
        assert connection.answer().status == 200
    headers, _ = wire.sign("PUT", path, payload="UNSIGNED-PAYLOAD", secret="wrong")
    with wire.connect() as connection:
        connection.send(wire.head("PUT", path, (), headers + [("content-length", "4"), ("expect", "100-continue")]))
        assert connection.answer(skip_continue=False).status == 403, "refused before the body was sent"


def test_head_has_no_body(wire, s3, bucket):
    with wire.connect() as connection:
        for key in ("a", "missing"):
            headers, _ = wire.sign("HEAD", f"/{bucket}/{key}")
            connection.send(wire.head("HEAD", f"/{bucket}/{key}", (), headers))
            assert connection.answer("HEAD").body == b""
        headers, _ = wire.sign("GET", "/")
        connection.send(wire.head("GET", "/", (), headers))
        assert connection.answer().status == 200, "bytes after a HEAD's headers"


@pytest.mark.parametrize("query, method", [("delete", "POST"), ("tagging", "PUT"), ("uploadId=00", "POST"), ("", "PUT")])
@pytest.mark.parametrize("body", [b"<", b"<a>" * 100000, b"<a b='" + b"c" * 100000 + b"'/>", b"\xff\xfe<\x00a\x00",
                                  b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", b"<?xml version='1.0' encoding='x'?><a/>"])
def test_bad_xml(wire, bucket, query, method, body):
    path = f"/{bucket}" if query in ("delete", "tagging", "") else f"/{bucket}/k"
    pairs = [tuple((query + "=").split("=")[:2])] if query else []
    answer = wire.request(method, path, pairs, body=body)
    assert answer is not None and 400 <= answer.status < 502 and answer.status != 500, answer


@pytest.mark.parametrize("method", ["PATCH", "TRACE", "CONNECT", "PROPFIND", "BREW"])
def test_other_methods(wire, bucket, method):
    answer = wire.request(method, f"/{bucket}/a")
    assert answer is None or answer.status in (400, 405, 501), answer


def test_every_error_has_a_document(wire, bucket):
    answer = wire.request("GET", f"/{bucket}/missing")
    assert answer.headers["content-type"] == "application/xml"
    assert b"<RequestId>" in answer.body and answer.code == "NoSuchKey"
    assert answer.headers["x-amz-request-id"].encode() in answer.body
