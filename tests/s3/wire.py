"""Raw HTTP/1.1 and an independent Signature Version 4, for requests that no SDK would send."""

import base64
import datetime
import hashlib
import hmac
import socket
import urllib.parse
import xml.etree.ElementTree as tree

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"


def quote(text, safe="-._~"):
    return urllib.parse.quote(text, safe=safe)


def hmac256(key, text):
    return hmac.new(key, text.encode() if isinstance(text, str) else text, hashlib.sha256).digest()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def code(self):
        """The <Code> of an error document, or None."""
        try:
            return tree.fromstring(self.body).findtext("Code")
        except tree.ParseError:
            return None

    @property
    def message(self):
        try:
            return tree.fromstring(self.body).findtext("Message")
        except tree.ParseError:
            return None

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:300]!r}>"


class Connection:
    """One TCP connection; bytes go out as they are."""

    def __init__(self, host, port, timeout=20):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the answer may have come before the request ended

    def answer(self, method="GET", skip_continue=True):
        """The next response; None when the connection was closed without one."""
        while True:
            line = self.file.readline()
            if not line:
                return None
            status = int(line.split()[1])
            headers = {}
            while True:
                header = self.file.readline().decode("latin-1").rstrip("\r\n")
                if not header:
                    break
                name, _, value = header.partition(":")
                headers[name.lower()] = value.strip()
            if status == 100 and skip_continue:
                continue
            break
        if method == "HEAD" or status in (100, 204, 304):
            body = b""
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.file.readline().split(b";")[0], 16):
                body += self.file.read(size)
                self.file.readline()
            self.file.readline()
        elif "content-length" in headers:
            body = self.file.read(int(headers["content-length"]))
        else:
            body = self.file.read()
        return Answer(status, headers, body)


