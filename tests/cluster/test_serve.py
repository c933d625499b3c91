"""One node as an operator runs it: /health and /metrics, TLS, virtual-host style, SIGHUP, what it logs and where."""
import http.client
import json
import signal
import socket
import ssl
import subprocess

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError

from local import status_of, wait_until
from process import OwnNode, set_lines


def certificate(folder, name):
    """A self-signed pair of PEM files for 127.0.0.1."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", key, "-out", cert, "-days", "2", "-subj", f"/CN={name}",
                    "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    return cert, key


def shown_certificate(node):
    """The one that a new connection gets, as PEM."""
    with socket.create_connection(("127.0.0.1", node.port("s3")), timeout=60) as plain:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(plain) as tls:
            return ssl.DER_cert_to_PEM_cert(tls.getpeercert(True))


def metrics(node):
    status, headers, text = node.get("/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    values, typed = {}, set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            typed.add(line.split()[2])
            continue
        name, value = line.rsplit(" ", 1)
        assert name.split("{")[0] in typed, f"{name} has no type"
        assert name not in values, f"{name} twice"
        values[name] = float(value)
    return values


def test_health_and_metrics(tmp_path):
    with OwnNode(tmp_path) as node:
        node.start()
        assert node.get("/health") [::2] == (200, "ok\n")
        for path in ("/", "/v1/status", "/v1/keys", "/v1/invite"):
            assert node.get(path)[0] == 404, f"{path} is open to everybody"
        key = node.new_key("someone")
        before = metrics(node)
        client = node.client(key)
        client.create_bucket(Bucket="counted")
        for n in range(5):
            client.put_object(Bucket="counted", Key=f"{n}", Body=bytes(100_000))
        with pytest.raises(ClientError):
            client.get_object(Bucket="counted", Key="none")
        after = metrics(node)
        assert after["covey_s3_requests"] == before["covey_s3_requests"] + 7
        assert after["covey_s3_client_errors"] == before["covey_s3_client_errors"] + 1
        assert after["covey_s3_server_errors"] == before["covey_s3_server_errors"]
        assert after["covey_block_used_bytes"] >= before["covey_block_used_bytes"] + 500_000
        assert after["covey_members"] == after["covey_members_alive"] == 1
        assert any(name.startswith('covey_build_info{version="') for name in after)
        assert node.stop() == 0


def test_a_node_whose_seeds_do_not_answer_says_so(tmp_path):
    with OwnNode(tmp_path, seeds='["127.0.0.1:1"]') as node:
        node.launch()
        wait_until("it answers", lambda: node.get("/health")[0] == 503)
        shown = node.covey("status")
        assert shown.returncode == 1 and "has not joined a cluster" in shown.stdout and "secret" in shown.stdout
        assert node.covey("key", "create", "--name", "x").returncode == 1
        assert node.stop() == 0


def test_what_keeps_a_node_from_starting(tmp_path):
    with OwnNode(tmp_path / "a") as node, OwnNode(tmp_path / "b") as other:
        node.start()
        set_lines(other.config, meta_dir=f'"{tmp_path}/a/meta"')
        other.launch()
        assert other.process.wait(60) == 1 and "another covey runs on" in other.log()
        set_lines(other.config, meta_dir='"meta"', s3_listen=node.listen("s3"))
        other.launch()
        wait_until("it says that the port is taken", lambda: "cannot listen on" in other.log())
        other.process.kill()
        other.process.wait()
        set_lines(other.config, s3_listen=other.listen("s3"), secret_file='"no-such-file"')
        other.launch()
        assert other.process.wait(60) == 1 and "no-such-file" in other.log()


def test_https_and_a_renewed_certificate(tmp_path):
    one, key_one = certificate(tmp_path, "one")
    two, key_two = certificate(tmp_path, "two")
    with OwnNode(tmp_path / "node", tls_certificate=f'"{one}"', tls_key=f'"{key_one}"') as node:
        node.start()
        key = node.new_key("someone")
        client = node.client(key, scheme="https", verify=str(one))
        client.create_bucket(Bucket="sealed")
        body = bytes(range(256)) * 20_000
        client.put_object(Bucket="sealed", Key="k", Body=body)
        assert client.get_object(Bucket="sealed", Key="k")["Body"].read() == body
        with pytest.raises(BotoCoreError):
            node.client(key, scheme="https", verify=str(two)).list_buckets()
        with pytest.raises((BotoCoreError, ClientError)):
            node.client(key).list_buckets()  # no plain text
        assert shown_certificate(node) == one.read_text()
        # A pair that does not fit changes nothing.
        set_lines(node.config, tls_certificate=f'"{two}"')
        node.signal(signal.SIGHUP)
        wait_until("it refuses the pair", lambda: "the settings were not reloaded" in node.log())
        assert shown_certificate(node) == one.read_text()
        set_lines(node.config, tls_key=f'"{key_two}"')
        node.signal(signal.SIGHUP)
        wait_until("new connections get the new certificate", lambda: shown_certificate(node) == two.read_text())
        node.client(key, scheme="https", verify=str(two)).list_buckets()
        client.get_object(Bucket="sealed", Key="k")["Body"].read()  # over the connection it has, or it says why
        assert node.stop() == 0


def test_sighup(tmp_path):
    with OwnNode(tmp_path) as node:
        node.start()
        assert "[debug]" not in node.log()
        set_lines(node.config, log_level='"debug"', memory_cap='"600MiB"', region='"eu-west-1"')
        node.signal(signal.SIGHUP)
        wait_until("it is told what needs a restart", lambda: "a restart is needed for region" in node.log())
        key = node.new_key("someone")
        client = node.client(key)  # signs for us-east-1: the region is still that
        client.create_bucket(Bucket="reloaded")
        with open(node.config, "a") as f:
            f.write('zone = "a"\nzone = "b"\n')
        node.signal(signal.SIGHUP)
        wait_until("it says what is wrong", lambda: "not reloaded" in node.log() and "covey.toml:" in node.log())
        client.put_object(Bucket="reloaded", Key="k", Body=b"v")
        assert node.stop() == 0
        assert "[debug] stopping" in node.log()


def test_sighup_takes_over_seeds(tmp_path):
    """A node with a wrong seed joins once the right one is set."""
    with OwnNode(tmp_path / "1", name="first", zone='"z1"') as first:
        first.start()
        token = json.loads(first.covey("invite", "--json").stdout)["token"]
        with OwnNode(tmp_path / "2", made=("join", token), name="second", zone='"z2"', seeds='["no.such.host.invalid:1"]') as second:
            second.launch()
            wait_until("it says that the seed has no address", lambda: "no.such.host.invalid" in second.log())
            assert second.get("/health")[0] in (0, 503)
            set_lines(second.config, seeds=f'["127.0.0.1:{first.port("gossip")}"]')
            second.signal(signal.SIGHUP)
            wait_until("it joins", second.serves)


def test_virtual_host_style(tmp_path):
    with OwnNode(tmp_path, s3_domain='"s3.test"') as node:
        node.start()
        key = node.new_key("someone")
        client = node.client(key)
        client.create_bucket(Bucket="my.photos")
        client.put_object(Bucket="my.photos", Key="a/b c.txt", Body=b"by path")

        def ask(method, host, path, body=b""):
            request = AWSRequest(method=method, url=f"http://{host}:{node.port('s3')}{path}", data=body)
            S3SigV4Auth(Credentials(*key), "s3", "us-east-1").add_auth(request)
            connection = http.client.HTTPConnection("127.0.0.1", node.port("s3"), timeout=60)
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in [("Host", f"{host}:{node.port('s3')}"), ("Content-Length", str(len(body))), *request.headers.items()]:
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.read()

        assert ask("GET", "my.photos.s3.test", "/a/b%20c.txt") == (200, b"by path")
        assert ask("PUT", "my.photos.s3.test", "/new", b"by host")[0] == 200
        assert client.get_object(Bucket="my.photos", Key="new")["Body"].read() == b"by host"
        assert b"<Key>new</Key>" in ask("GET", "my.photos.s3.test", "/?list-type=2")[1]
        assert b"<Name>my.photos</Name>" in ask("GET", "s3.test", "/")[1]
        assert ask("GET", "s3.test", "/my.photos/new") == (200, b"by host")
        assert ask("GET", "nobody.s3.test", "/x")[0] == 404
        assert status_of_missing(client) == 404


def status_of_missing(client):
    try:
        client.get_object(Bucket="my.photos", Key="my.photos/new")
        return 200
    except ClientError as e:
        return status_of(e)
