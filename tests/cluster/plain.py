"""A small S3 client that tells what became of a request as exactly as one can, never retries, and costs little."""
import hashlib
import http.client
import os
import socket
import sys
import urllib.parse
import xml.etree.ElementTree as tree

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "s3"))
from wire import EMPTY_SHA256, Wire  # noqa: E402

NOT_SENT = "not sent"  # it did nothing: no connection was made


class Reply:
    """`status` is 0 when no answer came, and then `said` tells why; NOT_SENT: it certainly did nothing."""

    def __init__(self, status, etag="", body=b"", said=""):
        self.status, self.etag, self.body, self.said = status, etag, body, said

    def __repr__(self):
        return f"<{self.status} {self.said}>"


class PlainClient:
    """Of one node; one connection, for one thread."""

    def __init__(self, cluster, k, timeout):
        self.wire = Wire(cluster.endpoint(k), (cluster.env["AWS_ACCESS_KEY_ID"], cluster.env["AWS_SECRET_ACCESS_KEY"]),
                         cluster.env["AWS_REGION"])
        self.node, self.timeout, self.connection = k, timeout, None

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def connect(self):
        self.connection = http.client.HTTPConnection(self.wire.host, self.wire.port, timeout=self.timeout)
        self.connection.connect()
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def request(self, method, bucket, key, body=b"", headers=(), query=()):
        path = f"/{bucket}/{urllib.parse.quote(key)}"
        payload = hashlib.sha256(body).hexdigest() if body else EMPTY_SHA256
        signed, _ = self.wire.sign(method, path, query, headers, payload)
        target = path + ("?" + self.wire.canonical_query(query) if query else "")
        try:
            if not self.connection:
                self.connect()
        except OSError as e:
            self.close()
            return Reply(0, said=f"{NOT_SENT}: {type(e).__name__}")
        try:
            self.connection.request(method, target, body or None, dict(signed))
            answer = self.connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as e:
            self.close()
            return Reply(0, said=type(e).__name__)
        if answer.getheader("connection") == "close":
            self.close()
        etag = (answer.getheader("etag") or "").strip('"')
        return Reply(answer.status, etag, data, "" if answer.status < 300 else code_of(data))

    def upload_parts(self, bucket, key, parts):
        """Begins a multipart upload and sends its parts. Returns an Upload, or the Reply that ended it."""
        begun = self.request("POST", bucket, key, query=[("uploads", "")])
        if begun.status != 200:
            return begun
        upload, etags = tree.fromstring(begun.body).findtext("{*}UploadId"), []
        for number, part in enumerate(parts, 1):
            sent = self.request("PUT", bucket, key, part, query=[("partNumber", str(number)), ("uploadId", upload)])
            if sent.status != 200:
                return sent
            etags.append(hashlib.md5(part).hexdigest())
        return Upload(upload, etags)

    def complete(self, bucket, key, upload, headers=()):
        """The Reply's ETag is that of the document, and an error that the document tells counts as the answer."""
        reply = self.request("POST", bucket, key, upload.document, headers, [("uploadId", upload.name)])
        if reply.status == 200:
            reply.etag = (tree.fromstring(reply.body).findtext("{*}ETag") or "").strip('"')
            if not reply.etag:
                return Reply(500, said=code_of(reply.body))
        return reply


class Upload:
    """One whose parts are there. `etag`: what the object will have."""

    def __init__(self, name, etags):
        self.name = name
        listed = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
                         for number, etag in enumerate(etags, 1))
        self.document = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        self.etag = f"{hashlib.md5(bytes.fromhex(''.join(etags))).hexdigest()}-{len(etags)}"


def code_of(document):
    try:
        return tree.fromstring(document).findtext("Code") or ""
    except tree.ParseError:
        return ""