class Wire:
    def __init__(self, endpoint, keys, region):
        url = urllib.parse.urlsplit(endpoint)
        self.host, self.port = url.hostname, url.port or 80
        self.netloc = url.netloc
        self.access, self.secret = keys
        self.region = region

    def connect(self, timeout=20):
        return Connection(self.host, self.port, timeout)

    def now(self, shift=0):
        when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=shift)
        return when.strftime("%Y%m%dT%H%M%SZ")

    def scope(self, date, region=None, service="s3"):
        return f"{date[:8]}/{region or self.region}/{service}/aws4_request"

    def key(self, scope, secret=None):
        key = ("AWS4" + (secret or self.secret)).encode()
        for part in scope.split("/"):
            key = hmac256(key, part)
        return key

    def canonical_query(self, query):
        pairs = [(quote(name), quote(value)) for name, value in query]
        return "&".join(f"{name}={value}" for name, value in sorted(pairs))

    def signature(self, method, path, query, signed, payload, date, scope, secret=None):
        """`signed`: [(lower-case name, value)]."""
        headers = sorted((name, " ".join(value.split())) for name, value in signed)
        canonical = "\n".join([method, path, self.canonical_query(query),
                               *(f"{name}:{value}" for name, value in headers), "",
                               ";".join(name for name, _ in headers), payload])
        text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{sha256(canonical.encode())}"
        return hmac256(self.key(scope, secret), text).hex()

    def sign(self, method, path, query=(), headers=(), payload=EMPTY_SHA256, date=None, region=None,
             service="s3", access=None, secret=None, unsigned=(), scope=None):
        """Every header of a signed request, and its signature. `unsigned`: headers kept outside."""
        date = date or self.now()
        scope = scope or self.scope(date, region, service)
        signed = [("host", self.netloc), ("x-amz-date", date)]
        if payload is not None:
            signed.append(("x-amz-content-sha256", payload))
        signed += [(name.lower(), value) for name, value in headers]
        signature = self.signature(method, path, query, signed, payload or EMPTY_SHA256, date, scope, secret)
        names = ";".join(sorted(name for name, _ in signed))
        authorization = (f"AWS4-HMAC-SHA256 Credential={access or self.access}/{scope}, "
                         f"SignedHeaders={names}, Signature={signature}")
        return signed + list(unsigned) + [("authorization", authorization)], signature

    def head(self, method, path, query, headers):
        target = path + ("?" + "&".join(f"{quote(n)}={quote(v)}" for n, v in query) if query else "")
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
        return "\r\n".join(lines).encode()

    def raw(self, data, method="GET", timeout=20):
        """Sends bytes on a new connection and returns the answer."""
        with self.connect(timeout) as connection:
            connection.send(data)
            return connection.answer(method)

    def request(self, method, path, query=(), headers=(), body=b"", payload=None, length=None, **how):
        """A header-signed request. `path` is sent as given (already encoded). `payload` defaults to
        the body's SHA-256; `length` overrides Content-Length ("" sends none)."""
        signed, _ = self.sign(method, path, query, headers, payload or sha256(body), **how)
        if length != "":
            signed.append(("content-length", str(len(body) if length is None else length)))
        return self.raw(self.head(method, path, query, signed) + body, method)

    def plain(self, method, path, query=(), headers=(), body=b""):
        """An unsigned request."""
        all_headers = [("host", self.netloc), *headers, ("content-length", str(len(body)))]
        return self.raw(self.head(method, path, query, all_headers) + body, method)

    def presign(self, method, path, query=(), expires=60, date=None, region=None, headers=(), secret=None,
                access=None, **change):
        """The query of a presigned URL. `change` replaces parameters before they are signed."""
        date = date or self.now()
        scope = self.scope(date, region)
        signed = [("host", self.netloc), *headers]
        parameters = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{access or self.access}/{scope}",
            "X-Amz-Date": date,
            "X-Amz-Expires": str(expires),
            "X-Amz-SignedHeaders": ";".join(sorted(name for name, _ in signed)),
        }
        parameters.update({"X-Amz-" + name: value for name, value in change.items()})
        all_query = list(query) + [pair for pair in parameters.items() if pair[1] is not None]
        signature = self.signature(method, path, all_query, signed, UNSIGNED, date, scope, secret)
        return all_query + [("X-Amz-Signature", signature)]

    def presigned(self, method, path, query=(), body=b"", send_headers=(), **how):
        return self.plain(method, path, self.presign(method, path, query, **how), send_headers, body)

    def streaming(self, method, path, data, chunk=65536, trailer=None, signed_chunks=True, headers=(),
                  tamper=None, last_chunk=True, decoded=None):
        """An aws-chunked upload. `trailer`: (name, value). `tamper(chunk index, header, bytes)`
        may return other bytes for a chunk."""
        if signed_chunks:
            payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + ("-TRAILER" if trailer else "")
        else:
            payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
        extra = [*headers, ("content-encoding", "aws-chunked")]
        if decoded is None:
            decoded = len(data)
        if decoded != "":
            extra.append(("x-amz-decoded-content-length", str(decoded)))
        if trailer:
            extra.append(("x-amz-trailer", trailer[0]))
        date = self.now()
        scope = self.scope(date)
        signed, previous = self.sign(method, path, (), extra, payload, date=date)
        key = self.key(scope)
        body = b""
        pieces = [data[at:at + chunk] for at in range(0, len(data), chunk)] + ([b""] if last_chunk else [])
        for index, piece in enumerate(pieces):
            header = f"{len(piece):x}"
            if signed_chunks:
                text = f"AWS4-HMAC-SHA256-PAYLOAD\n{date}\n{scope}\n{previous}\n{EMPTY_SHA256}\n{sha256(piece)}"
                previous = hmac256(key, text).hex()
                header += f";chunk-signature={previous}"
            if tamper:
                header, piece = tamper(index, header, piece)
            body += header.encode() + b"\r\n" + piece + (b"\r\n" if piece else b"")
        if trailer and last_chunk:
            line = f"{trailer[0]}:{trailer[1]}"
            body += line.encode() + b"\r\n"
            if signed_chunks:
                text = (f"AWS4-HMAC-SHA256-TRAILER\n{date}\n{scope}\n{previous}\n"
                        f"{sha256((line + chr(10)).encode())}")
                body += b"x-amz-trailer-signature:" + hmac256(key, text).hex().encode() + b"\r\n"
        if last_chunk:
            body += b"\r\n"
        signed.append(("content-length", str(len(body))))
        return self.raw(self.head(method, path, (), signed) + body, method)

    def form(self, path, fields, data=b"", filename="file.txt", after=(), boundary="covey-form-boundary"):
        """A browser's POST."""
        body = b""
        for name, value in fields:
            body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        if data is not None:
            body += (f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
                     "Content-Type: text/plain\r\n\r\n").encode() + data + b"\r\n"
        body += f"--{boundary}--\r\n".encode()
        return self.plain("POST", path, (), [("content-type", f"multipart/form-data; boundary={boundary}")], body)

    def form_signature(self, policy, date, scope=None):
        """(policy in base64, signature) of a POST policy document's text."""
        encoded = base64.b64encode(policy.encode()).decode()
        return encoded, hmac256(self.key(scope or self.scope(date)), encoded).hex()
