"""One node that a test sets up and starts by itself, through the command line and nothing else."""
import http.client
import json
import os
import signal
import subprocess

import boto3
import botocore.config

from local import TREE, take_ports, wait_until

BINARY = os.environ.get("COVEY", os.path.join(TREE, "build", "release", "node", "covey"))
ENDS_WITHIN_S = 120  # ends a test that would wait for ever


def covey(*args, stdin="", cwd=None):
    """Runs a command; `stdin` is its input."""
    return subprocess.run([BINARY, *map(str, args)], input=stdin, text=True, capture_output=True, timeout=ENDS_WITHIN_S,
                          cwd=cwd, check=False)


def set_lines(config, **settings):
    """Sets these in a covey.toml, in place of what it says of them."""
    with open(config) as f:
        kept = [line for line in f if line.split("=")[0].strip() not in settings]
    with open(config, "w") as f:
        f.writelines(kept)
        f.writelines(f"{name} = {value}\n" for name, value in settings.items())


class OwnNode:
    """`made` is how its covey.toml comes to be: a command line of covey without --dir."""

    def __init__(self, folder, made=("init",), name="own", **settings):
        self.dir, self.name = str(folder), name
        self.base, self.lock = take_ports()
        self.config = os.path.join(self.dir, "covey.toml")
        done = covey(*made, "--dir", self.dir, "--name", name)
        assert done.returncode == 0, done.stderr
        set_lines(self.config, s3_listen=self.listen("s3"), gossip_listen=self.listen("gossip"),
                  rpc_listen=self.listen("rpc"), admin_listen=self.listen("admin"), **settings)
        for line in os.environ.get("COVEY_SET", "").splitlines():
            name, value = line.split("=", 1)
            if name.strip() not in settings:
                set_lines(self.config, **{name.strip(): value.strip()})
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.lock.close()

    def port(self, what):
        return self.base + {"s3": 0, "gossip": 101, "rpc": 201, "admin": 301}[what]

    def listen(self, what):
        return f'"127.0.0.1:{self.port(what)}"'

    def launch(self):
        with open(os.path.join(self.dir, "log"), "ab") as log:
            self.process = subprocess.Popen([BINARY, "--config", self.config, "serve"], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=log)
        return self

    def start(self):
        self.launch()
        wait_until(f"{self.name} serves", self.serves, pause=0.02)
        return self

    def serves(self):
        assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}: {self.log()}"
        return self.get("/health")[0] == 200

    def get(self, path, what="admin"):
        """Status, headers and text of an answer, or (0, {}, "") while nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port(what), timeout=ENDS_WITHIN_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read().decode()
        except OSError:
            return 0, {}, ""
        finally:
            connection.close()

    def log(self):
        with open(os.path.join(self.dir, "log"), errors="replace") as f:
            return f.read()

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        """SIGTERM; its exit status."""
        self.signal(signal.SIGTERM)
        return self.process.wait(ENDS_WITHIN_S)

    def covey(self, *args, stdin=""):
        return covey("--config", self.config, *args, stdin=stdin)

    def new_key(self, name):
        """Access key and secret."""
        made = json.loads(self.covey("key", "create", "--name", name, "--json").stdout)
        return made["access_key"], made["secret_key"]

    def client(self, key, scheme="http", **options):
        return boto3.client(
            "s3", endpoint_url=f"{scheme}://127.0.0.1:{self.port('s3')}", aws_access_key_id=key[0],
            aws_secret_access_key=key[1], region_name="us-east-1",
            config=botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=ENDS_WITHIN_S,
                                          s3={"addressing_style": "path"}), **options)
